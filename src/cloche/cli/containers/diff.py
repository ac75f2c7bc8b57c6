"""`cloche diff`: what a container has changed in the files of its image."""

from __future__ import annotations

import sys

from cloche.cli.output import plain
from cloche.engine import changes, containers
from cloche.sandbox.image import unpacking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed


def diff(parsed: Parsed) -> int:
    """Carry out `diff`."""
    container = containers.find(parsed.positionals[0])
    for kind, path in changes.differences(container, unpacking()):
        sys.stdout.write(f"{kind} {plain(path)}\n")
    return 0
