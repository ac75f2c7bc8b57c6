"""`cloche tag`: one more name for an image."""

from __future__ import annotations

from cloche.images import tagging
from cloche.images.store.layout import Layout, store_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed


def tag(parsed: Parsed) -> int:
    """Carry out `tag`."""
    name, new = parsed.positionals
    tagging.tag(Layout(store_dir()), name, new)
    return 0
