"""How long things take: by a clock that nobody sets, within the time that was asked for and one second more."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.containers.ground import Ground

if TYPE_CHECKING:
    from collections.abc import Iterator

MANY = 10
DEAF = ("sh", "-c", "trap '' TERM; while :; do sleep 1000; done")
# a supervisor for which it is another day each time it looks
JUMPING = """
import sys, time
sys.path.insert(0, {src!r})
jumps, real = iter(range(1, 1 << 60)), time.time_ns
time.time_ns = lambda: real() + (-1) ** next(jumps) * 86_400_000_000_000
time.time = lambda: time.time_ns() / 1e9
from cloche.engine.supervisor.main import main
main({ready})
"""


def took(ground: Ground, *commands: tuple[str, ...]) -> list[float]:
    """Seconds that each of these takes, all begun at the same moment."""
    began = time.monotonic()
    processes = [ground.begin(*words) for words in commands]
    lengths = [0.0] * len(processes)
    while not all(lengths):
        for number, process in enumerate(processes):
            if not lengths[number] and process.poll() is not None:
                lengths[number] = time.monotonic() - began
        time.sleep(0.01)
    for process in processes:
        assert process.communicate()[1] == b""
        assert process.returncode == 0
    return lengths


def test_stop_takes_its_time_and_a_second_at_most(ground: Ground) -> None:
    """Beside the same with no patience: what that takes on this machine now is not of the patience."""
    many = [f"deaf{number}" for number in range(MANY)]
    for name in ("one", "other", *many):
        ground.run(name, command=DEAF)
    lengths = took(ground, ("stop", "-t", "0", "other"), ("stop", "-t", "1", "one"), ("stop", "-t", "1", *many))
    at_once, one, all_of_them = lengths
    assert 1 <= one <= at_once + 1 + max(1, at_once)
    assert 1 <= all_of_them <= at_once + 1 + max(1, MANY * at_once / 4)
    assert {status for status, _ in ground.truth().values()} == {"exited"}
    assert {code for _, code in ground.truth().values()} == {137}
    ground.well("rm", *ground.truth())


def test_the_least_patient_of_those_who_stop_it_decides(ground: Ground) -> None:
    """Nobody waits longer for whoever comes after."""
    ground.run("one", command=("sh", "-c", "trap 'echo asked' TERM; while :; do sleep 0.05; done"))
    stops = []
    for patience in ("2", "3600", "-1"):
        stops.append(ground.begin("stop", "-t", patience, "one"))
        while ground.well("logs", "one").count("asked") < len(stops):
            time.sleep(0.02)
    assert [stop.communicate(timeout=30) for stop in stops] == [(b"one\n", b"")] * 3
    assert ground.truth()["one"] == ("exited", 137)
    ground.well("rm", "one")


@pytest.fixture
def jumping(ground: Ground) -> Iterator[Ground]:
    """The same, with a supervisor whose clock nobody can follow."""
    ground.run("first")  # which also makes the directories, and is taken over
    ground.kill("supervisor")
    read, write = os.pipe()
    code = JUMPING.format(src=str(ground.cli.source), ready=write)
    with (ground.state / "supervisor.log").open("ab") as log:
        process = subprocess.Popen(
            [ground.cli.python, "-I", "-S", "-c", code],
            env={"PATH": os.environ["PATH"], "HOME": "/", **ground.env},
            stdin=subprocess.DEVNULL,
            stderr=log,
            pass_fds=(write,),
        )
    os.close(write)
    os.read(read, 1)  # it listens
    os.close(read)
    yield ground
    ground.clear()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)
    assert process.poll() == 0


def looks(ground: Ground) -> dict[str, Any]:
    found = ground.of("well")["health"]
    assert isinstance(found, dict)
    return found


def test_a_clock_that_jumps(jumping: Ground) -> None:
    """Looks at health, restarts and patience go by another one, and nothing is said to last less than nothing."""
    health = ("--health-cmd", "true", "--health-interval", "300ms")
    jumping.run("well", *health, command=DEAF)
    began = time.monotonic()
    jumping.run("again", "--restart", "on-failure:3", command=("sh", "-c", "exit 4"))
    jumping.until("again", "exited")
    assert time.monotonic() - began >= 0.1 + 0.2 + 0.4
    assert jumping.of("again")["restarts"] == 3
    deadline = time.monotonic() + 60
    while len((looked := looks(jumping))["log"]) < 3 or looked["status"] != "healthy":
        assert time.monotonic() < deadline, looked
        time.sleep(0.1)
    shown = jumping.well("ps", "-a") + jumping.well("why", "well") + jumping.well("why", "again")
    assert "Up " in shown
    assert "Exited (4)" in shown
    assert not re.search(r"(?<![\w.:-])-\d", shown), shown
    jumping.run("other", command=DEAF)
    at_once, patient = took(jumping, ("stop", "-t", "0", "other"), ("stop", "-t", "1", "well"))
    assert 1 <= patient <= at_once + 1 + max(1, at_once)
    assert jumping.truth()["well"] == ("exited", 137)
