"""Overlays on the scratch tmpfs or in a directory that stays: a tree that can be changed, and is not."""

from __future__ import annotations

import _stat as stat
import posix as os

from cloche.linux import files, mount
from cloche.linux.places import isdir, makedirs
from cloche.records import record
from cloche.stage import paths
from cloche.stage.operation import InsideOperation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.stage.scene import Inside

LONGEST_OPTION = 255  # of fsconfig(2)
EINVAL = 22


@record
class KeepLayers(InsideOperation):
    """Have a directory of the host's for the layers that are written to."""

    tree: str

    def execute(self, scene: Inside) -> None:
        tree = scene.trees.pop(self.tree)
        os.mkdir("k", 0o755)
        mount.move_mount(tree, scene.scratch, "k")
        os.close(tree)

    def calls(self) -> list[str]:
        return ['move_mount(fd, scratch, "k")']

    def meaning(self) -> str:
        return "what is written in here stays on the disk when the container ends"

    def hint(self, code: int) -> str:
        return "the store's file system cannot carry layers of containers" if code in {22, 95} else ""


@record
class Overlay(InsideOperation):
    """Lay a throwaway layer over a tree, at a place below the root or as the root itself."""

    tree: str
    index: int
    target: str
    hidden: tuple[str, ...] = ()  # relative to the tree
    user_attributes: bool = True  # userxattr, which overlays in user namespaces need
    places: tuple[tuple[str, bool], ...] = ()  # mount points the layer must bring: (relative path, directory?)
    layers: tuple[str, ...] = ()  # of the tree, the lowest first; without any, the tree itself
    shape: str = ""  # the layer whose mode and owner the directory has
    kept: str = ""  # the layer on top is kept: `KeepLayers` has brought the directory

    def execute(self, scene: Inside) -> None:
        lower = f"l/{self.index}"
        upper, work = self._places()
        os.mkdir(lower, 0o755)
        tree = scene.trees.pop(self.tree)
        if not self.kept or not isdir(work):  # made last: whoever finds it has all of it
            self._furnish(tree, upper)
            os.mkdir(work, 0o755)
        mount.move_mount(tree, scene.scratch, lower)
        os.close(tree)
        options: list[tuple[str, str | None]] = [("source", "overlay")]
        options += self._lowers(lower)
        options += [("upperdir", upper), ("workdir", work)]
        if self.user_attributes:
            options.append(("userxattr", None))
        if self.target == "/":
            scene.root = self._mount_root(scene, options)
            return
        top = mount.new_filesystem("overlay", options, mount.MOUNT_ATTR_NODEV)
        with files.Fd(paths.make_directory(scene.root, self.target)) as place:
            mount.move_mount(top, place.number)
        os.close(top)

    def _places(self) -> tuple[str, str]:
        """Where it is written to, and the directory overlayfs needs beside it."""
        if not self.kept:
            return f"u/{self.index}", f"w/{self.index}"
        end = "" if self.target == "/" else f"-{self.index}"
        return f"k/upper{end}", f"k/work{end}"

    def _furnish(self, tree: int, upper: str) -> None:
        if not isdir(upper):
            os.mkdir(upper, 0o755)
        with files.Fd(os.open(self.shape or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=tree)) as shape:
            _copy_attributes(os.fstat(shape.number), upper)
        for path in self.hidden:
            _white_out(tree, upper, path)
        for path, directory in self.places:
            _make_place(tree, upper, path, directory=directory)

    def _mount_root(self, scene: Inside, options: list[tuple[str, str | None]]) -> int:
        try:
            top = mount.new_filesystem("overlay", options, mount.MOUNT_ATTR_NODEV)
        except OSError as error:
            lowers = [value for name, value in options if name == "lowerdir+" and value]
            if error.errno != EINVAL or not lowers:
                raise
            # before 6.7 only mount(2) takes as many, in one line
            others = [f"{name}={value}" if value else name for name, value in options[1:] if name != "lowerdir+"]
            data = ",".join([f"lowerdir={':'.join(lowers)}", *others])
            mount.mount_with_data("overlay", "r", mount.MS_NODEV, data)
            return os.open("r", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=scene.scratch)
        mount.move_mount(top, scene.scratch, "r")
        return top

    def _lowers(self, lower: str) -> list[tuple[str, str | None]]:
        """The lower directories, the highest first: in one option where that is not too long, as older kernels need."""
        if not self.layers:
            return [("lowerdir", lower)]
        names = [str(number) for number in range(len(self.layers))]
        for name, layer in zip(names, reversed(self.layers), strict=True):
            os.symlink(f"{lower}/{layer}", name)
        together = ":".join(names)
        return [("lowerdir", together)] if len(together) <= LONGEST_OPTION else [("lowerdir+", name) for name in names]

    def calls(self) -> list[str]:
        i = self.index
        extra = ", userxattr" if self.user_attributes else ""
        hide = [f'mknod("u/{i}/{path}", S_IFCHR, 0)' for path in self.hidden]
        below = f"{len(self.layers)} layers in l/{i}" if self.layers else f"l/{i}"
        upper, work = self._places()
        mounts = f'fsopen("overlay") … fsmount(lowerdir={below}, upperdir={upper}, workdir={work}{extra})'
        return [
            *hide,
            f'move_mount(tree, scratch, "l/{i}")',
            mounts,
            f'move_mount(fd, root, "{self.target}")',
        ]

    def meaning(self) -> str:
        hides = f"; {len(self.hidden)} private entries are hidden" if self.hidden else ""
        stays = ", and the changes stay" if self.kept else ""
        return f"{self.target} can be changed in here, the original stays as it is{stays}{hides}"

    def hint(self, code: int) -> str:
        if code == EINVAL and not self.layers:
            return "the directory lies on or holds mounts that cannot carry an overlay here; give DIR:rw or DIR:ro"
        if code == 19:
            return "this kernel has no overlay file system; load it with: modprobe overlay"
        return ""


