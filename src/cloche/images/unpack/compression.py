"""Decompression of layers, told by their first bytes: gzip, zstd, xz, bzip2, or none.

gzip by isal where it is (twice zlib's speed), zstd by the standard library or backports.zstd. More than one member or
frame after the other is one stream. A stream that ends early is an error, bytes after its end that are no other are
ignored, as other engines do.
"""

from __future__ import annotations

import zlib

from cloche.errors import UnsupportedError
from cloche.images.unpack.tar import BadArchive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    class Decompressor(Protocol):
        """What lzma, bz2 and others have in common."""

        @property
        def eof(self) -> bool:
            """Whether the stream has ended."""

        @property
        def unused_data(self) -> bytes:
            """What came behind the end."""

        @property
        def needs_input(self) -> bool:
            """Whether nothing more comes out of what was put in."""

        def decompress(self, data: bytes, max_length: int = -1) -> bytes:
            """Some of what comes out, at most so much."""


MOST_MEMORY = 128 << 20  # of xz, which takes 65 MB for its highest level
LONGEST_MAGIC = 6
MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
)
CHUNK = 1 << 16  # bytes read at once
MOST = 1 << 18  # bytes that come out at once; with more, each has the kernel find memory for it anew


def kind_of(start: bytes) -> str:
    """The compression of a stream that starts so; "" for none. Frames of zstd to be skipped count as zstd."""
    if start[1:4] == b"\x2a\x4d\x18" and start[:1] and start[0] >> 4 == 5:
        return "zstd"
    return next((kind for magic, kind in MAGIC if start.startswith(magic)), "")


def reader(read: Callable[[int], bytes]) -> Callable[[], bytes]:
    """A source of decompressed chunks, b"" at the end; `read` gives up to so many bytes of the stored stream."""
    start = read(CHUNK)
    kind = kind_of(start)
    if not kind:
        chunks = [start]
        return lambda: chunks.pop() if chunks else read(CHUNK)
    return _Source(kind, start, read).next


class _Source:
    def __init__(self, kind: str, start: bytes, read: Callable[[int], bytes]) -> None:
        self.kind, self.read, self.waiting = kind, read, start
        self.make, self.errors = _decompressor(kind)
        self.now = self.make()

    def next(self) -> bytes:
        while True:
            if self.now.eof and not self._goes_on():
                return b""
            data = b""
            if self.now.needs_input:
                data, self.waiting = self.waiting or self.read(CHUNK), b""
                if not data:
                    raise BadArchive(f"is compressed with {self.kind}, and ends in the middle")
            try:
                out = self.now.decompress(data, MOST)
            except self.errors as error:
                raise BadArchive(f"is no good {self.kind}: {error}") from None
            if out:
                return out

    def _goes_on(self) -> bool:
        """Whether another member or frame follows the one that has ended."""
        rest = self.now.unused_data
        while len(rest) < LONGEST_MAGIC and (more := self.read(CHUNK)):
            rest += more
        if kind_of(rest[:LONGEST_MAGIC]) != self.kind:
            return False
        self.now, self.waiting = self.make(), rest
        return True


class _Zlib:
    """zlib with the interface of the others; out of a CHUNK come at most 1032 times as many bytes."""

    needs_input = True

    def __init__(self) -> None:
        self._own = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._own.eof

    @property
    def unused_data(self) -> bytes:
        return self._own.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        del max_length
        return self._own.decompress(data)


def _decompressor(kind: str) -> tuple[Callable[[], Decompressor], Any]:
    if kind == "gzip":
        try:
            from isal import igzip_lib
        except ImportError:
            return _Zlib, zlib.error
        return lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP), igzip_lib.error
    if kind == "zstd":
        zstd = _zstd()
        return zstd.ZstdDecompressor, zstd.ZstdError
    if kind == "xz":
        import lzma

        return lambda: lzma.LZMADecompressor(memlimit=MOST_MEMORY), lzma.LZMAError
    import bz2

    return bz2.BZ2Decompressor, (OSError, ValueError)


def _zstd() -> Any:
    try:
        from compression import zstd  # type: ignore[import-not-found]  # since 3.14
    except ImportError:
        try:
            from backports import zstd
        except ImportError:
            raise UnsupportedError("a layer compressed with zstd", needs="Python 3.14, or backports-zstd") from None
    return zstd
