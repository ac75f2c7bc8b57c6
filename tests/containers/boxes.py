"""Images for tests of containers: busybox, and what else a test wants in there, as a tar for `import`."""

from __future__ import annotations

import io
import shutil
import tarfile
from typing import TYPE_CHECKING

from tests.conftest import APPLETS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Cli

DIR, LINK, HARD, FIFO, CHAR = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE
FOLDERS = ("bin", "dev", "etc", "proc", "sys", "tmp", "root")
Member = tuple[tarfile.TarInfo, bytes]


def member(name: str, data: bytes = b"", **values: int | str | bytes) -> Member:
    """A member of an image; a directory where the name ends in a slash."""
    info = tarfile.TarInfo(name)
    info.mode = 0o755 if name.endswith("/") else 0o644
    info.type = DIR if name.endswith("/") else tarfile.REGTYPE
    info.size, info.mtime = len(data), 1_600_000_000
    for key, value in values.items():
        setattr(info, key, value)
    return info, data


def write_box(path: Path, *members: Member) -> Path:
    """The tar of busybox and these, in this order."""
    found = shutil.which("busybox")
    assert found
    with open(found, "rb") as file:
        program = file.read()
    first = [member(f"{name}/") for name in FOLDERS]
    first.append(member("bin/busybox", program, mode=0o755))
    first += [member(f"bin/{applet}", type=LINK, linkname="busybox") for applet in (*APPLETS, "find", "mkfifo")]
    first.append(member("etc/passwd", b"root:x:0:0::/root:/bin/sh\nana:x:1000:1000::/:/bin/sh\n"))
    first.append(member("etc/group", b"root:x:0:\nana:x:1000:\n"))
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as made:
        for info, data in (*first, *members):
            made.addfile(info, io.BytesIO(data))
    path.chmod(0o644)
    return path


def take_in(cli: Cli, path: Path, name: str, *changes: str) -> None:
    """Have an image in the store of somebody."""
    words = [word for change in changes for word in ("-c", change)]
    done = cli("import", *words, "-", name, input=path.read_bytes())
    assert done.returncode == 0, done.stderr
