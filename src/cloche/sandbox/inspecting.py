"""The document of a container, as `inspect` prints it: what has to be looked up for it, and `describing` with that."""

from __future__ import annotations

from cloche.engine import execs
from cloche.engine.filtering import networks_of
from cloche.engine.sizes import image_sizes, written
from cloche.errors import ClocheError, SpecError
from cloche.images import local
from cloche.images.describing import parts_of
from cloche.images.store.layout import Layout, store_dir
from cloche.linux.reading import read_bytes
from cloche.sandbox.describing import Facts, describe
from cloche.spec.reader import read_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cloche.engine.containers import Container

    Document = dict[str, Any]


def inspect_container(container: Container, *, sizes: bool = False) -> Document:
    """All there is to know of it, by docker's names; with `sizes`, what it and its image take up, in bytes."""
    layout = Layout(store_dir())
    image, layers = _image_of(layout, str(container.known["image_id"]))
    receipt = read_document(f"{container.folder}/receipt.json") if container.kept else {}
    measured = None
    if sizes:
        own = written(container)
        measured = own, own + image_sizes().get(str(container.known["image_id"]), 0)
    running = tuple(str(record["id"]) for record in execs.of(container.id))
    return describe(container, Facts(image, layers, receipt, tuple(networks_of(container)), measured, running))


def _image_of(layout: Layout, image_id: str) -> tuple[Document, tuple[str, ...]]:
    """The config of a container's image, and its layers, the highest first; nothing of one that is gone."""
    if not image_id:
        return {}, ()
    try:
        own = parts_of(layout, local.find_entry(layout, image_id)).raw.get("config")
        layers = local.find(layout, image_id).layers
    except ClocheError:
        return {}, ()
    return own if isinstance(own, dict) else {}, tuple(f"{layer}/fs" for layer in reversed(layers))


def read_document(path: str) -> Document:
    """A document of ours; empty for none."""
    try:
        raw = read_json(read_bytes(path) or b"{}")
    except SpecError:
        return {}
    return raw if isinstance(raw, dict) else {}
