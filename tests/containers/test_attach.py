"""At the streams of a kept container: in the foreground, attached later, at a terminal, several at once, and badly."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from tests.integration.terminal import Emulator

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.containers.conftest import Alive

PIPE = subprocess.PIPE


def at_terminal(alive: Alive, *words: str, size: tuple[int, int] = (24, 80)) -> Emulator:
    """A command with a terminal of its own."""
    return Emulator.of(alive.cli, *words, size=size, **alive.env)


def popen(alive: Alive, *words: str, **more: object) -> subprocess.Popen[bytes]:
    return alive.cli.popen(*words, env=alive.env, **more)


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def kept(*words: str) -> tuple[str, ...]:
    """In the foreground, and it stays."""
    return ("run", "--rm=false", "--name", "web", *words)


def status(alive: Alive) -> str:
    return str(alive.document("web")["State"]["Status"])


def read(process: subprocess.Popen[bytes]) -> bytes:
    """A line of its output."""
    assert process.stdout is not None
    return process.stdout.readline()


def type_in(process: subprocess.Popen[bytes], data: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(data)
    process.stdin.flush()


def test_the_end_of_what_is_typed_is_the_end_of_its_input(alive: Alive) -> None:
    done = alive.cli(*kept("-i", "host", "sh", "-c", "cat; echo over"), env=alive.env, input=b"typed\n" * 100_000)
    assert done.stdout == "typed\n" * 100_000 + "over\n"
    assert alive.cli("start", "-ai", "web", env=alive.env, input=b"again\n").stdout == "again\nover\n"


def test_without_i_there_is_nothing_to_read(alive: Alive) -> None:
    assert alive.cli(*kept("host", "cat"), env=alive.env, input=b"typed").stdout == ""


def test_both_streams_and_the_exit_code(alive: Alive) -> None:
    done = alive.cli(*kept("host", "sh", "-c", "echo out; echo err >&2; exit 7"), env=alive.env)
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 7)
    done = alive.cli("start", "-a", "web", env=alive.env)
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 7)


def test_all_of_it_arrives_before_the_end(alive: Alive) -> None:
    """Much is on the way still when the command has ended."""
    done = alive.cli(*kept("host", "sh", "-c", "head -c 5000000 /dev/zero; echo over"), env=alive.env)
    assert len(done.stdout) == 5_000_005
    assert done.stdout.endswith("over\n")


def test_the_input_of_one_in_the_background_outlives_who_types(alive: Alive) -> None:
    """As docker has it: only what was made to be attached to ends with that (StdinOnce)."""
    alive("run", "-di", "--name", "web", "host", "cat")
    for text in (b"one\n", b"two\n"):
        with popen(alive, "attach", "web", stdin=PIPE, stdout=PIPE) as attached:
            type_in(attached, text)
            assert read(attached) == text
            attached.kill()
    assert status(alive) == "running"
    assert alive("logs", "web") == "one\ntwo\n"
    assert alive.document("web")["Config"]["StdinOnce"] is False


def test_its_input_ends_with_who_was_killed(alive: Alive) -> None:
    with popen(alive, *kept("-i", "host", "sh", "-c", "cat; echo over"), stdin=PIPE, stdout=PIPE) as run:
        type_in(run, b"typed\n")
        assert read(run) == b"typed\n"
        run.kill()
    alive.until("web", "exited")
    assert alive("logs", "web") == "typed\nover\n"


def test_it_goes_on_without_who_has_started_it(alive: Alive) -> None:
    with popen(alive, *kept("host", "sh", "-c", "echo here; sleep 2; echo still"), stdout=PIPE) as run:
        assert read(run) == b"here\n"
        run.kill()
    alive.until("web", "exited")
    assert alive("logs", "web") == "here\nstill\n"


def test_nobody_is_there_to_read(alive: Alive) -> None:
    """The command ends like any other whose reader is gone; the container goes on, as docker's does."""
    with popen(alive, *kept("host", "sh", "-c", "while sleep 0.1; do echo more; done"), stdout=PIPE) as run:
        assert read(run) == b"more\n"
        assert run.stdout is not None
        run.stdout.close()
        assert run.wait(30) == 128 + signal.SIGPIPE
    assert status(alive) == "running"


def test_two_are_attached_at_once(alive: Alive) -> None:
    alive("run", "-di", "--name", "web", "host", "cat")
    with (
        popen(alive, "attach", "web", stdin=PIPE, stdout=PIPE) as one,
        popen(alive, "attach", "web", stdin=PIPE, stdout=PIPE) as two,
    ):
        until(lambda: alive("events", "--since", "1m", "--until", "0s", "--filter", "event=attach").count("\n") == 2)
        for typist in (one, two, one, two):
            type_in(typist, b"word\n")
            assert read(one) == read(two) == b"word\n"
        alive("kill", "web")
        assert one.wait(30) == two.wait(30) == 137


