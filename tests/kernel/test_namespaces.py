"""cloche.linux.namespaces: entering by descriptor and pidfd, ids, names, clocks, owners and parents."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cloche.linux import capabilities, namespaces, process
from cloche.linux.files import Fd

from .forked import clone, ended, enter_namespaces, fails, in_child

CURRENT = "/proc/self/ns/"


@contextmanager
def waiting_child(flags: int) -> Iterator[tuple[int, int]]:
    """A child in new namespaces that lives as long as the block; yields (pid, pidfd)."""
    hold, release = os.pipe()
    pid, pidfd = clone(flags, lambda: len(os.read(hold, 1)))
    yield pid, pidfd
    os.write(release, b".")
    assert ended(pidfd) == (process.CLD_EXITED, 1)


def open_ns(pid: int | str, name: str) -> Fd:
    return Fd(os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC))


def test_names_are_those_in_proc() -> None:
    assert set(namespaces.NAMES) <= set(os.listdir(CURRENT))
    for name, flag in namespaces.NAMES.items():
        with open_ns("self", name) as fd:
            assert namespaces.namespace_type(fd.number) == flag


def test_ids_inside_and_outside() -> None:
    in_child(enter_namespaces)  # or skip
    uid, gid = os.geteuid(), os.getegid()

    def child() -> list[tuple[int, int]]:
        namespaces.unshare(process.CLONE_NEWUSER)
        before = os.getuid(), os.getgid()
        namespaces.deny_setgroups(0)
        namespaces.write_id_map(0, "uid", [(1000, uid, 1)])
        namespaces.write_id_map(0, "gid", [(1001, gid, 1)])
        return [before, (os.getuid(), os.getgid())]

    assert in_child(child) == [(65534, 65534), (1000, 1001)]


def test_an_id_map_is_written_once_and_only_as_allowed() -> None:
    in_child(enter_namespaces)  # or skip
    gid = os.getegid()

    def child() -> None:
        namespaces.unshare(process.CLONE_NEWUSER)
        with fails(errno.EPERM, "write(2)"):  # setgroups is still allowed
            namespaces.write_id_map(0, "gid", [(0, gid, 1)])
        with fails(errno.EINVAL, "write(2)"):
            namespaces.write_id_map(0, "uid", [(0, 0, 0)])
        with fails(errno.EPERM, "write(2)"):  # a range, from inside
            namespaces.write_id_map(0, "uid", [(0, 0, 2)])
        namespaces.deny_setgroups(0)
        namespaces.write_id_map(0, "gid", [(0, gid, 1)])
        with fails(errno.EPERM, "write(2)"):
            namespaces.write_id_map(0, "gid", [(0, gid, 1)])
        with pytest.raises(PermissionError):
            os.setgroups([])

    in_child(child)


def test_names_of_the_host_stay_outside() -> None:
    outside = os.uname().nodename

    def child() -> tuple[str, str]:
        enter_namespaces(process.CLONE_NEWUTS)
        namespaces.sethostname("glass")
        namespaces.setdomainname("bell")
        with fails(errno.EINVAL, "sethostname(2)"):
            namespaces.sethostname("x" * 65)
        with fails(errno.EINVAL, "setdomainname(2)"):
            namespaces.setdomainname("x" * 65)
        with open("/proc/sys/kernel/domainname") as file:
            return os.uname().nodename, file.read().strip()

    assert in_child(child) == ("glass", "bell")
    assert os.uname().nodename == outside


@pytest.mark.parametrize("door", ["namespace", "pidfd"])
def test_setns_enters(door: str) -> None:
    def child() -> str:
        enter_namespaces(process.CLONE_NEWUTS)
        namespaces.sethostname("first")
        with waiting_child(process.CLONE_NEWUTS) as (pid, pidfd):
            namespaces.sethostname("changed-after")
            if door == "pidfd":
                namespaces.setns(pidfd, process.CLONE_NEWUTS)
            else:
                with open_ns(pid, "uts") as fd:
                    namespaces.setns(fd.number, process.CLONE_NEWUTS)
            return os.uname().nodename

    assert in_child(child) == "first"


def test_setns_refuses() -> None:
    def child() -> None:
        with open_ns("self", "uts") as fd, fails(errno.EINVAL, "setns(2)"):
            namespaces.setns(fd.number, process.CLONE_NEWNET)  # of another kind
        with fails(errno.EBADF, "setns(2)"):
            namespaces.setns(-1)
        with open_ns("self", "user") as fd, fails(errno.EINVAL, "setns(2)"):
            namespaces.setns(fd.number)  # the one we are in

    in_child(child)


def test_unshare_refuses() -> None:
    with fails(errno.EINVAL, "unshare(2)"):
        namespaces.unshare(0x1)

    def child() -> None:
        enter_namespaces()
        capabilities.set_(0, 0, 0)
        with fails(errno.EPERM, "unshare(2)"):
            namespaces.unshare(process.CLONE_NEWUTS)

    in_child(child)


def test_only_children_enter_a_pid_namespace() -> None:
    def child() -> tuple[bool, int]:
        before = os.getpid()
        enter_namespaces(process.CLONE_NEWPID)
        return os.getpid() == before, in_child(os.getpid)

    assert in_child(child) == (True, 1)


def test_owner_and_parent() -> None:
    in_child(enter_namespaces)  # or skip
    uid = os.geteuid()

    def child() -> dict[str, object]:
        with waiting_child(process.CLONE_NEWUSER | process.CLONE_NEWNET) as (pid, _):
            return relations(open_ns(pid, "net").number, open_ns(pid, "user").number)

    def relations(net: int, user: int) -> dict[str, object]:
        owner, parent, ours = namespaces.owner(net), namespaces.parent(user), open_ns("self", "user").number
        with fails(errno.EINVAL, "NS_GET_PARENT"):
            namespaces.parent(net)
        with fails(errno.EINVAL, "NS_GET_OWNER_UID"):
            namespaces.owner_uid(net)
        return {
            "owner": os.path.sameopenfile(owner, user),
            "parent": os.path.sameopenfile(parent, ours),
            "uid": namespaces.owner_uid(user),
            "inheritable": os.get_inheritable(owner) or os.get_inheritable(parent),
        }

    assert in_child(child) == {"owner": True, "parent": True, "uid": uid, "inheritable": False}


def test_what_is_out_of_sight_or_no_namespace() -> None:
    def child() -> None:
        enter_namespaces()
        with open_ns("self", "user") as user, fails(errno.EPERM, "NS_GET_PARENT"):
            namespaces.parent(user.number)
        with open_ns("self", "net") as net, fails(errno.EPERM, "NS_GET_USERNS"):
            namespaces.owner(net.number)

    in_child(child)
    with Fd(os.open("/proc/self", os.O_RDONLY)) as proc, fails(errno.ENOTTY, "ioctl(2) NS_GET_NSTYPE"):
        namespaces.namespace_type(proc.number)


def clocks() -> tuple[int, int]:
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC), time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@pytest.mark.parametrize(
    ("monotonic", "boottime"),
    [(3600 * 10**9 + 250_000_000, 7200 * 10**9), (None, 5 * 10**9), (10**9, None), (-1_500_000_000, -(10**9))],
)
def test_time_offsets_move_the_clocks_of_children(monotonic: int | None, boottime: int | None) -> None:
    def child() -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
        enter_namespaces(process.CLONE_NEWTIME)
        namespaces.set_time_offsets(monotonic, boottime)
        before = clocks()
        inside = in_child(clocks)
        with fails(errno.EACCES, "write(2)"):  # a process has entered, it is too late
            namespaces.set_time_offsets(0, 0)
        return before, inside, clocks()

    before, inside, after = in_child(child)
    for start, seen, end, offset in zip(before, inside, after, (monotonic or 0, boottime or 0), strict=True):
        assert start <= seen - offset <= end


def test_time_offsets_need_privilege() -> None:
    with pytest.raises(OSError, match="timens_offsets"):
        namespaces.set_time_offsets(10**18 * 10**9, 0)  # out of range, or not ours to set
    namespaces.set_time_offsets(None, None)  # nothing to write
