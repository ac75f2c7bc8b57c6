"""Restart policies, for real: who is started again, how often, when, and what ends that."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.containers.test_health import supervisor

if TYPE_CHECKING:
    from tests.containers.conftest import Alive

FAILING = ("host", "sh", "-c", "exit 3")


def restarts(alive: Alive, name: str) -> int:
    return int(alive.document(name)["RestartCount"])


def until_restarted(alive: Alive, name: str, times: int) -> None:
    deadline = time.monotonic() + 30
    while (found := restarts(alive, name)) < times:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def actions(alive: Alive, name: str, *wanted: str) -> list[tuple[str, float]]:
    """(what, when in seconds) of its events."""
    words = (
        "--since",
        "10m",
        "--until",
        "0s",
        "--filter",
        f"container={name}",
        "--format",
        "{{.Action}} {{.TimeNano}}",
    )
    found = [line.rpartition(" ")[::2] for line in alive("events", *words).splitlines()]
    return [(action, int(when) / 1e9) for action, when in found if action in wanted]


def test_on_failure_is_tried_so_often(alive: Alive) -> None:
    alive("run", "-d", "--name", "job", "--restart", "on-failure:3", *FAILING)
    until_restarted(alive, "job", 3)
    alive.until("job", "exited")
    assert restarts(alive, "job") == 3
    assert alive.document("job")["State"]["ExitCode"] == 3
    told = [action for action, _ in actions(alive, "job", "start", "die", "restart")]
    assert told == ["start", "die"] * 4
    starts = [when for action, when in actions(alive, "job", "start", "die")][1:]
    waits = [after - before for before, after in zip(starts[::2], starts[1::2], strict=False)]
    assert waits[0] >= 0.1
    assert waits[1] >= 0.2
    assert waits[2] >= 0.4
    alive("start", "job")  # somebody's start begins anew
    until_restarted(alive, "job", 1)


def test_several_ask_for_its_end_while_it_is_started_again(alive: Alive) -> None:
    """Each of them hears of it, also one that comes when it has been given up and its start is still on the way."""
    for _ in range(4):
        alive("run", "-d", "--name", "job", "--restart", "always", *FAILING)
        until_restarted(alive, "job", 1)
        asking = [alive.cli.popen("stop", "-t", "0", "job", env=alive.env, stdout=-3) for _ in range(6)]
        assert [command.wait(30) for command in asking] == [0] * 6
        alive("rm", "-f", "job")


@pytest.mark.parametrize(("policy", "code"), [("no", 3), ("on-failure", 0), ("on-failure:5", 0)])
def test_some_are_left(alive: Alive, policy: str, code: int) -> None:
    alive("run", "-d", "--name", "job", "--restart", policy, "host", "sh", "-c", f"exit {code}")
    alive.until("job", "exited")
    time.sleep(0.5)
    assert restarts(alive, "job") == 0
    assert alive.document("job")["State"]["Status"] == "exited"


@pytest.mark.parametrize("policy", ["always", "unless-stopped"])
def test_whatever_the_end_until_somebody_stops_it(alive: Alive, policy: str) -> None:
    alive("run", "-d", "--name", "web", "--restart", policy, "host", "sh", "-c", "echo here; sleep 0.2")
    until_restarted(alive, "web", 2)
    alive("stop", "-t", "0", "web")
    before = restarts(alive, "web")
    time.sleep(1)
    found = alive.document("web")
    assert (found["State"]["Status"], found["RestartCount"]) == ("exited", before)
    assert alive("logs", "web").count("here") >= 2


def test_between_two_starts(alive: Alive) -> None:
    alive("run", "-d", "--name", "web", "--restart", "always", *FAILING)
    until_restarted(alive, "web", 5)  # from now on it is waited for seconds
    alive.until("web", "restarting")
    assert alive("ps", "--format", "{{.Status}}").startswith("Restarting (3) ")
    assert alive.document("web")["State"]["Restarting"] is True
    assert "is restarting, wait until the container is running" in alive("exec", "web", "true", code=1)
    assert "You cannot attach to a restarting container, wait until it is running" in alive("attach", "web", code=1)
    assert "is about to be started again" in alive("why", "web")
    alive("stop", "web")
    assert alive.document("web")["State"]["Status"] == "exited"
    time.sleep(4)
    assert alive.document("web")["State"]["Status"] == "exited"


def test_the_policy_that_is_taken_away_between_two_starts(alive: Alive) -> None:
    alive("run", "-d", "--name", "web", "--restart", "always", *FAILING)
    until_restarted(alive, "web", 4)
    alive("update", "--restart", "no", "web")
    time.sleep(2)
    assert alive.document("web")["State"]["Status"] == "exited"


def test_one_that_is_removed_between_two_starts(alive: Alive) -> None:
    alive("run", "-d", "--name", "web", "--restart", "always", *FAILING)
    until_restarted(alive, "web", 3)
    assert "is running" in alive("rm", "web", code=1)
    alive("rm", "-f", "web")
    assert "No such container" in alive("inspect", "--type", "container", "web", code=1)
    time.sleep(1)
    assert alive("ps", "-aq") == ""


def test_a_signal_that_is_no_stop_changes_nothing(alive: Alive) -> None:
    alive(
        "run", "-d", "--name", "web", "--restart", "always", "host", "sh", "-c", "trap 'exit 4' USR1; sleep 1000 & wait"
    )
    time.sleep(0.3)
    alive("kill", "-s", "USR1", "web")
    until_restarted(alive, "web", 1)
    alive.until("web", "running")
    alive("kill", "web")
    time.sleep(1)
    assert alive.document("web")["State"]["Status"] == "exited"


def test_a_start_that_fails_is_tried_again(alive: Alive, tmp_path: Path) -> None:
    """What it needs is gone when it is to be started again, and is back later."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    words = (
        "--restart",
        "always",
        "-v",
        f"{folder}:/shelf",
        "host",
        "sh",
        "-c",
        "sleep 0.5; test -e /shelf/well && exec sleep 1000",
    )
    alive("run", "-d", "--name", "web", *words)
    folder.rename(tmp_path / "elsewhere")
    until_restarted(alive, "web", 3)
    found = alive.document("web")
    assert found["State"]["Status"] == "restarting"
    assert "shelf" in found["State"]["Error"]
    assert found["State"]["ExitCode"] == 128
    (tmp_path / "elsewhere/well").touch()
    (tmp_path / "elsewhere").rename(folder)
    alive.until("web", "running")
    time.sleep(1)
    alive.until("web", "running")


