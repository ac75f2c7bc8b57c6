"""What is asked of a container while somebody is starting it: the start is waited for, as docker's lock does."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.containers.ground import Ground

pytestmark = pytest.mark.usefixtures("cleared")
SLOW = {"CLOCHE_FAILPOINT": "supervisor-start:sleep"}  # two seconds
STATUS = {"stop": "exited", "kill": "exited", "pause": "paused", "restart": "running"}


def begin(ground: Ground, name: str) -> subprocess.Popen[bytes]:
    """A start that is in progress."""
    ground.kill("supervisor")
    starting = ground.begin("start", name, **SLOW)
    deadline = time.monotonic() + 20
    while not (ground.state / "run").exists() or not os.listdir(ground.state / "run"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert starting.poll() is None
    return starting


@pytest.mark.parametrize("verb", STATUS)
@pytest.mark.parametrize("again", [False, True])
def test_it_is_waited_for(ground: Ground, verb: str, *, again: bool) -> None:
    ground.create("one")
    if again:
        ground.well("start", "one")
        ground.well("stop", "-t", "0", "one")
    with begin(ground, "one") as starting:
        words = (verb, "-t", "0", "one") if verb in {"stop", "restart"} else (verb, "one")
        assert ground.well(*words) == "one\n"
        assert starting.wait(30) == 0
    ground.until("one", STATUS[verb])


def test_removed(ground: Ground) -> None:
    ground.create("one")
    with begin(ground, "one") as starting:
        assert "container is running" in ground("rm", "one").stderr
        assert starting.wait(30) == 0
    ground.well("stop", "-t", "0", "one")
    with begin(ground, "one") as starting:
        ground.well("rm", "-f", "one")
        assert starting.wait(30) == 0
    assert ground.truth() == {}


def test_in_vain(ground: Ground) -> None:
    ground.create("one", command=("nosuch",))
    with begin(ground, "one") as starting:
        assert "is not running" in ground("kill", "one").stderr
        assert starting.wait(30) == 1
    with begin(ground, "one") as starting:
        assert ground.well("stop", "one") == "one\n"
        assert starting.wait(30) == 1
    assert ground.truth()["one"] == ("created", 127)


@pytest.mark.parametrize("verb", ["stop", "kill"])
def test_whoever_started_it_was_killed(ground: Ground, verb: str) -> None:
    """The start goes on without, and is ended."""
    ground.create("one")
    with begin(ground, "one") as starting:
        starting.send_signal(signal.SIGKILL)
        starting.wait()
        ground.well(verb, "one")
    time.sleep(2)
    assert ground.truth()["one"][0] in {"created", "exited"}


def test_another_start_of_it_waits(ground: Ground) -> None:
    """Whether who has asked first is there or was killed."""
    for is_killed in (True, False):
        ground.create("one")
        with begin(ground, "one") as starting:
            if is_killed:
                starting.send_signal(signal.SIGKILL)
                starting.wait()
            assert ground.well("start", "one") == "one\n"
        assert ground.truth()["one"][0] == "running"
        ground.well("rm", "-f", "one")


def test_whoever_goes_meanwhile_takes_nothing_from_who_is_to_have_all_of_it(ground: Ground) -> None:
    """It speaks before the supervisor hears that it is the command."""
    ground.create("one", command=("sh", "-c", "echo said; exec sleep 1000"))
    with ground.begin("start", "-a", "one", CLOCHE_FAILPOINT="Execute:sleep") as starting:
        ground.until("one", "running")
        ground.well("kill", "-s", "CONT", "one")
        stage = ground.pid("stage")
        os.kill(stage, signal.SIGSTOP)
        words = Path(f"/proc/{ground.of('one')['pid']}/cmdline")
        while not words.read_bytes().startswith(b"sleep"):
            time.sleep(0.02)
        time.sleep(0.1)  # for who would read it
        os.kill(stage, signal.SIGCONT)
        ground.well("kill", "one")
        assert starting.communicate(timeout=30)[0] == b"said\n"
