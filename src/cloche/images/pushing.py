"""Sending to a registry: the blobs it does not have, then the manifest, which gives them their name.

    image   layers, config ──▶ manifest under a tag
    list    each of its images by digest ──▶ index under a tag

A blob that another repository of the registry has is mounted from there. One that is in no store of ours, of an image
that was put into a list without being pulled, is fetched from the registry it is in, checked, and sent on.
"""

from __future__ import annotations

import io
import os
from concurrent.futures import ThreadPoolExecutor

from cloche.errors import ClocheError, NotFoundError, RegistryError
from cloche.images import local, pulling
from cloche.images.documents import LARGEST, read_manifest
from cloche.images.fetching import Access, at_registry, push_to
from cloche.images.lists import DEEPEST, members_of
from cloche.images.pulling import fetch_blob
from cloche.images.references import DEFAULT_DOMAIN, parse_reference
from cloche.images.registry.places import HUB
from cloche.images.store import names
from cloche.images.telling import tell_of_registry
from cloche.spec.image import DOCKER_FOREIGN, INDEXES, OCI_FOREIGN, Descriptor, Index, Manifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.images.references import Reference
    from cloche.images.registry.client import Repository
    from cloche.images.store.layout import Layout

AT_ONCE = 3


class Progress:
    """What is told of a push; this one tells nobody."""

    def layers(self, items: list[Descriptor]) -> None:
        """What is to be sent is known."""

    def sent(self, item: Descriptor, size: int) -> None:
        """So many bytes of a layer have been sent."""

    def done(self, item: Descriptor, how: str) -> None:
        """A layer, or an image of a list, is there: it "exists", was "mounted" or "pushed"."""

    def close(self) -> None:
        """The push has ended, well or not."""


def push(
    layout: Layout,
    entry: names.Entry,
    repository: Repository,
    selector: str,
    progress: Progress,
    access: Access | None = None,
) -> tuple[str, int]:
    """Send an image or a list of the store; returns the digest and the size of its manifest.

    `access` is how registries are spoken to from which something of a list has to be fetched: as that of `repository`
    if it is the same. Raises ClocheError, OSError.
    """
    content = layout.read(entry.manifest.digest, LARGEST)
    found = read_manifest(content, entry.manifest.mediaType, entry.name)
    sending = _Sending(layout, repository, progress, entry, access or Access())
    try:
        progress.layers(found.manifests if isinstance(found, Index) else _own_layers(found))
        sending.parts(found, "", 0)
    finally:
        progress.close()
    return repository.push_manifest(selector, content, found.mediaType or entry.manifest.mediaType), len(content)


def send(layout: Layout, entry: names.Entry, to: str, access: Access, progress: Progress) -> tuple[str, int]:
    """Send an image or a list of the store to the repository and tag that a name means.

    Returns the digest and the size of its manifest; meanwhile it must not be removed (`uses.keeping`). Raises
    ClocheError, OSError.
    """

    def work(reference: Reference, repository: Repository) -> tuple[str, int]:
        sent = push(layout, entry, repository, reference.tag, progress, access)
        tell_of_registry(layout, "push", reference, local.id_or_digest(layout, entry))
        return sent

    return push_to(to, access, work)


