"""Whether a container stands still: since somebody has paused it, or as long as others need it to.

pause, hold ─▶ its groups are asked to stop, and looked at again until they have ─▶ "paused" ─▶ unpause, stop, its end
                                                                                        └ the last who holds it is gone

Who holds it is written down (`held`: [process, start time] of each), nobody where a user has paused it: what was held
for a process that has ended, after the supervisor was killed as well, goes on.
"""

from __future__ import annotations

import os
import time

from cloche.engine.records import start_time
from cloche.engine.supervisor import states
from cloche.linux import process
from cloche.runtime.cgroups import freezing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cloche.engine.supervisor.connection import Connection
    from cloche.engine.supervisor.loop import Timer
    from cloche.engine.supervisor.supervised import Supervised


class Holder:
    """A process that needs it to stand still, known by its connection, or by a pidfd where another of us had that."""

    def __init__(self, pid: int, start: int, conn: Connection | None = None, pidfd: int = -1) -> None:
        self.pid, self.start, self.conn, self.pidfd = pid, start, conn, pidfd


class Holding:
    """Of one container. Who asks hears "ok" when it stands still or goes on, or "failed" and why."""

    def __init__(self, item: Supervised) -> None:
        self.item, self.loop = item, item.supervisor.loop
        self.holders: list[Holder] = []
        self.asking: list[Connection] = []  # who is to hear that it stands still
        self.timer: Timer | None = None  # of the next look, while it is not known to
        self.looks, self.deadline = 0, 0.0

    # who wants it to stand still

    def pause(self, conn: Connection) -> None:
        """Until somebody lets it go on, whoever else has held it."""
        self._forget_holders()
        self._stop_for(conn)

    def hold(self, conn: Connection) -> None:
        """Until that one releases it, or is gone, and all others who hold it; what a user has paused stays so."""
        by_user = not self.holders and (self._stands or self.timer is not None)
        if not by_user and all(holder.conn is not conn for holder in self.holders):
            self.holders.append(Holder(conn.pid, start_time(conn.pid) or 0, conn))
        self._stop_for(conn)

    def release(self, conn: Connection) -> None:
        """That one needs it no more; it may have asked another of us."""
        own = [each for each in self.holders if each.conn is conn]
        self._leave(own or [each for each in self.holders if each.conn is None and each.pid == conn.pid])

    def let_go(self, conn: Connection) -> None:
        """A command is gone."""
        if conn in self.asking:
            self.asking.remove(conn)
        self._leave([each for each in self.holders if each.conn is conn])

    def _leave(self, found: list[Holder]) -> None:
        for holder in found[:1]:  # a process may hold it more than once
            self.holders.remove(holder)
            self._close(holder)
            if not self.holders:
                self.let_run()
            elif self._stands:
                self._write()

    # it goes on

    def unpause(self, conn: Connection) -> None:
        """Let it go on, whoever wanted it to stand still."""
        try:
            self._go_on()
        except OSError as error:
            conn.send("failed", error.strerror or str(error))
        else:
            conn.send("ok")

    def let_run(self) -> None:
        """The same for what is to end: a signal is only seen by what is not frozen."""
        try:
            self._go_on()
        except OSError:
            pass  # it has just ended, and its groups with it

    def _go_on(self) -> None:
        if not self._stands and self.timer is None:
            return
        freezing.thaw(self._paths)
        if self._stands:
            self.item.state["status"] = "running"
            self._forget_holders()
            self._write()
            self.item.emit("unpause")
            if self.item.checker is not None:
                self.item.checker.go_on()
        self._answer("failed", "it was let go on meanwhile")

    # another supervisor was killed

    def take_over(self) -> None:
        """Those who hold it and are there are waited for; who was killed before it could write that down froze it."""
        if not self._stands:
            if freezing.is_frozen(self._paths):
                freezing.thaw(self._paths)
        elif held := self.item.state["held"]:
            self.holders = [holder for each in held if (holder := self._find(each)) is not None]
            if not self.holders:
                self.let_run()

    def _find(self, written: Any) -> Holder | None:
        try:
            pid, start = map(int, written)
            holder = Holder(pid, start, pidfd=process.pidfd_open(pid))
        except (TypeError, ValueError, OverflowError, OSError):
            return None  # it has ended, or that is no process
        if start_time(pid) != start:
            os.close(holder.pidfd)
            return None
        self.loop.watch(holder.pidfd, lambda _events: self._leave([holder]))
        return holder

    # until it stands still

    @property
    def _stands(self) -> bool:
        return bool(self.item.state["status"] == "paused")

    @property
    def _paths(self) -> dict[str, str]:
        paths: dict[str, str] = self.item.state["entry"].get("paths", {})
        return paths

    def _stop_for(self, conn: Connection) -> None:
        if self._stands:
            self._write()
            conn.send("ok")
        elif self.item.state["status"] != "running":
            self._leave([each for each in self.holders if each.conn is conn])
            conn.send("not running")
        else:
            self.asking.append(conn)
            if self.timer is None:
                self.looks, self.deadline = 0, time.monotonic() + freezing.PATIENCE
                self._look()

    def _look(self) -> None:
        """Ask it to stop, and come back where it has not: what waits for a disk is to hold up nobody but who asked."""
        self.timer = None
        try:
            stands = freezing.stop(self._paths, self.looks)
            if not stands and time.monotonic() >= self.deadline:
                raise freezing.too_late(self._paths, freezing.PATIENCE)
        except OSError as error:
            self._forget_holders()
            self._answer("failed", error.strerror or str(error))
            return
        if stands:
            self._stands_still()
        else:
            self.timer = self.loop.after(freezing.rest(self.looks), self._look)
            self.looks += 1

    def _stands_still(self) -> None:
        self.item.state["status"] = "paused"
        self._write()
        self.item.emit("pause")
        if self.item.checker is not None:
            self.item.checker.hold()
        self._answer("ok")

    def _write(self) -> None:
        self.item.state["held"] = [[holder.pid, holder.start] for holder in self.holders]
        states.write_state(self.item.folder, self.item.state, sync=False)

    def _answer(self, *message: Any) -> None:
        """It is known how it stands: tell who has asked."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        asking, self.asking = self.asking, []
        for conn in asking:
            conn.send(*message)

    # its end

    def end(self) -> None:
        """The container has ended."""
        self._answer("not running")
        self.drop()
        self.item.state["held"] = []

    def drop(self) -> None:
        """Somebody else takes it again: who has asked asks again, and what is written down stays as it is."""
        asking, self.asking = self.asking, []
        for conn in asking:
            conn.close()
        self._answer()
        self._forget_holders()

    def _forget_holders(self) -> None:
        holders, self.holders = self.holders, []
        for holder in holders:
            self._close(holder)

    def _close(self, holder: Holder) -> None:
        if holder.pidfd >= 0:
            self.loop.forget(holder.pidfd)
            os.close(holder.pidfd)
