"""Terminals: the console socket of create, run -d and exec, and the caller's own in the foreground."""

from __future__ import annotations

import fcntl
import json
import os
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.integration.terminal import Emulator
from tests.runtime.conftest import SLEEP
from tests.runtime.looking import only_cloche

if TYPE_CHECKING:
    from tests.runtime.conftest import Bundle, Console, MakeBundle, Runtime


TIOCGPTN = 0x80045430  # asm-generic/ioctls.h


def on_terminal(bundle: Bundle, size: tuple[int, int] | None = None) -> Bundle:
    bundle.process["terminal"] = True
    if size:
        bundle.process["consoleSize"] = {"height": size[0], "width": size[1]}
    return bundle


def created(runtime: Runtime, bundle: Bundle) -> tuple[str, Console]:
    console = runtime.console()
    id = runtime.create(bundle, "--console-socket", str(console.path))
    return id, console.receive()


def test_the_terminal_comes_with_create(runtime: Runtime, bundle: MakeBundle) -> None:
    id, console = created(runtime, on_terminal(bundle("sh", "-c", "tty; test -t 0 -a -t 1 -a -t 2; echo $?")))
    assert os.isatty(console.fd)
    runtime.start(id)
    assert console.rest() == "/dev/pts/0\n0\n"


def test_the_socket_may_have_a_longer_path_than_its_address_holds(runtime: Runtime, bundle: MakeBundle) -> None:
    runtime.not_like("runc", because="1.1 says that it is an invalid argument")  # unix(7): 108 bytes
    console, id, folder = runtime.console(), runtime.new_id(), runtime.top / ("long" * 30)
    folder.mkdir()
    os.link(console.path, folder / "console")
    made = on_terminal(bundle("tty"))
    done = runtime.try_create(made, "--console-socket", str(folder / "console"), id=id)
    assert done.returncode == 0, done.stderr
    console.receive()
    runtime.start(id)
    assert console.rest() == "/dev/pts/0\n"


def test_the_socket_itself_may_have_a_name_that_is_too_long(runtime: Runtime, bundle: MakeBundle) -> None:
    only_cloche(runtime, "a name of more than 108 bytes in an address of so many")
    console, long = runtime.console(), runtime.top / ("long" * 30)
    os.link(console.path, long)
    made = on_terminal(bundle("tty"))
    id = runtime.create(made, "--console-socket", str(long))
    console.receive()
    runtime.start(id)
    assert console.rest() == "/dev/pts/0\n"
    done = runtime.try_create(made, "--console-socket", f"{long}er")
    assert done.returncode == 1
    assert f"{long}er: No such file or directory" in done.stderr


def test_its_size_is_that_of_the_configuration(runtime: Runtime, bundle: MakeBundle) -> None:
    id, console = created(runtime, on_terminal(bundle("stty", "size"), (33, 111)))
    assert console.size() == (33, 111)
    runtime.start(id)
    assert console.rest() == "33 111\n"


def test_it_can_be_typed_on_and_resized(runtime: Runtime, bundle: MakeBundle) -> None:
    id, console = created(runtime, on_terminal(bundle("sh")))
    runtime.start(id)
    console.resize(50, 60)
    console.type("stty size\n")
    assert "50 60" in console.until("50 60")
    console.type("trap 'echo hung up' HUP; echo $$\n")
    console.until("\n1\n")
    console.type("exit 5\n")
    console.rest()
    runtime.wait(id)


def test_interrupt_comes_from_the_key(runtime: Runtime, bundle: MakeBundle) -> None:
    script = 'trap "echo interrupted; exit 3" INT; echo ready; while :; do sleep 0.05; done'
    id, console = created(runtime, on_terminal(bundle("sh", "-c", script)))
    runtime.start(id)
    console.until("ready\n")
    console.type("\x03")
    console.until("interrupted\n")
    runtime.wait(id)


