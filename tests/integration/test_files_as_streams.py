"""Files of ours that are a command's streams: it gets what is in them and not the files, which it could open anew."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

import cloche
from cloche.sandbox import api
from tests.integration.background import running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Cli

SPOIL = (
    "cat; (echo wrong >/proc/self/fd/0) 2>/dev/null; for fd in 0 1 2; do readlink /proc/$$/fd/$fd; done | sed 's/:.*//'"
)
BOTH = "for n in 1 2 3 4 5 6 7 8; do echo out $n; echo err $n >&2; done"
LINES = "".join(f"out {n}\nerr {n}\n" for n in range(1, 9))


@pytest.fixture(scope="module", autouse=True)
def _no_stage_is_kept() -> Iterator[None]:
    yield
    api._end_stages()


@pytest.fixture
def ours(shared_dir: Path) -> Path:
    """Two files that everybody may read and write, so that nothing but the way to them protects them."""
    for name in ("input", "output"):
        (shared_dir / name).write_text("precious\n")
        (shared_dir / name).chmod(0o666)
    return shared_dir


def with_files(cli: Cli, ours: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    """A command with those two for its input and its outputs."""
    with (ours / "input").open("rb") as given, (ours / "output").open("ab") as taken:
        child = cli.popen(*words, stdin=given, stdout=taken, stderr=taken)
    return subprocess.CompletedProcess(child.args, child.wait(30))


def test_the_command_has_pipes(anyone: Cli, rootfs: Path, ours: Path) -> None:
    assert with_files(anyone, ours, "run", "-i", "--rootfs", str(rootfs), "sh", "-c", SPOIL).returncode == 0
    assert (ours / "input").read_text() == "precious\n"
    assert (ours / "output").read_text() == "precious\nprecious\n" + "pipe\n" * 3
    with running(anyone, "--rootfs", str(rootfs)) as inside:
        assert with_files(anyone, ours, "exec", "-i", inside.name, "sh", "-c", SPOIL).returncode == 0
        assert with_files(anyone, ours, "exec", inside.name, "sh", "-c", BOTH).returncode == 0
    assert (ours / "input").read_text() == "precious\n"
    assert (ours / "output").read_text() == "precious\n" + ("precious\n" + "pipe\n" * 3) * 2 + LINES


def test_what_is_a_pipe_or_nothing_is_given_as_it_is(cli: Cli, rootfs: Path) -> None:
    read, write = os.pipe()
    with open(read, "rb") as answer, open(write, "wb") as taken:
        words = ("run", "-i", "--rootfs", str(rootfs), "sh", "-c", "readlink /proc/$$/fd/0; readlink /proc/$$/fd/1")
        child = cli.popen(*words, stdin=subprocess.DEVNULL, stdout=taken)
        taken.close()
        inode = os.fstat(answer.fileno()).st_ino
        assert answer.read() == f"/dev/null\npipe:[{inode}]\n".encode()
        assert child.wait(20) == 0


def test_what_it_leaves_behind_is_waited_for_and_need_not_be(cli: Cli, rootfs: Path, ours: Path) -> None:
    with running(cli, "--rootfs", str(rootfs)) as inside:
        words = ("exec", inside.name, "sh", "-c")
        assert with_files(cli, ours, *words, "(sleep 0.3; echo late) & echo soon").returncode == 0
        assert (ours / "output").read_text() == "precious\nsoon\nlate\n"
        with (ours / "output").open("wb") as taken:
            child = cli.popen(*words, "sleep 1000 & echo $$; exit 3", stdout=taken)
        while not (ours / "output").read_text().endswith("\n"):
            assert child.poll() is None
        shell = (ours / "output").read_text().strip()
        while cli("exec", inside.name, "test", "-e", f"/proc/{shell}").returncode == 0:
            assert child.poll() is None
        child.send_signal(signal.SIGINT)
        assert child.wait(20) == 3


@pytest.mark.parametrize("name", ["output", "error"])
def test_an_output_that_takes_no_more_is_said(cli: Cli, rootfs: Path, name: str) -> None:
    script = 'exec "$@" 2>/dev/full' if name == "error" else 'exec "$@" >/dev/full'
    words = ("run", "--rootfs", str(rootfs), "sh", "-c", "echo text; echo text >&2")
    env = {"PATH": os.environ["PATH"], "CLOCHE_STATE": cli.state, "CLOCHE_ROOT": cli.root}
    done = subprocess.run(
        ["sh", "-c", script, "sh", *cli.argv, *words], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 125
    if name == "output":
        assert done.stderr.endswith("cloche: standard output: No space left on device\n  hint: make room there\n")


def test_from_python(rootfs: Path, ours: Path) -> None:
    with (ours / "input").open("rb") as given, (ours / "output").open("ab") as taken:
        options = {"rootfs": rootfs, "stdin": given, "stdout": taken, "stderr": taken}
        assert cloche.run(["sh", "-c", SPOIL], **options).ok  # type: ignore[arg-type]
        assert cloche.run(["sh", "-c", BOTH], **options).ok  # type: ignore[arg-type]
        os.lseek(given.fileno(), 4, 0)
        asyncio.run(cloche.run_async(["sh", "-c", SPOIL], **options))  # type: ignore[arg-type]
    assert (ours / "input").read_text() == "precious\n"
    found = (ours / "output").read_text()
    assert found == "precious\nprecious\n" + "pipe\n" * 3 + LINES + "ious\n" + "pipe\n" * 3


def test_from_python_an_output_is_kept_until_the_end(rootfs: Path, ours: Path) -> None:
    async def closed_early() -> None:
        with (ours / "output").open("wb") as taken:
            task = asyncio.create_task(cloche.run_async("echo here; sleep 0.2; echo done", rootfs=rootfs, stdout=taken))
            while not (ours / "output").read_text():
                await asyncio.sleep(0.01)
        with (ours / "input").open("ab"):  # has its number now
            await task

    asyncio.run(closed_early())
    assert (ours / "output").read_text() == "here\ndone\n"
    assert (ours / "input").read_text() == "precious\n"


def test_from_python_an_output_that_takes_no_more(rootfs: Path) -> None:
    with open("/dev/full", "wb") as full, pytest.raises(OSError, match="No space left on device"):
        cloche.run(["echo", "text"], rootfs=rootfs, stdout=full)
