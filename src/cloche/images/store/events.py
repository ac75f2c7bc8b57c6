"""What happens in a store is written down: a line of JSON for each event, in the form that docker's API has.

    STORE/events.log     {"Type": "container", "Action": "start", …, "timeNano": …}
    STORE/events.log.1   what was that, until it had grown to LARGEST

Several processes write at once, each line, or a few of them, with one write(2) to the end of the file. A line that was
cut short (power, a full disk) is followed by the next one without a new line between them: who reads has to find its
beginning.

Who finds the file grown renames it, holding a lock on it, so that it is renamed once. Who has opened it before
that writes to the old one, whose end is read as well.

This is on the way of every container that is started, and never the reason why something does not succeed.
"""

from __future__ import annotations

import posix as os
import time

from cloche.images.store.layout import store_dir
from cloche.spec.reader import write_json
from cloche.stage.points import point

LOG = "events.log"
OLD = "events.log.1"
LARGEST = 8 << 20  # bytes of a file, after which the next is begun
LONGEST = 1 << 18  # bytes of a line
SHORT = 512  # characters of an attribute that stays where the line is too long
MOST = 16  # attributes that stay


def emit(kind: str, action: str, id: str, attributes: dict[str, str], *, now_ns: int = 0, store: str = "") -> None:
    """Write down that something has happened, at `now_ns` nanoseconds since 1970, or now; never raises an OSError.

    `kind` is container, image, volume or network; actions and attributes are docker's (docker events): the name, of
    a container its image, labels. Where there is no store, nothing is written; `store` is that of the user unless told.
    """
    emit_all([line_of(kind, action, id, attributes, now_ns or time.time_ns())], store=store)


def emit_all(lines: list[bytes], *, store: str = "") -> None:
    """The same of several events at once, of which there are the lines already (`line_of`)."""
    try:
        _append(store or store_dir(), b"".join(lines))
    except OSError:  # a full disk, a store of somebody else's: what has happened has happened
        pass


def line_of(kind: str, action: str, id: str, attributes: dict[str, str], now_ns: int) -> bytes:
    """An event as docker's API has it (events.Message); of one that is too long the long attributes are left out."""
    event: dict[str, object] = {}
    if kind in {"container", "image"}:  # the only ones that had these before there was an Actor
        more = {"status": action, "id": id, "from": attributes.get("image") if kind == "container" else ""}
        event = {name: value for name, value in more.items() if value}
    event |= {"Type": kind, "Action": action, "Actor": {"ID": id, "Attributes": attributes}, "scope": "local"}
    event |= {"time": now_ns // 1_000_000_000, "timeNano": now_ns}
    line = write_json(event).encode() + b"\n"
    if len(line) <= LONGEST:
        return line
    return line_of(kind, action[:SHORT], id[:SHORT], _shortened(attributes), now_ns)


def _shortened(attributes: dict[str, str]) -> dict[str, str]:
    short = [(name, value) for name, value in attributes.items() if len(name) + len(value) <= SHORT]
    return dict(short[:MOST])


def _append(store: str, line: bytes) -> None:
    fd = os.open(f"{store}/{LOG}", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        point("event-opened")
        os.write(fd, line)
        point("event-written")
        if os.fstat(fd).st_size >= LARGEST:
            _rotate(store, fd)
    finally:
        os.close(fd)


def _rotate(store: str, fd: int) -> None:
    """Give the file another name, unless somebody does so or has done it."""
    import fcntl

    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    point("event-locked")
    ours, there = os.fstat(fd), os.stat(f"{store}/{LOG}")
    if (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino):
        os.rename(f"{store}/{LOG}", f"{store}/{OLD}")
        point("event-renamed")
