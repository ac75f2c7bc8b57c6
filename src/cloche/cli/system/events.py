"""`cloche events`: what happens, a line each, as docker prints it."""

from __future__ import annotations

import sys
import time

from cloche.cli.format import is_json, unescaped
from cloche.cli.output import plain
from cloche.cli.template_data import Map, Members
from cloche.cli.times import SECOND, time_of
from cloche.engine.event_filters import make_test
from cloche.engine.event_log import read
from cloche.errors import SpecError
from cloche.spec.reader import write_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cloche.cli.grammar import Parsed

    Event = dict[str, Any]


def events(parsed: Parsed) -> int:
    """Carry out `events`. Without --until it has no end."""
    since, until = (time_of(text) if (text := parsed.text(name)) else None for name in ("since", "until"))
    if since is not None and until is not None and since > until:
        raise SpecError("--since is after --until", hint="--since is the earlier one")
    shown = _form(parsed.text("format") or "")
    follow = until is None or until > time.time_ns()
    if since is None and not follow:
        since = 0
    for event in read(since, until, follow=follow, is_meant=make_test(parsed.all("filter"))):
        sys.stdout.write(shown(event) + "\n")
        sys.stdout.flush()
    return 0


def _form(form: str) -> Callable[[Event], str]:
    if not form:
        return line_of
    if is_json(form):
        return write_json
    from cloche.cli.template import compile_template

    render = compile_template(unescaped(form))
    return lambda event: plain(render(_members(event)))


def line_of(event: Event) -> str:
    """docker's line: time, type, action, ID (attribute=value, …)."""
    seconds, rest = divmod(event["timeNano"], SECOND)
    here = time.localtime(seconds)
    zone = time.strftime("%z", here)
    zone = "Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}"
    when = f"{time.strftime('%Y-%m-%dT%H:%M:%S', here)}.{rest:09}{zone}"
    actor = event["Actor"]
    attributes = ", ".join(f"{name}={value}" for name, value in sorted(actor["Attributes"].items()))
    line = f"{when} {event['Type']} {event['Action']} {actor['ID']}"
    return plain(f"{line} ({attributes})" if attributes else line)


def _members(event: Event) -> Members:
    """An event for a template: as JSON has it, and with the names of docker's fields beside."""
    actor = event["Actor"]
    names = ("status", "Status"), ("id", "ID"), ("from", "From"), ("scope", "Scope")
    more = {field: event.get(name, "") for name, field in names}
    more |= {"Time": event.get("time", 0), "TimeNano": event["timeNano"]}
    return Members({**event, "Actor": {**actor, "Attributes": Map(actor["Attributes"])}}, more)
