"""What the next supervisor has to know of one that was killed, and what it is not to do twice."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.containers.ground import Ground

pytestmark = pytest.mark.usefixtures("cleared")
OBEDIENT = "trap 'exit 7' TERM; echo ready; sleep 1000 & wait"
SLOW = {"CLOCHE_FAILPOINT": "Execute:sleep"}  # two seconds between "it runs" and the first word of its command


def test_one_that_began_afterwards_is_looked_after_once(ground: Ground) -> None:
    """Of who looks after its health there is nobody left when it has ended, to write that into its next life."""
    ground.run("other")
    ground.create("one", "--health-cmd", "true", "--health-interval", "100ms")
    with ground.begin("start", "one", **SLOW) as starting:
        ground.until("one", "running")
        starting.send_signal(signal.SIGSTOP)  # it would start a supervisor that is as slow
        ground.supervise()
        starting.send_signal(signal.SIGCONT)
        assert starting.wait(30) == 0
    name = Path(f"/proc/{ground.of('one')['pid']}/cmdline")
    while not name.read_bytes().startswith(b"sleep"):
        time.sleep(0.02)
    ground.well("stop", "-t", "0", "one")
    ground.well("start", "one")
    for _ in range(20):
        assert ground.of("one")["status"] == "running"
        time.sleep(0.05)


def test_it_has_as_much_time_as_it_was_given(ground: Ground) -> None:
    ground.run("one", "--timeout", "1s")
    ground.kill("supervisor")
    ground.until("one", "exited")
    assert "timed out after 1 s;" in json.dumps(ground.of("one")["reason"])


def test_of_whose_end_failed_nothing_stays_open(ground: Ground) -> None:
    """Somebody has put a directory where its pipe was; the next look finds how it has ended."""
    ground.run("other")
    supervisor = ground.pid("supervisor")
    folder = Path(f"/proc/{supervisor}/fd")
    ground.well("ps")
    before = len(list(folder.iterdir()))
    pipe = ground.state / "run" / ground.run("one", "-i", command=("sh", "-c", OBEDIENT)) / "in"
    pipe.unlink()
    pipe.mkdir()
    ground.well("kill", "-s", "TERM", "one")
    while "Is a directory" not in ground.log():
        time.sleep(0.01)
    pipe.rmdir()
    ground.until("one", "exited")
    assert ground.truth()["one"] == ("exited", 7)
    assert ground.pid("supervisor") == supervisor
    deadline = time.monotonic() + 20
    while len(list(folder.iterdir())) > before:
        assert time.monotonic() < deadline, [os.readlink(path) for path in folder.iterdir()]
        time.sleep(0.1)
