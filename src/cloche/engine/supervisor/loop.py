"""One thread that waits for descriptors and for moments, and calls whoever asked."""

from __future__ import annotations

import heapq
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Handler = Callable[[int], None]  # called with the events of epoll(7)

READ, WRITE = select.EPOLLIN, select.EPOLLOUT


class Timer:
    """A moment to come; `cancel` it when it is not wanted any more."""

    def __init__(self, when: float, work: Callable[[], None]) -> None:
        self.when, self.work = when, work
        self.wanted = True

    def __lt__(self, other: Timer) -> bool:
        return self.when < other.when

    def cancel(self) -> None:
        """Do not call."""
        self.wanted = False


class Loop:
    """What is waited for, and who is called then."""

    def __init__(self) -> None:
        self.poll = select.epoll()
        self.handlers: dict[int, Handler] = {}
        self.timers: list[Timer] = []

    def watch(self, fd: int, handler: Handler, events: int = READ) -> None:
        """Call the handler whenever there is something about the descriptor. Raises OSError where there is no room."""
        self.poll.register(fd, events)
        self.handlers[fd] = handler

    def change(self, fd: int, events: int) -> None:
        """Wait for other events of a descriptor; 0 for errors and hang-ups only."""
        self.poll.modify(fd, events)

    def forget(self, fd: int) -> None:
        """Before a descriptor is closed: do not wait for it any more."""
        if self.handlers.pop(fd, None) is not None:
            self.poll.unregister(fd)

    def after(self, seconds: float, work: Callable[[], None]) -> Timer:
        """Call once, so many seconds from now (CLOCK_MONOTONIC)."""
        timer = Timer(time.monotonic() + seconds, work)
        heapq.heappush(self.timers, timer)
        return timer

    def turn(self) -> None:
        """Wait until something happens, and call whoever it concerns."""
        for fd, events in self.poll.poll(self._patience()):
            handler = self.handlers.get(fd)  # an earlier one of this round may have closed it
            if handler is not None:
                guarded(lambda handler=handler, events=events: handler(events))  # type: ignore[misc]
        now = time.monotonic()
        while self.timers and (self.timers[0].when <= now or not self.timers[0].wanted):
            timer = heapq.heappop(self.timers)
            if timer.wanted:
                guarded(timer.work)

    def _patience(self) -> float:
        while self.timers and not self.timers[0].wanted:
            heapq.heappop(self.timers)
        return max(0.0, self.timers[0].when - time.monotonic()) if self.timers else -1.0


def guarded(work: Callable[[], None]) -> None:
    """A defect of ours is told, and is the trouble of one container or command, and not of all."""
    try:
        work()
    except Exception:
        import sys
        import traceback

        traceback.print_exc(file=sys.stderr)
