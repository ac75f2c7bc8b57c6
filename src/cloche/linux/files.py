"""Opening files so that a hostile tree cannot lead elsewhere, and memory files that can be sealed.

What does not belong here: ordinary reading and writing, which `os` does well, but for two that it does not know: the
files of proc take a value in one write or not at all, and others take as much of it as they like.
"""

from __future__ import annotations

import _stat as stat
import posix as os

from cloche.linux import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
AT_SYMLINK_NOFOLLOW = 0x100

# linux/openat2.h
RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10
_TRIES = 128

# fcntl.h and linux/fcntl.h
F_GETFL = 3
F_ADD_SEALS = 1033
F_GET_SEALS = 1034
F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE = 1, 2, 4, 8
MFD_CLOEXEC = 1
MFD_ALLOW_SEALING = 2
MFD_EXEC = 0x10

# linux/magic.h
PROC_SUPER_MAGIC = 0x9FA0
EXT4_SUPER_MAGIC = 0xEF53
XFS_SUPER_MAGIC = 0x58465342
PROC_ROOT_INO = 1  # linux/proc_fs.h
CGROUP_SUPER_MAGIC = 0x27E0EB
CGROUP2_SUPER_MAGIC = 0x63677270
OVERLAYFS_SUPER_MAGIC = 0x794C7630
TMPFS_MAGIC = 0x01021994
NSFS_MAGIC = 0x6E736673
DEVPTS_SUPER_MAGIC = 0x1CD1


# linux/fs.h
FS_IOC_GETFLAGS = 0x80086601
FS_IOC_SETFLAGS = 0x40086602
FS_IMMUTABLE_FL = 0x10


NULL_DEVICE = os.makedev(1, 3)  # Documentation/admin-guide/devices.txt


class Fd:
    """The owner of one file descriptor: closes it once, at the end of a `with` block or by close().

    >>> with Fd(os.open("/", os.O_PATH)) as fd:
    ...     os.fstat(fd.number)
    """

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def fileno(self) -> int:
        """The descriptor, for os functions and selectors."""
        return self.number

    def detach(self) -> int:
        """Give the descriptor away; this object no longer closes it."""
        number, self.number = self.number, -1
        return number

    def close(self) -> None:
        """Close the descriptor; closing twice is harmless."""
        if self.number >= 0:
            os.close(self.detach())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def openat2(dirfd: int, path: str | bytes, flags: int, *, mode: int = 0, resolve: int = 0) -> int:
    """openat2(2), Linux 5.6: open `path` under `dirfd` with rules for how it is resolved.

    `flags` are O_* (O_CLOEXEC is added), `mode` as for creation, `resolve` RESOLVE_*.
    struct open_how { u64 flags; u64 mode; u64 resolve; }
    """
    key = flags, mode, resolve
    how = _HOWS.get(key)
    if how is None:
        how = _HOWS[key] = b"".join(v.to_bytes(8, "little") for v in (flags | os.O_CLOEXEC, mode, resolve))
    try:
        return kernel.call("openat2", 437, dirfd, kernel.path_bytes(path), how, 24)
    except OSError as error:
        error.filename = path
        raise


_HOWS: dict[tuple[int, int, int], bytes] = {}  # the few structs that are ever asked for


def hold_standard_descriptors() -> None:
    """Open /dev/null in the place of each of 0, 1 and 2 that is closed, so that no file of ours takes it.

    What is passed on as stdin, stdout or stderr by its number would otherwise be that file.
    """
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)  # takes the lowest number that is free


def memfd_create(name: str, flags: int = MFD_CLOEXEC) -> int:
    """memfd_create(2), Linux 3.17: an anonymous file in memory; returns its descriptor."""
    nr = kernel.number(319, 279)
    return kernel.call("memfd_create", nr, kernel.path_bytes(name), flags)


def filesystem_type(fd: int) -> int:
    """fstatfs(2): the magic number of the file system that `fd` lives on (linux/magic.h)."""
    out = bytearray(120)
    kernel.call("fstatfs", kernel.number(138, 44), fd, kernel.buffer(out))
    return int.from_bytes(out[:8], "little")


