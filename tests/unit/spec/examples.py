"""The documents the tests start from, and ways to change one thing in them."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

FULL_TEXT = Path(__file__).with_name("full_config.json").read_text(encoding="utf-8")
DELETE = object()

MINIMAL: dict[str, Any] = {
    "ociVersion": "1.0.2",
    "root": {"path": "rootfs"},
    "process": {"cwd": "/", "args": ["true"]},
}


def full() -> dict[str, Any]:
    """A config that has every member the types know, fresh each time."""
    return json.loads(FULL_TEXT)  # type: ignore[no-any-return]


def tokens(pointer: str) -> list[str]:
    """The steps of an RFC 6901 pointer."""
    if not pointer:
        return []
    assert pointer[0] == "/", pointer
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer[1:].split("/")]


def resolve(document: Any, pointer: str) -> Any:
    """What a pointer leads to; raises LookupError or TypeError if nothing."""
    for token in tokens(pointer):
        document = document[int(token) if isinstance(document, list) else token]
    return document


def change(document: Any, pointer: str, value: Any) -> Any:
    """A copy of `document` with `value` (or nothing, for DELETE) at `pointer`."""
    if not pointer:
        return value
    document = copy.deepcopy(document)
    *way, last = tokens(pointer)
    parent = document
    for token in way:
        parent = parent[int(token) if isinstance(parent, list) else token]
    key: Any = int(last) if isinstance(parent, list) else last
    if value is DELETE:
        del parent[key]
    elif isinstance(parent, list) and key == len(parent):
        parent.append(value)
    else:
        parent[key] = value
    return document


def pointers(document: Any, pointer: str = "") -> list[str]:
    """The pointers of everything in a document."""
    found = [pointer]
    if isinstance(document, dict):
        for key, value in document.items():
            found += pointers(value, pointer + "/" + key.replace("~", "~0").replace("/", "~1"))
    elif isinstance(document, list):
        for i, value in enumerate(document):
            found += pointers(value, f"{pointer}/{i}")
    return found
