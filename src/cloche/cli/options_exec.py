"""The tables of the verbs that go or look into running containers: exec, enter, top, stats."""

from __future__ import annotations

from cloche.cli.table import FLAG, LIST, VALUE, Operand, Option, Verb

OPTIONS = "Options"
ENV = Option(
    ("-e", "--env"),
    LIST,
    OPTIONS,
    "KEY[=VALUE]",
    "set an environment variable; without =VALUE, pass on the value it has here",
    complete="<variable>",
)
INTERACTIVE = Option(
    ("-i", "--interactive"),
    FLAG,
    OPTIONS,
    "",
    "keep standard input open, so that the command reads what you type or pipe in",
)
USER = Option(
    ("-u", "--user"),
    VALUE,
    OPTIONS,
    "USER[:GROUP]",
    "run the command as this user, by name or number",
    complete="<user>",
)
WORKDIR = Option(("-w", "--workdir"), VALUE, OPTIONS, "DIR", "start the command in this directory")
TTY = Option(("-t", "--tty"), FLAG, OPTIONS, "", "give the command a terminal, as shells and editors want")

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
        ENV,
        Option(("--env-file",), LIST, OPTIONS, "FILE", "set those in a file, one a line", complete="<file>"),
        INTERACTIVE,
        Option(
            ("--privileged",),
            FLAG,
            OPTIONS,
            "",
            "with all capabilities that there are in the container, and without its filters",
        ),
        TTY,
        USER,
        WORKDIR,
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

ENTER = Verb(
    "enter",
    "run a command inside a container, or any process's namespaces",
    (
        "cloche enter [OPTIONS] PID|NAME [COMMAND [ARG...]]",
        "cloche enter PID|NAME --only net,pid [-- COMMAND [ARG...]]",
    ),
    (
        "Join the namespaces of a running process and start a command there, a shell if none is named."
        " The process is given by its number or by the name of its container; it need not have been"
        " started by cloche.",
        "With --only, join these namespaces alone and keep the rest of this machine: the network of a"
        " container, say, with the tools it does not have.",
    ),
    (
        Option(
            ("--only",),
            VALUE,
            OPTIONS,
            "NAMESPACE,...",
            "join these namespaces alone: cgroup, ipc, mnt, net, pid, time, user, uts",
            complete="cgroup,ipc,mnt,net,pid,time,user,uts",
        ),
        INTERACTIVE,
        TTY,
        ENV,
        WORKDIR,
        USER,
    ),
    operands=(
        Operand(
            "PID|NAME",
            "a process number, or the name of a container",
            required=True,
            complete="<process>",
        ),
        Operand("COMMAND", "what to run, and its arguments", many=True, complete="<command>"),
    ),
    examples=(
        ("cloche enter -it web", "a shell in the container web"),
        ("cloche enter web --only net -- ip address", "this machine's ip on the network of web"),
        ("cloche enter 4711 ps ax", "what process 4711 sees of other processes"),
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