def access_mode(fd: int) -> int:
    """fcntl(2) F_GETFL: O_RDONLY, O_WRONLY or O_RDWR, as `fd` was opened."""
    return kernel.call("fcntl", kernel.number(72, 25), fd, F_GETFL) & 3


def flags_of(fd: int) -> int:
    """ioctl_iflags(2) FS_IOC_GETFLAGS: the FS_*_FL of a file; ENOTTY where its file system has none."""
    out = bytearray(8)
    kernel.ioctl("FS_IOC_GETFLAGS", fd, FS_IOC_GETFLAGS, kernel.buffer(out))
    return int.from_bytes(out[:4], "little")


def set_flags(fd: int, flags: int) -> None:
    """ioctl_iflags(2) FS_IOC_SETFLAGS; FS_IMMUTABLE_FL needs CAP_LINUX_IMMUTABLE, either way."""
    kernel.ioctl("FS_IOC_SETFLAGS", fd, FS_IOC_SETFLAGS, flags.to_bytes(8, "little"))


def write_value(path: str, text: str) -> None:
    """Write `text` in one write(2), as files of proc, sysfs and cgroup want it.

    Raises OSError with the path in it and a note `write(2)`, or the one of open(2).
    """
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    except OSError as error:
        error.filename = path
        error.add_note("write(2)")
        raise
    finally:
        os.close(fd)


def write_all(fd: int, content: bytes | memoryview) -> None:
    """Write all of it, in as many write(2) as that takes."""
    left = memoryview(content)
    while left:
        left = left[os.write(fd, left) :]


def write_atomically(path: str, content: bytes) -> None:
    """Write a file so that whoever is killed meanwhile, there is the old content or the new.

    Not synchronised with the disk: no container outlives a crash of the kernel.
    """
    fd = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        write_all(fd, content)
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(fd)
    os.rename(f"{path}.new", path)


def mknodat(dirfd: int, name: str, mode: int, device: int = 0) -> None:
    """mknodat(2): make a node; `device` as os.makedev gives it (0 with S_IFCHR is a whiteout)."""
    os.mknod(name, mode, device, dir_fd=dirfd)


def is_whiteout(status: os.stat_result) -> bool:
    """Whether it is what hides a name of the layers below, as overlayfs has it: a character device 0:0."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def chown(fd: int, uid: int, gid: int) -> None:
    """fchownat(2) with AT_EMPTY_PATH, Linux 2.6.39: give away what `fd` stands for, an O_PATH descriptor too."""
    kernel.call("fchownat", kernel.number(260, 54), fd, b"\0", uid, gid, AT_EMPTY_PATH)


def syncfs(fd: int) -> None:
    """syncfs(2), Linux 2.6.39: write everything of the file system that `fd` is on to the disk."""
    kernel.call("syncfs", kernel.number(306, 267), fd)


def open_in_root(root: int, path: str | bytes, flags: int = os.O_PATH) -> int:
    """Open `path` as a process whose root directory is `root` would, magic links refused.

    The result can be outside `root` under no circumstances, whatever links the tree holds.
    """
    for _ in range(_TRIES):
        try:
            return openat2(root, path, flags, resolve=RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
        except BlockingIOError:  # EAGAIN: a rename or mount somewhere while it was at a ".."
            continue
    return openat2(root, path, flags, resolve=RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)


def only_conveys(fd: int) -> bool:
    """Whether a descriptor is a pipe or a socket, or leads nowhere: something passes through it, and that is all.

    Any other is a way to a file: whoever has it opens that anew by /proc/self/fd, for writing what was given for
    reading and from its beginning, where the file's mode lets him (proc_pid_fd(5)).
    """
    status = os.fstat(fd)
    return (
        stat.S_ISFIFO(status.st_mode)
        or stat.S_ISSOCK(status.st_mode)
        or (stat.S_ISCHR(status.st_mode) and status.st_rdev == NULL_DEVICE)
    )
