"""Images on Linux 6.1: loaded, and run with more layers than fsconfig(2) takes there; part of `inside.py`."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path

from tests.vm.inside import AS_USER, DISK, USER, cloche

MANY = 120


def archive(top: Path, name: str, layers: list[bytes]) -> str:
    """A docker archive with these layers; returns its path."""
    diff_ids = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    files = [f"{number}.tar" for number in range(len(layers))]
    listed = [{"Config": "config.json", "RepoTags": [name], "Layers": files}]
    contents = {"config.json": json.dumps(config).encode(), "manifest.json": json.dumps(listed).encode()}
    path = top / f"{name.partition(':')[0]}.tar"
    path.write_bytes(tar(contents | dict(zip(files, layers, strict=True))))
    return str(path)


def tar(contents: dict[str, bytes], *, owner: int = 0, links: dict[str, str] | None = None) -> bytes:
    """A tar with these files, whose directories are implied."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.uid = len(content), 0o755, owner
            made.addfile(info, io.BytesIO(content))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            made.addfile(info)
    return out.getvalue()


def system() -> bytes:
    """A layer with busybox, and a directory to be changed by others."""
    busybox = shutil.which("busybox")
    assert busybox
    links = {f"bin/{applet}": "busybox" for applet in ("sh", "cat", "ls", "stat", "mkdir", "rm")}
    return tar({"bin/busybox": Path(busybox).read_bytes(), "d/old": b"", "d/gone": b"", "o/old": b""}, links=links)


def run_all(root: str, prefix: list[str], layers: list[bytes], script: str) -> str:
    """Load an image of these layers and run a script in it, as somebody."""
    path = archive(DISK, "layered:1", layers)
    words = ["--root", root]
    done = cloche(*words, "load", "-i", path, prefix=prefix)
    assert done.returncode == 0, done.stderr
    done = cloche(*words, "run", "--rm", "layered:1", "/bin/sh", "-c", script, prefix=prefix)
    assert done.returncode == 0, done.stderr
    assert cloche(*words, "rmi", "-f", "layered:1", prefix=prefix).returncode == 0
    return done.stdout


def check_an_image_has_its_layers_owners_and_whiteouts() -> None:
    upper = tar({"d/.wh.gone": b"", "d/new": b"", "o/.wh..wh..opq": b"", "o/new": b""}, owner=7)
    script = "ls /d /o; stat -c %u /d/new; echo x >/d/new; rm -r /o; mkdir /o2; ls /"
    out = run_all(f"{DISK}/store", [], [system(), upper], script)
    assert out.split()[:7] == ["/d:", "new", "old", "/o:", "new", "7", "bin"], out
    place = DISK / "store-user"
    place.mkdir()
    shutil.chown(place, USER, USER)
    out = run_all(str(place), AS_USER, [system(), upper], script)
    assert out.split()[:6] == ["/d:", "new", "old", "/o:", "new", "0"], out  # one id: all belongs to root inside


def check_an_image_of_many_layers_runs() -> None:
    layers = [system(), *(tar({"top": str(number).encode(), f"n{number}": b""}) for number in range(1, MANY))]
    out = run_all(f"{DISK}/store", [], layers, 'cat /top; set -- /n*; echo " $#"')
    assert out == f"{MANY - 1} {MANY - 1}\n", out
