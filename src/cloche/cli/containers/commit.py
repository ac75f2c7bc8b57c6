"""`cloche commit`: a container's files and settings as an image."""

from __future__ import annotations

import sys

from cloche.engine import committing, containers
from cloche.images.tagging import new_name
from cloche.sandbox import files

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
    made = files.commit(containers.find(word), asked, pause=parsed.flag("pause"))
    sys.stdout.write(made + "\n")
    return 0
