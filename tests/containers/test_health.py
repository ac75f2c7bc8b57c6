"""Health checks: what is asked, what one look means, what is done about it, and that they go on whoever is killed."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import cloche
from tests.containers.boxes import take_in, write_box

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.containers.conftest import Alive

OFTEN = ("--health-interval", "200ms")


def health(alive: Alive, name: str) -> dict[str, Any]:
    """State.Health of a container."""
    found = alive.document(name)["State"]["Health"]
    assert isinstance(found, dict)
    return found


def until(alive: Alive, name: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Wait until something is so of a container's health."""
    deadline = time.monotonic() + 30
    while not holds(found := health(alive, name)):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


def status(wanted: str) -> Callable[[dict[str, Any]], bool]:
    return lambda found: found["Status"] == wanted


def actions(alive: Alive, name: str) -> list[str]:
    words = ("--since", "10m", "--until", "0s", "--filter", f"container={name}", "--format", "{{.Action}}")
    return alive("events", *words).splitlines()


def test_from_starting_to_unhealthy_and_back(alive: Alive) -> None:
    check = "echo looked; echo badly >&2; test -e /tmp/well"
    alive("run", "-d", "--name", "web", "--health-cmd", check, "--health-retries", "2", *OFTEN, "host", "sleep", "1000")
    assert "(health: starting)" in alive("ps", "--format", "{{.Status}}")
    found = until(alive, "web", status("unhealthy"))
    assert found["FailingStreak"] >= 2
    last = found["Log"][-1]
    assert (last["ExitCode"], last["Output"]) == (1, "looked\nbadly\n")
    assert last["Start"] < last["End"]
    assert "(unhealthy)" in alive("ps", "--format", "{{.Status}}", "--filter", "health=unhealthy")
    assert "its last health check ended with 1: looked" in alive("why", "web")
    alive("exec", "web", "touch", "/tmp/well")
    found = until(alive, "web", lambda health: health["Status"] == "healthy" and len(health["Log"]) == 5)
    assert found["FailingStreak"] == 0
    assert "(healthy)" in alive("ps", "--format", "{{.Status}}")
    told = [action for action in actions(alive, "web") if action.startswith("health")]
    assert told == ["health_status: unhealthy", "health_status: healthy"]
    assert f"exec_start: /bin/sh -c {check}" in actions(alive, "web")
    time.sleep(1)
    assert len(health(alive, "web")["Log"]) == 5
    alive("stop", "-t", "0", "web")
    assert health(alive, "web")["Status"] == "unhealthy"


def test_what_is_said_is_cut_as_docker_cuts_it(alive: Alive) -> None:
    alive("run", "-d", "--name", "web", "--health-cmd", "yes | head -c 10000", *OFTEN, "host", "sleep", "1000")
    found = until(alive, "web", lambda health: bool(health["Log"]))
    assert found["Log"][0]["Output"] == "y\n" * 2048 + "..."


def test_one_that_takes_too_long_is_ended(alive: Alive) -> None:
    """And nothing of it stays: what has lost its parent is waited for, else the container could not end."""
    words = ("--health-cmd", "echo slow; sleep 987; true", "--health-timeout", "300ms", "--health-retries", "1")
    alive("run", "-d", "--name", "web", *words, *OFTEN, "host", "sleep", "1000")
    found = until(alive, "web", lambda health: len(health["Log"]) >= 3)
    assert found["Status"] == "unhealthy"
    assert alive("top", "web").count("echo slow") <= 1
    assert found["Log"][0]["ExitCode"] == -1
    assert found["Log"][0]["Output"] == "Health check exceeded timeout (300ms): slow\n"
    alive("update", "--restart", "no", "web")
    began = time.monotonic()
    alive("kill", "web")
    alive("wait", "web")
    assert time.monotonic() - began < 5


def test_failures_do_not_count_in_the_period_of_grace(alive: Alive) -> None:
    words = ("--health-start-period", "1h", "--health-start-interval", "200ms", "--health-retries", "1")
    alive("run", "-d", "--name", "web", "--health-cmd", "test -e /tmp/well", *words, "host", "sleep", "1000")
    found = until(alive, "web", lambda health: len(health["Log"]) >= 3)
    assert (found["Status"], found["FailingStreak"]) == ("starting", 0)
    alive("exec", "web", "touch", "/tmp/well")
    until(alive, "web", status("healthy"))
    alive("exec", "web", "rm", "/tmp/well")
    assert alive("healthcheck", "run", "web", code=1) == "unhealthy\n"  # its interval is docker's half a minute now
    assert health(alive, "web")["Status"] == "unhealthy"


