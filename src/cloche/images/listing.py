"""What is in a store, as rows to show."""

from __future__ import annotations

from cloche.errors import ClocheError
from cloche.images.documents import LARGEST, LARGEST_CONFIG, read_config, read_manifest
from cloche.images.lists import DEEPEST, is_list
from cloche.images.references import parse_reference
from cloche.images.store import names, summaries
from cloche.images.store.layers import has_layer, layer_path
from cloche.images.store.summaries import Summary
from cloche.linux.reading import read_bytes
from cloche.records import record
from cloche.spec.image import Index
from cloche.spec.reader import read_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from cloche.images.store.layout import Layout
    from cloche.spec.image import Descriptor, ImageConfig


@record
class Row:
    """An image, or a list of images, with one of its names.

    `repository`, `tag` and `digest` are "<none>" where there is none, as docker shows them; `name` is the name in full
    or "", `manifest` a digest; `size` is in bytes, of the unpacked layers; `created` is as the config has it, RFC 3339
    or "". A list has the digest of its index for an ID, the time of its newest image, and the size of those that are
    unpacked.
    """

    name: str
    manifest: str

    repository: str
    tag: str
    digest: str
    id: str
    created: str
    size: int
    labels: dict[str, str]


def rows(layout: Layout) -> list[Row]:
    """All of them, the newest first. One that is damaged is left out."""
    known = summaries.read(layout)
    kept: dict[str, Summary] = {}
    sizes: dict[str, int] = {}
    found = []
    for entry in names.entries(layout):
        digest = entry.manifest.digest
        summary = known.get(digest)
        try:
            if summary is not None and layout.has(digest) and layout.has(summary.id):
                kept[digest] = summary
            else:
                summary, lasts = _summary(layout, entry, sizes)
                if lasts:
                    kept[digest] = summary
            found.append(_row(entry, summary))
        except ClocheError:
            continue  # a part of it is gone; `pull` mends it
    if kept != known:
        summaries.write(layout, kept)
    found.sort(key=lambda row: row.created, reverse=True)
    return found


def _row(entry: names.Entry, summary: Summary) -> Row:
    repository = tag = "<none>"
    digest = "<none>"
    source, _, source_digest = entry.source.partition("@")
    if entry.name:
        reference = parse_reference(entry.name)
        repository, tag = reference.familiar_name, reference.tag or "<none>"
        digest = source_digest if source == reference.name else digest
    elif entry.source:
        repository, digest = parse_reference(source, tagged=False).familiar_name, source_digest
    own = summary.id, summary.created, summary.size, summary.labels
    return Row(entry.name, entry.manifest.digest, repository, tag, digest, *own)


def _summary(layout: Layout, entry: names.Entry, sizes: dict[str, int]) -> tuple[Summary, bool]:
    """What is to be known of an image or list, and whether that stays so: images of a list and layers come and go."""
    configs = list(_configs(layout, entry.manifest, entry.name))
    single = configs[0] if len(configs) == 1 and not is_list(entry) else None
    own = single[1].config if single is not None else None
    diff_ids = {diff_id for _, config in configs for diff_id in config.rootfs.diff_ids}
    summary = Summary(
        entry.manifest.digest if single is None else single[0],
        max((config.created or "" for _, config in configs), default=""),
        sum(_size(layout, diff_id, sizes) for diff_id in diff_ids),
        dict((own.Labels if own else None) or {}),
    )
    return summary, single is not None and all(has_layer(layout, diff_id) for diff_id in diff_ids)


def _configs(layout: Layout, item: Descriptor, what: str, depth: int = 0) -> Iterator[tuple[str, ImageConfig]]:
    """The config of an image with its digest, or those of all the images of a list that have one."""
    found = read_manifest(layout.read(item.digest, LARGEST), item.mediaType, what)
    if not isinstance(found, Index):
        yield found.config.digest, read_config(layout.read(found.config.digest, LARGEST_CONFIG), what)
        return
    for part in found.manifests if depth < DEEPEST else ():
        try:
            yield from _configs(layout, part, what, depth + 1)
        except ClocheError:
            continue  # no image, or not here


def _size(layout: Layout, diff_id: str, sizes: dict[str, int]) -> int:
    if diff_id not in sizes:
        sizes[diff_id] = layer_size(layout, diff_id)
    return sizes[diff_id]


def layer_facts(layout: Layout, diff_id: str) -> dict[str, Any]:
    """What was found when a layer was unpacked (store/layers.py); empty for one that is not."""
    text = read_bytes(f"{layer_path(layout, diff_id)}/layer.json")
    facts = read_json(text) if text else {}
    return facts if isinstance(facts, dict) else {}


def layer_size(layout: Layout, diff_id: str) -> int:
    """Bytes of the files of a layer; 0 for one that is not unpacked."""
    return int(layer_facts(layout, diff_id).get("bytes", 0))
