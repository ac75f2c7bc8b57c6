"""An archive of images that share one layer and differ in their config, which docker and cloche both load."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

MACHINE = {"architecture": "amd64", "os": "linux"}
APPLETS = "sh env id pwd ls cat stat touch grep echo mountpoint sort mkdir true".split()
PASSWD = b"root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000:Ann:/home/ann:/bin/sh\n1234:x:77:77::/:/bin/sh\n"
GROUP = b"root:x:0:\nann:x:1000:\nwheel:x:10:ann\nother:x:55:ann\n"
ARGUMENTS = b'#!/bin/sh\necho "$#"; for word; do echo "<$word>"; done\n'


def layer() -> bytes:
    """busybox, two users, files of theirs in /data, links to odd places, and `args`, which prints what it is given."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in ("bin", "dev", "etc", "proc", "sys", "var"):
            _add(tar, name, type=tarfile.DIRTYPE, mode=0o755)
        _add(tar, "root", type=tarfile.DIRTYPE, mode=0o700)
        _add(tar, "tmp", type=tarfile.DIRTYPE, mode=0o1777)
        _add(tar, "data", type=tarfile.DIRTYPE, mode=0o750, uid=1000, gid=10)
        _add(tar, "data/file", b"x\n", mode=0o600, uid=1000, gid=1000)
        _add(tar, "data/sub", type=tarfile.DIRTYPE, mode=0o2755, uid=5, gid=6)
        for name, target in (("link", "data"), ("toproc", "proc"), ("toroot", "/")):
            _add(tar, name, type=tarfile.SYMTYPE, linkname=target)
        busybox = shutil.which("busybox")
        assert busybox
        _add(tar, "bin/busybox", Path(busybox).read_bytes(), mode=0o755)
        for name in APPLETS:
            _add(tar, f"bin/{name}", type=tarfile.SYMTYPE, linkname="busybox")
        _add(tar, "bin/args", ARGUMENTS, mode=0o755)
        _add(tar, "etc/passwd", PASSWD)
        _add(tar, "etc/group", GROUP)
    return out.getvalue()


def write_archive(
    path: Path, configs: Mapping[str, Mapping[str, Any]], *, machine: Mapping[str, str] = MACHINE
) -> None:
    """The archive of images named localhost/NAME:1, each with this for its config's `config`."""
    blob = layer()
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(blob).hexdigest()}"]}
    listing = []
    with tarfile.open(path, "w") as tar:
        _add(tar, "layer.tar", blob)
        for name, config in configs.items():
            document = {**machine, "config": config, "rootfs": rootfs, "history": [{"created_by": name}]}
            content = json.dumps(document).encode()
            file = f"{hashlib.sha256(content).hexdigest()}.json"
            _add(tar, file, content)
            listing.append({"Config": file, "RepoTags": [f"localhost/{name}:1"], "Layers": ["layer.tar"]})
        _add(tar, "manifest.json", json.dumps(listing).encode())
    path.chmod(0o644)


def _add(tar: tarfile.TarFile, name: str, content: bytes = b"", **facts: Any) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o644
    for key, value in facts.items():
        setattr(info, key, value)
    tar.addfile(info, io.BytesIO(content))
