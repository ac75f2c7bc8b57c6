"""The reader of tar, beside Python's own writer and GNU tar's; and what is broken or hostile."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.images.unpack import tar
from cloche.images.unpack.tar import Archive, BadArchive, Entry, Stream

if TYPE_CHECKING:
    from pathlib import Path

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def archive_of(content: bytes, chunk: int = 1000) -> Archive:
    parts = [content[i : i + chunk] for i in range(0, len(content), chunk)] + [b""]
    return Archive(Stream(lambda: parts.pop(0)))  # it fails when it is asked once more than there is


def read(content: bytes, chunk: int = 1000) -> list[tuple[Entry, bytes]]:
    archive = archive_of(content, chunk)
    found = []
    while (entry := archive.next()) is not None:
        if entry.pieces is None:
            found.append((entry, b"".join(bytes(part) for part in archive.content())))
            continue
        data = bytearray(entry.size)
        for offset, length in entry.pieces:
            data[offset : offset + length] = archive.take(length)
        found.append((entry, bytes(data)))
    return found


def written(items: list[tuple[tarfile.TarInfo, bytes]], form: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as made:
        for info, data in items:
            made.addfile(info, io.BytesIO(data))
    return out.getvalue()


def info(name: str, kind: bytes = tarfile.REGTYPE, **more: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type = kind
    for key, value in more.items():
        setattr(made, key, value)
    return made


def test_gnus_header_has_times_where_others_have_a_prefix() -> None:
    block = bytearray(written([(info("name"), b"")], tarfile.GNU_FORMAT)[:512])
    block[345:357] = b"14701234567\0"  # atime, as incremental archives have it
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    ((entry, _),) = read(bytes(block))
    assert entry.name == b"name"


def test_checksums() -> None:
    """By bytes as they are, or with a sign; one that is wrong, in whatever byte, is noticed."""
    block = bytearray(written([(info("n\udcff"), b"")], tarfile.GNU_FORMAT)[:512])
    assert read(bytes(block))
    signed = sum(byte - 256 if byte > 127 else byte for byte in block[:148] + b" " * 8 + block[156:])
    old = block[:148] + b"%06o\0 " % signed + block[156:]
    assert old != block
    assert read(bytes(old))
    for place in (0, 50, 120, 300, 511):
        bad = bytearray(block)
        bad[place] ^= 0x20
        with pytest.raises(BadArchive, match="checksum"):
            read(bytes(bad))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("chunk", [1, 511, 512, 513, 100_000])
def test_what_python_writes(form: int, chunk: int) -> None:
    data = os.urandom(1300)
    items = [
        (info("dir", tarfile.DIRTYPE, mode=0o1755, mtime=1_600_000_000), b""),
        (info("dir/file", size=len(data), mode=0o4711, uid=12, gid=34, mtime=5), data),
        (info("dir/" + "n" * 90 + "/file", size=3), b"abc"),
        (info("link", tarfile.SYMTYPE, linkname="dir/file"), b""),
        (info("hard", tarfile.LNKTYPE, linkname="dir/file"), b""),
        (info("null", tarfile.CHRTYPE, devmajor=1, devminor=3), b""),
        (info("fifo", tarfile.FIFOTYPE), b""),
        (info("empty"), b""),
    ]
    found = read(written(items, form), chunk)
    assert [(entry.name.decode().rstrip("/"), content) for entry, content in found] == [(i.name, d) for i, d in items]
    assert [entry.kind for entry, _ in found] == [i.type for i, _ in items]
    first, second = found[0][0], found[1][0]
    assert (first.mode, first.mtime) == (0o1755, 1_600_000_000 * 10**9)
    assert (second.mode, second.uid, second.gid, second.size) == (0o4711, 12, 34, 1300)
    assert found[3][0].link == b"dir/file"
    assert (found[5][0].major, found[5][0].minor) == (1, 3)


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_and_large_numbers(form: int) -> None:
    name, link = "d/" * 120 + "é" * 40, "l" * 300
    items = [
        (info(name, tarfile.SYMTYPE, linkname=link, uid=3_000_000, gid=2**31, mtime=2**34), b""),
        (info("after"), b""),
    ]
    (entry, _), (after, _) = read(written(items, form))
    assert (entry.name.decode(), entry.link.decode()) == (name, link)
    assert (entry.uid, entry.gid, entry.mtime) == (3_000_000, 2**31, 2**34 * 10**9)
    assert (after.name, after.uid) == (b"after", 0)


def test_members_of_pax() -> None:
    item = info("x", size=2)
    item.pax_headers = {"mtime": "1.123456789", "SCHILY.xattr.user.note": "hé=\nllo", "comment": "no"}
    (entry, data), *_ = read(written([(item, b"ab")], tarfile.PAX_FORMAT))
    assert (entry.mtime, data) == (1_123_456_789, b"ab")
    assert entry.xattrs == ((b"user.note", "hé=\nllo".encode()),)


def test_times_before_1970() -> None:
    item = info("x")
    item.pax_headers = {"mtime": "-5.5"}
    assert read(written([(item, b"")], tarfile.PAX_FORMAT))[0][0].mtime == -5_500_000_000


def test_members_for_all_that_follow() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"uid": "77"}) as made:
        made.addfile(info("a"))
        made.addfile(info("b"))
    assert [entry.uid for entry, _ in read(out.getvalue())] == [77, 77]


@pytest.mark.parametrize(
    "words", [["--format=gnu"], *(["--format=pax", f"--sparse-version={v}"] for v in ("0.0", "0.1", "1.0"))]
)
def test_sparse_files_of_gnu_tar(tmp_path: Path, words: list[str]) -> None:
    path = tmp_path / "holes"
    with path.open("wb") as file:
        for i in range(40):
            file.seek(i * 300_000)
            file.write(bytes([65 + i % 26]) * 5000)
        file.truncate(20_000_000)
    (tmp_path / "after").write_text("after")
    done = subprocess.run(["tar", "-C", tmp_path, "-cS", *words, "holes", "after"], stdout=subprocess.PIPE, check=True)
    assert len(done.stdout) < 1_000_000
    (entry, data), (after, text) = read(done.stdout)
    assert (entry.name, entry.size) == (b"holes", 20_000_000)
    assert data == path.read_bytes()
    assert (after.name, text) == (b"after", b"after")


def test_a_directory_of_old_times() -> None:
    made = bytearray(written([(info("old/"), b"")], tarfile.USTAR_FORMAT))
    made[156] = 0
    _sign(made)
    assert read(bytes(made))[0][0].kind == tar.DIRECTORY


@pytest.mark.parametrize("more", [b"", b"\0" * 700, b"anything"])
def test_what_comes_after_the_end_is_read_and_nothing_else(more: bytes) -> None:
    content = written([(info("file", size=3), b"abc")], tarfile.USTAR_FORMAT)
    parts = [content + more]
    archive = Archive(Stream(lambda: parts.pop(0) if parts else b""))
    assert archive.next() is not None
    assert archive.next() is None
    assert parts == []


@pytest.mark.parametrize("chunk", [1, 100, 100_000])
def test_the_last_block_need_not_be_filled(chunk: int) -> None:
    """As `umoci insert` leaves it, and Go reads it."""
    content = written([(info("a", size=3), b"abc"), (info("b", size=600), b"x" * 600)], tarfile.USTAR_FORMAT)
    assert [data for _, data in read(content[: 512 + 512 + 512 + 600], chunk)] == [b"abc", b"x" * 600]


def _sign(block: bytearray) -> None:
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block[:512])


def _changed(offset: int, content: bytes) -> bytes:
    made = bytearray(written([(info("file", size=600), b"x" * 600)], tarfile.USTAR_FORMAT))
    made[offset : offset + len(content)] = content
    _sign(made)
    return bytes(made)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (_changed(124, b"9999999999 \0"), "number"),
        (_changed(124, b"\xff" * 12), "less than 0"),
        (_changed(124, b"\x80" + b"\xff" * 11), "middle"),
        (_changed(156, b"M"), "volumes"),
        (b"x" * 512, "checksum"),
        (written([(info("file", size=600), b"x" * 600)], tarfile.USTAR_FORMAT)[:1000], "middle"),
        (_changed(0, b"a").replace(b"a", b"b", 1), "checksum"),
    ],
)
def test_broken(content: bytes, says: str) -> None:
    with pytest.raises(BadArchive, match=says):
        read(content)


@pytest.mark.parametrize(
    "body",
    [
        b"99 a=b\n",
        b"7 a=bc\n"[:-1] + b"x",
        b"x a=b\n",
        b"9 noequals\n",
        b"5 =b\n",
        b"18 size=-5\n1234567",
    ],
)
def test_broken_pax(body: bytes) -> None:
    header = info("pax", b"x", size=len(body))
    content = written([(header, body)], tarfile.USTAR_FORMAT)[: 512 + (len(body) + 511) // 512 * 512]
    with pytest.raises(BadArchive):
        read(content + written([(info("file"), b"")], tarfile.USTAR_FORMAT))


def test_a_header_without_end() -> None:
    header = info("pax", b"x", size=1 << 30)
    out = header.tobuf(tarfile.GNU_FORMAT)
    with pytest.raises(BadArchive, match="header of"):
        read(out + bytes(1024))


@given(st.binary(max_size=2048), st.integers(0, 1023))
def test_anything(noise: bytes, at: int) -> None:
    """Whatever it is: entries, or an error of ours."""
    content = bytearray(written([(info("file", size=600), b"x" * 600)], tarfile.PAX_FORMAT))
    content[at : at + len(noise)] = noise
    _sign(content)
    try:
        read(bytes(content))
    except BadArchive:
        pass
