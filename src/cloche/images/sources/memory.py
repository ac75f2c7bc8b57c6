"""Images in memory: a source to test with, and images nobody has made, the same for the same seed."""

from __future__ import annotations

import io
import random
import tarfile

from cloche.errors import NotFoundError
from cloche.images.digests import sha256
from cloche.images.documents import Answer
from cloche.spec.image import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST
from cloche.spec.reader import write_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import IO

TAG = "latest"


class MemoryPlace:
    """A source and a sink in this process: `blobs` by digest, `tags` to what they stand for."""

    def __init__(self, name: str = "memory") -> None:
        self.name = name
        self.blobs: dict[str, bytes] = {}
        self.tags: dict[str, Answer] = {}

    def manifest(self, selector: str) -> Answer:
        """What has this tag or digest; with "" the newest."""
        found = self.tags.get(selector) if selector else next(reversed(self.tags.values()), None)
        if found is None and selector in self.blobs:
            found = Answer(self.blobs[selector], "", selector)
        if found is None:
            raise NotFoundError(f"{self.name} has no {selector or 'image'}")
        return found

    def blob(self, digest: str, offset: int = 0) -> tuple[IO[bytes], int]:
        """A blob, from `offset` on."""
        if digest not in self.blobs:
            raise NotFoundError(f"{self.name} has no {digest}")
        return io.BytesIO(self.blobs[digest][offset:]), offset

    def push_blob(self, digest: str, size: int, body: IO[bytes], sources: Iterable[str] = ()) -> str:
        """Take a blob in."""
        del size, sources
        if digest in self.blobs:
            return "exists"
        self.blobs[digest] = body.read()
        return "pushed"

    def push_manifest(self, selector: str, content: bytes, media_type: str) -> str:
        """Take a manifest in."""
        digest = sha256(content)
        self.blobs[digest] = content
        self.tags[selector] = Answer(content, media_type, digest)
        return digest

    def add(self, content: bytes, media_type: str) -> dict[str, object]:
        """Keep some bytes; returns their descriptor."""
        digest = sha256(content)
        self.blobs[digest] = content
        return {"mediaType": media_type, "digest": digest, "size": len(content)}


def random_image(layers: int = 3, files: int = 4, size: int = 1024, seed: int = 0) -> MemoryPlace:
    """A place with one image, `latest`, of so many layers with so many files of `size` random bytes each.

    The same numbers give the same digests, on every machine.
    """
    chance = random.Random(seed)
    place = MemoryPlace(f"random:{seed}")
    tars = [_layer(chance, number, files, size) for number in range(layers)]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/file-0-0"], "Labels": {"seed": str(seed)}},
        "rootfs": {"type": "layers", "diff_ids": [sha256(tar) for tar in tars]},
        "history": [{"created_by": f"layer {number}"} for number in range(layers)],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": place.add(write_json(config).encode(), OCI_CONFIG),
        "layers": [place.add(tar, OCI_LAYER) for tar in tars],
    }
    place.push_manifest(TAG, write_json(manifest).encode(), OCI_MANIFEST)
    return place


def _layer(chance: random.Random, number: int, files: int, size: int) -> bytes:
    """A tar with files at its top."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for index in range(files):
            info = tarfile.TarInfo(f"file-{number}-{index}")
            info.size, info.mode = size, 0o755
            tar.addfile(info, io.BytesIO(chance.randbytes(size)))
    return made.getvalue()
