"""What the log of one container has not taken: told after a while, as it may be some of each line."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.engine.logs.writers import Writer
    from cloche.engine.supervisor.loop import Loop, Timer

LATER = 0.5  # seconds


class Losses:
    """`lost` is called with the bytes that are missing and were not told of before, and why."""

    def __init__(self, loop: Loop, lost: Callable[[int, str], None]) -> None:
        self._loop, self._lost = loop, lost
        self._told = 0  # bytes
        self._telling: Timer | None = None

    def look(self, writer: Writer) -> None:
        """Something was given to it."""
        if self._telling is None and writer.losses() != self._told:
            self._telling = self._loop.after(LATER, lambda: self._tell(writer))

    def end(self, writer: Writer) -> None:
        """It is given nothing more: tell what is left to tell."""
        self._tell(writer)
        self._told = 0

    def drop(self) -> None:
        """Tell nothing more."""
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None

    def _tell(self, writer: Writer) -> None:
        self.drop()
        if lost := writer.losses() - self._told:
            self._told += lost
            self._lost(lost, writer.cause())
