"""`cloche wait`: until containers end; prints their exit codes."""

from __future__ import annotations

from cloche.cli.containers.each import for_each
from cloche.engine import containers
from cloche.engine.stopping import wait as await_end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed


def wait(parsed: Parsed) -> int:
    """Carry out `wait`; returns the exit code."""

    def one(word: str) -> str:
        code = await_end(containers.find(word))
        return "unknown" if code is None else str(code)

    return for_each(parsed.positionals, one)
