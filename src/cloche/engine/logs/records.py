"""Records of a log file, as docker's json-file has them, one a line; pure.

    {"log":"a line\\n","stream":"stdout","time":"2024-01-31T12:00:00.123456789Z"}
    {"log":"the beginning of a long li","stream":"stdout","attrs":{"label":"value"},"time":"…"}
    {"log":"caf\\ufffd\\n","stream":"stderr","time":"…","raw":"Y2Fm6Qo="}

A line without its end, or longer than LONGEST bytes, comes in several records, of which only the last ends in \\n.
JSON has no bytes that are not UTF-8: where there are any, `log` has the character U+FFFD for each, as docker writes it,
and `raw` is all of it in base64, which other readers pass over.

Everything is done to many lines at once, since the supervisor is to keep up with any container: a chunk is searched
and replaced as a whole, and only lines that are not UTF-8 are looked at one by one.
"""

from __future__ import annotations

import time
from binascii import a2b_base64, b2a_base64

try:
    from _json import encode_basestring, scanstring
except ImportError:  # pragma: no cover - no CPython, or one that changed it
    from json.decoder import scanstring  # type: ignore[attr-defined, no-redef]
    from json.encoder import encode_basestring

from cloche.errors import SpecError
from cloche.spec.reader import read_json, write_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST = 16384  # docker's: what it reads at once
START = b'{"log":"'
END = b'\\n","stream":"'
WINDOW = 4096  # bytes in which more of the same is looked for at first
# all that a string of JSON takes as it is, and the end of a line, which always becomes that of a record
PLAIN = bytes(byte for byte in range(256) if byte >= 0x20 and byte not in b'"\\') + b"\n"
SPELLED = {8: b"\\b", 9: b"\\t", 12: b"\\f", 13: b"\\r"}


class Clock:
    """Times as text; a second is spelled once."""

    __slots__ = ("second", "text")

    def __init__(self) -> None:
        self.second, self.text = -1, b""

    def spell(self, now_ns: int) -> bytes:
        """RFC 3339, to the nanosecond."""
        second, rest = divmod(now_ns, 1_000_000_000)
        if second != self.second:
            self.second, self.text = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()
        return b"%s.%09dZ" % (self.text, rest)


def parse_time(text: str) -> int:
    """Nanoseconds since 1970 of a time of RFC 3339. Raises ValueError."""
    date, zone = text[:19], text[19:]
    second = _seconds(date)
    digits = ""
    if zone.startswith("."):
        digits = zone[1 : len(zone) - len(zone[1:].lstrip("0123456789"))]
        zone = zone[1 + len(digits) :]
    if zone not in {"Z", "z"}:
        if len(zone) != 6 or zone[0] not in "+-" or zone[3] != ":":
            raise ValueError(text)
        ahead = 3600 * _number(zone[1:3]) + 60 * _number(zone[4:6])
        second -= ahead if zone[0] == "+" else -ahead
    return second * 1_000_000_000 + int(digits[:9].ljust(9, "0"))


_known: list[object] = ["", 0]  # the last second that was read, since many records have the same


def _seconds(date: str) -> int:
    if date != _known[0]:
        parts = date[:4], date[5:7], date[8:10], date[11:13], date[14:16], date[17:19]
        if date[4::3] != "--T::" and date[4::3] != "--t::" and date[4::3] != "-- ::":
            raise ValueError(date)
        year, month, day, hour, minute, second = map(_number, parts)
        _known[:] = date, days_since_1970(year, month, day) * 86400 + hour * 3600 + minute * 60 + second
    return _known[1]  # type: ignore[return-value]


def _number(text: str) -> int:
    if not text.isdigit():
        raise ValueError(text)
    return int(text)


def days_since_1970(year: int, month: int, day: int) -> int:
    """Days of the Gregorian calendar. Raises ValueError for a month or day that is none."""
    if not (1 <= month <= 12 and 1 <= day <= 31):
        raise ValueError(f"{year}-{month}-{day}")
    # years begin with March here, so that the day that is not always there is the last
    years, months = year - (month < 3), (month + 9) % 12
    return 365 * years + years // 4 - years // 100 + years // 400 + (306 * months + 5) // 10 + day - 719469


def cut(data: bytes) -> tuple[list[tuple[int, int]], int]:
    """Where records end in what was read: ([(start, end), …], start of a line that may still go on).

    A part either holds whole lines, or is a piece of a long one and does not end in a newline.
    """
    parts: list[tuple[int, int]] = []
    start = at = 0
    size = len(data)
    while size - at >= LONGEST:
        newline = data.rfind(b"\n", at, at + LONGEST)
        if newline >= 0:
            at = newline + 1
            continue
        if start < at:
            parts.append((start, at))
        start, at = at, _boundary(data, at, at + LONGEST)
        parts.append((start, at))
        start = at
    at = data.rfind(b"\n", at) + 1 or at
    if start < at:
        parts.append((start, at))
    return parts, at


def _boundary(data: bytes, start: int, end: int) -> int:
    """`end`, or a little before it, where it would fall into the middle of a character of UTF-8."""
    for back in range(1, 4):
        byte = data[end - back]
        if 0xC0 <= byte < 0xF8:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return end - back if length > back and end - back > start else end
        if not 0x80 <= byte < 0xC0:
            break
    return end


def middle_of(stream: str, attributes: dict[str, str]) -> bytes:
    """What stands between the text and the time in a record of this stream."""
    more = f',"attrs":{write_json(attributes)}' if attributes else ""
    return f'","stream":"{stream}"{more}'.encode()


