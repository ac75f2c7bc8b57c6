"""What containers, other users and whoever starts a command have of the supervisor, and it of them: little."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from pathlib import Path

from cloche.engine.logs.writers import Writer
from cloche.engine.supervisor.loop import Loop
from cloche.engine.supervisor.streams import Streams
from tests.conftest import ORDINARY, system_python
from tests.containers.ground import Ground

LISTENER = """
import marshal, socket, sys
at = socket.socket(socket.AF_UNIX)
at.bind(sys.argv[1])
at.listen(1)
print("listens", flush=True)
conn, _ = at.accept()
body = marshal.dumps(("hello",))
try:
    conn.sendall(len(body).to_bytes(4, "little") + body)
    print(conn.recv(100))
except ConnectionError:
    print(b"")
"""


def test_the_supervisor_has_nothing_that_its_starter_had_open(ground: Ground) -> None:
    """Who waits for the end of a pipe, or for a lock, does not wait for the supervisor."""
    read, write = os.pipe()
    with open(os.devnull, "r+b") as null:
        words = ["run", "-d", "--name", "open", "box", "sleep", "1000"]
        high = os.dup2(write, 200, inheritable=True)
        started = ground.cli.popen(*words, env=ground.env, stdin=null, stdout=null, stderr=null, close_fds=False)
        assert started.wait(60) == 0
    os.close(write)
    os.close(high)
    os.set_blocking(read, False)
    assert os.read(read, 1) == b"", "somebody has it open"
    os.close(read)
    ground.well("rm", "-f", "open")


def test_the_directory_of_the_state_is_for_its_owner(ground: Ground) -> None:
    state = ground.top / "made/state"
    own = {"CLOCHE_STATE": str(state), "CLOCHE_ROOT": str(ground.top / "made/store")}
    ground.well("run", "--rm=false", "host", "true", **own)
    assert stat.S_IMODE(state.stat().st_mode) == 0o700


def test_what_listens_for_somebody_else_is_not_heard(ground: Ground) -> None:
    """The directory of the state may be one where somebody else could be first."""
    state = Path(tempfile.mkdtemp(dir="/tmp"))
    state.chmod(0o777)
    words = ["setpriv", "--reuid", str(ORDINARY), "--clear-groups", system_python(), "-c", LISTENER]
    with subprocess.Popen([*words, str(state / "supervisor.sock")], stdout=subprocess.PIPE) as listener:
        assert listener.stdout is not None
        assert listener.stdout.readline() == b"listens\n"
        state.chmod(0o755)  # which hides that somebody was first
        done = ground("run", "-d", "host", "true", env={"CLOCHE_STATE": str(state), "CLOCHE_ROOT": f"{state}/store"})
        assert listener.communicate(timeout=30)[0] == b"b''\n", "it was told something"
    assert done.returncode == 125
    assert f"{state}/supervisor.sock is somebody else's" in done.stderr
    shutil.rmtree(state)


def test_one_that_stands_still_is_killed(ground: Ground) -> None:
    ground.run("still")
    ground.well("pause", "still")
    ground.well("kill", "-s", "WINCH", "still")
    assert ground.of("still")["status"] == "paused"
    ground.well("kill", "still")
    ground.until("still", "exited")
    assert ground.of("still")["exit_code"] == 128 + signal.SIGKILL
    ground.well("rm", "still")


class Refilling(Writer):
    """A log, and somebody who writes as much as was read."""

    def __init__(self) -> None:
        self.into, self.taken = -1, 0

    def write(self, stream: str, data: bytes, now_ns: int) -> None:
        del stream, now_ns
        self.taken += len(data)
        assert self.taken < 100 * len(data), "it never ends"
        os.write(self.into, data)

    def unfinished(self, stream: str) -> bytes:
        del stream
        return b""

    def flush(self, now_ns: int) -> None:
        del now_ns

    def close(self) -> None:
        pass


def test_who_gives_its_output_away_does_not_hold_the_supervisor_up(tmp_path: Path) -> None:
    """An end of its pipe, sent to a container that goes on, and writes without end when the first has ended."""
    writer = Refilling()
    streams = Streams(Loop(), str(tmp_path), lambda: None, lambda *_: None)
    streams.log = lambda: writer
    theirs, ends = streams.open(tty=False, interactive=False)
    writer.into = theirs[1]
    os.write(theirs[1], b"its own words\n")
    streams.end()
    assert writer.taken == len(b"its own words\n")
    for fd in {*theirs, *ends.values()} - {ends["out"], ends["err"]}:
        os.close(fd)


def test_what_is_removed_with_its_end_is_so_where_it_cannot_start(ground: Ground) -> None:
    ground.well("create", "--rm", "--name", "never", "-v", "/anonymous", "box", "/no/such/command")
    done = ground("start", "never")
    assert done.returncode == 1
    assert "/no/such/command" in done.stderr
    assert "never" not in ground.truth()
    assert ground.well("volume", "ls", "-q") == ""


def test_its_time_is_over_where_it_stands_still_too(ground: Ground) -> None:
    ground.run("timed", "--timeout", "2")
    ground.well("pause", "timed")
    ground.until("timed", "exited")
    assert ground.of("timed")["reason"] is not None
    ground.well("rm", "timed")


def test_who_is_frozen_while_its_end_is_waited_for_ends_all_the_same(ground: Ground) -> None:
    ground.run("stops", command=("sh", "-c", "trap 'echo asked' TERM; while :; do sleep 0.1; done"))
    stop = ground.begin("stop", "-t", "3", "stops")
    while "asked" not in ground.well("logs", "stops"):
        time.sleep(0.05)
    ground.well("pause", "stops")
    assert stop.communicate(timeout=30)[0] == b"stops\n"
    ground.until("stops", "exited")
    ground.well("rm", "stops")


def test_namespaces_of_one_that_is_kept_are_joined_by_its_name(ground: Ground) -> None:
    ground.run("first", command=("sh", "-c", "exec sleep 1000"))
    theirs = ground.well("exec", "first", "stat", "-Lc", "%i", "/proc/self/ns/net", "/proc/self/ns/ipc")
    options = ("--network", "container:first", "--ipc", "container:first")
    line = ("stat", "-Lc", "%i", "/proc/self/ns/net", "/proc/self/ns/ipc")
    assert ground.well("run", "--name", "second", *options, "box", *line) == theirs
    ground.well("stop", "-t", "0", "first")
    done = ground("start", "second")
    assert done.returncode == 1
    assert "is not running" in done.stderr
    done = ground("run", "--network", "container:nobody", "box", "true")
    assert "No such container: nobody" in done.stderr
    ground.well("rm", "first", "second")


def test_commands_without_streams(ground: Ground) -> None:
    """`cloche run -d … >&- 2>&-`, as a service may call it: the container runs, and the command says so."""
    script = 'exec "$@" <&- >&- 2>&-'
    argv = ["sh", "-c", script, "sh", *ground.cli.argv]
    for words in (("run", "-d", "--name", "mute", "box", "sleep", "1000"), ("ps",), ("rm", "-f", "mute")):
        assert subprocess.run([*argv, *words], env={**os.environ, **ground.env}, check=False).returncode == 0, words
    assert "mute" not in ground.truth()
