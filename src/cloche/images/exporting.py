"""The files of an image as one tar, read from the directories of its layers.

Runs in the worker, which can read what it has unpacked. Where it could not give files to their owners, it has written
down whose they are (see `unpack.apply`), and that is what goes into the tar.
"""

from __future__ import annotations

import errno
import os
import resource
import stat

from cloche.images import packing
from cloche.images.merged import Node, walk
from cloche.images.unpack.apply import OWNER
from cloche.images.unpack.naming import is_wanted
from cloche.images.unpack.tar import (
    BLOCK_DEVICE,
    CHARACTER,
    DEVICES,
    DIRECTORY,
    FIFO,
    FILE,
    HARD_LINK,
    NOBODY,
    SYMLINK,
    Entry,
)
from cloche.linux import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloche.images.unpack.apply import Powers

KINDS = {
    stat.S_IFREG: FILE,
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFIFO: FIFO,
    stat.S_IFCHR: CHARACTER,
    stat.S_IFBLK: BLOCK_DEVICE,
}
PART = 1 << 20  # bytes that are written at once
NO_ROOT = -1
SPARE = 64  # descriptors for other things


def export(store: int, layers: Sequence[str], root: int, powers: Powers, out: int) -> None:
    """Write the files of these layers, directories below `store`, the highest first, into `out`, a descriptor.

    `root` is the layer that says what the root directory is like, or NO_ROOT. Raises OSError.
    """
    _allow_descriptors(2 * len(layers) + SPARE)
    opened: list[int] = []
    try:
        for name in layers:
            opened.append(os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=store))
        writer = _Writer(Out(out), powers)
        if root != NO_ROOT:
            writer.add(Node(b".", root, opened[root], b".", os.fstat(opened[root])))
        for node in walk(opened, powers.opaque):
            if node.path:
                writer.add(node)
        writer.end()
    finally:
        for fd in opened:
            os.close(fd)


def _allow_descriptors(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count <= hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


class Out:
    """A descriptor that is written to in large parts."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, part: bytes) -> None:
        self._parts.append(part)
        self._size += len(part)
        if self._size >= PART:
            self.flush()

    def flush(self) -> None:
        content = b"".join(self._parts)
        self._parts, self._size = [], 0
        files.write_all(self._fd, content)


class _Writer:
    """Turns files into entries of a tar."""

    def __init__(self, out: Out, powers: Powers) -> None:
        self._out, self._powers = out, powers
        self._first: dict[tuple[int, int, int], bytes] = {}  # of files with several names the one that came first

    def add(self, node: Node) -> None:
        status = node.status
        kind = KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            return  # a socket: no tar has them
        if kind != DIRECTORY and status.st_nlink > 1:
            first = self._first.setdefault((node.layer, status.st_dev, status.st_ino), node.path)
            if first != node.path:
                kind = HARD_LINK
                entry = Entry(kind, node.path, first, *numbers(status), 0, status.st_mtime_ns)
                self._out.write(packing.header(entry))
                return
        if kind == FILE:
            with files.Fd(os.open(node.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=node.parent)) as file:
                self._write(node, kind, file.number)
                self._copy(file.number, status.st_size)
        else:
            self._write(node, kind, None)

    def end(self) -> None:
        self._out.write(packing.END)
        self._out.flush()

    def _write(self, node: Node, kind: bytes, fd: int | None) -> None:
        status = node.status
        mode, uid, gid = numbers(status)
        xattrs: dict[bytes, bytes] = {}
        link = b""
        if kind == SYMLINK:
            link = os.readlink(node.name, dir_fd=node.parent)
        else:
            xattrs = _attributes(f"/proc/self/fd/{node.parent}/{os.fsdecode(node.name)}" if fd is None else fd)
        if not self._powers.own and (owner := xattrs.pop(OWNER.encode(), None)) is not None:
            uid, gid, mode = noted(owner, (uid, gid, mode))
        major, minor = (os.major(status.st_rdev), os.minor(status.st_rdev)) if kind in DEVICES else (0, 0)
        size = status.st_size if kind == FILE else 0
        more = tuple(xattrs.items())
        entry = Entry(kind, node.path, link, mode, uid, gid, size, status.st_mtime_ns, major, minor, more)
        self._out.write(packing.header(entry))

    def _copy(self, fd: int, size: int) -> None:
        left = size
        while left:
            part = os.read(fd, min(left, PART))
            if not part:
                raise OSError(errno.EIO, "a file of a layer is shorter than it was")
            left -= len(part)
            self._out.write(part)
        self._out.write(packing.filling(size))


def numbers(status: os.stat_result) -> tuple[int, int, int]:
    """Mode, uid and gid, in the order of an Entry."""
    return stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid


def _attributes(place: int | str) -> dict[bytes, bytes]:
    """Those that unpacking keeps, so that they come back when the tar is unpacked."""
    follow = isinstance(place, int)
    try:
        names = os.listxattr(place, follow_symlinks=follow)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        return {}
    return {os.fsencode(name): os.getxattr(place, name, follow_symlinks=follow) for name in names if is_wanted(name)}


def noted(value: bytes, there: tuple[int, int, int]) -> tuple[int, int, int]:
    """(uid, gid, mode) as `apply` has written them down; what is there where it is something else's."""
    words = value.split(b":")
    try:
        uid, gid, mode = int(words[0]), int(words[1]), int(words[2], 8)
    except (ValueError, IndexError):
        return there
    good = 0 <= uid < NOBODY and 0 <= gid < NOBODY and 0 <= mode <= 0o7777
    return (uid, gid, mode) if good else there
