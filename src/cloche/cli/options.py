"""Which verbs there are, and the options that stand before the verb.

A verb's table lives in one of the modules named here and is imported when it is asked for, so that
`cloche run` loads the table of `run` and no other. The order is the order in the overview.
"""

from __future__ import annotations

import sys

from cloche.cli.table import FLAG, VALUE, Operand, Option, Verb
from cloche.errors import SpecError

MODULES = {
    "run": "cloche.cli.options_run",
    "shell": "cloche.cli.options_run",
    "explain": "cloche.cli.options_run",
    "enter": "cloche.cli.options_other",
    "pull": "cloche.cli.options_images",
    "images": "cloche.cli.options_images",
    "rmi": "cloche.cli.options_images",
    "push": "cloche.cli.options_images",
    "save": "cloche.cli.options_images",
    "load": "cloche.cli.options_images",
    "tag": "cloche.cli.options_images",
    "login": "cloche.cli.options_images",
    "logout": "cloche.cli.options_images",
    "doctor": "cloche.cli.options_other",
    "completion": "cloche.cli.options_other",
    "help": "cloche.cli.options_other",
    "man": "cloche.cli.options_other",
    "version": "cloche.cli.options_other",
}

CLOCHE = Verb(
    "",
    "containers you can see through",
    ("cloche [OPTIONS] VERB [ARG...]",),
    (
        "cloche runs commands in containers: isolated from the rest of the machine by the kernel's own"
        " means, without a daemon and without being root. It shows every step it takes, and does not"
        " quietly do less than it was asked to.",
    ),
    (
        Option(
            ("--root",),
            VALUE,
            "Options",
            "DIR",
            "where images are kept",
            complete="<dir>",
        ),
        Option(
            ("--state-dir",),
            VALUE,
            "Options",
            "DIR",
            "keep what is only true until the next boot in this directory",
            complete="<dir>",
        ),
        Option(("--debug",), FLAG, "Options", "", "show where in the program an error came from"),
        Option(("--version",), FLAG, "Options", "", "show which version this is"),
    ),
    operands=(
        Operand("VERB", "what to do", complete="<verb>"),
        Operand("ARG", "what the verb takes", many=True),
    ),
    examples=(
        ("cloche shell", "a shell whose changes are thrown away"),
        ("cloche run -m 512m host make test", "a command, with limits"),
        ("cloche explain host true", "what that would do, step by step"),
    ),
    stop=1,
)


HINT = "cloche --help lists what there is"
NOT_YET = "detached containers are not here yet; cloche run and enter are"
KNOWN_ELSEWHERE = {"exec": "cloche enter NAME -- COMMAND", "create": NOT_YET, "start": NOT_YET} | dict.fromkeys(
    "build logs ps rm stop kill".split(), NOT_YET
)


def find(name: str) -> Verb:
    """The table of one verb.

    Raises SpecError when there is no such verb, with the name that was probably meant.
    """
    module = MODULES.get(name)
    if module is None:
        from cloche.cli.grammar import nearest

        similar = nearest(name, list(MODULES))
        asked = f", did you mean {similar}?" if similar else ""
        raise SpecError(f"unknown verb {name!r}{asked}", hint=KNOWN_ELSEWHERE.get(name, HINT))
    __import__(module)
    table = getattr(sys.modules[module], name.upper())
    assert isinstance(table, Verb)
    return table


def every() -> list[Verb]:
    """All verbs, in the order of the overview."""
    return [find(name) for name in MODULES]
