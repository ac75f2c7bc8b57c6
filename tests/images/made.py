"""Images of layers that are given byte by byte: what no tool that makes images would write."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

from cloche.images.platforms import parse_platform

if TYPE_CHECKING:
    from pathlib import Path

DIR, LINK = tarfile.DIRTYPE, tarfile.SYMTYPE
OCI = "application/vnd.oci.image."


def entry(name: str, data: bytes = b"", **values: int | str | bytes) -> tuple[tarfile.TarInfo, bytes]:
    """A member of a layer; a directory where the name ends so."""
    info = tarfile.TarInfo(name)
    info.mode = 0o755 if name.endswith("/") else 0o644
    info.type = DIR if name.endswith("/") else tarfile.REGTYPE
    info.size, info.mtime = len(data), 1_600_000_000
    for key, value in values.items():
        setattr(info, key, value)
    return info, data


def link(name: str, to: str) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=LINK, linkname=to)


def layer(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as made:
        for info, data in entries:
            made.addfile(info, io.BytesIO(data))
    return out.getvalue()


def layout(path: Path, *layers: bytes, name: str = "made") -> Path:
    """An image layout with one image of these layers."""
    (path / "blobs/sha256").mkdir(parents=True)

    def put(content: bytes, kind: str) -> dict[str, Any]:
        digits = hashlib.sha256(content).hexdigest()
        (path / "blobs/sha256" / digits).write_bytes(content)
        return {"mediaType": OCI + kind, "digest": f"sha256:{digits}", "size": len(content)}

    parts = [put(content, "layer.v1.tar") for content in layers]
    system = {"os": "linux", "architecture": parse_platform("").architecture}
    config = {**system, "rootfs": {"type": "layers", "diff_ids": [part["digest"] for part in parts]}, "config": {}}
    document = {
        "schemaVersion": 2,
        "mediaType": OCI + "manifest.v1+json",
        "config": put(json.dumps(config).encode(), "config.v1+json"),
        "layers": parts,
    }
    manifest = put(json.dumps(document).encode(), "manifest.v1+json")
    full = f"docker.io/library/{name}:1"
    manifest["annotations"] = {"org.opencontainers.image.ref.name": name, "io.containerd.image.name": full}
    (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))
    return path
