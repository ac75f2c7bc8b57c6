"""`checkpoint` and `restore`: named, and refused."""

from __future__ import annotations

from cloche.cli.table import Operand, Verb
from cloche.errors import UnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from cloche.cli.grammar import Parsed
    from cloche.cli.runtime.globals import Globals


WHY = "The verb is known so that engines get a plain answer: the memory of processes is not saved here."


def _verb(name: str, summary: str) -> Verb:
    operands = (Operand("ID", "the container", complete="<container>"), Operand("ARGUMENTS", "any", many=True))
    return Verb(
        name, summary, (f"cloche-runtime {name} ID",), (WHY,), (), operands=operands, stop=0, program="cloche-runtime"
    )


VERBS = {
    "checkpoint": _verb("checkpoint", "not supported: save a running container"),
    "restore": _verb("restore", "not supported: go on with a saved container"),
}


def run(name: str, given: Parsed, options: Globals) -> NoReturn:
    """Refuse."""
    del given, options
    raise UnsupportedError(
        f"{name}", needs="cloche-runtime does not save the memory of processes", hint="delete it, and create it anew"
    )
