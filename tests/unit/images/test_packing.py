"""Headers as they are written, read by Python's tarfile and by our own reader."""

from __future__ import annotations

import io
import os
import tarfile

import pytest

from cloche.images.packing import END, filling, header
from cloche.images.unpack.tar import (
    BLOCK_DEVICE,
    CHARACTER,
    DIRECTORY,
    FIFO,
    FILE,
    HARD_LINK,
    SYMLINK,
    Archive,
    Entry,
    Stream,
)

ENTRIES = [
    Entry(FILE, b"a", mode=0o644, size=3, mtime=1_600_000_000 * 10**9),
    Entry(FILE, b"n" * 100, mode=0o4755, uid=0o7777777, gid=0o7777777, mtime=1_600_000_000_123_456_789),
    Entry(FILE, b"n" * 101, uid=0o10000000, gid=(1 << 32) - 2, mtime=-1_500_000_000),
    Entry(FILE, b"d/" * 400 + b"latin-\xe9\xff", mtime=(1 << 34) * 10**9),
    Entry(FILE, "umläut €\n=".encode(), size=513, mtime=1),
    Entry(FILE, b"x", xattrs=((b"security.capability", bytes(range(256))), (b"user.a", b""), (b"user.b", b"\n=\n"))),
    Entry(DIRECTORY, b"d", mode=0o1777),
    Entry(DIRECTORY, b"d" * 100, mode=0o755),
    Entry(SYMLINK, b"l", b"to/" * 300, mode=0o777, uid=1),
    Entry(SYMLINK, b"l2", b"\xff", mode=0o777),
    Entry(HARD_LINK, b"h", b"a"),
    Entry(CHARACTER, b"c", mode=0o666, major=4095, minor=(1 << 20) - 1),
    Entry(BLOCK_DEVICE, b"b", mode=0o660, major=8, minor=1),
    Entry(FIFO, b"f", mode=0o600),
]


def packed(*entries: Entry) -> bytes:
    return b"".join(header(entry) + bytes(entry.size) + filling(entry.size) for entry in entries) + END


def test_our_reader_finds_what_was_written() -> None:
    chunks = [packed(*ENTRIES)]
    archive = Archive(Stream(lambda: chunks.pop() if chunks else b""))
    for wanted in ENTRIES:
        found = archive.next()
        assert found is not None
        found.__dict__["name"] = found.name.rstrip(b"/")
        found.__dict__["xattrs"] = tuple(sorted(found.xattrs))
        assert found == wanted
    assert archive.next() is None


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: repr(entry.name[:12]))
def test_so_does_tarfile(entry: Entry) -> None:
    with tarfile.open(fileobj=io.BytesIO(packed(entry)), encoding="utf-8", errors="surrogateescape") as archive:
        (found,) = archive.getmembers()
    assert (os.fsencode(found.name), os.fsencode(found.linkname)) == (entry.name, entry.link)
    assert (found.type, found.mode, found.uid, found.gid) == (entry.kind, entry.mode, entry.uid, entry.gid)
    assert (found.size, found.devmajor, found.devminor) == (entry.size, entry.major, entry.minor)
    assert found.mtime == pytest.approx(entry.mtime / 10**9)


def test_a_file_of_more_than_eight_gigabytes() -> None:
    entry = Entry(FILE, b"big", size=(8 << 30) + 1)
    with tarfile.open(fileobj=io.BytesIO(header(entry) + bytes(512))) as archive:
        found = archive.next()
    assert found is not None
    assert found.size == entry.size


def test_what_fits_into_a_header_has_no_other() -> None:
    assert len(header(ENTRIES[0])) == 512
    assert len(header(ENTRIES[7])) > 512  # with its slash it is too long
