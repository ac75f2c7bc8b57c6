"""Ending and removing cgroups: used by the stage, and by the caller when the stage was killed."""

from __future__ import annotations

import os
import time


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
        except OSError:
            pass  # it is being removed
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
