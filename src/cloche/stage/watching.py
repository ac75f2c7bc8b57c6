"""Containers that have neither a group nor a pid namespace of their own: told from others by their mounts.

    stage ── fork ──▶ watcher: waits for the stage's end, then kills what is in the mount namespace
      └─ at the container's end: kills what is in it, and the watcher

An ordinary user without a cgroup who shares a pid namespace gets such a container. The stage ends it, the
caller does when the stage is killed, and the watcher when both are.
"""

from __future__ import annotations

import os
import select
import time

from cloche.linux import files, process

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


def watch(mounts: int) -> int:
    """A process that ends what is in this mount namespace when its parent has ended; returns its pid."""
    with files.Fd(process.pidfd_open(os.getpid())) as parent:
        pid = os.fork()
        if pid == 0:
            _wait_and_kill(parent.number, mounts)
    return pid


def _wait_and_kill(parent: int, mounts: int) -> None:
    """The watcher's own side; never returns."""
    try:
        process.set_name("cloche watcher")
        os.dup2(parent, 0)
        os.dup2(mounts, 1)
        process.close_range(2)
        poll = select.poll()
        poll.register(0, select.POLLIN)
        poll.poll()
        kill_sharing(1)
    finally:
        os._exit(0)


def end_watcher(pid: int) -> None:
    """It is not needed any longer: kill it and collect it."""
    os.kill(pid, 9)
    os.waitpid(pid, 0)


def kill_sharing(mounts: int) -> None:
    """SIGKILL everything in the mount namespace that `pin_mounts` returned, and close it."""
    if mounts < 0:
        return
    wanted = os.fstat(mounts).st_ino
    for _ in range(100):
        found = [pid for pid in os.listdir("/proc") if pid.isdecimal() and _kill_if_in(int(pid), wanted)]
        if not found:
            break
        time.sleep(0.001)
    os.close(mounts)


def _kill_if_in(pid: int, wanted: int) -> bool:
    try:
        if os.stat(f"/proc/{pid}/ns/mnt").st_ino != wanted:
            return False
        os.kill(pid, 9)
    except OSError:
        return False  # it has ended, or is somebody else's
    return True
