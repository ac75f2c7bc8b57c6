"""What one stack of layers has that another has not, from their directories: nothing is mounted or laid together.

    new    base               a directory that the same layers make up is the same: most of both are not looked at
    top  ┐                    A  is in the new one only, with all that is in it
    mid  ├── shared ──┐ mid   C  is in both, and not the same; or something in it is not
    low  ┘            ┘ low   D  is in the base only, said of the directory alone

Layers are names of directories below the one that holds them all, as overlayfs takes them: a whiteout is a character
device 0:0, an opaque directory has an attribute. Names in them are anybody's: no link is followed.
"""

from __future__ import annotations

import os
import stat

from cloche.linux import files
from cloche.records import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Steps = Iterator["Steps"]  # a directory being gone through, which hands out those in it
    Told = Callable[[str, bytes], None]  # A, C or D, and the path

ADDED, CHANGED, DELETED = "A", "C", "D"
OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
BENEATH = files.RESOLVE_BENEATH | files.RESOLVE_NO_SYMLINKS
PART = 1 << 20
OWN_ATTRIBUTES = ("trusted.overlay.", "user.overlay.")


@record
class Entry:
    """What a name stands for: in these layers, the highest first, of which a directory may be in several."""

    layers: tuple[str, ...]
    directory: bool


