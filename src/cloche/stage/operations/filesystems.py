"""What is mounted in the new root: proc, dev and the like, devices, files, masks, read-only paths."""

from __future__ import annotations

import _stat as stat
import posix as os

from cloche.linux import files, mount, terminal
from cloche.linux.places import normpath
from cloche.records import record
from cloche.stage import copying, paths, wire
from cloche.stage.operation import InsideOperation
from cloche.stage.operations.trees import attribute_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.stage.scene import Inside


@record
class Filesystem(InsideOperation):
    """Mount a new file system at a place in the root."""

    kind: str
    target: str
    options: tuple[tuple[str, str | None], ...] = ()
    attributes: int = 0
    says: str = ""
    source: str = ""  # the device, where it has one
    copy_up: bool = False  # take along what the directory holds that it covers

    def execute(self, scene: Inside) -> None:
        # read-only only when what it is to hold is there
        later = self.attributes & mount.MOUNT_ATTR_RDONLY if self.copy_up else 0
        options = {"source": self.source or self.kind, **dict(self.options)}
        if self.kind == "tmpfs" and (self.copy_up or "mode" not in options):
            options = {**_as_covered(scene.root, self.target, owner=self.copy_up), **options}
        try:
            made = mount.new_filesystem(self.kind, options, self.attributes & ~later)
        except OSError as error:
            error.filename = self.target
            raise
        with files.Fd(paths.make_directory(scene.root, self.target)) as place:
            paths.apart(place.number, scene.root, self.target)
            if self.copy_up:
                copying.copy_directory(place.number, made)
                mount.mount_setattr(made, set_=later)
            if self.kind in {"proc", "sysfs"}:
                with files.Fd(_open_unlinked(scene.root, self.target)) as proper:
                    mount.move_mount(made, proper.number)
            else:
                mount.move_mount(made, place.number)
        if (covered := scene.trees.get(target := _plain(self.target))) is not None:
            os.close(covered)
        scene.trees[target] = made

    def calls(self) -> list[str]:
        words = [key if value is None else f"{key}={value}" for key, value in self.options]
        inner = ", ".join([*words, *attribute_names(self.attributes)])
        return [f'fsopen("{self.kind}") … fsmount({inner})', f'move_mount(fd, root, "{self.target}")']

    def meaning(self) -> str:
        return self.says or f"a new {self.kind} at {self.target}"

    def hint(self, code: int) -> str:
        if self.kind in {"proc", "sysfs"} and code == 1:
            return (
                f"a {self.kind} that shows more than the one here is refused: "
                "this happens inside another container whose own is masked; unmask it there"
            )
        return "this kernel does not have it" if code == 19 else ""


def _as_covered(root: int, path: str, *, owner: bool) -> dict[str, str | None]:
    """Options by which a tmpfs gets the mode, and the owner, of the directory it covers; none where there is none."""
    try:
        with files.Fd(paths.open_path(root, path)) as place:
            status = os.fstat(place.number)
    except FileNotFoundError:
        return {}
    mode = f"{status.st_mode & 0o7777:o}"
    return {"mode": mode, "uid": str(status.st_uid), "gid": str(status.st_gid)} if owner else {"mode": mode}


def _open_unlinked(root: int, path: str) -> int:
    """A directory by itself, no link on the way; else ENOTDIR: masks rely on /proc being in its place."""
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
    try:
        return files.openat2(root, path, flags, resolve=files.RESOLVE_IN_ROOT | files.RESOLVE_NO_SYMLINKS)
    except OSError as error:
        raise OSError(20, "has to be a directory in the root file system, not a link", path) from error


def _plain(path: str) -> str:
    """An absolute path as a key: without what makes two of the same."""
    return "/" + normpath(path).lstrip("/")


def _open_mount(scene: Inside, path: str) -> int:
    """What was mounted at a path: itself, wherever it is now, where it was made here."""
    made = scene.trees.get(_plain(path), -1)
    return files.open_in_root(made, "/") if made >= 0 else paths.open_path(scene.root, path)


def _open_known(scene: Inside, path: str) -> int:
    """A path of the root; below /proc and /sys looked up from the mounts made there, wherever they are now."""
    path = _plain(path)
    for top in ("/proc", "/sys"):
        made = scene.trees.get(top, -1)
        if made >= 0 and f"{path}/".startswith(f"{top}/"):
            return paths.open_path(made, path[len(top) :])
    return paths.open_path(scene.root, path)


