"""Trees of files taken apart, entry by entry, where they may be hostile.

    walk   a directory or a file, by descriptors ──▶ (Entry, an open file or None), … ──▶ Placer   below a directory
                                                                                     └──▶ pack     into a tar
    an archive ───────────────────────────────────▶ (Entry, its data) ──────────────────▶ Placer

An entry is that of `images.unpack.tar`: names are bytes, relative to where it is to be placed. Whoever reads a tree
that is being changed sees some of it, but never anything outside: no link is followed below the start, each step is
one name below a descriptor. What belongs to the kernel and not to the tree is not read: fifos and devices are never
opened, and a file is opened for reading only when its descriptor says that it is one.
"""

from __future__ import annotations

import errno
import os
import stat

from cloche.errors import UnsupportedError
from cloche.images import packing
from cloche.images.exporting import KINDS, Out, noted, numbers
from cloche.images.unpack.apply import OWNER
from cloche.images.unpack.naming import is_wanted
from cloche.images.unpack.tar import DEVICES, DIRECTORY, FILE, HARD_LINK, SYMLINK, Entry
from cloche.linux import files
from cloche.records import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
BENEATH = files.RESOLVE_BENEATH | files.RESOLVE_NO_SYMLINKS
GONE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE}  # it was there when its directory was read
PART = 1 << 20
LONGEST = 4095


@record
class Scope:
    """How much of a tree is walked.

    `noted` is whether OWNER says whose files are, of a user who could not give them away; `mounts` whether what is
    mounted below the start is walked too: "all", "overlays" alone, or "none", where it is shown empty.
    """

    noted: bool = False
    mounts: str = "all"


