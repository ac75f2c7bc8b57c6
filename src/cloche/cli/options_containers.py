"""The tables of the verbs about containers that stay: from `create` to `rm`."""

from __future__ import annotations

from cloche.cli.options import make_group
from cloche.cli.options_keep import LEAVE_KEYS
from cloche.cli.options_run import CREATE_OPTIONS, RUN
from cloche.cli.table import FLAG, VALUE, Operand, Option, Verb

OPTIONS = "Options"
NAME = Operand("CONTAINER", "its name, its id, or the beginning of its id", required=True, complete="<kept>")
NAMES = Operand("CONTAINER", NAME.help, required=True, many=True, complete="<kept>")
SIGNAL = Option(
    ("-s", "--signal"), VALUE, OPTIONS, "SIGNAL", "the signal to send, by name or number", complete="<signal>"
)
TIMEOUT = Option(
    ("-t", "--timeout"),
    VALUE,
    OPTIONS,
    "SECONDS",
    "how long to wait before everything inside is killed; -1 for ever",
    aliases=("--time",),
)
SIG_PROXY = Option(
    ("--sig-proxy",), FLAG, OPTIONS, "", "pass signals that come to this command on to it", default="true"
)

CREATE = Verb(
    "create",
    "make a container, to be started later",
    (
        "cloche create [OPTIONS] IMAGE [COMMAND [ARG...]]",
        "cloche create [OPTIONS] --rootfs DIR [COMMAND [ARG...]]",
    ),
    ("The same as cloche run, but for the start. Prints the container's id.",),
    CREATE_OPTIONS,
    operands=RUN.operands,
    examples=(("cloche create --name web -v pages:/srv app:1", "a container called web; cloche start web runs it"),),
    stop=1,
)

START = Verb(
    "start",
    "start containers that were made, or have ended",
    ("cloche start [OPTIONS] CONTAINER...",),
    ("What a container has written before is still there. With -a its output comes here, with -i too what is typed.",),
    (
        Option(("-a", "--attach"), FLAG, OPTIONS, "", "show what it writes, and exit with its exit code"),
        Option(("-i", "--interactive"), FLAG, OPTIONS, "", "pass on what is typed"),
        SIG_PROXY,
        LEAVE_KEYS,
    ),
    operands=(NAMES,),
    examples=(("cloche start web", "run it"), ("cloche start -ai box", "run it, and be at its terminal")),
)

STOP = Verb(
    "stop",
    "end containers",
    ("cloche stop [OPTIONS] CONTAINER...",),
    (
        "Each gets its stop signal, SIGTERM unless the image or --stop-signal says otherwise, and ten seconds, or what"
        " --stop-timeout says; then everything inside is killed. One that does not run is left as it is.",
    ),
    (SIGNAL, TIMEOUT),
    operands=(NAMES,),
    examples=(("cloche stop web db", "end two"), ("cloche stop -t 60 db", "with a minute to end by itself")),
)

RESTART = Verb(
    "restart",
    "end containers and start them again",
    ("cloche restart [OPTIONS] CONTAINER...",),
    ("The same as cloche stop and then cloche start.",),
    (SIGNAL, TIMEOUT),
    operands=(NAMES,),
    examples=(("cloche restart web", "once more"),),
)

KILL = Verb(
    "kill",
    "send a signal to containers",
    ("cloche kill [OPTIONS] CONTAINER...",),
    ("The first process gets it; SIGKILL, which is sent unless another is named, ends everything inside.",),
    (SIGNAL,),
    operands=(NAMES,),
    examples=(("cloche kill web", "end it at once"), ("cloche kill -s HUP web", "have it read its configuration anew")),
)

RM = Verb(
    "rm",
    "remove containers, and what they have written",
    ("cloche rm [OPTIONS] CONTAINER...",),
    ("One that runs is only removed with --force. Volumes with a name stay.",),
    (
        Option(("-f", "--force"), FLAG, OPTIONS, "", "end it first where it runs; one that is not there is no error"),
        Option(("-v", "--volumes"), FLAG, OPTIONS, "", "its volumes without a name, too"),
    ),
    operands=(NAMES,),
    examples=(("cloche rm web", "remove it"), ("cloche rm -fv web", "whatever it does, with its volumes")),
)

WAIT = Verb(
    "wait",
    "wait until containers end, and print their exit codes",
    ("cloche wait CONTAINER...",),
    ("One that does not run is not waited for. An end that nobody has seen is printed as unknown.",),
    (),
    operands=(NAMES,),
    examples=(("cloche wait job", "until it is done"),),
)

ATTACH = Verb(
    "attach",
    "be at the streams of a container that runs",
    ("cloche attach [OPTIONS] CONTAINER",),
    (
        "What it writes comes here, what is typed goes there, and the exit code is its own. A terminal is left by the"
        " keys ctrl-p ctrl-q, and then it goes on.",
    ),
    (Option(("--no-stdin",), FLAG, OPTIONS, "", "only listen"), SIG_PROXY, LEAVE_KEYS),
    operands=(NAME,),
    examples=(("cloche attach box", "back at its terminal"),),
)

PAUSE = Verb(
    "pause",
    "have everything in containers stand still",
    ("cloche pause CONTAINER...",),
    ("The kernel's freezer stops every process, unnoticed by them. Needs a cgroup.",),
    (),
    operands=(NAMES,),
    examples=(("cloche pause web", "until cloche unpause web"),),
)

UNPAUSE = Verb(
    "unpause",
    "let containers go on that stand still",
    ("cloche unpause CONTAINER...",),
    ("The other half of cloche pause.",),
    (),
    operands=(NAMES,),
    examples=(("cloche unpause web", "go on"),),
)

RENAME = Verb(
    "rename",
    "give a container another name",
    ("cloche rename CONTAINER NAME",),
    ("It may run meanwhile.",),
    (),
    operands=(NAME, Operand("NAME", "the new name", required=True)),
    examples=(("cloche rename web old-web", "make room for another web"),),
)

HEALTHCHECK = make_group("healthcheck", "look at the health of containers", ("As podman has it.",))

HEALTHCHECK_RUN = Verb(
    "healthcheck run",
    "look at the health of a container now",
    ("cloche healthcheck run CONTAINER",),
    (
        "Runs the command of --health-cmd, or of the image, in the container. Ends with 0 where it succeeds and with 1"
        " where it fails. It counts like any other look.",
    ),
    (),
    operands=(NAME,),
    examples=(("cloche healthcheck run web && echo well", "is it well?"),),
)
