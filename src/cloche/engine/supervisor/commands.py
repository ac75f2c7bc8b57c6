"""Commands of cloche's own that the supervisor starts, so that it need not fork: restarts, removals, looks at health.

What one says is taken as it comes, so that it is not held up, and its beginning is kept. Its end is that of the
process: what it has left behind may still hold its output open.
"""

from __future__ import annotations

import os
import sys

from cloche.linux import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.engine.supervisor.loop import Loop

    # told the exit code, 128 and the number for one that a signal has ended, and what was said
    Ended = Callable[[int, "Said"], None]

MOST = 4096  # bytes that are kept, as docker keeps of a health check
CHUNK, PARTS = 1 << 16, 16  # read at once, and how often at the end: somebody may still write
HUP, KILL = 1, 9
NOT_EXECUTED = 126


class Said:
    """The beginning of what a command says."""

    def __init__(self) -> None:
        self.kept, self.more = b"", False

    def add(self, data: bytes) -> None:
        """Keep as much of it as there is room for."""
        room = MOST - len(self.kept)
        self.kept, self.more = self.kept + data[:room], self.more or len(data) > room

    def text(self) -> str:
        """As docker shows it: with dots where there was more."""
        return self.kept.decode(errors="replace") + ("..." if self.more else "")


class Command:
    """One that runs, with this soft limit of open files; `ended` is called when it does not any more.

    One that cannot be started, as there is no room for one more process or its words are too long, has ended at once.
    """

    def __init__(self, loop: Loop, words: tuple[str, ...], ended: Ended, nofile: int) -> None:
        self.loop, self.ended = loop, ended
        self.said = Said()
        self.pid = self.pidfd = -1
        try:
            self._start(words, nofile)
        except OSError as error:
            self.said.add(f"cloche: {error.strerror}\n".encode())
            loop.after(0.0, lambda: ended(NOT_EXECUTED, self.said))

    def _start(self, words: tuple[str, ...], nofile: int) -> None:
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
        limit = f"from cloche.linux import scheduling as s; s.set_rlimit(7, {nofile}, s.get_rlimit(7)[1])"
        code = f"import sys; sys.path.insert(0, {root!r}); {limit}; from cloche.cli.main import entry; entry()"
        argv = [sys.executable, "-I", "-S", "-B", "-c", code, *words]
        self.output, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            os.set_blocking(write, True)
            actions = [(os.POSIX_SPAWN_DUP2, write, number) for number in (1, 2)]
            self.pid = os.posix_spawn(sys.executable, argv, dict(os.environ), file_actions=actions, setsigdef=[HUP])
        except BaseException:
            os.close(self.output)
            raise
        finally:
            os.close(write)
        self.pidfd = process.pidfd_open(self.pid)
        self.loop.watch(self.output, lambda _events: self._take())
        self.loop.watch(self.pidfd, lambda _events: self._over())

    def kill(self) -> None:
        """End it at once; that is told as any other end is."""
        if self.pidfd >= 0:
            process.pidfd_send_signal(self.pidfd, KILL)

    def _take(self) -> None:
        self._read()

    def _read(self) -> bool:
        """Take what there is; False where there is nothing."""
        try:
            data = os.read(self.output, CHUNK)
        except BlockingIOError:
            return False
        self.said.add(data)
        if not data:
            self._close_output()
        return bool(data)

    def _close_output(self) -> None:
        self.loop.forget(self.output)
        os.close(self.output)
        self.output = -1

    def _over(self) -> None:
        self.loop.forget(self.pidfd)
        found = process.wait_pidfd(self.pidfd)
        os.close(self.pidfd)
        for _ in range(PARTS):
            if self.output < 0 or not self._read():
                break
        if self.output >= 0:
            self._close_output()
        assert found is not None
        self.ended(found.status if found.code == process.CLD_EXITED else 128 + found.status, self.said)
