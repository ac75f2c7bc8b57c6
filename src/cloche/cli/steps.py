"""A plan and its receipt as lines of text or as data: what `explain` prints, of a sandbox and of a bundle."""

from __future__ import annotations

from cloche.cli.output import plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloche.runtime.receipt import Receipt
    from cloche.stage.operation import Operation


def describe(index: int, op: Operation) -> dict[str, object]:
    """One step as data."""
    return {
        "step": index + 1,
        "operation": type(op).__name__,
        "side": op.side,
        "calls": op.calls(),
        "meaning": op.meaning(),
    }


def describe_plan(steps: tuple[Operation, ...], receipt: Receipt) -> dict[str, object]:
    """All of it as data."""
    return {"steps": [describe(index, op) for index, op in enumerate(steps)], "receipt": receipt.to_dict()}


def step_lines(index: int, op: Operation, time: str = "") -> Iterator[str]:
    """One step for people: what it does, and its system calls."""
    yield f"{index + 1:>3}  {plain(op.meaning())}{time}"
    for call in op.calls():
        yield f"       {plain(call)}"


def receipt_lines(receipt: Receipt) -> Iterator[str]:
    """The layers as a table."""
    for line in str(receipt).splitlines():
        yield f"  {plain(line)}"


def plan_lines(steps: tuple[Operation, ...], receipt: Receipt, outside: str) -> Iterator[str]:
    """All of it for people; `outside` is who takes the steps outside."""
    side = ""
    for index, op in enumerate(steps):
        if op.side != side:
            if side:
                yield ""
            side = op.side
            yield f"{outside}, outside:" if side == "outside" else "the new process, inside:"
        yield from step_lines(index, op)
    yield ""
    yield "receipt, if every step succeeds:"
    yield from receipt_lines(receipt)
