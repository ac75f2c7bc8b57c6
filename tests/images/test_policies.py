"""When `run` asks a registry, what it says meanwhile and where, and images for other machines."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cloche.images.foreign import beginning, without_interpreter
from tests.images.liar import Liar, digest_of, tar_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Cli

QEMU = (
    "enabled\ninterpreter /usr/bin/qemu-aarch64\nflags: {flags}\noffset 0\n"
    "magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n"
)


def image(word: str, **more: Any) -> dict[str, Any]:
    """What a liar needs for an image that prints a word."""
    busybox = Path(shutil.which("busybox") or "").read_bytes()
    tar = tar_of(**{"bin/sh": busybox, "word": word.encode()})
    own = {"Entrypoint": ["/bin/sh", "-c", "echo $WORD"], "Env": [f"WORD={word}"]}
    return {
        "layer": tar,
        "config": {"config": own, "rootfs": {"type": "layers", "diff_ids": [digest_of(tar)]}, **more},
    }


def becomes(liar: Liar, word: str) -> None:
    """The same name gets another image."""
    with Liar(**image(word)) as other:
        liar.layer, liar.config, liar.document = other.layer, other.config, other.document


def manifests(liar: Liar) -> int:
    return sum("/manifests/" in path for path, _ in liar.asked)


@pytest.fixture
def liar() -> Iterator[Liar]:
    with Liar(**image("first")) as made:
        yield made


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"CLOCHE_ROOT": str(tmp_path / "store")}


def test_what_is_said_is_not_the_commands(cli: Cli, liar: Liar, env: dict[str, str]) -> None:
    """The output has nothing in it but what the command wrote; how the fetching went is said as docker says it."""
    done = cli("run", "--rm", liar.name, env=env)
    assert done.stdout == "first\n"
    first, heading, *layers, digest, status = done.stderr.splitlines()
    assert first == f"Unable to find image '{liar.name}' locally"
    assert heading == f"1: Pulling from {liar.host}/app"
    assert [line.split(": ")[1] for line in layers] == ["Download complete", "Pull complete"]
    assert digest == f"Digest: {digest_of(liar.manifest)}"
    assert status == f"Status: Downloaded newer image for {liar.name}"
    assert cli("run", "--rm", liar.name, env=env).stderr == ""
    assert cli("run", "--rm", "-q", "--pull", "always", liar.name, env=env).stderr == ""


def test_newer_fetches_what_differs(cli: Cli, liar: Liar, env: dict[str, str]) -> None:
    assert cli("run", "--rm", "--pull", "newer", liar.name, env=env).stdout == "first\n"
    same = cli("run", "--rm", "--pull", "newer", liar.name, env=env)
    assert (same.stdout, same.stderr) == ("first\n", "")
    becomes(liar, "second")
    other = cli("run", "--rm", "--pull", "newer", liar.name, env=env)
    assert other.stdout == "second\n"
    assert f"Status: Downloaded newer image for {liar.name}" in other.stderr
    liar.close()
    down = cli("run", "--rm", "--pull", "newer", liar.name, env=env)
    assert (down.returncode, down.stdout) == (0, "second\n")
    assert down.stderr.startswith(f"cloche: the {liar.name} that is here is used: ")
    assert down.stderr.count("\n") == 1


def test_a_registry_that_is_down(cli: Cli, liar: Liar, env: dict[str, str]) -> None:
    """`always` is always; who has an older one is told so."""
    for policy in ("always", "newer"):
        nothing = cli("run", "--rm", "--pull", policy, "localhost:1/app:1", env=env)
        assert (nothing.returncode, nothing.stdout) == (125, "")
        assert "localhost:1 cannot be reached" in nothing.stderr
        assert "an older one is here" not in nothing.stderr
    assert cli("pull", "-q", liar.name, env=env).returncode == 0
    liar.close()
    older = cli("run", "--rm", "--pull", "always", liar.name, env=env)
    assert (older.returncode, older.stdout) == (125, "")
    assert "an older one is here" in older.stderr
    assert cli("run", "--rm", "--pull", "missing", liar.name, env=env).stdout == "first\n"


def test_never(cli: Cli, liar: Liar, env: dict[str, str]) -> None:
    done = cli("run", "--rm", "--pull", "never", liar.name, env=env)
    assert done.returncode == 125
    assert done.stderr.splitlines()[0] == f"cloche: no such image: {liar.name}"
    assert liar.asked == []


@pytest.mark.parametrize("options", [(), ("--userns", "host")], ids=["plain", "sealed"])
def test_always_asks_once(root: Cli, liar: Liar, env: dict[str, str], options: tuple[str, ...]) -> None:
    """Also where the command begins anew, from a copy of the interpreter that nobody can write."""
    done = root("run", "--rm", "--pull", "always", *options, liar.name, env=env)
    assert done.stdout == "first\n", done.stderr
    assert manifests(liar) == 1


PROGRAM = """
import sys, cloche
print(cloche.run([], sys.argv[1], pull=sys.argv[2], entrypoint="/bin/sh", stdin="echo $WORD").stdout, end="")
"""


def test_from_a_program(cli: Cli, liar: Liar, env: dict[str, str], tmp_path: Path) -> None:
    """The same, and nothing is printed."""
    more = {**os.environ, **env, "CLOCHE_STATE": str(tmp_path / "state"), "PYTHONPATH": str(cli.source)}

    def program(policy: str) -> tuple[str, str]:
        words = [cli.python, "-c", PROGRAM, liar.name, policy]
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=more, timeout=60)
        return done.stdout, done.stderr

    assert program("always") == ("first\n", "")
    becomes(liar, "second")
    assert program("missing") == ("first\n", "")
    assert program("newer") == ("second\n", "")
    assert program("missing") == ("second\n", "")


@pytest.mark.parametrize("platform", ["linux/s390x", "windows/amd64", "plan9"])
def test_a_platform_that_cannot_run_here(cli: Cli, liar: Liar, env: dict[str, str], platform: str) -> None:
    """Refused before anything is fetched."""
    for verb in ("run", "explain"):
        done = cli(verb, "--platform", platform, liar.name, env=env)
        assert (done.returncode, done.stdout) == (125, "")
        first, hint = done.stderr.splitlines()
        assert first.startswith("cloche: running programs for ")
        assert "is not possible here: " in first
        assert "binfmt_misc" in hint
    assert liar.asked == []


def test_another_platform_than_the_one_here(cli: Cli, env: dict[str, str]) -> None:
    """`never` takes no image for something else; the rest fetch what was asked for."""
    with Liar(**image("small", architecture="386")) as liar:
        assert cli("pull", "-q", "--platform", "linux/386", liar.name, env=env).returncode == 0
        assert cli("run", "--rm", "--platform", "linux/386", "--pull", "never", liar.name, env=env).stdout == "small\n"
        done = cli("run", "--rm", "--platform", "linux/amd64", "--pull", "never", liar.name, env=env)
        assert done.returncode == 125
        assert f"no such image: {liar.name} for linux/amd64: the one here is for linux/386" in done.stderr
        assert "cloche pull --platform linux/amd64" in done.stderr


@pytest.mark.parametrize(
    ("architecture", "registered", "says"),
    [
        ("arm64", [], "binfmt_misc has no interpreter for it"),
        ("arm64", [QEMU.format(flags="POCF")], ""),
        ("arm64", [QEMU.format(flags="OC")], "its interpreter /usr/bin/qemu-aarch64 is not in the image"),
        ("arm64", [QEMU.format(flags="F").replace("enabled", "disabled")], "binfmt_misc has no interpreter for it"),
        ("arm64", [QEMU.format(flags="F").replace("offset 0", "offset 4")], "binfmt_misc has no interpreter for it"),
        ("arm64", ["enabled\ninterpreter /usr/bin/jar\nflags: F\nextension .jar\n"], "binfmt_misc has no"),
        ("riscv64", [QEMU.format(flags="F")], "binfmt_misc has no interpreter for it"),
        ("pdp11", [QEMU.format(flags="F")], "binfmt_misc has no interpreter for it"),
        ("arm64", ["enabled\ninterpreter /x\nflags: F\noffset 0\nmagic 7g\n"], "binfmt_misc has no interpreter"),
    ],
)
def test_which_interpreter(architecture: str, registered: list[str], says: str) -> None:
    found = without_interpreter(architecture, registered)
    assert found == says if not says else found.startswith(says)


def test_how_a_program_begins() -> None:
    """As one of this machine's does."""
    own = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    real = Path(shutil.which("busybox") or "").read_bytes()[:20]
    made = beginning(own)
    assert (real[:6], real[18:]) == (made[:6], made[18:])
    assert beginning("s390x")[18:] == b"\x00\x16"
