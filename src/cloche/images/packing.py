"""Writing tar: the headers that `unpack.tar` reads (POSIX pax, "ustar Interchange Format", "pax Extended Header").

What fits into a ustar header stands there; the rest stands in a pax header before it: long names and those that are
not ASCII, large numbers, fractions of seconds, extended attributes. Names are bytes here, whatever their encoding.
Nothing else goes in, so that the same entries always give the same bytes.
"""

from __future__ import annotations

from cloche.images.unpack.tar import BLOCK, DEVICES, DIRECTORY, FILE, XATTR, Entry

PAX = b"x"
END = bytes(2 * BLOCK)
LONGEST = 100  # bytes of a name in a ustar header
LARGEST_ID, LARGEST = 0o7777777, 0o77777777777
SECOND = 10**9


def header(entry: Entry) -> bytes:
    """What stands in front of the data of an entry."""
    name = entry.name + b"/" if entry.kind == DIRECTORY and not entry.name.endswith(b"/") else entry.name
    size = entry.size if entry.kind == FILE else 0
    seconds, fraction = divmod(entry.mtime, SECOND)
    more: list[tuple[bytes, bytes]] = []
    if len(name) > LONGEST or not name.isascii():
        more.append((b"path", name))
    if len(entry.link) > LONGEST or not entry.link.isascii():
        more.append((b"linkpath", entry.link))
    if size > LARGEST:
        more.append((b"size", b"%d" % size))
    more += [(key, b"%d" % value) for key, value in ((b"uid", entry.uid), (b"gid", entry.gid)) if value > LARGEST_ID]
    if fraction or not 0 <= seconds <= LARGEST:
        more.append((b"mtime", _decimal(entry.mtime)))
    more += [(XATTR + key, value) for key, value in sorted(entry.xattrs)]
    block = _block(
        entry.kind,
        name[:LONGEST],
        entry.link[:LONGEST],
        entry.mode,
        (entry.uid if entry.uid <= LARGEST_ID else 0, entry.gid if entry.gid <= LARGEST_ID else 0),
        size if size <= LARGEST else 0,
        min(max(seconds, 0), LARGEST),
        (entry.major, entry.minor) if entry.kind in DEVICES else (0, 0),
    )
    return _pax(more) + block if more else block


def filling(size: int) -> bytes:
    """What fills the last block of so many bytes."""
    return bytes(-size % BLOCK)


def _pax(records: list[tuple[bytes, bytes]]) -> bytes:
    content = b"".join(_record(key, value) for key, value in records)
    block = _block(PAX, b"././@PaxHeader", b"", 0o644, (0, 0), len(content), 0, (0, 0))
    return block + content + filling(len(content))


def _record(key: bytes, value: bytes) -> bytes:
    """`LENGTH KEY=VALUE\\n`, whose length counts its own digits."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + len(str(len(rest)))
    length = len(rest) + len(str(length))
    return b"%d" % length + rest


def _decimal(nanoseconds: int) -> bytes:
    seconds, fraction = divmod(abs(nanoseconds), SECOND)
    sign = "-" if nanoseconds < 0 else ""
    return f"{sign}{seconds}.{fraction:09}".rstrip("0").rstrip(".").encode()


def _block(
    kind: bytes,
    name: bytes,
    link: bytes,
    mode: int,
    owner: tuple[int, int],
    size: int,
    mtime: int,
    device: tuple[int, int],
) -> bytes:
    numbers = b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (mode, *owner, size, mtime)
    start = name.ljust(LONGEST, b"\0") + numbers
    end = kind + link.ljust(LONGEST, b"\0") + b"ustar\x0000" + bytes(64) + b"%07o\0%07o\0" % device + bytes(155)
    total = sum(start) + sum(end) + 8 * ord(" ")
    return (start + b"%06o\0 " % total + end).ljust(BLOCK, b"\0")
