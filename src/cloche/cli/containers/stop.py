"""`cloche stop`: ask containers to end, and end those that do not."""

from __future__ import annotations

from cloche.cli.containers.each import for_all
from cloche.engine import containers
from cloche.engine.stopping import stop as end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed


def stop(parsed: Parsed) -> int:
    """Carry out `stop`; returns the exit code."""
    signal, timeout = parsed.text("signal"), seconds(parsed)

    def one(word: str) -> str:
        end(containers.find(word), signal, timeout)
        return word

    return for_all(parsed.positionals, one)


def seconds(parsed: Parsed) -> float | None:
    """--timeout in seconds, negative for never; None where it was not given. Raises SpecError."""
    from cloche.errors import BAD_OPTION, SpecError

    text = parsed.text("timeout")
    if text is None:
        return None
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdecimal() or len(digits) > 9:
        raise SpecError(f"--timeout {text!r} is not a number of seconds", hint="-1 waits for ever", code=BAD_OPTION)
    return float(text)
