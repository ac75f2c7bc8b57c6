"""Images into a file, in three forms, each one tar that may go through a pipe; the same images give the same bytes.

oci-archive      oci-layout, index.json, blobs/sha256/…     an image layout (image-layout.md)
docker-archive   manifest.json, DIFFID.tar, IMAGE.json      what docker had before 25; layers are not compressed
both             manifest.json beside the layout, with its blobs for layers, as docker has it since 25
"""

from __future__ import annotations

import hashlib
import io
import os

from cloche.errors import NotFoundError, RegistryError
from cloche.images import packing
from cloche.images.documents import LARGEST, LARGEST_CONFIG, read_config, read_manifest
from cloche.images.lists import DEEPEST, MEMBER, member
from cloche.images.references import parse_reference
from cloche.images.store.layers import check_layers
from cloche.images.store.layout import LAYOUT
from cloche.images.unpack import compression
from cloche.images.unpack.tar import FILE, Entry
from cloche.records import record
from cloche.spec import image
from cloche.spec.image import NAME, Manifest
from cloche.spec.reader import write_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO, Any, Protocol

    from cloche.images.store import names
    from cloche.images.store.layout import Layout
    from cloche.spec.image import Descriptor

    class Readable(Protocol):
        """What parts are read from; fewer bytes than asked for are no end."""

        def read(self, size: int, /) -> bytes | memoryview:
            """The next bytes, none at the end."""


PART = 1 << 18  # bytes that are copied at once
BOTH, OCI, DOCKER = "both", "oci-archive", "docker-archive"
CONTAINERD_NAME = "io.containerd.image.name"  # where docker and containerd put the name in full


@record
class _Image:
    """What is written: the manifest, and all names it was asked for by; none for an image that is to have none.

    `manifest` of a list is that of its image for this machine, None where it has none; `parts` are the digests of all.
    """

    entry: names.Entry
    manifest: Manifest | None
    names: tuple[str, ...]
    parts: tuple[str, ...]


def save(layout: Layout, entries: list[names.Entry], out: IO[bytes], form: str = BOTH) -> None:
    """Write images into a tar. Raises NotFoundError for a blob that is gone, RegistryError for one that is damaged."""
    if form == DOCKER:  # which has no lists
        entries = [member(layout, entry) for entry in entries]
    found = _images(layout, entries)
    writer = _Writer(layout, out)
    if form != DOCKER:
        writer.add("oci-layout", LAYOUT)
        for item in found:
            for digest in item.parts:
                writer.add_blob(digest)
        writer.add("index.json", write_json(_index(found, full=form == OCI)).encode())
    if form != OCI:
        writer.add("manifest.json", write_json(_docker_list(writer, found, plain=form == DOCKER)).encode())
    out.write(packing.END)


def _images(layout: Layout, entries: list[names.Entry]) -> list[_Image]:
    """Each image once, in the order in which they were asked for first."""
    first: dict[str, names.Entry] = {}
    known: dict[str, dict[str, None]] = {}
    for entry in entries:
        digest = entry.manifest.digest
        first.setdefault(digest, entry)
        known.setdefault(digest, {}).update({entry.name: None} if entry.name else {})
    found = []
    for digest, entry in first.items():
        parts = tuple(dict.fromkeys(_parts(layout, entry.manifest, entry.name or digest)))
        found.append(_Image(entry, _own_manifest(layout, entry), tuple(known[digest]), parts))
    return found


def _own_manifest(layout: Layout, entry: names.Entry) -> Manifest | None:
    try:
        item = member(layout, entry).manifest
    except NotFoundError:
        return None
    found = read_manifest(layout.read(item.digest, LARGEST), item.mediaType, entry.name or item.digest)
    return found if isinstance(found, Manifest) else None


def _parts(layout: Layout, item: Descriptor, what: str, depth: int = 0) -> Iterator[str]:
    """The digests of an image, or of a list with all its images: what is led to first."""
    found = read_manifest(layout.read(item.digest, LARGEST), item.mediaType, what)
    if isinstance(found, Manifest):
        yield from (part.digest for part in (*found.layers, found.config))
    elif depth > DEEPEST:
        raise RegistryError(f"{what} is a list of lists without end")
    else:
        for part in found.manifests:
            yield from _parts(layout, part, what, depth + 1)
    yield item.digest


