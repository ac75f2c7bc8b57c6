"""The tables of the verbs that look at containers, and of those that have to do with what they may use."""

from __future__ import annotations

from cloche.cli.options import make_group
from cloche.cli.table import FLAG, LIST, VALUE, Operand, Option, Verb, renamed

OPTIONS = "Options"
FILTERS = "ancestor= before= exited= expose= health= id= is-task= label= name= network= publish= since= status= volume="

PS = Verb(
    "ps",
    "list containers",
    ("cloche ps [OPTIONS]",),
    (
        "Those that run, and all with --all. The status says how long, how it ended, and why where the exit code does"
        " not tell: `Exited (137) 2 minutes ago: out of memory`. `cloche why NAME` tells more.",
        "Filters are docker's: id and name (regular expressions), label, status, exited, health, ancestor, before,"
        " since, volume, network, publish, expose, is-task. Several values of one are alternatives, but of label and"
        " of different filters all must be true.",
        "Templates have .ID, .Image, .Command, .CreatedAt, .RunningFor, .Ports, .State, .Status, .HealthStatus,"
        " .Reason, .Size, .Names, .Labels, .Label, .Mounts, .Networks, .LocalVolumes and .Platform.",
    ),
    (
        Option(("-a", "--all"), FLAG, OPTIONS, "", "those too that do not run"),
        Option(
            ("-f", "--filter"), LIST, OPTIONS, "KEY=VALUE", "only containers of which this is true", complete=FILTERS
        ),
        Option(
            ("--format",),
            VALUE,
            OPTIONS,
            "FORMAT",
            "json, table, or a template such as '{{.Names}} {{.Status}}'",
            complete="json table",
        ),
        Option(("-n", "--last"), VALUE, OPTIONS, "COUNT", "the last so many that were made, whether they run or not"),
        Option(("-l", "--latest"), FLAG, OPTIONS, "", "the last one that was made, whether it runs or not"),
        Option(("--no-trunc",), FLAG, OPTIONS, "", "ids, commands and the like as long as they are"),
        Option(("-q", "--quiet"), FLAG, OPTIONS, "", "ids and nothing else"),
        Option(
            ("-s", "--size"),
            FLAG,
            OPTIONS,
            "",
            "what each has written, and with its image, for which its files are read",
        ),
    ),
    examples=(
        ("cloche ps -a", "all of them"),
        ("cloche ps -aq --filter status=exited", "ids of those that have ended"),
        ("cloche ps --format 'table {{.Names}}\\t{{.Status}}'", "two columns"),
    ),
)

DOCUMENT = Option(
    ("-f", "--format"), VALUE, OPTIONS, "FORMAT", "json, or a template such as '{{.State.Status}}'", complete="json"
)
SIZE = Option(("-s", "--size"), FLAG, OPTIONS, "", "of containers SizeRw and SizeRootFs too, for which files are read")

INSPECT = Verb(
    "inspect",
    "print all there is to know of containers, images and volumes",
    ("cloche inspect [OPTIONS] NAME...",),
    (
        "As docker prints it. Of a container there is besides: Receipt, each layer of its isolation, whether it is"
        " enforced and why; Reason, why it ended and what to do about it; and LogLost, how many bytes of what it said"
        " are not in its log, and why.",
        "A name is looked for among containers, then images, then volumes.",
    ),
    (
        DOCUMENT,
        SIZE,
        Option(("--type",), VALUE, OPTIONS, "TYPE", "container, image or volume", complete="container image volume"),
    ),
    operands=(
        Operand("NAME", "its name, its id, or the beginning of its id", required=True, many=True, complete="<kept>"),
    ),
    examples=(
        ("cloche inspect web", "everything"),
        ("cloche inspect -f '{{.State.Status}} {{.Reason}}' web", "two things of it"),
    ),
)

NAME = Operand("CONTAINER", "its name, its id, or the beginning of its id", required=True, complete="<kept>")
NAMES = Operand("CONTAINER", NAME.help, required=True, many=True, complete="<kept>")
WHY = Verb(
    "why",
    "tell in three lines how a container came to stand as it does",
    ("cloche why CONTAINER",),
    (
        "What it runs and how it was started; what ended it and which layer acted, or how it goes; what to do about it."
        " From what the kernel counted, the stage saw and the events of the store say.",
    ),
    (),
    operands=(NAME,),
    examples=(("cloche why web", "its story"),),
)
PORT = Verb(
    "port",
    "list the published ports of a container",
    ("cloche port CONTAINER [PORT[/PROTOCOL]]",),
    ("Nothing is published: networks of containers are not here yet.",),
    (),
    operands=(NAME, Operand("PORT", "only where this port of it is published, such as 80 or 53/udp")),
    examples=(("cloche port web 80", "where its port 80 is to be found"),),
)
CONTAINER = make_group(
    "container",
    "what has to do with containers",
    ("docker's other way to say the same: `cloche container ls` is `cloche ps`, all others have the same name.",),
)
CONTAINER_LS = renamed(PS, "container ls")
CONTAINER_INSPECT = Verb(
    "container inspect",
    "print all there is to know of containers",
    ("cloche container inspect [OPTIONS] CONTAINER...",),
    INSPECT.description[:1],
    (DOCUMENT, SIZE),
    operands=(NAMES,),
    examples=(("cloche container inspect -f '{{.State.Pid}}' web", "its first process"),),
)
