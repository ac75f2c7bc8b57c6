"""Waiting for what containers say next.

A follower is woken by changes in the folders of its logs, and of its containers, where their state is replaced when
they end. It asks whether a container has ended before it reads: what is written until then is read after that.
"""

from __future__ import annotations

import time

from cloche.engine.logs.reading import NEVER, merged
from cloche.linux import inotify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from cloche.engine.logs.reading import Log
    from cloche.engine.logs.records import Record

CHANGES = inotify.IN_MODIFY | inotify.IN_CREATE | inotify.IN_MOVED_TO | inotify.IN_MOVED_FROM | inotify.IN_DELETE_SELF
PATIENCE = 1.0  # seconds after which a reader looks without being called
IMPATIENCE = 0.2  # the same where nobody can call


def follow(
    logs: list[Log], folders: list[str], has_ended: Callable[[int], bool], *, until_ns: int = NEVER, leave: int = -1
) -> Generator[tuple[int, Record | None]]:
    """What is there and what is said from now on, with the index of the log, until all have ended or `until_ns`,
    or the descriptor `leave` can be read.

    A None says that there is nothing more at the moment: whatever was given is to be shown before it waits.
    `folders` are those whose changes are listened to.
    """
    waiting = dict.fromkeys(range(len(logs)))
    with _Ear(folders, leave) as ear:
        while waiting and not ear.is_left():
            ear.clear()
            over = [index for index in waiting if has_ended(index) or time.time_ns() > until_ns]
            order = list(waiting)
            for at, record in merged(logs[index].records() for index in order):
                yield order[at], record
            for index in waiting.copy():
                if index in over or logs[index].ended:
                    del waiting[index]
            if waiting:
                yield -1, None
                ear.wait(min(PATIENCE, max(0.0, (until_ns - time.time_ns()) / 1e9)))


class _Ear:
    """Hears of changes in folders, of which some may not be there yet."""

    def __init__(self, folders: list[str], leave: int) -> None:
        self._missing, self._leave = list(folders), leave
        self._watch: inotify.Watch | None = None
        try:
            self._watch = inotify.Watch()
        except OSError:
            pass  # this user has too many already

    def clear(self) -> None:
        """Forget what was heard until now, and listen to what is there by now."""
        if self._watch is None:
            return
        self._watch.read()
        for folder in self._missing[:]:
            try:
                self._watch.add(folder, CHANGES)
            except OSError:
                continue
            self._missing.remove(folder)

    def wait(self, seconds: float) -> None:
        """Until something has changed, or for so long."""
        if self._watch is None:
            inotify.wait_for([self._leave], min(seconds, IMPATIENCE))
        else:
            self._watch.wait(seconds, self._leave)

    def is_left(self) -> bool:
        """Whether nobody wants to hear more."""
        return self._leave >= 0 and inotify.wait_for([self._leave], 0)

    def __enter__(self) -> _Ear:
        return self

    def __exit__(self, *_: object) -> None:
        if self._watch is not None:
            self._watch.close()
