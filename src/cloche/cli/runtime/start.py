"""`start`: let a created container's process become its command."""

from __future__ import annotations

from cloche.cli.table import Operand, Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed
    from cloche.cli.runtime.globals import Globals

VERBS = {
    "start": Verb(
        "start",
        "start the command of a created container",
        ("cloche-runtime start ID",),
        ("The process that `create` has left waiting runs the startContainer hooks and becomes the command.",),
        (),
        operands=(Operand("ID", "the container", required=True, complete="<container>"),),
        program="cloche-runtime",
    )
}


def run(name: str, given: Parsed, options: Globals) -> int:
    """Carry out `start`."""
    from cloche.runtime.changing import start
    from cloche.runtime.containers import load

    del name
    start(load(options.root, given.positionals[0]).lock())
    return 0
