"""The machine was started anew, or a number is somebody else's by now: no state is believed that is not so."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.containers.ground import Ground, end, started

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("cleared")
OTHER = "00000000-0000-4000-8000-000000000000"


def path_of(ground: Ground, name: str) -> Path:
    return ground.store / "containers" / os.readlink(ground.store / "names" / name) / "state.json"


def change(ground: Ground, name: str, **members: object) -> None:
    """Have its state say something else."""
    path = path_of(ground, name)
    first, _, more = path.read_text().partition("\n")
    path.write_text(f"{json.dumps({**json.loads(first), **members})}\n{more}")


def reboot(ground: Ground, *names: str) -> None:
    """What a loss of power leaves: nothing that runs, no state directory, states of another boot."""
    pids = [int(str(ground.of(name)["pid"])) for name in names]
    ground.kill("supervisor", "stage")
    for pid in filter(None, pids):
        end(pid)
    shutil.rmtree(ground.state)
    for name in names:
        change(ground, name, boot=OTHER)


def test_what_ran_has_ended(ground: Ground) -> None:
    ids = {name: ground.run(name) for name in ("ran", "slept", "other")}
    ground.create("made")
    ground.well("stop", "-t", "0", "other")
    reboot(ground, "ran", "slept")
    change(ground, "slept", status="paused")
    truth = ground.truth()
    assert truth["ran"] == truth["slept"] == ("exited", None)
    assert truth["other"][0] == "exited"
    assert truth["other"][1]
    assert truth["made"][0] == "created"
    assert ground.well("ps", "-q") == ""
    assert ground.well("wait", "ran") == "unknown\n"
    assert "ended while nobody was there" in ground.well("why", "ran")
    ground.well("start", "ran", "slept")
    assert ground.well("inspect", "-f", "{{.Id}} {{.State.Status}}", "ran") == f"{ids['ran']} running\n"


@pytest.mark.parametrize("policy", ["always", "unless-stopped", "on-failure"])
def test_what_is_to_run_runs_again(ground: Ground, policy: str) -> None:
    """As soon as somebody looks; but not what somebody has stopped."""
    ground.run("ran", "--restart", policy)
    ground.run("ended", "--restart", policy)
    ground.well("stop", "-t", "0", "ended")
    reboot(ground, "ran")
    ground.well("ps")
    ground.until("ran", "running")
    assert ground.truth()["ended"][0] == "exited"
    assert ground.of("ran")["restarts"] == 1


def test_what_was_about_to_run_again_does(ground: Ground) -> None:
    ground.run("again", "--restart", "always", command=("sh", "-c", "sleep 0.3; exit 3"))
    ground.until("again", "restarting")
    ground.kill("supervisor", "stage")
    before = ground.of("again")["restarts"]
    shutil.rmtree(ground.state)
    change(ground, "again", boot=OTHER)
    ground.well("ps")
    deadline = time.monotonic() + 20
    while ground.of("again")["restarts"] == before:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_goes_with_its_end_goes(ground: Ground) -> None:
    """--rm, of one whose end nobody saw."""
    ground.run("gone", "--rm", "-v", "/anonymous")
    reboot(ground, "gone")
    ground.well("ps")
    deadline = time.monotonic() + 20
    while "gone" in ground.well("ps", "-a") or ground.well("volume", "ls", "-q"):  # which goes last
        assert time.monotonic() < deadline, ground.log()


def test_first_commands_of_all_kinds(ground: Ground) -> None:
    """Whichever comes first after it does what it is to do."""
    commands = (
        ("start", 0, "running"),
        ("restart", 0, "running"),
        ("stop", 0, "exited"),
        ("kill", 1, "exited"),
        ("pause", 1, "exited"),
        ("unpause", 1, "exited"),
        ("exec", 1, "exited"),
        ("attach", 1, "exited"),
        ("top", 1, "exited"),
        ("wait", 0, "exited"),
        ("logs", 0, "exited"),
        ("rm", 0, ""),
    )
    ground.run("one")
    for verb, code, status in commands:
        reboot(ground, "one")
        done = ground(verb, "one", *(["true"] if verb == "exec" else []))
        assert done.returncode == code, (verb, done.stderr)
        assert len(done.stderr.splitlines()) <= 2, done.stderr
        assert not code or "is not running" in done.stderr or verb == "unpause", (verb, done.stderr)
        assert ground.truth().get("one", ("",))[0] == status, verb
        if status:
            ground.well("start", "one")


# numbers of processes


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """Somebody who has nothing to do with it."""
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    process.kill()
    process.wait()


def test_nobody_else_is_signalled(ground: Ground, bystander: subprocess.Popen[bytes]) -> None:
    """Its number is another's process by now: a different start time, or the same and a different boot."""
    another: dict[str, object] = {"pid": bystander.pid, "start": 1}
    before: dict[str, object] = {"pid": bystander.pid, "start": int(started(bystander.pid)), "boot": OTHER}
    both, one = ("supervisor", "stage"), ("supervisor",)
    cases = (
        ("stop -t 0", both, another),
        ("stop -t 0", both, before),
        ("stop -t 0", one, before),
        ("kill", both, another),
        ("kill -s TERM", one, another),
        ("restart -t 0", both, another),
        ("rm -f", both, before),
        ("rm -f", one, another),
    )
    ground.run("one")
    for words, lost, members in cases:
        pid = int(str(ground.of("one")["pid"]))
        ground.kill(*lost)
        end(pid)
        change(ground, "one", **members)
        ground(*words.split(), "one")
        assert bystander.poll() is None, words
        if words.startswith("rm"):
            ground.run("one")
        else:
            assert ground.truth()["one"][0] == ("running" if words.startswith("restart") else "exited")
            ground.well("start", "one")


def test_a_throwaway_one_is_not_mistaken_either(ground: Ground, bystander: subprocess.Popen[bytes]) -> None:
    command = ground.begin("run", "--rm", "--name", "brief", "box", "sleep", "1000")
    deadline = time.monotonic() + 20
    while "brief" not in ground.well("ps"):
        assert time.monotonic() < deadline
    (record,) = (ground.state / "containers").glob("*.json")
    known = record.read_text()
    command.send_signal(signal.SIGINT)
    command.communicate(timeout=20)
    record.write_text(json.dumps({**json.loads(known), "pid": bystander.pid}))
    for words in (("kill", "brief"), ("stop", "brief"), ("rm", "-f", "brief")):
        ground(*words)
        assert bystander.poll() is None
    assert ground.well("ps", "-a").count("\n") == 1