def test_the_check_of_an_image(alive: Alive, tmp_path: Path) -> None:
    box = write_box(tmp_path / "box.tar")
    cli = lambda *words, **more: alive.cli(*words, env=alive.env, **more)  # noqa: E731
    take_in(cli, box, "well:1", 'HEALTHCHECK --interval=200ms --retries=1 CMD ["/bin/sh", "-c", "echo own; exit 3"]')  # type: ignore[arg-type]
    alive("run", "-d", "--name", "aa", "well:1", "sleep", "1000")
    found = until(alive, "aa", status("unhealthy"))
    assert (found["Log"][0]["ExitCode"], found["Log"][0]["Output"]) == (3, "own\n")
    alive("run", "-d", "--name", "bb", "--health-cmd", "true", "well:1", "sleep", "1000")
    until(alive, "bb", status("healthy"))
    alive("run", "-d", "--name", "cc", "--no-healthcheck", "well:1", "sleep", "1000")
    time.sleep(0.5)
    assert "Health" not in alive.document("cc")["State"]
    assert alive.document("cc")["Config"]["Healthcheck"] == {"Test": ["NONE"]}
    assert "has no health check" in alive("healthcheck", "run", "cc", code=1)


def test_one_that_cannot_be_started_has_failed(alive: Alive) -> None:
    """As with more words than execve(2) takes: each time, and who asks for a look hears of it."""
    engine = cloche.Engine(alive.env["CLOCHE_ROOT"], alive.env["CLOCHE_STATE"])
    check: dict[str, Any] = {"health_cmd": ": " + "x" * (1 << 17), "health_interval": 0.2, "health_retries": 2}
    engine.containers.run("host", ["sleep", "1000"], detach=True, name="web", **check)
    found = until(alive, "web", status("unhealthy"))
    assert (found["Log"][-1]["ExitCode"], found["Log"][-1]["Output"]) == (126, "cloche: Argument list too long\n")
    assert alive("healthcheck", "run", "web", code=1) == "unhealthy\n"


def test_one_that_stands_still_is_not_looked_at(alive: Alive) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs a cgroup that can be frozen")
    alive("run", "-d", "--name", "web", "--health-cmd", "true", *OFTEN, "host", "sleep", "1000")
    until(alive, "web", status("healthy"))
    alive("pause", "web")
    before = health(alive, "web")["Log"][-1]
    time.sleep(1)
    assert health(alive, "web")["Log"][-1] == before
    assert "paused" in alive("healthcheck", "run", "web", code=1)
    alive("unpause", "web")
    until(alive, "web", lambda health: bool(health["Log"][-1]["Start"] > before["Start"]))


def test_it_goes_on_after_its_supervisor_was_killed(alive: Alive) -> None:
    alive("run", "-d", "--name", "web", "--health-cmd", "true", *OFTEN, "host", "sleep", "1000")
    until(alive, "web", status("healthy"))
    os.kill(supervisor(alive), signal.SIGKILL)
    alive("healthcheck", "run", "web")
    before = health(alive, "web")["Log"][-1]
    until(alive, "web", lambda health: bool(health["Log"][-1]["Start"] > before["Start"]))
    assert health(alive, "web")["Status"] == "healthy"


def supervisor(alive: Alive) -> int:
    """The process that holds the lock of this store."""
    inode = os.stat(f"{alive.env['CLOCHE_STATE']}/supervisor.lock").st_ino
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.split()
        if fields[1] == "FLOCK" and fields[5].endswith(f":{inode}"):
            return int(fields[4])
    raise ProcessLookupError


@pytest.mark.parametrize(("action", "code", "restart"), [("kill", 137, "no"), ("stop", 0, "always")])
def test_what_is_not_well_is_ended(alive: Alive, action: str, code: int, restart: str) -> None:
    words = ("--health-cmd", "echo no; false", "--health-retries", "1", *OFTEN, "--health-on-failure", action)
    script = "trap 'exit 0' TERM; sleep 1000 & wait"
    alive("run", "-d", "--name", "web", "--restart", restart, *words, "host", "sh", "-c", script)
    alive.until("web", "exited")
    found = alive.document("web")
    assert found["State"]["ExitCode"] == code
    assert (found["Reason"]["By"], found["Reason"]["Kind"]) == ("health", "unhealthy")
    assert found["Reason"]["Text"] == "a health check failed: no"
    assert alive("ps", "-a", "--format", "{{.Status}}").endswith("unhealthy\n")
    assert "what acted: its health checks, which failed" in alive("why", "web")


