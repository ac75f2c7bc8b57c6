"""What came of a container: a result, or an error, of the report of its stage."""

from __future__ import annotations

from cloche.engine.reason import Reason, Usage, exit_code_of, oom_kills, reason_of, usage_of
from cloche.errors import StageError
from cloche.records import record
from cloche.runtime.receipt import Receipt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cloche.sandbox.running import Prepared
    from cloche.stage.operation import Plan


@record
class Result:
    """What came of a command.

    exit_code   its own; 124 timed out, 126 not executable, 127 not found, 128+n killed by signal n
    stdout      what it wrote, str or bytes as asked; None where it went elsewhere
    stderr      the same
    reason      what ended it (Reason)
    receipt     every layer of isolation, enforced or not, and why (Receipt)
    usage       processor time, peak memory, wall-clock time (Usage)
    """

    exit_code: int
    stdout: Any
    stderr: Any
    reason: Reason
    receipt: Receipt
    usage: Usage

    @property
    def ok(self) -> bool:
        """Whether it exited with 0."""
        return self.exit_code == 0


def conclude(prepared: Prepared, ended: dict[str, Any], stdout: Any = None, stderr: Any = None) -> Result:
    """The result of a container that has ended. Raises StageError when it could not be made."""
    if "failed" in ended:
        if oom_kills(ended["counters"]):
            raise StageError("the memory limit is too small for the container itself", hint="give it more: --memory")
        raise set_up_error(prepared.plan, ended["failed"])
    names = refused_names(ended["refused"], prepared.request.machine)
    receipt = prepared.receipt.with_notes(ended["notes"]).attest(ended.get("attested", {}))
    reason = reason_of(ended, names, prepared.plan.timeout)
    return Result(exit_code_of(ended), stdout, stderr, reason, receipt, usage_of(ended))


def refused_names(refused: dict[int, int], machine: str) -> tuple[str, ...]:
    """Names of the calls the filter refused, most often refused first."""
    if not refused:
        return ()
    from cloche.runtime.seccomp.syscalls import name

    order = sorted(refused, key=lambda nr: -refused[nr])
    return tuple(name(nr, machine) or f"number {nr}" for nr in order)


def set_up_error(plan: Plan, failed: tuple[Any, ...]) -> StageError:
    """A failed step as an error a person can act on."""
    index, code, text, culprit, notes = failed
    if index < 0 or index >= len(plan.operations):
        return StageError(f"the container could not be set up: {text}", errno=code)
    step = plan.operations[index]
    name = type(step).__name__
    what = f" ({', '.join(notes)})" if notes else ""
    about = f" {culprit}" if culprit else ""
    message = f"{_words(name)}{about}: {text[:1].lower() + text[1:]}{what}"
    hint = step.hint(code) or f"the step was: {step.calls()[0]}"
    return StageError(message, op=name, errno=code, hint=hint)


def _words(name: str) -> str:
    """CreateGroup as "create group"."""
    return "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip()
