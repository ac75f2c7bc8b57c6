"""The completion scripts: every option is offered, and the shells really complete with them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from cloche.cli.completion import CAPABILITIES, CLASSES, SHELLS, WORDS, render_completion
from cloche.cli.options import CLOCHE, every
from cloche.cli.runtime import printing
from cloche.cli.runtime.globals import COMMAND
from cloche.cli.table import Verb

ALL = [CLOCHE, *every(), COMMAND, *printing.every()]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the scripts, each named as its shell."""
    directory = tmp_path_factory.mktemp("completion")
    for shell in SHELLS:
        (directory / shell).write_text(render_completion(shell, CLOCHE, every()))
        (directory / f"{shell}-runtime").write_text(render_completion(shell, COMMAND, printing.every()))
    return directory


def _need(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")


@pytest.mark.parametrize("of", ["", "-runtime"])
@pytest.mark.parametrize("shell", SHELLS)
def test_the_syntax_is_right(scripts: Path, shell: str, of: str) -> None:
    _need(shell)
    done = subprocess.run([shell, "-n", scripts / f"{shell}{of}"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("verb", ALL, ids=lambda verb: verb.title)
def test_every_option_is_in_it(verb: Verb, shell: str) -> None:
    whole = (CLOCHE, every()) if verb.program == "cloche" else (COMMAND, printing.every())
    script = render_completion(shell, *whole)
    for option in verb.options:
        for name in option.names:
            spelled = {"bash": f"{name}", "zsh": name, "fish": f"-l {name[2:]}" if len(name) > 2 else f"-s {name[1]}"}
            assert spelled[shell] in script


def test_every_class_of_the_tables_is_known() -> None:
    for verb in ALL:
        for complete in [*(o.complete for o in verb.options), *(o.complete for o in verb.operands)]:
            if complete.startswith("<"):
                assert complete in (*CLASSES, *WORDS)


def test_capabilities_are_those_of_the_kernel() -> None:
    assert len(CAPABILITIES.split()) == len(set(CAPABILITIES.split())) == 41


WORDS_AND_OFFERS = [
    (["ru"], ["run"]),
    (["--ro"], ["--root"]),
    (["--root", "/x", "doc"], ["doctor"]),
    (["--root=/x", "doc"], ["doctor"]),
    (["--debug", "--", "doc"], ["doctor"]),
    (["run", "--memory-"], ["--memory-reservation", "--memory-swap"]),
    (["run", "--cap-add", "SYS_A"], ["SYS_ADMIN"]),
    (["run", "--network", "h"], ["host"]),
    (["run", "--network", ""], ["host", "none"]),
    (["run", "-it", "-e", "A=b", "h"], ["host"]),
    (["run", "-ite", "A", "h"], ["host"]),
    (["run", "-iteA", "h"], ["host"]),
    (["run", "--", "h"], ["host"]),
    (["run", "host", "--memory-"], []),
    (["run", "host", "bas"], ["bash"]),
    (["run", "--name", "h"], []),
    (["run", "--publis"], []),
    (["shell", "--userns", "k"], ["keep-id"]),
    (["enter", "1", "--onl"], ["--only"]),
    (["enter", "--only", "net,pi", "1"], None),
    (["enter", "--only", "net,pi"], ["net,pid"]),
    (["enter", "1", "ls", "--onl"], []),
    (["completion", ""], ["bash", "fish", "zsh"]),
    (["version", "--format", "j"], ["json"]),
    (["help", "ent"], ["enter"]),
    (["nonsense", "x"], []),
    (["ima"], ["image", "images"]),
    (["image", "ins"], ["inspect"]),
    (["image", "inspect", "--for"], ["--format"]),
    (["image", "inspect", "-f", "js"], ["json"]),
    (["image", "prune", "--al"], ["--all"]),
    (["container", "ls"], ["ls"]),
    (["ps", "--filter", "stat"], ["status="]),
]


NAMES_AND_OFFERS = [
    (["--root", "ROOT", "stop", ""], ["db", "web"]),
    (["--root", "ROOT", "stop", "-t", "5", "db", "w"], ["web"]),
    *((["--root", "ROOT", verb, "w"], ["web"]) for verb in "top stats diff commit export exec logs why".split()),
    (["--root", "ROOT", "container", "inspect", "d"], ["db"]),
    (["--root", "ROOT", "container", "rm", "web", "web", "d"], ["db"]),
    (["--root", "ROOT", "exec", "-it", "w"], ["web"]),
    (["--root", "ROOT", "run", "--volumes-from", "w"], ["web"]),
    (["--root", "ROOT", "run", "--network", "container:d"], ["container:db"]),
    (["--root", "ROOT", "cp", "w"], ["web:"]),
    (["--root", "ROOT", "cp", "a", "d"], ["db:"]),
    (["--root", "ROOT", "volume", "rm", "data", "d"], ["data"]),
    (["--root", "ROOT", "run", "-v", "da"], ["data"]),
    (["--root", "ROOT", "run", ""], ["debian:12", "host", "localhost/box:1"]),
    (["--root", "ROOT", "create", "-it", "deb"], ["debian:12"]),
    (["--root", "ROOT", "rmi", "debian:12", "loc"], ["localhost/box:1"]),
    (["--root", "ROOT", "stop", "-s", "SIGU"], ["SIGUSR1", "SIGUSR2"]),
]
ENTRY = '{"annotations":{"org.opencontainers.image.ref.name":"NAME"}}'
INDEX = ",".join(ENTRY.replace("NAME", name) for name in ("docker.io/library/debian:12", "localhost/box:1"))


def _with_names(scripts: Path, words: list[str]) -> list[str]:
    """The words, with a store of two containers that have names, a volume and two images for ROOT."""
    store = scripts / "store"
    for folder in ("names", "volumes/data/_data"):
        (store / folder).mkdir(parents=True, exist_ok=True)
    (store / "index.json").write_text(f'{{"manifests":[{INDEX}]}}')
    for name in ("web", "db", ".lock"):
        (store / "names" / name).unlink(missing_ok=True)
        (store / "names" / name).symlink_to("ab" * 32)
    return [os.fspath(store) if word == "ROOT" else word for word in words]


@pytest.mark.parametrize(("words", "offers"), NAMES_AND_OFFERS, ids=" ".join)
def test_bash_completes_names_of_containers(scripts: Path, words: list[str], offers: list[str]) -> None:
    _need("bash")
    assert _bash(scripts / "bash", _with_names(scripts, words)) == offers


@pytest.mark.parametrize(("words", "offers"), NAMES_AND_OFFERS, ids=" ".join)
def test_fish_completes_names_of_containers(scripts: Path, tmp_path: Path, words: list[str], offers: list[str]) -> None:
    _need("fish")
    assert _fish(scripts / "fish", tmp_path, ["cloche", *_with_names(scripts, words)]) == offers


RUNTIME_WORDS_AND_OFFERS = [
    (["sta"], ["start", "state"]),
    (["--log-f"], ["--log-format"]),
    (["--log-level", "w"], ["warning"]),
    (["--root", "ROOT", "start", ""], ["ann", "bob"]),
    (["--root", "ROOT", "exec", "b"], ["bob"]),
    (["--root", "ROOT", "delete", "--fo"], ["--force"]),
    (["--root", "ROOT", "kill", "ann", "SIGUSR"], ["SIGUSR1", "SIGUSR2"]),
    (["--root", "ROOT", "exec", "ann", "--ten"], []),
    (["list", "-f", "j"], ["json"]),
    (["help", "feat"], ["features"]),
    (["completion", "z"], ["zsh"]),
]


def _below(scripts: Path, words: list[str]) -> list[str]:
    """The words, with a state directory of two containers for ROOT."""
    for name in ("ann", "bob"):
        (scripts / "state" / name).mkdir(parents=True, exist_ok=True)
    return [os.fspath(scripts / "state") if word == "ROOT" else word for word in words]


@pytest.mark.parametrize(("words", "offers"), RUNTIME_WORDS_AND_OFFERS, ids=" ".join)
def test_bash_completes_the_runtimes_words(scripts: Path, words: list[str], offers: list[str]) -> None:
    _need("bash")
    assert _bash(scripts / "bash-runtime", _below(scripts, words), "cloche-runtime") == offers


@pytest.mark.parametrize(("words", "offers"), RUNTIME_WORDS_AND_OFFERS, ids=" ".join)
def test_fish_completes_the_runtimes_words(scripts: Path, tmp_path: Path, words: list[str], offers: list[str]) -> None:
    _need("fish")
    assert _fish(scripts / "fish-runtime", tmp_path, ["cloche-runtime", *_below(scripts, words)]) == offers


@pytest.mark.parametrize(
    ("command", "words", "offers"),
    [
        ("cloche-runtime", "sta", "start state"),
        ("cloche-runtime", "--root ROOT start ", "ann bob"),
        ("cloche-runtime", "kill --al", "--all"),
        ("cloche", "doct", "doctor"),
        ("cloche", "image ins", "inspect"),
        ("cloche", "image prune --al", "--all"),
        ("cloche", "--root STORE stop web d", "db"),
        ("cloche", "--root STORE run --rm ", "debian:12 host localhost/box:1"),
        ("cloche", "exec web basen", "basename basenc"),
    ],
)
def test_zsh_completes(scripts: Path, tmp_path: Path, command: str, words: str, offers: str) -> None:
    _need("zsh")
    line = " ".join(_below(scripts, [command, *words.split(" ")]))
    line = line.replace("STORE", _with_names(scripts, ["ROOT"])[0])
    script = (scripts / ("zsh" + command.removeprefix("cloche"))).read_text()
    assert f"as _{command}\n" in script
    (tmp_path / f"_{command}").write_text(script)
    start = f"fpath=({shlex.quote(str(tmp_path))} $fpath); autoload -Uz compinit; compinit -u -D; PS1=READ''Y\n"
    terminal, far = os.openpty()
    env = {"PATH": os.environ["PATH"], "HOME": os.fspath(tmp_path), "TERM": "dumb"}
    child = subprocess.Popen(["zsh", "-f", "-i"], stdin=far, stdout=far, stderr=far, env=env, start_new_session=True)
    os.close(far)
    try:
        os.write(terminal, start.encode())
        _read_until(terminal, ["READY"])
        os.write(terminal, f"{line}\t".encode())
        _read_until(terminal, offers.split())
    finally:
        child.kill()
        child.wait()
        os.close(terminal)


def _read_until(terminal: int, words: list[str]) -> None:
    """Until all these words have been shown, beside what was typed; pytest's time limit ends it otherwise."""
    shown = ""
    while not all(re.search(rf"(?<!\S){word}(?!\S)", shown) for word in words):
        shown += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|[\x00\x08]", " ", os.read(terminal, 4096).decode(errors="replace"))


def test_both_scripts_fit_into_one_shell(scripts: Path) -> None:
    _need("bash")
    both = scripts / "both"
    both.write_text((scripts / "bash").read_text() + (scripts / "bash-runtime").read_text())
    assert _bash(both, ["doc"]) == ["doctor"]
    assert _bash(both, ["feat"], "cloche-runtime") == ["features"]


def _bash(script: Path, words: list[str], command: str = "cloche") -> list[str]:
    """What bash offers for the last word, which is where the cursor is."""
    line = " ".join(shlex.quote(word) for word in words)
    program = (
        f"source {shlex.quote(os.fspath(script))}\n"
        f"COMP_WORDS=({command} {line}) COMP_CWORD={len(words)}\n"
        f"_{command.replace('-', '_')}\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    env = {**os.environ, "CLOCHE_ROOT": "/nosuch"}
    done = subprocess.run(["bash", "--norc", "-c", program], capture_output=True, text=True, check=False, env=env)
    assert done.stderr == ""
    return sorted(set(done.stdout.split()))


@pytest.mark.parametrize(("words", "offers"), WORDS_AND_OFFERS, ids=lambda value: " ".join(value or []))
def test_bash_completes(scripts: Path, words: list[str], offers: list[str] | None) -> None:
    _need("bash")
    found = _bash(scripts / "bash", words)
    if offers is None or offers == ["bash"]:  # other processes, or commands, may begin the same
        assert (offers or ["1"])[0] in found
    else:
        assert found == offers


@pytest.mark.parametrize(
    ("words", "offers"),
    [
        (["run", "--network", "=", "h"], ["host"]),
        (["run", "--network", "="], ["host", "none"]),
        (["run", "--net", "="], ["host", "none"]),
        (["run", "--network=h"], ["--network=host"]),  # where the person made bash not cut there
        (["run", "--security-opt", "seccomp", "=", "un"], ["unconfined"]),
        (["run", "--security-opt", "=", "seccomp", "=", "un"], ["unconfined"]),
        (["run", "-v", "/a", ":", "/b", "h"], ["host"]),
        (["run", "-e", "A", "=", "b", "h"], ["host"]),
        (["run", "--add-host", "=", "a", ":", "1", "h"], ["host"]),
        (["enter", "--only", "=", "net,pi"], ["net,pid"]),
    ],
    ids=" ".join,
)
def test_bash_cuts_words_at_equals_signs_and_colons(scripts: Path, words: list[str], offers: list[str]) -> None:
    _need("bash")
    assert _bash(scripts / "bash", words) == offers


@pytest.mark.parametrize(("words", "offers"), WORDS_AND_OFFERS, ids=lambda value: " ".join(value or []))
def test_fish_completes(scripts: Path, tmp_path: Path, words: list[str], offers: list[str] | None) -> None:
    _need("fish")
    found = _fish(scripts / "fish", tmp_path, ["cloche", *words])
    if offers is None or offers == ["bash"]:
        assert (offers or ["1"])[0] in found
    elif offers or words[-1].startswith("--"):
        assert found == offers


def _fish(script: Path, tmp_path: Path, words: list[str]) -> list[str]:
    line = shlex.join(words[:-1]) + " " + words[-1]
    program = f"source {shlex.quote(os.fspath(script))}; complete -C {shlex.quote(line)}"
    env = {"PATH": os.environ["PATH"], "HOME": os.fspath(tmp_path), "CLOCHE_ROOT": "/nosuch"}
    done = subprocess.run(
        ["fish", "--no-config", "-c", program], capture_output=True, text=True, check=False, env=env, cwd=tmp_path
    )
    assert done.stderr == ""
    return sorted({line.split("\t")[0] for line in done.stdout.splitlines()})
