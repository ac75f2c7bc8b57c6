"""Descriptors for engines: the console socket (runc's docs/terminals.md) and the pidfd socket."""

from __future__ import annotations

import _socket
import posix as os

from cloche.errors import ConflictError, NotFoundError

SOL_SOCKET, SCM_RIGHTS = 1, 1
LONGEST = 107  # bytes of a socket's path (unix(7)); a longer one is reached by its descriptor


def check_console(terminal: bool, console_socket: str, *, stays: bool) -> None:
    """Whether somebody takes a terminal's other end: the socket, or a command that stays. Raises ConflictError."""
    if terminal and not console_socket and not stays:
        raise ConflictError(
            "cannot allocate tty: nobody has its other end when cloche-runtime detaches without a console socket",
            hint="process.terminal is true: give --console-socket, or set it to false",
        )
    if console_socket and not terminal:
        raise ConflictError(
            "cannot use the console socket: no tty is asked for",
            hint="process.terminal is false: leave --console-socket out, or set it to true",
        )


def send_console(path: str, master: int) -> None:
    """Send the descriptor `master` to the unix socket at `path`, with its name as the data."""
    send_descriptor(path, "--console-socket", master, b"/dev/ptmx")


def send_descriptor(path: str, option: str, fd: int, data: bytes) -> None:
    """Send a descriptor to whoever listens at `path`, which `option` named."""
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    found = -1
    try:
        if len(path.encode(errors="surrogateescape")) > LONGEST:
            found = os.open(path, os.O_PATH | os.O_CLOEXEC)
            sock.connect(f"/proc/self/fd/{found}")
        else:
            sock.connect(path)
        sock.sendmsg([data], [(SOL_SOCKET, SCM_RIGHTS, fd.to_bytes(4, "little"))])
    except OSError as error:
        raise NotFoundError(
            f"{option} {path}: {error.strerror or error}", hint="somebody has to listen there"
        ) from error
    finally:
        sock.close()
        if found >= 0:
            os.close(found)
