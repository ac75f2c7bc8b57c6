"""The names of a store: index.json of the layout (image-spec, image-index.md).

An entry is the descriptor of an image for one platform, or of a list of images that was made here (`lists`). Its
annotation `org.opencontainers.image.ref.name` is the name in full, docker.io/library/debian:12, which one entry has at
most; without one it is an image that has lost its name. Where the image was chosen from an index of a registry,
`cloche.source` is REPOSITORY@DIGEST of that index.
"""

from __future__ import annotations

from cloche.errors import SpecError
from cloche.images.store import room
from cloche.images.store.layout import EMPTY, write_once, write_over
from cloche.linux import places
from cloche.records import record
from cloche.spec.image import NAME, Descriptor
from cloche.spec.reader import read_json, write_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cloche.images.store.layout import EMPTY, Layout

    Raw = dict[str, Any]

SOURCE = "cloche.source"


@record
class Entry:
    """A line of the index: the image's manifest, its name ("" for none), and where it came from ("" if nowhere)."""

    name: str
    manifest: Descriptor
    source: str = ""


def entries(layout: Layout) -> list[Entry]:
    """All of them, in the order they were added. Raises SpecError for an index.json that is none."""
    return [_entry(raw, index) for index, raw in enumerate(_read(layout)["manifests"])]


def named(layout: Layout, name: str) -> Entry | None:
    """The one with this name in full."""
    found = (_entry(raw, index) for index, raw in enumerate(_read(layout)["manifests"]) if _name_of(raw) == name)
    return next(found, None)


def put(layout: Layout, entry: Entry) -> None:
    """Give an image its name; who had it before is without one, unless it is the same image."""
    _change(layout, lambda known: _with(known, entry))


def give(layout: Layout, find: Callable[[], Entry]) -> None:
    """Put what `find` says; from its look on nothing else changes."""
    _change(layout, lambda known: _with(known, find()))


def update(layout: Layout, name: str, work: Callable[[Entry | None], Entry]) -> Entry:
    """Put something else in the place of what has a name, which `work` is told (None: nothing); returns it."""
    made: list[Entry] = []

    def change(known: list[Raw]) -> list[Raw]:
        before = [_entry(raw, 0) for raw in known if _name_of(raw) == name]
        made.append(work(before[0] if before else None))
        return _with([raw for raw in known if _name_of(raw) != name], made[0])

    _change(layout, change)
    return made[0]


def take(layout: Layout, name: str) -> None:
    """Take a name away, and the image with it unless it has others."""
    _change(layout, lambda known: [raw for raw in known if _name_of(raw) != name], less=True)


def drop(layout: Layout, choose: Callable[[list[Entry]], tuple[set[int], bool]]) -> None:
    """Remove the entries at the positions that `choose` gives, or, if it says so, only their names.

    While it is asked nothing else changes.
    """

    def without(known: list[Raw]) -> list[Raw]:
        gone, stays = choose([_entry(raw, index) for index, raw in enumerate(known)])
        rest = [raw for index, raw in enumerate(known) if index not in gone]
        once = {known[index].get("digest"): known[index] for index in gone} if stays else {}
        return rest + [_unnamed(raw) if _name_of(raw) else raw for raw in once.values()]

    _change(layout, without, less=True)


def forget(layout: Layout, digest: str) -> None:
    """Remove every entry of the manifest with this digest."""
    _change(layout, lambda known: [raw for raw in known if raw.get("digest") != digest], less=True)


def _with(known: list[Raw], entry: Entry) -> list[Raw]:
    digest = entry.manifest.digest
    found = []
    for raw in known:
        if raw.get("digest") == digest and _name_of(raw) in {"", entry.name}:
            continue
        found.append(_unnamed(raw) if entry.name and _name_of(raw) == entry.name else raw)
    new: Raw = entry.manifest.to_dict()
    own = {**(entry.manifest.annotations or {}), **({NAME: entry.name} if entry.name else {})}
    if entry.source:
        own[SOURCE] = entry.source
    return _without_spare([*found, {**new, "annotations": own}])


def _without_spare(known: list[Raw]) -> list[Raw]:
    """Without entries that have no name, of images that another entry has as well."""
    named = {raw.get("digest") for raw in known if _name_of(raw)}
    return [raw for raw in known if _name_of(raw) or raw.get("digest") not in named]


def _unnamed(raw: Raw) -> Raw:
    return {**raw, "annotations": {key: value for key, value in raw["annotations"].items() if key != NAME}}


def _name_of(raw: Raw) -> str:
    return str((raw.get("annotations") or {}).get(NAME, ""))


def _entry(raw: object, index: int) -> Entry:
    manifest = Descriptor.parse(raw, f"/manifests/{index}")
    notes = dict(manifest.annotations or {})
    name, source = notes.pop(NAME, ""), notes.pop(SOURCE, "")
    manifest.annotations = notes or None
    return Entry(name, manifest, source)


def _read(layout: Layout) -> Raw:
    """The index; an empty one where there is no store yet, which its last file tells from one that is damaged."""
    path = f"{layout.path}/index.json"
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        if places.exists(f"{layout.path}/oci-layout"):
            raise
        content = EMPTY
    try:
        raw = read_json(content)
        if not isinstance(raw, dict) or not isinstance(raw.get("manifests"), list):
            raise SpecError("is not the index of an image layout")
    except SpecError as error:
        raise SpecError(f"{path}: {error}", hint=error.hint) from None
    return raw


def _change(layout: Layout, work: Callable[[list[Raw]], list[Raw]], *, less: bool = False) -> None:
    """Whoever changes the index holds the lock of the store, and reads it first.

    With `less` in it, it can be written where the disk is full.
    """
    with room.Named(layout), layout.locked():
        raw = _read(layout)
        changed = work(raw["manifests"])
        if changed != raw["manifests"]:
            content = write_json({**raw, "manifests": changed}).encode()
            path = f"{layout.path}/index.json"
            try:
                write_once(path, content, f"{layout.path}/incoming")
            except OSError as error:
                if not less or not room.is_full(error) or not places.exists(layout.spare):
                    raise
                write_over(layout.spare, path, content)
