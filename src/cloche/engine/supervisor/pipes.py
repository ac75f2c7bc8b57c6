"""The named pipes of a container: made, and opened for all who hold them.

STATE/run/ID/out, err, in
"""

from __future__ import annotations

import os

from cloche.stage.leaving import OUTPUTS

NAMES = dict(enumerate(OUTPUTS, 1))
INPUT = "in"


class Pipes:
    """Those of one that starts.

    theirs   what it gets as 0, 1 and 2
    held     by name what the stage holds open as well: "out" and "err" are what we read from, "input" is not ours
    input    what we write to, -1 where it reads nothing
    """

    def __init__(self) -> None:
        self.theirs: list[int] = []
        self.held: dict[str, int] = {}
        self.input = -1

    def close(self) -> None:
        """Close all of them."""
        for fd in (*self.theirs, *self.held.values(), self.input):
            if fd >= 0:
                os.close(fd)


def make(place: str, *, interactive: bool) -> Pipes:
    """Make the pipes in this directory, each opened for what it is for. Raises OSError, and then none is open."""
    made = Pipes()
    try:
        _fill(made, place, interactive=interactive)
    except OSError:
        made.close()
        raise
    return made


def _fill(made: Pipes, place: str, *, interactive: bool) -> None:
    if not interactive:
        made.theirs.append(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
    else:
        both = open_pipe(place, INPUT, os.O_RDWR)  # so that neither end has to be there first
        try:
            made.theirs.append(open_pipe(place, INPUT, os.O_RDONLY))
            made.held["input"] = open_pipe(place, INPUT, os.O_WRONLY)
            made.input = open_pipe(place, INPUT, os.O_WRONLY | os.O_NONBLOCK)
        finally:
            os.close(both)
    for name in NAMES.values():
        made.theirs.append(open_pipe(place, name, os.O_RDWR))
        made.held[name] = open_pipe(place, name, os.O_RDONLY | os.O_NONBLOCK)


def open_pipe(place: str, name: str, flags: int) -> int:
    """Open a pipe, which is made where it is not there. Raises OSError."""
    path = f"{place}/{name}"
    try:
        os.mkfifo(path)
        os.chmod(path, 0o666)  # whoever it runs as opens /dev/stdout; nobody else comes into the directory
    except FileExistsError:
        pass
    return os.open(path, flags | os.O_CLOEXEC)


def remove(place: str, name: str) -> None:
    """Remove a pipe, which may be gone. Raises OSError."""
    try:
        os.unlink(f"{place}/{name}")
    except FileNotFoundError:
        pass
