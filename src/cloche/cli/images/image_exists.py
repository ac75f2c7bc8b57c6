"""`cloche image exists`: an exit code."""

from __future__ import annotations

from cloche.errors import NotFoundError
from cloche.images import local
from cloche.images.store.layout import Layout, store_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed


def image_exists(parsed: Parsed) -> int:
    """Carry out `image exists`."""
    try:
        local.find_entry(Layout(store_dir()), parsed.positionals[0])
    except NotFoundError:
        return 1
    return 0
