"""Whether a container that has ended is to run again, and when: docker's policies, and its back-off.

plan ── Backoff ──▶ `cloche start ID` ──▶ it comes to us, as any start does
                                     └──▶ it ends without: that was in vain

The first restart comes after a tenth of a second, each one after twice the time of the one before, a minute at most;
one that has run for ten seconds begins anew.
"""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cloche.engine.supervisor.commands import Command, Ended, Said
    from cloche.engine.supervisor.connection import Connection
    from cloche.engine.supervisor.loop import Loop, Timer

FIRST, LONGEST, LONG_ENOUGH = 0.1, 60.0, 10.0  # seconds


class Backoff:
    """The times between the starts of one container."""

    def __init__(self) -> None:
        self.seconds = FIRST
        self.began = 0.0  # when its command was executed last, CLOCK_MONOTONIC; 0: not yet

    def begin(self) -> None:
        """Its command runs."""
        self.began = time.monotonic()

    def next(self) -> float:
        """Seconds until the next start."""
        if self.began and time.monotonic() - self.began >= LONG_ENOUGH:
            self.seconds = FIRST
        found, self.seconds, self.began = self.seconds, min(self.seconds * 2, LONGEST), 0.0
        return found


class NextStart:
    """The next start of one container.

    `command` has a command begin that starts it; `over` hears that this has ended, and what it said where it did not
    come to us, "" where it did.
    """

    def __init__(self, loop: Loop, command: Callable[[Ended], Command], over: Callable[[str], None]) -> None:
        self._loop, self._begin, self._over = loop, command, over
        self._timer: Timer | None = None
        self._command: Command | None = None
        self._has_come = False
        self.backoff = Backoff()

    @property
    def is_coming(self) -> bool:
        """Whether a command is there to start it."""
        return self._command is not None

    def plan(self) -> None:
        """Have it started when it is time."""
        self._timer = self._loop.after(self.backoff.next(), self._start)

    def cancel(self) -> None:
        """Let that be; a command that is there goes on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def has_come(self) -> None:
        """It is being started, by whomever."""
        self.cancel()
        self._has_come = True

    def is_by(self, conn: Connection) -> bool:
        """Whether this is the command that is to start it."""
        return self._command is not None and self._command.pid == conn.pid

    def _start(self) -> None:
        if self._command is not None:  # the last one has started it, and has not ended yet
            self._timer = self._loop.after(FIRST, self._start)
            return
        self._timer, self._has_come = None, False
        self._command = self._begin(self._ended)

    def _ended(self, code: int, said: Said) -> None:
        self._command = None
        first = said.text().partition("\n")[0].removeprefix("cloche: ")
        self._over("" if self._has_come else first or f"cloche start has ended with {code}")


def is_wanted(keep: dict[str, Any], state: dict[str, Any]) -> bool:
    """Whether one that ended like this is to run again; `keep` and `state` as they are written down."""
    policy, code, restarts = keep["restart"], state["exit_code"], state["restarts"]
    on_failure = keep.get("health_on_failure", "none")
    if state["by"] == "user" or (state["by"] == "health" and on_failure == "stop"):
        return False
    if state["by"] == "health" and on_failure == "restart":
        return True
    if state["status"] == "created" and not restarts:
        return False  # its first start has failed, which was somebody's to see
    if policy == "on-failure":
        return code != 0 and not (keep["restart_most"] and restarts >= keep["restart_most"])
    return policy in {"always", "unless-stopped"}
