"""What the layers of an image are together, as overlayfs would show it, without a mount.

    highest   etc/ (opaque)   a              what is in a higher layer hides what has its name below
              bin/            b  c:whiteout  directories are one, down to one that is opaque, or is none
    lowest    bin/  etc/      c  d

Each directory is opened by its own descriptor, below the one of its layer, through no link.
"""

from __future__ import annotations

import errno
import os
import stat

from cloche.errors import UnsupportedError
from cloche.linux import files
from cloche.records import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
BENEATH = files.RESOLVE_BENEATH | files.RESOLVE_NO_SYMLINKS


@record
class Node:
    """A file of the whole, good until the next one is asked for.

    It is `name` in the directory `parent`, a descriptor; of a directory `name` is "." and `parent` itself. `layer`
    counts from the highest, 0.
    """

    path: bytes
    layer: int
    parent: int
    name: bytes
    status: os.stat_result


class _Known:
    """A name while the layers of a directory are gone through: the first that has it, and those it goes on in."""

    def __init__(self, layer: int, status: os.stat_result) -> None:
        self.status = status
        self.layers = [layer]
        self.ended = not stat.S_ISDIR(status.st_mode)


def walk(layers: Sequence[int], opaque: str) -> Iterator[Node]:
    """Every file, a directory before what is in it, and there what is no directory first; in the order of the names.

    `layers` are descriptors of directories, the highest first, `opaque` the attribute of an opaque directory. The root
    comes first. Raises OSError, UnsupportedError for what is deeper than any path.
    """
    waiting: list[tuple[bytes, list[int]]] = [(b"", list(range(len(layers))))]
    while waiting:
        path, having = waiting.pop()
        opened: dict[int, int] = {}
        try:
            for layer in having:
                opened[layer] = _open(layers[layer], path)
            top = opened[having[0]]
            yield Node(path, having[0], top, b".", os.fstat(top))
            known = _names(opened, opaque)
            folders = []
            for name in sorted(known):
                there = known[name]
                whole = path + b"/" + name if path else name
                if stat.S_ISDIR(there.status.st_mode):
                    folders.append((whole, there.layers))
                else:
                    yield Node(whole, there.layers[0], opened[there.layers[0]], name, there.status)
        finally:
            for fd in opened.values():
                os.close(fd)
        waiting += reversed(folders)


def _names(opened: dict[int, int], opaque: str) -> dict[bytes, _Known]:
    """What is in a directory that is in all these layers."""
    known: dict[bytes, _Known] = {}
    hidden: set[bytes] = set()
    for layer, fd in opened.items():
        for name in map(os.fsencode, os.listdir(fd)):
            there = known.get(name)
            if name in hidden or (there is not None and there.ended):
                continue
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if there is None:
                if files.is_whiteout(status):
                    hidden.add(name)
                    continue
                there = known[name] = _Known(layer, status)
            elif stat.S_ISDIR(status.st_mode):
                there.layers.append(layer)
            else:
                there.ended = True  # a whiteout or a file, which ends what is below it
            if not there.ended:
                there.ended = _is_opaque(fd, name, opaque)
    return known


def _is_opaque(parent: int, name: bytes, opaque: str) -> bool:
    with files.Fd(os.open(name, OPEN, dir_fd=parent)) as folder:
        try:
            return os.getxattr(folder.number, opaque) == b"y"
        except OSError as error:
            if error.errno not in {errno.ENODATA, errno.ENOTSUP}:
                raise
            return False


def _open(layer: int, path: bytes) -> int:
    try:
        return files.openat2(layer, path or b".", OPEN, resolve=BENEATH)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UnsupportedError("reading this image", needs="paths of no more than 4095 bytes") from None
        raise
