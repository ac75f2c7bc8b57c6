"""`cloche image mount`: an image's files in a directory, for root; or which images are mounted."""

from __future__ import annotations

import sys

from cloche.cli.images.images import shown_id
from cloche.cli.output import plain, width
from cloche.images import local
from cloche.images.mounting import mount_image
from cloche.images.references import parse_reference
from cloche.images.store import names, uses
from cloche.images.store.layout import Layout, store_dir
from cloche.spec.reader import write_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed


def image_mount(parsed: Parsed) -> int:
    """Carry out `image mount`."""
    layout = Layout(store_dir())
    layout.make()
    called = _names(layout)
    wanted = list(called) if parsed.flag("all") else parsed.positionals
    found = dict(mount_image(layout, text) for text in wanted) or uses.mounted(layout)
    if parsed.text("format") == "json":
        told = [
            {"id": each.partition(":")[2], "Repositories": called.get(each, []), "mountpoint": place}
            for each, place in found.items()
        ]
        print(write_json(told))
    elif len(parsed.positionals) == 1:
        print(plain(next(iter(found.values()))))
    else:
        _print_table([(next(iter(called.get(each, [])), shown_id(each)), place) for each, place in found.items()])
    return 0


def _names(layout: Layout) -> dict[str, list[str]]:
    """The IDs of all images, and their names."""
    found: dict[str, list[str]] = {}
    for entry in names.entries(layout):
        known = found.setdefault(local.id_of(layout, entry), [])
        known += [parse_reference(entry.name).familiar] if entry.name else []
    return found


def _print_table(rows: list[tuple[str, str]]) -> None:
    longest = max((width(plain(name)) for name, _ in rows), default=0)
    for name, place in rows:
        sys.stdout.write(f"{plain(name)}{' ' * (longest - width(plain(name)))}  {plain(place)}\n")
