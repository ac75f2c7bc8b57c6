"""`cloche container prune`: containers that have ended are removed."""

from __future__ import annotations

import sys

from cloche.cli import human
from cloche.cli.asking import agreed
from cloche.cli.times import time_of
from cloche.engine.pruning import OF_PRUNING, make_test, prune
from cloche.images.filtering import parse_filters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed

WARNING = "WARNING! This will remove all stopped containers."


def container_prune(parsed: Parsed) -> int:
    """Carry out `container prune`."""
    test = make_test(parse_filters(parsed.all("filter"), OF_PRUNING), time_of)
    if not parsed.flag("force") and not agreed(WARNING):
        return 0
    gone, freed = prune(test)
    if gone:
        sys.stdout.write("Deleted Containers:\n" + "".join(f"{name}\n" for name in gone) + "\n")
    sys.stdout.write(f"Total reclaimed space: {human.size(freed, 4)}\n")
    return 0
