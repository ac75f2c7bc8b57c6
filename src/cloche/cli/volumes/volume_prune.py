"""`cloche volume prune`: volumes that nobody misses are removed."""

from __future__ import annotations

import sys

from cloche.cli import human
from cloche.cli.asking import agreed
from cloche.engine.volume_filters import make_prune_test
from cloche.engine.volume_uses import prune

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed

WARNING = {
    False: "WARNING! This will remove anonymous local volumes not used by at least one container.",
    True: "WARNING! This will remove all local volumes not used by at least one container.",
}


def volume_prune(parsed: Parsed) -> int:
    """Carry out `volume prune`."""
    everything = parsed.flag("all")
    test = make_prune_test(parsed.all("filter"), everything=everything)
    if not parsed.flag("force") and not agreed(WARNING[everything]):
        return 0
    names, freed = prune(test)
    if names:
        sys.stdout.write("Deleted Volumes:\n" + "".join(f"{name}\n" for name in names) + "\n")
    sys.stdout.write(f"Total reclaimed space: {human.size(freed)}\n")
    return 0
