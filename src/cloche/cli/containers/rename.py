"""`cloche rename`: another name for a container."""

from __future__ import annotations

from cloche.engine import containers, renaming

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed


def rename(parsed: Parsed) -> int:
    """Carry out `rename`; returns the exit code."""
    word, new = parsed.positionals
    renaming.rename(containers.find(word), new)
    return 0
