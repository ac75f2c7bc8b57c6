"""`explain`: what `create` would do, step by step."""

from __future__ import annotations

from cloche.cli.runtime.create import COMMON, ID, creation
from cloche.cli.table import VALUE, Option, Verb
from cloche.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed
    from cloche.cli.runtime.globals import Globals

VERBS = {
    "explain": Verb(
        "explain",
        "show what `create` would do, step by step, without doing it",
        ("cloche-runtime explain [OPTIONS] ID",),
        (
            "Work out the plan for `create` with the same arguments and print it: each system call in order, with"
            " what it hides or allows in plain words, then every layer of isolation, enforced or not. Nothing is"
            " started and nothing changed.",
        ),
        (
            *COMMON,
            Option(("--format",), VALUE, "Options", "text|json", "how to print it", default="text"),
        ),
        operands=(ID,),
        examples=(("cloche-runtime explain --bundle ./box demo", "before `create --bundle ./box demo`"),),
        program="cloche-runtime",
    )
}


def run(name: str, given: Parsed, options: Globals) -> int:
    """Carry out `explain`."""
    from cloche.cli.runtime.globals import say, warn
    from cloche.cli.steps import describe_plan, plan_lines
    from cloche.runtime.bundle import read_config
    from cloche.runtime.creating import decide, unwritten
    from cloche.runtime.host import probe_host
    from cloche.spec.reader import write_json

    del name
    form = given.text("format") or "text"
    if form not in {"text", "json"}:
        raise SpecError(f"--format {form}: text or json is needed")
    asked = creation(given, options, master=False)
    config, warnings, _ = read_config(asked.bundle, given.text("config") or "")
    for warning in warnings:
        warn(warning, options)
    decided = decide(asked, config, unwritten(asked, config), probe_host())
    steps, receipt = decided.plan.operations, decided.receipt
    if form == "json":
        say(write_json(describe_plan(steps, receipt)) + "\n")
    else:
        say("\n".join(plan_lines(steps, receipt, "cloche-runtime")) + "\n")
    for layer, why in decided.groups.left_out:
        warn(f"{layer} is not in force: {why}", options)
    return 0
