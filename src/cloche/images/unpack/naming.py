"""Names in an archive: of files, and of their attributes."""

from __future__ import annotations

import os

from cloche.images.unpack.tar import BadArchive


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
