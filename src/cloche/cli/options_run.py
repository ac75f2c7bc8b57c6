"""The options of `cloche run`, and of its siblings `shell` and `explain` (long: one table, and only data).

Names, short forms and meanings are docker's wherever docker has the option, so that a command line
that works there works here. What is said of docker's options that are not here is in `absent`.
"""

from __future__ import annotations

from cloche.cli.options_keep import KEEPING
from cloche.cli.options_keep import OPTIONS as KEPT
from cloche.cli.table import FLAG, LIST, VALUE, Operand, Option, Verb

COMMAND = "Command"
CONTAINER = "Container"
FILES = "Files"
NETWORK = "Network"
RESOURCES = "Limits"
SECURITY = "Security"
NAMESPACES = "Namespaces"
OUTPUT = "Output"

OPTIONS = (
    Option(
        ("-i", "--interactive"),
        FLAG,
        COMMAND,
        "",
        "keep standard input open, so that the command reads what you type or pipe in",
    ),
    Option(("-t", "--tty"), FLAG, COMMAND, "", "give the command a terminal, as shells and editors want"),
    Option(
        ("-e", "--env"),
        LIST,
        COMMAND,
        "KEY[=VALUE]",
        "set an environment variable; without =VALUE, pass on the value it has here",
        complete="<variable>",
    ),
    Option(
        ("--env-file",),
        LIST,
        COMMAND,
        "FILE",
        "set environment variables from a file with one KEY=VALUE on each line",
        complete="<file>",
    ),
    Option(("-w", "--workdir"), VALUE, COMMAND, "DIR", "start the command in this directory of the container"),
    Option(
        ("-u", "--user"),
        VALUE,
        COMMAND,
        "USER[:GROUP]",
        "run the command as this user, by name or number",
        complete="<user>",
    ),
    Option(
        ("--group-add",),
        LIST,
        COMMAND,
        "GROUP",
        "make the user a member of this group too, by name or number",
        complete="<group>",
    ),
    Option(
        ("--entrypoint",),
        VALUE,
        COMMAND,
        "PROGRAM",
        "run this program in place of the one the image starts with",
    ),
    Option(
        ("--umask",),
        VALUE,
        COMMAND,
        "MODE",
        "permission bits, in octal, that files made by the command do not get",
        default="0022",
        complete="0022 0027 0077",
    ),
    Option(
        ("--init",),
        FLAG,
        COMMAND,
        "",
        "put a small init before the command that passes signals on and clears up orphans",
    ),
    Option(
        ("--stop-signal",),
        VALUE,
        COMMAND,
        "SIGNAL",
        "the signal that asks the command to end",
        default="SIGTERM",
        complete="<signal>",
    ),
    Option(
        ("--stop-timeout",),
        VALUE,
        COMMAND,
        "SECONDS",
        "how long the command may take to end before it is killed",
        default="10",
    ),
    Option(
        ("--timeout",),
        VALUE,
        COMMAND,
        "DURATION",
        "kill everything inside after this long (30s, 5m, 1h30m) and exit with 124",
    ),
    Option(("--name",), VALUE, CONTAINER, "NAME", "call the container this, to find it again by name"),
    Option(
        ("--rm",),
        FLAG,
        CONTAINER,
        "",
        "remove the container, and what it wrote, when it ends; host and --rootfs do so unless --rm=false or -d",
        default="auto",
    ),
    Option(
        ("--cidfile",),
        VALUE,
        CONTAINER,
        "FILE",
        "write the container's id to this file, which must not exist yet",
        complete="<file>",
    ),
    Option(
        ("--pidfile",),
        VALUE,
        CONTAINER,
        "FILE",
        "write the process id of the command, as seen from outside, to this file",
        complete="<file>",
    ),
    Option(("-l", "--label"), LIST, CONTAINER, "KEY[=VALUE]", "attach a note of your own to the container"),
    Option(
        ("--label-file",), LIST, CONTAINER, "FILE", "attach the notes in a file, one on each line", complete="<file>"
    ),
    Option(
        ("--annotation",),
        LIST,
        CONTAINER,
        "KEY=VALUE",
        "attach an OCI annotation, which hooks and other runtimes can read",
    ),
    Option(
        ("-v", "--volume"),
        LIST,
        FILES,
        "[SOURCE:]TARGET[:OPTIONS]",
        "show a file or directory of this machine inside, or a volume by its name; :ro makes it read-only",
        complete="<mount>",
    ),
    Option(
        ("--volumes-from",),
        LIST,
        FILES,
        "NAME[:ro]",
        "the same volumes and mounts as another container has",
        complete="<kept>",
    ),
    Option(
        ("--volume-driver",),
        VALUE,
        FILES,
        "DRIVER",
        "who keeps the volumes: there is only one who does",
        default="local",
        complete="local",
        closed=True,
    ),
    Option(
        ("--mount",),
        LIST,
        FILES,
        "type=TYPE,KEY=VALUE,...",
        "mount something, spelt out: type=bind,src=DIR,dst=DIR,ro, type=volume,src=NAME,dst=DIR or type=tmpfs,dst=DIR",
    ),
    Option(
        ("--tmpfs",),
        LIST,
        FILES,
        "DIR[:OPTIONS]",
        "an empty directory in memory that is gone when the container ends",
    ),
    Option(("--read-only",), FLAG, FILES, "", "let the command write nowhere but in volumes and tmpfs"),
    Option(
        ("--rootfs",),
        VALUE,
        FILES,
        "DIR[:rw|:ro]",
        "use this directory as the container's root, in place of an image",
        complete="<dir>",
    ),
    Option(
        ("--pull",),
        VALUE,
        FILES,
        "WHEN",
        "fetch the image always, when it is missing, when the registry has a newer one, or never",
        default="missing",
        complete="always missing newer never",
        closed=True,
    ),
    Option(
        ("--disable-content-trust",),
        FLAG,
        FILES,
        "",
        "fetch the image without docker's signatures, as is always done here",
        default="true",
        complete="true",
        closed=True,
    ),
    Option(
        ("--platform",), VALUE, FILES, "OS/ARCH[/VARIANT]", "the image for this platform, in place of this machine's"
    ),
    Option(("--shm-size",), VALUE, FILES, "SIZE", "how much shared memory /dev/shm may hold", default="64m"),
    Option(
        ("--device",),
        LIST,
        FILES,
        "DEVICE[:TARGET[:rwm]]",
        "let the command use a device of this machine, such as /dev/fuse",
        complete="<file>",
    ),
    Option(
        ("--network",),
        VALUE,
        NETWORK,
        "MODE",
        "the network the command sees: none (only itself), host (this machine's), ns:PATH or container:NAME",
        aliases=("--net",),
        complete="<network>",
    ),
    Option(("--expose",), LIST, NETWORK, "PORT[/PROTOCOL]", "write down that the command listens here, as images do"),
    Option(("-h", "--hostname"), VALUE, NETWORK, "NAME", "the host name inside"),
    Option(("--domainname",), VALUE, NETWORK, "NAME", "the NIS domain name inside"),
    Option(
        ("--add-host",),
        LIST,
        NETWORK,
        "NAME:ADDRESS",
        "add a line to /etc/hosts inside",
    ),
    Option(("--dns",), LIST, NETWORK, "ADDRESS", "ask this name server in place of the ones used here"),
    Option(
        ("--dns-search",),
        LIST,
        NETWORK,
        "DOMAIN",
        "look short names up in this domain",
    ),
    Option(
        ("--dns-option",),
        LIST,
        NETWORK,
        "OPTION",
        "add an option to /etc/resolv.conf inside, such as ndots:2",
        aliases=("--dns-opt",),
    ),
    Option(
        ("-m", "--memory"),
        VALUE,
        RESOURCES,
        "SIZE",
        "the most memory everything inside may use together (512m, 2g)",
    ),
    Option(
        ("--memory-swap",),
        VALUE,
        RESOURCES,
        "SIZE",
        "the most memory and swap together; -1 for as much swap as there is",
    ),
    Option(
        ("--memory-reservation",),
        VALUE,
        RESOURCES,
        "SIZE",
        "memory to leave to the container while others are short of it",
    ),
    Option(
        ("--oom-score-adj",),
        VALUE,
        RESOURCES,
        "NUMBER",
        "when memory runs out, be killed sooner (up to 1000) or later (down to -1000)",
    ),
    Option(("--cpus",), VALUE, RESOURCES, "NUMBER", "the most processor time to use, in processors (1.5)"),
    Option(
        ("-c", "--cpu-shares"),
        VALUE,
        RESOURCES,
        "WEIGHT",
        "share of the processors when they are all busy, against 1024 for others",
    ),
    Option(
        ("--cpu-period",),
        VALUE,
        RESOURCES,
        "MICROSECONDS",
        "the period that --cpu-quota counts in",
        default="100000",
    ),
    Option(
        ("--cpu-quota",),
        VALUE,
        RESOURCES,
        "MICROSECONDS",
        "processor time to use in each period; --cpus is the easier way to say it",
    ),
    Option(("--cpuset-cpus",), VALUE, RESOURCES, "LIST", "run on these processors only (0-3 or 0,2)"),
    Option(
        ("--cpuset-mems",),
        VALUE,
        RESOURCES,
        "LIST",
        "take memory from these NUMA nodes only (0 or 0,1)",
    ),
    Option(
        ("--pids-limit",),
        VALUE,
        RESOURCES,
        "NUMBER",
        "the most processes and threads there may be inside; -1 for no limit",
    ),
    Option(
        ("--ulimit",),
        LIST,
        RESOURCES,
        "NAME=SOFT[:HARD]",
        "limit what each process may use, such as nofile=1024:4096",
        complete="<ulimit>",
    ),
    Option(
        ("--blkio-weight",),
        VALUE,
        RESOURCES,
        "WEIGHT",
        "share of the disks when they are busy, from 10 to 1000, in docker's scale",
    ),
    Option(
        ("--io-weight",),
        VALUE,
        RESOURCES,
        "WEIGHT",
        "share of the disks when they are busy, from 1 to 10000, in the kernel's scale",
    ),
    Option(
        ("--device-read-bps",),
        LIST,
        RESOURCES,
        "DEVICE:SIZE",
        "the most bytes to read from a disk in a second (/dev/sda:10m)",
        complete="<file>",
    ),
    Option(
        ("--device-write-bps",),
        LIST,
        RESOURCES,
        "DEVICE:SIZE",
        "the most bytes to write to a disk in a second",
        complete="<file>",
    ),
    Option(
        ("--device-read-iops",),
        LIST,
        RESOURCES,
        "DEVICE:NUMBER",
        "the most reads from a disk in a second",
        complete="<file>",
    ),
    Option(
        ("--device-write-iops",),
        LIST,
        RESOURCES,
        "DEVICE:NUMBER",
        "the most writes to a disk in a second",
        complete="<file>",
    ),
    Option(
        ("--io-max",),
        LIST,
        RESOURCES,
        "LINE",
        "a limit as the kernel's io.max takes it, such as '8:0 rbps=1048576 wiops=100'",
    ),
    Option(
        ("--cgroup-parent",),
        VALUE,
        RESOURCES,
        "CGROUP",
        "put the container's control group below this one, whose limits then count too",
    ),
    Option(
        ("--allow-unenforced",),
        FLAG,
        RESOURCES,
        "",
        "go on when this machine cannot enforce a limit, and say so, in place of stopping",
    ),
    Option(
        ("--cap-add",),
        LIST,
        SECURITY,
        "CAPABILITY",
        "give the command a piece of root's power, such as NET_ADMIN, or ALL",
        complete="<capability>",
    ),
    Option(
        ("--cap-drop",),
        LIST,
        SECURITY,
        "CAPABILITY",
        "take a piece of root's power away, or ALL of it",
        complete="<capability>",
    ),
    Option(
        ("--security-opt",),
        LIST,
        SECURITY,
        "KEY[=VALUE]",
        "change one protection: seccomp=FILE, seccomp=unconfined, landlock=off, no-new-privileges=false",
        complete="no-new-privileges seccomp=unconfined landlock=off apparmor=unconfined label=disable",
    ),
    Option(
        ("--privileged",),
        FLAG,
        SECURITY,
        "",
        "take most protections away: all capabilities and devices, no system call filter",
    ),
    Option(
        ("--sysctl",),
        LIST,
        SECURITY,
        "NAME=VALUE",
        "set a kernel parameter that belongs to the container alone",
        complete="<sysctl>",
    ),
    Option(
        ("--userns",),
        VALUE,
        NAMESPACES,
        "MODE",
        "whose user ids count inside: auto (its own), keep-id (its own, you stay you) or host (none)",
        complete="auto keep-id host",
    ),
    Option(
        ("--uidmap",),
        LIST,
        NAMESPACES,
        "INSIDE:OUTSIDE:COUNT",
        "map a range of user ids inside to ids of this machine",
    ),
    Option(
        ("--gidmap",),
        LIST,
        NAMESPACES,
        "INSIDE:OUTSIDE:COUNT",
        "map a range of group ids inside to ids of this machine",
    ),
    Option(
        ("--pid",),
        VALUE,
        NAMESPACES,
        "MODE",
        "which processes can be seen: private (those inside), host (all of them) or container:NAME",
        complete="private host",
    ),
    Option(
        ("--ipc",),
        VALUE,
        NAMESPACES,
        "MODE",
        "which shared memory and message queues: private (or shareable, the same), host or container:NAME",
        complete="private shareable host",
    ),
    Option(
        ("--uts",),
        VALUE,
        NAMESPACES,
        "MODE",
        "which host name: private (its own), host or container:NAME",
        complete="private host",
    ),
    Option(
        ("--cgroupns",),
        VALUE,
        NAMESPACES,
        "MODE",
        "which control groups can be seen: private (its own) or host",
        complete="private host",
    ),
    Option(
        ("--time-offset",),
        VALUE,
        NAMESPACES,
        "CLOCK=SECONDS,...",
        "shift the clocks that count from boot, such as monotonic=3600,boottime=3600",
        complete="monotonic=,boottime=",
    ),
    Option(
        ("--explain",),
        FLAG,
        OUTPUT,
        "",
        "show each step as it is taken: what it does, what it hides or allows, how long it took",
    ),
    Option(("--step",), FLAG, OUTPUT, "", "wait for the enter key before each step; implies --explain"),
    Option(
        ("--format",),
        VALUE,
        OUTPUT,
        "FORMAT",
        "write explanations as text for people or as json for programs",
        default="text",
        complete="text json",
        closed=True,
    ),
    Option(("-q", "--quiet"), FLAG, OUTPUT, "", "print only errors and what the command itself prints"),
)

