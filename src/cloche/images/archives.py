"""Images in a file: OCI layouts and docker's archives, as one tar that may come through a pipe.

    oci-layout, index.json, blobs/sha256/…     an image layout (image-layout.md); podman's and skopeo's oci-archive
    manifest.json, repositories                what docker reads: [{"Config", "RepoTags", "Layers"}], paths in the tar

`save` writes both into one tar, as docker does since 25. `load` takes either, in whatever order the files come: each
is stored under the digest of its bytes as it passes, and read by its name when all have.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile

from cloche.errors import RegistryError, SpecError
from cloche.images.digests import check_digest
from cloche.images.documents import LARGEST, LARGEST_CONFIG, read_config, read_manifest
from cloche.images.platforms import Wanted, choose
from cloche.images.references import parse_reference
from cloche.images.store import names, uses
from cloche.images.store.layers import check_layers, unpack_all
from cloche.images.store.layout import LAYOUT, sync_directory
from cloche.images.unpack import compression
from cloche.images.unpack.apply import shown, split
from cloche.images.unpack.tar import FILE, HARD_LINK, SYMLINK, Archive, BadArchive, Stream
from cloche.linux import files
from cloche.spec import image
from cloche.spec.image import NAME, Descriptor, Index, Manifest
from cloche.spec.reader import read_json, write_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO, Any

    from cloche.images.store.layout import Layout
    from cloche.images.unpack.apply import Powers
    from cloche.images.unpack.worker import Worker

MOST_FILES = 100_000
DEEPEST = 3  # an index in an index
CONTAINERD_NAME = "io.containerd.image.name"  # where docker and containerd put the name in full
COMPRESSED = {"gzip": "+gzip", "zstd": "+zstd"}


def save(layout: Layout, entries: list[names.Entry], out: IO[bytes]) -> None:
    """Write images into a tar. Raises NotFoundError for a blob that is gone."""
    listed: list[dict[str, Any]] = []
    docker: list[dict[str, Any]] = []
    written: set[str] = set()
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as made:
        _add(made, "oci-layout", LAYOUT)
        for entry in entries:
            content = layout.read(entry.manifest.digest, LARGEST)
            manifest = _manifest(content, entry.manifest.mediaType, entry.name)
            for digest in (*(item.digest for item in manifest.layers), manifest.config.digest, entry.manifest.digest):
                if digest not in written:
                    written.add(digest)
                    with open(layout.blob(digest), "rb") as blob:
                        info = tarfile.TarInfo(_path(digest))
                        info.size = os.fstat(blob.fileno()).st_size
                        made.addfile(info, blob)
            reference = parse_reference(entry.name) if entry.name else None
            notes = (
                {} if reference is None else {CONTAINERD_NAME: str(reference), NAME: reference.tag or str(reference)}
            )
            listed.append({**entry.manifest.to_dict(), **({"annotations": notes} if notes else {})})
            tags = [reference.familiar] if reference is not None and reference.tag else None
            same = next((item for item in docker if item["Config"] == _path(manifest.config.digest)), None)
            if same is not None:
                same["RepoTags"] = [*(same["RepoTags"] or ()), *(tags or ())] or None
                continue
            layers = [_path(item.digest) for item in manifest.layers]
            docker.append({"Config": _path(manifest.config.digest), "RepoTags": tags, "Layers": layers})
        index = {"schemaVersion": 2, "mediaType": image.OCI_INDEX, "manifests": listed}
        _add(made, "index.json", write_json(index).encode())
        _add(made, "manifest.json", write_json(docker).encode())


def _path(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _add(made: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    made.addfile(info, io.BytesIO(content))


def load(
    layout: Layout,
    read: Callable[[int], bytes],
    wanted: Wanted,
    make_worker: Callable[[], Worker],
    powers: Powers,
) -> list[names.Entry]:
    """Take the images of a tar, compressed or not, into the store; returns their entries.

    Raises SpecError for what is no archive of images, RegistryError for one that is broken.
    """
    layout.make()
    with uses.undisturbed(layout, lambda: uses.hold(layout, uses.FETCHING)):
        return _load(layout, read, wanted, make_worker, powers)


def _load(
    layout: Layout,
    read: Callable[[int], bytes],
    wanted: Wanted,
    make_worker: Callable[[], Worker],
    powers: Powers,
) -> list[names.Entry]:
    try:
        contents = _Contents(layout, Archive(Stream(compression.reader(read))))
    except BadArchive as error:
        raise SpecError(f"the archive {error}", hint="give one made by save, of docker, podman or cloche") from None
    if b"index.json" in contents:
        found = _of_layout(layout, contents, wanted)
    elif b"manifest.json" in contents:
        found = _of_docker(layout, contents)
    else:
        raise SpecError(
            "the archive has neither index.json nor manifest.json: it is none of images",
            hint="give one made by save, of docker, podman or cloche",
        )
    for entry in found:
        manifest = _manifest(layout.read(entry.manifest.digest, LARGEST), entry.manifest.mediaType, "the archive")
        config = read_config(layout.read(manifest.config.digest, LARGEST_CONFIG), "the archive")
        check_layers(config.rootfs.diff_ids, len(manifest.layers))
        digests = [item.digest for item in manifest.layers]
        unpack_all(layout, list(zip(digests, config.rootfs.diff_ids, strict=True)), make_worker, powers)
    for entry in found:
        names.put(layout, entry)
    return found


class _Contents:
    """The files of an archive by name, each stored as a blob."""

    def __init__(self, layout: Layout, archive: Archive) -> None:
        self.layout = layout
        self.digests: dict[bytes, str] = {}
        self._links: dict[bytes, bytes] = {}
        while (entry := archive.next()) is not None:
            name = b"/".join(split(entry.name))
            if entry.kind == FILE and entry.pieces is None:
                self.digests[name] = _store(layout, archive)
            elif entry.kind == SYMLINK:  # docker's, for a layer that several images have
                self._links[name] = b"/".join(split(name.rpartition(b"/")[0] + b"/" + entry.link))
            elif entry.kind == HARD_LINK:
                self._links[name] = b"/".join(split(entry.link))
            if len(self.digests) + len(self._links) > MOST_FILES:
                raise BadArchive(f"has more than {MOST_FILES} files")

    def __contains__(self, name: bytes) -> bool:
        return name in self.digests

    def digest(self, name: bytes) -> str:
        """What a file is stored as. Raises RegistryError for one that is not there."""
        for _ in range(8):
            if name in self.digests:
                return self.digests[name]
            name = self._links.get(name, b"")
        raise RegistryError(f"the archive lacks {shown(name)}, which it speaks of")

    def read(self, name: bytes, limit: int) -> bytes:
        """The content of a small file."""
        return self.layout.read(self.digest(name), limit)


def _store(layout: Layout, archive: Archive) -> str:
    """Store the data of the current entry; returns its digest."""
    summed = hashlib.sha256()
    temporary = f"{layout.path}/incoming/load.{os.getpid()}"
    try:
        with files.Fd(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)) as file:
            for part in archive.content():
                summed.update(part)
                view = part
                while view:
                    view = view[os.write(file.number, view) :]
            os.fsync(file.number)
        digest = f"sha256:{summed.hexdigest()}"
        os.rename(temporary, layout.blob(digest))
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
    sync_directory(os.path.dirname(layout.blob(digest)))
    return digest


def _of_layout(layout: Layout, contents: _Contents, wanted: Wanted) -> list[names.Entry]:
    index = read_manifest(contents.read(b"index.json", LARGEST), image.OCI_INDEX, "the archive")
    if not isinstance(index, Index):
        raise RegistryError("the archive has an index.json that is none")
    found = []
    tags = _docker_tags(contents)
    for item in index.manifests:
        notes = item.annotations or {}
        chosen = _stored(layout, contents, item, wanted)
        if chosen is None:
            continue
        given = notes.get(CONTAINERD_NAME) or notes.get(NAME) or ""
        full = [_full_name(given)] if given and (CONTAINERD_NAME in notes or "/" in given or ":" in given) else []
        for name in full or tags.get(_config_of(layout, chosen), [""]):
            found.append(names.Entry(name, chosen))
    return found


def _stored(layout: Layout, contents: _Contents, item: Descriptor, wanted: Wanted, depth: int = 0) -> Descriptor | None:
    """The manifest for a platform that a descriptor leads to, all of whose parts are there."""
    if depth > DEEPEST:
        raise RegistryError("the archive has an index of indexes without end")
    content = contents.read(_path(item.digest).encode(), LARGEST)
    if contents.digest(_path(item.digest).encode()) != check_digest(item.digest):
        raise RegistryError(f"the archive has something else for {item.digest}")
    found = read_manifest(content, item.mediaType, "the archive")
    if isinstance(found, Index):
        there = [part for part in found.manifests if _path(part.digest).encode() in contents.digests]
        return _stored(layout, contents, choose(there, wanted, "the archive"), wanted, depth + 1) if there else None
    for part in (found.config, *found.layers):
        if contents.digest(_path(part.digest).encode()) != part.digest:
            raise RegistryError(f"the archive has something else for {part.digest}")
    return Descriptor(mediaType=found.mediaType or item.mediaType, digest=item.digest, size=len(content))


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
        found.setdefault(digest, []).extend(_full_name(tag) for tag in item.get("RepoTags") or ())
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
        found += [names.Entry(_full_name(tag), descriptor) for tag in item.get("RepoTags") or ()] or [
            names.Entry("", descriptor)
        ]
    return found


def _bytes(name: str) -> bytes:
    return name.encode(errors="surrogatepass")


def _layer(layout: Layout, digest: str) -> dict[str, object]:
    with open(layout.blob(digest), "rb") as blob:
        kind = compression.kind_of(blob.read(compression.LONGEST_MAGIC))
        size = os.fstat(blob.fileno()).st_size
    return {"mediaType": image.OCI_LAYER + COMPRESSED.get(kind, ""), "digest": digest, "size": size}


def _full_name(text: str) -> str:
    try:
        return str(parse_reference(text))
    except SpecError as error:
        raise RegistryError(f"the archive has a name that is none: {error}") from None
