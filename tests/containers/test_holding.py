"""Who has a container stand still while something in there does not stop: nobody else waits for that."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.containers.ground import Ground

pytestmark = pytest.mark.usefixtures("cleared")


@contextlib.contextmanager
def restless(ground: Ground, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process in the container's group that no freezer stops: it waits for a directory that another one holds.

    The directory is of a file system in user space that never answers.
    """
    group, folder = group_of(ground, name), tempfile.mkdtemp(dir="/tmp")
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0"
    subprocess.run(["mount", "-i", "-n", "-t", "fuse", "-o", options, "none", folder], pass_fds=(device,), check=True)
    processes = []
    try:
        for word in ("first", "second"):
            processes.append(subprocess.Popen(["mkdir", f"{folder}/{word}"], stderr=subprocess.DEVNULL))
            until(lambda: Path(f"/proc/{processes[-1].pid}/stat").read_text().rpartition(")")[2].split()[0] == "D")
        (group / "cgroup.procs").write_text(str(processes[1].pid))
        yield processes[0]
    finally:
        for process in processes:
            (group.parent / "cgroup.procs").write_text(str(process.pid))  # what a group has frozen does not die
            process.kill()
            process.wait()
        subprocess.run(["umount", "-l", folder], check=True)
        os.close(device)
        os.rmdir(folder)


def group_of(ground: Ground, name: str) -> Path:
    folder = ground.store / "containers" / os.readlink(ground.store / "names" / name)
    paths = json.loads((folder / "state.json").read_text().splitlines()[1])["paths"]
    return Path(paths.get("freezer") or paths[""])


def until(holds: object) -> None:
    deadline = time.monotonic() + 20
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def stops(ground: Ground, name: str) -> bool:
    """Whether it was asked to stand still, and does not yet."""
    group = group_of(ground, name)
    if (group / "freezer.state").exists():
        return (group / "freezer.state").read_text() == "FREEZING\n"
    return (group / "cgroup.freeze").read_text() == "1\n"


def test_others_are_answered_meanwhile(ground: Ground) -> None:
    ground.run("one")
    ground.run("other")
    with restless(ground, "one") as cause:
        pause = ground.begin("pause", "one")
        until(lambda: stops(ground, "one"))
        ground.well("kill", "-s", "CONT", "other")
        assert pause.poll() is None
        assert ground.truth()["one"] == ("running", 0)
        cause.kill()
        assert pause.communicate(timeout=30) == (b"one\n", b"")
        assert ground.truth()["one"] == ("paused", 0)
    ground.well("unpause", "one")


@pytest.mark.parametrize("line", ["stop -t 0 one", "kill one"])
def test_an_end_comes_first(ground: Ground, line: str) -> None:
    ground.run("one")
    with restless(ground, "one"):
        pause = ground.begin("pause", "one")
        until(lambda: stops(ground, "one"))
        ending = ground.begin(*line.split())
        err = pause.communicate(timeout=30)[1]
    assert ending.communicate(timeout=30) == (b"one\n", b"")
    assert pause.returncode == 1
    assert b"one cannot be frozen: it was let go on meanwhile" in err
    ground.until("one", "exited")


def test_who_was_killed_before_it_stood_still_leaves_it_running(ground: Ground) -> None:
    """The command, and the supervisor."""
    ground.run("one")
    with restless(ground, "one"):
        pause = ground.begin("pause", "one")
        until(lambda: stops(ground, "one"))
        pause.kill()
        pause.communicate()
        ground.kill("supervisor")
        assert ground.truth()["one"] == ("running", 0)
        assert not stops(ground, "one")
    assert ground.well("exec", "one", "echo", "well") == "well\n"
