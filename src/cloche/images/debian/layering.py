"""A tree as one layer that is the same each time: by name, no time after a given one, numbers for owners."""

from __future__ import annotations

import hashlib
import os
import stat
import zlib

from cloche.images.debian import naming
from cloche.images.packing import END, SECOND, filling, header
from cloche.images.unpack import tar
from cloche.images.unpack.naming import is_wanted
from cloche.linux import files
from cloche.records import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 1 << 18
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
LEVEL = 4  # zlib's: its bytes are the same on every machine, which those of isal are not; 6 takes twice as long for 2 %
KINDS = (
    (stat.S_ISREG, tar.FILE),
    (stat.S_ISDIR, tar.DIRECTORY),
    (stat.S_ISLNK, tar.SYMLINK),
    (stat.S_ISCHR, tar.CHARACTER),
    (stat.S_ISBLK, tar.BLOCK_DEVICE),
    (stat.S_ISFIFO, tar.FIFO),
)


@record
class Packed:
    """A layer: the digest of its tar, that of the blob, and how long the blob is."""

    diff_id: str
    digest: str
    size: int


def pack(root: int, out: int, newest: int) -> Packed:
    """Write the tree below the directory `root` to `out`, compressed; `newest` is in seconds since 1970."""
    compressed = zlib.compressobj(LEVEL, wbits=31)
    plain, whole, size = hashlib.sha256(), hashlib.sha256(), 0

    def write(data: bytes) -> None:
        nonlocal size
        whole.update(data)
        size += len(data)
        files.write_all(out, data)

    for data in _archive(root, newest):
        plain.update(data)
        write(compressed.compress(data))
    write(compressed.flush())
    return Packed(f"sha256:{plain.hexdigest()}", f"sha256:{whole.hexdigest()}", size)


def _archive(root: int, newest: int) -> Iterator[bytes]:
    """Each file after the directory it is in, by name; however deep, with one directory open."""
    seen: dict[tuple[int, int], bytes] = {}
    waiting = _names(root, b"")
    above, folder = b"", files.Fd(os.dup(root))
    try:
        while waiting:
            path = waiting.pop()
            place, _, name = path.rpartition(b"/")
            with naming.on(path):
                if place != above:
                    folder.close()
                    above, folder = place, files.Fd(files.open_in_root(root, place or b".", FOLDER))
                yield from _member(folder.number, path, newest, seen)
                if stat.S_ISDIR(os.stat(name, dir_fd=folder.number, follow_symlinks=False).st_mode):
                    with files.Fd(os.open(name, FOLDER, dir_fd=folder.number)) as below:
                        waiting += _names(below.number, path + b"/")
    finally:
        folder.close()
    yield END


def _names(folder: int, prefix: bytes) -> list[bytes]:
    """What is in a directory, the first at the end."""
    return [prefix + name for name in sorted((os.fsencode(name) for name in os.listdir(folder)), reverse=True)]


def _member(folder: int, path: bytes, newest: int, seen: dict[tuple[int, int], bytes]) -> Iterator[bytes]:
    name = path.rpartition(b"/")[2]
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    entry = _entry(folder, name, path, status, newest)
    if entry is None:
        return
    first = seen.get((status.st_dev, status.st_ino))
    if first is not None:
        yield header(tar.Entry(**{**vars(entry), "kind": tar.HARD_LINK, "link": first, "size": 0, "xattrs": ()}))
        return
    if status.st_nlink > 1 and entry.kind != tar.DIRECTORY:
        seen[status.st_dev, status.st_ino] = path
    yield header(entry)
    if entry.kind == tar.FILE:
        yield from _content(folder, name, entry.size)


def _entry(folder: int, name: bytes, path: bytes, status: os.stat_result, newest: int) -> tar.Entry | None:
    """What an archive says of a file; None for a socket, which is somebody's who is gone."""
    kind = next((kind for test, kind in KINDS if test(status.st_mode)), b"")
    if not kind:
        return None
    device = kind in tar.DEVICES
    return tar.Entry(
        kind,
        path,
        os.readlink(name, dir_fd=folder) if kind == tar.SYMLINK else b"",
        stat.S_IMODE(status.st_mode) if kind != tar.SYMLINK else 0o777,
        status.st_uid,
        status.st_gid,
        status.st_size if kind == tar.FILE else 0,
        min(int(status.st_mtime), newest) * SECOND,
        os.major(status.st_rdev) if device else 0,
        os.minor(status.st_rdev) if device else 0,
        () if kind == tar.SYMLINK else _attributes(f"/proc/self/fd/{folder}/{os.fsdecode(name)}"),
    )


def _attributes(path: str) -> tuple[tuple[bytes, bytes], ...]:
    names = sorted(name for name in os.listxattr(path, follow_symlinks=False) if is_wanted(name))
    return tuple((os.fsencode(name), os.getxattr(path, name, follow_symlinks=False)) for name in names)


def _content(folder: int, name: bytes, size: int) -> Iterator[bytes]:
    with files.Fd(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)) as file:
        left = size
        while left:
            chunk = os.read(file.number, min(left, CHUNK))
            if not chunk:
                raise OSError(f"{os.fsdecode(name)} became shorter while it was read")
            left -= len(chunk)
            yield chunk
    yield filling(size)
