"""Copies of the host's mounts, taken by descriptor: by the stage where it may, else by the new process."""

from __future__ import annotations

import os

from cloche.linux import files, mount
from cloche.records import record
from cloche.stage.operation import INSIDE, OUTSIDE, Operation, OutsideOperation

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
        # a copy of a shared mount, which on most machines all are, would pass mounts on in both directions
        mount.mount_setattr(
            tree,
            set_=self.attributes,
            clear=self.clear,
            propagation=self.propagation or mount.MS_PRIVATE,
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
class MakeDev(OutsideOperation):
    """Make /dev on a file system of the stage's: nodes that belong to the container's root.

    Nodes on a file system of the container's own user namespace could not be opened, and the host's own
    nodes belong to users that do not exist inside.
    """

    name: str
    nodes: tuple[tuple[str, int, int, int], ...]  # (path below /dev, mode with type, major, minor)
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
        for name, mode, major, minor in self.nodes:
            os.mknod(name, mode, os.makedev(major, minor), dir_fd=made)
            os.chown(name, *owner, dir_fd=made)
        os.umask(mask)
        for name, target in self.links:
            os.symlink(target, name, dir_fd=made)
            os.chown(name, *owner, dir_fd=made, follow_symlinks=False)

    def calls(self) -> list[str]:
        first = f'fsopen("tmpfs") … fsmount({", ".join(attribute_names(self.attributes))})'
        return [first, *(f'mknodat(dev, "{name}", {mode:#o}, {a}:{b})' for name, mode, a, b in self.nodes)]

    def meaning(self) -> str:
        return "a /dev with these devices and no other: " + ", ".join(name for name, *_ in self.nodes)


def attribute_names(mask: int) -> list[str]:
    """MOUNT_ATTR_* names in a mask."""
    table = (("RDONLY", 1), ("NOSUID", 2), ("NODEV", 4), ("NOEXEC", 8), ("NOSYMFOLLOW", 0x200000))
    return [f"MOUNT_ATTR_{name}" for name, bit in table if mask & bit]
