"""What an archive says of files: their names, attributes and times, within what there can be."""

from __future__ import annotations

import os

from cloche.images.unpack.tar import BadArchive

LAST_SECOND = (1 << 34) - 1  # what ext4 can hold (2446)


def split(name: bytes) -> list[bytes]:
    """The parts of a name below the root, without "." and "..", which may not lead above it. Raises BadArchive."""
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part in {b"", b"."}:
            continue
        if part != b"..":
            parts.append(part)
        elif parts:
            parts.pop()
        else:
            raise BadArchive(f"has {shown(name)}, which leads out of it")
    return parts


def is_wanted(name: str) -> bool:
    """Extended attributes that files keep; not those by which overlayfs is led to other files."""
    if name.startswith("user."):
        return not name.startswith("user.overlay.")
    return name in {"security.capability", "system.posix_acl_access", "system.posix_acl_default"}


def shown(name: bytes) -> str:
    """A name for a message."""
    text = repr(os.fsdecode(name))
    return text if len(text) <= 80 else f"{text[:76]}…'"


def times_of(mtime: int) -> tuple[int, int]:
    """The times of a file, in nanoseconds, within what file systems can hold."""
    time = max(0, min(mtime, LAST_SECOND * 10**9))
    return time, time
