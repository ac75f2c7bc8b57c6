"""`ps`: the processes of a container."""

from __future__ import annotations

from cloche.cli.table import VALUE, Operand, Option, Verb
from cloche.errors import NotFoundError, SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed
    from cloche.cli.runtime.globals import Globals

VERBS = {
    "ps": Verb(
        "ps",
        "list the processes of a container",
        ("cloche-runtime ps [--format table|json] ID [PS OPTIONS]",),
        ("The table is what ps(1) prints for them, with -ef or the options given.",),
        (
            Option(
                ("-f", "--format"),
                VALUE,
                "Options",
                "FORMAT",
                "a table, or the pids as json",
                default="table",
                complete="table json",
                closed=True,
            ),
        ),
        operands=(
            Operand("ID", "the container", required=True, complete="<container>"),
            Operand("PS OPTIONS", "for ps(1)", many=True),
        ),
        examples=(
            ("cloche-runtime ps demo", "its processes"),
            ("cloche-runtime ps demo -o pid,stat,args", "in other columns"),
        ),
        stop=1,
        program="cloche-runtime",
    )
}


def run(name: str, given: Parsed, options: Globals) -> int:
    """Carry out `ps`."""
    from cloche.cli.runtime.globals import say
    from cloche.runtime.changing import processes
    from cloche.runtime.containers import load

    del name
    container = load(options.root, given.positionals[0])
    pids = processes(container) or ([container.pid] if container.alive() else [])
    if given.text("format") == "json":
        from cloche.spec.reader import write_json

        say(write_json(pids) + "\n")
        return 0
    say(_table(set(pids), given.positionals[1:] or ["-ef"]))
    return 0


def _table(pids: set[int], words: list[str]) -> str:
    """ps(1)'s own lines: those whose PID column has one of ours."""
    import subprocess

    try:
        done = subprocess.run(["ps", *words], capture_output=True, text=True, errors="replace", check=False)
    except FileNotFoundError:
        raise NotFoundError("ps is not installed", hint="apt install procps; or --format json") from None
    lines = done.stdout.splitlines()
    if done.returncode and done.stderr.strip():
        raise SpecError(f"ps {' '.join(words)}: {done.stderr.strip().splitlines()[0]}", hint="ps --help all lists more")
    if done.returncode or not lines or "PID" not in lines[0].split():
        raise NotFoundError(f"ps {' '.join(words)} shows no column PID", hint="give options such as -ef or -o pid,comm")
    column = lines[0].split().index("PID")
    shown = [lines[0]]
    for line in lines[1:]:
        fields = line.split()
        if len(fields) > column and fields[column].isdecimal() and int(fields[column]) in pids:
            shown.append(line)
    return "\n".join(shown) + "\n"
