"""Containers whose stage was killed: they go on, and their end is seen by a pidfd.

our own stage's      our children from then on (PR_SET_CHILD_SUBREAPER): waitid(2) says how they end
another's            init's: on Linux 6.15 the pidfd itself says it once init has waited for them, before that nobody
"""

from __future__ import annotations

import os
import time

from cloche.engine.records import parse_start
from cloche.linux import process
from cloche.linux.reading import boot_id
from cloche.runtime.idmaps import Lease
from cloche.stage import early
from cloche.stage.cleaning import end_groups, pids_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cloche.engine.supervisor.loop import Loop

    Ended = dict[str, Any]

TRIES, SHORTLY = 40, 0.05  # how often it is asked for an end that was not reaped yet, every so many seconds


def find(state: dict[str, Any]) -> int:
    """A pidfd of the very process that a state names; -1 where it has ended. Raises OSError where nobody can say."""
    if not runs(state):
        return -1
    try:
        pidfd = process.pidfd_open(state["pid"])
    except ProcessLookupError:
        return -1
    try:
        if runs(state):
            return pidfd
    except OSError:
        os.close(pidfd)
        raise
    os.close(pidfd)  # the number is somebody else's by now
    return -1


def runs(state: dict[str, Any]) -> bool:
    """Whether the very process that a state names is there. Raises OSError where it cannot be looked for.

    What is merely not seen, as there is no descriptor left to look, is not to be taken for an end.
    """
    pid = int(state["pid"])
    return pid > 0 and state["boot"] == boot_id() and started(pid) == int(state["start"])


def started(pid: int) -> int | None:
    """When a process started, as `records.start_time` has it. Raises OSError where it cannot be looked for."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            return parse_start(file.read(4096))
    except (FileNotFoundError, ProcessLookupError):
        return None


def first_in(groups: tuple[str, ...]) -> int:
    """The oldest process in control groups, 0 for none."""
    found = {pid: start for pid in pids_of(groups) if (start := started(pid)) is not None}
    return min(found, key=lambda pid: (found[pid], pid), default=0)


def never_ran(state: dict[str, Any]) -> bool:
    """Wait until one without a stage has become its command, or has ended with that; whether it is the latter.

    Until somebody has told it to go on, it dies with its stage: at once, but not before we can look.
    """
    for _ in range(TRIES):
        if not early.is_setting_up(state["pid"]):
            return False
        time.sleep(SHORTLY)
        if not runs(state):
            return True
    return False


def watch(loop: Loop, pidfd: int, state: dict[str, Any], ranges: str, ended: Callable[[Ended | None], None]) -> None:
    """Call `ended` with a report like a stage's when all of a container has ended, with None where nobody can say how.

    Until then its range of ids is held, one of those in the directory `ranges`. Closes the pidfd.
    """
    lease = Lease(ranges)
    lease.take_again(state["entry"].get("range"))

    def over(report: Ended | None) -> None:
        end_groups(groups_of(state))
        lease.close()
        ended(report)

    loop.watch(pidfd, lambda _events: _look(loop, pidfd, over, TRIES))


def groups_of(state: dict[str, Any]) -> tuple[str, ...]:
    """The directories of its control groups."""
    return tuple(str(group) for group in state["entry"].get("groups", ()))


def _look(loop: Loop, pidfd: int, ended: Callable[[Ended | None], None], tries: int) -> None:
    loop.forget(pidfd)
    status: int | None = None
    try:
        found = process.wait_pidfd(pidfd)
        status = None if found is None else _wait_status(found)
    except ChildProcessError:
        try:
            status = process.exit_status(pidfd)
            if status is None and tries:
                loop.after(SHORTLY, lambda: _look(loop, pidfd, ended, tries - 1))
                return
        except OSError:
            pass  # before Linux 6.15
    os.close(pidfd)
    ended(None if status is None else _report(status))


def _report(status: int) -> Ended:
    killed = status & 0x7F
    code = process.CLD_KILLED if killed else process.CLD_EXITED
    return {"timed_out": False, "code": code, "status": killed or status >> 8, "counters": {}, "refused": {}}


def _wait_status(found: process.Exit) -> int:
    """As wait(2) has it."""
    return found.status << 8 if found.code == process.CLD_EXITED else found.status
