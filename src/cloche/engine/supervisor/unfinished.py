"""A line of a container that has no end yet: it is written down when nothing has followed for a moment."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.engine.supervisor.loop import Loop, Timer

SOON = 0.05  # seconds


class Unfinished:
    """`flush` is called when the end of what was said last is not waited for any longer."""

    def __init__(self, loop: Loop, flush: Callable[[], None]) -> None:
        self._loop, self._flush = loop, flush
        self._timer: Timer | None = None
        self._more = False  # something was said since that was set

    def said(self, data: bytes) -> None:
        """Something was."""
        self._more = True
        if data[-1:] != b"\n" and self._timer is None:
            self._wait()

    def drop(self) -> None:
        """Wait no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        self._more = False
        self._timer = self._loop.after(SOON, self._over)

    def _over(self) -> None:
        """Where more has come meanwhile, the end of that is waited for."""
        self._timer = None
        if self._more:
            self._wait()
        else:
            self._flush()
