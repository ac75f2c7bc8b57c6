"""Digests: what content is called, whatever its name (image-spec, descriptor.md "Digests").

    sha256:9b1f…    algorithm, colon, hexadecimal; what something is stored and asked for by

Three digests of one image are easily taken for each other: that of a *blob* is of its bytes as stored, a *diffID* is
of a layer's uncompressed tar, and the *image ID* is the digest of its config blob.
"""

from __future__ import annotations

from cloche.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Hash(Protocol):
        """What hashlib makes."""

        def update(self, data: bytes | memoryview, /) -> None:
            """Take in more."""

        def hexdigest(self) -> str:
            """The sum of all so far."""


LENGTHS = {"sha256": 64, "sha512": 128}  # hexadecimal digits, of the algorithms the specification registers
_HEXADECIMAL = frozenset("0123456789abcdef")


def check_digest(text: str) -> str:
    """Return a digest whose algorithm is known, or raise SpecError. It is safe as the name of a file."""
    algorithm, colon, digits = text.partition(":")
    length = LENGTHS.get(algorithm)
    if not colon or length is None:
        raise SpecError(f"{text[:80]!r} is not a digest that can be checked", hint="sha256: and 64 hexadecimal digits")
    if len(digits) != length or not _HEXADECIMAL.issuperset(digits):
        raise SpecError(f"{text[:160]!r} is not a digest", hint=f"{algorithm}: and {length} hexadecimal digits")
    return text


def hasher(digest: str) -> Hash:
    """What computes a digest of the same algorithm."""
    import hashlib

    return hashlib.new(digest.partition(":")[0])


def sha256(content: bytes) -> str:
    """The digest of some bytes."""
    import hashlib

    return "sha256:" + hashlib.sha256(content).hexdigest()
