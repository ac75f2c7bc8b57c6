"""The end of containers whose stage and caller were both killed: a watcher, one for each stage.

    stage ── clone3(CLONE_FILES) ──▶ watcher: waits for the stage's end, then kills what its pidfds stand for

The order to die with the stage (PR_SET_PDEATHSIG) is not enough: a command may take it back, and every
change of user does. Where a container has neither a pid namespace nor a group of its own, as for an
ordinary user without a cgroup who shares the former, its mount namespace tells its processes from others.
"""

from __future__ import annotations

import posix as os
import select
import time

from cloche.linux import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.stage.operation import Plan


def wanted(plan: Plan) -> bool:
    """Whether its mount namespace is all that tells a container's processes from others."""
    own_mounts = any("mnt" in getattr(op, "kinds", ()) for op in plan.operations if type(op).__name__ == "Clone")
    return own_mounts and not plan.own_pids and not plan.groups


def pin_mounts(pid: int) -> int:
    """A descriptor of process `pid`'s mount namespace, or -1 where it may not be looked into (yet).

    The descriptor keeps the namespace's number from being used again.
    """
    try:
        return os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


class Watcher:
    """The stage's hold on its watcher, which is made when there is a first container to watch.

    It shares the stage's table of descriptors (CLONE_FILES), and so has nothing to be told: whatever pidfds and
    mount namespaces are in there when the stage has been killed are those of its containers.
    """

    def __init__(self) -> None:
        self.pidfd = -1

    def begin(self) -> None:
        """Have every container ended when the stage is killed."""
        if self.pidfd >= 0:
            return
        stage = process.pidfd_open(os.getpid())
        pid, self.pidfd = process.clone3(process.CLONE_FILES)
        if pid == 0:
            _watch(stage)

    def end(self) -> None:
        """The last container has ended: be rid of it."""
        if self.pidfd >= 0:
            process.pidfd_send_signal(self.pidfd, 9)
            process.wait_pidfd(self.pidfd)


def _watch(stage: int) -> None:
    """The watcher's own side; never returns."""
    try:
        process.set_name("cloche watcher")
        poll = select.poll()
        poll.register(stage, select.POLLIN)
        poll.poll()
        for fd in os.listdir("/proc/self/fd"):
            _end_what_it_stands_for(int(fd))
    finally:
        os._exit(0)


def _end_what_it_stands_for(fd: int) -> None:
    try:
        kind = os.readlink(f"/proc/self/fd/{fd}")
        if kind == "anon_inode:[pidfd]" and not _is_oneself(fd):
            process.pidfd_send_signal(fd, 9)
        elif kind.startswith("mnt:["):
            kill_sharing(fd)
    except OSError:
        pass  # it has ended by itself


def _is_oneself(pidfd: int) -> bool:
    """Whether a pidfd is that of this very process (proc_pid_fdinfo(5))."""
    with open(f"/proc/self/fdinfo/{pidfd}", "rb", buffering=0) as file:
        return b"\nPid:\t%d\n" % os.getpid() in file.read()


def kill_sharing(mounts: int) -> None:
    """SIGKILL everything in the mount namespace that `pin_mounts` returned, and close it."""
    if mounts < 0:
        return
    number = os.fstat(mounts).st_ino
    for _ in range(100):
        found = [pid for pid in os.listdir("/proc") if pid.isdecimal() and _kill_if_in(int(pid), number)]
        if not found:
            break
        time.sleep(0.001)
    os.close(mounts)


def _kill_if_in(pid: int, number: int) -> bool:
    try:
        if os.stat(f"/proc/{pid}/ns/mnt").st_ino != number:
            return False
        os.kill(pid, 9)
    except OSError:
        return False  # it has ended, or is somebody else's
    return True
