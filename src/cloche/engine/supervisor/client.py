"""A command's side of the supervisor: find it, start it where there is none, ask it.

session = connect()            one connection; the supervisor is started if there is none
session.ask("signal", id, 9, True)     a message, and the answer
ask_surely("stop", id, 15, 9)  the same, asked again of the next supervisor where this one is killed
revive()                       where something may run and nobody watches it
"""

from __future__ import annotations

import _socket
import posix as os
import sys
import time

from cloche.engine import sockets
from cloche.engine.records import state_dir
from cloche.errors import ForbiddenError, StageError
from cloche.images.store.layout import store_dir
from cloche.linux import places
from cloche.stage import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    Answer = TypeVar("Answer")
    Message = tuple[Any, ...]

PATIENCE = 10.0  # seconds, until it must have come up
LOG = "supervisor.log"
TRIES = 5  # supervisors that are asked the same thing
_children: list[int] = []  # those we have started


class GoneError(StageError):
    """The supervisor was killed; the next one knows what it knew."""

    def __init__(self) -> None:
        super().__init__("the supervisor was killed", hint="containers go on; run the command again")


class Session:
    """A connection to the supervisor."""

    def __init__(self, sock: _socket.socket) -> None:
        self.sock = sock

    def fileno(self) -> int:
        """The socket's descriptor, readable when there is news."""
        return self.sock.fileno()

    def is_greeted(self) -> bool:
        """Wait until it says hello, as it does to whoever comes; one that is just going does not: then it is closed."""
        try:
            if wire.receive(self.sock) is not None:
                return True
        except OSError:
            pass
        self.close()
        return False

    def send(self, *message: Any, fds: tuple[int, ...] | list[int] = ()) -> None:
        """Send a message. Raises GoneError where the supervisor is gone."""
        try:
            wire.send(self.sock, message, fds)
        except OSError:
            raise GoneError from None

    def receive(self) -> Message:
        """Wait for the next message. Raises GoneError where the supervisor is gone."""
        got = wire.receive(self.sock)
        if got is None:
            raise GoneError
        message, fds = got
        for fd in fds:
            os.close(fd)
        return tuple(message)

    def ask(self, *message: Any, fds: tuple[int, ...] | list[int] = ()) -> Message:
        """Send a message and wait for the answer."""
        self.send(*message, fds=fds)
        return self.receive()

    def close(self) -> None:
        """Let go of it."""
        self.sock.close()


def ask(*message: Any) -> Message:
    """One question and its answer, on a connection of their own."""
    session = connect()
    try:
        return session.ask(*message)
    finally:
        session.close()


def ask_surely(*message: Any) -> Message:
    """The same of what may be asked twice: where the supervisor is killed before it answers, the next one is asked."""
    return surely(lambda: ask(*message))


def surely(work: Callable[[], Answer]) -> Answer:
    """Do it again with the next supervisor where this one is killed, so often as that may be an accident."""
    for _ in range(TRIES - 1):
        try:
            return work()
        except GoneError:
            continue
    return work()


def attach(container_id: str) -> Session | None:
    """A connection that hears what a container writes from now on, to its end; None where it does not run."""

    def once() -> Session | None:
        session = connect()
        try:
            if session.ask("attach", container_id)[0] == "attached":
                return session
        except BaseException:
            session.close()
            raise
        session.close()
        return None

    return surely(once)


def connect() -> Session:
    """A connection to the supervisor, which is started where there is none. Raises StageError."""
    deadline = time.monotonic() + PATIENCE
    while (session := reach()) is None:
        if time.monotonic() > deadline:
            raise StageError(
                "the supervisor does not come up", hint=f"{sockets.place()}/{LOG} may say why; run it again"
            )
        _start()
    return session


def reach() -> Session | None:
    """A connection to the supervisor that is there; None where there is none."""
    session = knock()
    return session if session is not None and session.is_greeted() else None


def knock() -> Session | None:
    """A connection that the supervisor has not answered yet, see `Session.is_greeted`; None where there is none."""
    path = f"{sockets.place()}/{sockets.SUPERVISOR}"
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        sockets.connect(sock, path)
    except OSError:
        sock.close()
        return None
    if not wire.is_ours(sock):
        sock.close()
        raise ForbiddenError(f"{path} is somebody else's", hint="give another: --state-dir")
    return Session(sock)


def revive() -> bool:
    """See to it that there is a supervisor; False where there was one already."""
    session = reach()
    if session is not None:
        session.close()
        return False
    connect().close()
    return True


def _start() -> None:
    """Start a supervisor, and wait until it listens, or has found that another one does.

    Raises StageError where it says why it cannot: that would not be another with the next one.
    """
    place = sockets.claim()
    _children[:] = filter(_is_there, _children)
    root = places.dirname(places.dirname(places.dirname(places.dirname(places.abspath(__file__)))))
    code = f"import sys; sys.path.insert(0, {root!r}); from cloche.engine.supervisor.main import main; main(3)"
    env = {"LD_BIND_NOW": "1", "CLOCHE_STATE": state_dir(), "CLOCHE_ROOT": store_dir()}
    for name in ("PATH", "HOME", "CLOCHE_FAILPOINT"):
        if (value := places.variable(name)) is not None:
            env[name] = value
    read, write = os.pipe2(os.O_CLOEXEC)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    log = os.open(f"{place}/{LOG}", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    # in this order none is overwritten before it was copied: all of ours are above 2, and `write` comes last
    actions = [
        (os.POSIX_SPAWN_DUP2, null, 0),
        (os.POSIX_SPAWN_DUP2, null, 1),
        (os.POSIX_SPAWN_DUP2, log, 2),
        (os.POSIX_SPAWN_DUP2, write, 3),
    ]
    try:
        argv = [sys.executable, "-I", "-S", "-c", code]
        _children.append(os.posix_spawn(sys.executable, argv, env, file_actions=actions, setsid=True))
        os.close(write)
        write = -1
        said = os.read(read, 4096)
    finally:
        for fd in (read, write, null, log):
            if fd >= 0:
                os.close(fd)
    if said:
        raise StageError(
            f"the supervisor cannot come up: {said.decode(errors='replace')}",
            hint="what runs goes on; `ulimit -n` says how many files may be open",
        )


def _is_there(pid: int) -> bool:
    """Whether one that we have started still runs; a program that lives long is to have no more than one zombie."""
    try:
        return os.waitpid(pid, os.WNOHANG) == (0, 0)
    except ChildProcessError:
        return False  # somebody else has reaped it, or we are a fork