def test_one_that_does_not_read_holds_it_up_until_it_is_gone(alive: Alive) -> None:
    script = "sleep 2; head -c 20000000 /dev/zero; touch /tmp/over; sleep 1000"
    alive("run", "-d", "--name", "web", "--log-driver", "none", "host", "sh", "-c", script)
    with popen(alive, "attach", "--no-stdin", "web", stdout=PIPE) as deaf:
        time.sleep(4)
        alive("exec", "web", "test", "-e", "/tmp/over", code=1)
        deaf.kill()
    until(lambda: alive.cli("exec", "web", "test", "-e", "/tmp/over", env=alive.env).returncode == 0)


def test_only_listening(alive: Alive) -> None:
    alive("run", "-di", "--name", "web", "host", "sh", "-c", "read word; echo got $word; sleep 1000")
    with (
        popen(alive, "attach", "--no-stdin", "web", stdin=PIPE, stdout=PIPE) as listener,
        popen(alive, "attach", "web", stdin=PIPE, stdout=PIPE) as typist,
    ):
        until(lambda: alive("events", "--since", "1m", "--until", "0s", "--filter", "event=attach").count("\n") == 2)
        type_in(listener, b"ignored\n")
        type_in(typist, b"taken\n")
        assert read(listener) == read(typist) == b"got taken\n"
        alive("kill", "web")


def test_signals_are_passed_on_or_not(alive: Alive) -> None:
    script = "trap 'echo caught; exit 5' TERM; echo ready; while :; do sleep 0.1; done"
    with popen(alive, *kept("host", "sh", "-c", script), stdout=PIPE) as run:
        assert read(run) == b"ready\n"
        run.terminate()
        assert read(run) == b"caught\n"
        assert run.wait(30) == 5
    with popen(alive, "start", "-a", "--sig-proxy=false", "web", stdout=PIPE) as start:
        assert read(start) == b"ready\n"
        start.terminate()
        assert start.wait(30) == -signal.SIGTERM
    assert status(alive) == "running"
    with popen(alive, "attach", "--sig-proxy=false", "web") as attached:
        time.sleep(1)
        attached.send_signal(signal.SIGINT)
        assert attached.wait(30) in {-signal.SIGINT, 130}
    assert status(alive) == "running"


def test_what_cannot_be_attached_to(alive: Alive) -> None:
    alive("create", "--name", "web", "host", "true")
    assert "You cannot attach to a stopped container, start it first" in alive("attach", "web", code=1)
    assert "No such container: other" in alive("attach", "other", code=1)
    assert "you cannot start and attach multiple containers at once" in alive("start", "-a", "web", "web", code=1)
    if os.geteuid() == 0:
        alive("run", "-d", "--name", "still", "host", "sleep", "1000")
        alive("pause", "still")
        assert "You cannot attach to a paused container, unpause it first" in alive("attach", "still", code=1)
    alive("run", "-dit", "--name", "shown", "host", "cat")
    assert "the input device is not a TTY" in alive("attach", "shown", code=1)


def test_keys_that_are_none_are_refused_before_anything_is_done(alive: Alive) -> None:
    alive("create", "-it", "--name", "web", "host", "cat")
    for words in (("start", "-ai"), ("attach",)):
        assert "is not a key" in alive(*words, "--detach-keys", "ctrl-1", "web", code=1)
    assert status(alive) == "created"
    assert "is not a key" in alive("run", "-dit", "--detach-keys", "ctrl-1", "host", "cat", code=125)
    assert alive("ps", "-aq").count("\n") == 1


def test_a_terminal_from_its_start_to_its_end(alive: Alive) -> None:
    words = kept("-it", "host", "sh", "-c", "stty size; read word; echo got $word; tty; exit 6")
    with at_terminal(alive, *words, size=(33, 77)) as terminal:
        terminal.until("33 77")
        assert terminal.raw()
        terminal.type("typed\r")
        terminal.until("got typed")
        terminal.until("/dev/pts/0")
        assert terminal.ended() == 6
        assert terminal.attributes() == terminal.before


def test_a_terminal_is_left_and_come_back_to(alive: Alive) -> None:
    with at_terminal(alive, *kept("-it", "host", "sh")) as terminal:
        terminal.type("PS1=; stty -echo; A=1; echo re''ady\r")
        terminal.until("ready")
        terminal.type("\x10\x11")
        assert terminal.ended() == 0
        assert terminal.attributes() == terminal.before
    assert status(alive) == "running"
    with at_terminal(alive, "attach", "--detach-keys", "a,b", "web", size=(40, 99)) as terminal:
        terminal.type("echo $A$(stty size)\r")
        terminal.until("140 99")
        terminal.resize(50, 100)
        terminal.type("stty size\r")
        terminal.until("50 100")
        terminal.type("aab")  # only the last two are the keys
        assert terminal.ended() == 0
        assert terminal.attributes() == terminal.before
    with at_terminal(alive, "attach", "web") as terminal:
        terminal.type("\x15exit 9\r")
        assert terminal.ended() == 9


