"""Named points at which a test can make things go wrong: CLOCHE_FAILPOINT=name:kill|errno|sleep.

A no-op unless the variable is set. The points are the names of the operations, and those that
callers of `reach` give. `kill` ends the process with SIGKILL, `errno` raises EIO, `sleep` waits.
"""

from __future__ import annotations

import posix as os  # `os` itself costs a short command more than all the rest of it
import time


def from_environment(value: str) -> tuple[str, str] | None:
    """(point, action) of the variable's value, or None when it is empty or no such thing."""
    name, _, action = value.partition(":")
    return (name, action) if name and action in {"kill", "errno", "sleep"} else None


def reach(failpoint: tuple[str, str] | None, name: str) -> None:
    """Pass the point `name`."""
    if failpoint is None or failpoint[0] != name:
        return
    if failpoint[1] == "kill":
        os.kill(os.getpid(), 9)
        os._exit(137)  # the init of a pid namespace cannot kill itself
    elif failpoint[1] == "errno":
        raise OSError(5, f"failpoint {name}")
    else:
        time.sleep(2)
