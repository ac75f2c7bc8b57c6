"""Signals by name and number (signal(7))."""

from __future__ import annotations

from cloche.errors import SpecError

_BY_NUMBER = """0 HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP
TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS"""
SIGNALS = tuple(_BY_NUMBER.split())  # signal(7)
_SYNONYMS = {"CLD": "CHLD", "IOT": "ABRT", "POLL": "IO"}


def signal_number(text: str | int) -> int:
    """A signal by name (TERM, SIGTERM, RTMIN+1, RTMAX-2) or number."""
    if isinstance(text, int) and not isinstance(text, bool):
        return _checked(text, text, 1)
    if not isinstance(text, str):
        raise _none(text)
    if text.isascii() and text.isdecimal() and len(text) < 10:
        return _checked(int(text), text, 1)
    name = text.upper().removeprefix("SIG")
    for base, sign, number in (("RTMIN", "+", 34), ("RTMAX", "-", 64)):
        digits = name.removeprefix(base + sign)
        if name == base or (digits != name and digits.isascii() and digits.isdecimal() and len(digits) < 4):
            return _checked(number + int(name.removeprefix(base) or 0), text, 34)
    name = _SYNONYMS.get(name, name)
    if name in SIGNALS[1:]:
        return SIGNALS.index(name)
    raise _none(text)


def _checked(number: int, text: str | int, least: int) -> int:
    if not least <= number <= 64:
        raise _none(text)
    return number


def _none(text: str | int) -> SpecError:
    return SpecError(f"Invalid signal: {text}", hint="a name such as TERM or a number from 1 to 64")


def signal_name(number: int) -> str:
    """SIGTERM for 15."""
    return f"SIG{SIGNALS[number]}" if 0 < number < len(SIGNALS) else f"signal {number}"
