"""Volumes of the store: at their first use filled with what the image has at their place, then mounted.

    first      a byte in a file of the store beside the volume, never in it:
                 (empty)  nobody has used it     f  it is being filled     d  it has been used
    FillVolume whoever finds it empty or f has the lock, and nobody has the volume: what is in it may be thrown away.
               From d on it is the containers' own, and nothing here changes anything in it.

Whoever is killed while he fills leaves an f, and the next begins anew. A d is on the disk before anybody can write.
"""

from __future__ import annotations

import _stat as stat
import posix as os

from cloche.linux import files, mount
from cloche.linux.places import normpath
from cloche.records import record
from cloche.stage import copying, paths, removal
from cloche.stage.operation import INSIDE, OUTSIDE, InsideOperation, Operation
from cloche.stage.operations.roots import kernels_own
from cloche.stage.points import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.stage.scene import Inside, Outside

NEW, FILLING, USED = b"", b"f", b"d"
KERNELS_OWN = ("/proc/", "/sys/", "/dev/")


@record
class OpenFirst(Operation):
    """Open the file that says whether a volume has been used."""

    name: str
    path: str
    by_stage: bool  # as of OpenTree

    @property
    def side(self) -> str:  # type: ignore[override]
        """Who opens it."""
        return OUTSIDE if self.by_stage else INSIDE

    def execute(self, scene: Outside | Inside) -> None:
        scene.trees[self.name] = os.open(self.path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)

    def calls(self) -> list[str]:
        return [f'open("{self.path}", O_RDWR)']

    def meaning(self) -> str:
        return "whether the volume has been used before is written there"


@record
class FillVolume(InsideOperation):
    """At a volume's first use, copy what the image has at its place, before anything covers that."""

    tree: str
    first: str  # of OpenFirst
    target: str
    copy: bool = True  # else it is only marked as used

    def execute(self, scene: Inside) -> None:
        with files.Fd(scene.trees.pop(self.first)) as first:
            os.lockf(first.number, os.F_LOCK, 0)  # until it is closed; another may be filling it now
            state = os.pread(first.number, 1, 0)
            if state == USED:
                return
            tree = scene.trees[self.tree]
            if not stat.S_ISDIR(os.fstat(tree).st_mode):
                return
            with files.Fd(os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=tree)) as volume:
                if state == FILLING:
                    removal.empty(volume.number)
                if self.copy and not os.listdir(volume.number):
                    self._fill(scene, volume.number, first.number)
                _mark(first.number, USED)

    def _fill(self, scene: Inside, volume: int, first: int) -> None:
        try:
            place = files.Fd(files.open_in_root(scene.root, self.target, os.O_PATH | os.O_DIRECTORY))
        except FileNotFoundError:
            return
        with place:
            _mark(first, FILLING)
            try:
                point("volume-filling")
                left_out = copying.copy_directory(place.number, volume, itself=True)
                point("volume-copied")
                files.syncfs(volume)
            except OSError as error:
                removal.empty(volume)
                _mark(first, NEW)
                error.filename = self.target
                raise
            point("volume-filled")
        if left_out:
            what = ", ".join(f"{count} {words}" for words, count in sorted(left_out.items()))
            scene.note(f"volume {self.target}", f"of what the image has there could not be copied: {what}")

    def calls(self) -> list[str]:
        return [f'copy(root, "{self.target}", volume)'] if self.copy else ["pwrite(first)"]

    def meaning(self) -> str:
        if not self.copy:
            return f"the volume at {self.target} stays as it is"
        return f"the volume at {self.target} starts with what the image has there, if nobody has used it before"

    def hint(self, code: int) -> str:
        if code == 20:
            return f"the image has a file at {self.target}, and no directory: give another place"
        return "the disk of the store is full: cloche volume prune, or cloche rmi" if code in {28, 122} else ""


@record
class AttachNamed(InsideOperation):
    """Mount a volume at its place, but not over what the kernel shows, unless its very path says so."""

    tree: str
    target: str
    read_only: bool

    def execute(self, scene: Inside) -> None:
        with files.Fd(scene.trees.pop(self.tree)) as tree:
            directory = stat.S_ISDIR(os.fstat(tree.number).st_mode)
            make = paths.make_directory if directory else paths.make_file
            with files.Fd(make(scene.root, self.target)) as place:
                found = paths.apart(place.number, scene.root, self.target)
                if stat.S_ISDIR(found.st_mode) != directory:
                    raise NotADirectoryError(20, "is a directory" if not directory else "is no directory", self.target)
                plain = f"/{normpath(self.target).lstrip('/')}/"
                if not plain.startswith(KERNELS_OWN) and found.st_dev in kernels_own(scene.root):
                    raise OSError(1, "leads to what is the container's own", self.target)
                mount.move_mount(tree.number, place.number)
            if self.read_only:  # only now: it may have been filled a moment ago
                mount.mount_setattr(tree.number, set_=mount.MOUNT_ATTR_RDONLY, recursive=True)

    def calls(self) -> list[str]:
        lines = [f'move_mount(fd, root, "{self.target}")']
        return [*lines, "mount_setattr(fd, {attr_set=MOUNT_ATTR_RDONLY})"] if self.read_only else lines

    def meaning(self) -> str:
        what = "can be read" if self.read_only else "can be read and written"
        return f"the volume {what} at {self.target}, and stays when the container is gone"

    def hint(self, code: int) -> str:
        return (
            f"the image has something else at {self.target} than a directory: give another place" if code == 20 else ""
        )


def _mark(first: int, state: bytes) -> None:
    os.ftruncate(first, len(state))
    os.pwrite(first, state, 0)
    os.fsync(first)
