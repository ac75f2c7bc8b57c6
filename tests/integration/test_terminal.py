"""A real terminal, driven as a person would: `cloche shell`, `run -it`, and `run -i` with a terminal on stdin."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.alive import living, until
from tests.integration.terminal import Emulator

if TYPE_CHECKING:
    from tests.conftest import Cli

needs_bash = pytest.mark.skipif(not os.access("/bin/bash", os.X_OK), reason="needs bash on the host")


@pytest.fixture(params=["root", "user"])
def person(request: pytest.FixtureRequest) -> Cli:
    """Root, and an ordinary user."""
    found: Cli = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=["host", "rootfs"])
def image(request: pytest.FixtureRequest, rootfs: Path) -> tuple[str, ...]:
    """The words that name the image."""
    return ("host",) if request.param == "host" else ("--rootfs", str(rootfs))


def in_rootfs(rootfs: Path, script: str, *options: str) -> list[str]:
    """`run -it` of a shell script in the small root file system."""
    return ["run", "-it", *options, "--rootfs", str(rootfs), "sh", "-c", script]


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_shell_says_where_it_is_and_ends_with_ctrl_d(person: Cli) -> None:
    with Emulator.of(person, "shell", "--hostname", "bell") as window:
        window.until("[bell: inside] / # ")
        assert window.raw()
        window.type("hostname; tty\r")
        window.until("bell\r\n/dev/pts/0\r\n")
        window.until("[bell: inside] / # ")
        window.type("\x04")
        assert window.ended() == 0
        assert window.attributes() == window.before


def test_the_prompt_of_a_shell_without_a_name(person: Cli) -> None:
    with Emulator.of(person, "shell") as window:
        window.until("[cloche: inside] / # ")
        window.type("exit 7\r")
        assert window.ended() == 7


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("sh", "-c", "stty raw -echo; exit 0"), 0),
        (("sh", "-c", "exit 5"), 5),
        (("/no/such/program",), 127),
        (("/etc/passwd",), 126),
    ],
)
def test_the_terminal_is_as_before_after_any_exit(
    person: Cli, image: tuple[str, ...], words: tuple[str, ...], code: int
) -> None:
    with Emulator.of(person, "run", "-it", *image, *words) as window:
        assert window.ended() == code
        assert window.attributes() == window.before


@pytest.mark.parametrize("point", ["Clone:errno", "OpenTerminal:errno", "PivotRoot:kill", "Execute:errno"])
def test_the_terminal_is_as_before_when_the_set_up_fails(person: Cli, rootfs: Path, point: str) -> None:
    with Emulator.of(person, *in_rootfs(rootfs, "echo never"), CLOCHE_FAILPOINT=point) as window:
        assert window.ended() == 125
        assert b"cloche: " in window.seen
        assert b"\nnever" not in window.seen
        assert window.attributes() == window.before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_to_the_front_is_passed_on_and_the_terminal_restored(
    person: Cli, rootfs: Path, number: signal.Signals
) -> None:
    script = 'trap "echo got it; exit 9" TERM HUP INT; echo ready; while :; do sleep 0.05; done'
    with Emulator.of(person, *in_rootfs(rootfs, script)) as window:
        window.until("ready")
        assert window.raw()
        os.kill(window.pid, number)
        window.until("got it")
        assert window.ended() == 9
        assert window.attributes() == window.before


def test_the_stage_restores_the_terminal_of_a_front_that_was_killed(person: Cli, image: tuple[str, ...]) -> None:
    with Emulator.of(person, "run", "-it", *image, "sh", "-c", "echo ready; exec sleep 46000017") as window:
        window.until("ready")
        assert window.raw()
        os.kill(window.pid, signal.SIGKILL)
        assert window.ended() == -9
        until(lambda: window.attributes() == window.before, "the terminal is as before")
        until(lambda: not living("46000017"), "nothing runs any more")


def test_the_front_restores_the_terminal_when_its_stage_was_killed(person: Cli, rootfs: Path) -> None:
    with Emulator.of(person, *in_rootfs(rootfs, "echo ready; exec sleep 46000018")) as window:
        window.until("ready")
        os.kill(children(window.pid)[0], signal.SIGKILL)
        assert window.ended() == 125
        assert b"the stage was killed" in window.seen
        assert window.attributes() == window.before
        until(lambda: not living("46000018"), "nothing runs any more")


def test_the_window_size_is_given_and_passed_on(person: Cli, image: tuple[str, ...]) -> None:
    # a shell runs a trap when what it waits for has ended
    script = 'trap "stty size" WINCH; stty size; while :; do sleep 0.05; done'
    with Emulator.of(person, "run", "-it", *image, "sh", "-c", script, size=(33, 111)) as window:
        window.until("33 111\r\n")
        window.resize(44, 122)
        window.until("44 122\r\n")


def test_ctrl_c_interrupts_what_runs_and_not_cloche(person: Cli, rootfs: Path) -> None:
    with Emulator.of(person, "run", "-it", "--rootfs", str(rootfs), "sh") as window:
        window.until("/ # ")
        window.type("sleep 46000019\r")
        until(lambda: [p for p in living("46000019") if p != window.pid], "it sleeps")
        window.type("\x03")
        window.until("/ # ")
        window.type("echo $((40 + 2))\r")
        window.until("\r\n42\r\n")
        window.until("/ # ")
        assert not living("46000019")
        window.type("\x04")
        assert window.ended() == 0


@needs_bash
def test_job_control_of_a_shell_inside(person: Cli) -> None:
    with Emulator.of(person, "shell", "--hostname", "jobs") as window:
        window.until("[jobs: inside] / # ")
        window.type("sleep 46000020\r")
        until(lambda: [p for p in living("46000020") if p != window.pid], "it sleeps")
        window.type("\x1a")
        window.until("Stopped")
        window.until("[jobs: inside] / # ")
        assert Path(f"/proc/{window.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T"
        window.type("fg\r")
        window.until("sleep 46000020\r\n")
        sleeper = next(p for p in living("46000020") if Path(f"/proc/{p}/cmdline").read_bytes().startswith(b"sleep"))
        status = Path(f"/proc/{sleeper}/stat")
        until(lambda: status.read_text().rpartition(")")[2].split()[0] != "T", "it goes on")
        window.type("\x03")
        window.until("[jobs: inside] / # ")
        window.type("exit 6\r")
        assert window.ended() == 6


def test_a_large_paste_and_every_letter_arrive(person: Cli) -> None:
    line = "grüße, 世界 🌍 " + "x" * 80 + "\n"
    data = (line * (1_000_000 // len(line.encode()) + 1)).encode()
    script = (
        f"stty raw -echo; echo ready; dd bs=65536 iflag=fullblock,count_bytes count={len(data)} 2>/dev/null | sha256sum"
    )
    with Emulator.of(person, "run", "-it", "host", "sh", "-c", script) as window:
        window.until("ready")
        window.type(data)
        window.until(hashlib.sha256(data).hexdigest())
        assert window.ended() == 0


def test_a_paste_into_a_program_that_answers_each_line(person: Cli, rootfs: Path) -> None:
    # both directions are full: whoever waits for one of them to be taken, waits for ever
    data = b"".join(b"%06d" % n + b"y" * 93 + b"\n" for n in range(3000))
    with Emulator.of(person, *in_rootfs(rootfs, "stty raw -echo; echo ready; exec cat")) as window:
        window.until("ready\n")
        os.set_blocking(window.master, False)
        sent = 0
        deadline = time.monotonic() + 20
        while sent < len(data) and time.monotonic() < deadline:
            try:
                sent += os.write(window.master, data[sent : sent + 4096])
            except BlockingIOError:
                break  # nothing is taken any more, as nobody reads what appears
        os.set_blocking(window.master, True)
        window.type(data[sent:])
        assert window.until(data[-100:]) == data


def test_letters_beyond_ascii_are_echoed(person: Cli, rootfs: Path) -> None:
    with Emulator.of(person, *in_rootfs(rootfs, "read line; echo [$line]")) as window:
        window.type("smörgåsbord 世界\r")
        window.until("[smörgåsbord 世界]")
        assert window.ended() == 0


def test_a_flood_of_output_arrives_whole(person: Cli, rootfs: Path) -> None:
    with Emulator.of(person, *in_rootfs(rootfs, "stty -opost; seq 1 730000; echo end")) as window:
        data = window.until("\nend\n")
        assert data == b"".join(b"%d\n" % n for n in range(1, 730001)) + b"end\n"
        assert len(data) > 4_900_000
        assert window.ended() == 0


@pytest.mark.parametrize(("program", "drawn", "quit_"), [("vi", "~", ":q!\r"), ("top", "PID", "q")])
def test_full_screen_programs(person: Cli, program: str, drawn: str, quit_: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")
    with Emulator.of(person, "run", "-it", "host", program) as window:
        window.until(drawn)
        window.type(quit_)
        assert window.ended() == 0
        assert window.attributes() == window.before


def test_closing_the_window_ends_everything(person: Cli, rootfs: Path) -> None:
    script = 'trap "" HUP TERM INT; echo ready; while :; do sleep 46000021; done'
    with Emulator.of(person, *in_rootfs(rootfs, script)) as window:
        window.until("ready")
        window.let_go()
        window.hang_up()
        window.ended()
        until(lambda: not living("46000021"), "nothing runs any more")


def test_closing_the_window_of_a_command_without_a_terminal(person: Cli, rootfs: Path) -> None:
    with Emulator.of(person, "run", "--rootfs", str(rootfs), "sh", "-c", "echo ready; exec sleep 46000022") as window:
        window.until("ready")
        window.let_go()
        window.hang_up()
        window.ended()
        until(lambda: not living("46000022"), "nothing runs any more")


def test_a_terminal_without_a_keyboard(person: Cli, rootfs: Path) -> None:
    # -t without -i, as in a pipeline whose output should look as on a terminal
    done = person("run", "-t", "--rootfs", str(rootfs), "sh", "-c", "tty; test -t 1 && echo yes; exit 4")
    assert (done.returncode, done.stdout) == (4, "/dev/pts/0\r\nyes\r\n")


def test_a_terminal_and_a_keyboard_need_a_terminal(person: Cli, rootfs: Path) -> None:
    done = person(*in_rootfs(rootfs, "echo never"))
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith("cloche: the input device is not a TTY\n  hint: ")


@pytest.mark.parametrize("options", [(), ("-i",)])
def test_without_a_terminal_of_its_own_ours_is_out_of_reach(
    person: Cli, image: tuple[str, ...], options: tuple[str, ...]
) -> None:
    script = (
        "for fd in 0 1 2; do test -t $fd && echo $fd is a terminal; done;"
        "for fd in 1 2; do stat -Lc %F /proc/self/fd/$fd; done;"
        "ls /proc/self/fd | tail -n +5; ls /dev/pts; tty </dev/tty || echo no tty; echo end"
    )
    with Emulator.of(person, "run", *options, *image, "sh", "-c", script) as window:
        text = window.until("end").decode()
        assert window.ended() == 0
    assert "is a terminal" not in text
    assert text.count("fifo") == 2
    assert re.findall(r"^\w+\r$", text, re.MULTILINE) == ["fifo\r", "fifo\r", "ptmx\r"]
    assert "no tty" in text


INJECT = """
import fcntl, sys, termios
for request in (termios.TIOCSTI, 0x100000000 | termios.TIOCSTI):
    try:
        fcntl.ioctl(int(sys.argv[1]), request & 0xFFFFFFFF, b"X")
    except OSError as error:
        print("refused", error.errno)
    else:
        print("typed")