def test_a_supervisor_that_is_killed_between_two_starts(alive: Alive) -> None:
    """Whoever looks next has another one see to it."""
    alive("run", "-d", "--name", "web", "--restart", "always", *FAILING)
    until_restarted(alive, "web", 5)
    alive.until("web", "restarting")
    before = restarts(alive, "web")
    os.kill(supervisor(alive), signal.SIGKILL)
    until_restarted(alive, "web", before + 1)


def test_a_stop_while_it_is_being_started_again(alive: Alive) -> None:
    """However the two come together, it stays down."""
    alive("run", "-d", "--name", "web", "--restart", "always", "host", "true")
    for wait in (0.0, 0.02, 0.05, 0.08, 0.11, 0.14):
        time.sleep(0.25 + wait)
        alive("stop", "-t", "0", "web")
        time.sleep(0.6)
        assert alive.document("web")["State"]["Status"] == "exited"
        alive("start", "web")


def test_it_is_given_the_surroundings_it_had(alive: Alive, tmp_path: Path) -> None:
    """Whoever starts it again is elsewhere, with other variables."""
    (tmp_path / "here").mkdir()
    words = ("-v", "./here:/here", "-e", "FROM_ME", "-w", "/tmp", "--restart", "on-failure:1")
    script = "echo $FROM_ME $(pwd) $(grep SigIgn /proc/self/status); touch /here/$(date +%N); exit 1"
    env = {**alive.env, "FROM_ME": "mine"}
    done = alive.cli("run", "-d", "--name", "job", *words, "host", "sh", "-c", script, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    until_restarted(alive, "job", 1)
    alive.until("job", "exited")
    first, second = alive("logs", "job").splitlines()
    assert first == second
    assert first.startswith("mine /tmp SigIgn: 0000000000000000")
    assert len(list((tmp_path / "here").iterdir())) == 2


def test_removal_contradicts(alive: Alive) -> None:
    for words in (("-d",), ()):
        said = alive("run", *words, "--rm", "--restart", "always", "host", "true", code=125)
        assert "cannot specify both --restart and --rm" in said
    alive("run", "--rm", "--restart", "no", "host", "true")
    assert "invalid restart policy" in alive("create", "--restart", "sometimes", "host", "true", code=125)
