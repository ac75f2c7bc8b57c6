"""A terminal emulator for tests: a pseudo-terminal, and cloche on it as the leader of a session of its own.

What does not belong here: what is expected to appear on it.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from tests.conftest import Cli

PATIENCE = 20.0


class Emulator:
    """The master side of a terminal, and the first process on it."""

    def __init__(self, argv: list[str], env: dict[str, str], *, size: tuple[int, int] = (24, 80)) -> None:
        self.master, slave = pty.openpty()
        self.seen = bytearray()
        self.resize(*size)
        self.kept = os.dup(slave)  # so that the attributes can be read when nobody is on it any more
        self.before = termios.tcgetattr(self.kept)
        self.code: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.setsid()
                fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
                for target in range(3):
                    os.dup2(slave, target)
                os.closerange(3, 256)
                os.execvpe(argv[0], argv, env)
            finally:
                os._exit(99)
        os.close(slave)

    @classmethod
    def of(cls, cli: Cli, *words: str, size: tuple[int, int] = (24, 80), **env: str) -> Self:
        """`cloche WORDS` on a terminal."""
        whole = {"PATH": os.environ["PATH"], "HOME": "/", "CLOCHE_STATE": cli.state, "TERM": "xterm", **env}
        return cls([*cli.argv, *words], whole, size=size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            self.ended()
        self.hang_up()
        if self.kept >= 0:
            os.close(self.kept)
            self.kept = -1

    def resize(self, rows: int, columns: int) -> None:
        """Another window size, as when a window is dragged."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def hang_up(self) -> None:
        """Close the window."""
        if self.master >= 0:
            os.close(self.master)
            self.master = -1

    def let_go(self) -> None:
        """Close our copy of the slave, so that the master's closing is a hang-up."""
        os.close(self.kept)
        self.kept = -1

    def type(self, text: str | bytes) -> None:
        """Send keys, taking what appears meanwhile."""
        data = text.encode() if isinstance(text, str) else text
        os.set_blocking(self.master, False)
        deadline = time.monotonic() + PATIENCE
        while data:
            assert time.monotonic() < deadline, f"nobody takes what is typed; seen: {bytes(self.seen[-500:])!r}"
            readable, writable, _ = select.select([self.master], [self.master], [], 1)
            if readable:
                self._take()
            if writable:
                try:
                    data = data[os.write(self.master, data[:4096]) :]
                except BlockingIOError:
                    time.sleep(0.001)
        os.set_blocking(self.master, True)

    def _take(self) -> bool:
        try:
            part = os.read(self.master, 65536)
        except OSError:
            return False
        self.seen += part
        return bool(part)

    def until(self, text: str | bytes) -> bytes:
        """Read until `text` has appeared; returns what came up to its end, and forgets it."""
        wanted = text.encode() if isinstance(text, str) else text
        deadline = time.monotonic() + PATIENCE
        looked_at = 0
        while self.seen.find(wanted, max(0, looked_at - len(wanted))) < 0:
            looked_at = len(self.seen)
            left = deadline - time.monotonic()
            ready = select.select([self.master], [], [], max(0, left))[0] if left > 0 else []
            assert ready, f"{wanted!r} did not appear; seen: {bytes(self.seen[-1000:])!r}"
            if not self._take():
                break
        end = self.seen.find(wanted) + len(wanted)
        assert end >= len(wanted), f"{wanted!r} did not appear; seen: {bytes(self.seen[-1000:])!r}"
        taken = bytes(self.seen[:end])
        del self.seen[:end]
        return taken

    def attributes(self) -> list[object]:
        """What stty shows: the attributes of the outer terminal."""
        return termios.tcgetattr(self.kept)

    def raw(self) -> bool:
        """Whether keys are passed on as they are."""
        return not int(termios.tcgetattr(self.kept)[3]) & (termios.ICANON | termios.ECHO | termios.ISIG)

    def ended(self) -> int:
        """The exit code (or minus the signal), taking what appears until then."""
        deadline = time.monotonic() + PATIENCE
        while self.code is None:
            if self.master >= 0 and select.select([self.master], [], [], 0.005)[0]:
                self._take()
            elif self.master < 0:
                time.sleep(0.005)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                self.code = -9
                raise AssertionError(f"it does not end; seen: {bytes(self.seen[-1000:])!r}")
        while self.master >= 0 and select.select([self.master], [], [], 0)[0] and self._take():
            pass
        return self.code
