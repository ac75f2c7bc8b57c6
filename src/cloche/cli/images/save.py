"""`cloche save`: images into a file, for `load` of cloche, docker or podman."""

from __future__ import annotations

from cloche.cli.images.files import writing
from cloche.errors import SpecError
from cloche.images import local
from cloche.images.references import parse_reference
from cloche.images.saving import BOTH
from cloche.images.saving import save as write
from cloche.images.store import uses
from cloche.images.store.layout import Layout, store_dir
from cloche.images.store.names import Entry
from cloche.images.telling import tell_of_saving

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed


def save(parsed: Parsed) -> int:
    """Carry out `save`. A file appears when it is whole."""
    layout = Layout(store_dir())
    entries, held = uses.keeping(layout, lambda: [_entry(layout, text) for text in parsed.positionals])
    with held, writing(parsed.text("output") or "") as out:
        write(layout, entries, out, parsed.text("format") or BOTH)
        tell_of_saving(layout, entries)
    return 0


def _entry(layout: Layout, text: str) -> Entry:
    """An image; one that was named by its ID or digest goes without a name, as with docker and podman."""
    entry = local.find_entry(layout, text)
    return entry if entry.name and _is_its_name(entry.name, text) else Entry("", entry.manifest, entry.source)


def _is_its_name(name: str, text: str) -> bool:
    try:
        reference = parse_reference(text)
    except SpecError:
        return False
    if reference.digest or name == str(reference):
        return not reference.digest
    if not reference.short:
        return False
    from cloche.images.registry.places import read_registries

    return name in {str(item) for item in read_registries().references(reference)}
