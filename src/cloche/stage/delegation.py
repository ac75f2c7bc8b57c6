"""Making room in a delegated cgroup (v2): a group that hands controllers down may hold no processes.

    before            while containers run               after the last one
    G: shell, cloche  G ─┬─ cloche-aside: shell, cloche  G: shell, cloche
                         ├─ cloche-1f2e…: the command
                         └─ cloche-9a8b…: another

What was in G goes one level down, where the limits of G still hold, and comes back at the end. A lock on
the directory keeps two of us from making and undoing this at the same time.
"""

from __future__ import annotations

import posix as os

from cloche.linux import files, kernel
from cloche.linux.places import isdir

ASIDE = "cloche-aside"
LOCK_EX = 2
EBUSY = 16
ATTEMPTS = 50  # processes may be forking while they are moved


class _Locked:
    def __init__(self, group: str) -> None:
        self.fd = os.open(group, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> None:
        kernel.call("flock", kernel.number(73, 32), self.fd, LOCK_EX)

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


def make_below(group: str, path: str, controllers: tuple[str, ...], *, own: bool) -> None:
    """Make group `path` below `group`, which hands `controllers` down from now on.

    With `own`, the processes in `group` step aside where that is needed. Raises OSError: EBUSY when they
    would have to and may not.
    """
    with _Locked(group):
        missing = [name for name in controllers if name not in _words(f"{group}/cgroup.subtree_control")]
        if missing:
            value = " ".join(f"+{name}" for name in missing)
            for attempt in range(ATTEMPTS):
                if own:
                    _step_aside(group)
                try:
                    files.write_value(f"{group}/cgroup.subtree_control", value)
                except OSError as error:
                    if error.errno != EBUSY or not own or attempt == ATTEMPTS - 1:
                        _back(group)
                        raise
                else:
                    break
        os.mkdir(path, 0o755)


def step_back(group: str) -> None:
    """Undo `make_below` once no other group is left below `group`; as much of it as still can be."""
    if not isdir(f"{group}/{ASIDE}"):
        return
    try:
        with _Locked(group):
            _back(group)
    except OSError:
        pass  # the group went away, or is no longer ours: nothing to put back


def _step_aside(group: str) -> None:
    pids = _words(f"{group}/cgroup.procs")
    if not pids:
        return
    aside = f"{group}/{ASIDE}"
    if not isdir(aside):
        os.mkdir(aside, 0o755)
    _move(pids, aside)


def _back(group: str) -> None:
    aside = f"{group}/{ASIDE}"
    with os.scandir(group) as entries:
        below = {entry.name for entry in entries if entry.is_dir(follow_symlinks=False)}
    if below != {ASIDE}:
        return
    for name in _words(f"{group}/cgroup.subtree_control"):
        files.write_value(f"{group}/cgroup.subtree_control", f"-{name}")
    for _ in range(ATTEMPTS):
        _move(_words(f"{aside}/cgroup.procs"), group)
        try:
            os.rmdir(aside)
        except OSError as error:
            if error.errno != EBUSY:
                raise
        else:
            return


def _move(pids: list[str], group: str) -> None:
    for pid in pids:
        if pid == "0":
            continue  # one of another pid namespace, which has no number here; 0 would move ourselves
        try:
            files.write_value(f"{group}/cgroup.procs", pid)
        except ProcessLookupError:
            continue


def _words(path: str) -> list[str]:
    with open(path, "rb") as file:  # as bytes: a stage can load no codec any more
        return file.read().decode().split()
