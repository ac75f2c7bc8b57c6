"""Directories of an image whose mode and owner a lower layer says, though a higher one has them as well.

A layer that has foo/bar without foo/ says nothing about foo. Other engines unpack it onto the layers below and copy
what those say. Layers here are of no image, so overlayfs would show what foo was made as: instead the image gets
directories of its own, which lie above all layers and have nothing in them.

    layer 1    t/ (01777), t/old          own    t/ (01777)
    layer 2    t/new                      ────▶  the image has t/ with 01777, t/new and t/old
"""

from __future__ import annotations

import os
import stat

from cloche.images.unpack.naming import is_wanted
from cloche.images.unpack.tar import BadArchive
from cloche.linux import files
from cloche.records import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.images.unpack.apply import Powers

READ = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
MOST_LOOKS = 1 << 20  # directories that are entered, of all layers


@record
class Found:
    """A directory in one of the layers, and what it is like."""

    layer: int
    status: os.stat_result
    attributes: tuple[tuple[str, bytes], ...]


def shape(layers: int, names: list[str], implied: list[list[bytes]], target: int, powers: Powers) -> int:
    """Make in `target` what the image needs above its layers; returns how many directories.

    `names` are directories in `layers`, the lowest first; `implied` says of each what it says nothing about.
    """
    every = sorted({path for paths in implied[1:] for path in paths})
    silent = [set(paths) for paths in implied]
    opened = [files.Fd(os.open(f"{name}/fs", READ, dir_fd=layers)) for name in names]
    try:
        stack = _Stack([root.number for root in opened], powers)
        meant: dict[bytes, Found] = {}
        for path in every:
            seen = stack.seen(path)
            said = next((found for found in seen if path not in silent[found.layer]), None)
            if said is not None and said is not seen[0]:
                meant[path] = said
        made: dict[bytes, Found] = {}
        for path in meant:
            parts = path.split(b"/")
            for end in range(1, len(parts) + 1):
                above = b"/".join(parts[:end])
                if above not in made:
                    made[above] = meant.get(above) or stack.seen(above)[0]
                    _make(target, above, made[above], powers)
        for path in sorted(made, reverse=True):
            _finish(target, path, made[path])
        return len(made)
    finally:
        for root in opened:
            root.close()


class _Stack:
    """Layers to look into, the lowest first, MOST_LOOKS times."""

    def __init__(self, roots: list[int], powers: Powers) -> None:
        self._roots, self._powers = roots, powers
        self._left = MOST_LOOKS

    def seen(self, path: bytes) -> list[Found]:
        """The directories that are merged to one at `path`, the highest first; none where something else is there."""
        seen: list[Found] = []
        for layer in reversed(range(len(self._roots))):
            found, goes_on = self._look(path, layer)
            if found is not None:
                seen.append(found)
            if not goes_on:
                break
        return seen

    def _look(self, path: bytes, layer: int) -> tuple[Found | None, bool]:
        """The directory at `path` in one layer, and whether lower ones say what it is like.

        They do not where one above it hides them. One that hides what lower ones have in it is still the same
        directory.
        """
        goes_on, hides = True, False
        place = files.Fd(os.open(".", READ, dir_fd=self._roots[layer]))
        try:
            for name in path.split(b"/"):
                self._left -= 1
                if self._left < 0:
                    raise BadArchive("has too many directories that nothing is said about")
                try:
                    there = os.stat(name, dir_fd=place.number, follow_symlinks=False)
                except FileNotFoundError:
                    return None, goes_on and not hides
                if files.is_whiteout(there) or not stat.S_ISDIR(there.st_mode):
                    return None, False
                step = files.Fd(os.open(name, READ, dir_fd=place.number))
                place.close()
                place = step
                goes_on = goes_on and not hides
                hides = self._powers.opaque in os.listxattr(place.number)
            names = [name for name in os.listxattr(place.number) if is_wanted(name)]
            attributes = tuple((name, os.getxattr(place.number, name)) for name in names)
            return Found(layer, os.fstat(place.number), attributes), goes_on
        finally:
            place.close()


def _make(target: int, path: bytes, found: Found, powers: Powers) -> None:
    os.mkdir(path, 0o700, dir_fd=target)
    with files.Fd(os.open(path, READ, dir_fd=target)) as made:
        if powers.own:
            os.fchown(made.number, found.status.st_uid, found.status.st_gid)
        for name, value in found.attributes:
            os.setxattr(made.number, name, value)


def _finish(target: int, path: bytes, found: Found) -> None:
    with files.Fd(os.open(path, READ, dir_fd=target)) as made:
        os.fchmod(made.number, stat.S_IMODE(found.status.st_mode))
        os.utime(made.number, ns=(found.status.st_mtime_ns, found.status.st_mtime_ns))