DETACH = Option(("-d", "--detach"), FLAG, KEEPING, "", "start it, print its id, and leave it running")
SIG_PROXY = Option(
    ("--sig-proxy",), FLAG, KEEPING, "", "pass signals that come to this command on to it", default="true"
)
CREATE_OPTIONS = (*OPTIONS, *KEPT)
RUN_OPTIONS = (DETACH, SIG_PROXY, *CREATE_OPTIONS)

RUN = Verb(
    "run",
    "run a command in a new container",
    (
        "cloche run [OPTIONS] IMAGE [COMMAND [ARG...]]",
        "cloche run [OPTIONS] --rootfs DIR [COMMAND [ARG...]]",
    ),
    (
        "Make a container, run one command in it, and end with the command's exit status. The command"
        " sees its own processes, host name, network and users, and of this machine's files only what"
        " it is given.",
        "IMAGE is host for this machine's own programs, over which the command writes to a layer that"
        " is thrown away. With --rootfs DIR there is no IMAGE: DIR is the whole file system.",
        "A container of an image is there until cloche rm removes it; with --rm it is gone when it ends, and so is one"
        " of host or of --rootfs without -d.",
        "What this machine cannot enforce is an error, not a weaker container. See cloche doctor for what it can.",
    ),
    RUN_OPTIONS,
    operands=(
        Operand(
            "IMAGE",
            "where the files come from: host for this machine's own",
            required=True,
            unless="rootfs",
            complete="<runnable>",
        ),
        Operand("COMMAND", "what to run, and its arguments", many=True, complete="<command>"),
    ),
    examples=(
        ("cloche run host id", "who am I in there"),
        ("cloche run -it --rootfs ./alpine sh", "a shell in an unpacked file system"),
        ("cloche run -m 512m --cpus 1.5 --timeout 30s host make", "make, held to limits"),
        ("cloche run -v $PWD:/src:ro -w /src host ls", "list this directory, lent read-only"),
        ("cloche run -d --name web --restart always app:1", "in the background; cloche logs web shows what it says"),
        ("cloche run --explain host true", "show every step on the way"),
    ),
    stop=1,
)

