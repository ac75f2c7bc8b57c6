"""The mount API on file descriptors (Linux 5.2 and 5.12), pivot_root and umount2.

Read-only bind mounts made by the flags of mount(2) silently come out read-write, so it is here for
new file systems alone, whose options are too long for the others: a tree is cloned (`open_tree`) or a
file system created (`fsopen` … `fsmount`), given its attributes while nobody can reach it
(`mount_setattr`), and only then attached (`move_mount`), to a descriptor that was resolved safely.

    fsopen ─ fsconfig… ─ fsmount ─┐
                                  ├─ mount_setattr ─ move_mount ─▶ in the tree
    open_tree(CLONE) ─────────────┘
"""

from __future__ import annotations

import posix as os

from cloche.linux import kernel
from cloche.linux.files import AT_EMPTY_PATH, AT_FDCWD, AT_RECURSIVE

# linux/mount.h
OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_SET_FD = 5
FSCONFIG_CMD_CREATE = 6
MOVE_MOUNT_F_EMPTY_PATH = 0x04
MOVE_MOUNT_T_EMPTY_PATH = 0x40
MOUNT_ATTR_RDONLY = 0x01
MOUNT_ATTR_NOSUID = 0x02
MOUNT_ATTR_NODEV = 0x04
MOUNT_ATTR_NOEXEC = 0x08
MOUNT_ATTR_ATIME = 0x70  # the field of which one value is set; cleared whenever it is changed
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_IDMAP = 0x100000
MOUNT_ATTR_NOSYMFOLLOW = 0x200000
MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED = 1 << 17, 1 << 18, 1 << 19, 1 << 20
MS_NODEV = 4  # linux/mount.h, of mount(2)
MNT_FORCE, MNT_DETACH, MNT_EXPIRE, UMOUNT_NOFOLLOW = 1, 2, 4, 8


def open_tree(dirfd: int, path: str | bytes, *, clone: bool = True, recursive: bool = False) -> int:
    """open_tree(2), Linux 5.2: a descriptor for a copy of the mount at `path`, attached nowhere.

    With an empty `path` the copy is of what `dirfd` refers to. `recursive` takes the mounts below
    along. Without `clone` it is a plain O_PATH descriptor.
    """
    flags = OPEN_TREE_CLOEXEC | (OPEN_TREE_CLONE if clone else 0)
    flags |= (AT_RECURSIVE if recursive else 0) | (0 if path else AT_EMPTY_PATH)
    return kernel.call("open_tree", 428, dirfd, kernel.path_bytes(path), flags)


def move_mount(mount: int, dirfd: int, path: str | bytes = b"") -> None:
    """move_mount(2), Linux 5.2: attach `mount` at `path` under `dirfd`, or onto `dirfd` itself."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | (0 if path else MOVE_MOUNT_T_EMPTY_PATH)
    kernel.call("move_mount", 429, mount, b"\0", dirfd, kernel.path_bytes(path), flags)


def fsopen(filesystem: str) -> int:
    """fsopen(2), Linux 5.2: begin a new file system of a type; returns its context."""
    return kernel.call("fsopen", 430, kernel.path_bytes(filesystem), 1)


def fsconfig(context: int, key: str, value: str | None = None) -> None:
    """fsconfig(2), Linux 5.2: set one option; without `value` it is a flag (`ro`)."""
    if value is None:
        kernel.call("fsconfig", 431, context, FSCONFIG_SET_FLAG, kernel.path_bytes(key), 0, 0)
        return
    text = kernel.path_bytes(value)
    kernel.call("fsconfig", 431, context, FSCONFIG_SET_STRING, kernel.path_bytes(key), text, 0)


def fsconfig_create(context: int) -> None:
    """fsconfig(2) with FSCONFIG_CMD_CREATE: make the superblock from the options so far."""
    kernel.call("fsconfig", 431, context, FSCONFIG_CMD_CREATE, 0, 0, 0)


def fsmount(context: int, attributes: int = 0) -> int:
    """fsmount(2), Linux 5.2: turn a created context into a mount, attached nowhere."""
    return kernel.call("fsmount", 432, context, 1, attributes)


def new_filesystem(
    kind: str, options: dict[str, str | None] | list[tuple[str, str | None]], attributes: int = 0
) -> int:
    """fsopen, fsconfig for each option, create, fsmount: a new detached mount. A list may name an option repeatedly.

    Raises OSError whose last note is what the file system itself said, where it said something.
    """
    context = fsopen(kind)
    try:
        for key, value in options.items() if isinstance(options, dict) else options:
            fsconfig(context, key, value)
        fsconfig_create(context)
        return fsmount(context, attributes)
    except OSError as error:
        for line in context_messages(context):
            error.add_note(line)
        raise
    finally:
        os.close(context)


def context_messages(context: int) -> list[str]:
    """What the file system wrote to its context's log, without the level letter."""
    lines = []
    while True:
        try:
            lines.append(os.read(context, 1024).decode(errors="replace").strip()[2:])
        except OSError:  # ENODATA: read to the end
            return lines


def mount_setattr(
    mount: int,
    path: str | bytes = b"",
    *,
    set_: int = 0,
    clear: int = 0,
    propagation: int = 0,
    userns: int = 0,
    recursive: bool = False,
) -> None:
    """mount_setattr(2), Linux 5.12: change attributes, propagation or id map of a mount.

    `set_` and `clear` are MOUNT_ATTR_*, `propagation` one of MS_*; `userns` is the descriptor of
    a user namespace when MOUNT_ATTR_IDMAP is set.
    struct mount_attr { u64 attr_set, attr_clr, propagation, userns_fd; }
    """
    key = set_, clear, propagation, userns
    attr = _ATTRS.get(key)
    if attr is None:
        attr = b"".join(v.to_bytes(8, "little") for v in key)
        if not userns:
            _ATTRS[key] = attr
    flags = (AT_RECURSIVE if recursive else 0) | (0 if path else AT_EMPTY_PATH)
    target = kernel.path_bytes(path)
    kernel.call("mount_setattr", 442, mount, target, flags, attr, len(attr))


_ATTRS: dict[tuple[int, int, int, int], bytes] = {}  # the few structs that are ever asked for


def make_private(path: str = "/") -> None:
    """Stop events between this mount tree and the one it was copied from, all the way down."""
    mount_setattr(AT_FDCWD, path, propagation=MS_PRIVATE, recursive=True)


def mount_with_data(kind: str, target: str, flags: int, data: str) -> None:
    """mount(2) of a new file system at a path; `data` are its options, up to a page of them (fsconfig: 255 each)."""
    source = kernel.path_bytes(kind)
    words = kernel.path_bytes(target), source, flags, kernel.path_bytes(data)
    kernel.call("mount", kernel.number(165, 40), source, *words)


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2): make `new_root` the root; with "." twice the old one ends up on top."""
    nr = kernel.number(155, 41)
    kernel.call("pivot_root", nr, kernel.path_bytes(new_root), kernel.path_bytes(put_old))


def umount2(path: str | bytes, flags: int = 0) -> None:
    """umount2(2): unmount; `flags` MNT_DETACH (at once, busy or not), UMOUNT_NOFOLLOW."""
    kernel.call("umount2", kernel.number(166, 39), kernel.path_bytes(path), flags)
