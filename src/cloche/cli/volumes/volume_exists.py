"""`cloche volume exists`: an exit code."""

from __future__ import annotations

from cloche.engine import volumes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed


def volume_exists(parsed: Parsed) -> int:
    """Carry out `volume exists`."""
    return 0 if volumes.load(parsed.positionals[0]) is not None else 1
