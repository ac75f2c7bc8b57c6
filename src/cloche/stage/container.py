"""One container in the stage's hands: from its plan to its end.

    start()      outside steps; the new process takes the rest
    on_channel() a message of the new process, or its end of stream: the command has been executed
    on_refusal() the seccomp filter refused a call: note it, answer with the errno it deserves
    on_caller()  a signal to pass on, or the caller is gone: end it
    finish()     it has ended: read the counters, remove the groups, tell the caller

One that is to outlive its caller (`Plan.keeping`) is ended with it only until it is written down ("go"); from
then on word of its end waits in a file, and another caller may take over (`Server`).

What does not belong here: the event loop (`server`), and what the caller makes of the result.
"""

from __future__ import annotations

import posix as os
import time

from cloche.linux import process, seccomp, terminal
from cloche.stage import early, inside, watching, wire
from cloche.stage.cleaning import kill_groups, remove_groups
from cloche.stage.delegation import step_back
from cloche.stage.leaving import NEVER, leave_word, save_output
from cloche.stage.operation import OUTSIDE, without_operations
from cloche.stage.operations.command import Execute
from cloche.stage.points import reach
from cloche.stage.scene import Outside

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable
    from typing import Any

    from cloche.stage.operation import Plan

EPERM, ENOENT = 1, 2
KILL = 9
STOPPED = "stopped here, before this step"
MOST_REFUSALS = 10_000  # then the listener is closed, and the kernel answers ENOSYS by itself


