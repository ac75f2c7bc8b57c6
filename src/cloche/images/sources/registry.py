"""A repository of a registry as a source and a sink."""

from __future__ import annotations

from cloche.errors import RegistryError
from cloche.images.fetching import at_registry, push_to

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import IO

    from urllib3.response import BaseHTTPResponse

    from cloche.images.documents import Answer
    from cloche.images.fetching import Access
    from cloche.images.platforms import Wanted
    from cloche.images.references import Reference
    from cloche.images.registry.client import Repository
    from cloche.images.sources.source import Image


class RegistryPlace:
    """A repository; what goes wrong on the way is a RegistryError."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return self.repository.name

    def manifest(self, selector: str) -> Answer:
        """The manifest or index with this tag or digest."""
        return self.repository.manifest(selector)

    def blob(self, digest: str, offset: int = 0) -> tuple[_Reading, int]:
        """A blob, from `offset` on or from its beginning."""
        answer, start = self.repository.blob(digest, offset)
        return _Reading(answer, self.name), start

    def push_blob(self, digest: str, size: int, body: IO[bytes], sources: Iterable[str] = ()) -> str:
        """Have a blob in it."""
        return self.repository.push_blob(digest, size, body, sources)

    def push_manifest(self, selector: str, content: bytes, media_type: str) -> str:
        """Store a manifest under a tag or its digest."""
        return self.repository.push_manifest(selector, content, media_type)


class _Reading:
    """An answer's body."""

    def __init__(self, answer: BaseHTTPResponse, name: str) -> None:
        self._answer, self._name = answer, name

    def read(self, size: int, /) -> bytes:
        from urllib3.exceptions import HTTPError

        try:
            return self._answer.read(size)
        except HTTPError as error:
            raise RegistryError(f"{self._name} broke off: {error}", hint="try again later") from None

    def close(self) -> None:
        self._answer.close()


def registry_image(text: str, access: Access, platform: Wanted) -> Image:
    """The image of this name, at the first of the places that may be meant which has it. Raises ClocheError."""
    from cloche.images.sources.source import Image

    def ask(reference: Reference, repository: Repository) -> Image:
        return Image(RegistryPlace(repository), reference.selector, platform)

    return at_registry(text, access, ask)


def copy_to_registry(image: Image, text: str, access: Access) -> str:
    """Put an image into the repository of this name; returns the digest of its manifest. Raises ClocheError."""
    from cloche.images.sources.copying import copy

    def send(reference: Reference, repository: Repository) -> str:
        return copy(image, RegistryPlace(repository), reference.selector)

    return push_to(text, access, send)
