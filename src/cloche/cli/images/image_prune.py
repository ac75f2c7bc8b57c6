"""`cloche image prune`: images that nobody misses are removed."""

from __future__ import annotations

import sys

from cloche.cli import human
from cloche.cli.asking import agreed
from cloche.images.filtering import OF_PRUNING, is_dangling, make_test, parse_filters
from cloche.images.listing import rows
from cloche.images.references import parse_reference
from cloche.images.removing import clear
from cloche.images.store import names, uses
from cloche.images.store.layout import Layout, store_dir
from cloche.images.telling import tell, tell_of_pruning
from cloche.images.unpack.worker import Worker
from cloche.sandbox.image import unpacking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed
    from cloche.images.filtering import Test
    from cloche.images.listing import Row

WARNING = {
    False: "WARNING! This will remove all dangling images.",
    True: "WARNING! This will remove all images without at least one container associated to them.",
}


def image_prune(parsed: Parsed) -> int:
    """Carry out `image prune`."""
    layout = Layout(store_dir())
    layout.make()
    everything = parsed.flag("all")
    test = make_test(parse_filters(parsed.all("filter"), OF_PRUNING), str)
    if not parsed.flag("force") and not agreed(WARNING[everything]):
        return 0
    lines, freed = prune_images(layout, test, everything=everything)
    if lines:
        sys.stdout.write("Deleted Images:\n" + "".join(f"{line}\n" for line in lines) + "\n")
    sys.stdout.write(f"Total reclaimed space: {human.size(freed)}\n")
    return 0


def prune_images(layout: Layout, test: Test, *, everything: bool) -> tuple[list[str], int]:
    """Remove images that are meant and have no name, or with `everything` those that no container uses.

    Returns what to say of each, and the bytes that were given back.
    """
    meant = [row for row in rows(layout) if (everything or is_dangling(row)) and test(row)]
    lines = [line for row in meant for line in _remove(layout, row)]
    freed = clear(layout, lambda: Worker(unpacking().users))
    if freed is None:
        sys.stderr.write("cloche: an image is being fetched: what has no name now goes with the next prune\n")
    tell_of_pruning(layout, freed or 0)
    return lines, freed or 0


def _remove(layout: Layout, row: Row) -> list[str]:
    """Take an image out of the index, unless a container uses it; returns what to say of it."""
    with layout.locked():
        if uses.is_used(layout, row.id):
            return []
    lines = []
    if row.name:
        names.take(layout, row.name)
        tell(layout, "untag", row.id)
        lines.append(f"untagged: {parse_reference(row.name).familiar}")
    else:
        names.forget(layout, row.manifest)
    if all(entry.manifest.digest != row.manifest for entry in names.entries(layout)):
        tell(layout, "delete", row.id)
        lines.append(f"deleted: {row.id}")
    return lines
