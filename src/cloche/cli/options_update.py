"""The table of `cloche update`, whose limits are those of `run`."""

from __future__ import annotations

from cloche.cli.options_looks import NAMES, OPTIONS
from cloche.cli.options_run import RUN
from cloche.cli.table import VALUE, Option, Verb

RESTART = Option(
    ("--restart",),
    VALUE,
    OPTIONS,
    "POLICY",
    "start it again when it ends: no, always, unless-stopped, on-failure[:TIMES]",
    complete="no always unless-stopped on-failure",
)
CHANGED = (
    "blkio_weight cpu_period cpu_quota cpu_shares cpus cpuset_cpus cpuset_mems memory memory_reservation memory_swap"
    " pids_limit"
).split()
UPDATE = Verb(
    "update",
    "change the limits of containers, or their restart policy",
    ("cloche update [OPTIONS] CONTAINER...",),
    (
        "What is not given stays as it is. One that runs is held to its new limits at once; one that cannot be is left"
        " with the old ones, and that is an error.",
    ),
    (
        *(option for option in RUN.options if option.dest in CHANGED),
        RESTART,
    ),
    operands=(NAMES,),
    examples=(
        ("cloche update --memory 1g --cpus 2 web", "more for one that runs"),
        ("cloche update --restart no web", "it is not started again"),
    ),
)
