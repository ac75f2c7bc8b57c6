"""Small files of the kernel (/proc, /sys, cgroups), read whole; empty where they cannot be.

On the way of commands whose whole work takes less than `import os`, and of a stage that can load no codec any more.
"""

from __future__ import annotations

from posix import O_CLOEXEC, O_RDONLY, close
from posix import open as open_file
from posix import read as read_part


def read_bytes(path: str) -> bytes:
    """The content of a file; empty where it cannot be read."""
    try:
        fd = open_file(path, O_RDONLY | O_CLOEXEC)
    except OSError:
        return b""
    try:
        content = b""
        while part := read_part(fd, 65536):
            content += part
        return content
    except OSError:
        return b""
    finally:
        close(fd)


def read(path: str) -> str:
    """Its content as text."""
    return read_bytes(path).decode(errors="replace")


_boot = ""


def boot_id() -> str:
    """What tells this boot from others (random(4), /proc/sys/kernel/random/boot_id); read once."""
    global _boot
    if not _boot:
        _boot = read("/proc/sys/kernel/random/boot_id").strip()
    return _boot
