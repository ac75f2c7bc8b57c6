"""A process of a container that may be left running: by `exec --detach`, and by detach keys.

    command ── fork ──▶ keeper ── plan ──▶ the new process
       ◀─ made, terminal ──┤
       ── signal, leave ──▶┤ waits for its end, so that no zombie is left in the container, whose first
       ◀──────── ended ────┘ process need not care for children of others

The keeper has nothing of the caller's: no terminal, streams, directory. When it is left it takes what the new
process still says to its terminal; when the command ends without a word, as by SIGKILL, it hangs the terminal up, as
a window does that is closed. If the keeper is killed the new process goes on, as a child of the machine's first one.
"""

from __future__ import annotations

import posix as os
import select
import time

from cloche.cli import front
from cloche.cli.containers.making import NotExecutedError, Terminal, carry_out, let_go
from cloche.errors import ClocheError, ConflictError, StageError
from cloche.linux import process, terminal
from cloche.stage import wire
from cloche.stage.inside import default_signals
from cloche.stage.points import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from typing import Any

    from cloche.cli.containers.making import Record
    from cloche.cli.detaching import Matcher
    from cloche.runtime.entering import Entry
    from cloche.stage.making import Made

CHUNK = 65536
HUP, KILL = 1, 9


class Kept:
    """The keeper of a process, as `front.Streams` wants to see what it relays for."""

    def __init__(self, sock: _socket.socket) -> None:
        self.sock = sock

    def fileno(self) -> int:
        """Readable when there is news."""
        return self.sock.fileno()

    def receive(self) -> tuple[tuple[Any, ...], list[int]]:
        """Its terminal, or how it ended. Raises StageError when the keeper is gone."""
        got = wire.receive(self.sock)
        if got is None:
            raise StageError("the process that waited for the command was killed", hint="the command may still run")
        kind, *rest = got[0]
        if kind == "not executed":
            raise NotExecutedError(rest[0], rest[1], hint=rest[2])
        if kind == "over":
            raise ConflictError(rest[0], hint=rest[2])
        if kind == "failed":
            raise StageError(rest[0], errno=rest[1], hint=rest[2])
        return got

    def send(self, *message: Any, fds: tuple[int, ...] | list[int] = ()) -> None:
        """Tell the keeper: signal NUMBER, stop NUMBER SECONDS, terminal ATTRIBUTES with its descriptor, leave."""
        try:
            wire.send(self.sock, message, fds)
        except OSError:
            pass  # it has ended

    def close(self) -> None:
        """Let go."""
        self.sock.close()


def leave(entry: Entry, record: Record) -> None:
    """Start it, and leave at once. Raises ClocheError where it could not be started."""
    run = _fork(entry, record)
    run.receive()
    run.send("leave")
    run.close()


def follow(entry: Entry, record: Record, matcher: Matcher | None) -> int:
    """Be its terminal until it ends, or the keys are typed; returns its exit code, 0 when it has been left."""
    run = _fork(entry, record)
    _, fds = run.receive()
    streams = front.Streams(interactive=True, tty=True, matcher=matcher)
    streams.handed_over()
    with front.passing_signals(run, streams, tty=True):
        streams.connect(fds[0])
        return int(streams.relay(run, front.Observer(), lambda _pid: None)["exit_code"])


def _fork(entry: Entry, record: Record) -> Kept:
    ours, theirs = wire.pair()
    if os.fork() == 0:
        try:
            ours.close()
            _Keeper(theirs).keep(entry, record)
        finally:
            os._exit(0)
    theirs.close()
    return Kept(ours)


class _Keeper:
    """The other end."""

    def __init__(self, sock: _socket.socket) -> None:
        self.sock = sock
        self.poll = select.poll()
        self.master = -1
        self.outer: tuple[int, bytes] | None = None  # the caller's terminal, as it was
        self.deadline = 0.0

    def keep(self, entry: Entry, record: Record) -> None:
        """Make the process, and wait for it."""
        os.setsid()
        os.chdir("/")
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        for fd in range(3):
            os.dup2(null, fd)
        process.close_range(3, self.sock.fileno() - 1)  # what the caller has left open for its own children, too
        process.close_range(self.sock.fileno() + 1)
        default_signals()
        console = Terminal()
        try:
            made = carry_out(entry, [0, 1, 2], console)
            self.master = console.master
            forget = record(made.pid)
            point("exec recorded")
            code: int | None = None
            try:
                let_go(made)
                process.set_name("cloche exec")
                code = self._wait(made)
            finally:
                forget(code)
            self._say("ended", {"exit_code": code})
        except NotExecutedError as error:
            self._say("not executed", str(error), error.errno, error.hint)
        except ConflictError as error:
            self._say("over", str(error), 0, error.hint)
        except ClocheError as error:
            self._say("failed", str(error), getattr(error, "errno", 0), error.hint)

    def _say(self, *message: Any, fds: tuple[int, ...] = ()) -> None:
        try:
            wire.send(self.sock, message, fds)
        except OSError:
            pass  # who made us has ended

    def _wait(self, made: Made) -> int:
        """Until it has ended; returns its exit code."""
        self._say("made", made.pid, fds=(self.master,) if self.master >= 0 else ())
        self.poll.register(made.pidfd, select.POLLIN)
        self.poll.register(self.sock.fileno(), select.POLLIN)
        while True:
            wait = max(0.0, self.deadline - time.monotonic()) * 1000 if self.deadline else None
            ready = self.poll.poll(wait)
            if not ready:
                self.deadline = 0.0
                _send_signal(made, KILL)
            for fd, _ in ready:
                if fd == made.pidfd:
                    ended = process.wait_pidfd(fd)
                    assert ended is not None
                    return ended.status if ended.code == process.CLD_EXITED else 128 + ended.status
                if fd == self.master:
                    self._drain()
                else:
                    self._hear(made)

    def _hear(self, made: Made) -> None:
        got = wire.receive(self.sock)
        (kind, *rest), fds = got if got is not None else (("gone",), [])
        if kind == "signal":
            _send_signal(made, rest[0])
        elif kind == "stop":
            _send_signal(made, rest[0])
            self.deadline = time.monotonic() + rest[1]
        elif kind == "terminal":
            self.outer = fds[0], rest[0]
        else:
            self._be_left(hung_up=kind == "gone")

    def _be_left(self, *, hung_up: bool) -> None:
        self.poll.unregister(self.sock.fileno())
        self.sock.close()
        if self.outer is not None:
            if hung_up:
                try:
                    terminal.restore(*self.outer)
                except OSError:
                    pass  # it went with the caller
            os.close(self.outer[0])
        if self.master >= 0 and hung_up:
            os.close(self.master)
            self.master = -1
        elif self.master >= 0:
            self.poll.register(self.master, select.POLLIN)

    def _drain(self) -> None:
        try:
            gone = not os.read(self.master, CHUNK)
        except BlockingIOError:
            return
        except OSError:
            gone = True  # EIO: the last process on it has gone
        if gone:
            self.poll.unregister(self.master)


def _send_signal(made: Made, number: int) -> None:
    try:
        process.pidfd_send_signal(made.pidfd, number)
    except ProcessLookupError:
        pass  # it has just ended