class Comparison:
    """Two stacks of layers below the directory `store`, each with the lowest first.

    `places` are those of a container where something is mounted, which are passed over with the directories that were
    made for them alone; None for images.
    """

    def __init__(
        self,
        store: int,
        new: tuple[str, ...],
        base: tuple[str, ...],
        opaque: str,
        tell: Told,
        places: frozenset[bytes] | None = None,
    ) -> None:
        self._store, self._opaque, self._tell = store, opaque, tell
        self._new, self._base = tuple(reversed(new)), tuple(reversed(base))
        # of what a layer puts over its own parent, each file is a change, as other engines have it
        self._by_layer = new[: len(base)] == base and places is None
        self._places = places or frozenset()
        self._leading = {b"/".join(parts[:end]) for parts in _split(self._places) for end in range(2, len(parts))}
        self._above: list[tuple[str, bytes]] = []  # directories that are of interest if anything in them is

    def run(self) -> None:
        """Tell of every difference, a directory before what is in it, in the order of the names."""
        steps = [self._compare(b"", self._new, self._base)]
        while steps:  # no call in a call: there can be more directories in each other than calls
            inner = next(steps[-1], None)
            if inner is None:
                steps.pop()
            else:
                steps.append(inner)

    def _compare(self, path: bytes, new: tuple[str, ...], base: tuple[str, ...]) -> Steps:
        there, before = self._entries(path, new), self._entries(path, base)
        for name in sorted(there.keys() | before.keys()):
            found, was, place = there.get(name), before.get(name), path + b"/" + name
            if found == was or place in self._places:
                continue
            if found is None:
                self._say(DELETED, place)
            elif was is None:
                yield self._added(place, found)
            elif found.directory and was.directory:
                yield self._directories(place, found, was)
            elif found.directory or was.directory or self._differ(path, name, found, was):
                self._say(CHANGED, place)
                yield self._content(place, found)

    def _directories(self, place: bytes, found: Entry, was: Entry) -> Steps:
        path, _, name = place.rpartition(b"/")
        if self._facts(found.layers[0], path, name) != self._facts(was.layers[0], path, name):
            self._say(CHANGED, place)
            yield self._compare(place, found.layers, was.layers)
            return
        yield self._if_anything(CHANGED, place, self._compare(place, found.layers, was.layers))

    def _if_anything(self, kind: str, place: bytes, inner: Steps) -> Steps:
        """Say something of a directory if there is something to say of what is in it."""
        self._above.append((kind, place))
        yield inner
        if self._above:  # else something was said, and this before it
            self._above.pop()

    def _added(self, place: bytes, found: Entry) -> Steps:
        if place in self._places:
            return
        if place in self._leading:
            yield self._if_anything(ADDED, place, self._content(place, found))
            return
        self._say(ADDED, place)
        yield self._content(place, found)

    def _content(self, place: bytes, found: Entry) -> Steps:
        if found.directory:
            for name, entry in sorted(self._entries(place, found.layers).items()):
                yield self._added(place + b"/" + name, entry)

    def _say(self, kind: str, place: bytes) -> None:
        for above in self._above:
            self._tell(*above)
        self._above = []
        self._tell(kind, place)

    def _entries(self, path: bytes, layers: tuple[str, ...]) -> dict[bytes, Entry]:
        """What is in a directory that these layers make up."""
        found: dict[bytes, Entry] = {}
        ended: set[bytes] = set()  # nothing of lower layers is there
        for layer in layers:
            with files.Fd(self._open(layer, path)) as folder:
                for name in map(os.fsencode, os.listdir(folder.number)):
                    if name in ended:
                        continue
                    status = os.stat(name, dir_fd=folder.number, follow_symlinks=False)
                    known = found.get(name)
                    if not stat.S_ISDIR(status.st_mode):
                        ended.add(name)
                        if known is None and not files.is_whiteout(status):
                            found[name] = Entry((layer,), False)
                        continue
                    found[name] = Entry((*(known.layers if known else ()), layer), True)
                    if self._is_opaque(folder.number, name):
                        ended.add(name)
        return found

    def _is_opaque(self, folder: int, name: bytes) -> bool:
        # a directory of a layer, which is not for others to change: its path leads to itself
        try:
            return os.getxattr(_path(folder, name), self._opaque, follow_symlinks=False) == b"y"
        except OSError:
            return False

    def _differ(self, path: bytes, name: bytes, found: Entry, was: Entry) -> bool:
        """Whether two files are not the same, by what they are and, where that is so, by what they hold."""
        if self._by_layer:
            return True
        layers = found.layers[0], was.layers[0]
        if self._facts(layers[0], path, name) != self._facts(layers[1], path, name):
            return True
        return self._content_differs(layers, path, name)

    def _facts(self, layer: str, path: bytes, name: bytes) -> tuple[object, ...]:
        with files.Fd(self._open(layer, path)) as folder:
            status = os.stat(name, dir_fd=folder.number, follow_symlinks=False)
            place = _path(folder.number, name)
            attributes = {
                key: os.getxattr(place, key, follow_symlinks=False)
                for key in sorted(os.listxattr(place, follow_symlinks=False))
                if not key.startswith(OWN_ATTRIBUTES)
            }
            target = os.readlink(name, dir_fd=folder.number) if stat.S_ISLNK(status.st_mode) else b""
        directory = stat.S_ISDIR(status.st_mode)
        size = () if directory else (status.st_size, status.st_rdev)
        time = () if directory and not self._by_layer else (status.st_mtime_ns,)
        return (status.st_mode, status.st_uid, status.st_gid, *size, *time, attributes, target)

    def _content_differs(self, layers: tuple[str, str], path: bytes, name: bytes) -> bool:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with files.Fd(self._open(layers[0], path)) as one, files.Fd(self._open(layers[1], path)) as other:
            if not stat.S_ISREG(os.stat(name, dir_fd=one.number, follow_symlinks=False).st_mode):
                return False
            with (
                files.Fd(os.open(name, flags, dir_fd=one.number)) as mine,
                files.Fd(os.open(name, flags, dir_fd=other.number)) as theirs,
            ):
                while True:
                    part = os.read(mine.number, PART)
                    if part != os.read(theirs.number, PART):
                        return True
                    if not part:
                        return False

    def _open(self, layer: str, path: bytes) -> int:
        """The directory `path` of a layer; no name in an archive is longer than a path can be."""
        place = os.open(layer, OPEN, dir_fd=self._store)
        if not path:
            return place
        with files.Fd(place) as top:
            return files.openat2(top.number, path.strip(b"/"), OPEN, resolve=BENEATH)


def write_differences(
    store: int,
    new: tuple[str, ...],
    base: tuple[str, ...],
    opaque: str,
    out: int,
    places: tuple[bytes, ...] | None = None,
) -> None:
    """Write each difference into a descriptor: its letter, its path, a NUL."""
    with open(out, "wb", closefd=False) as file:

        def tell(kind: str, path: bytes) -> None:
            file.write(kind.encode() + path + b"\0")

        Comparison(store, new, base, opaque, tell, None if places is None else frozenset(places)).run()


def _split(places: frozenset[bytes]) -> list[list[bytes]]:
    return [place.split(b"/") for place in places]


def _path(folder: int, name: bytes) -> bytes:
    return b"/proc/self/fd/%d/%s" % (folder, name)
