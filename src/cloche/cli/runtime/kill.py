"""`kill`: send a signal."""

from __future__ import annotations

from cloche.cli.table import FLAG, Operand, Option, Verb
from cloche.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed
    from cloche.cli.runtime.globals import Globals

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
        ("cloche-runtime kill [--all] ID [SIGNAL]",),
        ("SIGNAL is a number or a name, TERM unless given.",),
        (Option(("-a", "--all"), FLAG, "Options", "", "to every process in the container"),),
        operands=(Operand("ID", "the container", required=True), Operand("SIGNAL", "TERM, SIGTERM or 15")),
        program="cloche-runtime",
    )
}


def run(name: str, given: Parsed, options: Globals) -> int:
    """Carry out `kill`."""
    from cloche.runtime.changing import kill
    from cloche.runtime.containers import load

    del name
    number = signal_number(given.positionals[1] if len(given.positionals) > 1 else "TERM")
    kill(load(options.root, given.positionals[0]), number, everything=given.flag("all"))
    return 0


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
