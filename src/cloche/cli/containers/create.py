"""`cloche create`: a container that is not started yet."""

from __future__ import annotations

import sys

from cloche.cli.keeping import keep_of
from cloche.cli.request import options_of
from cloche.cli.run import fetch_wanted, write_cidfile
from cloche.engine.events import tell
from cloche.sandbox.keeping import create as make

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed


def create(parsed: Parsed) -> int:
    """Carry out `create`; returns the exit code."""
    from cloche.cli.options import find

    options = options_of(find("create"), parsed)
    keep = keep_of(parsed)
    if code := fetch_wanted(options, quiet=parsed.flag("quiet")):
        return code
    container = make(options, keep)
    write_cidfile(options.cidfile, container.id)
    tell(container, "create")
    sys.stdout.write(f"{container.id}\n")
    return 0
