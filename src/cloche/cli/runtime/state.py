"""`state` and `list`: what containers there are, and how they are."""

from __future__ import annotations

from cloche.cli.table import FLAG, VALUE, Operand, Option, Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed
    from cloche.cli.runtime.globals import Globals

VERBS = {
    "state": Verb(
        "state",
        "say how a container is, as JSON",
        ("cloche-runtime state ID",),
        ("The status is one of creating, created, running, paused and stopped, as the kernel has it at this moment.",),
        (),
        operands=(Operand("ID", "the container", required=True, complete="<container>"),),
        program="cloche-runtime",
    ),
    "list": Verb(
        "list",
        "list the containers below --root",
        ("cloche-runtime list [-q] [--format table|json]",),
        ("All that are not deleted, stopped ones as well. Engines keep theirs below a --root of their own.",),
        (
            Option(
                ("-f", "--format"),
                VALUE,
                "Options",
                "FORMAT",
                "a table or json",
                default="table",
                complete="table json",
                closed=True,
            ),
            Option(("-q", "--quiet"), FLAG, "Options", "", "only the ids"),
        ),
        examples=(
            ("cloche-runtime list", "your own"),
            ("cloche-runtime --root /run/docker/runtime-runc/moby list", "those of docker"),
        ),
        program="cloche-runtime",
    ),
}


def run(name: str, given: Parsed, options: Globals) -> int:
    """Carry out `state` or `list`."""
    from cloche.cli.runtime.globals import say, warn
    from cloche.runtime import containers

    if name == "state":
        print_json(containers.load(options.root, given.positionals[0]).state())
        return 0
    from cloche.spec.reader import write_json

    found = containers.every(options.root, lambda text: warn(text, options))
    if given.flag("quiet"):
        say("".join(f"{container.id}\n" for container in found))
        return 0
    states = [container.state() for container in found]
    if given.text("format") == "json":
        say(write_json(states or None) + "\n")
        return 0
    from cloche.cli.output import columns

    rows = [[str(state[key]) for key in ("id", "pid", "status", "bundle", "created", "owner")] for state in states]
    say(columns(rows, ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]))
    return 0


def print_json(value: dict[str, object]) -> None:
    """A JSON object over several lines, for people."""
    from cloche.cli.runtime.globals import say
    from cloche.spec.reader import write_json

    lines = [f"  {write_json(name)}: {write_json(member)}" for name, member in value.items()]
    say("{\n" + ",\n".join(lines) + "\n}\n")
