"""Mounting in a test's child, and naming what the kernel answered."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from cloche.linux import mount
from cloche.linux.files import AT_FDCWD


def outcome(function: Callable[..., object], *args: object) -> str:
    """The errno's name when a call is refused, else "done"."""
    try:
        function(*args)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "done"


def attach(fd: int, path: Path) -> None:
    """Attach a detached mount at `path`, and close its descriptor."""
    mount.move_mount(fd, AT_FDCWD, str(path))
    os.close(fd)


def tmpfs(path: Path) -> Path:
    """Mount an empty tmpfs at `path`, and return it."""
    attach(mount.new_filesystem("tmpfs", {"mode": "0755"}), path)
    return path
