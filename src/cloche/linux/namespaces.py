"""Namespaces: leaving and entering them, their names, id maps, clocks, and who owns which.

A new user namespace is of no use until its id maps are written, from outside by a privileged
process or, for a single id, by the first process in it:

    unshare(CLONE_NEWUSER) ─ deny_setgroups ─ write_id_map("uid") ─ write_id_map("gid")

What does not belong here: creating a process in new namespaces (see `process.clone3`), and which
ids are mapped to which.
"""

from __future__ import annotations

from cloche.linux import files, kernel, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# the names in /proc/PID/ns and their flags of linux/sched.h
NAMES = {
    "user": process.CLONE_NEWUSER,
    "mnt": process.CLONE_NEWNS,
    "pid": process.CLONE_NEWPID,
    "net": process.CLONE_NEWNET,
    "ipc": process.CLONE_NEWIPC,
    "uts": process.CLONE_NEWUTS,
    "cgroup": process.CLONE_NEWCGROUP,
    "time": process.CLONE_NEWTIME,
}

# linux/nsfs.h
NS_GET_USERNS = 0xB701
NS_GET_PARENT = 0xB702
NS_GET_NSTYPE = 0xB703
NS_GET_OWNER_UID = 0xB704


def unshare(flags: int) -> None:
    """unshare(2): move the caller into new namespaces, CLONE_NEW*.

    Only children enter a new pid or time namespace. CLONE_NEWUSER in a threaded process is EINVAL.
    """
    kernel.call("unshare", kernel.number(272, 97), flags)


def setns(fd: int, flags: int = 0) -> None:
    """setns(2): enter the namespace `fd` stands for, or those of a pidfd's process (Linux 5.8).

    For a pidfd `flags` says which, as CLONE_NEW*; for a namespace 0 takes any kind.
    """
    kernel.call("setns", kernel.number(308, 268), fd, flags)


def sethostname(name: str) -> None:
    """sethostname(2): name the caller's UTS namespace, at most 64 bytes."""
    raw = name.encode()
    kernel.call("sethostname", kernel.number(170, 161), raw, len(raw))


def setdomainname(name: str) -> None:
    """setdomainname(2): give the caller's UTS namespace an NIS domain name, at most 64 bytes."""
    raw = name.encode()
    kernel.call("setdomainname", kernel.number(171, 162), raw, len(raw))


def namespace_type(fd: int) -> int:
    """ioctl_nsfs(2) NS_GET_NSTYPE, Linux 4.11: the CLONE_NEW* flag of the namespace `fd` stands for."""
    return kernel.ioctl("NS_GET_NSTYPE", fd, NS_GET_NSTYPE)


def owner(fd: int) -> int:
    """ioctl_nsfs(2) NS_GET_USERNS, Linux 4.9: a descriptor of the user namespace that owns this one.

    EPERM when that is outside the caller's user namespace.
    """
    return kernel.ioctl("NS_GET_USERNS", fd, NS_GET_USERNS)


def parent(fd: int) -> int:
    """ioctl_nsfs(2) NS_GET_PARENT, Linux 4.9: a descriptor of a user or pid namespace's parent.

    EPERM when there is none, or it is outside the caller's; EINVAL for the other kinds.
    """
    return kernel.ioctl("NS_GET_PARENT", fd, NS_GET_PARENT)


def owner_uid(fd: int) -> int:
    """ioctl_nsfs(2) NS_GET_OWNER_UID, Linux 4.11: who made this user namespace, as the caller sees it."""
    out = bytearray(4)
    kernel.ioctl("NS_GET_OWNER_UID", fd, NS_GET_OWNER_UID, kernel.buffer(out))
    return int.from_bytes(out, "little")


def write_id_map(pid: int, kind: str, ranges: Iterable[tuple[int, int, int]]) -> None:
    """user_namespaces(7): write uid_map or gid_map (`kind` "uid" or "gid") of process `pid`, once.

    `ranges` are (id inside, id outside, count), at most 340; `pid` 0 is the caller.
    """
    text = "".join(f"{inside} {outside} {count}\n" for inside, outside, count in ranges)
    files.write_value(f"/proc/{pid or 'self'}/{kind}_map", text)


def deny_setgroups(pid: int) -> None:
    """user_namespaces(7), Linux 3.19: forbid setgroups in a user namespace, for good.

    Without privilege outside, the kernel asks for this before the gid map. `pid` 0 is the caller.
    """
    files.write_value(f"/proc/{pid or 'self'}/setgroups", "deny")


def set_time_offsets(monotonic_ns: int | None, boottime_ns: int | None) -> None:
    """time_namespaces(7), Linux 5.6: set the clocks of the time namespace the children will be in.

    Offsets are nanoseconds, negative too, None leaves a clock alone. To be called after
    unshare(CLONE_NEWTIME) and before the first process enters; EACCES once one has.
    """
    clocks = (("monotonic", monotonic_ns), ("boottime", boottime_ns))
    # seconds may be negative, the nanoseconds beside them may not: divmod rounds as the kernel wants
    lines = ["{} {} {}\n".format(name, *divmod(ns, 10**9)) for name, ns in clocks if ns is not None]
    if lines:
        files.write_value("/proc/self/timens_offsets", "".join(lines))
