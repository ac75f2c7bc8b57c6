"""Reading tar: ustar, pax and GNU's (tar(5); POSIX pax, "ustar Interchange Format"; GNU tar, "Basic Tar Format").

    struct posix_header { char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], chksum[8], typeflag,
                          linkname[100], magic[6], version[2], uname[32], gname[32], devmajor[8], devminor[8],
                          prefix[155]; }                                              a block of 512 bytes

Names are bytes here, whatever their encoding. What does not belong here: what to make of an entry (see `apply`).
"""

from __future__ import annotations

import struct
import zlib

from cloche.errors import ClocheError
from cloche.records import rebuild, record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BLOCK = 512
HEADER = struct.Struct("100s 8s 8s 8s 12s 12s 8s c 100s 8s 32s 32s 8s 8s 155s 12x")
FILE, HARD_LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
DEVICES = (CHARACTER, BLOCK_DEVICE)
WITHOUT_DATA = frozenset({HARD_LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO})
AS_FILE = frozenset({FILE, b"\0", b"7", b"S"})
GNU = b"  \0"  # how its magic ends
LONGEST_HEADER = 1 << 20  # of pax and long names, of one entry
LONGEST_GLOBALS = 1 << 16
LARGEST_ATTRIBUTE, LONGEST_ATTRIBUTE = 1 << 16, 255  # its value and its name (linux/limits.h, XATTR_*_MAX)
NOBODY = (1 << 32) - 1  # as an id it means "no change"
LAST_MAJOR, LAST_MINOR = (1 << 12) - 1, (1 << 20) - 1  # include/linux/kdev_t.h
LONGEST_NAME = 4095
MOST_PIECES = 1 << 20  # of a sparse file
LONGEST_NUMBER = 20  # digits
ADLER = 65521  # what its sums are counted by
XATTR = b"SCHILY.xattr."


class BadArchive(ClocheError):
    """The archive is none, or broken, or up to something."""


@record
class Entry:
    """A member of an archive.

    `mtime` is in nanoseconds since 1970, `size` the bytes of the file, which has only those of `pieces` (offset,
    length) where it is sparse.
    """

    kind: bytes
    name: bytes
    link: bytes = b""
    mode: int = 0
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0
    major: int = 0
    minor: int = 0
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    pieces: tuple[tuple[int, int], ...] | None = None


class Stream:
    """Bytes that come in chunks, taken in pieces; `source` returns b"" at the end."""

    def __init__(self, source: Callable[[], bytes]) -> None:
        self._source = source
        self._chunk = b""
        self._at = 0
        self._ended = False

    def take(self, length: int) -> bytes:
        """Exactly so many bytes. Raises BadArchive when there are fewer."""
        at = self._at
        if at + length <= len(self._chunk):
            self._at = at + length
            return self._chunk[at : at + length]
        found = bytearray()
        while len(found) < length:
            found += self.part(length - len(found))
        return bytes(found)

    def part(self, length: int) -> memoryview:
        """As many of the next bytes, up to `length`, as lie together in memory; at least one."""
        if self.at_end():
            raise BadArchive("ends in the middle")
        at = self._at
        part = memoryview(self._chunk)[at : at + length]
        self._at = at + len(part)
        return part

    def skip(self, length: int) -> None:
        """Go on behind the next bytes."""
        while length:
            length -= len(self.part(length))

    def skip_filling(self, length: int) -> None:
        """Go on behind what fills a block; some leave that out behind the last entry."""
        while length and not self.at_end():
            length -= len(self.part(length))

    def drain(self) -> None:
        """Read to the end, since a digest is of all of it: what comes after the last entry is filling."""
        while not self.at_end():
            self._at = len(self._chunk)

    def at_end(self) -> bool:
        """Whether nothing is left. A source that has ended is not asked again: it may wait for ever."""
        if self._at == len(self._chunk) and not self._ended:
            self._chunk, self._at = self._source(), 0
            self._ended = not self._chunk
        return self._at == len(self._chunk)