import os
try:
    fcntl.ioctl(os.open("/dev/tty", os.O_RDWR), termios.TIOCSTI, b"X")
except OSError as error:
    print("refused", error.errno)
print("end")
"""


@pytest.mark.parametrize("options", [("-i",), ("-it",)])
def test_nothing_can_be_typed_for_the_caller(person: Cli, options: tuple[str, ...]) -> None:
    words = ("run", *options, "host", "/usr/bin/python3", "-I", "-c", INJECT, "0")
    with Emulator.of(person, *words) as window:
        text = window.until("end")
        assert window.ended() == 0
        assert b"typed" not in text
        assert text.count(b"refused") == 3


def test_job_control_of_the_calling_shell(person: Cli, rootfs: Path) -> None:
    """Ctrl-Z stops cloche and what runs in the container, fg goes on, Ctrl-C is passed on."""
    script = 'trap "echo stopped by key; exit 8" INT; echo ready; while :; do sleep 0.05; done'
    env = {"PATH": os.environ["PATH"], "HOME": "/", "CLOCHE_STATE": person.state, "PS1": "outer> "}
    file = Path(person.state) / "job"
    file.write_text(shlex.join([*person.argv, "run", "-i", "--rootfs", str(rootfs), "sh", "-c", script]) + "\n")
    file.chmod(0o755)
    with Emulator(["/bin/bash", "--norc", "--noprofile", "-i"], env) as window:
        window.until("outer> ")
        window.type(f". {file}\r")
        window.until("ready")
        inside = [pid for pid in living("stopped by key") if b"cloche" not in Path(f"/proc/{pid}/cmdline").read_bytes()]
        inside.sort()  # the shell, and perhaps what it has just forked
        window.type("\x1a")
        window.until("Stopped")
        window.until("outer> ")
        status = Path(f"/proc/{inside[0]}/stat")
        until(lambda: status.read_text().rpartition(")")[2].split()[0] == "T", "what is inside is stopped")
        window.type("fg\r")
        until(lambda: status.read_text().rpartition(")")[2].split()[0] != "T", "what is inside goes on")
        window.type("\x03")
        window.until("stopped by key")
        window.until("outer> ")
        window.type("echo code $?\r")
        window.until("code 8\r\n")
        window.type("exit\r")
        window.ended()
    file.unlink()


def test_input_typed_at_a_terminal_reaches_a_command_without_one(person: Cli, rootfs: Path) -> None:
    with Emulator.of(person, "run", "-i", "--rootfs", str(rootfs), "cat") as window:
        window.type("one line\r")
        window.until("one line\r\none line\r\n")
        window.type("\x04")
        assert window.ended() == 0


def test_output_goes_to_a_pipe_while_stdin_is_a_terminal(person: Cli, rootfs: Path) -> None:
    done = subprocess.run(
        [*person.argv, "run", "--rootfs", str(rootfs), "sh", "-c", "echo out; echo err >&2"],
        env={"PATH": os.environ["PATH"], "CLOCHE_STATE": person.state},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        check=False,
        timeout=30,
    )
    assert (done.stdout, done.stderr) == (b"out\n", b"err\n")
