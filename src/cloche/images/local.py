"""Images that are in the store: found by name or ID, with what it takes to start one. Imports little: `run` waits."""

from __future__ import annotations

import posix as os

from cloche.errors import ClocheError, ConflictError, NotFoundError, SpecError
from cloche.images.documents import LARGEST, LARGEST_CONFIG, read_config, read_manifest
from cloche.images.references import parse_reference
from cloche.images.store import names, summaries
from cloche.images.store.layers import layer_path
from cloche.images.store.stacks import stacked
from cloche.linux.places import normpath
from cloche.linux.reading import read_bytes
from cloche.records import record
from cloche.spec.image import INDEXES, Manifest
from cloche.spec.reader import read_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.images.platforms import Wanted
    from cloche.images.store.layout import Layout
    from cloche.spec.image import ImageConfig

KERNELS_OWN = ("/proc", "/sys", "/dev")
SHORTEST = 4  # digits of an ID that are taken for one; docker takes a single one
WHOLE_ID = len("sha256:") + 64
_FOUND: dict[tuple[object, ...], Image] = {}  # the last one, which a run asks for once more when it holds it


@record
class Image:
    """An image that can be started.

    `id` is the digest of its config, `digest` that of its manifest, `layers` their directories, the lowest first.
    `root` is the directory whose mode and owner the root has: that of the highest layer that says something about it.
    """

    name: str
    id: str
    config: ImageConfig
    layers: tuple[str, ...]
    root: str
    digest: str = ""


def volume_place(text: str) -> str:
    """Where the volume of an image is that its config calls so; "" for what is the container's own."""
    place = "/" + normpath(f"/{text}").strip("/")
    return "" if place == "/" or place in KERNELS_OWN or place.startswith("/proc/") else place


def find(layout: Layout, text: str, wanted: Wanted | None = None) -> Image:
    """The image of this name, or with this ID or the first digits of it; of a list, that for a platform.

    The platform is this machine's unless told. Raises NotFoundError, ConflictError for a list that lacks it.
    """
    try:
        index = os.stat(f"{layout.path}/index.json")
    except FileNotFoundError:
        return load(layout, find_entry(layout, text), wanted)
    # it is replaced by another file at each change, and before anything that it leads to is removed
    key = layout.path, index.st_ino, index.st_mtime_ns, text, str(wanted)
    if key not in _FOUND:
        image = load(layout, find_entry(layout, text), wanted)
        _FOUND.clear()
        _FOUND[key] = image
    return _FOUND[key]


def find_entry(layout: Layout, text: str) -> names.Entry:
    """Its entry in the index."""
    entry = _named(layout, text)
    if entry is None:
        entry = next(iter(_matching(layout, names.entries(layout), text)), None)
    if entry is None:
        raise NotFoundError(
            f"no such image: {text}", hint=f"cloche images lists what is here, cloche pull {text} fetches it"
        )
    return entry


def _named(layout: Layout, text: str) -> names.Entry | None:
    """The entry with exactly this name, in full or with what docker leaves out."""
    try:
        return names.named(layout, str(parse_reference(text)))
    except SpecError:
        return None


def load(layout: Layout, entry: names.Entry, wanted: Wanted | None = None) -> Image:
    """What an entry of the index stands for. Raises NotFoundError where a part of it is gone."""
    if entry.manifest.mediaType in INDEXES:
        return _load_member(layout, entry, wanted)
    what = entry.name or entry.manifest.digest
    manifest = read_manifest(layout.read(entry.manifest.digest, LARGEST), entry.manifest.mediaType, what)
    assert isinstance(manifest, Manifest)
    config = read_config(layout.read(manifest.config.digest, LARGEST_CONFIG), what)
    layers = tuple(layer_path(layout, diff_id) for diff_id in config.rootfs.diff_ids)
    root = layers[-1] if layers else ""
    for place in reversed(layers):
        text = read_bytes(f"{place}/layer.json")
        if not text:
            raise NotFoundError(f"a layer of {what} is not unpacked", hint=f"cloche pull {what}")
        facts = read_json(text)
        if isinstance(facts, dict) and facts.get("root"):
            root = place
            break
    layers = stacked(layout, manifest.config.digest, layers)
    return Image(entry.name, manifest.config.digest, config, layers, root, entry.manifest.digest)


def _load_member(layout: Layout, entry: names.Entry, wanted: Wanted | None) -> Image:
    """The image of a list for a platform. Raises ConflictError: its name is not to be fetched, the list is here."""
    from cloche.images.lists import member, members_of

    chosen = entry
    try:
        chosen = member(layout, entry, wanted)
        return load(layout, chosen)
    except NotFoundError as error:
        origin = members_of(entry).get(chosen.manifest.digest, "")
        raise ConflictError(
            f"the list {entry.name}: {error}", hint=f"cloche pull {origin}" if origin else error.hint
        ) from None


def id_of(layout: Layout, entry: names.Entry) -> str:
    """The ID of an image, or of a list. Raises NotFoundError, RegistryError."""
    if entry.manifest.mediaType in INDEXES:
        return entry.manifest.digest
    found = read_manifest(layout.read(entry.manifest.digest, LARGEST), entry.manifest.mediaType, entry.name)
    return found.config.digest if isinstance(found, Manifest) else entry.manifest.digest


def id_or_digest(layout: Layout, entry: names.Entry) -> str:
    """The ID of an image; of one that is damaged the digest of its manifest, so that it can be removed."""
    try:
        return id_of(layout, entry)
    except ClocheError:
        return entry.manifest.digest


def _matching(layout: Layout, entries: list[names.Entry], text: str) -> list[names.Entry]:
    if len(text) == WHOLE_ID and text.startswith("sha256:"):  # no name: it need not be known who is asked for those
        return _by_id(layout, entries, text)
    try:
        reference = parse_reference(text)
    except SpecError:
        reference = None
    if reference is not None:
        full = str(reference)
        found = [entry for entry in entries if entry.name == full]
        if not found and reference.digest:
            source = f"{reference.name}@{reference.digest}"
            found = [
                entry
                for entry in entries
                if entry.source == source or f"{entry.name.rpartition(':')[0]}@{entry.manifest.digest}" == source
            ]
        if not found and reference.short:
            from cloche.images.registry.places import read_registries

            meant = [str(item) for item in read_registries().references(reference)]
            found = [entry for name in meant for entry in entries if entry.name == name]
        if found:
            return found
    return _by_id(layout, entries, text)


def _by_id(layout: Layout, entries: list[names.Entry], text: str) -> list[names.Entry]:
    digits = text.removeprefix("sha256:")
    if len(digits) < SHORTEST or not set(digits) <= set("0123456789abcdef"):
        return []
    known = summaries.read(layout)
    found: dict[str, names.Entry] = {}
    for entry in entries:
        summary = known.get(entry.manifest.digest)
        try:
            image = summary.id if summary is not None else id_of(layout, entry)
        except ClocheError:
            continue  # one that is damaged is no reason why others are not found
        if image.removeprefix("sha256:").startswith(digits):
            found[image] = entry
    if len(found) > 1:
        raise ConflictError(f"{text} is the beginning of the IDs of {len(found)} images", hint="give more of it")
    return list(found.values())