def _copy_attributes(source: os.stat_result, path: str) -> None:
    """Mode and, where both ids exist in here, owner: an overlay shows those of its upper directory."""
    try:
        os.chown(path, source.st_uid, source.st_gid)
    except OSError:
        pass  # an owner that has no number in here: the container's root owns the layer's directory
    os.chmod(path, stat.S_IMODE(source.st_mode))


def _white_out(tree: int, upper: str, path: str) -> None:
    """Hide `path` of the lower tree: a whiteout in the upper directory."""
    parents, _, name = path.rpartition("/")
    if _copy_parents(tree, upper, parents):
        try:
            files.mknodat(files.AT_FDCWD, "/".join(filter(None, (upper, parents, name))), stat.S_IFCHR)
        except FileExistsError:
            pass  # who began this layer was killed


def _make_place(tree: int, upper: str, path: str, *, directory: bool) -> None:
    """Make a mount point in the upper directory where the lower has none.

    In a directory of somebody who does not exist in here, nothing could be made once the overlay is
    mounted; its copy in the layer belongs to the container's root. Links are left to the mount step.
    """
    parents, _, name = path.rpartition("/")
    try:
        os.close(files.openat2(tree, path, os.O_PATH | os.O_NOFOLLOW, resolve=files.RESOLVE_NO_SYMLINKS))
    except FileNotFoundError:
        if not _copy_parents(tree, upper, parents):
            return
    except OSError:
        return
    else:
        return
    place = "/".join(filter(None, (upper, parents, name)))
    if directory:
        makedirs(place, 0o755)
    else:
        os.close(os.open(place, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))


def _copy_parents(tree: int, upper: str, path: str) -> bool:
    """Make directory `path` in the upper as it is in the lower; False where that has a link or file."""
    walked = ""
    for part in filter(None, path.split("/")):
        walked = f"{walked}/{part}" if walked else part
        place = f"{upper}/{walked}"
        if isdir(place):
            continue
        flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
        try:
            found = files.openat2(tree, walked, flags, resolve=files.RESOLVE_NO_SYMLINKS | files.RESOLVE_BENEATH)
        except FileNotFoundError:
            os.mkdir(place, 0o755)
            continue
        except OSError:
            return False
        with files.Fd(found):
            os.mkdir(place, 0o755)
            _copy_attributes(os.fstat(found), place)
    return True
