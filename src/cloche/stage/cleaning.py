"""Ending and removing cgroups: used by the stage, and by the caller when the stage was killed."""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.stage.operation import Plan


def kill_groups(groups: tuple[str, ...]) -> None:
    """SIGKILL everything in these groups: cgroup.kill (v2, Linux 5.14) or process by process (v1)."""
    for group in groups:
        try:
            fd = os.open(f"{group}/cgroup.kill", os.O_WRONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            _kill_each(group)
            continue
        except OSError:
            continue  # not ours to end
        try:
            os.write(fd, b"1")
        finally:
            os.close(fd)


def _kill_each(group: str) -> None:
    for _ in range(100):
        try:
            with open(f"{group}/cgroup.procs", "rb") as procs:  # as bytes: a stage can load no codec any more
                pids = [int(line) for line in procs]
        except OSError:
            return
        if not pids:
            return
        for pid in pids:
            try:
                os.kill(pid, 9)
            except (ProcessLookupError, PermissionError):
                pass
        time.sleep(0.001)


def pin_mounts(plan: Plan, pid: int) -> int:
    """A descriptor of process `pid`'s mount namespace, where that is all that tells its children from others.

    -1 for containers that end with their pid namespace or group, and for what was run in another's mounts.
    The descriptor keeps the namespace's number from being used again.
    """
    own_mounts = any("mnt" in getattr(op, "kinds", ()) for op in plan.operations if type(op).__name__ == "Clone")
    if plan.own_pids or plan.groups or not own_mounts:
        return -1
    try:
        return os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1  # it has ended already


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


def remove_groups(groups: tuple[str, ...]) -> list[str]:
    """Remove the directories, innermost last to first; waits up to 2 s for the last process to go.

    Returns those that could not be removed.
    """
    left = []
    for group in reversed(groups):
        for attempt in range(200):
            try:
                os.rmdir(group)
            except FileNotFoundError:
                break
            except OSError as error:
                if error.errno != 16 or attempt == 199:
                    left.append(group)
                    break
                time.sleep(0.0005 if attempt < 20 else 0.01)
            else:
                break
    return left
