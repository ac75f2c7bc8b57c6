"""`cloche manifest annotate`: what an image of a list is for."""

from __future__ import annotations

from cloche.cli.images.manifest_add import description
from cloche.errors import SpecError
from cloche.images.lists import annotate
from cloche.images.store.layout import Layout, store_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed


def manifest_annotate(parsed: Parsed) -> int:
    """Carry out `manifest annotate`."""
    layout = Layout(store_dir())
    layout.make()
    text, image = parsed.positionals
    changes, notes = description(parsed)
    if not changes and not notes:
        raise SpecError("nothing is said about the image", hint="--arch, --os, --variant, --annotation and the like")
    annotate(layout, text, image, changes, notes)
    return 0
