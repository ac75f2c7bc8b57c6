"""What is told of a container that is gone when it ends, by the command that runs it: no supervisor looks.

    create, attach, mount of its volumes       its first process is there
    start                                      which has become the command
    resize                                     of its terminal
    oom, die, unmount of its volumes, destroy  it has ended

Order and attributes are docker's. Of one whose command was killed its stage tells the end, which imports nothing any
more: all that is needed for that is loaded here.
"""

from __future__ import annotations

import time

from cloche.engine.events import mounted, tell_all, unmounted
from cloche.engine.reason import exit_code_of, oom_kills
from cloche.images.store.layout import store_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cloche.engine.events import Told


class Passing:
    """The events of one container. `about` is what all of them say: its image, name, labels; `volumes` its own."""

    def __init__(self, container_id: str, about: dict[str, str], volumes: list[dict[str, Any]]) -> None:
        self.id, self.about, self.volumes = container_id, about, volumes
        self.store = store_dir()
        self.is_there = False
        self.begun = 0.0  # when it has become the command
        self.size: tuple[int, int] | None = None  # of its terminal, to be told when it has

    def made(self) -> None:
        """Its first process is there."""
        self.is_there = True
        self._tell(self._event("create"), self._event("attach"), *mounted(self.id, self.volumes))

    def executed(self) -> None:
        """Its first process has become the command."""
        self.begun = time.monotonic()
        self._tell(self._event("start"), *([] if self.size is None else [self._resize(*self.size)]))

    def resized(self, rows: int, columns: int) -> None:
        """Its terminal has a size, or another one."""
        self.size = rows, columns
        if self.begun:
            self._tell(self._resize(rows, columns))

    def ended(self, report: dict[str, Any] | None) -> None:
        """It is over: the stage's report, None where that was killed."""
        if self.is_there:
            self._tell(*self._end(report))

    def left(self, report: dict[str, Any]) -> None:
        """The same, told by the stage itself, which has not seen more of the command than that it was there."""
        self._tell(*self._end(report))

    def _end(self, report: dict[str, Any] | None) -> list[Told]:
        over = [*unmounted(self.id, self.volumes), self._event("destroy")]
        if report is not None and ("failed" in report or "not executed" in report):
            return over
        lasted = {"execDuration": str(int(time.monotonic() - self.begun))} if self.begun else {}
        if report is None:
            return [self._event("die", exitCode="unknown", **lasted), *over]
        lasted = lasted or {"execDuration": str(int(report["wall"]))}
        oom = [self._event("oom")] if oom_kills(report["counters"]) else []
        return [*oom, self._event("die", exitCode=str(exit_code_of(report)), **lasted), *over]

    def _resize(self, rows: int, columns: int) -> Told:
        return self._event("resize", height=str(rows), width=str(columns))

    def _event(self, action: str, **more: str) -> Told:
        return "container", action, self.id, {**self.about, **more}

    def _tell(self, *events: Told) -> None:
        tell_all(list(events), store=self.store)
