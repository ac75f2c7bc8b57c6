"""`cloche manifest add`: more images in a list."""

from __future__ import annotations

import sys

from cloche.cli.images.manifest_create import gathered
from cloche.errors import SpecError
from cloche.images.lists import Item, add, described, find_list
from cloche.images.store import uses
from cloche.images.store.layout import Layout, store_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cloche.cli.grammar import Parsed

MEMBERS = {"arch": "architecture", "os": "os", "variant": "variant", "os_version": "os.version"}


def manifest_add(parsed: Parsed) -> int:
    """Carry out `manifest add`."""
    layout = Layout(store_dir())
    layout.make()
    text, *images = parsed.positionals
    changes, notes = description(parsed)
    find_list(layout, text)  # before anything is fetched
    with uses.undisturbed(layout, lambda: uses.hold(layout, uses.FETCHING)):
        items = [Item(described(item.raw, changes, notes), item.name) for item in gathered(layout, parsed, images)]
        add(layout, text, items)
    sys.stdout.write("".join(f"{item.raw['digest']}\n" for item in items))
    return 0


def description(parsed: Parsed) -> tuple[dict[str, Any], dict[str, str]]:
    """What the options say of an image: members of its platform, and annotations. Raises SpecError."""
    changes: dict[str, Any] = {member: value for key, member in MEMBERS.items() if (value := parsed.text(key))}
    if features := parsed.all("os_features"):
        changes["os.features"] = [word for text in features for word in text.split(",")]
    notes = {}
    for note in parsed.all("annotation"):
        key, equals, value = note.partition("=")
        if not equals or not key:
            raise SpecError(f"--annotation {note!r} is none", hint="KEY=VALUE")
        notes[key] = value
    return changes, notes
