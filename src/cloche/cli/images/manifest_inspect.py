"""`cloche manifest inspect`: a manifest or a list, as it is."""

from __future__ import annotations

import json
import sys
from base64 import b64encode

from cloche.cli.images.manifest_create import access_to_lists
from cloche.images.documents import LARGEST
from cloche.images.gathering import REGISTRY, Part, inspect, inspect_each
from cloche.images.lists import document_of, is_list
from cloche.images.references import parse_reference
from cloche.images.store import names
from cloche.images.store.layout import Layout, store_dir
from cloche.spec.image import DOCKER_LIST, DOCKER_MANIFEST
from cloche.spec.reader import read_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed

DOCKERS = (DOCKER_MANIFEST, DOCKER_LIST)


def manifest_inspect(parsed: Parsed) -> int:
    """Carry out `manifest inspect`."""
    text = parsed.positionals[0]
    layout = Layout(store_dir())
    entry = None if text.startswith(REGISTRY) else _here(layout, text)
    if parsed.flag("verbose"):
        shown = _verbose(*(inspect_each(text, access_to_lists(parsed)) if entry is None else _each(layout, entry)))
    elif entry is not None:
        shown = document_of(layout, entry)
    else:
        shown = read_json(inspect(text, access_to_lists(parsed)))
    # escapes keep what a registry says from steering the terminal
    sys.stdout.write(json.dumps(shown, indent=4) + "\n")
    return 0


def _verbose(parts: list[Part], several: bool) -> object:
    """What docker prints with --verbose."""
    shown = []
    for part in parts:
        kind = "SchemaV2Manifest" if part.raw.get("mediaType") in DOCKERS else "OCIManifest"
        raw = b64encode(part.content).decode()
        shown.append({"Ref": part.name, "Descriptor": part.raw, "Raw": raw, kind: read_json(part.content)})
    return shown if several else shown[0]


def _each(layout: Layout, entry: names.Entry) -> tuple[list[Part], bool]:
    """The manifests of a list in the store."""
    raws = document_of(layout, entry)["manifests"]
    return [Part(f"{entry.name}@{raw['digest']}", raw, layout.read(raw["digest"], LARGEST)) for raw in raws], True


def _here(layout: Layout, text: str) -> names.Entry | None:
    """The list of this name in the store."""
    try:
        entry = names.named(layout, str(parse_reference(text)))
    except FileNotFoundError:  # no store yet
        return None
    return entry if entry is not None and is_list(entry) else None
