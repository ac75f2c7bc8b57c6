"""Finding the images that are put into a list: in the store, or in a registry, whose layers stay where they are."""

from __future__ import annotations

from cloche.errors import NotFoundError
from cloche.images import local, pulling
from cloche.images.documents import LARGEST_CONFIG, read_manifest
from cloche.images.fetching import at_registry
from cloche.images.lists import DEEPEST, Item, chosen_of, descriptor_of, items_of
from cloche.images.pulling import fetch_blob
from cloche.images.store.layout import write_once
from cloche.spec.image import Index

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.images.documents import Answer
    from cloche.images.fetching import Access
    from cloche.images.references import Reference
    from cloche.images.registry.client import Repository
    from cloche.images.store.layout import Layout

REGISTRY = "docker://"  # podman's and skopeo's prefix for what is in a registry, wherever else it may be


def gather(layout: Layout, text: str, access: Access, *, everything: bool) -> list[Item]:
    """What a name stands for: in the store, or else in a registry; there at once if it begins with docker://.

    Of a list or index, the image for this machine, or with `everything` all of them. Raises ClocheError, OSError.
    """
    if not text.startswith(REGISTRY):
        try:
            return items_of(layout, local.find_entry(layout, text), everything=everything)
        except NotFoundError:
            pass

    def ask(reference: Reference, repository: Repository) -> list[Item]:
        top = repository.manifest(reference.selector)
        return _kept(layout, repository, top, str(reference), everything=everything)

    return at_registry(text.removeprefix(REGISTRY), access, ask)


def inspect(text: str, access: Access) -> bytes:
    """The manifest or index that a registry has under this name, as it is there. Raises ClocheError."""
    return at_registry(
        text.removeprefix(REGISTRY), access, lambda reference, repository: repository.manifest(reference.selector)
    ).content


def _kept(layout: Layout, repository: Repository, top: Answer, name: str, *, everything: bool) -> list[Item]:
    """An image of a registry, or those of an index, with manifest and config in the store."""
    found = read_manifest(top.content, top.media_type, name)
    if not isinstance(found, Index):
        _keep(layout, repository, top, name, 0)
        return [Item({**descriptor_of(layout, top.content, found), "digest": top.digest}, name)]
    chosen = chosen_of(top.content, found, name, everything=everything)
    for raw in chosen:
        _keep(layout, repository, repository.manifest(str(raw["digest"])), name, 1)
    return [Item(raw, name) for raw in chosen]


def _keep(layout: Layout, repository: Repository, answer: Answer, name: str, depth: int) -> None:
    found = read_manifest(answer.content, answer.media_type, name)
    if isinstance(found, Index):
        for item in found.manifests if depth < DEEPEST else ():
            _keep(layout, repository, repository.manifest(item.digest), name, depth + 1)
    elif found.config.size <= LARGEST_CONFIG:
        fetch_blob(layout, repository, found.config, pulling.Progress())
    if not layout.has(answer.digest):
        write_once(layout.blob(answer.digest), answer.content, f"{layout.path}/incoming")
