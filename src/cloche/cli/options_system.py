"""The tables of the verbs about all of it: `events`, `info`, `system …`."""

from __future__ import annotations

from cloche.cli.options import make_group
from cloche.cli.table import FLAG, LIST, VALUE, Option, Verb, renamed

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

SYSTEM_DF = Verb(
    "system df",
    "show what images, containers and volumes take up on the disk",
    ("cloche system df [OPTIONS]",),
    (
        "What several images share is counted once. An image is there twice, as it was sent and unpacked; both count in"
        " the SIZE of all images, which is what they take up, while that of one is of its unpacked layers.",
        "RECLAIMABLE is what no container needs, whether it runs or has ended, of images and volumes, and of containers"
        " what those have written that do not run.",
    ),
    (
        Option(("-v", "--verbose"), FLAG, OPTIONS, "", "each image, container and volume"),
        Option(
            ("--format",),
            VALUE,
            OPTIONS,
            "FORMAT",
            "json, table, or a template such as '{{.Type}}'",
            complete="json table",
        ),
    ),
    examples=(
        ("cloche system df", "how much there is of what"),
        ("cloche system df -v", "which images and volumes that is"),
    ),
)

SYSTEM_PRUNE = Verb(
    "system prune",
    "remove containers that have ended, and images that have no name",
    ("cloche system prune [OPTIONS]",),
    (
        "Asks before it does. Volumes are only removed with --volumes, and those somebody gave a name not even then:"
        " cloche volume prune -a does that.",
        "Filters are until=TIME, label=KEY[=VALUE] and label!=KEY[=VALUE].",
    ),
    (
        Option(("-a", "--all"), FLAG, OPTIONS, "", "also images that have a name, unless a container uses them"),
        Option(("-f", "--force"), FLAG, OPTIONS, "", "do not ask"),
        Option(("--volumes",), FLAG, OPTIONS, "", "also anonymous volumes that no container uses"),
        Option(("--filter",), LIST, OPTIONS, "KEY=VALUE", "only what this is true of"),
    ),
    examples=(
        ("cloche system prune -f", "what nobody misses"),
        ("cloche system prune -a --filter until=240h", "all that is not used and older than ten days"),
    ),
)

INFO = Verb(
    "info",
    "show what there is, on which machine, and how containers are isolated here",
    ("cloche info [OPTIONS]",),
    ("How many containers and images there are, where they are kept, what can be limited, and who containers run as.",),
    (
        Option(
            ("-f", "--format"), VALUE, OPTIONS, "FORMAT", "json, or a template such as '{{.Driver}}'", complete="json"
        ),
    ),
    examples=(
        ("cloche info", "all of it"),
        ("cloche info -f '{{.CgroupVersion}}'", "one thing"),
    ),
)

SYSTEM_INFO = renamed(INFO, "system info")

CONTAINER_PRUNE = Verb(
    "container prune",
    "remove containers that have ended",
    ("cloche container prune [OPTIONS]",),
    ("Asks before it does. Filters are until=TIME, label=KEY[=VALUE] and label!=KEY[=VALUE].",),
    (
        Option(("-f", "--force"), FLAG, OPTIONS, "", "do not ask"),
        Option(("--filter",), LIST, OPTIONS, "KEY=VALUE", "only containers of which this is true"),
    ),
    examples=(("cloche container prune -f --filter until=24h", "those made more than a day ago"),),
)

SYSTEM = make_group(
    "system",
    "what there is, what it takes up, and taking it away",
    ("Verbs about all containers, images and volumes at once.",),
)
