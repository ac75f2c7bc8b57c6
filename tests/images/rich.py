"""A root file system as a tar with everything that a file can be, and what a later layer can do to it."""

from __future__ import annotations

import io
import os
import shutil
import struct
import subprocess
import tarfile
from typing import TYPE_CHECKING

from tests.conftest import APPLETS

if TYPE_CHECKING:
    from pathlib import Path

TIME = 1_600_000_000.123456789
# linux/capability.h, struct vfs_ns_cap_data without its root: revision 2, cap_net_raw, effective
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)
# linux/posix_acl_xattr.h: user::rw-, user:1234:rw-, group::r--, mask::rw-, other::r--
ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, bits, who)
    for tag, bits, who in (
        (1, 6, 0xFFFFFFFF),
        (2, 6, 1234),
        (4, 4, 0xFFFFFFFF),
        (0x10, 6, 0xFFFFFFFF),
        (0x20, 4, 0xFFFFFFFF),
    )
)
LONG = "d" * 200 + "/" + "f" * 200
CHANGE = (
    "rm /gone/file /one; rm -r /swept; mkdir /swept; echo new >/swept/new; rm /turned; mkdir /turned; "
    "rm -r /folder; echo plain >/folder; chown 7:8 /owned; chmod 4711 /bin/busybox; ln -s /nowhere /link; "
    "rm -r /kept; mkdir -p /made/deep; echo x >/made/deep/x; ln /made/deep/x /made/y; mkfifo /made/fifo"
)


def rich(path: Path, *, far: bool = True) -> None:
    """Write the tar; `far` is with a file of an owner whose number no ordinary user has a power over."""
    busybox = shutil.which("busybox")
    assert busybox
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape") as made:

        def add(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **more: object) -> None:
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, len(data)
            info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
            info.pax_headers = {"mtime": "1600000000.123456789"}
            xattrs = more.pop("xattrs", {})
            for key, value in xattrs.items():  # type: ignore[attr-defined]
                info.pax_headers[f"SCHILY.xattr.{key}"] = value.decode("utf-8", "surrogateescape")
            for key, value in more.items():
                setattr(info, key, value)
            made.addfile(info, io.BytesIO(data))

        directory = tarfile.DIRTYPE
        for name in ("bin", "dev", "etc", "proc", "sys", "tmp", "gone", "swept", "folder", "kept", "kept/deep"):
            add(name, directory)
        with open(busybox, "rb") as file:
            add("bin/busybox", data=file.read(), mode=0o755)
        for applet in (*APPLETS, "mkfifo", "cp"):
            add(f"bin/{applet}", tarfile.SYMTYPE, linkname="busybox")
        for name in ("gone/file", "one", "swept/a", "swept/b", "turned", "folder/inside", "kept/deep/file", "owned"):
            add(name, data=name.encode())
        add("sticky", directory, mode=0o1777, uid=3, gid=4)
        add("setgid", directory, mode=0o2755, xattrs={"user.of.a.directory": b"x"})
        add("closed", directory, mode=0)
        add("closed/file", mode=0, data=b"closed")
        add("suid", data=b"s", mode=0o6755, uid=1000, gid=1001)
        if far:
            add("far", data=b"f", uid=3_000_000, gid=4_000_000)
        add("two", tarfile.LNKTYPE, linkname="one")
        add("owned-link", tarfile.SYMTYPE, linkname="../../etc/passwd", uid=5, gid=6)
        add("null", tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666)
        add("disk", tarfile.BLKTYPE, devmajor=8, devminor=17, mode=0o660, gid=6)
        add("fifo", tarfile.FIFOTYPE, mode=0o622)
        add(
            "attributes",
            data=b"a",
            xattrs={"user.note": b"text", "user.bytes": b"\xff\x00\xfe=\n", "user.empty.not": b" "},
        )
        add("capable", data=b"c", mode=0o755, xattrs={"security.capability": CAPABILITY})
        add("listed", data=b"l", mode=0o664, xattrs={"system.posix_acl_access": ACL})
        add(LONG.partition("/")[0], directory)
        add(LONG, data=b"long")
        add("long-link", tarfile.SYMTYPE, linkname="x/" * 100)
        add("umläut €", data=b"u")
        add(os.fsdecode(b"latin-\xe9\xff"), data=b"latin")
        add("new\nline", data=b"n")
        add("-rf *", data=b"-")
        add("empty")


def sparse(path: Path, folder: Path) -> None:
    """Write a tar with a file that is mostly a hole."""
    with open(folder / "sparse", "wb") as file:
        file.seek(3 << 20)
        file.write(b"middle")
        file.truncate(5 << 20)
    subprocess.run(["tar", "--format=posix", "-cSf", path, "-C", folder, "sparse"], check=True)
