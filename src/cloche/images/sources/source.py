"""Images wherever they are: what a source has to offer, and an image with its layers on top of that."""

from __future__ import annotations

import os
from typing import IO, Protocol

from cloche.errors import ConflictError, NotFoundError, RegistryError
from cloche.images.digests import hasher
from cloche.images.documents import LARGEST_CONFIG, Answer, check_content, read_config, read_manifest
from cloche.images.platforms import Wanted, choose, own_platform
from cloche.images.unpack import compression
from cloche.images.unpack.flatten import flatten
from cloche.spec.image import Manifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cloche.spec.image import Descriptor, ImageConfig

PART = 1 << 18
DEEPEST = 2  # indexes in an index


class Stream(Protocol):
    """The bytes of a blob, on their way."""

    def read(self, size: int, /) -> bytes:
        """Up to so many bytes, b"" at the end."""

    def close(self) -> None:
        """Be done with it."""


class Source(Protocol):
    """A place with images."""

    @property
    def name(self) -> str:
        """What it is called in messages."""

    def manifest(self, selector: str) -> Answer:
        """The manifest or index with this tag, name or digest. Raises NotFoundError, RegistryError."""

    def blob(self, digest: str, offset: int = 0) -> tuple[Stream, int]:
        """A blob's content, and where it starts: at `offset`, or at 0."""


class Sink(Protocol):
    """A place to put images into."""

    @property
    def name(self) -> str:
        """What it is called in messages."""

    def push_blob(self, digest: str, size: int, body: IO[bytes], sources: Iterable[str] = ()) -> str:
        """Have a blob there; returns "exists", "mounted" or "pushed"."""

    def push_manifest(self, selector: str, content: bytes, media_type: str) -> str:
        """Store a manifest under a tag or its digest, when all it leads to is there; returns the digest."""


class Layer:
    """A layer of an image in a source."""

    def __init__(self, source: Source, descriptor: Descriptor, diff_id: str) -> None:
        self.source, self.descriptor, self.diff_id = source, descriptor, diff_id

    @property
    def digest(self) -> str:
        """Of its bytes as they are stored."""
        return self.descriptor.digest

    @property
    def size(self) -> int:
        """How many bytes are stored."""
        return self.descriptor.size

    def chunks(self) -> Iterator[bytes]:
        """Its bytes as they are stored. Raises RegistryError, at the end at the latest, when they are not."""
        return checked(self.source, self.descriptor)

    def tar(self) -> Iterator[bytes]:
        """Its tar, decompressed. Raises RegistryError, at the end at the latest, when it is not that of the diffID."""
        waiting = b""
        stored = self.chunks()

        def read(size: int) -> bytes:
            nonlocal waiting
            if not waiting:
                waiting = next(stored, b"")
            part, waiting = waiting[:size], waiting[size:]
            return part

        summed = hasher(self.diff_id)
        take = compression.reader(read)
        while chunk := take():
            summed.update(chunk)
            yield chunk
        for _ in stored:
            pass  # so that what follows the end is checked as well
        found = f"{self.diff_id.partition(':')[0]}:{summed.hexdigest()}"
        if found != self.diff_id:
            raise RegistryError(f"the layer {self.digest} unfolds to {found}, not to {self.diff_id}")


class Image:
    """An image for one platform in a source.

    `manifest` and `config` are parsed, `manifest_bytes` and `config_bytes` as they were sent; `digest` is the
    manifest's, `id` the config's. `tag_digest` is of what the name stands for: the manifest, or the index it is in.
    """

    def __init__(self, source: Source, selector: str, platform: Wanted | None = None) -> None:
        self.source, self.selector = source, selector
        answer = source.manifest(selector)
        self.tag_digest = answer.digest
        wanted = platform or own_platform()
        found = read_manifest(answer.content, answer.media_type, source.name)
        for _ in range(DEEPEST):
            if isinstance(found, Manifest):
                break
            item = choose(found.manifests, wanted, source.name)
            answer = source.manifest(item.digest)
            check_content(answer.content, item.digest, source.name)
            found = read_manifest(answer.content, item.mediaType, source.name)
        if not isinstance(found, Manifest):
            raise RegistryError(f"{source.name} has an index of indexes without end")
        self.manifest = found
        self.manifest_bytes, self.digest = answer.content, answer.digest
        self.media_type = found.mediaType or answer.media_type
        self._config: tuple[bytes, ImageConfig] | None = None

    @property
    def id(self) -> str:
        """The image ID."""
        return self.manifest.config.digest

    @property
    def config_bytes(self) -> bytes:
        """The config, as it was sent."""
        return self._configuration()[0]

    @property
    def config(self) -> ImageConfig:
        """The config."""
        return self._configuration()[1]

    @property
    def layers(self) -> list[Layer]:
        """The layers, the lowest first. Raises RegistryError when there are more or fewer than the config says."""
        diff_ids = self.config.rootfs.diff_ids
        if len(diff_ids) != len(self.manifest.layers):
            raise RegistryError(
                f"{self.source.name} has {len(self.manifest.layers)} layers, and its config says {len(diff_ids)}"
            )
        return [Layer(self.source, *pair) for pair in zip(self.manifest.layers, diff_ids, strict=True)]

    def unpack(self, directory: str | os.PathLike[str]) -> None:
        """Make the image's root file system in a directory that is empty or not there yet.

        As root with its owners and devices; else everything is the caller's, and who should own it is noted in the
        attribute user.containers.override_stat. Raises ConflictError for a directory with something in it,
        RegistryError for a layer that is no good; nothing is left of it then.
        """
        place = os.fspath(directory)
        os.makedirs(place, exist_ok=True)
        if os.listdir(place):
            raise ConflictError(f"{place} is not empty", hint="give another directory")
        flatten([(layer.digest, layer.tar()) for layer in self.layers], place)

    def _configuration(self) -> tuple[bytes, ImageConfig]:
        if self._config is None:
            item = self.manifest.config
            if item.size > LARGEST_CONFIG:
                raise RegistryError(f"{self.source.name} has a config of {item.size} bytes")
            content = b"".join(checked(self.source, item))
            self._config = content, read_config(content, self.source.name)
        return self._config


def checked(source: Source, item: Descriptor) -> Iterator[bytes]:
    """A blob's bytes. Raises RegistryError, at the end at the latest, when they are others than its digest says."""
    stream, start = source.blob(item.digest)
    if start:
        raise NotFoundError(f"{source.name} gives {item.digest} from {start} on only")
    summed, left = hasher(item.digest), item.size
    try:
        while part := stream.read(PART):
            summed.update(part)
            left -= len(part)
            if left < 0:
                raise RegistryError(f"{source.name} has a longer {item.digest} than the {item.size} bytes it should be")
            yield part
    finally:
        stream.close()
    found = f"{item.digest.partition(':')[0]}:{summed.hexdigest()}"
    if left or found != item.digest:
        raise RegistryError(f"{source.name} has something else for {item.digest}: {item.size - left} bytes of {found}")