def walk(first: int, as_name: bytes, scope: Scope, skipped: dict[str, int]) -> Iterator[tuple[Entry, int]]:
    """Everything from what the descriptor `first` stands for (O_PATH) on; a directory before what is in it.

    Entries are called `as_name` and what is below it, "" for what is in a directory alone. With each comes the
    descriptor of a file, to be closed by whoever takes it, or -1. What cannot be told is counted in `skipped`. Raises
    OSError, UnsupportedError for what is deeper than any path.
    """
    links: dict[tuple[int, int], bytes] = {}
    status = os.fstat(first)
    if not stat.S_ISDIR(status.st_mode):
        yield from _one(first, status, as_name, scope, links, skipped)
        return
    with files.Fd(os.open(f"/proc/self/fd/{first}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as base:
        yield _entry(base.number, status, as_name or b".", scope), -1
        yield from _below(base.number, as_name, scope, links, skipped)


def _below(
    base: int, as_name: bytes, scope: Scope, links: dict[tuple[int, int], bytes], skipped: dict[str, int]
) -> Iterator[tuple[Entry, int]]:
    waiting = [b""]
    while waiting:
        path = waiting.pop()
        folder = open_below(base, path)
        if folder is None:
            continue
        inner = []
        with files.Fd(folder) as place:
            for name in sorted(map(os.fsencode, os.listdir(place.number))):
                whole = path + b"/" + name if path else name
                called = as_name + b"/" + whole if as_name else whole
                found = _look(place.number, name, scope)
                if found is None:
                    continue
                fd, covered = found
                with files.Fd(fd):
                    status = os.fstat(fd)
                    if covered:
                        yield _stub(called, status), -1
                    elif stat.S_ISDIR(status.st_mode):
                        yield _entry(fd, status, called, scope), -1
                        inner.append(whole)
                    else:
                        yield from _one(fd, status, called, scope, links, skipped)
        waiting += reversed(inner)


def too_deep() -> UnsupportedError:
    """Of a tree that the container made by names within names: what has no path cannot be named to anybody."""
    return UnsupportedError("reading this tree", needs="paths of no more than 4095 bytes")


def open_below(base: int, path: bytes) -> int | None:
    """A directory below another, through no link; None where there is none (any more). Raises OSError."""
    if len(path) > LONGEST:
        raise too_deep()
    try:
        return files.openat2(base, path or b".", OPEN, resolve=BENEATH)
    except OSError as error:
        if error.errno not in GONE:
            raise
        return None


def _look(folder: int, name: bytes, scope: Scope) -> tuple[int, bool] | None:
    """A descriptor of a name, and whether something is mounted on it that is not to be looked at."""
    try:
        if scope.mounts == "all":
            return os.open(name, LOOK, dir_fd=folder), False
        try:
            return files.openat2(folder, name, LOOK, resolve=BENEATH | files.RESOLVE_NO_XDEV), False
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        fd = os.open(name, LOOK, dir_fd=folder)
        return fd, scope.mounts == "none" or files.filesystem_type(fd) != files.OVERLAYFS_SUPER_MAGIC
    except OSError as error:
        if error.errno not in GONE:
            raise
        return None


def _stub(name: bytes, status: os.stat_result) -> Entry:
    """What is under a mount cannot be seen: a place for it."""
    directory = stat.S_ISDIR(status.st_mode)
    return Entry(DIRECTORY, name, mode=0o755) if directory else Entry(FILE, name, mode=0o644)


def _one(
    fd: int,
    status: os.stat_result,
    name: bytes,
    scope: Scope,
    links: dict[tuple[int, int], bytes],
    skipped: dict[str, int],
) -> Iterator[tuple[Entry, int]]:
    kind = KINDS.get(stat.S_IFMT(status.st_mode))
    if kind is None:
        skipped["sockets"] = skipped.get("sockets", 0) + 1
        return
    if status.st_nlink > 1:
        first = links.setdefault((status.st_dev, status.st_ino), name)
        if first != name:
            yield Entry(HARD_LINK, name, first, *numbers(status), 0, status.st_mtime_ns), -1
            return
    entry = _entry(fd, status, name, scope)
    yield entry, _reopened(fd) if kind == FILE else -1


def _reopened(fd: int) -> int:
    """What a descriptor with O_PATH stands for, for reading: known to be a file."""
    return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)


def _entry(fd: int, status: os.stat_result, name: bytes, scope: Scope) -> Entry:
    kind = KINDS[stat.S_IFMT(status.st_mode)]
    mode, uid, gid = numbers(status)
    link = os.readlink(b"", dir_fd=fd) if kind == SYMLINK else b""
    xattrs = {} if kind == SYMLINK else _attributes(f"/proc/self/fd/{fd}")
    if scope.noted and (found := xattrs.pop(OWNER.encode(), None)) is not None:
        uid, gid, mode = noted(found, (uid, gid, mode))
    major, minor = (os.major(status.st_rdev), os.minor(status.st_rdev)) if kind in DEVICES else (0, 0)
    size = status.st_size if kind == FILE else 0
    return Entry(kind, name, link, mode, uid, gid, size, status.st_mtime_ns, major, minor, tuple(xattrs.items()))


def _attributes(place: str) -> dict[bytes, bytes]:
    """Those that are the file's own; one that goes while we look is not there."""
    found = {}
    try:
        for name in os.listxattr(place):
            if is_wanted(name):
                found[os.fsencode(name)] = os.getxattr(place, name)
    except OSError as error:
        if error.errno not in {errno.ENOTSUP, errno.ENODATA, errno.EPERM, errno.EACCES}:
            raise
    return found


def write_tar(entries: Iterator[tuple[Entry, int]], out: int) -> None:
    """Write entries into a descriptor as a tar. A file that has become shorter meanwhile is filled up with zeros."""
    writer = Out(out)
    for entry, fd in entries:
        with files.Fd(fd):
            writer.write(packing.header(entry))
            left = entry.size if entry.kind == FILE else 0
            while left:
                part = (os.read(fd, min(left, PART)) if fd >= 0 else b"") or bytes(min(left, PART))
                left -= len(part)
                writer.write(part)
            writer.write(packing.filling(entry.size if entry.kind == FILE else 0))
    writer.write(packing.END)
    writer.flush()
