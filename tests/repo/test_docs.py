"""The commands that the documents show are run as they stand there, by root and by an ordinary user.

A block marked `console` holds commands after `$ ` and what they print. Commands of other programs that
change the machine, or that build this project, are left out. A block with `cloche-runtime` is one story: its
commands are run one after the other, by an ordinary user where it says --rootless and by root where it does not.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import BOOTSTRAP, ORDINARY, Cli

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = ("sudo", "git", "make", "pip")
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# opened by hand, for a person at a terminal
INTERACTIVE = re.compile(r"^cloche (shell|run .*-it\b|run .*--step\b)")


def commands_of(text: str) -> list[str]:
    """The commands of a document's console blocks; a line that ends in a backslash goes on in the next."""
    found: list[str] = []
    for block in BLOCK.findall(text):
        if "$ cloche-runtime " in block:
            continue
        more = False
        for line in block.splitlines():
            if more:
                found[-1] += "\n" + line
            elif line.startswith("$ "):
                found.append(line[2:])
            else:
                continue
            more = found[-1].endswith("\\")
    return [command for command in found if command.split()[0] not in LEFT_OUT]


DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = [(path.name, command) for path in DOCUMENTS if path.exists() for command in commands_of(path.read_text())]
STORIES = [
    pytest.param(re.findall(r"^\$ (.*)$", block, re.MULTILINE), id=f"{path.name}-{index}")
    for path in DOCUMENTS
    for index, block in enumerate(BLOCK.findall(path.read_text()))
    if "$ cloche-runtime " in block
]


def test_commands_are_found_as_people_write_them() -> None:
    text = "```console\n$ a b\nout\n$ sudo c\n$ d \\\n  e\n> no\n```\n```sh\n$ no\n```\n$ no\n"
    text += "```console\n$ git f\n$ g\n```\n"
    assert commands_of(text) == ["a b", "d \\\n  e", "g"]


def test_the_first_document_shows_commands() -> None:
    assert [command for name, command in COMMANDS if name == "README.md"]
    assert len(STORIES) > 3


@pytest.mark.parametrize("commands", STORIES)
def test_a_story_of_the_runtime_succeeds(commands: list[str], shared_dir: Path, rootfs: Path, cli: Cli) -> None:
    kind = "user" if any("--rootless" in command for command in commands) else "root"
    if kind == "root" and os.geteuid() != 0:
        pytest.skip("needs root")
    top = shared_dir / "story"
    shutil.copytree(rootfs, top / "rootfs", symlinks=True)
    program = BOOTSTRAP.format(src=str(cli.source)).replace("cloche.cli.main", "cloche.cli.runtime.main")
    words = [cli.python, "-I", "-S", "-B", "-c", program, "--root", str(top / "state")]
    (top / "cloche-runtime").write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    (top / "cloche-runtime").chmod(0o755)
    argv: list[str] = []
    if kind == "user" and os.geteuid() == 0:
        subprocess.run(["chown", "-R", f"{ORDINARY}:{ORDINARY}", str(top)], check=True)
        argv = ["setpriv", "--reuid", str(ORDINARY), "--regid", str(ORDINARY), "--clear-groups"]
    env = {"PATH": f"{top}:{os.environ['PATH']}", "HOME": "/", "TERM": "xterm"}
    try:
        for command in commands:
            with (top / "output").open("wb") as output:
                done = subprocess.run(
                    [*argv, "sh", "-c", command],
                    cwd=top,
                    env=env,
                    input=b"exit\n",
                    stdout=output,
                    stderr=output,
                    timeout=60,
                    check=False,
                )
            assert done.returncode == 0, f"{command}: {(top / 'output').read_text()}"
    finally:
        subprocess.run([*argv, "sh", "-c", "cloche-runtime delete --force demo"], cwd=top, env=env, check=True)
        shutil.rmtree(top)


@pytest.fixture(scope="module")
def desk(shared_dir: Path, rootfs: Path) -> Path:
    """A working directory as the documents suppose: README.md, ./rootfs, and it can be written."""
    top = shared_dir / "desk"
    top.mkdir()
    top.chmod(0o777)
    shutil.copy(ROOT / "README.md", top)
    (top / "rootfs").symlink_to(rootfs)
    return top


@pytest.mark.parametrize("kind", ["root", "user"])
@pytest.mark.parametrize(("document", "command"), COMMANDS)
def test_a_documents_command_succeeds(kind: str, document: str, command: str, desk: Path, cli: Cli) -> None:
    del document
    if kind == "root" and os.geteuid() != 0:
        pytest.skip("needs root")
    done = run(kind, command, desk, cli)
    if done.returncode and kind == "user" and "--allow-unenforced" in done.stderr:
        # as the document says: a limit that this machine cannot enforce for this user is refused
        done = run(kind, command.replace("cloche run ", "cloche run --allow-unenforced "), desk, cli)
    assert done.returncode == 0, done.stdout + done.stderr


ERRORS = re.findall(r"^\$ (cloche-runtime .*)\n(.*)$", (ROOT / "docs/runtime.md").read_text(), re.MULTILINE)
ERRORS = [(command, said) for command, said in ERRORS if said.startswith("cloche-runtime: ")]


@pytest.mark.parametrize(("command", "said"), ERRORS)
def test_errors_are_said_as_the_document_has_them(command: str, said: str, cli: Cli, tmp_path: Path) -> None:
    """In a bundle whose user is none of those that are mapped."""
    program = BOOTSTRAP.format(src=str(cli.source)).replace("cloche.cli.main", "cloche.cli.runtime.main")
    name, state = [cli.python, "-I", "-S", "-B", "-c", program], str(tmp_path / "state")
    subprocess.run([*name, "spec", "--rootless", "--bundle", tmp_path], check=True)
    config = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(config.replace('"uid": 0', '"uid": 1000').replace(": true,", ": false,"))
    (tmp_path / "rootfs").mkdir()
    words = shlex.split(command)[1:]
    done = subprocess.run(
        [*name, "--root", state, *words], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (1, f"{said}\n")


def test_errors_are_shown() -> None:
    assert len(ERRORS) > 2


def run(kind: str, command: str, desk: Path, cli: Cli) -> subprocess.CompletedProcess[str]:
    """One command in a shell, as this kind of user, with `cloche` on its PATH."""
    me = Cli(kind, cli.source, cli.python)
    program = Cli("root" if os.geteuid() == 0 else kind, cli.source, cli.python).argv
    folder = desk / f"bin-{kind}"
    if not folder.exists():
        folder.mkdir(mode=0o755)
        (folder / "cloche").write_text(f'#!/bin/sh\nexec {shlex.join(program)} "$@"\n')
        (folder / "cloche").chmod(0o755)
    if INTERACTIVE.match(command):
        command = f"script -qec {shlex.quote(command)} /dev/null"
    argv = ["sh", "-c", command]
    if kind == "user" and os.geteuid() == 0:
        argv = ["setpriv", "--reuid", str(ORDINARY), "--regid", str(ORDINARY), "--clear-groups", *argv]
    env = {"PATH": f"{folder}:{os.environ['PATH']}", "HOME": "/", "CLOCHE_STATE": me.state, "TERM": "xterm"}
    return subprocess.run(
        argv, cwd=desk, env=env, input="exit\n", capture_output=True, text=True, timeout=60, check=False
    )