def test_what_is_not_well_is_started_again(alive: Alive) -> None:
    words = ("--health-cmd", "false", "--health-retries", "1", *OFTEN, "--health-on-failure", "restart")
    alive("run", "-d", "--name", "web", *words, "host", "sleep", "1000")
    deadline = time.monotonic() + 30
    while alive.document("web")["RestartCount"] < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    alive("stop", "-t", "0", "web")
    assert alive.document("web")["State"]["Status"] == "exited"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--no-healthcheck", "--health-cmd", "true"), "--no-healthcheck conflicts with --health-* options"),
        (("--health-cmd", "true", "--health-interval", "0.5ms"), "--health-interval 0.5ms is too short"),
        (("--health-cmd", "true", "--health-retries", "-1"), "is not a number"),
        (("--health-cmd", "true", "--health-on-failure", "explode"), "'explode' is unknown"),
    ],
)
def test_what_cannot_be_meant(alive: Alive, words: tuple[str, ...], said: str) -> None:
    assert said in alive("run", "-d", *words, "host", "true", code=125)


def test_one_in_the_foreground_is_looked_at(alive: Alive) -> None:
    """Also where it is removed at its end, which no supervisor would have to see else."""
    words = ("--health-cmd", "false", "--health-retries", "1", *OFTEN, "--health-on-failure", "stop")
    script = "trap 'echo asked; exit 4' TERM; while :; do sleep 0.1; done"
    done = alive.cli("run", "--rm", "--name", "web", *words, "host", "sh", "-c", script, env=alive.env)
    assert (done.returncode, done.stdout) == (4, "asked\n")
    assert "a health check failed" in done.stderr
    deadline = time.monotonic() + 20
    while alive("ps", "-aq"):
        assert time.monotonic() < deadline


@pytest.fixture
def well(alive: Alive, tmp_path: Path) -> Alive:
    """With images in its store: checked:1, whose check succeeds where /tmp/well is, and unchecked:1, which has none."""
    box = write_box(tmp_path / "box.tar")
    cli = lambda *words, **more: alive.cli(*words, env=alive.env, **more)  # noqa: E731
    take_in(cli, box, "checked:1", "HEALTHCHECK --interval=200ms --retries=1 CMD test -e /tmp/well", "VOLUME /kept")  # type: ignore[arg-type]
    take_in(cli, box, "unchecked:1", "HEALTHCHECK NONE")  # type: ignore[arg-type]
    return alive


def has_supervisor(alive: Alive) -> bool:
    return os.path.exists(f"{alive.env['CLOCHE_STATE']}/supervisor.lock")


def test_the_check_of_an_image_in_the_foreground(well: Alive) -> None:
    """As docker does; it is gone when it has ended, with all that it had."""
    script = "while ! test -e /tmp/over; do sleep 0.05; done; exit 7"
    words = ("run", "--rm", "--name", "web", "--health-interval", "100ms", "checked:1", "sh", "-c", script)
    front = well.cli.popen(*words, env=well.env)
    try:
        deadline = time.monotonic() + 30
        while "(unhealthy)" not in well("ps", "--format", "{{.Status}}"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert well("exec", "web", "touch", "/tmp/well") == ""
        until(well, "web", status("healthy"))
        assert "(healthy)" in well("ps", "--format", "{{.Status}}")
        well("exec", "web", "touch", "/tmp/over")
        assert front.wait(20) == 7
    finally:
        front.kill()
        front.wait()
    told = [action for action in actions(well, "web") if not action.startswith("exec")]
    assert told[:4] == ["create", "attach", "start", "health_status: unhealthy"]
    assert "health_status: healthy" in told
    deadline = time.monotonic() + 20
    while well("ps", "-aq") or well("volume", "ls", "-q"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_is_read_for_it_is_read_once(well: Alive) -> None:
    """The command finds out late that there is a check; a pipe has nothing more for it then."""
    read, write = os.pipe()
    os.write(write, b"WHO=ana\n")
    os.close(write)
    words = ("run", "--rm", "--env-file", f"/dev/fd/{read}", "checked:1", "sh", "-c", "echo $WHO")
    done = well.cli(*words, env=well.env, pass_fds=(read,))
    os.close(read)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ana\n", "")


@pytest.mark.parametrize(
    "words",
    [("run", "--rm", "--no-healthcheck", "checked:1"), ("run", "--rm", "unchecked:1")],
)
def test_without_a_check_there_is_no_supervisor(words: tuple[str, ...], well: Alive) -> None:
    assert well(*words, "true") == ""
    assert not has_supervisor(well)


def test_the_steps_of_one_with_a_check_are_shown_without_it(well: Alive) -> None:
    assert "pivot_root" in well("run", "--rm", "--explain", "checked:1", "true")
    assert not has_supervisor(well)
