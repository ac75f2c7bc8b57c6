"""A command's connection, from the supervisor's side: frames as `stage.wire` has them, and nobody is waited for.

What a command does not take stays in a queue, which is lost with us. Whoever has much to send sends as much as the
kernel takes (`has_room`): that comes to the command even when we are killed at once.

Whoever connects is our own user, who needs no tricks to harm us; what comes here by accident is no message, and the end
of the connection, with all descriptors that came along.
"""

from __future__ import annotations

import _socket
import marshal
import os
import select

from cloche.engine.supervisor.loop import READ, WRITE, Loop
from cloche.stage import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cloche.engine.supervisor.supervised import Supervised

    Message = tuple[Any, ...]

CHUNK = 1 << 16
IN_KERNEL = 212_992  # bytes that the kernel is asked to hold for a command (SO_SNDBUF): it doubles that, of which it
# says that there is room while a quarter is taken
SNDBUF = 7
# how marshal writes a tuple of less than 256 and a string of less than 256 letters: with a bit for what is referred to
SMALL_TUPLES = b")\xa9"
SHORT_STRINGS = b"zZ\xfa\xda"
SHORTEST = 5  # bytes of a message: a word of one letter, alone
LARGEST = 64 << 20  # bytes of a message: a plan with the longest command line there is


class Connection:
    """One command, process `pid`: `heard` is called with each message and its descriptors, `gone` at the end."""

    def __init__(
        self,
        sock: _socket.socket,
        loop: Loop,
        heard: Callable[[Connection, Message, list[int]], None],
        gone: Callable[[Connection], None],
        pid: int,
    ) -> None:
        sock.setblocking(False)
        sock.setsockopt(wire.SOL_SOCKET, SNDBUF, IN_KERNEL)
        self.sock, self.loop, self.heard, self.gone, self.pid = sock, loop, heard, gone, pid
        self.input = bytearray()
        self.fds: list[int] = []
        self.output: list[bytes] = []
        self.closing = False  # when all has been sent
        self.concerns: set[Supervised] = set()  # the containers it has asked something of, which hear when it is gone
        self.relieved: Callable[[], None] | None = None  # to be called when there is room again
        self.awaited = False  # somebody waits for that
        self.outlet = select.poll()
        self.outlet.register(sock.fileno(), select.POLLOUT)
        loop.watch(sock.fileno(), self._ready)

    def has_room(self) -> bool:
        """Whether the kernel takes some more at once; where it does not, `relieved` is called as soon as it does."""
        if not self.open or (not self.output and self.outlet.poll(0)):
            return True
        self.awaited = True
        self.loop.change(self.sock.fileno(), READ | WRITE)
        return False

    @property
    def open(self) -> bool:
        """Whether it is there."""
        return self.sock.fileno() >= 0

    def send(self, *message: Any) -> None:
        """Have a message sent as soon as the command takes it."""
        if not self.open or self.closing:
            return
        body = marshal.dumps(message)
        self.output.append(len(body).to_bytes(4, "little") + body)
        if len(self.output) == 1:
            self._flush()

    def finish(self) -> None:
        """Close it when all has been sent."""
        self.closing = True
        if not self.output:
            self.close()

    def close(self) -> None:
        """Let go at once."""
        if not self.open:
            return
        self.loop.forget(self.sock.fileno())
        for fd in self.fds:
            os.close(fd)
        self.sock.close()
        self.output = []
        self.gone(self)

    def _ready(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        if events & ~WRITE and self.open:
            self._read()

    def _flush(self) -> None:
        while self.output:
            try:
                sent = self.sock.send(self.output[0], wire.MSG_NOSIGNAL)
            except BlockingIOError:
                break
            except OSError:
                self.close()
                return
            if sent < len(self.output[0]):
                self.output[0] = self.output[0][sent:]
                break
            del self.output[0]
        self.loop.change(self.sock.fileno(), READ | WRITE if self.output else READ)
        if not self.output and self.closing:
            self.close()
        elif self.awaited and self.has_room() and self.relieved is not None:
            self.awaited = False
            self.relieved()

    def _read(self) -> None:
        try:
            space = _socket.CMSG_SPACE(4 * wire.MAX_FDS)
            part, ancillary, _, _ = self.sock.recvmsg(CHUNK, space, wire.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except OSError:
            part, ancillary = b"", []
        for level, kind, data in ancillary:
            if (level, kind) == (wire.SOL_SOCKET, wire.SCM_RIGHTS):
                self.fds += [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data) // 4 * 4, 4)]
        if not part or len(self.fds) > wire.MAX_FDS:
            self.close()
            return
        self.input += part
        while self.open and len(self.input) >= 4:
            size = int.from_bytes(self.input[:4], "little")
            if size > LARGEST:
                self.close()
                return
            if len(self.input) < 4 + size:
                return
            message = read_message(self.input[4 : 4 + size])
            if message is None:
                self.close()
                return
            del self.input[: 4 + size]
            fds, self.fds = self.fds, []
            self.heard(self, message, fds)


def read_message(body: bytearray) -> Message | None:
    """A tuple that begins with a word; None for anything else, most of which marshal is not given at all.

    It makes room for as much as it is told that there is: five bytes can ask for 16 GiB.
    """
    if len(body) < SHORTEST or body[0] not in SMALL_TUPLES or body[2] not in SHORT_STRINGS:
        return None
    if not body[4 : 4 + body[3]].isalpha():
        return None
    try:
        message = marshal.loads(body)
    except (ValueError, EOFError, TypeError):
        return None
    return message if isinstance(message, tuple) else None