def test_who_comes_and_goes_is_told_and_each_size(alive: Alive) -> None:
    def told() -> list[str]:
        form = "{{.Action}} {{.Actor.Attributes.height}} {{.Actor.Attributes.width}}"
        lines = alive("events", "--since", "1m", "--until", "0s", "--format", form).splitlines()
        return [line.replace(" <no value>", "") for line in lines]

    with at_terminal(alive, *kept("-it", "host", "sh", "-c", "echo ready; sleep 1000"), size=(30, 100)) as terminal:
        terminal.until("ready")
        until(lambda: "resize 30 100" in told())
        terminal.type("\x10\x11")
        assert terminal.ended() == 0
    with at_terminal(alive, "attach", "web", size=(40, 99)) as terminal:
        until(lambda: "resize 40 99" in told())
        terminal.resize(50, 100)
        until(lambda: "resize 50 100" in told())
        terminal.type("\x10\x11")
        assert terminal.ended() == 0
    first = ("attach", "start", "resize 30 100")
    second = ("attach", "resize 41 100", "resize 40 99", "resize 50 100")
    assert told() == ["create", *first, "detach", *second, "detach"]


def test_who_comes_back_sees_what_it_is_at(alive: Alive) -> None:
    script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.01; done"
    with at_terminal(alive, *kept("-it", "host", "sh", "-c", script)) as terminal:
        terminal.until("ready")
        terminal.type("\x10\x11")
        assert terminal.ended() == 0
    with at_terminal(alive, "attach", "web") as terminal:
        terminal.until("24 80")


def test_a_terminal_in_the_background(alive: Alive) -> None:
    alive("run", "-dit", "--name", "web", "host", "sh", "-c", "echo early; read word; echo $word; sleep 1000")
    until(lambda: "early" in alive("logs", "web"))
    with at_terminal(alive, "attach", "web") as terminal:
        terminal.type("later\r")
        terminal.until("later\r\nlater")
        os.kill(terminal.pid, signal.SIGKILL)
        assert terminal.ended() == -signal.SIGKILL
    assert status(alive) == "running"
    assert alive("logs", "web") == "early\r\nlater\r\nlater\r\n"


def test_who_has_no_terminal_leaves_that_of_others_as_it_is(alive: Alive) -> None:
    def heights() -> list[str]:
        words = "--since", "1m", "--until", "0s", "--filter", "event=resize"
        return alive("events", *words, "--format", "{{.Actor.Attributes.height}}").split()

    alive("run", "-dit", "--name", "web", "host", "sh", "-c", "cat; stty size")
    with at_terminal(alive, "attach", "web", size=(40, 99)) as terminal:
        until(lambda: heights() == ["41", "40"])
        with popen(alive, "attach", "--no-stdin", "web", stdin=subprocess.DEVNULL, stdout=PIPE, stderr=PIPE) as script:
            until(
                lambda: alive("events", "--since", "1m", "--until", "0s", "--filter", "event=attach").count("\n") == 2
            )
            terminal.type("typed\r")
            assert read(script) == b"typed\r\n"
            script.kill()
        terminal.type("\x04")
        terminal.until("40 99")
        assert terminal.ended() == 0
    assert heights() == ["41", "40"]


def test_two_at_one_terminal(alive: Alive) -> None:
    alive("run", "-dit", "--name", "web", "host", "sh", "-c", "cat; :")
    with at_terminal(alive, "attach", "web") as one, at_terminal(alive, "attach", "web") as two:
        until(lambda: alive("events", "--since", "1m", "--until", "0s", "--filter", "event=attach").count("\n") == 2)
        one.type("first\r")
        for terminal in (one, two):
            terminal.until("first\r\nfirst")
        two.type("second\r")
        for terminal in (one, two):
            terminal.until("second\r\nsecond")
        one.type("\x03")
        assert one.ended() == two.ended() == 130


def test_a_terminal_whose_window_is_closed(alive: Alive) -> None:
    """The container goes on; whoever was at it has gone."""
    alive("run", "-dit", "--name", "web", "host", "cat")
    with at_terminal(alive, "attach", "web") as terminal:
        terminal.type("first\r")
        terminal.until("first\r\nfirst")
        terminal.let_go()
        terminal.hang_up()
        terminal.ended()
    assert status(alive) == "running"


def test_a_terminal_of_ours_that_the_command_has_nothing_of(alive: Alive) -> None:
    """With -i and without -t: lines, and ctrl-d is the end of them."""
    with at_terminal(alive, *kept("-i", "host", "sh", "-c", "test -t 0 || echo none; cat; echo over")) as terminal:
        terminal.until("none")
        assert not terminal.raw()
        terminal.type("line\r")
        terminal.until("line\r\nline")
        terminal.type("\x04")
        terminal.until("over")
        assert terminal.ended() == 0