class Archive:
    """The entries of a tar, one after the other.

    After `next`, `content` and `take` give the data of the entry; what is not read of it is skipped.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._left = 0  # bytes of the current entry not read yet, with what fills its last block
        self._filling = 0
        self._globals: dict[bytes, bytes] = {}
        self._headers = 0  # bytes of the headers in front of the current entry

    def next(self) -> Entry | None:
        """The next entry, None at the end. Raises BadArchive."""
        if self._left:
            self.stream.skip(self._left)
        if self._filling:
            self.stream.skip_filling(self._filling)
        self._left = self._filling = 0
        own: dict[bytes, bytes] = {}
        sparse: list[tuple[bytes, bytes]] = []
        name = link = b""
        self._headers = 0
        while True:
            if self.stream.at_end():
                return None  # without the two blocks of zeros, which many leave out
            block = self.stream.take(BLOCK)
            if block[0] == 0 and not block.strip(b"\0"):
                self.stream.drain()
                return None
            _check_sum(block)
            kind = block[156:157]
            if kind in b"xgXLK" and kind:
                content = self._header(block)
                if kind == b"L":
                    name = content.rstrip(b"\0")
                elif kind == b"K":
                    link = content.rstrip(b"\0")
                elif kind == b"g":
                    self._globals.update(_pax(content, []))
                    if sum(len(key) + len(value) for key, value in self._globals.items()) > LONGEST_GLOBALS:
                        raise BadArchive("has too much in headers for all files")
                else:
                    own.update(_pax(content, sparse))
                continue
            if kind == b"V":
                continue
            if self._globals:
                own = {**self._globals, **own}
            return self._entry(block, own, sparse, name, link)

    def content(self) -> Iterator[memoryview]:
        """The data of the current entry, in pieces as they lie in memory."""
        while self._left:
            part = self.stream.part(self._left)
            self._left -= len(part)
            yield part

    def take(self, length: int) -> bytes:
        """So many bytes of the data of the current entry."""
        if length > self._left:
            raise BadArchive("has a file that is shorter than it says")
        self._left -= length
        return self.stream.take(length)

    def _header(self, block: bytes) -> bytes:
        size = number(block[124:136])
        self._headers += size
        if size < 0 or self._headers > LONGEST_HEADER:
            raise BadArchive(f"has a header of {size} bytes")
        content = self.stream.take(size)
        self.stream.skip(-size % BLOCK)
        return content

    def _entry(
        self, block: bytes, pax: dict[bytes, bytes], sparse: list[tuple[bytes, bytes]], name: bytes, link: bytes
    ) -> Entry:
        own, mode, uid, gid, size, mtime, _, kind, target, magic, _, _, major, minor, prefix = HEADER.unpack(block)
        if not name:
            name = own.partition(b"\0")[0]
            if prefix[0] and magic[:5] == b"ustar" and magic[5:] != GNU:  # which has other things there
                name = prefix.partition(b"\0")[0] + b"/" + name
        link = link or target.partition(b"\0")[0]
        size, uid, gid, mtime = number(size), number(uid), number(gid), number(mtime) * 10**9
        xattrs: tuple[tuple[bytes, bytes], ...] = ()
        if pax:
            name, link = pax.get(b"path", name), pax.get(b"linkpath", link)
            size, uid, gid = (
                _decimal(pax[key]) if key in pax else value
                for key, value in ((b"size", size), (b"uid", uid), (b"gid", gid))
            )
            if b"mtime" in pax:
                mtime = _nanoseconds(pax[b"mtime"])
            xattrs = _attributes(pax)
        if size < 0:
            raise BadArchive("has a file of less than 0 bytes")
        self._left = 0 if kind in WITHOUT_DATA else size  # links say the size of what they lead to
        self._filling = -self._left % BLOCK
        pieces = None
        if kind == b"S":
            size, pieces = self._old_sparse(block)
        elif pax and any(key.startswith(b"GNU.sparse.") for key in pax):
            name = pax.get(b"GNU.sparse.name", name)
            size, pieces = self._pax_sparse(pax, sparse, size)
        if kind not in WITHOUT_DATA:
            kind = _kind_of_file(kind, name)
        major, minor = (number(major), number(minor)) if kind in DEVICES else (0, 0)
        if not (0 <= uid < NOBODY and 0 <= gid < NOBODY):
            raise BadArchive(f"has a file of user {uid} and group {gid}, who cannot be")
        if not (0 <= major <= LAST_MAJOR and 0 <= minor <= LAST_MINOR):
            raise BadArchive(f"has a device {major}:{minor}, which cannot be")
        if b"\0" in name or b"\0" in link:
            raise BadArchive("has a name with a NUL byte in it")
        if len(name) > LONGEST_NAME or len(link) > LONGEST_NAME:
            raise BadArchive("has a name longer than any path can be")
        mode = number(mode) & 0o7777
        return rebuild(Entry, (kind, name, link, mode, uid, gid, size, mtime, major, minor, xattrs, pieces))

    def _old_sparse(self, block: bytes) -> tuple[int, tuple[tuple[int, int], ...]]:
        """GNU's type S: four pieces in the header, 21 in each block that follows it."""
        found: list[tuple[int, int]] = []
        table, more = block[386:482], block[482]
        while True:
            for at in range(0, len(table), 24):
                if not table[at : at + 24].strip(b"\0"):
                    break
                found.append((number(table[at : at + 12]), number(table[at + 12 : at + 24])))
            if not more:
                break
            if len(found) > MOST_PIECES:
                raise BadArchive("has a file in too many pieces")
            following = self.stream.take(BLOCK)
            table, more = following[:504], following[504]
        return _checked(number(block[483:495]), found, self._left)

    def _pax_sparse(
        self, pax: dict[bytes, bytes], sparse: list[tuple[bytes, bytes]], size: int
    ) -> tuple[int, tuple[tuple[int, int], ...]]:
        """GNU's formats 0.0 (repeated members), 0.1 (one member), and 1.0 (in front of the data)."""
        real = _decimal(pax.get(b"GNU.sparse.realsize", pax.get(b"GNU.sparse.size", str(size).encode())))
        if pax.get(b"GNU.sparse.major") == b"1":
            numbers = self._numbers()
        elif b"GNU.sparse.map" in pax:
            numbers = [_decimal(item) for item in pax[b"GNU.sparse.map"].split(b",") if item]
        else:
            numbers = [
                _decimal(value) for key, value in sparse if key in {b"GNU.sparse.offset", b"GNU.sparse.numbytes"}
            ]
        if len(numbers) % 2:
            raise BadArchive("has a sparse file whose map makes no sense")
        return _checked(real, list(zip(numbers[::2], numbers[1::2], strict=True)), self._left)

    def _numbers(self) -> list[int]:
        found: list[int] = []
        rest = b""
        while len(rest) <= LONGEST_NUMBER:
            *lines, rest = (rest + self.take(BLOCK)).split(b"\n")
            for line in lines:
                found.append(_decimal(line))
                if found[0] > MOST_PIECES:
                    raise BadArchive("has a file in too many pieces")
                if len(found) == 1 + 2 * found[0]:
                    return found[1:]
        raise BadArchive("has a sparse file whose map makes no sense")


