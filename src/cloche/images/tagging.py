"""One more name for an image that is in the store."""

from __future__ import annotations

from cloche.errors import SpecError
from cloche.images import local
from cloche.images.references import parse_reference
from cloche.images.store import names
from cloche.images.telling import tell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.images.store.layout import Layout


def tag(layout: Layout, text: str, new: str) -> None:
    """Give the image a new name. Raises NotFoundError, and SpecError for a name that has a digest."""
    name = new_name(new)
    layout.make()

    found: list[names.Entry] = []

    def find() -> names.Entry:
        entry = local.find_entry(layout, text)
        found.append(names.Entry(name, entry.manifest, entry.source))
        return found[0]

    names.give(layout, find)
    tell(layout, "tag", local.id_or_digest(layout, found[0]), parse_reference(name).familiar)


def new_name(text: str) -> str:
    """A name in full that somebody gives. Raises SpecError for one that has a digest."""
    reference = parse_reference(text)
    if reference.digest:
        raise SpecError(f"{text!r} has a digest, which is not given but found", hint="NAME[:TAG]")
    return str(reference)
