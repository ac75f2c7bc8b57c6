"""`cloche explain` prints a plan and changes nothing; `run --explain` prints it as it happens.

Each step: its number, what it does in plain words, and the system calls with their arguments. Then the
receipt: every layer, enforced or not, and why.
"""

from __future__ import annotations

import sys

from cloche.cli.front import Observer
from cloche.cli.options import find
from cloche.cli.output import plain
from cloche.cli.request import options_of
from cloche.cli.steps import describe, describe_plan, plan_lines, receipt_lines, step_lines
from cloche.linux import terminal
from cloche.sandbox.running import Prepared, prepare
from cloche.spec.reader import write_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from cloche.cli.front import Relayed
    from cloche.cli.grammar import Parsed
    from cloche.sandbox.results import Result


def explain(parsed: Parsed) -> int:
    """Print what `run` would do with the same arguments."""
    options = options_of(find("explain"), parsed)
    prepared = prepare(options, dry=True, size=terminal.new_size() if options.tty else (0, 0))
    steps, receipt = prepared.plan.operations, prepared.receipt
    if parsed.text("format") == "json":
        print(write_json(describe_plan(steps, receipt)))
    else:
        print("\n".join(plan_lines(steps, receipt, "the stage")))
    return 0


class Narrator(Observer):
    """Prints each step on stderr as it is taken, and the receipt at the end."""

    def __init__(self, prepared: Prepared, *, as_json: bool) -> None:
        self.steps = prepared.plan.operations
        self.as_json = as_json
        self.out = sys.stderr

    def step(self, index: int, nanoseconds: int) -> None:
        """A step has been taken."""
        op = self.steps[index]
        if self.as_json:
            took = {} if nanoseconds < 0 else {"microseconds": nanoseconds / 1000}
            print(write_json({**describe(index, op), **took}), file=self.out)
        else:
            self._print(step_lines(index, op, "" if nanoseconds < 0 else f"  [{nanoseconds / 1000:.0f} µs]"))
        self.out.flush()

    def before(self, run: Relayed, index: int) -> None:
        """Show the step that is next, and wait for a key."""
        op = self.steps[index]
        self._print(step_lines(index, op))
        inside = op.side == "inside"
        choices = "[enter] take it" + ("   [s] a shell as things stand" if inside else "") + "   [q] stop here"
        while True:
            print(f"     {choices} > ", end="", file=self.out, flush=True)
            answer = sys.stdin.readline()
            if not answer or answer.strip() == "q":
                run.send("kill")
                run.send("continue")
                return
            if answer.strip() == "s" and inside:
                run.send("shell")
                return
            if not answer.strip():
                run.send("continue")
                return

    def receipt(self, result: Result) -> None:
        """How it ended, and the layers."""
        if self.as_json:
            usage = vars(result.usage)
            reason = {"kind": result.reason.kind, "text": result.reason.text, "blocked": list(result.reason.blocked)}
            document = {
                "exit_code": result.exit_code,
                "reason": reason,
                "receipt": result.receipt.to_dict(),
                "usage": usage,
            }
            print(write_json(document), file=self.out)
            return
        print(f"\n{plain(result.reason.text)}, after {result.usage.wall * 1000:.1f} ms", file=self.out)
        print("receipt:", file=self.out)
        self._print(receipt_lines(result.receipt))

    def _print(self, lines: Iterable[str]) -> None:
        for line in lines:
            print(line, file=self.out)
