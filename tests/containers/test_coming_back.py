"""Commands that are at a container when its supervisor is killed: they come to the next one, and nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time

import pytest

from tests.containers.ground import Ground, end
from tests.integration.terminal import Emulator

pytestmark = pytest.mark.usefixtures("cleared")
PIPE = subprocess.PIPE
POINTS = ("supervisor-start", "before-state", "after-state", "end-heard", "end-begun", "end-written")
DEAF = ("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done")


def open_up(ground: Ground, *words: str, **more: object) -> subprocess.Popen[bytes]:
    return ground.cli.popen(*words, env=ground.env, **{"stdin": subprocess.DEVNULL, "stdout": PIPE} | more)


def foreground(ground: Ground, *words: str, **more: object) -> subprocess.Popen[bytes]:
    return open_up(ground, "run", "--name", "one", "-e", ground.mark, *words, **more)


def kill_again_and_again(ground: Ground, times: int = 3) -> None:
    for _ in range(times):
        deadline = time.monotonic() + 20
        while not (pid := ground.pid("supervisor")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        end(pid)
        time.sleep(0.2)


def line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    return process.stdout.readline()


def all_of(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    return process.stdout.read()


def test_what_is_written_comes_once(ground: Ground) -> None:
    """From where it was when it was killed, however much is on the way."""
    script = "echo ready; i=0; while [ $i -lt 40 ]; do seq -s, 20000; i=$((i+1)); sleep 0.05; done; exit 7"
    with foreground(ground, "box", "sh", "-c", script) as run:
        assert line(run) == b"ready\n"
        kill_again_and_again(ground)
        found = all_of(run)
        assert run.wait(30) == 7
    once = ",".join(map(str, range(1, 20001))).encode() + b"\n"
    assert len(found) == len(once) * 40
    assert found == once * 40


def test_whoever_reads_slowly_has_all_of_it(ground: Ground) -> None:
    """The container is far ahead, and waits; nothing is in the memory of who is killed."""
    with foreground(ground, "box", "seq", "1", "400000") as run:
        assert line(run) == b"1\n"
        time.sleep(0.5)
        kill_again_and_again(ground, 3)
        time.sleep(3)  # longer than anybody is waited for
        found = all_of(run)
        assert run.wait(30) == 0
    assert found == b"".join(b"%d\n" % number for number in range(2, 400001))


def test_what_is_typed_arrives_once(ground: Ground) -> None:
    text = b"".join(b"%d\n" % number for number in range(300000))
    with tempfile.TemporaryFile() as file:
        file.write(text)
        file.seek(0)
        script = "echo ready; sleep 1.5; cat; echo over"
        with foreground(ground, "-i", "box", "sh", "-c", script, stdin=file) as run:
            assert line(run) == b"ready\n"
            kill_again_and_again(ground, 2)
            found = all_of(run)
            assert run.wait(30) == 0
    assert found == text + b"over\n"


def test_at_a_terminal(ground: Ground) -> None:
    words = ("run", "-it", "--name", "one", "-e", ground.mark, "box", "sh")
    with Emulator.of(ground.cli, *words, size=(24, 80), **ground.env) as terminal:
        terminal.type("echo be''fore\r")
        terminal.until("before")
        ground.kill("supervisor")
        terminal.type("echo af''ter\r")
        terminal.until("after")
        assert terminal.raw()
        terminal.resize(33, 99)
        terminal.type("stty size\r")
        terminal.until("33 99")
        ground.kill("supervisor")
        terminal.type("exit 5\r")
        assert terminal.ended() == 5
        assert not terminal.raw()


@pytest.mark.parametrize("name", POINTS)
@pytest.mark.parametrize("removed", [False, True])
def test_killed_at_a_point(ground: Ground, name: str, *, removed: bool) -> None:
    """Of its start, and of its end, when all it had to say is in the pipes."""
    ground.create("first")
    ground.create("second", command=("sleep", "0.1"))
    time_of_it = 2 if name.startswith("end") else 3
    ground.kill("supervisor")
    ground.well("start", "first", "second", CLOCHE_FAILPOINT=f"{name}@{time_of_it}:kill")
    ground.until("second", "exited")
    before = ground.pid("supervisor")
    options = ["--rm", "--health-cmd", "true"] if removed else []
    command = ("sh", "-c", "seq 3; exit 3")
    with foreground(ground, *options, "box", *command, stderr=PIPE) as run:
        found, said = run.communicate(timeout=60)
    assert (found, run.returncode, said) == (b"1\n2\n3\n", 3, b"")
    assert ground.pid("supervisor") != before
    if not removed:
        assert ground.truth()["one"] == ("exited", 3)


@pytest.mark.parametrize("line", ["ps", "inspect one", "logs one", "exec one true", "start one", "why one", "top one"])
def test_who_looks_at_one_that_runs_has_it_looked_after(ground: Ground, line: str) -> None:
    """Its output goes on into its log, and somebody sees its end, whatever is asked first."""
    ground.clear()
    ground.run("one", command=("sh", "-c", "while [ ! -e /go ]; do sleep 0.02; done; echo said; sleep 1000"))
    ground.kill("supervisor")
    ground.well("exec", "one", "touch", "/go") if line != "exec one true" else None
    ground.kill("supervisor")
    ground.well(*line.split())
    assert ground.pid("supervisor")
    if line == "exec one true":
        ground.well("exec", "one", "touch", "/go")
    deadline = time.monotonic() + 20
    while "said" not in "".join(path.read_text() for path in ground.store.glob("containers/*/log/*")):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("verb", ["attach", "wait", "logs -f"])
def test_who_is_there_sees_its_end(ground: Ground, verb: str) -> None:
    ground.run("one", command=("sh", "-c", "while ! test -e /over; do sleep 0.05; done; echo over; exit 9"))
    with open_up(ground, *verb.split(), "one") as process:
        time.sleep(0.5)
        ground.kill("supervisor")
        time.sleep(1.2)  # `logs -f` looks once in a second
        assert ground.pid("supervisor")  # nobody else has asked for one
        ground.well("exec", "one", "touch", "/over")
        assert all_of(process) == {"wait": b"9\n"}.get(verb, b"over\n")
        assert process.wait(30) == {"attach": 9}.get(verb, 0)


def test_stop_is_asked_again(ground: Ground) -> None:
    """It is killed when its time is up, and not started again, which only the one knew who was killed."""
    ground.run("one", "--restart", "always", command=DEAF)
    begun = time.monotonic()
    with open_up(ground, "stop", "-t", "3", "one") as process:
        time.sleep(1)
        ground.kill("supervisor")
        assert process.wait(30) == 0
    assert 2.5 < time.monotonic() - begun < 8
    time.sleep(0.5)
    assert ground.truth()["one"] == ("exited", 137)


def test_the_input_of_who_was_killed_too_has_an_end(ground: Ground) -> None:
    with foreground(ground, "-i", "box", "sh", "-c", "cat; echo over", stdin=PIPE) as run:
        assert run.stdin is not None
        run.stdin.write(b"typed\n")
        run.stdin.flush()
        assert line(run) == b"typed\n"
        pid = ground.pid("supervisor")
        os.kill(pid, signal.SIGSTOP)
        run.kill()
        run.wait()
        end(pid)
    assert ground.well("wait", "one") == "0\n"
    assert ground.well("logs", "one") == "typed\nover\n"


def test_nobody_waits_for_who_stands_still(ground: Ground) -> None:
    with foreground(ground, "box", "sh", "-c", "echo ready; sleep 1; echo over; sleep 1000") as run:
        assert line(run) == b"ready\n"
        run.send_signal(signal.SIGSTOP)
        ground.kill("supervisor")
        time.sleep(1)
        ground.well("update", "--restart", "no", "one")  # which starts the next one
        deadline = time.monotonic() + 1.5
        while "over" not in ground.well("logs", "one"):
            assert time.monotonic() < deadline
        run.kill()
        run.send_signal(signal.SIGCONT)


def test_exec_has_no_part_in_it(ground: Ground) -> None:
    ground.run("one")
    with open_up(ground, "exec", "one", "sh", "-c", "echo ready; sleep 1; echo over; exit 6") as process:
        assert line(process) == b"ready\n"
        ground.kill("supervisor")
        assert all_of(process) == b"over\n"
        assert process.wait(30) == 6
