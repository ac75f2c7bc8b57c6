"""Ending and removing cgroups: used by the stage, and by the caller when the stage was killed.

A group counts with all below it, which the container may have made itself. On v2 the kernel ends a group as a
whole (cgroup.kill, Linux 5.14); on v1 its processes are stopped first where there is a freezer, so that none
gets away by forking, and ended one by one.
"""

from __future__ import annotations

import posix as os  # `os` itself costs as much as all the rest of `delete`
import time

from cloche.linux.reading import read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

KILL = 9
EBUSY = 16
LONG = 3800  # a path with room for one more name and a file's (PATH_MAX 4096, NAME_MAX 255)


def pids_of(groups: tuple[str, ...], *, recursive: bool = True) -> list[int]:
    """The processes in these groups, and by default in those below, each once; none in a group that is gone."""
    found: dict[int, None] = {}

    def look(place: str) -> None:
        found.update(dict.fromkeys(int(line) for line in read(f"{place}/cgroup.procs").split()))

    for group in groups:
        if recursive:
            _at_each(group, look)
        else:
            look(group)
    found.pop(0, None)  # one that has no number in our pid namespace
    return list(found)


def _at_each(group: str, work: Callable[[str], None]) -> None:
    """Do something to a group and all below it, each after the one above, however deep they are."""
    for place in with_nested(group):
        if len(place) > LONG:
            _from_there(place, lambda there: _at_each(there, work))
        else:
            work(place)


def _from_there(place: str, work: Callable[[str], None]) -> None:
    """Do something to a directory under a short name that is good meanwhile; nothing where it went away."""
    try:
        fd = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        work(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def with_nested(group: str) -> list[str]:
    """A group and all below it, each after the one above. Links are not followed: a cgroup file system has none.

    What is below a path that is LONG is left out: the kernel takes no path beyond PATH_MAX.
    """
    found = [group]
    for place in found:
        if len(place) > LONG:
            continue
        try:
            with os.scandir(place) as entries:
                found += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            continue  # it went away
    return found


def missing_above(groups: tuple[str, ...]) -> list[str]:
    """The directories above these that are not there, each after the one above it."""
    found: list[str] = []
    for group in groups:
        missing = []
        above = group.rpartition("/")[0]
        while above and not os.access(above, os.F_OK):
            missing.append(above)
            above = above.rpartition("/")[0]
        found += reversed(missing)
    return found


def end_groups(groups: tuple[str, ...]) -> list[str]:
    """Remove the groups with all below them, and end who is still in there; returns those that could not be removed.

    Mostly nobody is, and then removing them is all there is to do: the kernel refuses while somebody is.
    """
    left = remove_empty(groups)
    if not left:
        return []
    kill_groups(left)
    return remove_groups(left)


def remove_empty(groups: tuple[str, ...]) -> tuple[str, ...]:
    """Remove those that have nobody and nothing in them, last to first; returns the others."""
    return tuple(group for group in reversed(groups) if not _is_removed(group))[::-1]


def _is_removed(group: str) -> bool:
    try:
        os.rmdir(group)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def kill_groups(groups: tuple[str, ...]) -> None:
    """SIGKILL everything in these groups and below, frozen or not."""
    one_by_one = []
    for group in groups:
        try:
            fd = os.open(f"{group}/cgroup.kill", os.O_WRONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            one_by_one.append(group)
            continue
        except OSError:
            continue  # not ours to end
        try:
            os.write(fd, b"1")
        except OSError:
            pass  # it is being removed
        finally:
            os.close(fd)
    freezers = [group for group in one_by_one if os.access(f"{group}/freezer.state", os.F_OK)]
    for top in freezers:
        _at_each(top, _freeze)
    for group in one_by_one:
        _kill_each(group, freezers)


def _kill_each(group: str, freezers: list[str]) -> None:
    for _ in range(100):
        pids = pids_of((group,))
        for pid in pids:
            try:
                os.kill(pid, KILL)
            except (ProcessLookupError, PermissionError):
                pass
        for top in freezers:
            thaw_nested(top)  # what is frozen dies only then
        if not pids:
            return
        time.sleep(0.001)


def thaw_nested(group: str) -> None:
    """Let what is in a v1 group with a freezer, and in those below, go on."""
    _at_each(group, _thaw)


def _freeze(group: str) -> None:
    _set_freezer(group, b"FROZEN")


def _thaw(group: str) -> None:
    _set_freezer(group, b"THAWED")


def _set_freezer(group: str, state: bytes) -> None:
    try:
        fd = os.open(f"{group}/freezer.state", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return  # gone, or not ours
    try:
        os.write(fd, state)
    except OSError:
        pass
    finally:
        os.close(fd)


def remove_groups(groups: tuple[str, ...]) -> list[str]:
    """Remove the directories and what is below them, last to first; waits up to 2 s for the last process to go.

    Returns those that could not be removed.
    """
    left = []
    for group in reversed(groups):
        for attempt in range(200):
            error = _remove(group)
            if error is None:
                break
            if error.errno != EBUSY or attempt == 199:
                left.append(group)
                break
            time.sleep(0.0005 if attempt < 20 else 0.01)
    return left


def _remove(group: str) -> OSError | None:
    try:
        os.rmdir(group)  # the usual case: nothing is below
        return None
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno != EBUSY:
            return error
    _remove_below(group)
    try:
        os.rmdir(group)
    except FileNotFoundError:
        return None
    except OSError as error:
        return error
    return None


def _remove_below(group: str) -> None:
    """Remove the groups below this one, however deep. Where one is refused, so is each above it."""
    for place in reversed(with_nested(group)[1:]):
        if len(place) > LONG:
            _from_there(place, _remove_below)
        _is_removed(place)