def _index(found: list[_Image], *, full: bool) -> dict[str, Any]:
    """index.json; with `full` names where podman and skopeo look, in place of the tag, which docker has there."""
    listed = []
    for item in found:
        for name in item.names or ("",):
            notes = {}
            if name:
                notes = {CONTAINERD_NAME: name, NAME: name if full else parse_reference(name).tag or name}
            kept = item.entry.manifest.annotations or {}
            own = {**{key: note for key, note in kept.items() if not key.startswith(MEMBER)}, **notes}
            raw = {key: value for key, value in item.entry.manifest.to_dict().items() if key != "annotations"}
            listed.append({**raw, **({"annotations": own} if own else {})})
    return {"schemaVersion": 2, "mediaType": image.OCI_INDEX, "manifests": listed}


def _docker_list(writer: _Writer, found: list[_Image], *, plain: bool) -> list[dict[str, Any]]:
    """manifest.json. Names are in full: podman takes one without a registry for its own, localhost/NAME."""
    listed: dict[str, dict[str, Any]] = {}
    for item in found:
        if item.manifest is None:
            continue
        config = item.manifest.config.digest
        tags = [name for name in item.names if parse_reference(name, tagged=False).tag]
        if config in listed:  # the same image, compressed in another way
            listed[config]["RepoTags"] = [*(listed[config]["RepoTags"] or ()), *tags] or None
            continue
        if plain:
            place, layers = writer.add_plain(item.manifest, item.entry.name)
        else:
            place, layers = path_of(config), [path_of(layer.digest) for layer in item.manifest.layers]
        listed[config] = {"Config": place, "RepoTags": tags or None, "Layers": layers}
    return list(listed.values())


def path_of(digest: str) -> str:
    """Where a layout has a blob."""
    return "blobs/" + digest.replace(":", "/")


class _Writer:
    """What is written into the tar, each file once: without times and owners, so that it is always the same."""

    def __init__(self, layout: Layout, out: IO[bytes]) -> None:
        self.layout, self._out = layout, out
        self._written: set[str] = set()

    def add(self, name: str, content: bytes) -> None:
        self._put(name, len(content), io.BytesIO(content))

    def add_blob(self, digest: str) -> None:
        if path_of(digest) not in self._written:
            with _open(self.layout, digest) as blob:
                self._put(path_of(digest), os.fstat(blob.fileno()).st_size, blob)

    def add_plain(self, manifest: Manifest, name: str) -> tuple[str, list[str]]:
        """The config and the layers, uncompressed, in docker's own way; returns what they are called."""
        config = self.layout.read(manifest.config.digest, LARGEST_CONFIG)
        diff_ids = read_config(config, name).rootfs.diff_ids
        check_layers(diff_ids, len(manifest.layers))
        layers = []
        for layer, diff_id in zip(manifest.layers, diff_ids, strict=True):
            layers.append(diff_id.partition(":")[2] + ".tar")
            if layers[-1] not in self._written:
                self._add_layer(layers[-1], layer.digest, diff_id)
        place = manifest.config.digest.partition(":")[2] + ".json"
        self.add(place, config)
        return place, layers

    def _add_layer(self, name: str, digest: str, diff_id: str) -> None:
        """A layer is decompressed twice, as its size stands in front of it."""
        with _open(self.layout, digest) as blob:
            chunks = compression.reader(blob.read)
            size = 0
            while chunk := chunks():
                size += len(chunk)
            blob.seek(0)
            content = _Decompressed(compression.reader(blob.read))
            self._put(name, size, content)
            if content.digest() != diff_id:
                raise RegistryError(f"the layer {digest} is not what the image's config says", hint="pull it again")

    def _put(self, name: str, size: int, content: Readable) -> None:
        if name in self._written:
            return
        self._written.add(name)
        self._out.write(packing.header(Entry(FILE, name.encode(), mode=0o644, size=size)))
        left = size
        while left and (part := content.read(min(left, PART))):
            left -= len(part)
            self._out.write(part)
        if left:
            raise RegistryError(f"{name} ends in the middle", hint="pull the image again")
        self._out.write(packing.filling(size))


def _open(layout: Layout, digest: str) -> IO[bytes]:
    try:
        return open(layout.blob(digest), "rb")
    except FileNotFoundError:
        raise NotFoundError(f"the content {digest} is not in the store {layout.path}", hint="pull it again") from None


class _Decompressed:
    """A source of chunks as a file to read from, which knows the digest of what was read."""

    def __init__(self, source: Callable[[], bytes]) -> None:
        self._source = source
        self._rest = memoryview(b"")
        self._sum = hashlib.sha256()

    def read(self, size: int) -> memoryview:
        if not self._rest:
            self._rest = memoryview(self._source())
            self._sum.update(self._rest)
        part, self._rest = self._rest[:size], self._rest[size:]
        return part

    def digest(self) -> str:
        return f"sha256:{self._sum.hexdigest()}"
