"""Layers one over the other in a single directory, as a root file system without overlayfs (layer.md, "Applying").

What a whiteout hides is removed, unless its own layer has put it there. Until all layers are there the directory is
for who unpacks alone, and those in it can be written to: their modes and owners come at the end.
"""

from __future__ import annotations

import os
import stat

from cloche.errors import RegistryError
from cloche.images.unpack.apply import AUFS, OPAQUE, WHITEOUT, Powers, Unpacker
from cloche.images.unpack.naming import shown, split
from cloche.images.unpack.tar import Archive, BadArchive, Stream
from cloche.linux import files
from cloche.stage.removal import remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloche.images.unpack.tar import Entry


class Flattener(Unpacker):
    """Applies layers to a directory, the lowest first: `take` each, then `finish`."""

    def __init__(self, root: int, powers: Powers) -> None:
        super().__init__(root, powers)
        self._own: set[bytes] = set()  # what this layer has made, and what leads there

    def take(self, archive: Archive) -> None:
        """Apply one more layer."""
        self._own.clear()
        super().take(archive)

    def _apply(self, entry: Entry, archive: Archive) -> None:
        super()._apply(entry, archive)
        parts = split(entry.name)
        if parts and not parts[-1].startswith(WHITEOUT):
            self._own.update(b"/".join(parts[:count]) for count in range(1, len(parts) + 1))

    def _parent(self, path: bytes) -> int:
        try:
            return super()._parent(path)
        except BadArchive:
            if not self._clear_the_way(path):
                raise
            return super()._parent(path)

    def _clear_the_way(self, path: bytes) -> bool:
        """Remove what a lower layer has where this one has a directory; whether there was such a thing."""
        parts = path.split(b"/")
        for count in range(1, len(parts) + 1):
            above, name = b"/".join(parts[: count - 1]) or b".", parts[count - 1]
            with files.Fd(files.open_in_root(self.root, above, os.O_PATH | os.O_DIRECTORY)) as folder:
                kind = os.stat(name, dir_fd=folder.number, follow_symlinks=False).st_mode
                if not stat.S_ISDIR(kind) and not stat.S_ISLNK(kind):
                    if b"/".join(parts[:count]) in self._own:
                        return False
                    os.unlink(name, dir_fd=folder.number)
                    return True
        return False

    def _white_out(self, parent: int, name: bytes, above: bytes) -> None:
        with files.Fd(os.dup(parent)) as place:  # what is removed takes kept descriptors with it
            if name == OPAQUE:
                self._hide_all(place.number, above)
            elif not name.startswith(AUFS):
                hidden = name[len(WHITEOUT) :]
                if hidden in {b"", b".", b".."}:
                    raise BadArchive(f"has a whiteout of {shown(above + b'/' + hidden)}")
                self._hide(place.number, hidden, above)

    def _hide_all(self, place: int, path: bytes) -> None:
        with files.Fd(os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place)) as folder:
            for found in os.listdir(folder.number):
                self._hide(folder.number, os.fsencode(found), path)

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
            flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            with files.Fd(os.open(name, flags, dir_fd=parent)) as inner:
                self._hide_all(inner.number, path)


def flatten(layers: list[tuple[str, Iterator[bytes]]], directory: str) -> None:
    """Unpack layers into an empty directory, the lowest first; as root with owners and devices, else as one's own.

    Each is a name for messages and the chunks of its tar.
    Raises RegistryError for a layer that is no good, and leaves nothing in the directory then; OSError.
    """
    root = os.geteuid() == 0
    with files.Fd(os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as top:
        before, mode = os.umask(0), stat.S_IMODE(os.fstat(top.number).st_mode)
        try:
            os.fchmod(top.number, 0o700)
            made = Flattener(top.number, Powers(own=root, nodes=root))
            for name, source in layers:
                try:
                    made.take(Archive(Stream(lambda source=source: next(source, b""))))  # type: ignore[misc]
                except BadArchive as error:
                    raise RegistryError(f"the layer {name} {error}") from None
                for _ in source:
                    pass  # what follows the last entry, so that all of the layer is checked
            os.fchmod(top.number, mode)
            made.finish()
        except BaseException:
            _empty(top.number)
            os.fchmod(top.number, mode)
            raise
        finally:
            os.umask(before)


def _empty(top: int) -> None:
    """Remove all that is in a directory, as far as it can be."""
    for left in os.listdir(top):
        name = os.fsencode(left)
        try:
            os.unlink(name, dir_fd=top)
        except IsADirectoryError:
            try:
                remove_tree(top, name)
            except PermissionError:
                continue  # it has got its mode already, which does not even let us write
