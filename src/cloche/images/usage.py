"""What images take up on the disk: of each how much is its own, and of all together, with what they share counted once.

An image is there twice: its layers as they were sent, which are blobs, and unpacked, which is what `images` shows the
size of. Both are counted in what there is in total.
"""

from __future__ import annotations

import os

from cloche.images import local
from cloche.images.listing import layer_size, rows
from cloche.images.removing import led_to
from cloche.images.store import names, uses
from cloche.records import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.images.listing import Row
    from cloche.images.store.layout import Layout


@record
class Image:
    """An image with one of its names, and bytes of its unpacked layers that others have too.

    `parts` is all that it leads to, digests of blobs and "layer DIFFID"; `held` is whether something that runs uses it.
    """

    row: Row
    shared: int
    parts: frozenset[str]
    held: bool


@record
class Usage:
    """The images of a store, the newest first, and bytes of every part that is there, whatever leads to it."""

    images: tuple[Image, ...]
    parts: dict[str, int]

    @property
    def total(self) -> int:
        """Bytes of everything."""
        return sum(self.parts.values())

    def needed(self, ids: set[str]) -> int:
        """Bytes of what these images lead to, each part once."""
        kept = {part for image in self.images if image.row.id in ids for part in image.parts}
        return sum(self.parts.get(part, 0) for part in kept)


def usage(layout: Layout) -> Usage:
    """What there is. Where there is no store, nothing."""
    if not os.path.exists(f"{layout.path}/oci-layout"):
        return Usage((), {})
    parts = _parts(layout)
    led: dict[str, set[str]] = {}  # by the ID of the image, of all its names
    first: dict[str, Row] = {}
    for row in rows(layout):
        first.setdefault(row.id, row)
    for entry in names.entries(layout):
        image = local.id_or_digest(layout, entry)
        blobs, layers = led_to(layout, entry)
        led.setdefault(image, set()).update(blobs, map(_layer, layers))
    times: dict[str, int] = {}
    for found in led.values():
        for part in found:
            times[part] = times.get(part, 0) + 1
    held = uses.seen_in_use(layout)
    images = []
    for image, row in first.items():
        own = frozenset(led.get(image, ()))
        shared = sum(parts.get(part, 0) for part in own if times[part] > 1 and part.startswith(_layer("")))
        images.append(Image(row, shared, own, image in held))
    return Usage(tuple(images), parts)


def _layer(diff_id: str) -> str:
    return f"layer {diff_id}"


def _parts(layout: Layout) -> dict[str, int]:
    found: dict[str, int] = {}
    for algorithm in os.listdir(f"{layout.path}/blobs"):
        with os.scandir(f"{layout.path}/blobs/{algorithm}") as entries:
            found |= {f"{algorithm}:{entry.name}": entry.stat().st_size for entry in entries}
    for digits in os.listdir(f"{layout.path}/layers/sha256"):
        found[_layer(f"sha256:{digits}")] = layer_size(layout, f"sha256:{digits}")
    return found
