"""Descriptors for engines: the console socket (runc's docs/terminals.md) and the pidfd socket."""

from __future__ import annotations

import _socket

from cloche.errors import NotFoundError

SOL_SOCKET, SCM_RIGHTS = 1, 1


def send_console(path: str, master: int) -> None:
    """Send the descriptor `master` to the unix socket at `path`, with its name as the data."""
    send_descriptor(path, "--console-socket", master, b"/dev/ptmx")


def send_descriptor(path: str, option: str, fd: int, data: bytes) -> None:
    """Send a descriptor to whoever listens at `path`, which `option` named."""
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        sock.connect(path)
        sock.sendmsg([data], [(SOL_SOCKET, SCM_RIGHTS, fd.to_bytes(4, "little"))])
    except OSError as error:
        raise NotFoundError(
            f"{option} {path}: {error.strerror or error}", hint="somebody has to listen there"
        ) from error
    finally:
        sock.close()
