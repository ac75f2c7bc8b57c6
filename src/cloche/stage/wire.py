"""Messages between the caller, the stage and the process it makes: marshal in frames, fds beside.

    frame = length (4 bytes, little endian) + marshal.dumps(message), descriptors on the first byte

Both ends are the same interpreter, started by the same program, so marshal's format is safe here; it
is never read from a container after its command was executed. Stream sockets, so that a plan may be
larger than a datagram (an argument may have a megabyte).
"""

from __future__ import annotations

import _socket
import marshal
from posix import close, geteuid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SCM_RIGHTS = 1
SOL_SOCKET = 1
SO_PEERCRED = 17
MSG_CMSG_CLOEXEC = 0x40000000
MSG_NOSIGNAL, MSG_DONTWAIT = 0x4000, 0x40
MAX_FDS = 240  # the kernel's SCM_MAX_FD is 253


def pair() -> tuple[_socket.socket, _socket.socket]:
    """A connected pair of stream sockets, closed on exec."""
    return _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)


def peer(sock: _socket.socket) -> tuple[int, int]:
    """Process and user at the other end of a connection to a path, as it was when that listened or connected
    (SO_PEERCRED, unix(7))."""
    credentials = sock.getsockopt(SOL_SOCKET, SO_PEERCRED, 12)
    return int.from_bytes(credentials[:4], "little"), int.from_bytes(credentials[4:8], "little")


def is_ours(sock: _socket.socket) -> bool:
    """Whether that user is this one, or root: of nobody else a message is read, which marshal may not survive."""
    return peer(sock)[1] in {0, geteuid()}


def send(sock: _socket.socket, message: Any, fds: tuple[int, ...] | list[int] = ()) -> None:
    """Send one message and copies of the descriptors; blocks until the kernel has taken it.

    Raises BrokenPipeError when the other end is gone.
    """
    frame = _framed(message)
    ancillary = []
    if fds:
        packed = b"".join(fd.to_bytes(4, "little") for fd in fds)
        ancillary.append((SOL_SOCKET, SCM_RIGHTS, packed))
    sent = sock.sendmsg([frame], ancillary, MSG_NOSIGNAL)
    while sent < len(frame):
        sent += sock.send(memoryview(frame)[sent:], MSG_NOSIGNAL)


def send_if_room(sock: _socket.socket, message: Any) -> bool:
    """Send one small message where the kernel takes it at once; whether it has."""
    frame = _framed(message)
    try:
        sent = sock.send(frame, MSG_NOSIGNAL | MSG_DONTWAIT)
    except OSError:
        return False
    while sent < len(frame):
        sent += sock.send(memoryview(frame)[sent:], MSG_NOSIGNAL)
    return True


def _framed(message: Any) -> bytes:
    body = marshal.dumps(message)
    return len(body).to_bytes(4, "little") + body


def receive(sock: _socket.socket) -> tuple[Any, list[int]] | None:
    """The next message and its descriptors (closed on exec), or None at the end of the stream."""
    head, fds = _receive_head(sock)
    if head is None:
        return None
    size = int.from_bytes(head, "little")
    body = bytearray()
    while len(body) < size:
        try:
            part = sock.recv(size - len(body))
        except ConnectionResetError:
            part = b""
        if not part:
            _close(fds)
            return None
        body += part
    return marshal.loads(body), fds


def _receive_head(sock: _socket.socket) -> tuple[bytes | None, list[int]]:
    head = b""
    fds: list[int] = []
    while len(head) < 4:
        try:
            part, ancillary, _, _ = sock.recvmsg(4 - len(head), _socket.CMSG_SPACE(4 * MAX_FDS), MSG_CMSG_CLOEXEC)
        except ConnectionResetError:
            part, ancillary = b"", []
        if not part:
            _close(fds)
            return None, []
        head += part
        for level, kind, data in ancillary:
            if (level, kind) == (SOL_SOCKET, SCM_RIGHTS):
                fds += [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data) // 4 * 4, 4)]
    return head, fds


def _close(fds: list[int]) -> None:
    """The rest of a message will never come: let go of what came with its beginning."""
    for fd in fds:
        close(fd)
