"""Sockets below the state directory, whose paths may be longer than an address can be (unix(7))."""

from __future__ import annotations

import _socket
import os

SUPERVISOR = "supervisor.sock"
LONGEST_ADDRESS = 107  # of sun_path


class _Address:
    """How a socket is named: by its path, or, where that is too long, by its directory's descriptor."""

    def __init__(self, path: str) -> None:
        self.folder, self.path = -1, path

    def __enter__(self) -> str:
        if len(os.fsencode(self.path)) <= LONGEST_ADDRESS:
            return self.path
        folder, _, name = self.path.rpartition("/")
        self.folder = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self.folder}/{name}"

    def __exit__(self, *_exception: object) -> None:
        if self.folder >= 0:
            os.close(self.folder)


def connect(sock: _socket.socket, path: str) -> None:
    """Connect to a socket by its path. Raises OSError."""
    with _Address(path) as address:
        sock.connect(address)


def bind(sock: _socket.socket, path: str) -> None:
    """Give a socket a path. Raises OSError."""
    with _Address(path) as address:
        sock.bind(address)


def is_listening(path: str) -> bool:
    """Whether somebody listens at a path, who may have too much to do to answer."""
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
    try:
        connect(sock, path)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        sock.close()
    return True
