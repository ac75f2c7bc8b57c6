"""Documents of images as they arrive: hostile until they are read here.

Their bytes are hashed before anything is parsed, and mean one thing only: what says it is a manifest and an index at
once, or is called something else by who sent it, is refused (CVE-2021-41190).
"""

from __future__ import annotations

from cloche.errors import RegistryError, SpecError, UnsupportedError
from cloche.images.digests import check_digest, hasher
from cloche.records import record
from cloche.spec import image
from cloche.spec.image import Descriptor, ImageConfig, Index, Manifest
from cloche.spec.reader import read_json

LARGEST = 4 << 20  # bytes of a manifest (distribution-spec, "Pushing Manifests": registries take at least that)
LARGEST_CONFIG = 16 << 20
MOST_LAYERS = 1000  # docker makes 127, overlayfs mounts 500


@record
class Answer:
    """A manifest as it came: its bytes, what it was said to be, and the digest of the bytes."""

    content: bytes
    media_type: str
    digest: str


def check_content(content: bytes, digest: str, what: str) -> bytes:
    """Return the content if it is what the digest says. Raises RegistryError."""
    summed = hasher(digest)
    summed.update(content)
    found = f"{digest.partition(':')[0]}:{summed.hexdigest()}"
    if found != digest:
        raise RegistryError(f"{what} is not what was asked for: its digest is {found}, not {digest}")
    return content


def read_manifest(content: bytes, media_type: str, what: str) -> Manifest | Index:
    """The document in `content`, of this media type ("" if nobody said); `what` names it in errors.

    Raises RegistryError for what is none, UnsupportedError for docker's schema 1.
    """
    if len(content) > LARGEST:
        raise RegistryError(f"{what} has a manifest of {len(content)} bytes; {LARGEST} is the most")
    try:
        return _read(content, media_type, what)
    except SpecError as error:
        raise RegistryError(f"{what} has a manifest that is none: {error}") from None


def _read(content: bytes, media_type: str, what: str) -> Manifest | Index:
    raw = read_json(content)
    if not isinstance(raw, dict):
        raise SpecError("is no object")
    own = raw.get("mediaType") or ""
    if media_type in image.DOCKER_SCHEMA_1 or own in image.DOCKER_SCHEMA_1 or raw.get("schemaVersion") == 1:
        raise UnsupportedError(f"{what}", needs="a manifest of docker's schema 2 or OCI; schema 1 is obsolete")
    if "manifests" in raw and ("layers" in raw or "config" in raw):
        raise SpecError("is a manifest and an index at once")
    known = (*image.INDEXES, *image.MANIFESTS)
    if media_type in known and own and own != media_type:
        raise SpecError(f"was sent as {media_type} and says it is {own}")
    kind = own or media_type
    if kind not in known:
        if "manifests" not in raw and "layers" not in raw:
            raise SpecError(f"is of a type nobody knows: {str(kind)[:80]!r}")
        kind = image.OCI_INDEX if "manifests" in raw else image.OCI_MANIFEST
    document: Manifest | Index
    if kind in image.INDEXES:
        document = Index.parse(raw)
        parts = document.manifests
    else:
        document = Manifest.parse(raw)
        parts = [document.config, *document.layers]
        if len(document.layers) > MOST_LAYERS:
            raise SpecError(f"has {len(document.layers)} layers; {MOST_LAYERS} is the most")
    document.mediaType = kind
    if document.schemaVersion != 2:
        raise SpecError("must be 2", pointer="/schemaVersion")
    for part in parts:
        check_descriptor(part)
    return document


def check_descriptor(item: Descriptor) -> None:
    """Whether content can be asked for by this. Raises SpecError."""
    check_digest(item.digest)
    if item.size < 0:
        raise SpecError(f"{item.digest} has a size below 0")


def read_config(content: bytes, what: str) -> ImageConfig:
    """An image's config. Raises RegistryError."""
    try:
        config = ImageConfig.parse(read_json(content))
        if config.rootfs.type != "layers":
            raise SpecError("must be layers", pointer="/rootfs/type")
        for diff_id in config.rootfs.diff_ids:
            check_digest(diff_id)
    except SpecError as error:
        raise RegistryError(f"{what} has a config that is none: {error}") from None
    return config
