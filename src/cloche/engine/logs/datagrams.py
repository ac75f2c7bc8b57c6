"""The writers that send each line on: to systemd's journal, with docker's fields, and to the machine's syslog.

An entry is one datagram: to the journal lines of FIELD=VALUE, or FIELD, its length and any bytes (systemd, "Native
Journal Protocol"); to syslog <priority>time tag[pid]: text, as docker's driver has it. All containers share one socket.
Whoever does not keep up is waited for a moment only, since one writer's wait is that of every container; what is lost
so is counted, and told when there is room again.
"""

from __future__ import annotations

import _socket
import posix as os
import time

from cloche.engine.logs.options import attributes_of, facility_of, tag_of
from cloche.engine.logs.records import Clock, cut
from cloche.engine.logs.writers import Writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.engine.logs.writers import Facts

PLACES = {"journald": "/run/systemd/journal/socket", "syslog": "/dev/log"}
PATIENCE = 0.2  # seconds that one entry waits for a reader who does not keep up
HURRY = 5.0  # seconds in which no other does, after that,
SHORT = 0.02  # but for so long, when the one before was taken
PRIORITIES = {"stdout": 6, "stderr": 3}  # syslog.h: LOG_INFO, LOG_ERR
LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
CLOCK = Clock()


class Datagrams(Writer):
    """The drivers journald and syslog."""

    __slots__ = ("fields", "head", "journal", "lost", "ordinals", "pending", "place", "tag", "total")

    def __init__(self, driver: str, options: dict[str, str], container: Facts) -> None:
        self.place, self.journal = PLACES[driver], driver == "journald"
        self.tag = tag_of(options, container, "{{.ID}}").encode()
        self.head = {stream: facility_of(options) << 3 | number for stream, number in PRIORITIES.items()}
        self.fields = _fields(container, self.tag, attributes_of(options, container)) if self.journal else b""
        self.pending: dict[str, bytes] = {}
        self.ordinals: dict[str, int] = {}
        self.lost = self.total = 0

    def write(self, stream: str, data: bytes, now_ns: int) -> None:
        """Send the lines that are whole, and pieces of those that are longer than docker sends at once."""
        if pending := self.pending.pop(stream, b""):
            data = pending + data
        parts, rest = cut(data)
        if rest < len(data):
            self.pending[stream] = data[rest:]
        for start, end in parts:
            if data[end - 1] == 10:
                for line in data[start : end - 1].split(b"\n"):
                    self._send(stream, line, now_ns, last=True)
            else:
                self._send(stream, data[start:end], now_ns, last=False)

    def unfinished(self, stream: str) -> bytes:
        """What waits for the end of its line."""
        return self.pending.get(stream, b"")

    def flush(self, now_ns: int) -> None:
        """Send what waits for the end of its line."""
        for stream, data in self.pending.items():
            self._send(stream, data, now_ns, last=False)
        self.pending.clear()

    def close(self) -> None:
        """Nothing is held that is this container's alone."""

    def _send(self, stream: str, line: bytes, now_ns: int, *, last: bool) -> None:
        if self.lost:
            note = f"cloche: {self.lost} bytes lost: {self.place} did not take them".encode()
            if not _post.deliver(self.place, self._entry("stderr", note, now_ns, b"")):
                self._miss(len(line) + last)
                return
            self.lost = 0
        if not _post.deliver(self.place, self._entry(stream, line, now_ns, self._part(stream, last=last))):
            self._miss(len(line) + last)

    def _miss(self, count: int) -> None:
        self.lost, self.total = self.lost + count, self.total + count

    def losses(self) -> int:
        """How many bytes of what was said were not taken."""
        return self.total

    def cause(self) -> str:
        """Who did not take them."""
        return f"{self.place} did not take them" if self.total else ""

    def _part(self, stream: str, *, last: bool) -> bytes:
        """The fields of a line that is not sent at once."""
        ordinal = self.ordinals.pop(stream, 0)
        if last and not ordinal:
            return b""
        if not last:
            self.ordinals[stream] = ordinal + 1
        more = b"CONTAINER_PARTIAL_ORDINAL=%d\nCONTAINER_PARTIAL_LAST=%s\n" % (
            ordinal + 1,
            b"true" if last else b"false",
        )
        return more if last else b"CONTAINER_PARTIAL_MESSAGE=true\n" + more

    def _entry(self, stream: str, line: bytes, now_ns: int, part: bytes) -> bytes:
        if not self.journal:
            stamp = time.strftime("%b %e %H:%M:%S", time.localtime(now_ns // 1_000_000_000)).encode()
            return b"<%d>%s %s[%d]: %s" % (self.head[stream], stamp, self.tag, os.getpid(), line)
        stamp = b"SYSLOG_TIMESTAMP=%s\n" % CLOCK.spell(now_ns)
        return b"PRIORITY=%d\n" % PRIORITIES[stream] + self.fields + stamp + part + _field("MESSAGE", line)


def _fields(container: Facts, tag: bytes, attributes: dict[str, str]) -> bytes:
    """What every entry of the journal says of the container, as docker's does."""
    fields = {
        "CONTAINER_ID": container.id[:12],
        "CONTAINER_ID_FULL": container.id,
        "CONTAINER_NAME": container.name,
        "IMAGE_NAME": container.image,
    }
    fields |= {_name(name): value for name, value in attributes.items() if name != "tag"}
    texts = [_field(name, value.encode(errors="surrogateescape")) for name, value in fields.items()]
    return b"".join([*texts, _field("CONTAINER_TAG", tag), _field("SYSLOG_IDENTIFIER", tag)])


def _name(label: str) -> str:
    """What a label is called in the journal: capital letters, digits and underscores, and none of these first."""
    name = "".join(letter if letter in LETTERS else "_" for letter in label.upper()).lstrip("_0123456789")
    return name[:64] or "LABEL"


def _field(name: str, value: bytes) -> bytes:
    if b"\n" in value:
        return name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
    return name.encode() + b"=" + value + b"\n"


class _Post:
    """The socket that all writers share, and until when nobody is waited for, since somebody did not keep up."""

    def __init__(self) -> None:
        self.socket: _socket.socket | None = None
        self.hurried = 0.0
        self.taken = True  # the last one

    def deliver(self, place: str, entry: bytes) -> bool:
        """Send an entry; returns whether it was taken."""
        now = time.monotonic()
        in_hurry = now < self.hurried
        try:
            if self.socket is None:
                self.socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
            self.socket.settimeout((SHORT if self.taken else 0.0) if in_hurry else PATIENCE)
            self.socket.sendto(entry, place)
            self.taken = True
        except (BlockingIOError, TimeoutError):
            self.taken = False
            if not in_hurry:
                self.hurried = now + HURRY
        except OSError:
            self.taken = False  # nobody listens, or there is no room for one more descriptor
        return self.taken


_post = _Post()
