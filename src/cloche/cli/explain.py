"""`cloche explain` prints a plan and changes nothing; `run --explain` prints it as it happens.

Each step: its number, what it does in plain words, and the system calls with their arguments. Then the
receipt: every layer, enforced or not, and why.
"""

from __future__ import annotations

import sys

from cloche.cli.front import Observer, terminal_size
from cloche.cli.options import find
from cloche.cli.output import plain
from cloche.cli.request import options_of
from cloche.sandbox.running import Prepared, prepare
from cloche.spec.reader import write_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

    from cloche.cli.grammar import Parsed
    from cloche.runtime.receipt import Receipt
    from cloche.sandbox.running import Result
    from cloche.stage.client import Run
    from cloche.stage.operation import Operation


def explain(parsed: Parsed) -> int:
    """Print what `run` would do with the same arguments."""
    options = options_of(find("explain"), parsed)
    prepared = prepare(options, dry=True, size=terminal_size() if options.tty else (0, 0))
    steps = prepared.plan.operations
    if parsed.text("format") == "json":
        document = {
            "steps": [describe(index, op) for index, op in enumerate(steps)],
            "receipt": prepared.receipt.to_dict(),
        }
        print(write_json(document))
        return 0
    side = ""
    for index, op in enumerate(steps):
        if op.side != side:
            side = op.side
            who = "the stage, outside:" if side == "outside" else "the new process, inside:"
            print(f"\n{who}" if index else who)
        print_step(sys.stdout, index, op, "")
    print("\nreceipt, if every step succeeds:")
    print_receipt(sys.stdout, prepared.receipt)
    return 0


def describe(index: int, op: Operation) -> dict[str, object]:
    """One step as data."""
    return {
        "step": index + 1,
        "operation": type(op).__name__,
        "side": op.side,
        "calls": op.calls(),
        "meaning": op.meaning(),
    }


def print_step(out: TextIO, index: int, op: Operation, time: str) -> None:
    """One step for people."""
    print(f"{index + 1:>3}  {plain(op.meaning())}{time}", file=out)
    for call in op.calls():
        print(f"       {plain(call)}", file=out)


def print_receipt(out: TextIO, receipt: Receipt) -> None:
    """The layers as a table."""
    for line in str(receipt).splitlines():
        print(f"  {plain(line)}", file=out)


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
            print_step(self.out, index, op, "" if nanoseconds < 0 else f"  [{nanoseconds / 1000:.0f} µs]")
        self.out.flush()

    def before(self, run: Run, index: int) -> None:
        """Show the step that is next, and wait for a key."""
        op = self.steps[index]
        print_step(self.out, index, op, "")
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
        print_receipt(self.out, result.receipt)
