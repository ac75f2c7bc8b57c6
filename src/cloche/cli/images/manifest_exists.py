"""`cloche manifest exists`: an exit code."""

from __future__ import annotations

from cloche.errors import ConflictError, NotFoundError
from cloche.images.lists import find_list
from cloche.images.store.layout import Layout, store_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed


def manifest_exists(parsed: Parsed) -> int:
    """Carry out `manifest exists`."""
    try:
        find_list(Layout(store_dir()), parsed.positionals[0])
    except (NotFoundError, ConflictError, FileNotFoundError):
        return 1
    return 0
