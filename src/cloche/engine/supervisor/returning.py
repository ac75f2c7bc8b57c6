"""Commands that are attached to a container, written down beside its pipes: when a supervisor is killed they come back.

    STATE/run/ID/attached      a line for each: process, its start time, "keys" where its stdin is the container's

The next supervisor takes nothing of what the container writes until they are there again, so that they have all of it.
One that was killed, too, does not come, nor does one that stands still; nobody is waited for longer than that.
"""

from __future__ import annotations

import os

from cloche.engine.records import start_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

NAME = "attached"
PATIENCE = 2.0  # seconds in which a command finds the next supervisor, which has come up already
STOPPED = {b"T", b"t"}  # proc_pid_stat(5): who will not come before somebody lets it go on


def write_down(place: str, attached: Iterable[tuple[int, bool]]) -> None:
    """Write down who is attached: process numbers, and whether its stdin is the container's."""
    lines = [f"{pid} {start_time(pid)} {'keys' if keys else '-'}\n" for pid, keys in attached]
    path = f"{place}/{NAME}"
    try:
        if lines:
            with open(f"{path}.new", "w", encoding="ascii") as file:
                file.write("".join(lines))
            os.rename(f"{path}.new", path)
        elif os.path.exists(path):
            os.unlink(path)
    except OSError:
        pass  # no room, or the container is gone: then nobody is waited for


def read_back(place: str) -> tuple[list[tuple[int, bool]], bool]:
    """Who is to come back, as it was written down, and whether one whose stdin was the container's does not."""
    try:
        with open(f"{place}/{NAME}", encoding="ascii") as file:
            lines = [line.split() for line in file]
    except (OSError, ValueError):
        return [], False
    coming, gone = [], False
    for pid, start, word in (line for line in lines if len(line) == 3 and line[0].isdecimal()):
        keys = word == "keys"
        if str(start_time(int(pid))) != start:
            gone = gone or keys
        elif not _stands_still(int(pid)):
            coming.append((int(pid), keys))
    return coming, gone


def _stands_still(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] in STOPPED
    except OSError:
        return True
