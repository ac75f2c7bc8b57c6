"""The tables of `cloche volume VERB`."""

from __future__ import annotations

from cloche.cli.options import make_group
from cloche.cli.table import FLAG, LIST, VALUE, Operand, Option, Verb

OPTIONS = "Options"
NAME = Operand("VOLUME", "its name", required=True, many=True, complete="<volume>")
QUIET = Option(("-q", "--quiet"), FLAG, OPTIONS, "", "print nothing but names")

VOLUME = make_group(
    "volume",
    "directories that outlive containers: make, list and remove them",
    ("A container gets one with cloche run -v NAME:/path. It is removed only when you say so.",),
)

VOLUME_CREATE = Verb(
    "volume create",
    "make a volume",
    ("cloche volume create [OPTIONS] [NAME]",),
    (
        "Prints its name; without NAME it gets one of 64 digits. One that is there already stays as it is.",
        "Driver options are docker's: -o type=none -o o=bind -o device=DIR is another directory of this machine,"
        " -o type=tmpfs -o device=tmpfs -o o=size=64m is in memory, empty for each container. What has to be mounted"
        " from elsewhere (nfs, a disk) you mount yourself.",
    ),
    (
        Option(("-d", "--driver"), VALUE, OPTIONS, "DRIVER", "local, the only one there is", default="local"),
        Option(("--label",), LIST, OPTIONS, "KEY[=VALUE]", "what --filter finds it by"),
        Option(("-o", "--opt"), LIST, OPTIONS, "KEY=VALUE", "an option of the driver: type, o or device"),
    ),
    operands=(Operand("NAME", "letters, digits, _ . and -"),),
    examples=(
        ("cloche volume create data", "one to be used with -v data:/data"),
        ("cloche volume create -o type=none -o o=bind -o device=/srv/www www", "a name for a directory"),
    ),
)

VOLUME_LS = Verb(
    "volume ls",
    "list volumes",
    ("cloche volume ls [OPTIONS]",),
    ("Filters are dangling=true|false (whether no container uses it), driver=local, label=KEY[=VALUE] and name=PART.",),
    (
        Option(("-f", "--filter"), LIST, OPTIONS, "KEY=VALUE", "only volumes of which this is true"),
        Option(
            ("--format",),
            VALUE,
            OPTIONS,
            "FORMAT",
            "json, table, or a template such as '{{.Name}}'",
            complete="json table",
        ),
        QUIET,
    ),
    examples=(("cloche volume ls -f dangling=true", "those that no container uses"),),
)

VOLUME_INSPECT = Verb(
    "volume inspect",
    "print all there is to know of volumes",
    ("cloche volume inspect [OPTIONS] VOLUME...",),
    ("JSON with docker's members, or what a template makes of it.",),
    (Option(("-f", "--format"), VALUE, OPTIONS, "FORMAT", "json, or a template such as '{{.Name}}'", complete="json"),),
    operands=(NAME,),
    examples=(("cloche volume inspect -f '{{.Mountpoint}}' data", "where its files are"),),
)

VOLUME_RM = Verb(
    "volume rm",
    "remove volumes, with all that is in them",
    ("cloche volume rm [OPTIONS] VOLUME...",),
    ("One that a container uses, running or not, is not removed.",),
    (Option(("-f", "--force"), FLAG, OPTIONS, "", "no error where it is not there"),),
    operands=(NAME,),
    examples=(("cloche volume rm data", "its files are gone for good"),),
)

VOLUME_PRUNE = Verb(
    "volume prune",
    "remove volumes that have no name and that no container uses, or with -a all those not used",
    ("cloche volume prune [OPTIONS]",),
    ("Asks before it does. Filters are label=KEY[=VALUE], label!=KEY[=VALUE] and all=true.",),
    (
        Option(("-a", "--all"), FLAG, OPTIONS, "", "also those that somebody gave a name"),
        Option(("-f", "--force"), FLAG, OPTIONS, "", "do not ask"),
        Option(("--filter",), LIST, OPTIONS, "KEY=VALUE", "only volumes of which this is true"),
    ),
    examples=(("cloche volume prune -f", "what containers that were removed have left"),),
)

VOLUME_EXISTS = Verb(
    "volume exists",
    "say by the exit code whether there is a volume",
    ("cloche volume exists VOLUME",),
    ("0 if there is, 1 if there is not; nothing is printed.",),
    (),
    operands=(Operand("VOLUME", "its name", required=True, complete="<volume>"),),
    examples=(("cloche volume exists data || cloche volume create data", "in a script"),),
)