def test_it_belongs_to_the_user_and_is_the_console(runtime: Runtime, bundle: MakeBundle) -> None:
    # config.md, process.terminal; runc and crun put the pty at /dev/console and give it to the process' user
    made = on_terminal(bundle("sh", "-c", "stat -c %u,%t $(tty); stat -c %t /dev/console; echo written >/dev/console"))
    made.process["user"] = {"uid": 1000, "gid": 1000}
    id, console = created(runtime, made)
    runtime.start(id)
    assert console.rest() == "1000,88\n88\nwritten\n"


def test_the_process_leads_a_session_on_it(runtime: Runtime, bundle: MakeBundle) -> None:
    id, console = created(
        runtime, on_terminal(bundle("sh", "-c", "cut -d' ' -f 5-7 /proc/self/stat; cat /proc/1/stat"))
    )
    runtime.start(id)
    words = console.rest().splitlines()[-1].split()
    assert words[4:6] == ["1", "1"]  # process group and session
    assert int(words[6]) != 0  # the controlling terminal


def test_a_terminal_without_a_socket_is_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.new_id()
    done = runtime.try_create(on_terminal(bundle("true")), id=id)
    assert done.returncode != 0
    assert "console" in done.stderr
    assert runtime.status(id) == ""


def test_a_socket_without_a_terminal_is_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    # runc: "cannot use console socket if runc will not detach or allocate tty"
    runtime.not_like("crun", because="does not look")
    console, id = runtime.console(), runtime.new_id()
    done = runtime.try_create(bundle("true"), "--console-socket", str(console.path), id=id)
    assert done.returncode != 0
    assert "console" in done.stderr
    assert runtime.status(id) == ""


