"""`cloche tag`: one more name for an image."""

from __future__ import annotations

from cloche.errors import SpecError
from cloche.images import local
from cloche.images.references import parse_reference
from cloche.images.store import names
from cloche.images.store.layout import Layout, store_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed


def tag(parsed: Parsed) -> int:
    """Carry out `tag`."""
    layout = Layout(store_dir())
    entry = local.find_entry(layout, parsed.positionals[0])
    new = parse_reference(parsed.positionals[1])
    if new.digest:
        raise SpecError(f"{parsed.positionals[1]!r} has a digest, which is not given but found", hint="NAME[:TAG]")
    names.put(layout, names.Entry(str(new), entry.manifest, entry.source))
    return 0
