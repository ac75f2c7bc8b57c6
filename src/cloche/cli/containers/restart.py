"""`cloche restart`: containers end and run again."""

from __future__ import annotations

from cloche.cli.containers.each import for_each
from cloche.cli.containers.start import report_lacking
from cloche.cli.containers.stop import seconds
from cloche.engine import containers
from cloche.sandbox import keeping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed


def restart(parsed: Parsed) -> int:
    """Carry out `restart`; returns the exit code."""
    signal, timeout = parsed.text("signal"), seconds(parsed)

    def one(word: str) -> str:
        started = keeping.restart(containers.find(word), signal, timeout)
        if started is not None:
            report_lacking(started)
        return word

    return for_each(parsed.positionals, one)
