"""Layers one over the other in a single directory, as a root file system without overlayfs (layer.md, "Applying").

What a whiteout hides is removed, unless its own layer has put it there.
"""

from __future__ import annotations

import os
import stat

from cloche.errors import RegistryError
from cloche.images.unpack.apply import AUFS, OPAQUE, WHITEOUT, Powers, Unpacker
from cloche.images.unpack.naming import shown, split
from cloche.images.unpack.removal import remove_tree
from cloche.images.unpack.tar import Archive, BadArchive, Stream
from cloche.linux import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloche.images.unpack.tar import Entry


class Flattener(Unpacker):
    """Applies one layer to a directory that has those below it."""

    def __init__(self, root: int, powers: Powers) -> None:
        super().__init__(root, powers)
        self._own: set[bytes] = set()  # what this layer has made, and what leads there

    def _apply(self, entry: Entry, archive: Archive) -> None:
        super()._apply(entry, archive)
        parts = split(entry.name)
        if parts and not parts[-1].startswith(WHITEOUT):
            self._own.update(b"/".join(parts[:count]) for count in range(1, len(parts) + 1))

    def _white_out(self, parent: int, name: bytes, above: bytes) -> None:
        if name == OPAQUE:
            with files.Fd(os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=parent)) as place:
                for found in os.listdir(place.number):
                    self._hide(parent, os.fsencode(found), above)
        elif not name.startswith(AUFS):
            hidden = name[len(WHITEOUT) :]
            if hidden in {b"", b".", b".."}:
                raise BadArchive(f"has a whiteout of {shown(above + b'/' + hidden)}")
            self._hide(parent, hidden, above)

    def _hide(self, parent: int, name: bytes, above: bytes) -> None:
        """Remove what lower layers have of this name."""
        path = above + b"/" + name if above else name
        try:
            kind = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return
        if path not in self._own:
            self._remove(parent, name)
        elif stat.S_ISDIR(kind):  # ours, with things of others in it
            with files.Fd(
                os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
            ) as inner:
                for found in os.listdir(inner.number):
                    self._hide(inner.number, os.fsencode(found), path)


def flatten(layers: list[tuple[str, Iterator[bytes]]], directory: str) -> None:
    """Unpack layers into an empty directory, the lowest first; as root with owners and devices, else as one's own.

    Each is a name for messages and the chunks of its tar.

    Raises RegistryError for a layer that is no good, and leaves nothing in the directory then; OSError.
    """
    root = os.geteuid() == 0
    powers = Powers(own=root, nodes=root)
    with files.Fd(os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as top:
        before = os.umask(0)
        try:
            for name, source in layers:
                try:
                    Flattener(top.number, powers).run(Archive(Stream(lambda source=source: next(source, b""))))  # type: ignore[misc]
                except BadArchive as error:
                    raise RegistryError(f"the layer {name} {error}") from None
                _finish(source)
        except BaseException:
            for left in os.listdir(top.number):
                _remove_any(top.number, os.fsencode(left))
            raise
        finally:
            os.umask(before)


def _remove_any(parent: int, name: bytes) -> None:
    try:
        os.unlink(name, dir_fd=parent)
    except IsADirectoryError:
        remove_tree(parent, name)


def _finish(source: Iterator[bytes]) -> None:
    """Read what follows the last entry, so that all of the layer is checked."""
    for _ in source:
        pass
