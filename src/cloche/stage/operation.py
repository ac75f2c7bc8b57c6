"""What an operation is: one small named step that describes itself and carries itself out.

Operations are records of plain values, so that a plan can be printed, compared and sent. `side` says
who carries one out: the stage, outside the container, or the new process, inside it.

What does not belong here: deciding which operations a container needs; that is `runtime`'s.
"""

from __future__ import annotations

from cloche.records import rebuild, record, values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cloche.stage.scene import Inside, Outside

OUTSIDE = "outside"
INSIDE = "inside"


@record
class Operation:
    """One step of making a container."""

    side = INSIDE

    def execute(self, scene: Any) -> None:
        """Do it; OSError says what the kernel answered."""
        raise NotImplementedError

    def calls(self) -> list[str]:
        """The system calls it makes, with their arguments, as strace would print them."""
        raise NotImplementedError

    def meaning(self) -> str:
        """One plain sentence: what this hides from the process or allows it."""
        raise NotImplementedError

    def hint(self, code: int) -> str:
        """What a person can do when it failed with this errno; empty when nothing useful is known."""
        del code
        return ""


class OutsideOperation(Operation):
    """A step the stage carries out, before or after the new process is there."""

    side = OUTSIDE

    def execute(self, scene: Outside) -> None:
        raise NotImplementedError


class InsideOperation(Operation):
    """A step the new process carries out on itself."""

    def execute(self, scene: Inside) -> None:
        raise NotImplementedError


@record
class Plan:
    """Everything the stage needs to make one container: the steps, in order, and how to watch it.

    timeout      seconds after which everything inside is killed, 0 for never
    trace        report each step with its time (`run --explain`)
    step         wait for the caller before each step (`run --step`)
    own_pids     the first process is the init of a new pid namespace: when it ends, all end
    groups       cgroup directories made for this container, removed at its end
    counters     files of those groups to read at the end: (name, path)
    unlink       files to remove at the end
    failpoint    (operation or point name, action) for tests, from CLOCHE_FAILPOINT
    made_room    a cgroup whose processes stepped aside, and come back at the end
    keeping      a directory for word of its end, of a container that outlives its caller and its stage
    """

    operations: tuple[Operation, ...]
    timeout: float = 0.0
    trace: bool = False
    step: bool = False
    own_pids: bool = True
    groups: tuple[str, ...] = ()
    counters: tuple[tuple[str, str], ...] = ()
    unlink: tuple[str, ...] = ()
    failpoint: tuple[str, str] | None = None
    made_room: str = ""
    keeping: str = ""


def encode(plan: Plan) -> tuple[Any, ...]:
    """A plan as plain values, for the wire."""
    steps = [(type(op).__name__, values(op)) for op in plan.operations]
    return (steps, *values(plan)[1:])


def decode(message: tuple[Any, ...], classes: dict[str, type[Operation]]) -> Plan:
    """The plan that `encode` was given."""
    steps = tuple(rebuild(classes[name], fields) for name, fields in message[0])
    return rebuild(Plan, (steps, *message[1:]))


def without_operations(plan: Plan) -> Plan:
    """What is left to know of a plan once it has been carried out."""
    return rebuild(Plan, ((), *values(plan)[1:]))
