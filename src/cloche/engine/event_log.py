"""Events as they are read: those of the past first, then, for who follows, each as it comes.

    emit ──▶ STORE/events.log ──▶ read      the file is renamed to .1 when it has grown: that is read to its end,
                                            and the new one from its beginning

What was cut short or damaged is left out, and what comes after it is not. For writing there is `events`.
"""

from __future__ import annotations

import os
import time

from cloche.engine.listening import Ear
from cloche.errors import SpecError
from cloche.images.store.events import LOG, OLD
from cloche.images.store.layout import store_dir
from cloche.linux.files import Fd
from cloche.spec.reader import read_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Event = dict[str, Any]  # docker's events.Message: Type, Action, Actor {ID, Attributes}, scope, time, timeNano, …

PART = 1 << 18
TRIES = 20  # places of a line at which an event may begin; each has three
PATIENCE = 5.0  # seconds after which the files are looked at whatever was heard of them
LATE = 2_000_000_000  # nanoseconds that may pass between an event and the time its file was last written to


def read(
    since_ns: int | None = None,
    until_ns: int | None = None,
    *,
    follow: bool = False,
    leave: int = -1,
    is_meant: Callable[[Event], bool] = lambda _: True,
) -> Iterator[Event]:
    """The events from `since_ns` to `until_ns`, nanoseconds since 1970, that are meant, in the order they were written.

    Without `since_ns`, those from now on. With `follow` it waits for more, to `until_ns`, until the descriptor
    `leave` can be read, or for ever. One that is written late can come behind one that has happened after it.
    """
    store = store_dir()
    if follow:
        os.makedirs(store, mode=0o700, exist_ok=True)
    with Ear([store] if follow else [], leave) as ear:
        log = _Log(store)
        try:
            if since_ns is None:
                since_ns = 0
                log.pass_over()
            elif log.is_older(OLD, since_ns - LATE):
                log.pass_over(OLD)
            while True:
                ear.clear()
                left = _left(until_ns) if follow else 0
                for event in filter(None, map(parse, log.lines())):
                    in_time = since_ns <= event["timeNano"] and (until_ns is None or event["timeNano"] <= until_ns)
                    if in_time and is_meant(event):
                        yield event
                if left <= 0 or ear.is_left():
                    return
                ear.wait(min(left, PATIENCE))
        finally:
            log.close()


def parse(line: bytes) -> Event | None:
    """An event of the log; None for what is none.

    One that was cut short has the next one behind it on its line. Quotes in names and values have a backslash.
    """
    at = 0
    for _ in range(TRIES):
        try:
            found = read_json(line[at:])
        except SpecError:
            found = None
        if isinstance(found, dict) and _is_event(found):
            return found
        at = line.find(b'{"', at + 1)
        if at < 0:
            break
    return None


def _is_event(found: Event) -> bool:
    actor = found.get("Actor")
    if not isinstance(actor, dict) or not isinstance(actor.get("Attributes"), dict):
        return False
    words = found.get("Type"), found.get("Action"), actor.get("ID"), *actor["Attributes"].values()
    return isinstance(found.get("timeNano"), int) and all(isinstance(word, str) for word in words)


def _left(until_ns: int | None) -> float:
    """Seconds until then; many for no end."""
    return 1e9 if until_ns is None else (until_ns - time.time_ns()) / 1e9 + 0.001


class _Log:
    """The files of a log, the older first, each read on from where it was read to."""

    def __init__(self, store: str) -> None:
        self._store = store
        self._files: list[_File] = []
        self._look()

    def lines(self) -> Iterator[bytes]:
        """What has been written since the last time, to the end of all files."""
        while True:
            for file in self._files:
                yield from file.lines()
            if not self._look():
                return

    def pass_over(self, *names: str) -> None:
        """Leave out what is there now, or in one of the files."""
        for file in self._files:
            if not names or file.name in names:
                file.pass_over()

    def is_older(self, name: str, than_ns: int) -> bool:
        """Whether nothing was written to a file since then."""
        return any(file.name == name and os.fstat(file.number).st_mtime_ns < than_ns for file in self._files)

    def close(self) -> None:
        """Close all of them."""
        for file in self._files:
            file.close()

    def _look(self) -> bool:
        """Open what is new; returns whether there is anything. Whoever writes may still have the one before open."""
        new = [file for name in (OLD, LOG) if (file := self._open(name)) is not None]
        self._files += new
        while len(self._files) > 2:
            self._files.pop(0).close()
        return bool(new)

    def _open(self, name: str) -> _File | None:
        """A file that is not open here yet."""
        path = f"{self._store}/{name}"
        try:
            status = os.stat(path)
            if any(file.key == (status.st_dev, status.st_ino) for file in self._files):
                return None
            return _File(path, name)
        except FileNotFoundError:
            return None


class _File(Fd):
    """One file of a log; `key` is what tells it from all others as long as it is open."""

    __slots__ = ("_rest", "key", "name")

    def __init__(self, path: str, name: str) -> None:
        super().__init__(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
        status = os.fstat(self.number)
        self.key, self.name, self._rest = (status.st_dev, status.st_ino), name, b""

    def lines(self) -> Iterator[bytes]:
        """The lines that have become whole since the last time."""
        while part := os.read(self.number, PART):
            *whole, self._rest = (self._rest + part).split(b"\n")
            yield from whole

    def pass_over(self) -> None:
        """Go on at the end; a line that is being written is left out as well, or found behind its beginning."""
        os.lseek(self.number, 0, os.SEEK_END)
