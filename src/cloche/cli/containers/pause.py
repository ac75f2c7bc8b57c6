"""`cloche pause`: everything in containers stands still."""

from __future__ import annotations

from cloche.cli.containers.each import for_each
from cloche.engine import containers, pausing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed


def pause(parsed: Parsed) -> int:
    """Carry out `pause`; returns the exit code."""

    def one(word: str) -> str:
        pausing.pause(containers.find(word))
        return word

    return for_each(parsed.positionals, one)
