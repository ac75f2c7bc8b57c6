"""Events of images: what has happened to which one, with docker's names, written down by whoever does it.

tag, untag, delete, load, save, import     of the image's ID, also as its name where it has been given none
pull, push                                 of what it is called, by the repository
prune                                      of none, with the bytes that were given back
"""

from __future__ import annotations

from cloche.errors import ClocheError
from cloche.images.documents import LARGEST_CONFIG, read_config
from cloche.images.local import id_or_digest
from cloche.images.store.events import emit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.images.references import Reference
    from cloche.images.store.layout import Layout
    from cloche.images.store.names import Entry


def tell(layout: Layout, action: str, image_id: str, name: str = "") -> None:
    """Write down what has happened to an image; `name` as docker shows it. One that is deleted has no labels more."""
    labels = {} if action == "delete" else _labels(layout, image_id)
    emit("image", action, image_id, {**labels, "name": name or image_id}, store=layout.path)


def tell_of_saving(layout: Layout, entries: list[Entry]) -> None:
    """Write down that images were saved into a file, each once."""
    for image_id in dict.fromkeys(id_or_digest(layout, entry) for entry in entries):
        tell(layout, "save", image_id)


def tell_of_registry(layout: Layout, action: str, reference: Reference, image_id: str) -> None:
    """Write down that an image has come from its registry, or was sent there."""
    attributes = {**_labels(layout, image_id), "name": reference.familiar_name}
    emit("image", action, reference.familiar, attributes, store=layout.path)


def tell_of_pruning(layout: Layout, freed: int) -> None:
    """Write down that images nobody misses were removed, of so many bytes."""
    emit("image", "prune", "", {"reclaimed": str(freed)}, store=layout.path)


def _labels(layout: Layout, image_id: str) -> dict[str, str]:
    """Those of the image; none of a list, or of one that is damaged."""
    try:
        config = read_config(layout.read(image_id, LARGEST_CONFIG), image_id).config
    except ClocheError:
        return {}
    return dict((config.Labels if config else None) or {})
