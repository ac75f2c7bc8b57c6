"""The tables of the verbs that look into running containers: exec, top, stats."""

from __future__ import annotations

from cloche.cli.table import FLAG, LIST, VALUE, Operand, Option, Verb

OPTIONS = "Options"

EXEC = Verb(
    "exec",
    "run one more command in a running container",
    ("cloche exec [OPTIONS] CONTAINER COMMAND [ARG...]",),
    (
        "The command gets the namespaces, limits, capabilities, filters, variables and user of the container. It ends"
        " with the container at the latest.",
        "Ends with the command's exit code; 126 and 127 where it cannot be executed or is not found, 126 where its user"
        " or directory is not there, 1 where the container is not.",
    ),
    (
        Option(("-d", "--detach"), FLAG, OPTIONS, "", "leave it running, and do not wait for its end"),
        Option(
            ("--detach-keys",),
            VALUE,
            OPTIONS,
            "KEYS",
            "what is typed to leave it running: characters, ctrl-LETTER, with commas between",
            default="ctrl-p,ctrl-q",
        ),
        Option(
            ("-e", "--env"),
            LIST,
            OPTIONS,
            "KEY[=VALUE]",
            "set an environment variable; without =VALUE, pass on the value it has here",
            complete="<variable>",
        ),
        Option(("--env-file",), LIST, OPTIONS, "FILE", "set those in a file, one a line", complete="<file>"),
        Option(
            ("-i", "--interactive"),
            FLAG,
            OPTIONS,
            "",
            "keep standard input open, so that the command reads what you type or pipe in",
        ),
        Option(
            ("--privileged",),
            FLAG,
            OPTIONS,
            "",
            "with all capabilities that there are in the container, and without its filters",
        ),
        Option(("-t", "--tty"), FLAG, OPTIONS, "", "give the command a terminal, as shells and editors want"),
        Option(
            ("-u", "--user"),
            VALUE,
            OPTIONS,
            "USER[:GROUP]",
            "run the command as this user, by name or number",
            complete="<user>",
        ),
        Option(("-w", "--workdir"), VALUE, OPTIONS, "DIR", "start the command in this directory"),
    ),
    operands=(
        Operand("CONTAINER", "its name, its id, or the beginning of its id", required=True, complete="<kept>"),
        Operand("COMMAND", "what to run", required=True, complete="<command>"),
        Operand("ARG", "its arguments", many=True),
    ),
    examples=(
        ("cloche exec -it web sh", "a shell in the container web"),
        ("cloche exec -u postgres db psql", "a command as a user that the container knows"),
        ("cloche exec -d web sh -c 'sleep 60; rm /tmp/lock'", "one that is not waited for"),
    ),
    stop=2,
)

TOP = Verb(
    "top",
    "show the processes of a container",
    ("cloche top CONTAINER [PS OPTIONS]", "cloche top CONTAINER DESCRIPTOR..."),
    (
        "What ps -ef would show of them, or with the options that are given: -ef, aux, ax, -o LIST. ps itself is not"
        " run, and need not be there. Numbers and users are those of this machine.",
        "With podman's descriptors in place of options: pid, user and group are those inside, hpid, huser and hgroup"
        " those of this machine, and capeff, capbnd and seccomp what holds them.",
    ),
    (),
    operands=(
        Operand("CONTAINER", "its name, its id, or the beginning of its id", required=True, complete="<kept>"),
        Operand("PS OPTIONS", "of ps(1), or descriptors", many=True),
    ),
    examples=(
        ("cloche top web", "who runs in there"),
        ("cloche top web -o pid,rss,args", "in other columns"),
        ("cloche top web pid hpid capeff seccomp", "what holds them"),
    ),
    stop=1,
)

STATS = Verb(
    "stats",
    "show what containers use",
    ("cloche stats [OPTIONS] [CONTAINER...]",),
    (
        "Processor, memory, network, disk and processes of each container, again every second. Without a CONTAINER all"
        " that run are shown, as they come and go.",
        "The figures are those of the control groups; what a container has no group for is --, as where an ordinary"
        " user may make none.",
    ),
    (
        Option(("-a", "--all"), FLAG, OPTIONS, "", "also containers that do not run"),
        Option(
            ("--format",),
            VALUE,
            OPTIONS,
            "FORMAT",
            "json, table, or a template such as '{{.Name}} {{.MemUsage}}'",
            complete="json table",
        ),
        Option(("--no-stream",), FLAG, OPTIONS, "", "once, and not again and again"),
        Option(("--no-trunc",), FLAG, OPTIONS, "", "show IDs in full"),
    ),
    operands=(Operand("CONTAINER", "its name, its id, or the beginning of its id", many=True, complete="<kept>"),),
    examples=(
        ("cloche stats", "all that run, until ctrl-c"),
        ("cloche stats --no-stream --format '{{.Name}} {{.CPUPerc}}' web db", "two of them, once"),
    ),
)
