"""What a directory looks like, to say that nothing in it has changed."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from tests.integration.background import uid_of

if TYPE_CHECKING:
    from tests.conftest import Cli


def look(top: Path) -> dict[str, tuple[object, ...]]:
    """Every path below `top` with its mode, owner, times, attributes and content."""
    found: dict[str, tuple[object, ...]] = {}
    for path in [top, *sorted(top.rglob("*"))]:
        status = path.lstat()
        content = ""
        if stat.S_ISREG(status.st_mode):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        elif stat.S_ISLNK(status.st_mode):
            content = os.readlink(path)
        attributes = tuple(sorted(os.listxattr(path, follow_symlinks=False)))
        numbers = (
            status.st_mode,
            status.st_uid,
            status.st_gid,
            status.st_nlink,
            status.st_mtime_ns,
            status.st_ctime_ns,
        )
        found[str(path)] = (*numbers, attributes, content)
    return found


def give(top: Path, cli: Cli) -> None:
    """Make a tree the user's."""
    uid = uid_of(cli)
    if uid == os.geteuid():
        return
    for path in [top, *top.rglob("*")]:
        os.chown(path, uid, uid, follow_symlinks=False)
