"""The table of `logs`."""

from __future__ import annotations

from cloche.cli.table import FLAG, VALUE, Operand, Option, Verb

OPTIONS = "Options"

LOGS = Verb(
    "logs",
    "show what containers have said",
    ("cloche logs [OPTIONS] CONTAINER...",),
    (
        "What a container has written to its standard output comes to standard output, and what to its standard"
        " error to standard error, every byte as it was. Of several containers, each line begins with whose it is.",
        "Containers of all log drivers but none can be asked, whether they run or not, as long as they are not"
        " removed. Of what journald and syslog send on a copy is kept here, unless --log-opt cache-disabled=true was"
        " given.",
        "A time is 2024-01-31T12:00:00, with a zone or without, seconds since 1970, or 10m for so long ago.",
    ),
    (
        Option(("-f", "--follow"), FLAG, OPTIONS, "", "go on with what is said from now on, until the container ends"),
        Option(("--since",), VALUE, OPTIONS, "TIME", "only what was said since then"),
        Option(("--until",), VALUE, OPTIONS, "TIME", "only what was said until then"),
        Option(
            ("-n", "--tail"), VALUE, OPTIONS, "LINES", "only so many lines from the end", default="all", complete="all"
        ),
        Option(("-t", "--timestamps"), FLAG, OPTIONS, "", "begin each line with the time it was said at"),
        Option(("--details",), FLAG, OPTIONS, "", "begin each line with what --log-opt labels, env and tag chose"),
        Option(("--names",), FLAG, OPTIONS, "", "begin each line with the name of the container"),
    ),
    operands=(
        Operand(
            "CONTAINER", "its name, its id, or the beginning of its id", required=True, many=True, complete="<kept>"
        ),
    ),
    examples=(
        ("cloche logs web", "all of it"),
        ("cloche logs -f --tail 10 web", "the last ten lines, and what comes"),
        ("cloche logs -t --since 10m web", "the last ten minutes, with the times"),
        ("cloche logs -f --names web db", "of two containers, as it comes"),
    ),
)
