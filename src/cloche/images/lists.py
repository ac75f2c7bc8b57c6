"""Lists of images for several platforms, made here: an entry of the store's index that is an index itself.

    index.json ── NAME ──▶ index ──▶ manifest of each image ──▶ config, layers
                           annotations `cloche.member.DIGEST` of the entry: by which name an image was added

An image that a registry has is put into a list without its layers: its manifest and config are kept, and `push` takes
the layers from where they are. Who changes a list makes a new index, under the lock of the store; the old one goes.
"""

from __future__ import annotations

from cloche.errors import ClocheError, ConflictError, NotFoundError
from cloche.images.digests import sha256
from cloche.images.documents import LARGEST, LARGEST_CONFIG, read_config, read_manifest
from cloche.images.platforms import choose, own_platform
from cloche.images.references import parse_reference
from cloche.images.store import names
from cloche.records import record
from cloche.spec.image import DOCKER_LIST, DOCKER_MANIFEST, INDEXES, OCI_INDEX, Descriptor, Index, Manifest
from cloche.spec.reader import read_json, write_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cloche.images.platforms import Wanted
    from cloche.images.references import Reference
    from cloche.images.store.layout import Layout

MEMBER = "cloche.member."
DEEPEST = 3  # an index in an index
PLATFORM = ("architecture", "os", "os.version", "os.features", "variant")


@record
class Item:
    """An image to be put into a list: its descriptor as JSON has it, and the name it goes by ("" for none)."""

    raw: dict[str, Any]
    name: str = ""


def is_list(entry: names.Entry) -> bool:
    """Whether an entry stands for a list, not for an image."""
    return entry.manifest.mediaType in INDEXES


def members_of(entry: names.Entry) -> dict[str, str]:
    """By which names the images of a list were added, by digest."""
    notes = entry.manifest.annotations or {}
    return {key.removeprefix(MEMBER): name for key, name in notes.items() if key.startswith(MEMBER)}


def find_list(layout: Layout, text: str) -> names.Entry:
    """The list of this name. Raises NotFoundError, ConflictError for an image."""
    reference = parse_reference(text)
    return _checked(names.named(layout, str(reference)), reference)


def _checked(entry: names.Entry | None, reference: Reference) -> names.Entry:
    if entry is None:
        raise NotFoundError(f"no such list: {reference.familiar}", hint="cloche manifest create makes one")
    if not is_list(entry):
        raise ConflictError(f"{reference.familiar} is an image, not a list", hint="give the list another name")
    return entry


def document_of(layout: Layout, entry: names.Entry) -> dict[str, Any]:
    """The index of a list, with all that is in it."""
    content = layout.read(entry.manifest.digest, LARGEST)
    read_manifest(content, entry.manifest.mediaType, entry.name)
    raw = read_json(content)
    assert isinstance(raw, dict)
    return raw


def member(layout: Layout, entry: names.Entry, wanted: Wanted | None = None) -> names.Entry:
    """The entry of an image itself; of a list, that of its image for a platform, this machine's with None.

    Raises NotFoundError, RegistryError for a list of lists without end.
    """
    found = entry
    for _ in range(DEEPEST):
        if not is_list(found):
            return found
        index = read_manifest(layout.read(found.manifest.digest, LARGEST), found.manifest.mediaType, entry.name)
        assert isinstance(index, Index)
        item = choose(index.manifests, wanted or own_platform(), entry.name or entry.manifest.digest)
        found = names.Entry(entry.name, item)
    raise ConflictError(f"{entry.name} is a list of lists without end")


def create(layout: Layout, text: str, items: list[Item], *, amend: bool = False) -> names.Entry:
    """Make a list, or with `amend` add to one that may be there. Raises ConflictError for a name that is taken."""
    reference = parse_reference(text)

    def make(known: names.Entry | None) -> names.Entry:
        if known is None:
            return _made(layout, str(reference), {}, items, {})
        if not amend or not is_list(known):
            hint = "--amend adds to it" if is_list(known) else "give the list another name"
            raise ConflictError(f"{reference.familiar} is there already", hint=hint)
        return _made(layout, known.name, document_of(layout, known), items, members_of(known))

    return names.update(layout, str(reference), make)


def add(layout: Layout, text: str, items: list[Item]) -> names.Entry:
    """Put images into a list; one that is in it already is described anew. Raises NotFoundError, ConflictError."""
    return _change(layout, text, lambda entry, raw: _made(layout, entry.name, raw, items, members_of(entry)))


def annotate(layout: Layout, text: str, image: str, changes: dict[str, Any], notes: dict[str, str]) -> names.Entry:
    """Say something else about an image of a list: members of its platform, and annotations.

    `image` is its digest, or the name it was added by. Raises NotFoundError, ConflictError.
    """

    def make(entry: names.Entry, raw: dict[str, Any]) -> names.Entry:
        digest = _which(layout, entry, raw, image)
        before = next(item for item in raw["manifests"] if item["digest"] == digest)
        return _made(layout, entry.name, raw, [Item(described(before, changes, notes))], members_of(entry))

    return _change(layout, text, make)


