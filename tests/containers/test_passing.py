"""`run` of what is gone when it has ended: what it cannot do alone it has done, and nothing it is asked is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from cloche.engine import removing, stopping
from cloche.engine.containers import find
from cloche.errors import ConflictError
from cloche.stage import early

if TYPE_CHECKING:
    from tests.conftest import Cli
    from tests.containers.conftest import Alive


@pytest.mark.parametrize(
    "words",
    [
        ("--health-interval", "abc"),
        ("--health-retries", "x"),
        ("--health-on-failure", "bogus"),
        ("--detach-keys", "bogus-x"),
        ("--log-driver", "bogus"),
        ("--log-opt", "bogus"),
    ],
    ids=" ".join,
)
def test_what_means_nothing(alive: Alive, words: tuple[str, ...]) -> None:
    assert words[1] in alive("run", "--rm", *words, "host", "true", code=125)


@pytest.mark.parametrize("words", [(), ("--log-driver", "local"), ("--health-cmd", "true")], ids=" ".join)
@pytest.mark.parametrize("rm", [(), ("--rm",)], ids=["", "rm"])
def test_it_goes_on_where_signals_are_not_passed_on(alive: Alive, words: tuple[str, ...], rm: tuple[str, ...]) -> None:
    """And is written down where that was asked for: somebody is there who looks after it."""
    script = "echo here; exec sleep 1000"
    ours = alive.cli.popen(
        "run", *rm, "--sig-proxy=false", *words, "--name", "web", "host", "sh", "-c", script, env=alive.env, stdout=-1
    )
    assert ours.stdout is not None
    ours.stdout.readline()
    ours.send_signal(signal.SIGTERM)
    ours.communicate()
    assert alive("logs", "web") == "here\n"
    alive("stop", "-t", "0", "web")
    until_gone(alive)


@pytest.mark.parametrize("words", [("-a", "stdout"), ("--health-cmd", "true"), ("--log-driver", "none")], ids=" ".join)
def test_of_the_host_nothing_is_left(alive: Alive, words: tuple[str, ...]) -> None:
    alive("run", *words, "--name", "web", "host", "true")
    until_gone(alive)
    said = alive("run", *words, "--restart", "always", "host", "true", code=125)
    assert "--restart is for containers that stay" in said


def until_gone(alive: Alive) -> None:
    deadline = time.monotonic() + 30
    while alive("ps", "-aq"):
        assert time.monotonic() < deadline


@pytest.mark.parametrize("words", [("run", "--rm"), ("run", "-d", "--rm")], ids=["front", "kept"])
def test_it_is_removed_by_force(alive: Alive, words: tuple[str, ...]) -> None:
    with alive.cli.popen(*words, "--name", "web", "host", "sleep", "1000", env=alive.env, stdout=-1) as ours:
        alive.until_there("web")
        assert "container is running" in alive("rm", "web", code=1)
        assert alive("rm", "-f", "web") == "web\n"
        assert ours.wait(20) == (0 if "-d" in words else 137)
    until_gone(alive)


def test_it_ends_just_when_it_is_asked_to(alive: Alive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has found it still there is not told that it is gone, which was the wish."""
    for name, value in alive.env.items():
        monkeypatch.setenv(name, value)
    with alive.cli.popen("run", "--rm", "--name", "web", "host", "sleep", "1000", env=alive.env) as ours:
        alive.until_there("web")
        found = find("web")
        alive("kill", "web")
        ours.wait(20)
    removing.remove(found, force=True)
    stopping.stop(found, None, None)
    assert stopping.wait(found) is None
    with pytest.raises(ConflictError, match="is not running"):
        stopping.kill(found, signal.SIGTERM)


def test_it_is_started_again(alive: Alive) -> None:
    """One that is to go with its end stays for that; one that is in the foreground of its command goes on."""
    alive("run", "-d", "--rm", "--name", "web", "host", "sh", "-c", "echo up; exec sleep 1000")
    before = alive.document("web")["State"]["Pid"]
    alive("restart", "-t", "0", "web")
    state = alive.document("web")["State"]
    assert state["Running"]
    assert state["Pid"] != before
    assert alive("logs", "web") == "up\nup\n"
    alive("stop", "-t", "0", "web")
    until_gone(alive)
    with alive.cli.popen("run", "--name", "web", "host", "sleep", "1000", env=alive.env) as ours:
        alive.until_there("web")
        assert "cannot be restarted" in alive("restart", "web", code=1)
        for words in (("attach", "--no-stdin"), ("start", "-a")):
            assert "it takes a container that is kept" in alive(*words, "web", code=1)
        assert ours.poll() is None
        alive("kill", "web")


def test_what_cannot_be_enforced_is_said(user: Cli) -> None:
    """Of each that is made or started, by the command that does it; of none without that option."""
    words = ("-m", "64m", "--allow-unenforced")
    lacks = "cloche: not enforced: memory: "
    made = user("create", *words, "--name", "later", "host", "true")
    others = [
        user("run", "--rm", *words, "host", "true"),
        user("run", "-d", *words, "--name", "now", "host", "true"),
        user("run", *words, "-a", "stderr", "host", "true"),
        user("start", "later"),
    ]
    user("wait", "later")  # one that runs is only attached to
    others += [user("start", "-a", "later"), user("restart", "later")]
    try:
        assert [done.stderr.startswith(lacks) for done in (made, *others)] == [True] * 7
        assert user("run", "-d", "-q", *words, "--rm", "host", "true").stderr == ""
        assert user("run", "--rm", "host", "true").stderr == ""
    finally:
        user("rm", "-f", "now", "later")


def test_a_command_that_is_called_as_its_beginning(tmp_path: Path) -> None:
    """Its first process has that name until it is the command, whose name is its own choice."""
    program = tmp_path / early.SETTING_UP
    program.symlink_to(sys.executable)
    child = subprocess.Popen([program, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert Path(f"/proc/{child.pid}/comm").read_text().strip() == early.SETTING_UP
    assert not early.has_ended(child.pid)
    child.wait()


def test_a_signal_that_comes_too_late() -> None:
    child = subprocess.Popen(["true"])
    pidfd = os.pidfd_open(child.pid)
    child.wait()
    gone: Any = SimpleNamespace(state={"pid": child.pid})
    assert not stopping._send(gone, pidfd, signal.SIGTERM)
    os.close(pidfd)
