"""Named points at which a test can make things go wrong: CLOCHE_FAILPOINT=name:kill|errno|full|files|sleep.

A no-op unless the variable is set. The points are the names of the operations, and those that
callers of `reach` and `point` give. `kill` ends the process with SIGKILL, `errno` raises EIO,
`full` ENOSPC, `files` EMFILE, `sleep` waits. name@2 is the second time that a process comes to a `point`.
"""

from __future__ import annotations

import posix as os  # `os` itself costs a short command more than all the rest of it
import time

ERRORS = {"errno": 5, "full": 28, "files": 24}  # EIO, ENOSPC, EMFILE
ACTIONS = ("kill", *ERRORS, "sleep")
VARIABLE = b"CLOCHE_FAILPOINT"
_passed: dict[str, int] = {}


def from_environment(value: str) -> tuple[str, str] | None:
    """(point, action) of the variable's value, or None when it is empty or no such thing."""
    name, _, action = value.partition(":")
    return (name, action) if name and action in ACTIONS else None


def reach(failpoint: tuple[str, str] | None, name: str) -> None:
    """Pass the point `name`."""
    if failpoint is None or failpoint[0] != name:
        return
    if failpoint[1] == "kill":
        os.kill(os.getpid(), 9)
        os._exit(137)  # the init of a pid namespace cannot kill itself
    elif failpoint[1] in ERRORS:
        raise OSError(ERRORS[failpoint[1]], f"failpoint {name}")
    else:
        time.sleep(2)


def point(name: str) -> None:
    """Pass a point of a command of its own, which has the variable in its environment."""
    value = os.environ.get(VARIABLE)
    if value:
        _passed[name] = _passed.get(name, 0) + 1
        failpoint = from_environment(value.decode())
        reach(failpoint, name)
        reach(failpoint, f"{name}@{_passed[name]}")