@record
class Remount(InsideOperation):
    """Change the attributes of what is mounted at a place."""

    target: str
    attributes: int
    clear: int
    recursive: bool = False

    def execute(self, scene: Inside) -> None:
        with files.Fd(_open_mount(scene, self.target)) as place:
            mount.mount_setattr(place.number, set_=self.attributes, clear=self.clear, recursive=self.recursive)

    def calls(self) -> list[str]:
        words = "|".join(attribute_names(self.attributes)) or "0"
        return [f'mount_setattr(root, "{self.target}", {{attr_set={words}, attr_clr={self.clear:#x}}})']

    def meaning(self) -> str:
        return f"what is mounted at {self.target} gets other attributes"


@record
class Propagate(InsideOperation):
    """Say where mounts made below a place appear as well."""

    target: str
    propagation: int  # MS_SHARED …

    def execute(self, scene: Inside) -> None:
        with files.Fd(_open_mount(scene, self.target)) as place:
            mount.mount_setattr(place.number, propagation=self.propagation, recursive=True)

    def calls(self) -> list[str]:
        return [f'mount_setattr(root, "{self.target}", AT_RECURSIVE, {{propagation={self.propagation:#x}}})']

    def meaning(self) -> str:
        return f"mounts made below {self.target} are passed on, or not, as asked"


@record
class Attach(InsideOperation):
    """Attach a tree at a place in the root, making the place if it is missing."""

    tree: str
    target: str
    says: str = ""

    def execute(self, scene: Inside) -> None:
        tree = scene.trees.pop(self.tree)
        directory = stat.S_ISDIR(os.fstat(tree).st_mode)
        make = paths.make_directory if directory else paths.make_file
        with files.Fd(make(scene.root, self.target)) as place:
            if stat.S_ISDIR(paths.apart(place.number, scene.root, self.target).st_mode) != directory:
                raise NotADirectoryError(20, "is a directory" if not directory else "is no directory", self.target)
            mount.move_mount(tree, place.number)
        os.close(tree)
        if (covered := scene.trees.pop(_plain(self.target), -1)) >= 0:
            os.close(covered)

    def calls(self) -> list[str]:
        return [f'move_mount(fd, root, "{self.target}")']

    def meaning(self) -> str:
        return self.says or f"it appears at {self.target}"

    def hint(self, code: int) -> str:
        if code == 20:
            return f"a file and a directory cannot be mounted over each other at {self.target}"
        return _cannot_be_made(self.target) if code in {30, 13} else ""


@record
class MakeNode(InsideOperation):
    """Make a device node or fifo in the root itself."""

    target: str
    mode: int  # with the type
    major: int
    minor: int
    uid: int
    gid: int

    def execute(self, scene: Inside) -> None:
        parent, _, name = self.target.rstrip("/").rpartition("/")
        device = os.makedev(self.major, self.minor)
        with files.Fd(paths.make_directory(scene.root, parent)) as place:
            try:
                os.mknod(name, self.mode, device, dir_fd=place.number)
            except FileExistsError:
                pass  # which may be it
            with files.Fd(files.openat2(place.number, name, os.O_PATH | os.O_NOFOLLOW)) as node:
                found = os.fstat(node.number)
                if stat.S_IFMT(found.st_mode) != stat.S_IFMT(self.mode) or found.st_rdev != device:
                    raise FileExistsError(17, "file exists", self.target)
                files.chown(node.number, self.uid, self.gid)

    def calls(self) -> list[str]:
        return [f'mknodat(root, "{self.target}", {self.mode:#o}, {self.major}:{self.minor})']

    def meaning(self) -> str:
        return f"the device {self.major}:{self.minor} can be reached at {self.target}"

    def hint(self, code: int) -> str:
        return f"something else is at {self.target}" if code == 17 else ""


@record
class File(InsideOperation):
    """Put a small file of our own at a place in the root, without touching what lies below."""

    target: str
    content: str
    mode: int = 0o644

    def execute(self, scene: Inside) -> None:
        name = "f/" + self.target.strip("/").replace("/", "_")
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, self.mode)
        with files.Fd(fd):
            os.fchmod(fd, self.mode)
            files.write_all(fd, self.content.encode())
        with (
            files.Fd(mount.open_tree(scene.scratch, name)) as tree,
            files.Fd(paths.make_file(scene.root, self.target)) as place,
        ):
            mount.move_mount(tree.number, place.number)

    def calls(self) -> list[str]:
        return [f"write(fd, {len(self.content.encode())} bytes)", f'move_mount(fd, root, "{self.target}")']

    def meaning(self) -> str:
        return f"{self.target} is the container's own"

    def hint(self, code: int) -> str:
        return _cannot_be_made(self.target) if code in {30, 13} else ""


