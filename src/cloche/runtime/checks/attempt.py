"""Trying something out in a process of its own, which is given five seconds.

    the caller                       a child, leader of its own session
    attempt(f) ───── fork ─────────▶ f()
      waits, at most 5 s   pipe      │
      Outcome ◀──── value or errno ──┘

Whatever a child does to itself ends with it, and it ends with its caller. The calling process must be
single-threaded. Results are plain values (marshal).
"""

from __future__ import annotations

import errno
import marshal
import os
import select
import time

from cloche.linux import process
from cloche.records import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

PATIENCE = 5.0  # seconds
MOST = 1 << 16  # bytes of an answer, which a pipe takes in one write

DONE, REFUSED, HUNG, DIED, BROKEN = "done", "refused", "hung", "died", "broken"


@record
class Outcome:
    """How an attempt went: `kind`, the value or the errno, and what to say about it."""

    kind: str
    value: Any
    code: int
    says: str

    @property
    def ok(self) -> bool:
        """Whether it worked."""
        return self.kind == DONE


def attempt(function: Callable[[], Any], *, seconds: float = PATIENCE) -> Outcome:
    """Run `function` in a forked child and tell how it went; never raises for what goes wrong there."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        pid = os.fork()
    except OSError as error:
        os.close(reading)
        os.close(writing)
        return _refused(error)
    if pid == 0:
        os.close(reading)
        _be_alone()
        deliver(writing, function)
    os.close(writing)
    data = None
    try:
        if select.select([reading], [], [], seconds)[0]:
            data = os.read(reading, MOST)
    finally:
        os.close(reading)
        status = _end(pid, at_once=not data)
    if data is None:
        return Outcome(HUNG, None, errno.ETIMEDOUT, f"no answer within {seconds:.0f} s")
    return _read(data, status)


def _be_alone() -> None:
    process.die_with_parent()
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1, 2):
        os.dup2(null, fd)


def deliver(writing: int, function: Callable[[], Any]) -> None:
    """Write what `function` returns, or how it failed, and end this process; never returns."""
    answer: tuple[Any, ...] = (BROKEN, "it could not be told what happened")
    try:
        try:
            answer = (DONE, function())
        except OSError as error:
            notes = [str(note) for note in getattr(error, "__notes__", [])]
            culprit = error.filename if isinstance(error.filename, str) else ""
            answer = (REFUSED, error.errno or errno.EIO, error.strerror or str(error), culprit, notes)
        except BaseException as error:
            answer = (BROKEN, f"{type(error).__name__}: {error}")
        os.write(writing, marshal.dumps(answer))
    finally:
        os._exit(0)


def _read(data: bytes, status: int) -> Outcome:
    if not data:
        return Outcome(DIED, None, 0, how_it_died(status))
    kind, *rest = marshal.loads(data)
    if kind == DONE:
        return Outcome(DONE, rest[0], 0, rest[0] if isinstance(rest[0], str) else "works")
    if kind == BROKEN:
        return Outcome(BROKEN, None, 0, f"the check itself failed, {rest[0]}")
    return _refused(rebuild(rest))


def rebuild(fields: Any) -> OSError:
    """The error that `deliver` took apart."""
    code, text, culprit, notes = fields
    error = OSError(code, text, culprit) if culprit else OSError(code, text)
    for note in notes:
        error.add_note(note)
    return error


def _refused(error: OSError) -> Outcome:
    code = error.errno or errno.EIO
    where = [str(note) for note in getattr(error, "__notes__", [])] + ([str(error.filename)] if error.filename else [])
    what = f"{error.strerror or error} ({errno.errorcode.get(code, code)})"
    return Outcome(REFUSED, None, code, ": ".join([*where, what]))


def how_it_died(status: int) -> str:
    """What a wait status says of a child that gave no answer."""
    if os.WIFSIGNALED(status):
        import signal

        number = os.WTERMSIG(status)
        names = {member.value: member.name for member in signal.Signals}
        return f"the process was killed by {names.get(number, f'signal {number}')}"
    return "the process ended without a word"


def _end(pid: int, *, at_once: bool) -> int:
    """Reap a child, killing it and its session if it does not go; its wait status, 0 if that is unknown.

    A bare number is safe here: a child that nobody has waited for keeps its own.
    """
    deadline = time.monotonic() + (0.2 if at_once else 2)
    killed = False
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        if time.monotonic() > deadline:
            if killed:
                return 0  # not even SIGKILL reaches it: it sleeps in the kernel
            _kill(pid)
            killed, deadline = True, time.monotonic() + 2
        time.sleep(0.0005)


def _kill(pid: int) -> None:
    for target in (-pid, pid):
        try:
            os.kill(target, 9)
        except (ProcessLookupError, PermissionError):
            pass  # it has not made its session yet, or has left it