class _Sending:
    """One image or list on its way to a repository."""

    def __init__(
        self, layout: Layout, repository: Repository, progress: Progress, entry: names.Entry, access: Access
    ) -> None:
        self.layout, self.repository, self.progress = layout, repository, progress
        self.entry, self.access = entry, access
        self.members = members_of(entry)
        self.domain = DEFAULT_DOMAIN if repository.host == HUB else repository.host
        self.sources = _sources(layout, self.domain, repository.path)

    def parts(self, found: Manifest | Index, origin: str, depth: int) -> None:
        """Send what a manifest or index leads to; `origin` is the name of where it came from."""
        if depth > DEEPEST:
            raise RegistryError(f"{self.entry.name} is an index of indexes without end")
        if isinstance(found, Index):
            for item in found.manifests:
                self._member(item, self.members.get(item.digest, origin), depth + 1)
            return
        # whether anybody answers, and lets us in, before much is said
        self.repository.has_blob(found.config.digest)
        layers = _own_layers(found)
        with ThreadPoolExecutor(AT_ONCE, "push") as pool:
            for item, future in [(item, pool.submit(self._blob, item, origin)) for item in layers]:
                how = future.result()
                if not depth:
                    self.progress.done(item, how)
        self._blob(found.config, origin)

    def _member(self, item: Descriptor, origin: str, depth: int) -> None:
        """Send an image of a list, by its digest; a registry that has its manifest has all of it."""
        if self._is_there(item):
            self.progress.done(item, "exists")
            return
        content = self.layout.read(item.digest, LARGEST)
        found = read_manifest(content, item.mediaType, self.entry.name)
        self.parts(found, origin, depth)
        self.repository.push_manifest(item.digest, content, found.mediaType or item.mediaType)
        self.progress.done(item, "pushed")

    def _is_there(self, item: Descriptor) -> bool:
        try:
            return self.repository.describe(item.digest).digest == item.digest
        except NotFoundError:
            return False

    def _blob(self, item: Descriptor, origin: str) -> str:
        sources = self.sources.get(item.digest, ())
        if not self.layout.has(item.digest):
            how = self.repository.mount_blob(item.digest, sources)
            if how:
                return how
            self._fetch(item, origin)
        with _Watched(self.layout.blob(item.digest), item, self.progress) as body:
            size = os.fstat(body.fileno()).st_size
            return self.repository.push_blob(item.digest, size, body, sources)

    def _fetch(self, item: Descriptor, origin: str) -> None:
        """Have a blob in the store that only a registry has."""
        if not origin:
            raise NotFoundError(
                f"the content {item.digest} of {self.entry.name} is not in the store", hint="pull the image again"
            )
        # what was said for the one registry is not meant for another: a password least of all
        same = parse_reference(origin).domain == self.domain

        def ask(_reference: Reference, repository: Repository) -> None:
            fetch_blob(self.layout, repository, item, pulling.Progress())

        at_registry(origin, self.access if same else Access(), ask)


class _Watched(io.BufferedReader):
    """A blob's file, of which is told how far it has been read."""

    def __init__(self, path: str, item: Descriptor, progress: Progress) -> None:
        super().__init__(io.FileIO(path))
        self._item, self._progress = item, progress

    def read(self, size: int | None = -1, /) -> bytes:
        part = super().read(size)
        self._progress.sent(self._item, self.tell())
        return part


def _own_layers(manifest: Manifest) -> list[Descriptor]:
    """The layers that are sent: those that have an address elsewhere are not for us to give away (image-spec)."""
    foreign = (OCI_FOREIGN, DOCKER_FOREIGN)
    return [item for item in manifest.layers if not (item.urls and item.mediaType.startswith(foreign))]


def _sources(layout: Layout, domain: str, path: str) -> dict[str, list[str]]:
    """Other repositories of a registry that blobs of ours came from, by digest."""
    found: dict[str, list[str]] = {}
    for entry in names.entries(layout):
        pairs = [(name, digest) for digest, name in members_of(entry).items()]
        if entry.source and entry.manifest.mediaType not in INDEXES:
            pairs.append((entry.source, entry.manifest.digest))
        for name, digest in pairs:
            source = parse_reference(name, tagged=False)
            if source.domain != domain or source.path == path:
                continue
            try:
                manifest = read_manifest(layout.read(digest, LARGEST), "", name)
            except ClocheError:
                continue  # one that is damaged has nothing to offer
            for item in (manifest.config, *manifest.layers) if isinstance(manifest, Manifest) else ():
                found.setdefault(item.digest, []).append(source.path)
    return found
