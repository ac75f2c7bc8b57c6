"""`events`: what a container uses, and when it runs out of memory."""

from __future__ import annotations

import time

from cloche.cli.table import FLAG, VALUE, Operand, Option, Verb
from cloche.errors import ConflictError, SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed
    from cloche.cli.runtime.globals import Globals
    from cloche.runtime.containers import Container

# as Go writes them; a unit stands before those that begin like it
UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
LONGEST = 86400.0  # seconds in one wait: poll(2) knows no more than 24 days

VERBS = {
    "events": Verb(
        "events",
        "print what a container uses, again and again, as JSON",
        ("cloche-runtime events [--stats] [--interval TIME] ID",),
        (
            "A line of JSON at each interval, and one whenever the container runs out of memory, until it ends.",
            "An interval is a number with ns, us, ms, s, m or h, or several: 1m30s.",
        ),
        (
            Option(("--interval",), VALUE, "Options", "TIME", "how long from one line to the next", default="5s"),
            Option(("--stats",), FLAG, "Options", "", "print one line now, and end"),
        ),
        operands=(Operand("ID", "the container", required=True, complete="<container>"),),
        examples=(("cloche-runtime events --stats demo", "what demo uses now"),),
        program="cloche-runtime",
    )
}


def run(name: str, given: Parsed, options: Globals) -> int:
    """Carry out `events`."""
    from cloche.cli.runtime.globals import warn
    from cloche.runtime.cgroups.oom import OomWatch
    from cloche.runtime.containers import load

    del name
    text = given.text("interval")
    interval = seconds("5s" if text is None else text)
    container = load(options.root, given.positionals[0])
    if container.status() in {"stopped", "creating"}:
        raise ConflictError(f"container not running: {container.id} is {container.status()}")
    if not container.groups:
        warn(
            "the container has no control groups, nothing is counted (it was made without the right to have any)",
            options,
        )
    if given.flag("stats"):
        _print_stats(container)
        return 0
    try:
        watch = OomWatch(container.groups, container.pid)
    except ProcessLookupError:
        return 0  # it ended just now
    with watch:
        due = time.monotonic() + interval
        while container.alive():
            happened = watch.wait(min(max(0.0, due - time.monotonic()), LONGEST))
            if happened == "oom":
                _print(container, "oom", None)
            elif happened == "gone":
                break
            if time.monotonic() >= due:
                _print_stats(container)
                due += interval
    return 0


def _print_stats(container: Container) -> None:
    from cloche.runtime.cgroups.stats import stats

    _print(container, "stats", stats(container.groups))


def _print(container: Container, kind: str, data: object) -> None:
    from cloche.cli.runtime.globals import say
    from cloche.spec.reader import write_json

    entry = {"type": kind, "id": container.id, **({"data": data} if data is not None else {})}
    say(write_json(entry) + "\n")


def seconds(text: str) -> float:
    """A duration such as 500ms, 5s, 1m30s."""
    rest, total = text, 0.0
    while rest:
        after = rest.lstrip("0123456789.")
        number = rest[: len(rest) - len(after)]
        unit = next((unit for unit in UNITS if after.startswith(unit)), "")
        if not unit or not number.replace(".", "", 1).isdecimal():
            break
        total += float(number) * UNITS[unit]
        rest = after[len(unit) :]
    if rest or total <= 0:
        raise SpecError(f"--interval {text}: a time above 0 is needed, such as 5s or 1m30s")
    return total