SHELL = Verb(
    "shell",
    "open a shell in a new container",
    ("cloche shell [OPTIONS] [IMAGE [COMMAND [ARG...]]]",),
    (
        "The same as cloche run -it, for looking around: with a terminal, and on this machine's own"
        " programs where no IMAGE is named.",
    ),
    OPTIONS,
    operands=(
        Operand(
            "IMAGE",
            "where the files come from: host, which is the default, for this machine's own",
            unless="rootfs",
            complete="<runnable>",
        ),
        Operand("COMMAND", "what to run in place of a shell", many=True, complete="<command>"),
    ),
    examples=(
        ("cloche shell", "a shell whose changes are thrown away"),
        ("cloche shell --network host", "the same, with this machine's network"),
    ),
    stop=1,
    preset={"interactive": True, "tty": True},
)

EXPLAIN = Verb(
    "explain",
    "show what run would do, step by step, without doing it",
    (
        "cloche explain [OPTIONS] IMAGE [COMMAND [ARG...]]",
        "cloche explain [OPTIONS] --rootfs DIR [COMMAND [ARG...]]",
    ),
    (
        "Work out the plan for cloche run with the same arguments and print it: each system call in"
        " order, with what it hides or allows in plain words. Nothing is started and nothing changed.",
    ),
    RUN_OPTIONS,
    operands=RUN.operands,
    examples=(
        ("cloche explain host sh", "the plan for a shell"),
        ("cloche explain --format json --read-only host sh", "the same for a program to read"),
    ),
    stop=1,
)
