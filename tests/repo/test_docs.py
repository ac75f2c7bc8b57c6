"""The commands that the documents show are run as they stand there, by root and by an ordinary user.

A block marked `console` holds commands after `$ ` and what they print. Commands of other programs that
change the machine, or that build this project, are left out.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ORDINARY, Cli

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = ("sudo", "git", "make", "pip")
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# opened by hand, for a person at a terminal
INTERACTIVE = re.compile(r"^cloche (shell|run .*-it\b|run .*--step\b)")


def commands_of(text: str) -> list[str]:
    """The commands of a document's console blocks; a line that ends in a backslash goes on in the next."""
    found: list[str] = []
    for block in BLOCK.findall(text):
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


def test_commands_are_found_as_people_write_them() -> None:
    text = "```console\n$ a b\nout\n$ sudo c\n$ d \\\n  e\n> no\n```\n```sh\n$ no\n```\n$ no\n"
    text += "```console\n$ git f\n$ g\n```\n"
    assert commands_of(text) == ["a b", "d \\\n  e", "g"]


def test_the_first_document_shows_commands() -> None:
    assert [command for name, command in COMMANDS if name == "README.md"]


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
