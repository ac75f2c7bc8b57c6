"""`cloche unpause`: what stands still goes on."""

from __future__ import annotations

from cloche.cli.containers.each import for_each
from cloche.engine import containers, pausing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed


def unpause(parsed: Parsed) -> int:
    """Carry out `unpause`; returns the exit code."""

    def one(word: str) -> str:
        pausing.unpause(containers.find(word))
        return word

    return for_each(parsed.positionals, one)