class Container:
    """A container being made or running; the server calls it when something happens."""

    def __init__(
        self,
        plan: Plan,
        caller: _socket.socket,
        stdio: list[int],
        held: dict[str, int],
        left: Callable[[dict[str, Any]], None] | None,
    ) -> None:
        self.plan, self.caller, self.left = plan, caller, left
        self.held = held  # kept open as long as it runs, see `client.Stage.pass_on`
        self.console = -1  # its terminal, for the next caller
        self.kept = False  # it is written down, and goes on without a caller
        self.own_init = any(isinstance(op, Execute) and op.init for op in plan.operations)
        self.scene = Outside(stdio)
        self.started = time.monotonic_ns()
        self.deadline = 0.0
        self.ended_by = 0  # a signal that process 1 would not have noticed
        self.signalled = 0  # so many signals were sent since the caller was told of some
        self.taken = False  # who was told of its end has all that it wrote
        self.stopping = False  # it was asked to end, and is killed at the deadline
        self.listener = -1
        self.pins = watching.wanted(plan)
        self.mounts = -1
        self.terminal: tuple[int, bytes] | None = None
        self.refused: dict[int, int] = {}
        self.refusals = 0
        self.result: dict[str, Any] = {"timed_out": False, "notes": []}

    def start(self) -> bool:
        """Carry out the outside steps; False when one failed and all has been undone."""
        plan, scene = self.plan, self.scene
        index = -1
        try:
            for index, op in enumerate(plan.operations):
                if op.side != OUTSIDE:
                    continue
                if plan.step:
                    self._say(("next", index))
                    if self._answer() is None:
                        raise OSError(125, STOPPED)
                reach(plan.failpoint, type(op).__name__)
                start = time.monotonic_ns()
                op.execute(scene)
                if scene.in_child:
                    inside.run(plan, scene)
                if type(op).__name__ == "Clone":  # later it cannot be looked into, until it is the command
                    self._pin()
                if plan.trace:
                    self._say(("step", index, time.monotonic_ns() - start))
        except OSError as error:
            self._undo(index, error)
            return False
        except Exception as error:  # a defect of ours is this container's end, and no other's
            self._undo(index, OSError(0, f"{type(error).__name__}: {error}"))
            return False
        self.result["notes"] += scene.notes
        scene.close()
        self.plan = without_operations(plan)  # a container may run for months
        if plan.timeout:
            self.deadline = time.monotonic() + plan.timeout
        self._say(("started", scene.pid), [scene.pidfd, *([self.mounts] if self.mounts >= 0 else [])])
        return True

    def _undo(self, index: int, error: OSError) -> None:
        """A step out here has failed: end what there is, and tell."""
        notes = getattr(error, "__notes__", [])
        culprit = error.filename if isinstance(error.filename, str) else ""
        self.result["failed"] = (index, error.errno or 0, error.strerror or str(error), culprit, notes)
        self.kill()
        if self.scene.pidfd >= 0:
            process.wait_pidfd(self.scene.pidfd)
            self._hear_last_words()
        self.scene.close()
        self.finish(None)

    def _pin(self) -> bool:
        """Where it is all that tells its processes from others, hold its mount namespace; False if not now."""
        if not self.pins or self.mounts >= 0:
            return False
        self.mounts = watching.pin_mounts(self.scene.pid)
        return self.mounts >= 0

    def _hear_last_words(self) -> None:
        """Prefer the reason of the new process: a step out here may fail only because it gave up first."""
        while self.scene.channel is not None and (got := wire.receive(self.scene.channel)) is not None:
            (kind, *rest), fds = got
            for fd in fds:
                os.close(fd)
            if kind == "failed":
                self.result["failed"] = tuple(rest)

    def _answer(self) -> str | None:
        """The caller's answer to a question of `--step`: "continue" or "shell"; None when it wants an end."""
        while (got := wire.receive(self.caller)) is not None:
            (kind, *rest), fds = got
            if kind in {"continue", "shell"}:
                return str(kind)
            if kind == "terminal":
                self.terminal = (fds.pop(), rest[0])
            else:  # it shall be killed, or a signal came, such as Ctrl-C
                return None
        return None

    def on_channel(self) -> bool:
        """Take one message of the new process; False when it has closed its end."""
        assert self.scene.channel is not None
        got = wire.receive(self.scene.channel)
        if got is None:
            return False
        (kind, *rest), fds = got
        if kind == "failed":
            self.result["failed"] = tuple(rest)
        elif kind == "not executed":
            self.result["not executed"] = tuple(rest)
        elif kind == "note":
            self.result["notes"].append(tuple(rest))
        elif kind == "listener":
            self.listener = fds.pop()
        elif kind == "console" and self.plan.keeping:
            self.console = os.dup(fds[0])
            self._say((kind, *rest), fds)
        elif kind == "next":
            self._say((kind, *rest))
            answer = self._answer()
            if answer is None:
                self.result["failed"] = (rest[0], 125, STOPPED, "", [])
                self.kill()
            else:
                wire.send(self.scene.channel, (answer,))
        else:
            self._say((kind, *rest), fds)
        for fd in fds:
            os.close(fd)
        return True

    def channel_closed(self) -> None:
        """The new process has closed its end: unless it said otherwise, it is now the command."""
        assert self.scene.channel is not None
        self.scene.channel.close()
        if self._pin():
            self._say(("pinned",), [self.mounts])
        if early.has_ended(self.scene.pid) and "not executed" not in self.result:
            self.result.setdefault("failed", (-1, 0, "its first process ended before it became the command", "", []))
        if "failed" not in self.result and "not executed" not in self.result:
            self._attest()
            self._say(("executed", self.result.get("attested", {}), self.result["notes"]))

    def _attest(self) -> None:
        """Ask the kernel what is in force in the new process now; it may have ended already."""
        wanted = {"Name", "NoNewPrivs", "Seccomp", "CapEff", "CapBnd", "CapPrm", "NSpid", "Uid"}
        try:
            with open(f"/proc/{self.scene.pid}/status", "rb", buffering=0) as status:
                lines = status.read(4096).decode(errors="replace").splitlines()
        except OSError:
            return
        fields = (line.partition(":")[::2] for line in lines)
        self.result["attested"] = {name: value.strip() for name, value in fields if name in wanted}

    def on_refusal(self) -> bool:
        """Answer one refused call; False when nobody is left to refuse or it was too many."""
        try:
            event = seccomp.notify_receive(self.listener)
            self.refused[event.nr] = self.refused.get(event.nr, 0) + 1
            seccomp.notify_respond(self.listener, event.id, error=EPERM)
        except OSError as error:
            if error.errno != ENOENT:  # ENOENT: who called was killed meanwhile
                return False
        self.refusals += 1
        return self.refusals < MOST_REFUSALS

    def close_listener(self) -> None:
        """Stop listening; the filter stays."""
        if self.listener >= 0:
            os.close(self.listener)
            self.listener = -1

    def on_caller(self) -> bool:
        """Pass on a signal; when the caller is gone, end everything and return False."""
        got = wire.receive(self.caller)
        if got is None and self.kept:
            return False
        if got is None or got[0][0] == "kill":
            self.kill()
        elif got[0][0] == "go":
            self._go()
        elif got[0][0] == "no more input":
            self._close_input()
        elif got[0][0] == "signal":
            self.signal(got[0][1])
            if self.plan.keeping:  # who owns one that outlives us sends what we did not come to
                self.signalled += 1
                # not waiting: who owns us may be waiting for room to ask for more
                if wire.send_if_room(self.caller, ("signalled", self.signalled)):
                    self.signalled = 0
        elif got[0][0] == "stop":
            self.signal(got[0][1])
            patience = time.monotonic() + got[0][2]
            if not self.deadline or patience < self.deadline:
                self.deadline, self.stopping = patience, True
        elif got[0][0] == "terminal":
            self.terminal = (got[1].pop(), got[0][1])
        if got is None and self.terminal is not None:
            self._restore_terminal(*self.terminal)
        return got is not None

    def _go(self) -> None:
        """It is written down, and can be found without us: let it go on to the command."""
        self.kept = True
        assert self.scene.channel is not None
        try:
            wire.send(self.scene.channel, ("go",))
        except OSError:
            pass  # it has ended; the end is on its way to the caller

    def _close_input(self) -> None:
        if "input" in self.held:
            os.close(self.held.pop("input"))

    def take_over(self, caller: _socket.socket) -> list[int]:
        """Have another caller; returns what that needs: the pidfd, and the terminal if there is one."""
        self.caller.close()
        self.caller = caller
        return [self.scene.pidfd, *([self.console] if self.console >= 0 else [])]

    @staticmethod
    def _restore_terminal(fd: int, saved: bytes) -> None:
        """The caller died with its terminal in raw mode: put it back in its place."""
        try:
            terminal.restore(fd, saved)
        except OSError:
            pass  # the terminal went away with the caller

    def signal(self, number: int) -> None:
        """Send a signal to the first process.

        Process 1 of a pid namespace does not get signals it has no handler for (pid_namespaces(7)). One
        that would have ended any other process ends the container here, and counts as what ended it.
        """
        if self.plan.own_pids and not self.own_init and process.would_be_lost(self.scene.pid, number):
            self.ended_by, number = number, KILL
        try:
            process.pidfd_send_signal(self.scene.pidfd, number)
        except ProcessLookupError:
            pass  # it has ended; the end is on its way to the caller

    def time_out(self) -> None:
        """The time the caller gave is over: end everything and say why."""
        self.result["timed_out"] = not self.stopping
        self.deadline = 0.0
        self.kill()

    def kill(self) -> None:
        """End everything inside at once."""
        if self.scene.pidfd >= 0:
            self.signal(9)
        if self.kept or not self.plan.own_pids:
            kill_groups(self.plan.groups)  # one that is kept may be frozen, and then a signal alone waits

    def finish(self, ended: process.Exit | None) -> bool:
        """Give everything back and tell the caller how it ended.

        True where that may still want what is left in its pipes, see `on_taken`.
        """
        result = self.result
        reach(self.plan.failpoint, "stage-ended")
        result["wall"] = (time.monotonic_ns() - self.started) / 1e9
        if ended is not None:
            result["code"], result["status"] = ended.code, ended.status
            if self.ended_by and (ended.code, ended.status) == (process.CLD_KILLED, KILL):
                result["status"] = self.ended_by
            result["cpu"] = (ended.user_time, ended.system_time)
            result["max_rss"] = ended.max_rss
        self.close_listener()
        result["refused"] = self.refused
        result["counters"] = {name: _read(path) for name, path in self.plan.counters}
        if not self.plan.own_pids:
            kill_groups(self.plan.groups)
        watching.kill_sharing(self.mounts)
        remove_groups(self.plan.groups)
        if self.plan.made_room:
            step_back(self.plan.made_room)
        if self.plan.keeping:  # before it is told: of two owners the first may be at its end, and still seem to hear
            leave_word(self.plan.keeping, self.result if self.kept else dict(NEVER))
        reach(self.plan.failpoint, "stage-written")
        for path in self.plan.unlink:
            try:
                os.unlink(path)
            except OSError:
                pass  # who looks for it next finds out that it is stale
        said = self._say(("ended", result))
        reach(self.plan.failpoint, "stage-said")
        if said and self.kept:
            return True
        if not said and self.left is not None:
            self.left(result)
        self.taken = said
        self.let_go()
        return False

    def on_taken(self) -> bool:
        """The caller has taken what was left, or is gone; False when there is nothing to wait for any more."""
        got = wire.receive(self.caller)
        if got is not None and got[0][0] != "taken":
            return True
        self.taken = got is not None
        return False

    def let_go(self) -> None:
        """Close all there is of it; what is left in its pipes, and was not `taken`, is written down."""
        if not self.taken and self.kept:
            save_output(self.plan.keeping, self.held)
        for fd in (self.scene.pidfd, self.console, *self.held.values()):
            if fd >= 0:
                os.close(fd)
        self.scene.pidfd, self.console, self.held = -1, -1, {}
        if not self.taken:
            while (got := wire.receive(self.caller)) is not None:
                if got[0][0] == "terminal":
                    self.terminal = (got[1].pop(), got[0][1])
            if self.terminal is not None:
                self._restore_terminal(*self.terminal)
        if self.terminal is not None:
            os.close(self.terminal[0])
        self.caller.close()

    def _say(self, message: tuple[Any, ...], fds: list[int] | None = None) -> bool:
        try:
            wire.send(self.caller, message, fds or [])
        except OSError:
            return False  # the caller is gone: its end of stream makes the server end the container
        return True


def _read(path: str) -> str:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(4096).decode(errors="replace")
    except OSError:
        return ""