def _kind_of_file(kind: bytes, name: bytes) -> bytes:
    """FILE, or what else an entry with data is. Raises BadArchive."""
    if kind == b"D" or (kind != b"S" and name.endswith(b"/")):
        return DIRECTORY  # as GNU's incremental tars, and those from before POSIX, have them
    if kind == b"M":
        raise BadArchive("is one of several volumes")
    return FILE if kind in AS_FILE else kind


def number(field: bytes) -> int:
    """A number of a header: octal digits, or base 256 (GNU). Raises BadArchive."""
    if field[-1] == 0:
        try:
            return int(field[:-1], 8)  # as nearly all are
        except ValueError:
            pass
    if field[0] >= 0x80:
        value = int.from_bytes(field, "big")
        return value - (1 << (8 * len(field))) if field[0] == 0xFF else value & ~(0x80 << (8 * (len(field) - 1)))
    text = field.split(b"\0", 1)[0].strip(b" ")
    if not text:
        return 0
    try:
        return int(text, 8)
    except ValueError:
        raise BadArchive(f"has {field[:24]!r} where a number should be") from None


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > LONGEST_NUMBER:
        raise BadArchive(f"has {text[:24]!r} where a number should be")
    return int(text)


def _nanoseconds(text: bytes) -> int:
    """Seconds with a fraction, exactly."""
    whole, _, fraction = text.partition(b".")
    digits = whole.removeprefix(b"-")
    if not digits.isdigit() or len(digits) > 18 or (fraction and not fraction.isdigit()):
        raise BadArchive(f"has {text[:24]!r} where a time should be")
    value = int(digits) * 10**9 + int(fraction[:9].ljust(9, b"0") or b"0")
    return -value if whole.startswith(b"-") else value


