"""Copies of the mounts of the host, by descriptor: taken by the stage where it may, else inside; views of groups."""

from __future__ import annotations

import posix as os

from cloche.linux import files, mount, namespaces, process
from cloche.records import record
from cloche.stage import paths
from cloche.stage.operation import INSIDE, OUTSIDE, InsideOperation, Operation, OutsideOperation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.stage.scene import Inside, Outside

    Map = tuple[tuple[int, int, int], ...]  # (inside, outside, count)


@record
class OpenTree(Operation):
    """Take a copy of a mount of the host, not attached anywhere yet."""

    name: str
    source: str
    by_stage: bool  # the stage may do it; else the new process, in its own copy of the tree
    recursive: bool = False
    attributes: int = 0  # MOUNT_ATTR_* to set
    clear: int = 0  # MOUNT_ATTR_* to clear
    deep: int = 0  # to set on all mounts below as well
    deep_clear: int = 0
    id_mapped: str = ""  # "top", "all", or "if possible": all, else top, else none, which is noted
    maps: tuple[Map, ...] = ()  # of uids and gids, where they are not those of the container's users
    device: tuple[int, int] | None = None  # it must be this character device
    propagation: int = 0
    below: str = ""  # what is taken is this path in the source, where nobody is trusted

    @property
    def side(self) -> str:  # type: ignore[override]
        """Who takes the copy."""
        return OUTSIDE if self.by_stage else INSIDE

    def execute(self, scene: Outside | Inside) -> None:
        tree = scene.trees[self.name] = self._copy()
        set_, clear = self.deep, self.deep_clear
        if not self.recursive:  # it is a single mount
            set_, clear = set_ & ~self.clear | self.attributes, clear & ~self.attributes | self.clear
        # a copy of a shared mount, which on most machines all are, would pass mounts on in both directions
        propagation = self.propagation or mount.MS_PRIVATE
        mount.mount_setattr(tree, set_=set_, clear=clear, propagation=propagation, recursive=self.recursive)
        if self.recursive and (self.attributes or self.clear):
            mount.mount_setattr(tree, set_=self.attributes, clear=self.clear)
        if self.id_mapped:
            self._map_ids(tree, scene)

    def _copy(self) -> int:
        if self.below:
            return self._copy_below()
        if self.device is None:
            try:
                return mount.open_tree(files.AT_FDCWD, self.source, recursive=self.recursive)
            except OSError as error:
                error.filename = self.source
                raise
        with files.Fd(os.open(self.source, os.O_PATH | os.O_CLOEXEC)) as found:
            rdev = os.fstat(found.number).st_rdev
            if (os.major(rdev), os.minor(rdev)) != self.device:
                raise OSError(19, "is not the device it should be", self.source)
            return mount.open_tree(found.number, b"", recursive=self.recursive)

    def _copy_below(self) -> int:
        resolve = files.RESOLVE_BENEATH | files.RESOLVE_NO_MAGICLINKS
        try:
            with (
                files.Fd(os.open(self.source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) as top,
                files.Fd(files.openat2(top.number, self.below, os.O_PATH, resolve=resolve)) as found,
            ):
                return mount.open_tree(found.number, b"", recursive=self.recursive)
        except OSError as error:
            error.filename = f"{self.source}/{self.below}"
            raise

    def _map_ids(self, tree: int, scene: Outside | Inside) -> None:
        if self.maps:
            with files.Fd(_user_namespace(*self.maps)) as made:
                self._map_to(tree, made.number, scene)
        else:
            self._map_to(tree, scene.user_namespace(), scene)

    def _map_to(self, tree: int, users: int, scene: Outside | Inside) -> None:
        if self.id_mapped != "if possible":
            everything = self.id_mapped == "all"
            mount.mount_setattr(tree, set_=mount.MOUNT_ATTR_IDMAP, userns=users, recursive=everything)
            return
        for recursive in (True, False) if self.recursive else (False,):
            try:
                mount.mount_setattr(tree, set_=mount.MOUNT_ATTR_IDMAP, userns=users, recursive=recursive)
            except OSError as error:
                if error.errno not in {22, 1, 95}:
                    raise
            else:
                return
        text = "its file system cannot map ids: files belong to nobody inside"
        scene.notes.append((f"ownership of {self.source}", text))

    def calls(self) -> list[str]:
        flags = "OPEN_TREE_CLONE|AT_RECURSIVE" if self.recursive else "OPEN_TREE_CLONE"
        source = f"{self.source}/{self.below}" if self.below else self.source
        lines = [f'open_tree(AT_FDCWD, "{source}", {flags})']
        attributes = attribute_names(self.attributes | self.deep)
        if self.id_mapped:
            attributes = [*attributes, "MOUNT_ATTR_IDMAP"]
        if attributes:
            lines.append(f"mount_setattr(fd, {{attr_set={'|'.join(attributes)}}})")
        return lines

    def meaning(self) -> str:
        how = "can only be read" if (self.attributes | self.deep) & mount.MOUNT_ATTR_RDONLY else "is taken along"
        mapped = ", its owners shown as the users inside" if self.id_mapped else ""
        return f"{self.source} {how}{mapped}"

    def hint(self, code: int) -> str:
        if code == 22 and self.id_mapped:
            return f"the file system of {self.source} may not be able to map ids"
        if code == 22 and not self.recursive:
            return f"{self.source} holds other mounts, which cannot be left out without root"
        if self.below and code == 18:
            return f"{self.below} leads out of the volume"
        if code == 2:
            return f"{self.below or self.source} is not there"
        return ""


@record
class MakeDev(OutsideOperation):
    """Make /dev on a file system of the stage's: nodes that belong to the container's root.

    Nodes on a file system of the container's own user namespace could not be opened, and the host's own
    nodes belong to users that do not exist inside.
    """

    name: str
    nodes: tuple[tuple[str, int, int, int, int, int], ...]  # (path below /dev, mode with type, major, minor, uid, gid)
    links: tuple[tuple[str, str], ...]  # (name, target)
    directories: tuple[str, ...]
    options: tuple[tuple[str, str | None], ...]
    attributes: int
    uid: int
    gid: int

    def execute(self, scene: Outside) -> None:
        owner = self.uid, self.gid
        for name in (*self.directories, *(node[0] for node in self.nodes), *(link[0] for link in self.links)):
            if name.startswith("/") or ".." in name.split("/"):  # dir_fd would not hold it
                raise OSError(22, "is not a path below /dev", name)
        options = {"source": "tmpfs", "uid": str(self.uid), "gid": str(self.gid), **dict(self.options)}
        made = mount.new_filesystem("tmpfs", options, self.attributes)
        scene.trees[self.name] = made
        for name in self.directories:
            os.mkdir(name, 0o755, dir_fd=made)
            os.chown(name, *owner, dir_fd=made)
        mask = os.umask(0)
        for name, mode, major, minor, uid, gid in self.nodes:
            os.mknod(name, mode, os.makedev(major, minor), dir_fd=made)
            os.chown(name, uid, gid, dir_fd=made)
        os.umask(mask)
        for name, target in self.links:
            os.symlink(target, name, dir_fd=made)
            os.chown(name, *owner, dir_fd=made, follow_symlinks=False)

    def calls(self) -> list[str]:
        first = f'fsopen("tmpfs") … fsmount({", ".join(attribute_names(self.attributes))})'
        return [first, *(f'mknodat(dev, "{name}", {mode:#o}, {a}:{b})' for name, mode, a, b, *_ in self.nodes)]

    def meaning(self) -> str:
        return "a /dev with these devices and no other: " + ", ".join(name for name, *_ in self.nodes)


@record
class GroupViews(InsideOperation):
    """Mount a small file system at a place in the root, with a tree attached in each of its directories.

    Nobody but us has been in there: a name is a name, and there is no link to be led astray by.
    """

    target: str
    views: tuple[tuple[str, str], ...]  # (tree, directory)
    attributes: int
    says: str

    def execute(self, scene: Inside) -> None:
        read_only = self.attributes & mount.MOUNT_ATTR_RDONLY
        options: dict[str, str | None] = {"source": "tmpfs", "mode": "0755", "size": "64k"}
        made = mount.new_filesystem("tmpfs", options, self.attributes & ~read_only)
        with files.Fd(made), files.Fd(paths.make_directory(scene.root, self.target)) as place:
            paths.apart(place.number, scene.root, self.target)
            mount.move_mount(made, place.number)
            for name, directory in self.views:
                with files.Fd(scene.trees.pop(name)) as tree:
                    os.mkdir(directory, 0o755, dir_fd=made)
                    mount.move_mount(tree.number, made, directory)
            if read_only:
                mount.mount_setattr(made, set_=read_only)

    def calls(self) -> list[str]:
        inner = ", ".join(["mode=0755", "size=64k", *attribute_names(self.attributes)])
        first = [f'fsopen("tmpfs") … fsmount({inner})', f'move_mount(fd, root, "{self.target}")']
        return [*first, *(f'move_mount(fd, root, "{self.target}/{directory}")' for _, directory in self.views)]

    def meaning(self) -> str:
        return self.says


def _user_namespace(uids: Map, gids: Map) -> int:
    """A descriptor of a user namespace with these maps, in which nobody is."""
    read, write = os.pipe2(os.O_CLOEXEC)
    pid, pidfd = process.clone3(process.CLONE_NEWUSER)
    if pid == 0:
        os.close(write)
        os.read(read, 1)  # until it has been looked at, or who looks has ended
        os._exit(0)
    try:
        os.close(read)
        namespaces.write_id_map(pid, "uid", uids)
        namespaces.write_id_map(pid, "gid", gids)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(write)
        process.wait_pidfd(pidfd)
        os.close(pidfd)


def attribute_names(mask: int) -> list[str]:
    """MOUNT_ATTR_* names in a mask."""
    table = (("RDONLY", 1), ("NOSUID", 2), ("NODEV", 4), ("NOEXEC", 8), ("NOSYMFOLLOW", 0x200000))
    return [f"MOUNT_ATTR_{name}" for name, bit in table if mask & bit]
