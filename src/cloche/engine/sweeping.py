"""Groups whose program was killed together with its stage: the next command finds and removes them.

    cloche-<pid namespace>.<pid>.<start time>-<container>

The name of a container's group says which program it belongs to, so that nothing has to be written down
before the group is made. Where that process is gone, so is everything that could remove the group.
"""

from __future__ import annotations

import posix as os

from cloche.engine import records
from cloche.engine.records import start_time
from cloche.runtime.cgroups.sandbox import homes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cloche.runtime.host import Groups

PREFIX = "cloche-"
KEPT = f"{PREFIX}kept-"


def group_name(container_id: str) -> str:
    """What the groups of this process' container are called."""
    pid = os.getpid()
    return f"{PREFIX}{_pid_namespace()}.{pid}.{start_time(pid)}-{container_id[:24]}"


def kept_group_name(container_id: str) -> str:
    """What the groups of a container are called that stays: no process owns them, and so they are not swept."""
    return f"{KEPT}{container_id[:32]}"


def sweep(groups: Groups) -> None:
    """End and remove what programs that are gone have left in the usual places, and records of what has ended."""
    places = [place for place in homes(groups)[:2] if os.access(place, os.W_OK)]
    here = _pid_namespace()
    found = {name for place in places for name in os.listdir(place) if _abandoned(name, here)}
    if found:
        _remove(found, groups)
    if records.any_there():
        records.every()


def _remove(found: set[str], groups: Groups) -> None:
    # the program may have been in other groups than this one, and so its containers' elsewhere
    from cloche.stage.cleaning import end_groups

    end_groups(tuple(path for path in _below(groups.mounts.values()) if path.rpartition("/")[2] in found))


def _below(tops: Iterable[str]) -> Iterator[str]:
    """All directories below these, as far as they are there."""
    waiting = list(dict.fromkeys(tops))
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                found = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            continue  # it has just gone
        yield from found
        waiting += found


def _abandoned(name: str, here: int) -> bool:
    """Whether this is the name of a group of ours whose program, which must be in sight, has ended."""
    if not name.startswith(PREFIX) or name.startswith(KEPT):
        return False
    owner = name[len(PREFIX) :].partition("-")[0].split(".")
    if len(owner) != 3 or not all(part.isascii() and part.isdecimal() for part in owner):
        return False
    space, pid, start = (int(part) for part in owner)
    return space == here and start_time(pid) != start


def _pid_namespace() -> int:
    return os.stat("/proc/self/ns/pid").st_ino
