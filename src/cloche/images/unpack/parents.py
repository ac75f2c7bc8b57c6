"""Directories that entries lead through and the layer does not have.

    foo/bar without foo/       foo is made, and its mode and owner are those of a layer below (`shapes`)
    .wh.foo before foo/bar     foo is made in place of the whiteout, and hides what is below as well
    foo -> gone, foo/bar       the link leads to nothing yet: gone is made

The last is what containerd and umoci do. Each step is one name that is followed nowhere, so that a link leads to a
place below the root or is refused.
"""

from __future__ import annotations

import os
import stat

from cloche.images.unpack.tar import BadArchive
from cloche.linux import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

LOOK = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
DEEPEST = 512  # directories in a name
MOST_LINKS = 40  # followed for one name, as in the kernel


def is_there(parent: int, name: bytes) -> bool:
    """Whether a directory has something of this name, be it a link to nothing."""
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def make_opaque(place: int, attribute: str) -> None:
    """Have a directory hide what is in it in the layers below."""
    with files.Fd(os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place)) as folder:
        os.setxattr(folder.number, attribute, b"y")


def make_parents(root: int, path: bytes, attribute: str, made: Callable[[int, bytes], None]) -> int:
    """Open the directory at `path` below `root`, with what is missing of it made; the caller closes it.

    `made` hears of each one that layers below may have as well, its inode and where it is. Raises BadArchive for a
    path that cannot be one.
    """
    at: list[bytes] = []  # where `place` is, link by link
    missing: list[bytes] = []  # and what comes below it
    waiting = path.split(b"/")[::-1]
    links = 0
    place = files.Fd(os.open(".", LOOK, dir_fd=root))
    try:
        while waiting:
            name = waiting.pop()
            if name in {b"", b"."}:
                continue
            if name == b"..":
                if missing:
                    missing.pop()
                else:
                    at = at[:-1]
                    place = _go(place, files.open_in_root(root, b"/".join(at) or b".", LOOK))
                continue
            try:
                there = None if missing else os.stat(name, dir_fd=place.number, follow_symlinks=False)
            except FileNotFoundError:
                there = None
            if there is None:
                missing.append(name)
            elif stat.S_ISLNK(there.st_mode):
                links += 1
                if links > MOST_LINKS:
                    raise BadArchive("has too many links in a name")
                target = os.readlink(name, dir_fd=place.number)
                if target.startswith(b"/"):
                    at = []
                    place = _go(place, os.open(".", LOOK, dir_fd=root))
                waiting += target.split(b"/")[::-1]
            else:
                place = _go(place, _enter(place.number, name, there, path, attribute))
                at.append(name)
        if len(missing) > DEEPEST:
            raise BadArchive(f"has a directory deeper than {DEEPEST}")
        for name in missing:
            os.mkdir(name, 0o755, dir_fd=place.number)
            place = _go(place, os.open(name, LOOK | os.O_NOFOLLOW, dir_fd=place.number))
            at.append(name)
            made(os.fstat(place.number).st_ino, b"/".join(at))
        return os.dup(place.number)
    finally:
        place.close()


def _enter(place: int, name: bytes, there: os.stat_result, path: bytes, attribute: str) -> int:
    """Open a directory, made in place of a whiteout where that is there."""
    if files.is_whiteout(there):
        os.unlink(name, dir_fd=place)
        os.mkdir(name, 0o755, dir_fd=place)
    elif not stat.S_ISDIR(there.st_mode):
        raise BadArchive(f"has something in {os.fsdecode(path)!r:.80}, which is no directory")
    fd = os.open(name, LOOK | os.O_NOFOLLOW, dir_fd=place)
    if files.is_whiteout(there):
        make_opaque(fd, attribute)
    return fd


def _go(place: files.Fd, to: int) -> files.Fd:
    place.close()
    return files.Fd(to)
