"""`cloche rm`: remove containers."""

from __future__ import annotations

from cloche.cli.containers.each import for_each
from cloche.engine import containers, making
from cloche.engine.removing import Ahead, remove
from cloche.errors import NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed


def rm(parsed: Parsed) -> int:
    """Carry out `rm`; returns the exit code."""
    force = parsed.flag("force")
    making.sweep()
    ahead = Ahead(parsed.positionals if force else [])

    def one(word: str) -> str | None:
        ahead.advance()
        try:
            remove(containers.find(word), force=force, volumes=parsed.flag("volumes"))
        except NotFoundError as error:
            if not force:
                raise
            from cloche.cli.output import print_error

            print_error(error)  # as docker has it: said, and no failure
            return None
        return word

    try:
        return for_each(parsed.positionals, one)
    finally:
        ahead.close()
