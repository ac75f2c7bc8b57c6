"""The caller's end of a stage: start one, give it plans, hear how they end.

    stage = fork_stage()            the command line: this lean process forks
    stage = spawn_stage()           a library: a fresh interpreter, resident from the first call on
    run = stage.run(plan, [0, 1, 2])
    for message, fds in run: …      started, step, next, console, executed, ended

Any thread may call `run`; each run has a socket of its own, so nobody waits for another's news.
"""

from __future__ import annotations

import _socket
import _thread
import fcntl
import posix as os
import sys
from errno import EMFILE

from cloche.errors import StageError
from cloche.linux import places
from cloche.records import record
from cloche.stage import cleaning, delegation, watching, wire
from cloche.stage.operation import Plan, encode

ADOPTED = 2  # descriptors that come with one that is taken over, at least: its socket, its pidfd
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Message = tuple[tuple[Any, ...], list[int]]


class Stage:
    """A stage process and the socket it takes plans from."""

    def __init__(self, control: _socket.socket, pid: int) -> None:
        self.control, self.pid = control, pid
        self._lock = _thread.allocate_lock()

    def run(self, plan: Plan, stdio: list[int]) -> Run:
        """Have a plan carried out with these descriptors as stdin, stdout and stderr."""
        run = Run(self._hand_over(encode(plan), stdio, {}), plan)
        run.stage = self.pid
        return run

    def pass_on(self, encoded: Any, keeping: str, stdio: list[int], held: dict[str, int]) -> Run:
        """Have a plan carried out that somebody else has made and encoded, of a container that is kept.

        As long as it runs, the stage keeps copies of `held` open: "lease", its range of ids; "input", the end of its
        stdin that is written to; "out" and "err", those of its outputs that are read.
        """
        return Run(self._hand_over(encoded, stdio, held), Plan((), keeping=keeping))

    def _hand_over(self, encoded: Any, stdio: list[int], held: dict[str, int]) -> _socket.socket:
        ours, theirs = wire.pair()
        try:
            with self._lock:
                fds = [theirs.fileno(), *stdio, *held.values()]
                wire.send(self.control, ("run", encoded, tuple(held)), fds)
        except OSError as error:
            ours.close()
            raise StageError(f"the stage (process {self.pid}) is gone", hint="run it again") from error
        finally:
            theirs.close()
        return ours

    def alive(self) -> bool:
        """Whether the process is there; reaps it when it has just ended."""
        try:
            return os.waitpid(self.pid, os.WNOHANG) == (0, 0)
        except ChildProcessError:
            return False

    def close(self) -> None:
        """Let the stage end its containers and exit; waits for it."""
        self.control.close()
        try:
            os.waitpid(self.pid, 0)
        except ChildProcessError:
            pass  # somebody else has reaped it


@record
class Adopted:
    """A container that another owner's stage has made, and its terminal (-1 for none)."""

    run: Run
    console: int


class AdoptedStage(Stage):
    """A stage that another program has started: it is not our child."""

    def alive(self) -> bool:
        """Whether it still holds its end of the connection."""
        try:
            return self.control.recv(1, _socket.MSG_PEEK | _socket.MSG_DONTWAIT) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False


class Run:
    """One container as its caller sees it: an iterator of messages, and signals to send."""

    def __init__(self, sock: _socket.socket, plan: Plan) -> None:
        self.sock, self.plan = sock, plan
        self.pidfd = -1
        self.pid = 0
        self.stage = 0  # its process, 0 where others have started it
        self.mounts = -1

    def fileno(self) -> int:
        """The socket's descriptor, readable when there is news."""
        return self.sock.fileno()

    def receive(self) -> Message:
        """The next message; when the stage has died without a word, cleans up in its place.

        Raises StageError in that case.
        """
        got = wire.receive(self.sock)
        if got is None and self.plan.keeping:
            raise StageError("the stage was killed", hint="what it has made goes on")
        if got is None:
            self._clean_up()
            raise StageError(
                "the stage was killed; what ran in the container has been ended with it",
                hint="nothing is left behind; run it again",
            )
        message, fds = got
        if message[0] == "started" and not fds:
            self._clean_up()
            raise StageError("no descriptors are left in this program", hint="raise `ulimit -n`")
        if message[0] == "started":
            self.pid, self.pidfd = message[1], fds.pop(0)
        if message[0] in {"started", "pinned"} and fds:
            self.mounts = fds.pop()
        return message, fds

    def __iter__(self) -> Iterator[Message]:
        while True:
            message, fds = self.receive()
            yield message, fds
            if message[0] == "ended":
                self.close()
                return

    def send(self, *message: Any, fds: tuple[int, ...] | list[int] = ()) -> None:
        """Tell the stage: signal NUMBER, kill, continue, shell, terminal ATTRIBUTES with its descriptor."""
        try:
            wire.send(self.sock, message, fds)
        except OSError:
            pass  # it has ended; the news of that is on its way

    def close(self) -> None:
        """Let go; a container that still runs is ended by the stage."""
        self.sock.close()
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
        if self.mounts >= 0:
            os.close(self.mounts)
            self.mounts = -1

    def _clean_up(self) -> None:
        if self.pidfd >= 0:
            from cloche.linux import process

            try:
                process.pidfd_send_signal(self.pidfd, 9)
            except OSError:
                pass  # it died with its stage, as it should
        cleaning.kill_groups(self.plan.groups)
        watching.kill_sharing(self.mounts)
        self.mounts = -1
        cleaning.remove_groups(self.plan.groups)
        if self.plan.made_room:
            delegation.step_back(self.plan.made_room)
        for path in self.plan.unlink:
            try:
                os.unlink(path)
            except OSError:
                pass
        self.close()