def test_a_socket_that_is_not_there(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.new_id()
    done = runtime.try_create(on_terminal(bundle("true")), "--console-socket", "/nowhere/socket", id=id)
    assert done.returncode != 0
    assert done.stderr
    assert runtime.status(id) == ""


def test_run_detached(runtime: Runtime, bundle: MakeBundle) -> None:
    console, id = runtime.console(), runtime.new_id()
    words = ("-d", "--console-socket", str(console.path))
    done = runtime.try_create(on_terminal(bundle("tty"), (10, 20)), *words, id=id, verb="run")
    assert done.returncode == 0, done.stderr
    assert console.receive().rest() == "/dev/pts/0\n"


@pytest.mark.parametrize("flag", ["--tty", "-t"])
def test_exec_with_a_terminal(runtime: Runtime, bundle: MakeBundle, flag: str) -> None:
    id, console = runtime.running(bundle(*SLEEP)), runtime.console()
    words = ("exec", flag, "-d", "--console-socket", str(console.path), id, "sh", "-c", "tty; test -t 2; echo $?")
    done = runtime.detached(*words, name="exec")
    assert done.returncode == 0, done.stderr
    assert console.receive().rest() == "/dev/pts/0\n0\n"


def test_exec_of_a_process_file_with_a_terminal_of_a_size(runtime: Runtime, bundle: MakeBundle) -> None:
    id, console = runtime.running(bundle(*SLEEP)), runtime.console()
    process = {"terminal": True, "consoleSize": {"height": 12, "width": 34}, "args": ["stty", "size"], "cwd": "/"}
    (runtime.top / "process.json").write_text(
        json.dumps({**process, "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}})
    )
    words = ("exec", "-p", str(runtime.top / "process.json"), "-d", "--console-socket", str(console.path), id)
    done = runtime.detached(*words, name="exec")
    assert done.returncode == 0, done.stderr
    assert console.receive().rest() == "12 34\n"


def emulator(runtime: Runtime, *words: str) -> Emulator:
    if words[0] == "run":
        runtime.not_like("crun", because="1.8 gives the new terminal no size")
    return Emulator(runtime.argv(*words), runtime.env, size=(21, 43))


def test_run_on_the_callers_terminal(runtime: Runtime, bundle: MakeBundle) -> None:
    made, id = (
        on_terminal(bundle("sh", "-c", "tty; sleep 0.3; stty size; read line; echo got $line; exit 7")).write(),
        runtime.new_id(),
    )
    with emulator(runtime, "run", "-b", str(made.path), id) as terminal:
        assert b"/dev/pts/0" in terminal.until("21 43\r\n")
        assert terminal.raw()
        terminal.type("typed\n")
        terminal.until("got typed\r\n")
        assert terminal.ended() == 7
        assert not terminal.raw()
        assert terminal.attributes() == terminal.before


@pytest.mark.parametrize("verb", ["run", "exec"])
def test_more_is_typed_than_a_terminal_holds(runtime: Runtime, bundle: MakeBundle, verb: str) -> None:
    runtime.not_like("runc", "crun", because="does that only where it has a terminal itself")
    script = "stty raw -echo; echo ready; sleep 0.3; head -c 300000 | wc -c; exit 7"
    if verb == "run":
        made, id = on_terminal(bundle("sh", "-c", script)).write(), runtime.new_id()
        words = ["run", "-b", str(made.path), id]
    else:
        words = ["exec", "-t", runtime.running(bundle(*SLEEP)), "sh", "-c", script]
    child = runtime.popen(*words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin
    assert child.stdout
    assert child.stdout.readline().strip() == b"ready"
    child.stdin.write(b"x" * 300_000)
    child.stdin.close()
    assert child.stdout.read().strip() == b"300000"
    assert child.wait(20) == 7


def test_a_terminal_that_its_process_lets_go_of(runtime: Runtime, bundle: MakeBundle) -> None:
    runtime.not_like("runc", "crun", because="does that only where it has a terminal itself")
    made, id = (
        on_terminal(bundle("sh", "-c", "echo here; exec </dev/null >/dev/null 2>&1; sleep 0.5; exit 7")),
        runtime.new_id(),
    )
    child = runtime.popen("run", "-b", str(made.write().path), id, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin
    assert child.stdout
    assert child.stdout.readline().strip() == b"here"
    child.stdin.write(b"nobody reads this\n")
    child.stdin.flush()
    assert child.wait(20) == 7


def test_its_size_follows_the_callers(runtime: Runtime, bundle: MakeBundle) -> None:
    script = 'trap "stty size" WINCH; echo ready; while :; do sleep 0.05; done'
    made, id = on_terminal(bundle("sh", "-c", script)).write(), runtime.new_id()
    with emulator(runtime, "run", "-b", str(made.path), id) as terminal:
        terminal.until("ready\r\n")
        terminal.resize(30, 70)
        terminal.until("30 70\r\n")
        runtime.kill(id)
        assert terminal.ended() == 128 + 9


def test_exec_on_the_callers_terminal(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.running(bundle(*SLEEP))
    with emulator(
        runtime, "exec", "-t", id, "sh", "-c", "tty; sleep 0.3; stty size; read line; echo got $line; exit 7"
    ) as terminal:
        assert b"/dev/pts/0" in terminal.until("21 43\r\n")
        terminal.type("typed\n")
        terminal.until("got typed\r\n")
        assert terminal.ended() == 7
        assert terminal.attributes() == terminal.before


def test_a_terminal_is_of_the_containers_own_devpts(runtime: Runtime, bundle: MakeBundle) -> None:
    _, console = created(runtime, on_terminal(bundle(*SLEEP)))
    number = struct.unpack("I", fcntl.ioctl(console.fd, TIOCGPTN, bytes(4)))[0]
    assert number == 0


@pytest.mark.parametrize("given", ["typed\n", ""])
def test_an_end_of_input_is_passed_on(runtime: Runtime, bundle: MakeBundle, given: str) -> None:
    runtime.not_like("runc", "crun", because="wants a terminal of its own, or waits for ever")
    made = on_terminal(bundle("sh", "-c", "cat >/dev/null; echo the end")).write()
    done = runtime("run", "-b", str(made.path), runtime.new_id(), input=given, stdin=None, timeout=20)
    assert done.returncode == 0, done
    assert done.stdout.endswith("the end\r\n"), done
