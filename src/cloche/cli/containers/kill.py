"""`cloche kill`: a signal to the first process of containers."""

from __future__ import annotations

from cloche.cli.containers.each import for_each
from cloche.engine import containers
from cloche.engine.signals import signal_number
from cloche.engine.stopping import kill as send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed


def kill(parsed: Parsed) -> int:
    """Carry out `kill`; returns the exit code."""
    number = signal_number(parsed.text("signal") or "KILL")

    def one(word: str) -> str:
        send(containers.find(word), number)
        return word

    return for_each(parsed.positionals, one)
