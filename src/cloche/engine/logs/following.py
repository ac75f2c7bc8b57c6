"""Waiting for what containers say next.

A follower is woken by changes in the folders of its logs, and of its containers, where their state is replaced when
they end. It asks whether a container has ended before it reads: what is written until then is read after that.
"""

from __future__ import annotations

import time

from cloche.engine.listening import Ear
from cloche.engine.logs.reading import NEVER, merged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from cloche.engine.logs.reading import Log
    from cloche.engine.logs.records import Record

PATIENCE = 1.0  # seconds after which a reader looks without being called


def follow(
    logs: list[Log], folders: list[str], has_ended: Callable[[int], bool], *, until_ns: int = NEVER, leave: int = -1
) -> Generator[tuple[int, Record | None]]:
    """What is there and what is said from now on, with the index of the log, until all have ended or `until_ns`,
    or the descriptor `leave` can be read.

    A None says that there is nothing more at the moment: whatever was given is to be shown before it waits.
    `folders` are those whose changes are listened to.
    """
    waiting = dict.fromkeys(range(len(logs)))
    with Ear(folders, leave) as ear:
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