def encode(data: bytes, middle: bytes, stamp: bytes) -> bytes:
    """Records of whole lines, or of a piece of one: `middle` is what follows the text, `stamp` the time.

    >>> encode(b"a\\nb\\n", b'","stream":"stdout"', b"…")
    b'{"log":"a\\\\n","stream":"stdout","time":"…"}\\n{"log":"b\\\\n","stream":"stdout","time":"…"}\\n'
    """
    end = b'%s,"time":"%s"}\n' % (middle, stamp)
    if not data.isascii():
        try:
            str(data, "utf-8")
        except UnicodeDecodeError:
            return _encode_odd(data, end)
    return _join(_escape(data), end)


def _join(text: bytes, end: bytes) -> bytes:
    if not text.endswith(b"\n"):
        return START + text.replace(b"\n", b"\\n" + end + START) + end
    return START + text[:-1].replace(b"\n", b"\\n" + end + START) + b"\\n" + end


def _escape(data: bytes) -> bytes:
    """The inside of a string of JSON; newlines are left as they are."""
    left = data.translate(None, PLAIN)
    if left:
        found = set(left)
        for byte in sorted(found, reverse=True):  # a backslash first, since the others are spelled with one
            spelled = SPELLED.get(byte) or (b"\\%c" % byte if byte >= 0x20 else b"\\u%04x" % byte)
            data = data.replace(b"%c" % byte, spelled)
    return data


def _encode_odd(data: bytes, end: bytes) -> bytes:
    """The same for what has bytes in it that are not UTF-8: lines that are go on together."""
    out: list[bytes] = []
    good: list[bytes] = []
    for line in _lines(data):
        if not line.isascii():
            text = str(line, "utf-8", "replace")
            if "\ufffd" in text:
                if good:
                    out.append(_join(_escape(b"".join(good)), end))
                    good = []
                raw = b2a_base64(line, newline=False)
                out.append(b'{"log":%s%s,"raw":"%s"}\n' % (encode_basestring(text).encode(), end[1:-2], raw))
                continue
        good.append(line)
    if good:
        out.append(_join(_escape(b"".join(good)), end))
    return b"".join(out)


class Record:
    """What was said at one time to one stream: the text of one record, or of several that follow each other.

    `attributes` are what --details shows.
    """

    __slots__ = ("attributes", "stream", "text", "time_ns")

    def __init__(self, text: bytes, stream: str, time_ns: int, attributes: dict[str, str]) -> None:
        self.text, self.stream, self.time_ns, self.attributes = text, stream, time_ns, attributes


def decode(line: bytes) -> Record | None:
    """What a line of a file says; None for half a record, or what is none at all."""
    try:
        raw = read_json(line)
        if not isinstance(raw, dict):
            return None
        text = raw.get("log", "")
        said = a2b_base64(raw["raw"]) if "raw" in raw else text.encode("utf-8", "surrogatepass")
        attributes = raw.get("attrs") or {}
        return Record(said, str(raw.get("stream", "")), parse_time(str(raw.get("time", ""))), dict(attributes))
    except (SpecError, ValueError, TypeError, AttributeError):
        return None


def decode_all(data: bytes) -> Iterator[tuple[int, Record | None]]:
    """What whole lines of a file say, and where each ends in `data`.

    Lines that came together have the same end, and are read together: they are one string of JSON once what stands
    between them is a newline. Where that is no string, there was something else among them.
    """
    at, size, mixed = 0, len(data), 0
    while at < size:
        last = data.index(b"\n", at) + 1
        if at >= mixed and (together := _last_alike(data, at, last)):
            record = _decode_together(data[at:together], data[data.rindex(END, at, last) : last])
            if record is not None:
                yield together, record
                at = together
                continue
            mixed = together
        yield last, decode(data[at : last - 1])
        at = last


def _last_alike(data: bytes, start: int, last: int) -> int:
    """Where the last line ends that seems to have come with the one between these, 0 for none."""
    quote = data.rfind(END, start, last)
    if quote < 0 or not data.startswith(START, start):
        return 0
    end, first, window = data[quote:last], last, WINDOW
    while (found := data.rfind(end, last, start + window)) >= 0:
        last, window = found + len(end), 4 * window
    return last if last > first else 0


def _decode_together(data: bytes, end: bytes) -> Record | None:
    record = decode(START + end[:-1])
    if record is None or record.text != b"\n":
        return None
    last, length = end[:-1], 1 - len(end)
    lines = data.split(b"\n")
    lines.pop()
    texts = [line[8:length] for line in lines if line.endswith(last) and line.startswith(START)]
    texts.append(b'"')
    try:
        string = '"' + str(b"\\n".join(texts), "utf-8")
        text, used = scanstring(string, 1)
    except (ValueError, SystemError):  # SystemError: where json.decoder is not loaded, it finds no exception to raise
        return None
    if used != len(string) or len(texts) != len(lines) + 1:
        return None
    record.text = text.encode("utf-8", "surrogatepass")
    return record


def payload(records: bytes) -> int:
    """How many bytes of what was said are in these records."""
    return sum(len(record.text) for record in map(decode, records.splitlines()) if record is not None)


def _lines(data: bytes) -> Iterator[bytes]:
    lines = data.split(b"\n")
    last = lines.pop()
    for line in lines:
        yield line + b"\n"
    if last:
        yield last
