"""`pause` and `resume`: stop and continue all processes of a container."""

from __future__ import annotations

from cloche.cli.table import Operand, Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed
    from cloche.cli.runtime.globals import Globals

_ID = (Operand("ID", "the container", required=True, complete="<container>"),)
VERBS = {
    "pause": Verb(
        "pause",
        "stop all processes of a container",
        ("cloche-runtime pause ID",),
        ("They stay where they are, by their cgroup, until resume.",),
        (),
        operands=_ID,
        program="cloche-runtime",
    ),
    "resume": Verb(
        "resume",
        "let a paused container go on",
        ("cloche-runtime resume ID",),
        ("They go on from where pause has stopped them.",),
        (),
        operands=_ID,
        program="cloche-runtime",
    ),
}


def run(name: str, given: Parsed, options: Globals) -> int:
    """Carry out `pause` or `resume`."""
    from cloche.runtime.changing import pause, resume
    from cloche.runtime.containers import load

    container = load(options.root, given.positionals[0]).lock()
    (pause if name == "pause" else resume)(container)
    return 0
