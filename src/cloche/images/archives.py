"""Images in a file: OCI layouts and docker's archives, as one tar that may come through a pipe.

    oci-layout, index.json, blobs/sha256/…     an image layout (image-layout.md); podman's and skopeo's oci-archive
    manifest.json, repositories                what docker reads: [{"Config", "RepoTags", "Layers"}], paths in the tar

`load` takes either (`saving` writes them), in whatever order the files come: each is stored under the digest of its
bytes as it passes, and read by its name when all have.
"""

from __future__ import annotations

import hashlib
import os

from cloche.errors import ClocheError, RegistryError, SpecError
from cloche.images.digests import check_digest
from cloche.images.documents import LARGEST, LARGEST_CONFIG, read_config, read_manifest
from cloche.images.platforms import choose, choose_asking, own_platform
from cloche.images.references import claimed_name
from cloche.images.removing import discard, filling
from cloche.images.saving import CONTAINERD_NAME, path_of
from cloche.images.store import names, room
from cloche.images.store.crew import unpack_all
from cloche.images.store.incoming import Unnamed
from cloche.images.store.layers import check_layers
from cloche.images.store.stacks import stack
from cloche.images.telling import tell
from cloche.images.unpack import compression
from cloche.images.unpack.naming import shown, split
from cloche.images.unpack.tar import FILE, HARD_LINK, SYMLINK, Archive, BadArchive, Stream
from cloche.records import record
from cloche.spec import image
from cloche.spec.image import NAME, Descriptor, Index, Manifest, Platform
from cloche.spec.reader import read_json, write_json
from cloche.stage.points import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cloche.images.platforms import Wanted
    from cloche.images.store.layout import Layout
    from cloche.images.unpack.apply import Powers
    from cloche.images.unpack.worker import Worker
    from cloche.spec.image import ImageConfig

MOST_FILES = 100_000  # however many have the same name
MOST_NAMES = 16 << 20  # bytes of all names, and of what links lead to
MOST_BYTES = 512 << 30  # of all files together
DEEPEST = 3  # an index in an index
COMPRESSED = {"gzip": "+gzip", "zstd": "+zstd"}
MADE_BY = "give one made by save, of docker, podman or cloche; the files of a system are for cloche import"


@record
class Loaded:
    """An image that is there now: its name, "" for none, and its ID."""

    name: str
    id: str


def load(
    layout: Layout,
    read: Callable[[int], bytes],
    wanted: Wanted | None,
    make_worker: Callable[[], Worker],
    powers: Powers,
) -> list[Loaded]:
    """Take the images of a tar, compressed or not, into the store.

    `wanted` is a platform that images must be for; with None this machine's is taken where there is a choice. Raises
    SpecError for what is no archive of images, RegistryError for one that is broken, NotFoundError for a platform it
    does not have.
    """
    layout.make()
    contents = _Contents(layout)
    try:
        with filling(layout, make_worker):
            return _load(layout, contents, read, wanted, make_worker, powers)
    finally:
        discard(layout, contents.stored)


def _load(
    layout: Layout,
    contents: _Contents,
    read: Callable[[int], bytes],
    wanted: Wanted | None,
    make_worker: Callable[[], Worker],
    powers: Powers,
) -> list[Loaded]:
    entries = _take_in(layout, contents, read, wanted)
    point("load-read")
    found = []
    for entry in entries:
        manifest = _manifest(layout.read(entry.manifest.digest, LARGEST), entry.manifest.mediaType, "the archive")
        config = read_config(layout.read(manifest.config.digest, LARGEST_CONFIG), "the archive")
        if wanted is not None:
            _check_platform(entry, config, wanted)
        check_layers(config.rootfs.diff_ids, len(manifest.layers))
        digests = [item.digest for item in manifest.layers]
        unpack_all(layout, list(zip(digests, config.rootfs.diff_ids, strict=True)), make_worker, powers)
        stack(layout, manifest.config.digest, config.rootfs.diff_ids, make_worker, powers)
        found.append(Loaded(entry.name, manifest.config.digest))
    for entry in entries:
        point("load-unnamed")
        names.put(layout, entry)
    for item in found:
        tell(layout, "load", item.id)
    return found


def take_in(layout: Layout, read: Callable[[int], bytes], wanted: Wanted | None) -> list[names.Entry]:
    """Store what a tar of images has as blobs, and return its images; nothing is unpacked or named."""
    return _take_in(layout, _Contents(layout), read, wanted)


