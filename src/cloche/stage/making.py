"""A plan carried out by this very process, for a container that goes on when we have ended.

    make(plan, stdio, callbacks)  outside steps; what the new process asks for; until it says it is ready
    Made.keep()                   it is written down: from now on it lives without us
    Made.abandon()                it is not: end it

`server` is the other way, for containers that belong to a program or a command that stays.
"""

from __future__ import annotations

import posix as os

from cloche.linux import process
from cloche.linux.reading import read
from cloche.stage import inside, seccomp_agent, wire
from cloche.stage.hearing import hear_execution
from cloche.stage.operation import OUTSIDE
from cloche.stage.points import reach
from cloche.stage.scene import Outside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.stage.operation import Plan

EPIPE = 32


class StepFailed(Exception):
    """A step failed: its index in the plan, errno, text, what it was about, and the calls' notes."""

    def __init__(self, index: int, errno: int, text: str, culprit: str, notes: list[str]) -> None:
        super().__init__(text)
        self.failed = index, errno, text, culprit, notes


class Callbacks:
    """What the runtime does when the new process is at certain points; these do nothing."""

    def made(self, pid: int) -> None:
        """The process is there."""

    def meanwhile(self) -> None:
        """It carries out its steps: a time for what has to be done anyway."""

    def hooks(self, pid: int) -> None:
        """Its namespaces and mounts are there, its root is not yet; OSError ends it."""

    def console(self, master: int) -> None:
        """Its terminal; the descriptor is closed afterwards."""

    def listener(self, fd: int, pid: int) -> None:
        """The listener of its seccomp filter, for an agent; the descriptor is closed afterwards."""


class Made:
    """A process that has been made and waits for a word."""

    def __init__(self, scene: Outside, notes: list[tuple[str, str]], callbacks: Callbacks) -> None:
        self.scene, self.notes, self.callbacks = scene, notes, callbacks
        self.pid, self.pidfd = scene.pid, scene.pidfd
        self.failed: tuple[int, str, str] | None = None  # errno, what, hint: why it could not become the command

    def keep(self) -> tuple[int, str, str] | None:
        """Let it go on without us; waits until it does: it listens for `start`, or is the command. Returns `failed`."""
        assert self.scene.channel is not None
        for done in self.scene.undo:
            done.keep()
        try:
            wire.send(self.scene.channel, ("keep",))
        except OSError:
            return None  # it has ended; who waits for it will hear
        self.failed = hear_execution(self.scene.channel, self.pid, self.pidfd, self.callbacks)
        return self.failed

    def abandon(self) -> None:
        """Kill it, and wait for its end."""
        _end(self.scene)


def make(plan: Plan, stdio: list[int], callbacks: Callbacks) -> Made:
    """Carry a plan out as far as the new process says "ready". Raises StepFailed, with nothing left over.

    `stdio` are the descriptors of its stdin, stdout and stderr, and stay the caller's. To be called in a
    single-threaded process, where every signal is at its default for the new one to inherit.
    """
    scene = Outside([os.dup(fd) for fd in stdio])
    step = -1  # which one is carried out: it is told where it failed
    try:
        for index, op in enumerate(plan.operations):
            if op.side != OUTSIDE:
                continue
            step = index
            reach(plan.failpoint, type(op).__name__)
            op.execute(scene)
            if scene.in_child:
                inside.run(plan, scene)
        step = -1  # what the caller does from now on is none
        return Made(scene, scene.notes + _listen(plan, scene, callbacks), callbacks)
    except StepFailed as failure:
        failure.failed[4].extend(_end(scene))
        raise
    except OSError as error:
        last = _last_words(scene)
        left = _end(scene)
        if last is not None:
            last.failed[4].extend(left)
            raise last from None
        if error.errno == EPIPE:  # it has ended while something was said to it
            raise StepFailed(-1, 0, f"its first process {_how_it_ended(plan)} before it was ready", "", left) from None
        culprit = error.filename if isinstance(error.filename, str) else ""
        notes = [*getattr(error, "__notes__", []), *left]
        raise StepFailed(step, error.errno or 0, error.strerror or str(error), culprit, notes) from error
    except BaseException:  # of a callback, with an error of its own kind
        if not scene.in_child:
            _end(scene)
        raise
    finally:
        if not scene.in_child:
            scene.close()


def _listen(plan: Plan, scene: Outside, callbacks: Callbacks) -> list[tuple[str, str]]:
    """Answer the new process until it is ready; returns what came out weaker."""
    notes: list[tuple[str, str]] = []
    assert scene.channel is not None
    # only now: until this it ends with us in any case, and it has waited for what the steps out here have made for it
    callbacks.made(scene.pid)
    callbacks.meanwhile()
    while True:
        got = wire.receive(scene.channel)
        if got is None:
            raise StepFailed(-1, 0, f"its first process {_how_it_ended(plan)} before it was ready", "", [])
        (kind, *rest), fds = got
        try:
            if kind == "ready":
                return notes
            if kind == "failed":
                raise StepFailed(*rest)
            if kind == "note":
                notes.append((rest[0], rest[1]))
            elif kind == "hooks":
                _at_hooks(plan, scene, callbacks)
            elif kind == "console":
                callbacks.console(fds[0])
            elif kind == "agent":
                seccomp_agent.collect(scene.channel, scene.pidfd, rest[0], fds)
                callbacks.listener(fds[0], scene.pid)
        finally:
            for fd in fds:
                os.close(fd)


def _how_it_ended(plan: Plan) -> str:
    """To be asked while its groups are there: v1 counts in memory.oom_control, v2 in memory.events."""
    for path in plan.groups:
        for name in ("memory.oom_control", "memory.events"):
            words = read(f"{path}/{name}").split()
            if "oom_kill" in words and words[words.index("oom_kill") + 1] != "0":
                return f"was killed for lack of memory ({path} has too low a limit)"
    return "ended"


def _at_hooks(plan: Plan, scene: Outside, callbacks: Callbacks) -> None:
    assert scene.channel is not None
    index = next(i for i, op in enumerate(plan.operations) if type(op).__name__ == "AskForHooks")
    try:
        callbacks.hooks(scene.pid)
    except OSError as error:
        raise StepFailed(index, error.errno or 5, str(error.strerror), str(error.filename), []) from error
    wire.send(scene.channel, ("continue", scene.pid))


def _last_words(scene: Outside) -> StepFailed | None:
    """A step out here may have failed only because the new process gave up first: its reason counts."""
    if scene.channel is None or scene.pidfd < 0:
        return None
    process.pidfd_send_signal(scene.pidfd, 9)
    while (got := wire.receive(scene.channel)) is not None:
        (kind, *rest), fds = got
        for fd in fds:
            os.close(fd)
        if kind == "failed":
            return StepFailed(*rest)
    return None


def _end(scene: Outside) -> list[str]:
    """Kill it, wait for its end, and give back what it had from outside; returns what could not be."""
    if scene.pidfd >= 0:
        try:
            process.pidfd_send_signal(scene.pidfd, 9)
        except ProcessLookupError:
            pass
        process.wait_pidfd(scene.pidfd)
    return [text for done in reversed(scene.undo) for text in done.undo()]
