"""The new root: a scratch tmpfs nobody will see, overlays on it, and the pivot into the result.

/ (the copy of the host's tree)
└── scratch tmpfs, mounted over it, gone with it after the pivot
    ├── l/N  a lower tree      u/N, w/N  its throwaway layer      f/  small files to bind, e/  nothing
    ├── k/   the directory of layers that are kept: upper and work of the root, upper-N and work-N of a tree
    └── r    the new root
"""

from __future__ import annotations

import posix as os

from cloche.linux import files, mount
from cloche.records import record
from cloche.stage import paths
from cloche.stage.operation import InsideOperation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.stage.scene import Inside


@record
class MakePrivate(InsideOperation):
    """Cut the new tree of mounts loose from the host's."""

    def execute(self, scene: Inside) -> None:
        del scene
        mount.make_private("/")

    def calls(self) -> list[str]:
        return ['mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, {propagation=MS_PRIVATE})']

    def meaning(self) -> str:
        return "nothing mounted in here appears outside, nor the other way round"


@record
class Scratch(InsideOperation):
    """Mount the tmpfs that holds the throwaway layers."""

    size: str  # as tmpfs takes it, "" for half of the memory

    def execute(self, scene: Inside) -> None:
        options: dict[str, str | None] = {"source": "scratch", "mode": "0755"}
        if self.size:
            options["size"] = self.size
        scene.scratch = mount.new_filesystem("tmpfs", options)
        mount.move_mount(scene.scratch, files.AT_FDCWD, "/proc")
        os.fchdir(scene.scratch)
        for name in ("l", "u", "w", "f", "r"):
            os.mkdir(name, 0o755)
        os.mkdir("e", 0o555)

    def calls(self) -> list[str]:
        size = f", size={self.size}" if self.size else ""
        return [f'fsopen("tmpfs") … fsmount(mode=0755{size})', 'move_mount(fd, AT_FDCWD, "/proc")']

    def meaning(self) -> str:
        return "what is written in here goes to memory, and is gone when the container ends"


@record
class NewRoot(InsideOperation):
    """Start with an empty root directory in memory."""

    def execute(self, scene: Inside) -> None:
        scene.root = mount.new_filesystem("tmpfs", {"source": "root", "mode": "0755"}, mount.MOUNT_ATTR_NODEV)
        mount.move_mount(scene.root, scene.scratch, "r")

    def calls(self) -> list[str]:
        return ['fsopen("tmpfs") … fsmount(mode=0755)', 'move_mount(fd, scratch, "r")']

    def meaning(self) -> str:
        return "the root directory starts out empty: only what is put there can be seen"


@record
class TreeRoot(InsideOperation):
    """Take a tree itself as the root: what is written is written for good."""

    tree: str

    def execute(self, scene: Inside) -> None:
        scene.root = scene.trees.pop(self.tree)
        mount.move_mount(scene.root, scene.scratch, "r")

    def calls(self) -> list[str]:
        return ['move_mount(fd, scratch, "r")']

    def meaning(self) -> str:
        return "the directory itself is the root: changes are kept"


@record
class TakeVolume(InsideOperation):
    """Take a part of the root as a mount of its own, before anything covers it."""

    path: str

    def execute(self, scene: Inside) -> None:
        with files.Fd(paths.make_directory(scene.root, self.path)) as place:
            scene.trees[f"volume {self.path}"] = mount.open_tree(place.number, b"")

    def calls(self) -> list[str]:
        return [f'open_tree(root, "{self.path}", OPEN_TREE_CLONE)']

    def meaning(self) -> str:
        return f"{self.path}, a volume of the image, starts with what the image has there"

    def hint(self, code: int) -> str:
        return f"the image says that {self.path} is a volume, and has a file there" if code == 20 else ""


@record
class AttachVolume(InsideOperation):
    """Put such a part back where it was, over all that is mounted there, but not over what the kernel shows."""

    path: str

    def execute(self, scene: Inside) -> None:
        with (
            files.Fd(scene.trees.pop(f"volume {self.path}")) as tree,
            files.Fd(paths.make_directory(scene.root, self.path)) as place,
        ):
            found = paths.apart(place.number, scene.root, self.path)
            if found.st_dev in kernels_own(scene.root):
                raise OSError(1, "leads to what is the container's own", self.path)
            mount.move_mount(tree.number, place.number)

    def calls(self) -> list[str]:
        return [f'move_mount(fd, root, "{self.path}")']

    def meaning(self) -> str:
        return f"{self.path} can be written even where the root cannot, and is gone when the container ends"


@record
class Directory(InsideOperation):
    """Make sure a directory is there."""

    path: str
    mode: int = 0o755

    def execute(self, scene: Inside) -> None:
        os.close(paths.make_directory(scene.root, self.path, self.mode))

    def calls(self) -> list[str]:
        return [f'mkdirat(root, "{self.path}", {self.mode:#o})']

    def meaning(self) -> str:
        return f"{self.path} exists"


@record
class Symlink(InsideOperation):
    """Make a symbolic link, unless something is there."""

    path: str
    target: str

    def execute(self, scene: Inside) -> None:
        parent, _, name = self.path.rpartition("/")
        with files.Fd(paths.make_directory(scene.root, parent)) as place:
            try:
                os.symlink(self.target, name, dir_fd=place.number)
            except FileExistsError:
                pass

    def calls(self) -> list[str]:
        return [f'symlinkat("{self.target}", root, "{self.path}")']

    def meaning(self) -> str:
        return f"{self.path} leads to {self.target}"


@record
class SealRoot(InsideOperation):
    """Make the root and its trees read-only, now that everything is in place."""

    places: tuple[str, ...]

    def execute(self, scene: Inside) -> None:
        for path in self.places:
            with files.Fd(paths.open_path(scene.root, path)) as place:
                mount.mount_setattr(place.number, set_=mount.MOUNT_ATTR_RDONLY)

    def calls(self) -> list[str]:
        return [f'mount_setattr(root, "{path}", {{attr_set=MOUNT_ATTR_RDONLY}})' for path in self.places]

    def meaning(self) -> str:
        return "nothing can be written outside the mounts made for it"


@record
class PivotRoot(InsideOperation):
    """Make the new tree the root, and let go of the old one."""

    def execute(self, scene: Inside) -> None:
        os.fchdir(scene.root)
        mount.pivot_root(".", ".")
        mount.umount2(".", mount.MNT_DETACH)
        os.chdir("/")
        os.close(scene.scratch)
        os.close(scene.root)
        scene.scratch = scene.root = -1

    def calls(self) -> list[str]:
        return ["fchdir(root)", 'pivot_root(".", ".")', 'umount2(".", MNT_DETACH)', 'chdir("/")']

    def meaning(self) -> str:
        return "the host's files are gone from view: there is no path, link or descriptor back to them"


def kernels_own(root: int) -> set[int]:
    """The devices of what is mounted at /proc, /sys and /dev."""
    found = set()
    for path in ("/proc", "/sys", "/dev"):
        try:
            with files.Fd(paths.open_path(root, path)) as place:
                found.add(os.fstat(place.number).st_dev)
        except FileNotFoundError:
            continue
    return found - {os.fstat(root).st_dev}
