"""`cloche commit`: a container's files and settings as an image."""

from __future__ import annotations

import sys

from cloche.engine import committing, containers
from cloche.engine.fileworker import FileWorker
from cloche.errors import StageError
from cloche.images.tagging import new_name
from cloche.sandbox.image import unpacking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed


def commit(parsed: Parsed) -> int:
    """Carry out `commit`."""
    word, *rest = parsed.positionals
    asked = committing.Commit(
        new_name(rest[0]) if rest else "",
        parsed.text("author") or "",
        parsed.text("message") or "",
        tuple(parsed.all("change")),
    )
    container = containers.find(word)
    who = unpacking()
    with committing.standing_still(container, wanted=parsed.flag("pause")):
        worker = FileWorker(who.users, ("nothing",))
        try:
            made = committing.commit(container, asked, who, worker)
        except OSError as error:
            raise StageError(f"{container.name} cannot be committed: {error.strerror or error}") from None
        finally:
            worker.close()
    sys.stdout.write(made + "\n")
    return 0
