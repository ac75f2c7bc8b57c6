"""`cloche manifest remove`: an image out of a list."""

from __future__ import annotations

from cloche.cli.images.manifest_rm import remove
from cloche.images.lists import drop
from cloche.images.store.layout import Layout, store_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed


def manifest_remove(parsed: Parsed) -> int:
    """Carry out `manifest remove`."""
    layout = Layout(store_dir())
    layout.make()
    text, image = parsed.positionals
    drop(layout, text, image)
    remove(layout, [])
    return 0
