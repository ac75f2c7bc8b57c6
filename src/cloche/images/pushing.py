"""Sending an image to a registry: the blobs it does not have, then the manifest, which gives them their name."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from cloche.errors import ClocheError, NotFoundError
from cloche.images.documents import LARGEST, read_manifest
from cloche.images.references import parse_reference
from cloche.images.store import names
from cloche.spec.image import DOCKER_FOREIGN, OCI_FOREIGN, Descriptor, Manifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.images.registry.client import Repository
    from cloche.images.store.layout import Layout

AT_ONCE = 3


class Progress:
    """What is told of a push; this one tells nobody."""

    def layers(self, items: list[Descriptor]) -> None:
        """What is to be sent is known."""

    def done(self, item: Descriptor, how: str) -> None:
        """A layer is there: it "exists", was "mounted" or "pushed"."""


def push(
    layout: Layout, entry: names.Entry, repository: Repository, selector: str, progress: Progress
) -> tuple[str, int]:
    """Send an image of the store; returns the digest and the size of its manifest. Raises ClocheError, OSError."""
    content = layout.read(entry.manifest.digest, LARGEST)
    manifest = read_manifest(content, entry.manifest.mediaType, entry.name)
    if not isinstance(manifest, Manifest):
        raise NotFoundError(f"{entry.name} is an index of images", hint="name one of them")
    layers = [item for item in manifest.layers if not item.mediaType.startswith((OCI_FOREIGN, DOCKER_FOREIGN))]
    repository.has_blob(manifest.config.digest)  # whether anybody answers, and lets us in, before much is said
    progress.layers(layers)
    sources = _sources(layout, repository)

    def send(item: Descriptor) -> str:
        with open(layout.blob(item.digest), "rb") as body:
            size = os.fstat(body.fileno()).st_size
            return repository.push_blob(item.digest, size, body, sources.get(item.digest, ()))

    with ThreadPoolExecutor(AT_ONCE, "push") as pool:
        for item, future in [(item, pool.submit(send, item)) for item in layers]:
            progress.done(item, future.result())
    send(manifest.config)
    return repository.push_manifest(selector, content, manifest.mediaType or entry.manifest.mediaType), len(content)


def _sources(layout: Layout, repository: Repository) -> dict[str, list[str]]:
    """Repositories of the same registry that blobs of ours came from, by digest."""
    found: dict[str, list[str]] = {}
    for entry in names.entries(layout):
        if not entry.source:
            continue
        source = parse_reference(entry.source, tagged=False)
        if source.domain != repository.host or source.path == repository.path:
            continue
        try:
            manifest = read_manifest(layout.read(entry.manifest.digest, LARGEST), entry.manifest.mediaType, entry.name)
        except ClocheError:
            continue  # one that is damaged has nothing to offer
        for item in manifest.layers if isinstance(manifest, Manifest) else ():
            found.setdefault(item.digest, []).append(source.path)
    return found