def _pax(content: bytes, sparse: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """The members of a pax header: "LENGTH KEY=VALUE\n"; those of sparse files that repeat go to `sparse`."""
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(content):
        space = content.find(b" ", at, at + 12)
        digits = content[at:space]
        if space < 0 or not digits.isdigit():
            raise BadArchive("has a pax header that is none")
        end = at + int(digits)
        key, equals, value = content[space + 1 : end - 1].partition(b"=")
        if end <= space or end > len(content) or content[end - 1 : end] != b"\n" or not equals or not key:
            raise BadArchive("has a pax header that is none")
        if key in {b"GNU.sparse.offset", b"GNU.sparse.numbytes"}:
            sparse.append((key, value))
        if value or key not in found:
            found[key] = value
        if not value and not key.startswith(XATTR):
            del found[key]  # as if it were not there (POSIX pax, "Keyword Precedence")
        at = end
    return found


def _attributes(pax: dict[bytes, bytes]) -> tuple[tuple[bytes, bytes], ...]:
    """Extended attributes, without those that no file can have."""
    found = ((key[len(XATTR) :], value) for key, value in pax.items() if key.startswith(XATTR))
    return tuple(
        (name, value)
        for name, value in found
        if 0 < len(name) <= LONGEST_ATTRIBUTE and len(value) <= LARGEST_ATTRIBUTE and b"\0" not in name
    )


def _check_sum(block: bytes) -> None:
    """Whether the bytes of a header add up to what it says, its own eight counted as spaces. Raises BadArchive."""
    field = block[148:156]
    try:
        said = number(field)
    except BadArchive:
        raise BadArchive("is no tar, or broken: a header has no checksum") from None
    # the lower half of Adler-32 is one more than the sum of all bytes (RFC 1950), ten times as fast as sum()
    if (said + sum(field) - 255) % ADLER == zlib.adler32(block) & 0xFFFF:
        return
    signed = sum(byte - 256 if byte > 127 else byte for byte in block[:148] + b" " * 8 + block[156:])
    if said != signed:  # as some old ones counted
        raise BadArchive("is no tar, or broken: a header has another checksum")


def _checked(size: int, pieces: list[tuple[int, int]], stored: int) -> tuple[int, tuple[tuple[int, int], ...]]:
    """Pieces in order, inside the file, as long together as what is stored."""
    end = total = 0
    for offset, length in pieces:
        if offset < end or length < 0:
            raise BadArchive("has a sparse file whose pieces overlap")
        end = offset + length
        total += length
    if end > size or total > stored:
        raise BadArchive("has a sparse file whose pieces are not in it")
    return size, tuple(piece for piece in pieces if piece[1])
