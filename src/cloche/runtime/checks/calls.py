"""The kernel's version, and the system calls everything else is built of."""

from __future__ import annotations

import errno
import os

from cloche.linux import files, kernel, mount, process
from cloche.runtime.checks.attempt import attempt
from cloche.runtime.checks.finding import MISSING, OK, Finding, judge
from cloche.runtime.checks.making import in_new

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.runtime.checks.place import Place

FLOOR = (5, 14)


def kernel_version(place: Place) -> Finding:
    """The running kernel is at least the oldest one that cloche is made for."""
    del place
    major, minor = kernel.release()
    detail = f"uname(2): Linux {os.uname().release} on {kernel.MACHINE}; 5.14 is the oldest cloche works with"
    if (major, minor) >= FLOOR:
        return Finding("kernel", OK, detail, "new enough", needed=True)
    return Finding(
        "kernel",
        MISSING,
        detail,
        "containers may fail, or come out weaker than they claim, in ways nobody has looked at",
        "",
        True,
    )


def _clone() -> None:
    pid, pidfd = process.clone3(0)
    if pid == 0:
        os._exit(7)
    ended = process.wait_pidfd(pidfd)
    os.close(pidfd)
    if ended is None or ended.status != 7:
        raise OSError(errno.EPROTO, "the child did not come back as it should")


def clone3(place: Place) -> Finding:
    """clone3(2) makes a process, and its pidfd can be waited for."""
    outcome = attempt(_clone)
    bad = "no container can be started"
    if place.by_filter(outcome):
        bad += ": the container or service this runs in refuses the call by a seccomp filter"
    return judge(
        "clone3",
        outcome,
        "made a process and waited for its pidfd",
        good="containers are made in one step, and cannot be mistaken for another process",
        bad=bad,
        fix=place.fix(outcome),
        needed=True,
    )


def _signal_by_pidfd() -> None:
    pid = os.fork()
    if pid == 0:
        process.die_with_parent()
        while True:
            os.read(os.pipe()[0], 1)
    pidfd = process.pidfd_open(pid)
    process.pidfd_send_signal(pidfd, 9)
    os.close(pidfd)
    os.waitpid(pid, 0)


def pidfd(place: Place) -> Finding:
    """A process can be held by a descriptor, and ended by it."""
    outcome = attempt(_signal_by_pidfd)
    return judge(
        "pidfd",
        outcome,
        "opened a process by pidfd_open and ended it by pidfd_send_signal",
        good="a signal reaches the process that was meant and no other",
        bad="containers cannot be signalled or ended",
        fix=place.fix(outcome),
        needed=True,
    )


def _stay_beneath() -> None:
    with files.Fd(os.open("/", os.O_PATH | os.O_CLOEXEC)) as root:
        with files.Fd(files.open_in_root(root.number, "../proc/../..")) as found:
            same = os.path.samestat(os.fstat(found.number), os.fstat(root.number))
        if not same:
            raise OSError(errno.EPROTO, "a path led out of its root")


def openat2(place: Place) -> Finding:
    """openat2(2) keeps a path within a root."""
    outcome = attempt(_stay_beneath)
    return judge(
        "openat2",
        outcome,
        "opened a path full of `..` with RESOLVE_IN_ROOT",
        good="links in an image cannot lead to files of this machine",
        bad="no container can be started: its files could not be told from this machine's",
        fix=place.fix(outcome),
        needed=True,
    )


def _close_range() -> None:
    reading, writing = os.pipe()
    process.close_range(min(reading, writing), max(reading, writing), flags=process.CLOSE_RANGE_CLOEXEC)
    if os.get_inheritable(reading):
        raise OSError(errno.EPROTO, "a descriptor would be passed on")


def close_range(place: Place) -> Finding:
    """close_range(2) keeps descriptors from the command."""
    outcome = attempt(_close_range)
    return judge(
        "close_range",
        outcome,
        "marked descriptors as closed on exec",
        good="the command in a container gets no descriptor but its own three",
        bad="no container can be started: it could inherit open files of this machine",
        fix=place.fix(outcome),
        needed=True,
    )


def _read_only_mount() -> str:
    tree = mount.new_filesystem("tmpfs", {"mode": "0755", "size": "64k"})
    os.close(os.open("before", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=tree))
    mount.mount_setattr(tree, set_=mount.MOUNT_ATTR_RDONLY)
    try:
        os.open("after", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=tree)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        return "a file could be made before and not after"
    raise OSError(errno.EPROTO, "a read-only mount could be written")


def mount_api(place: Place) -> Finding:
    """fsopen, fsmount, mount_setattr: a file system in memory, made read-only."""
    flags = process.CLONE_NEWNS | place.flags
    outcome = attempt(lambda: in_new(flags, _read_only_mount))
    return judge(
        "mount_setattr",
        outcome,
        "made a file system in memory and then read-only, by descriptor",
        good="read-only in a container is read-only, all the way down",
        bad="no container can be started: its file systems cannot be put together",
        fix=(place.fix if place.privileged else place.fix_inside)(outcome),
        needed=True,
    )
