"""The console socket: where the far end of a container's terminal is sent (runc's docs/terminals.md)."""

from __future__ import annotations

import _socket

from cloche.errors import NotFoundError

SOL_SOCKET, SCM_RIGHTS = 1, 1


def send_console(path: str, master: int) -> None:
    """Send the descriptor `master` to the unix socket at `path`, with its name as the data."""
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        sock.connect(path)
        sock.sendmsg([b"/dev/ptmx"], [(SOL_SOCKET, SCM_RIGHTS, master.to_bytes(4, "little"))])
    except OSError as error:
        raise NotFoundError(
            f"--console-socket {path}: {error.strerror or error}", hint="whoever wants the terminal has to listen there"
        ) from error
    finally:
        sock.close()
