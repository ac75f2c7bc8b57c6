"""Copies of the host's mounts, taken by descriptor: by the stage where it may, else by the new process."""

from __future__ import annotations

import os

from cloche.linux import files, mount
from cloche.records import record
from cloche.stage import paths
from cloche.stage.operation import INSIDE, OUTSIDE, InsideOperation, Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.stage.scene import Inside, Outside


@record
class OpenTree(Operation):
    """Take a copy of a mount of the host, not attached anywhere yet."""

    name: str
    source: str
    by_stage: bool  # the stage may do it; else the new process, in its own copy of the tree
    recursive: bool = False
    attributes: int = 0  # MOUNT_ATTR_* to set
    clear: int = 0  # MOUNT_ATTR_* to clear
    id_mapped: bool = False
    device: tuple[int, int] | None = None  # it must be this character device
    propagation: int = 0

    @property
    def side(self) -> str:  # type: ignore[override]
        """Who takes the copy."""
        return OUTSIDE if self.by_stage else INSIDE

    def execute(self, scene: Outside | Inside) -> None:
        with files.Fd(os.open(self.source, os.O_PATH | os.O_CLOEXEC)) as found:
            if self.device is not None:
                rdev = os.fstat(found.number).st_rdev
                if (os.major(rdev), os.minor(rdev)) != self.device:
                    raise OSError(19, "is not the device it should be", self.source)
            tree = mount.open_tree(found.number, b"", recursive=self.recursive)
        if self.attributes or self.clear or self.propagation:
            mount.mount_setattr(
                tree,
                set_=self.attributes,
                clear=self.clear,
                propagation=self.propagation,
                recursive=self.recursive,
            )
        if self.id_mapped:
            self._map_ids(tree, scene)
        scene.trees[self.name] = tree

    def _map_ids(self, tree: int, scene: Outside | Inside) -> None:
        namespace = scene.user_namespace()
        for recursive in (True, False) if self.recursive else (False,):
            try:
                mount.mount_setattr(tree, set_=mount.MOUNT_ATTR_IDMAP, userns=namespace, recursive=recursive)
            except OSError as error:
                if error.errno not in {22, 1, 95}:
                    raise
            else:
                return
        text = "its file system cannot map ids: files belong to nobody inside"
        scene.notes.append((f"ownership of {self.source}", text))

    def calls(self) -> list[str]:
        flags = "OPEN_TREE_CLONE|AT_RECURSIVE" if self.recursive else "OPEN_TREE_CLONE"
        lines = [f'open_tree(AT_FDCWD, "{self.source}", {flags})']
        attributes = attribute_names(self.attributes)
        if self.id_mapped:
            attributes = [*attributes, "MOUNT_ATTR_IDMAP"]
        if attributes:
            lines.append(f"mount_setattr(fd, {{attr_set={'|'.join(attributes)}}})")
        return lines

    def meaning(self) -> str:
        how = "can only be read" if self.attributes & mount.MOUNT_ATTR_RDONLY else "is taken along"
        mapped = ", its owners shown as the users inside" if self.id_mapped else ""
        return f"{self.source} {how}{mapped}"

    def hint(self, code: int) -> str:
        if code == 22 and not self.recursive:
            return f"{self.source} holds other mounts, which cannot be left out without root"
        if code == 2:
            return f"{self.source} is not there"
        return ""


@record
class MakeDevices(Operation):
    """Make device nodes that belong to the container's root, on a file system of the stage's.

    Nodes on a file system of the container's own user namespace could not be opened, and the host's own
    nodes belong to users that do not exist inside.
    """

    side = OUTSIDE
    name: str
    nodes: tuple[tuple[str, int, int, int], ...]  # (name, mode with type, major, minor)
    uid: int
    gid: int

    def execute(self, scene: Outside | Inside) -> None:
        attributes = mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NOEXEC
        options: dict[str, str | None] = {"source": "devices", "mode": "0755", "size": "64k"}
        made = mount.new_filesystem("tmpfs", options, attributes)
        scene.trees[self.name] = made
        for name, mode, major, minor in self.nodes:
            os.mknod(name, mode, os.makedev(major, minor), dir_fd=made)
            os.chmod(name, mode & 0o777, dir_fd=made)
            os.chown(name, self.uid, self.gid, dir_fd=made)

    def calls(self) -> list[str]:
        return [f'mknodat(fd, "{name}", {mode:#o}, {major}:{minor})' for name, mode, major, minor in self.nodes]

    def meaning(self) -> str:
        return "devices asked for: " + ", ".join(name for name, *_ in self.nodes)


@record
class AttachDevices(InsideOperation):
    """Bind the nodes of `MakeDevices` to their places."""

    name: str
    targets: tuple[tuple[str, str], ...]  # (node, path)

    def execute(self, scene: Inside) -> None:
        with files.Fd(scene.trees.pop(self.name)) as made:
            mount.move_mount(made.number, scene.scratch, "d")
            for node, path in self.targets:
                with (
                    files.Fd(mount.open_tree(made.number, node)) as tree,
                    files.Fd(paths.make_file(scene.root, path)) as place,
                ):
                    mount.move_mount(tree.number, place.number)

    def calls(self) -> list[str]:
        return [f'move_mount("{node}", root, "{path}")' for node, path in self.targets]

    def meaning(self) -> str:
        return "the command may use " + ", ".join(path for _, path in self.targets)


def attribute_names(mask: int) -> list[str]:
    """MOUNT_ATTR_* names in a mask."""
    table = (("RDONLY", 1), ("NOSUID", 2), ("NODEV", 4), ("NOEXEC", 8), ("NOSYMFOLLOW", 0x200000))
    return [f"MOUNT_ATTR_{name}" for name, bit in table if mask & bit]
