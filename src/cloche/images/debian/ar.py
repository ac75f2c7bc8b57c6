"""A .deb: an archive of ar(5) with two tars in it (deb(5)).

"!<arch>\\n"
struct ar_hdr { char ar_name[16], ar_date[12], ar_uid[6], ar_gid[6], ar_mode[8], ar_size[10], ar_fmag[2]; }
debian-binary "2.0\\n", control.tar[.gz|.xz|.zst], data.tar[.gz|.xz|.zst|.bz2]; _… is to be skipped
"""

from __future__ import annotations

from cloche.images.unpack.tar import BadArchive
from cloche.records import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MAGIC, HEADER, END = b"!<arch>\n", 60, b"`\n"
MOST = 20  # members


@record
class Part:
    """Where a member is."""

    name: str
    offset: int
    size: int


def parse_deb(read: Callable[[int, int], bytes], length: int) -> tuple[Part, Part]:
    """The control and the data of a .deb; `read` gives (size, offset) of it. Raises BadArchive."""
    parts = _parts(read, length)
    if not parts or parts[0].name != "debian-binary" or read(min(parts[0].size, 64), parts[0].offset)[:2] != b"2.":
        raise BadArchive("is no package of Debian's format 2")
    own = [part for part in parts[1:] if not part.name.startswith("_")]
    if len(own) < 2 or not _is(own[0], "control.tar") or not _is(own[1], "data.tar"):
        raise BadArchive("has no control.tar and data.tar, in this order")
    return own[0], own[1]


def _is(part: Part, name: str) -> bool:
    return part.name == name or part.name.startswith(name + ".")


def _parts(read: Callable[[int, int], bytes], length: int) -> list[Part]:
    if read(len(MAGIC), 0) != MAGIC:
        raise BadArchive("is no archive of ar")
    found: list[Part] = []
    at = len(MAGIC)
    while at < length:
        header = read(HEADER, at)
        size = header[48:58].rstrip(b" ")
        if len(header) != HEADER or header[58:] != END or not size.isdigit() or len(found) >= MOST:
            raise BadArchive("is no good archive of ar")
        at += HEADER
        if at + int(size) > length:
            raise BadArchive("ends in the middle")
        name = header[:16].rstrip(b" ").removesuffix(b"/")
        found.append(Part(name.decode("ascii", "replace"), at, int(size)))
        at += int(size) + int(size) % 2
    return found
