"""What there is to know of an image in the store, with docker's names: for `inspect`, `history` and `tree`."""

from __future__ import annotations

from cloche.errors import ClocheError
from cloche.images.documents import LARGEST, LARGEST_CONFIG, read_config, read_manifest
from cloche.images.listing import layer_facts, layer_size
from cloche.images.references import parse_reference
from cloche.images.store import names
from cloche.images.store.layers import layer_path
from cloche.records import record
from cloche.spec.image import Manifest
from cloche.spec.reader import read_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cloche.images.store.layout import Layout
    from cloche.spec.image import ImageConfig

MISSING = "<missing>"
# what docker shows of a config that does not say it
UNSAID: dict[str, Any] = {
    "User": "",
    "ExposedPorts": None,
    "Env": [],
    "Entrypoint": None,
    "Cmd": None,
    "Volumes": None,
    "WorkingDir": "",
    "Labels": None,
    "StopSignal": "",
    "Healthcheck": None,
    "OnBuild": None,
    "Shell": None,
}


@record
class Parts:
    """The documents of an image: its manifest, its config, and the config as it was sent."""

    manifest: Manifest
    config: ImageConfig
    raw: dict[str, Any]


@record
class Step:
    """A step of an image's build: `layer` is the diffID of what it made, "" for nothing; `size` in bytes."""

    created: str
    created_by: str
    comment: str
    layer: str
    size: int


def parts_of(layout: Layout, entry: names.Entry) -> Parts:
    """The documents of an image. Raises NotFoundError, RegistryError."""
    what = entry.name or entry.manifest.digest
    manifest = read_manifest(layout.read(entry.manifest.digest, LARGEST), entry.manifest.mediaType, what)
    if not isinstance(manifest, Manifest):
        raise ClocheError(f"{what} is a list of images", hint=f"cloche manifest inspect {what}")
    content = layout.read(manifest.config.digest, LARGEST_CONFIG)
    config = read_config(content, what)
    raw = read_json(content)
    assert isinstance(raw, dict)
    return Parts(manifest, config, raw)


def describe(layout: Layout, entry: names.Entry) -> dict[str, Any]:
    """What `docker image inspect` prints, and beside it what is known of the layers here.

    "Unpacked" has for each layer its diffID, its directory, the bytes of its files, and "LeftOut": what could not be
    made here, and how often.
    """
    parts = parts_of(layout, entry)
    same = [other for other in names.entries(layout) if other.manifest.digest == entry.manifest.digest]
    diff_ids = parts.config.rootfs.diff_ids
    facts = [layer_facts(layout, diff_id) for diff_id in diff_ids]
    unpacked = [
        {
            "DiffID": diff_id,
            "Directory": f"{layer_path(layout, diff_id)}/fs" if found else None,
            "Size": found.get("bytes", 0),
            "LeftOut": found.get("left_out", {}),
        }
        for diff_id, found in zip(diff_ids, facts, strict=True)
    ]
    own = parts.raw.get("config")
    return {
        "Id": parts.manifest.config.digest,
        "RepoTags": [parse_reference(other.name).familiar for other in same if other.name],
        "RepoDigests": list(dict.fromkeys(filter(None, (_repo_digest(other) for other in same)))),
        "Parent": "",
        "Comment": next((step.comment for step in reversed(parts.config.history or []) if step.comment), ""),
        "Created": parts.config.created or "",
        "DockerVersion": str(parts.raw.get("docker_version") or ""),
        "Author": parts.config.author or "",
        "Config": {**UNSAID, **own} if isinstance(own, dict) else dict(UNSAID),
        "Architecture": parts.config.architecture,
        "Variant": parts.config.variant or "",
        "Os": parts.config.os,
        "Size": sum(item["Size"] for item in unpacked),
        "RootFS": {"Type": "layers", "Layers": list(diff_ids)},
        "Descriptor": {
            "mediaType": entry.manifest.mediaType,
            "digest": entry.manifest.digest,
            "size": entry.manifest.size,
        },
        "Annotations": dict(parts.manifest.annotations or {}),
        "Unpacked": unpacked,
    }


def _repo_digest(entry: names.Entry) -> str:
    source, _, digest = entry.source.partition("@")
    return f"{parse_reference(source, tagged=False).familiar_name}@{digest}" if digest else ""


def history(layout: Layout, config: ImageConfig) -> list[Step]:
    """The steps of an image, the last first; layers that no step speaks of are steps that nobody described."""
    left = list(config.rootfs.diff_ids)
    steps = []
    for told in config.history or []:
        layer = "" if told.empty_layer or not left else left.pop(0)
        size = layer_size(layout, layer) if layer else 0
        steps.append(Step(told.created or "", told.created_by or "", told.comment or "", layer, size))
    steps += [Step("", "", "", layer, layer_size(layout, layer)) for layer in left]
    return steps[::-1]


def standing_on(layout: Layout, count: int, config: ImageConfig) -> list[str]:
    """The names of images that have exactly the lowest `count` layers of this one, and no others."""
    wanted = config.rootfs.diff_ids[:count]
    found = []
    for entry in names.entries(layout):
        try:
            other = parts_of(layout, entry).config
        except ClocheError:
            continue  # one that is damaged stands on nothing
        if other.rootfs.diff_ids == wanted:
            found.append(parse_reference(entry.name).familiar if entry.name else MISSING)
    return found
