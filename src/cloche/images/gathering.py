"""Finding the images that are put into a list: in the store, or in a registry, whose layers stay where they are."""

from __future__ import annotations

from cloche.errors import NotFoundError, RegistryError
from cloche.images import local, pulling
from cloche.images.documents import LARGEST_CONFIG, check_content, read_manifest
from cloche.images.fetching import at_registry
from cloche.images.lists import DEEPEST, Item, chosen_of, config_of, descriptor_of, items_of
from cloche.images.pulling import fetch_blob
from cloche.images.registry.reading import read_whole
from cloche.images.store.layout import write_once
from cloche.records import record
from cloche.spec.image import Index

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cloche.images.documents import Answer
    from cloche.images.fetching import Access
    from cloche.images.references import Reference
    from cloche.images.registry.client import Repository
    from cloche.images.store.layout import Layout

REGISTRY = "docker://"  # podman's and skopeo's prefix for what is in a registry, wherever else it may be
MOST = 1000  # images of an index that are put into a list


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
        return _Keeping(layout, repository, str(reference)).items(reference.selector, everything=everything)

    return at_registry(text.removeprefix(REGISTRY), access, ask)


def inspect(text: str, access: Access) -> bytes:
    """The manifest or index that a registry has under this name, as it is there. Raises ClocheError."""
    return at_registry(
        text.removeprefix(REGISTRY), access, lambda reference, repository: repository.manifest(reference.selector)
    ).content


@record
class Part:
    """A manifest, as `docker manifest inspect -v` has it: its name, its descriptor as JSON has it, and its bytes."""

    name: str
    raw: dict[str, Any]
    content: bytes


def inspect_each(text: str, access: Access) -> tuple[list[Part], bool]:
    """The manifest that a registry has under this name; of an index, each of its manifests, and True.

    Raises ClocheError.
    """

    def ask(reference: Reference, repository: Repository) -> tuple[list[Part], bool]:
        top = repository.manifest(reference.selector)
        found = read_manifest(top.content, top.media_type, str(reference))
        if not isinstance(found, Index):
            config = b""
            if found.config.size <= LARGEST_CONFIG:
                answer, _ = repository.blob(found.config.digest)
                config = read_whole(answer, LARGEST_CONFIG, repository.name)
                check_content(config, found.config.digest, repository.name)
            raw = descriptor_of(config, top.content, found)
            return [Part(str(reference), raw, top.content)], False
        raws = chosen_of(top.content, found, str(reference), everything=True)
        if len(raws) > MOST:
            raise RegistryError(f"{reference} has more than {MOST} images", hint="without --verbose")
        name = reference.name + (f":{reference.tag}" if reference.tag else "")
        contents = [repository.manifest(str(raw["digest"])).content for raw in raws]
        return [
            Part(f"{name}@{raw['digest']}", raw, content) for raw, content in zip(raws, contents, strict=True)
        ], True

    return at_registry(text.removeprefix(REGISTRY), access, ask)


class _Keeping:
    """Images of a registry, with manifest and config in the store."""

    def __init__(self, layout: Layout, repository: Repository, name: str) -> None:
        self.layout, self.repository, self.name = layout, repository, name
        self._count = 0

    def items(self, selector: str, *, everything: bool) -> list[Item]:
        """The image that is meant, or those of an index."""
        top = self.repository.manifest(selector)
        found = read_manifest(top.content, top.media_type, self.name)
        if not isinstance(found, Index):
            self._keep(top, 0)
            config = config_of(self.layout, found)
            return [Item({**descriptor_of(config, top.content, found), "digest": top.digest}, self.name)]
        chosen = chosen_of(top.content, found, self.name, everything=everything)
        for raw in chosen:
            self._keep(self.repository.manifest(str(raw["digest"])), 1)
        return [Item(raw, self.name) for raw in chosen]

    def _keep(self, answer: Answer, depth: int) -> None:
        self._count += 1
        if self._count > MOST:
            raise RegistryError(f"{self.name} has more than {MOST} images", hint="name those that are meant")
        found = read_manifest(answer.content, answer.media_type, self.name)
        if isinstance(found, Index):
            for item in found.manifests if depth < DEEPEST else ():
                self._keep(self.repository.manifest(item.digest), depth + 1)
        elif found.config.size <= LARGEST_CONFIG:
            fetch_blob(self.layout, self.repository, found.config, pulling.Progress())
        if not self.layout.has(answer.digest):
            write_once(self.layout.blob(answer.digest), answer.content, f"{self.layout.path}/incoming")
