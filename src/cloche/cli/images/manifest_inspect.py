"""`cloche manifest inspect`: a manifest or a list, as it is."""

from __future__ import annotations

import json
import sys

from cloche.cli.images.manifest_create import access_to_lists
from cloche.images.gathering import REGISTRY, inspect
from cloche.images.lists import document_of, is_list
from cloche.images.references import parse_reference
from cloche.images.store import names
from cloche.images.store.layout import Layout, store_dir
from cloche.spec.reader import read_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed


def manifest_inspect(parsed: Parsed) -> int:
    """Carry out `manifest inspect`."""
    text = parsed.positionals[0]
    entry = None if text.startswith(REGISTRY) else _here(Layout(store_dir()), text)
    if entry is not None:
        raw: object = document_of(Layout(store_dir()), entry)
    else:
        raw = read_json(inspect(text, access_to_lists(parsed)))
    # escapes keep what a registry says from steering the terminal
    sys.stdout.write(json.dumps(raw, indent=4) + "\n")
    return 0


def _here(layout: Layout, text: str) -> names.Entry | None:
    """The list of this name in the store."""
    try:
        entry = names.named(layout, str(parse_reference(text)))
    except FileNotFoundError:  # no store yet
        return None
    return entry if entry is not None and is_list(entry) else None
