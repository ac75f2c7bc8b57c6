"""The documents of images (image-spec 1.1, and docker's schema 2, which has the same members).

    index ──▶ manifest ──▶ config          each arrow is a Descriptor: media type, digest, size
      (one for a platform)  └──▶ layers

What is not here is left out when they are read: whoever stores a document keeps its bytes, which its digest is of.
"""

from __future__ import annotations

from cloche.spec.document import Document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.spec.shape import Json, i64

OCI = "application/vnd.oci.image."
DOCKER = "application/vnd.docker."
OCI_INDEX = OCI + "index.v1+json"
OCI_MANIFEST = OCI + "manifest.v1+json"
OCI_CONFIG = OCI + "config.v1+json"
OCI_LAYER = OCI + "layer.v1.tar"  # and +gzip, +zstd
OCI_FOREIGN = OCI + "layer.nondistributable.v1.tar"
DOCKER_LIST = DOCKER + "distribution.manifest.list.v2+json"
DOCKER_MANIFEST = DOCKER + "distribution.manifest.v2+json"
DOCKER_CONFIG = DOCKER + "container.image.v1+json"
DOCKER_LAYER = DOCKER + "image.rootfs.diff.tar"  # and .gzip, .zstd
DOCKER_FOREIGN = DOCKER + "image.rootfs.foreign.diff.tar"
DOCKER_SCHEMA_1 = (DOCKER + "distribution.manifest.v1+json", DOCKER + "distribution.manifest.v1+prettyjws")
INDEXES = (OCI_INDEX, DOCKER_LIST)
MANIFESTS = (OCI_MANIFEST, DOCKER_MANIFEST)
NAME = "org.opencontainers.image.ref.name"


class Platform(Document):
    """What a manifest of an index is for (image-index.md)."""

    architecture: str
    os: str
    variant: str | None = None


class Descriptor(Document):
    """What content is, what it is called, and how long (descriptor.md)."""

    mediaType: str
    digest: str
    size: i64
    urls: list[str] | None = None
    annotations: dict[str, str] | None = None
    platform: Platform | None = None
    artifactType: str | None = None


class Manifest(Document):
    """One image for one platform, or an artifact (manifest.md)."""

    schemaVersion: i64
    config: Descriptor
    layers: list[Descriptor]
    mediaType: str | None = None
    artifactType: str | None = None
    subject: Descriptor | None = None
    annotations: dict[str, str] | None = None


class Index(Document):
    """Manifests to choose from (image-index.md); docker calls it a manifest list."""

    schemaVersion: i64
    manifests: list[Descriptor]
    mediaType: str | None = None
    artifactType: str | None = None
    subject: Descriptor | None = None
    annotations: dict[str, str] | None = None


class Healthcheck(Document):
    """docker's addition to the config: a command and times in nanoseconds."""

    Test: list[str] | None = None
    Interval: i64 | None = None
    Timeout: i64 | None = None
    StartPeriod: i64 | None = None
    StartInterval: i64 | None = None
    Retries: i64 | None = None


class Execution(Document):
    """What to run, unless told otherwise (config.md, "config")."""

    User: str | None = None
    ExposedPorts: dict[str, Json] | None = None
    Env: list[str] | None = None
    Entrypoint: list[str] | None = None
    Cmd: list[str] | None = None
    Volumes: dict[str, Json] | None = None
    WorkingDir: str | None = None
    Labels: dict[str, str] | None = None
    StopSignal: str | None = None
    Healthcheck: Healthcheck | None = None
    Shell: list[str] | None = None


class Layers(Document):
    """The uncompressed layers, from the lowest up (config.md, "rootfs")."""

    type: str
    diff_ids: list[str]


class History(Document):
    """How a layer came about, or a step that made none (config.md, "history")."""

    created: str | None = None
    created_by: str | None = None
    author: str | None = None
    comment: str | None = None
    empty_layer: bool | None = None


class ImageConfig(Document):
    """An image's config; the digest of its bytes is the image's ID (config.md)."""

    architecture: str
    os: str
    rootfs: Layers
    config: Execution | None = None
    variant: str | None = None
    created: str | None = None
    author: str | None = None
    history: list[History] | None = None