def fork_stage(left: Callable[[dict[str, Any]], None] | None = None) -> Stage:
    """A stage forked from this process, which must be single-threaded and lean.

    `left` is called there with the report of a container whose caller is gone; it can import nothing.
    """
    ours, theirs = wire.pair()
    from cloche.stage.main import freeze_imports
    from cloche.stage.server import serve

    pid = os.fork()
    if pid == 0:
        ours.close()
        freeze_imports()
        serve(theirs, left=left)
    theirs.close()
    return Stage(ours, pid)


def adopt_stage(control: _socket.socket) -> tuple[Stage, list[Adopted]]:
    """Own a stage whose owner is gone, through a connection to where it listens; and what runs in it.

    Raises OSError where there is no room for the descriptors that come with each.
    """
    found = []
    while (got := wire.receive(control)) is not None and got[0][0] == "adopted":
        (_, keeping, first), fds = got
        if len(fds) < ADOPTED:
            raise OSError(EMFILE, os.strerror(EMFILE))  # the kernel drops those for which there is no room
        run = Run(_socket.socket(fileno=fds[0]), Plan((), keeping=keeping))
        run.pid, run.pidfd = first, fds[1]
        found.append(Adopted(run, fds[2] if len(fds) > 2 else -1))
    return AdoptedStage(control, got[0][1] if got is not None else -1), found


def spawn_stage(*, sealed: bool, listener: _socket.socket | None = None, nofile: int = 0) -> Stage:
    """A stage in a fresh interpreter, from a sealed copy of it when `sealed`.

    With a `listener` it is to outlive this program where there are containers that do. `nofile` is the soft limit of
    open files that they are to have (RLIMIT_NOFILE), 0 for that of this program.
    """
    if not sys.executable:
        raise StageError("this Python does not know its own path", hint="set sys.executable to a python3")
    root = places.dirname(places.dirname(places.dirname(places.abspath(__file__))))
    ends = f"3, nofile={nofile}" if listener is None else f"3, 4, nofile={nofile}"
    code = f"import sys; sys.path.insert(0, {root!r}); from cloche.stage.main import main; main({ends})"
    argv = [sys.executable, "-I", "-S", "-c", code]
    path, copy = sys.executable, -1
    if sealed:
        from cloche.stage.seal import sealed_interpreter

        copy = sealed_interpreter()
        path = f"/proc/self/fd/{copy}"
    ours, theirs = wire.pair()
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    # out of the way of the numbers they get in there
    high = -1 if listener is None else fcntl.fcntl(listener.fileno(), fcntl.F_DUPFD_CLOEXEC, 16)
    actions = [
        (os.POSIX_SPAWN_DUP2, null, 0),
        (os.POSIX_SPAWN_DUP2, null, 1),
        (os.POSIX_SPAWN_DUP2, theirs.fileno(), 3),
        *([(os.POSIX_SPAWN_DUP2, high, 4)] if listener is not None else []),
    ]
    try:
        # what the C library would look up at its first use would be looked up again in every container
        pid = os.posix_spawn(path, argv, {"LD_BIND_NOW": "1"}, file_actions=actions)
    finally:
        theirs.close()
        for fd in (null, copy, high):
            if fd >= 0:
                os.close(fd)
    return Stage(ours, pid)
