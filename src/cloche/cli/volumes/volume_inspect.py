"""`cloche volume inspect`: all there is to know of volumes, as JSON or through a template."""

from __future__ import annotations

import sys

from cloche.cli.format import documents
from cloche.cli.output import print_error
from cloche.engine import volumes
from cloche.errors import ClocheError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cloche.cli.grammar import Parsed


def volume_inspect(parsed: Parsed) -> int:
    """Carry out `volume inspect`; goes on after one that is not there."""
    form = parsed.text("format") or ""
    found: list[tuple[str, dict[str, Any]]] = []
    failed = 0
    for name in parsed.positionals:
        try:
            found.append(("volume", volumes.describe(volumes.find(name))))
        except ClocheError as error:
            failed = 1
            print_error(error)
    sys.stdout.write(documents(found, form))
    return failed
