"""The tables of the verbs by which a container that stays begins, and one is at its streams."""

from __future__ import annotations

from cloche.cli.options_containers import NAME, NAMES, OPTIONS
from cloche.cli.options_keep import LEAVE_KEYS
from cloche.cli.options_run import CREATE_OPTIONS, RUN
from cloche.cli.table import FLAG, Option, Verb

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
