"""Whether a Release is from those it should be from: OpenPGP, by the library pysequoia (`pip install cloche[debian]`).

What comes back is what was signed, and nothing around it: a clear-signed file may have other text before and after.
"""

from __future__ import annotations

import os

from cloche.errors import ForbiddenError, NotFoundError, RegistryError, UnsupportedError
from cloche.images.debian.sources import ARMOR
from cloche.records import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LARGEST_KEYRING = 64 << 20
BEGIN, SIGNATURE = b"-----BEGIN PGP SIGNED MESSAGE-----", b"-----BEGIN PGP SIGNATURE-----"
WITHOUT = "--no-check-gpg makes it without knowing whose packages it is made of"


@record
class Signed:
    """What was signed, and the fingerprints of the certificates by which it is signed; none where nobody looked."""

    content: bytes
    signers: tuple[str, ...] = ()


class Keyring:
    """Certificates to trust, from files or from a text; `only` are the fingerprints of keys that count."""

    def __init__(self, paths: tuple[str, ...] = (), text: str = "", only: tuple[str, ...] = ()) -> None:
        library = _library()
        contents = [text.encode()] if text else [_read(path) for path in paths]
        self.what = ", ".join(paths) or "Signed-By"
        self.only = only
        self.certificates: list[Any] = []
        for content in contents:
            try:
                self.certificates += library.Cert.split_bytes(content)
            except Exception as error:  # whatever the library has for it
                raise RegistryError(f"the keyring {self.what} is none: {_said(error)}") from None

    def verify(self, content: bytes, signature: bytes | None, where: str) -> Signed:
        """The text that was signed: in `content` itself, or apart from it. Raises ForbiddenError."""
        library = _library()
        try:
            if signature is None:
                if not content.lstrip().startswith(BEGIN):
                    raise ValueError("it has none")
                result = library.verify(content, self._certificates)
                text = bytes(result.bytes or b"")
            else:
                result = library.verify(content, self._certificates, signature=library.Sig.from_bytes(signature))
                text = content
        except Exception as error:  # whatever the library has for it
            raise self._refused(where, _said(error)) from None
        signers = tuple(sorted({str(valid.certificate) for valid in result.valid_sigs if self._counts(valid)}))
        if not signers:
            raise self._refused(where, "none of its signatures is by a key that counts")
        return Signed(text, signers)

    def _certificates(self, asked: list[str]) -> list[Any]:
        del asked
        return self.certificates

    def _counts(self, valid: Any) -> bool:
        known = {str(valid.certificate).upper(), str(valid.signing_key).upper()}
        return not self.only or bool(known & {word.upper() for word in self.only})

    def _refused(self, where: str, why: str) -> ForbiddenError:
        return ForbiddenError(
            f"{where} has no good signature by a key of {self.what}: {why}",
            hint=f"--keyring FILE names other keys; {WITHOUT}",
        )


def _said(error: Exception) -> str:
    """The first line: the library adds how it came there."""
    return (str(error).strip().split("\n")[0] or type(error).__name__).rstrip(".")[:300]


def _library() -> Any:
    try:
        import pysequoia
    except ImportError:
        raise UnsupportedError(
            "the signature of a Release",
            needs="the Python library pysequoia",
            hint=f"pip install 'cloche[debian]'; {WITHOUT}",
        ) from None
    return pysequoia


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST_KEYRING + 1)
    except OSError as error:
        raise NotFoundError(f"the keyring {path} cannot be read: {error.strerror}") from None
    if len(content) > LARGEST_KEYRING:
        raise RegistryError(f"the keyring {path} is longer than {LARGEST_KEYRING} bytes")
    return content


def keyring_of(signed_by: str, given: str, usual: tuple[str, ...]) -> Keyring:
    """The keyring that counts: the one given, that of the source, or the first usual one. Raises NotFoundError."""
    if given:
        return Keyring((given,))
    if ARMOR in signed_by:
        return Keyring(text=signed_by)
    words = signed_by.replace(",", " ").split()
    paths = tuple(word for word in words if word.startswith("/"))
    only = tuple(word.rstrip("!") for word in words if not word.startswith("/"))
    if not paths:
        there = next((path for path in usual if os.path.exists(path)), "")
        if not there:
            raise NotFoundError(
                f"Debian's keys are not on this machine: there is no {usual[-1]}",
                hint=f"apt install debian-archive-keyring, or --keyring FILE; {WITHOUT}",
            )
        paths = (there,)
    return Keyring(paths, only=only)


def unchecked(content: bytes) -> Signed:
    """A Release that nobody looks at the signature of (RFC 9580, 7)."""
    if not content.startswith(BEGIN):
        return Signed(content)
    inside = content.partition(b"\n\n")[2].partition(SIGNATURE)[0]
    return Signed(b"\n".join(line.removeprefix(b"- ") for line in inside.split(b"\n")))
