"""The tables of the verbs that do something with a container that stays: from `stop` to `rm`.

Most are typed all day: what `create` and `run` have beside them would take as long as all they do.
"""

from __future__ import annotations

from cloche.cli.options import make_group
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
