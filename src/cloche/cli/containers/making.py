"""One more process of a container, made by this very process, and between it and our streams until its end.

    front (this process) ── plan ──▶ the new process, a child of ours
      signals, terminal, relays      dies with us

No stage stands between, which would cost as much time as all else: what there is to clean up is the container's.
"""

from __future__ import annotations

import posix as os
import select

from cloche.cli import front
from cloche.errors import StageError
from cloche.linux import process
from cloche.linux.files import write_value
from cloche.runtime.entering import plan_entry
from cloche.stage.inside import default_signals
from cloche.stage.making import Callbacks, Made, StepFailed, make

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable
    from typing import Any

    from cloche.runtime.entering import Entry

    # told the pid; what it returns is called at the end with the exit code, None where there was no command
    Record = Callable[[int], Callable[[int | None], None]]
else:
    import _signal

PIPE, KILL = 13, 9
NOT_FOUND, NOT_EXECUTABLE = 127, 126
MISSING = {2, 20}  # ENOENT, ENOTDIR


class NotExecutedError(StageError):
    """The command is not there, or cannot be executed; `code` is what that exits with."""

    def __init__(self, message: str, errno: int, *, hint: str = "") -> None:
        super().__init__(message, errno=errno, hint=hint)
        self.code = NOT_FOUND if errno in MISSING else NOT_EXECUTABLE


class Terminal(Callbacks):
    """Keeps the new process' terminal."""

    master = -1

    def console(self, master: int) -> None:
        self.master = os.dup(master)


class Direct:
    """A child of ours, as `front.Streams` wants to see what it relays for."""

    def __init__(self, made: Made) -> None:
        self.made = made

    def fileno(self) -> int:
        """Readable at its end."""
        return self.made.pidfd

    def receive(self) -> tuple[tuple[Any, ...], list[int]]:
        """How it ended."""
        ended = process.wait_pidfd(self.made.pidfd)
        assert ended is not None
        code = ended.status if ended.code == process.CLD_EXITED else 128 + ended.status
        return ("ended", {"exit_code": code}), []

    def send(self, kind: str, *rest: Any, fds: tuple[int, ...] | list[int] = ()) -> None:
        """Have a signal sent to it: `signal` NUMBER, or `stop` NUMBER SECONDS, after which it is killed."""
        del fds
        if kind == "signal":
            self._signal(rest[0])
        elif kind == "stop":
            self._signal(rest[0])
            select.select([self.made.pidfd], [], [], rest[1])
            self._signal(KILL)

    def _signal(self, number: int) -> None:
        try:
            process.pidfd_send_signal(self.made.pidfd, number)
        except ProcessLookupError:
            pass  # it has just ended

    def close(self) -> None:
        """Let go."""
        os.close(self.made.pidfd)


def carry_out(entry: Entry, stdio: list[int], terminal: Terminal) -> Made:
    """Make the process; it waits for `let_go`. Raises StageError."""
    if entry.confinement is not None and entry.confinement.oom_score_adj is not None:
        write_value("/proc/self/oom_score_adj", str(entry.confinement.oom_score_adj))
    plan = plan_entry(entry)
    try:
        return make(plan, stdio, terminal)
    except StepFailed as failure:
        from cloche.runtime.failures import explain_step

        raise explain_step(plan, failure) from None


def let_go(made: Made) -> None:
    """Let it go on to the command. Raises NotExecutedError."""
    failed = made.keep()
    if failed is not None:
        process.wait_pidfd(made.pidfd)
        raise NotExecutedError(failed[1], failed[0], hint=failed[2])


def follow(entry: Entry, record: Record, *, interactive: bool) -> int:
    """Until the process has ended; returns its exit code. Raises StageError, NotExecutedError."""
    tty = entry.terminal_size is not None
    streams = front.Streams(interactive=interactive, tty=tty, patient=True)
    terminal = Terminal()
    default_signals()
    made = carry_out(entry, streams.theirs, terminal)
    _signal.signal(PIPE, _signal.SIG_IGN)
    streams.handed_over()
    run = Direct(made)
    with front.passing_signals(run, streams, tty=tty):
        forget = record(made.pid)
        code: int | None = None
        try:
            let_go(made)
            if terminal.master >= 0:
                streams.connect(terminal.master)
            code = int(streams.relay(run, front.Observer(), lambda _pid: None)["exit_code"])
            return code
        finally:
            forget(code)
