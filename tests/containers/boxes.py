"""Images for tests of containers: busybox, and what else a test wants in there, as a tar for `import`."""

from __future__ import annotations

import io
import shutil
import tarfile
from typing import TYPE_CHECKING

from tests.conftest import APPLETS
from tests.images.made import DIR, LINK
from tests.images.made import entry as member

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Cli

__all__ = ["CHAR", "DIR", "FIFO", "HARD", "LINK", "member", "take_in", "write_box"]
HARD, FIFO, CHAR = tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE
FOLDERS = ("bin", "dev", "etc", "proc", "sys", "tmp", "root")
Member = tuple[tarfile.TarInfo, bytes]


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
