"""`kill`: send a signal."""

from __future__ import annotations

from cloche.cli.table import FLAG, Operand, Option, Verb
from cloche.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed
    from cloche.cli.runtime.globals import Globals
    from cloche.runtime.containers import Container

# signal(7), by number, for x86_64 and aarch64
NAMES = (
    "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG "
    "XCPU XFSZ VTALRM PROF WINCH IO PWR SYS"
).split()
OTHER = {"IOT": 6, "CLD": 17, "POLL": 29, "UNUSED": 31, "RTMIN": 34, "RTMAX": 64}

VERBS = {
    "kill": Verb(
        "kill",
        "send a signal to the container's first process",
        ("cloche-runtime kill [--all] [--regex] ID [SIGNAL]",),
        (
            "Of the first process of a pid namespace the kernel keeps away every signal that it has no handler for,"
            " except KILL and STOP. A container that is not running is refused, except with --all.",
        ),
        (
            Option(("-a", "--all"), FLAG, "Options", "", "to every process in the container"),
            Option(("-r", "--regex"), FLAG, "Options", "", "ID is a regular expression: to all in whose id it is"),
        ),
        operands=(
            Operand("ID", "the container", required=True, complete="<container>"),
            Operand(
                "SIGNAL", "by name or number, such as KILL, SIGKILL or 9; TERM if none is given", complete="<signal>"
            ),
        ),
        examples=(
            ("cloche-runtime kill demo", "ask it to end"),
            ("cloche-runtime kill demo KILL", "end it"),
        ),
        program="cloche-runtime",
    )
}


def run(name: str, given: Parsed, options: Globals) -> int:
    """Carry out `kill`."""
    from cloche.runtime.changing import kill
    from cloche.runtime.containers import load

    del name
    number = signal_number("".join(given.positionals[1:]) or "TERM")
    wanted = given.positionals[0]
    found = matching(options, wanted) if given.flag("regex") else [load(options.root, wanted)]
    for container in found:
        kill(container, number, everything=given.flag("all"))
    return 0


def matching(options: Globals, expression: str) -> list[Container]:
    """The containers whose id the regular expression is found in."""
    import re

    from cloche.cli.runtime.globals import warn
    from cloche.runtime.containers import every

    try:
        pattern = re.compile(expression)
    except re.error as error:
        raise SpecError(f"--regex {expression}: {error}") from None
    found = every(options.root, lambda text: warn(text, options))
    return [container for container in found if pattern.search(container.id)]


def signal_number(text: str) -> int:
    """A signal by number or name, with or without SIG, in any case."""
    if text.isascii() and text.isdecimal() and len(text) < 4:
        if 0 <= int(text) <= 64:
            return int(text)
    else:
        name = text.upper().removeprefix("SIG")
        if name in NAMES:
            return NAMES.index(name) + 1
        if name in OTHER:
            return OTHER[name]
        base, sign, offset = name.partition("+") if "+" in name else name.partition("-")
        if base in {"RTMIN", "RTMAX"} and offset.isdecimal() and len(offset) < 3:
            number = OTHER[base] + (int(offset) if sign == "+" else -int(offset))
            if 34 <= number <= 64:
                return number
    raise SpecError(f"unknown signal {text!r}", hint="TERM, SIGTERM or 15")