def drop(layout: Layout, text: str, image: str) -> names.Entry:
    """Take an image, named as for `annotate`, out of a list. Raises NotFoundError, ConflictError."""

    def make(entry: names.Entry, raw: dict[str, Any]) -> names.Entry:
        digest = _which(layout, entry, raw, image)
        left = [item for item in raw["manifests"] if item["digest"] != digest]
        return _made(layout, entry.name, {**raw, "manifests": left}, [], members_of(entry))

    return _change(layout, text, make)


def described(raw: dict[str, Any], changes: dict[str, Any], notes: dict[str, str]) -> dict[str, Any]:
    """A descriptor with other members of its platform, and more annotations."""
    platform = {**(raw.get("platform") or {}), **changes}
    annotations = {**(raw.get("annotations") or {}), **notes}
    return {
        **raw,
        **({"platform": platform} if platform else {}),
        **({"annotations": annotations} if annotations else {}),
    }


def _change(layout: Layout, text: str, work: Callable[[names.Entry, dict[str, Any]], names.Entry]) -> names.Entry:
    reference = parse_reference(text)

    def make(known: names.Entry | None) -> names.Entry:
        entry = _checked(known, reference)
        return work(entry, document_of(layout, entry))

    return names.update(layout, str(reference), make)


def _which(layout: Layout, entry: names.Entry, raw: dict[str, Any], text: str) -> str:
    """The digest of the image that is meant."""
    known = [str(item["digest"]) for item in raw["manifests"]]
    digest = text.partition("@")[2] or text
    if digest in known:
        return digest
    full = str(parse_reference(text))
    found = [digest for digest, name in members_of(entry).items() if name == full and digest in known]
    if not found:
        here = names.named(layout, full)
        found = [here.manifest.digest] if here is not None and here.manifest.digest in known else []
    if len(found) == 1:
        return found[0]
    if found:
        raise ConflictError(f"{text} is {len(found)} images of {entry.name}", hint="give the digest of one of them")
    raise NotFoundError(f"{text} is not in {entry.name}", hint="cloche manifest inspect shows the digests")


def _made(layout: Layout, name: str, before: dict[str, Any], items: list[Item], sources: dict[str, str]) -> names.Entry:
    """A new index with these images beside those it had, and its entry."""
    listed = {str(raw["digest"]): raw for raw in before.get("manifests", ())}
    listed.update({str(item.raw["digest"]): item.raw for item in items})
    sources = {**sources, **{str(item.raw["digest"]): item.name for item in items if item.name}}
    docker = all(raw["mediaType"] == DOCKER_MANIFEST and "annotations" not in raw for raw in listed.values())
    kind = DOCKER_LIST if docker and listed and "annotations" not in before else OCI_INDEX
    content = write_json({"schemaVersion": 2, **before, "mediaType": kind, "manifests": list(listed.values())}).encode()
    if len(content) > LARGEST:
        raise ConflictError(f"{name} would be longer than an index may be", hint="make several lists")
    notes = {MEMBER + digest: source for digest, source in sources.items() if digest in listed}
    digest = layout.add(content)
    return names.Entry(name, Descriptor(mediaType=kind, digest=digest, size=len(content), annotations=notes or None))


def items_of(layout: Layout, entry: names.Entry, *, everything: bool) -> list[Item]:
    """What is put into a list for an image of the store: itself; of a list, all of its images or this machine's."""
    content = layout.read(entry.manifest.digest, LARGEST)
    found = read_manifest(content, entry.manifest.mediaType, entry.name)
    if isinstance(found, Index):
        known = members_of(entry)
        chosen = chosen_of(content, found, entry.name, everything=everything)
        return [Item(raw, known.get(str(raw["digest"]), "")) for raw in chosen]
    return [Item(descriptor_of(config_of(layout, found), content, found), entry.name)]


def chosen_of(content: bytes, index: Index, name: str, *, everything: bool) -> list[dict[str, Any]]:
    """The descriptors of an index's images, as they stand in it: all of them, or that for this machine."""
    raw = read_json(content)
    assert isinstance(raw, dict)
    if everything:
        return list(raw["manifests"])
    digest = choose(index.manifests, own_platform(), name).digest
    return [next(item for item in raw["manifests"] if item["digest"] == digest)]


def config_of(layout: Layout, manifest: Manifest) -> bytes:
    """The config of an image as it is in the store, nothing where it is not."""
    try:
        return layout.read(manifest.config.digest, LARGEST_CONFIG)
    except ClocheError:
        return b""


def descriptor_of(config: bytes, content: bytes, manifest: Manifest) -> dict[str, Any]:
    """The descriptor of an image, whose config says what platform it is for."""
    made: dict[str, Any] = {"mediaType": manifest.mediaType, "digest": sha256(content), "size": len(content)}
    try:
        read_config(config, made["digest"])
    except ClocheError:
        return made  # no image, but something else that registries keep
    raw = read_json(config)
    assert isinstance(raw, dict)
    return {**made, "platform": {key: raw[key] for key in PLATFORM if raw.get(key)}}