def _cannot_be_made(target: str) -> str:
    return f"{target} is not there and cannot be made: make it in the root file system"


@record
class Mask(InsideOperation):
    """Cover paths with nothing."""

    covered: tuple[str, ...]

    def execute(self, scene: Inside) -> None:
        null = -1
        for path in self.covered:
            try:
                place = _open_known(scene, path)
            except (FileNotFoundError, NotADirectoryError):
                continue  # this kernel has no such file
            with files.Fd(place):
                if stat.S_ISDIR(os.fstat(place).st_mode):
                    cover = mount.open_tree(scene.scratch, "e")
                    mount.mount_setattr(cover, set_=mount.MOUNT_ATTR_RDONLY)
                else:
                    if null < 0:
                        null = paths.open_path(scene.root, "/dev/null")
                        status = os.fstat(null)
                        if not stat.S_ISCHR(status.st_mode) or status.st_rdev != os.makedev(1, 3):
                            raise OSError(19, "is not the null device", "/dev/null")
                    cover = mount.open_tree(null, b"")
                mount.move_mount(cover, place)
                os.close(cover)
        if null >= 0:
            os.close(null)

    def calls(self) -> list[str]:
        return [f'move_mount(nothing, root, "{path}")' for path in self.covered]

    def meaning(self) -> str:
        return "what these tell about the machine, or let one do to it, is covered: " + ", ".join(self.covered)


@record
class ReadOnly(InsideOperation):
    """Make paths read-only, with all that is mounted below."""

    places: tuple[str, ...]

    def execute(self, scene: Inside) -> None:
        for path in self.places:
            try:
                place = _open_known(scene, path)
            except (FileNotFoundError, NotADirectoryError):
                continue
            with files.Fd(place), files.Fd(mount.open_tree(place, b"", recursive=True)) as tree:
                mount.mount_setattr(tree.number, set_=mount.MOUNT_ATTR_RDONLY, recursive=True)
                mount.move_mount(tree.number, place)

    def calls(self) -> list[str]:
        return [
            f'open_tree("{path}", OPEN_TREE_CLONE) mount_setattr(MOUNT_ATTR_RDONLY) move_mount' for path in self.places
        ]

    def meaning(self) -> str:
        return "can be read but not written, even by the container's root: " + ", ".join(self.places)


@record
class OpenTerminal(InsideOperation):
    """Open a terminal on the devpts at /dev/pts of the root; its far end goes to the caller."""

    rows: int
    columns: int

    def execute(self, scene: Inside) -> None:
        with files.Fd(paths.make_directory(scene.root, "/dev/pts")) as devpts:
            if files.filesystem_type(devpts.number) != files.DEVPTS_SUPER_MAGIC:
                raise OSError(19, "is not a devpts", "/dev/pts")
            master, slave = terminal.open_pty(devpts.number)
        if self.rows or self.columns:
            terminal.set_window_size(master, self.rows, self.columns)
        os.fchown(slave, scene.user[0], -1)
        wire.send(scene.channel, ("console",), [master])
        os.close(master)
        for fd in scene.stdio:
            os.close(fd)
        scene.stdio = [slave, os.dup(slave), os.dup(slave)]

    def calls(self) -> list[str]:
        return ['open("/dev/pts/ptmx")', "ioctl(TIOCGPTPEER)", f"ioctl(TIOCSWINSZ, {self.rows}x{self.columns})"]

    def meaning(self) -> str:
        return "the command gets a terminal of its own; it cannot reach into yours"


@record
class BindConsole(InsideOperation):
    """Show that terminal as /dev/console."""

    def execute(self, scene: Inside) -> None:
        with (
            files.Fd(mount.open_tree(scene.stdio[0], b"")) as tree,  # not by its name, which is anybody's to change
            files.Fd(paths.make_file(scene.root, "/dev/console")) as place,
        ):
            mount.move_mount(tree.number, place.number)

    def calls(self) -> list[str]:
        return ['move_mount(terminal, root, "/dev/console")']

    def meaning(self) -> str:
        return "/dev/console is the container's own terminal"