def _take_in(
    layout: Layout, contents: _Contents, read: Callable[[int], bytes], wanted: Wanted | None
) -> list[names.Entry]:
    try:
        contents.take(Archive(Stream(compression.reader(read))))
    except BadArchive as error:
        raise SpecError(f"the archive {error}", hint=MADE_BY) from None
    if b"index.json" in contents:
        return _of_layout(layout, contents, wanted)
    if b"manifest.json" in contents:
        return _of_docker(layout, contents)
    if b"repositories" in contents:
        raise SpecError("the archive is of a docker before 1.10", hint="load it into docker 1.10 to 26, save it again")
    raise SpecError("the archive has neither index.json nor manifest.json: it is none of images", hint=MADE_BY)


def _check_platform(entry: names.Entry, config: ImageConfig, wanted: Wanted) -> None:
    has = Platform(architecture=config.architecture, os=config.os, variant=config.variant)
    item = Descriptor(mediaType="", digest="", size=0, platform=has)
    choose([item], wanted, f"the image {entry.name}" if entry.name else "the archive")


class _Contents:
    """The files of an archive by name, each stored as a blob."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.digests: dict[bytes, str] = {}
        self.stored: set[str] = set()
        self._links: dict[bytes, bytes] = {}
        self._bytes = self._names = self._count = 0

    def take(self, archive: Archive) -> None:
        """Store what is in an archive. Raises BadArchive."""
        while (entry := archive.next()) is not None:
            self._count += 1
            self._names += len(entry.name) + len(entry.link)
            if self._count > MOST_FILES:
                raise BadArchive(f"has more than {MOST_FILES} files")
            if self._names > MOST_NAMES:
                raise BadArchive(f"has names of more than {MOST_NAMES >> 20} MiB")
            name = b"/".join(split(entry.name))
            if entry.kind == FILE and entry.pieces is None:
                self._bytes += entry.size
                if self._bytes > MOST_BYTES:
                    raise BadArchive(f"has more than {MOST_BYTES >> 30} GiB")
                room.check(self.layout, entry.size)
                self.digests[name] = _store(self.layout, archive)
                self.stored.add(self.digests[name])
            elif entry.kind == SYMLINK:  # docker's, for a layer that several images have
                self._links[name] = b"/".join(split(name.rpartition(b"/")[0] + b"/" + entry.link))
            elif entry.kind == HARD_LINK:
                self._links[name] = b"/".join(split(entry.link))

    def __contains__(self, name: bytes) -> bool:
        return name in self.digests

    def digest(self, name: bytes) -> str:
        """What a file is stored as. Raises RegistryError for one that is not there."""
        place = name
        for _ in range(8):
            if place in self.digests:
                return self.digests[place]
            place = self._links.get(place, b"")
        raise RegistryError(f"the archive lacks {shown(name)}, which it speaks of")

    def read(self, name: bytes, limit: int) -> bytes:
        """The content of a small file."""
        return self.layout.read(self.digest(name), limit)


def _store(layout: Layout, archive: Archive) -> str:
    """Store the data of the current entry; returns its digest."""
    summed = hashlib.sha256()
    with Unnamed(layout, "load") as blob:
        for part in archive.content():
            summed.update(part)
            blob.write(part)
        point("load-written")
        digest = f"sha256:{summed.hexdigest()}"
        blob.keep(digest)
    return digest


def _of_layout(layout: Layout, contents: _Contents, wanted: Wanted | None) -> list[names.Entry]:
    index = read_manifest(contents.read(b"index.json", LARGEST), image.OCI_INDEX, "the archive")
    if not isinstance(index, Index):
        raise RegistryError("the archive has an index.json that is none")
    found = []
    tags = _docker_tags(contents)
    for item in _one_each(index.manifests, wanted):
        notes = item.annotations or {}
        chosen = _stored(layout, contents, item, wanted or own_platform())
        given = notes.get(CONTAINERD_NAME) or notes.get(NAME) or ""
        full = [given] if given and (CONTAINERD_NAME in notes or "/" in given or ":" in given) else []
        for name in full or tags.get(_config_of(layout, chosen), [""]):
            found.append(names.Entry(claimed_name(name, item.digest), chosen))
    return found


def _one_each(items: list[Descriptor], wanted: Wanted | None) -> list[Descriptor]:
    """The images of an index.json: those that differ only in their platform are one, and one is chosen."""
    by_name: dict[str, list[Descriptor]] = {}
    for item in items:
        notes = item.annotations or {}
        by_name.setdefault(notes.get(CONTAINERD_NAME) or notes.get(NAME) or "", []).append(item)
    found = []
    for some in by_name.values():
        platforms = [str(item.platform.to_dict()) for item in some if item.platform is not None]
        one = len(some) > 1 and len(set(platforms)) == len(some)
        found += [choose(some, wanted or own_platform(), "the archive")] if one else some
    return found


def _stored(layout: Layout, contents: _Contents, item: Descriptor, wanted: Wanted, depth: int = 0) -> Descriptor:
    """The manifest for a platform that a descriptor leads to, all of whose parts are there."""
    if depth > DEEPEST:
        raise RegistryError("the archive has an index of indexes without end")
    content = contents.read(path_of(item.digest).encode(), LARGEST)
    if contents.digest(path_of(item.digest).encode()) != check_digest(item.digest):
        raise RegistryError(f"the archive has something else for {item.digest}")
    found = read_manifest(content, item.mediaType, "the archive")
    if isinstance(found, Index):
        there = [part for part in found.manifests if path_of(part.digest).encode() in contents.digests]
        item = choose_asking(there, wanted, "the archive", lambda item: _platform(contents, item))
        return _stored(layout, contents, item, wanted, depth + 1)
    for part in (found.config, *found.layers):
        if contents.digest(path_of(part.digest).encode()) != part.digest:
            raise RegistryError(f"the archive has something else for {part.digest}")
    return Descriptor(mediaType=found.mediaType or item.mediaType, digest=item.digest, size=len(content))


def _platform(contents: _Contents, item: Descriptor) -> Platform | None:
    """What a manifest is for, by its config; None where that does not say."""
    try:
        found = read_manifest(contents.read(path_of(item.digest).encode(), LARGEST), item.mediaType, "the archive")
        if not isinstance(found, Manifest):
            return None
        config = read_config(contents.read(path_of(found.config.digest).encode(), LARGEST_CONFIG), "the archive")
    except ClocheError:
        return None
    return Platform(os=config.os, architecture=config.architecture, variant=config.variant)


def _config_of(layout: Layout, item: Descriptor) -> str:
    return _manifest(layout.read(item.digest, LARGEST), item.mediaType, "the archive").config.digest


def _manifest(content: bytes, media_type: str, what: str) -> Manifest:
    found = read_manifest(content, media_type, what)
    if not isinstance(found, Manifest):
        raise RegistryError(f"{what} is an index of images")
    return found


def _docker_tags(contents: _Contents) -> dict[str, list[str]]:
    """Names by the digest of the config, from a manifest.json that stands beside an index."""
    if b"manifest.json" not in contents:
        return {}
    found: dict[str, list[str]] = {}
    for item in _docker_list(contents):
        digest = contents.digest(_bytes(item["Config"]))
        found.setdefault(digest, []).extend(item.get("RepoTags") or ())
    return {digest: tags for digest, tags in found.items() if tags}


def _docker_list(contents: _Contents) -> list[dict[str, Any]]:
    raw = read_json(contents.read(b"manifest.json", LARGEST))
    if not isinstance(raw, list):
        raise RegistryError("the archive has a manifest.json that is no list")
    for item in raw:
        layers, tags = (item.get("Layers"), item.get("RepoTags")) if isinstance(item, dict) else (None, None)
        good = isinstance(layers, list) and isinstance(tags or [], list)
        if not good or not all(isinstance(text, str) for text in (item.get("Config"), *(layers or ()), *(tags or ()))):
            raise RegistryError("the archive has a manifest.json that makes no sense")
    return raw


def _of_docker(layout: Layout, contents: _Contents) -> list[names.Entry]:
    found = []
    for item in _docker_list(contents):
        config = contents.digest(_bytes(item["Config"]))
        size = os.stat(layout.blob(config)).st_size
        layers = [_layer(layout, contents.digest(_bytes(name))) for name in item["Layers"]]
        manifest = {
            "schemaVersion": 2,
            "mediaType": image.OCI_MANIFEST,
            "config": {"mediaType": image.OCI_CONFIG, "digest": config, "size": size},
            "layers": layers,
        }
        content = write_json(manifest).encode()
        digest = layout.add(content)
        descriptor = Descriptor(mediaType=image.OCI_MANIFEST, digest=digest, size=len(content))
        found += [names.Entry(claimed_name(tag, digest), descriptor) for tag in item.get("RepoTags") or ("",)]
    return found


def _bytes(name: str) -> bytes:
    return name.encode(errors="surrogatepass")


def _layer(layout: Layout, digest: str) -> dict[str, object]:
    with open(layout.blob(digest), "rb") as blob:
        kind = compression.kind_of(blob.read(compression.LONGEST_MAGIC))
        size = os.fstat(blob.fileno()).st_size
    return {"mediaType": image.OCI_LAYER + COMPRESSED.get(kind, ""), "digest": digest, "size": size}
