"""Looks at the health of one container, from the start of its command to its end; made where there is a check only.

    timer ─▶ cloche exec ID COMMAND… ─▶ exit code and output ─▶ state.json, event ─▶ timer
             │                                      └ unhealthy: --health-on-failure
             └ its time is up, the container stands still or ends: killed

One look at a time. The rules are docker's: the first success makes it healthy; so many failures in a row make it
unhealthy, of which those do not count that began in the period of grace, before the first success.
"""

from __future__ import annotations

import os
import time

from cloche.engine import clock
from cloche.engine.checks import go_duration
from cloche.engine.supervisor import states

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cloche.engine.supervisor.commands import Command, Said
    from cloche.engine.supervisor.connection import Connection
    from cloche.engine.supervisor.loop import Timer
    from cloche.engine.supervisor.supervised import Supervised

KEPT = 5  # looks that are written down
STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"
TIMED_OUT = -1


class Checker:
    """Who looks. `check` is as `cloche.engine.checks.check_of` has it."""

    def __init__(self, item: Supervised, check: dict[str, Any]) -> None:
        self.item, self.check = item, check
        self.loop = item.supervisor.loop
        self.timer: Timer | None = None  # of the next look, or of the end of patience with this one
        self.command: Command | None = None
        self.asking: list[Connection] = []  # who wants to hear of the next look
        if item.state["health"] is None:
            item.state["health"] = {"status": STARTING, "failing": 0, "log": []}
            self._write()

    def go_on(self) -> None:
        """Look when it is time for that."""
        grace = self._health["status"] == STARTING and self._age() < self.check["start_period"]
        self._set(self.check["start_interval" if grace else "interval"], self.look)

    def hold(self) -> None:
        """Do not look, and do not wait for what looks; whoever asked hears nothing of it."""
        self._cancel()
        command, self.command = self.command, None
        if command is not None:
            command.kill()
        for conn in self.asking:
            conn.send("not running")
        self.asking = []

    def end(self) -> None:
        """The container has ended: what does not run is not healthy, as docker has it."""
        self.hold()
        self._health["status"] = UNHEALTHY

    def ask(self, conn: Connection) -> None:
        """Look now; `conn` hears ("looked", EXIT CODE, OUTPUT)."""
        self.asking.append(conn)
        if self.command is None:
            self.look()

    def look(self) -> None:
        """Begin to look."""
        began, begun = clock.now(), self._age()

        def over(code: int, said: Said) -> None:
            if self.command is command:
                self._looked(began, begun, code, said.text())

        def late() -> None:
            self.command = None
            command.kill()
            said = command.said.text()
            text = f"Health check exceeded timeout ({go_duration(self.check['timeout'])})"
            self._looked(began, begun, TIMED_OUT, f"{text}: {said}" if said else text)

        words = ("exec", self.item.id, *self.check["argv"])
        self._cancel()
        self.command = command = self.item.supervisor.command(*words, ended=over)
        self._set(self.check["timeout"], late)

    def _looked(self, began: str, begun: float, code: int, output: str) -> None:
        if self.item.checker is not self:
            return  # what is written down is of another life, which another looks after
        self.command = None
        self._cancel()
        health, before = self._health, self._health["status"]
        health["log"] = [
            *health["log"][1 - KEPT :],
            {"start": began, "end": clock.now(), "exit_code": code, "output": output},
        ]
        judge(health, code, self.check["retries"], grace=begun < self.check["start_period"])
        self._write()
        for conn in self.asking:
            conn.send("looked", code, output)
        self.asking = []
        if health["status"] != before:
            self.item.emit(f"health_status: {health['status']}")
            if health["status"] == UNHEALTHY:
                self.item.is_unhealthy(health["failing"], output)
        self.go_on()

    @property
    def _health(self) -> dict[str, Any]:
        found: dict[str, Any] = self.item.state["health"]
        return found

    def _age(self) -> float:
        """Seconds since its first process was made."""
        ticks = self.item.state["start"] / os.sysconf("SC_CLK_TCK")
        return float(time.clock_gettime(time.CLOCK_BOOTTIME) - ticks)

    def _write(self) -> None:
        states.write_state(self.item.folder, self.item.state, sync=False)

    def _set(self, seconds: float, work: Any) -> None:
        self._cancel()
        self.timer = self.loop.after(seconds, work)

    def _cancel(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


def judge(health: dict[str, Any], code: int, retries: int, *, grace: bool) -> None:
    """What one look means: changes `status` and `failing`; `grace`: it began in the period of grace."""
    if code == 0:
        health.update(status=HEALTHY, failing=0)
        return
    if grace and health["status"] == STARTING:
        return
    health["failing"] += 1
    if health["failing"] >= retries:
        health["status"] = UNHEALTHY
