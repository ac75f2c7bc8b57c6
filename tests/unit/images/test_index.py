"""The index of a store: what its entries become."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cloche.images.store import names
from cloche.images.store.layout import Layout
from cloche.spec.image import NAME

if TYPE_CHECKING:
    from pathlib import Path


def test_what_stays_has_no_name(tmp_path: Path) -> None:
    """Of each manifest one entry, also of one that somebody else has written, without annotations."""
    layout = Layout(str(tmp_path))
    layout.make()
    kind = "application/vnd.oci.image.manifest.v1+json"
    plain, named = ({"mediaType": kind, "digest": f"sha256:{digit * 64}", "size": 2} for digit in "ab")
    entries = [plain, *({**named, "annotations": {NAME: f"x.example/{name}:1"}} for name in ("one", "two"))]
    index = tmp_path / "index.json"
    index.write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
    names.drop(layout, lambda _: ({0, 1, 2}, True))
    assert [(entry.name, entry.manifest.digest[7:9]) for entry in names.entries(layout)] == [("", "aa"), ("", "bb")]
    names.drop(layout, lambda _: ({0}, False))
    assert [entry.manifest.digest[7:9] for entry in names.entries(layout)] == ["bb"]
