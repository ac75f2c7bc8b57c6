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
        Operand("CONTAINER", "by name or ID", required=True, complete="<container>"),
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
