"""What is left of a container that ended, where nobody hears of it: files beside its pipes, for whoever comes next.

STATE/run/ID/ended             how it ended, as marshal has it
STATE/run/ID/out.rest, err.rest  what was in its pipes
"""

from __future__ import annotations

import marshal
import posix as os

from cloche.linux import terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ENDED = "ended"
NEVER = {"never": True, "notes": []}  # the word about one that was never its command
OUTPUTS, REST = ("out", "err"), ".rest"
CHUNK = 1 << 16


def leave_word(place: str, result: dict[str, Any]) -> None:
    """Write down how it ended; where that is not possible, it is a note of the result."""
    path = f"{place}/{ENDED}"
    try:
        with open(f"{path}.new", "wb", buffering=0) as file:
            file.write(marshal.dumps(result))
        os.rename(f"{path}.new", path)
    except OSError as error:
        result["notes"].append(("end", f"{path} cannot be written: {error.strerror}"))


def save_output(place: str, held: dict[str, int]) -> None:
    """Write down what is left in its pipes, whose last ends are among those that are `held`."""
    for name in OUTPUTS:
        fd = held.get(name, -1)
        if fd < 0:
            continue
        os.set_blocking(fd, False)
        left = terminal.bytes_waiting(fd)  # and no more, where somebody else can write into it, too
        try:
            with open(f"{place}/{name}{REST}", "wb", buffering=0) as file:
                while left > 0 and (data := os.read(fd, min(left, CHUNK))):
                    file.write(data)
                    left -= len(data)
        except OSError:
            continue  # EAGAIN: that was all; or the disk is full
