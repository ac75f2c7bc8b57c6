"""A tar of a root file system becomes an image of one layer.

    tar, compressed or not ── decompress ──▶ sha256 (diffID) ──▶ gzip ──▶ a blob ──▶ unpacked as every layer is
                                                                           └──▶ config ──▶ manifest ──▶ a name

The same tar gives the same image, but for the time when it was made, which SOURCE_DATE_EPOCH says where it is set.
"""

from __future__ import annotations

import hashlib
import os
import time

from cloche.errors import RegistryError, SpecError
from cloche.images.references import parse_reference
from cloche.images.removing import discard, filling
from cloche.images.store import names
from cloche.images.store.crew import unpack_all
from cloche.images.store.incoming import Unnamed
from cloche.images.telling import tell
from cloche.images.unpack import compression
from cloche.images.unpack.tar import BadArchive
from cloche.images.unpack.worker import MOST_BYTES, RATIO, SMALL
from cloche.records import record
from cloche.spec import image
from cloche.spec.image import Descriptor
from cloche.spec.reader import write_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from cloche.images.platforms import Wanted
    from cloche.images.store.layout import Layout
    from cloche.images.unpack.apply import Powers
    from cloche.images.unpack.worker import Worker

LEVEL = 1  # of gzip
GZIP = 31  # zlib's way to say so
PIECE = 1 << 18


@record
class Description:
    """What an image is to say besides its layer; `created` is as RFC 3339 has it."""

    config: dict[str, Any]
    platform: Wanted
    message: str
    created: str


def import_tar(
    layout: Layout,
    read: Callable[[int], bytes],
    description: Description,
    name: str,
    make_worker: Callable[[], Worker],
    powers: Powers,
) -> str:
    """Make an image of a tar, with this name in full or "" for none; returns its ID.

    Raises SpecError for what is no tar, StageError for a full disk, OSError for what else is wrong here.
    """
    layout.make()
    stored: set[str] = set()
    try:
        with filling(layout, make_worker):
            layer, diff_id = store_layer(layout, read)
            stored.add(layer.digest)
            try:
                unpack_all(layout, [(layer.digest, diff_id)], make_worker, powers)
            except RegistryError as error:
                raise _no_good(str(error).removeprefix(f"the layer {layer.digest} ")) from None
            config = write_json(_config(description, diff_id)).encode()
            described = Descriptor(mediaType=image.OCI_CONFIG, digest=layout.add(config), size=len(config))
            manifest = write_json(_manifest(described, layer)).encode()
            digest = layout.add(manifest)
            stored |= {described.digest, digest}
            entry = Descriptor(mediaType=image.OCI_MANIFEST, digest=digest, size=len(manifest))
            names.put(layout, names.Entry(name, entry))
        if name:
            tell(layout, "tag", described.digest, parse_reference(name).familiar)
        tell(layout, "import", described.digest)
    finally:
        discard(layout, stored)
    return described.digest


def now() -> str:
    """The time of day for `created`: SOURCE_DATE_EPOCH, seconds, where that is set. Raises SpecError."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given is None:
        nanoseconds = time.time_ns()
        fraction = f".{nanoseconds % 10**9:09}"
    elif given.isascii() and given.isdecimal() and len(given) <= 11:
        nanoseconds, fraction = int(given) * 10**9, ""
    else:
        raise SpecError(f"SOURCE_DATE_EPOCH={given} is no time", hint="seconds since 1970")
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(nanoseconds // 10**9)) + f"{fraction}Z"


def _config(description: Description, diff_id: str) -> dict[str, Any]:
    platform, created = description.platform, description.created
    return {
        "architecture": platform.architecture,
        **({"variant": platform.variant} if platform.variant else {}),
        "os": platform.os,
        "created": created,
        "comment": description.message,
        "config": description.config,
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": created, "comment": description.message}],
    }


def _manifest(config: Descriptor, layer: Descriptor) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": image.OCI_MANIFEST,
        "config": config.to_dict(),
        "layers": [layer.to_dict()],
    }


def store_layer(layout: Layout, read: Callable[[int], bytes], what: str = "import") -> tuple[Descriptor, str]:
    """Store a tar as a blob, compressed anew; returns its descriptor and its diffID. `what` asks for it.

    Raises SpecError for what is no archive.
    """
    plain, packed = hashlib.sha256(), hashlib.sha256()
    gzip = _gzip()
    size = 0

    def write(part: bytes) -> None:
        nonlocal size
        packed.update(part)
        size += len(part)
        blob.write(part)

    with Unnamed(layout, what) as blob:
        try:
            for piece in _pieces(_bounded(read)):
                plain.update(piece)
                write(gzip.compress(piece))
        except BadArchive as error:
            raise _no_good(str(error)) from None
        write(gzip.flush())
        digest = f"sha256:{packed.hexdigest()}"
        blob.keep(digest)
    return Descriptor(mediaType=image.OCI_LAYER + "+gzip", digest=digest, size=size), f"sha256:{plain.hexdigest()}"


def _pieces(chunks: Callable[[], bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of one size: what compresses them makes of each call something of its own."""
    rest = b""
    while chunk := chunks():
        rest += chunk
        while len(rest) >= PIECE:
            yield rest[:PIECE]
            rest = rest[PIECE:]
    yield rest


def _bounded(read: Callable[[int], bytes]) -> Callable[[], bytes]:
    """Decompressed chunks of a stream, as long as they are not too many for what was read."""
    taken = made = 0

    def count(size: int) -> bytes:
        nonlocal taken
        part = read(size)
        taken += len(part)
        return part

    source = compression.reader(count)

    def chunk() -> bytes:
        nonlocal made
        found = source()
        made += len(found)
        if made > max(SMALL, min(MOST_BYTES, taken * RATIO)):
            raise BadArchive("unfolds to more than an archive of its size can be")
        return found

    return chunk


def _no_good(what: str) -> SpecError:
    return SpecError(f"the archive {what}", hint="a tar of a root file system is wanted, compressed or not")


def _gzip() -> Any:
    """What compresses; the header has no time in it."""
    try:
        from isal import isal_zlib
    except ImportError:
        import zlib

        return zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP)
    return isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, GZIP)
