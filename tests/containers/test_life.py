"""A kept container's life: made, started, asked to end and ended, waited for, removed; what is written of it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import Cli
    from tests.containers.conftest import Alive

OBEYS = "trap 'echo asked; exit 7' TERM; echo ready; while :; do sleep 0.1; done"
DEAF = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
needs_freezer = pytest.mark.skipif(os.geteuid() != 0, reason="needs a cgroup that can be frozen")


def begin(alive: Alive, script: str, *words: str, name: str = "web") -> None:
    """Start it in the background, and wait until it is ready."""
    alive("run", "-d", "--name", name, *words, "host", "sh", "-c", script)
    deadline = time.monotonic() + 30
    while "ready" not in alive("logs", name):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def state(alive: Alive, name: str = "web") -> dict[str, Any]:
    found = alive.document(name)["State"]
    assert isinstance(found, dict)
    return found


def test_it_is_asked_and_obeys(alive: Alive) -> None:
    begin(alive, OBEYS)
    assert alive("stop", "web") == "web\n"
    assert (state(alive)["Status"], state(alive)["ExitCode"]) == ("exited", 7)
    assert alive("logs", "web") == "ready\nasked\n"
    assert alive("stop", "web") == "web\n"  # there is nothing to do


def test_who_does_not_hear_is_ended(alive: Alive) -> None:
    begin(alive, DEAF, "--stop-timeout", "1")
    began = time.monotonic()
    alive("stop", "web")
    assert time.monotonic() - began >= 1
    assert state(alive)["ExitCode"] == 137
    alive("start", "web")
    began = time.monotonic()
    alive("stop", "-t", "0", "web")
    assert time.monotonic() - began < 10
    assert state(alive)["ExitCode"] == 137


def test_patience_without_an_end(alive: Alive) -> None:
    """-1 waits for ever; another who asks with less patience is the one that counts."""
    begin(alive, DEAF)
    with alive.cli.popen("stop", "-t", "-1", "web", env=alive.env, stdout=subprocess.PIPE) as waiting:
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(2)
        alive("stop", "-t", "0", "web")
        assert waiting.wait(30) == 0
    assert "is not a number of seconds" in alive("stop", "-t", "soon", "web", code=125)


def test_its_own_stop_signal(alive: Alive) -> None:
    begin(alive, "trap 'exit 9' USR1; echo ready; while :; do sleep 0.1; done", "--stop-signal", "USR1")
    alive("stop", "web")
    assert state(alive)["ExitCode"] == 9
    alive("start", "web")
    alive("stop", "-s", "KILL", "web")
    assert state(alive)["ExitCode"] == 137


@needs_freezer
@pytest.mark.parametrize(("words", "code"), [(("stop", "-t", "5"), 7), (("kill",), 137), (("rm", "-f"), None)])
def test_one_that_stands_still_is_ended(alive: Alive, words: tuple[str, ...], code: int | None) -> None:
    begin(alive, OBEYS)
    alive("pause", "web")
    assert state(alive)["Status"] == "paused"
    alive(*words, "web")
    if code is not None:
        assert alive("wait", "web") == f"{code}\n"
        assert state(alive)["Status"] == "exited"


def test_an_init_process_collects_children_and_passes_signals_on(alive: Alive) -> None:
    script = "(sleep 0.1 &) ; echo ready; trap 'exit 8' TERM; while :; do sleep 0.1; done"
    begin(alive, script, "--init")
    time.sleep(0.5)
    assert "defunct" not in alive("top", "web")
    first = alive("exec", "web", "cat", "/proc/1/cmdline")
    assert "sleep 0.1" not in first
    alive("stop", "web")
    assert state(alive)["ExitCode"] == 8
    assert alive.document("web")["HostConfig"]["Init"] is True


def test_several_are_waited_for(alive: Alive) -> None:
    for name, code in (("one", 1), ("two", 2)):
        begin(alive, f"echo ready; sleep 1; exit {code}", name=name)
    alive("create", "--name", "never", "host", "true")
    assert alive("wait", "two", "one", "never") == "2\n1\n0\n"
    assert alive("wait", "one", "other", code=1).startswith("1\ncloche: No such container: other")


def test_one_that_is_started_again_is_waited_for_once(alive: Alive) -> None:
    begin(alive, "echo ready; sleep 1; exit 4", "--restart", "always")
    assert alive("wait", "web") == "4\n"


def test_files_that_tell_of_it(alive: Alive, tmp_path: Path) -> None:
    """Its id, the process as the host has it, and labels that come from one."""
    (tmp_path / "labels").write_text("# a note\na=1\nb\n\nc=x=y\n")
    words = (
        "--cidfile",
        str(tmp_path / "id"),
        "--pidfile",
        str(tmp_path / "pid"),
        "--label-file",
        str(tmp_path / "labels"),
    )
    found = alive("run", "-d", "--name", "web", *words, "-l", "a=2", "host", "sleep", "1000").strip()
    assert (tmp_path / "id").read_text() == found
    assert int((tmp_path / "pid").read_text()) == state(alive)["Pid"]
    assert alive.document("web")["Config"]["Labels"] == {"a": "2", "b": "", "c": "x=y"}
    assert "container ID file found" in alive("run", "-d", "--cidfile", str(tmp_path / "id"), "host", "true", code=125)
    assert "container ID file found" in alive("create", "--cidfile", str(tmp_path / "id"), "host", "true", code=1)
    assert alive("ps", "-aq", "--no-trunc").split() == [found]
    alive("run", "-d", "--cidfile", str(tmp_path / "none"), "--name", "web", "host", "true", code=125)
    assert not (tmp_path / "none").exists()
    assert "cannot be written" in alive("run", "-d", "--pidfile", str(tmp_path / "a/b"), "host", "true", code=125)
    receipt = alive.document("web")["Receipt"]
    assert any("the kernel confirms it" in layer["detail"] for layer in receipt.values())
    alive("restart", "-t", "0", "web")
    assert int((tmp_path / "pid").read_text()) == state(alive)["Pid"]
    # but for its range of ids, which is another one, all is as it was, what the kernel was asked for at the start too
    assert {**alive.document("web")["Receipt"], "user": receipt["user"]} == receipt


def test_it_removes_itself_with_its_volumes(alive: Alive) -> None:
    words = ("--rm", "-v", "/tmp/scratch", "-v", "named:/tmp/kept")
    alive("run", "-d", "--name", "web", *words, "host", "sh", "-c", "echo x >/tmp/kept/x; sleep 1")
    assert len(alive("volume", "ls", "-q").split()) == 2
    alive("wait", "web")
    deadline = time.monotonic() + 20
    while alive("ps", "-aq"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    while alive("volume", "ls", "-q") != "named\n":
        assert time.monotonic() < deadline
        time.sleep(0.1)


CANNOT = [("nosuch", 127), ("/etc/passwd", 126), ("/nosuch/at/all", 127), ("/tmp", 126)]


@pytest.mark.parametrize(("command", "code"), CANNOT)
def test_what_cannot_be_executed(alive: Alive, command: str, code: int) -> None:
    assert command.rpartition("/")[2] in alive("run", "--rm=false", "--name", "front", "host", command, code=code)
    assert command.rpartition("/")[2] in alive("run", "-d", "--name", "back", "host", command, code=code)
    for name in ("front", "back"):
        found = state(alive, name)
        assert (found["Status"], found["ExitCode"]) == ("created", code)
        assert command.rpartition("/")[2] in found["Error"]
    alive("create", "--name", "made", "host", command)
    for words in (("start",), ("start", "-a")):
        assert command.rpartition("/")[2] in alive(*words, "made", code=1)
    alive("run", "-d", "--rm", "--name", "gone", "host", command, code=code)
    assert "gone" not in alive("ps", "-a")


def test_what_cloche_itself_fails_at(alive: Alive) -> None:
    for words in (("--nosuch",), ("--memory", "lots"), ("--name", "no/name"), ("-w", "relative")):
        assert alive("run", "-d", *words, "host", "true", code=125).startswith("cloche: ")
    assert alive("ps", "-aq") == ""
    alive("create", "--name", "web", "host", "true")
    for verb in ("run", "create"):
        code = 125 if verb == "run" else 1
        assert "is already in use" in alive(verb, "--name", "web", "host", "true", code=code)
    for verb in ("start", "stop", "restart", "kill", "wait", "rm", "pause", "unpause", "attach"):
        assert "No such container: other" in alive(verb, "other", code=1)
    assert "No such container: other" in alive("rm", "-f", "other", code=0)
    for verb in ("kill", "pause"):
        assert "is not running" in alive(verb, "web", code=1)
    assert "is not paused" in alive("unpause", "web", code=1)
    for verb in ("stop", "rm", "logs", "wait"):
        assert "invalid container name or ID: value is empty" in alive(verb, "", code=1)
    assert "Neither old nor new names may be empty" in alive("rename", "web", "", code=1)
    assert "Invalid signal: NOSUCH\n" in alive("kill", "-s", "NOSUCH", "web", code=1)


@pytest.mark.parametrize("words", [("kill", "-s", "TERM"), ("stop", "-t", "1000")])
def test_a_throwaway_that_has_no_handler_is_ended_all_the_same(alive: Alive, words: tuple[str, ...]) -> None:
    """The kernel keeps the signal from a first process; one that minds it gets it."""
    null = subprocess.DEVNULL
    script = "trap 'exit 7' TERM; while :; do sleep 0.1; done"
    fronts = []
    for name, command in (("sleeps", ("sleep", "1000")), ("minds", ("sh", "-c", script))):
        line = ("run", "--rm", "--name", name, "host", *command)
        fronts.append(alive.cli.popen(*line, env=alive.env, stdin=null, stdout=null, stderr=null))
        alive.until_there(name)
    time.sleep(0.5)  # until the shell has its trap
    alive(*words, "sleeps", "minds")
    assert [front.wait(30) for front in fronts] == [137, 7]


WAITS = """
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [15])
print("ready", flush=True)
signal.sigwait([15])
sys.exit(7)
"""


def test_a_first_process_that_waits_for_signals_gets_them(anyone: Cli) -> None:
    """As tini and dumb-init do, with which many images begin; the kernel shows no handler, nor that they block it."""
    for name, command in (("waits", ("/usr/bin/python3", "-I", "-S", "-c", WAITS)), ("sleeps", ("sleep", "1000"))):
        done = anyone("run", "-d", "--name", name, "--allow-unenforced", "host", *command)
        assert done.returncode == 0, done.stderr
    deadline = time.monotonic() + 30
    while "ready" not in anyone("logs", "waits").stdout:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.2)
    anyone("stop", "-t", "1000", "waits", "sleeps")
    assert anyone("wait", "waits", "sleeps").stdout == "7\n143\n"
    anyone("rm", "waits", "sleeps")


def test_several_of_which_some_are_not_there(alive: Alive) -> None:
    alive("create", "--name", "one", "host", "sleep", "1000")
    alive("create", "--name", "two", "host", "sleep", "1000")
    assert alive("start", "one", "other", "two", code=1).startswith("one\ntwo\ncloche: No such container: other")
    assert alive("stop", "-t", "0", "one", "two") == "one\ntwo\n"
    alive("start", "one")
    alive("run", "-d", "--rm", "--name", "three", "host", "sleep", "1000")  # it goes with its end
    said = alive("rm", "-f", "one", "other", "three", "two")
    assert said.startswith("one\nthree\ntwo\ncloche: No such container: other\n")
    assert alive("ps", "-aq") == ""


def test_signals_by_name_and_number(alive: Alive) -> None:
    script = "trap 'echo hup' HUP; trap 'echo usr1' USR1; echo ready; while :; do sleep 0.1; done"
    begin(alive, script)
    for word in ("HUP", "SIGUSR1", "1", "10"):
        alive("kill", "-s", word, "web")
        time.sleep(0.4)
    assert alive("logs", "web") == "ready\nhup\nusr1\nhup\nusr1\n"
    assert alive("kill", "-s", "NOSUCH", "web", code=1).startswith("cloche: ")
    assert state(alive)["Status"] == "running"
    alive("kill", "web")
    assert alive("wait", "web") == "137\n"


def test_the_command_that_starts_it_is_killed(alive: Alive) -> None:
    """Whenever that happens, there is either no container, or one that can be seen and removed."""
    for tenths in range(6):
        with alive.cli.popen("run", "-d", "host", "sleep", "1000", env=alive.env, stdout=subprocess.DEVNULL) as run:
            time.sleep(tenths / 20)
            run.send_signal(signal.SIGKILL)
    time.sleep(1)
    for name in alive("ps", "-aq").split():
        assert state(alive, name)["Status"] in {"created", "running"}
        alive("rm", "-f", name)


def test_a_rename_that_fails_late(alive: Alive) -> None:
    """It has the name that is written down, and the other one is free."""
    alive("create", "--name", "old", "host", "true")
    done = alive.cli("rename", "old", "new", env={**alive.env, "CLOCHE_FAILPOINT": "write-renamed:errno"})
    assert done.returncode == 1
    assert alive("ps", "-a", "--format", "{{.Names}}") == "new\n"
    alive("create", "--name", "old", "host", "true")
    assert alive("ps", "-a", "--format", "{{.Names}}") == "old\nnew\n"
    alive("rm", "new", "old")
