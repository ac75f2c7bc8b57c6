"""The tables of the verbs about all of it: `events`, `info`, `system …`."""

from __future__ import annotations

from cloche.cli.options import make_group
from cloche.cli.table import LIST, VALUE, Option, Verb, renamed

OPTIONS = "Options"

EVENTS = Verb(
    "events",
    "show what happens to containers, images and volumes, as it happens",
    ("cloche events [OPTIONS]",),
    (
        "What has happened is written down, so that it can be asked for later: --since shows that first. Without"
        " --until, events are shown until it is interrupted.",
        "A time is 2024-01-31T12:00:00, with a zone or without, seconds since 1970, or 10m for so long ago.",
        "Filters are container, image, volume, event, type, label, scope and daemon. Values of one are alternatives,"
        " but for labels; different ones have all to be true.",
    ),
    (
        Option(("--since",), VALUE, OPTIONS, "TIME", "also what has happened since then"),
        Option(("--until",), VALUE, OPTIONS, "TIME", "end then"),
        Option(("-f", "--filter"), LIST, OPTIONS, "KEY=VALUE", "only events of which this is true"),
        Option(("--format",), VALUE, OPTIONS, "FORMAT", "json, or a template such as '{{.Action}}'", complete="json"),
    ),
    examples=(
        ("cloche events", "what happens from now on"),
        ("cloche events --since 1h --until 0s -f type=container -f event=die", "what has ended in the last hour"),
        ("cloche events --format '{{.Time}} {{.Action}} {{.Actor.Attributes.name}}'", "in a form of one's own"),
    ),
)

SYSTEM_EVENTS = renamed(EVENTS, "system events")

SYSTEM = make_group(
    "system",
    "what there is, what it takes up, and taking it away",
    ("Verbs about all containers, images and volumes at once.",),
)
