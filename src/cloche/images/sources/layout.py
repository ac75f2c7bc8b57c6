"""An image layout as a source and a sink: a directory that skopeo, umoci or cloche itself has made."""

from __future__ import annotations

import os

from cloche.errors import ConflictError, NotFoundError, RegistryError
from cloche.images.digests import sha256
from cloche.images.documents import LARGEST, Answer, check_content, read_manifest
from cloche.images.store import names
from cloche.images.store.incoming import Incoming
from cloche.images.store.layout import Layout
from cloche.spec.image import Descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import IO

    from cloche.images.sources.source import Image

PART = 1 << 18


class LayoutPlace:
    """An image layout in a directory; it is made when something is put into it."""

    def __init__(self, path: str) -> None:
        self.layout = Layout(path)

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f"oci:{self.layout.path}"

    def manifest(self, selector: str) -> Answer:
        """What has this name or digest; with "" the only one there is."""
        if selector.startswith(("sha256:", "sha512:")):
            return Answer(self.layout.read(selector, LARGEST), "", selector)
        if not os.path.exists(f"{self.layout.path}/index.json"):
            raise NotFoundError(f"{self.layout.path} is no image layout", hint="oci:DIR[:NAME]")
        found = names.entries(self.layout)
        meant = [entry for entry in found if not selector or entry.name == selector]
        if len({entry.manifest.digest for entry in meant}) != 1:
            there = ", ".join(entry.name for entry in found if entry.name) or "none that has a name"
            if meant:
                raise ConflictError(f"{self.name} has more than one image", hint=f"say which: {there}")
            raise NotFoundError(f"{self.name} has no image {selector}", hint=f"there is {there}")
        item = meant[0].manifest
        content = self.layout.read(item.digest, LARGEST)
        check_content(content, item.digest, self.name)
        return Answer(content, item.mediaType, item.digest)

    def descriptor(self, digest: str, media_type: str) -> Descriptor:
        """That of something in it."""
        return Descriptor(mediaType=media_type, digest=digest, size=os.stat(self.layout.blob(digest)).st_size)

    def name_of(self, image: Image) -> str:
        """What an image from here is called, "" for nothing."""
        if image.selector and not image.selector.startswith("sha256:"):
            return image.selector
        return next((e.name for e in names.entries(self.layout) if e.manifest.digest == image.digest), "")

    def blob(self, digest: str, offset: int = 0) -> tuple[IO[bytes], int]:
        """A blob, from `offset` on."""
        try:
            stream = open(self.layout.blob(digest), "rb")  # noqa: SIM115  # whoever asked closes it
        except FileNotFoundError:
            raise NotFoundError(f"{self.name} lacks {digest}, which it speaks of") from None
        stream.seek(offset)
        return stream, offset

    def push_blob(self, digest: str, size: int, body: IO[bytes], sources: Iterable[str] = ()) -> str:
        """Have a blob in it."""
        del sources
        self.layout.make()
        with Incoming(self.layout, digest, size) as incoming:
            if incoming.done:
                return "exists"
            incoming.restart()
            while part := body.read(PART):
                incoming.write(part)
            incoming.finish()
        return "pushed"

    def push_manifest(self, selector: str, content: bytes, media_type: str) -> str:
        """Store a manifest, and name it in the index unless it is asked for by digest."""
        self.layout.make()
        digest = self.layout.add(content)
        kind = read_manifest(content, media_type, self.name).mediaType or media_type
        if not selector.startswith(("sha256:", "sha512:")):
            names.put(self.layout, names.Entry(selector, Descriptor(mediaType=kind, digest=digest, size=len(content))))
        elif digest != selector:
            raise RegistryError(f"{self.name} is given a manifest of {sha256(content)} as {selector}")
        return digest


def split_name(text: str) -> tuple[str, str]:
    """DIR[:NAME] as two: a directory that is there is taken as a whole."""
    if os.path.exists(text):
        return text, ""
    path, _, name = text.partition(":")
    return path, name
