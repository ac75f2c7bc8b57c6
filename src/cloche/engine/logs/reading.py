"""From the files of a log back to what was said: all of it, the end of it, and what is said from now on.

    names move while somebody reads (files.py), so files are known by their inodes:

    ID-json.log.2.gz ─► ID-json.log.1 ─► ID-json.log        read to their ends, the oldest first;
         held open            held open       held open     where the last one is no longer called ID-json.log,
                                                            those that came after it are opened, and it goes on there

A reader takes no lock and is seen by no writer: who is slow reads files that have lost their names meanwhile. Only
whole records are read, so a record that is just being written, or is taken back for want of room, is read later.
"""

from __future__ import annotations

import posix as os
from collections import deque

from cloche.engine.logs.compressing import HEADER, inode_of
from cloche.engine.logs.files import log_path
from cloche.engine.logs.records import Record, decode, decode_all, parse_time
from cloche.linux.files import Fd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PIECE = 1 << 18  # bytes that are looked at together
PACKED = 1 << 14  # the same of what is compressed
TRIES = 50
LATE = 2_000_000_000  # nanoseconds by which a file may be older than the times in it
NEVER = 1 << 63


class Log:
    """The log of one container, from where it was read to. `close` it at the end."""

    def __init__(self, folder: str, container_id: str, *, since_ns: int = 0, until_ns: int = NEVER) -> None:
        self.path = log_path(folder, container_id)
        self.since, self.until = since_ns, until_ns
        self.files = _snapshot(self.path)
        self.ended = False

    def skip_to_tail(self, lines: int) -> None:
        """Go to where the last so many lines begin; a line without its end counts as one."""
        newest, left = True, lines
        for index in range(len(self.files) - 1, -1, -1):
            file = self.files[index]
            ends = file.ends(left + 1)
            if newest and file.end:
                newest = False
                if not lines:
                    self._begin(index, file.end)
                    return
                left -= not ends or ends[0] < file.end
            if len(ends) > left:
                self._begin(index, ends[left])
                return
            left -= len(ends)

    def _begin(self, index: int, offset: int) -> None:
        for file in self.files[:index]:
            file.close()
        del self.files[:index]
        self.files[0].at = offset

    def records(self) -> Iterator[Record]:
        """All that is there now and was not read before, between the times asked for."""
        for record in self._all():
            if record.time_ns < self.since:
                continue
            if record.time_ns > self.until:
                self.ended = True
                return
            yield record

    def _all(self) -> Iterator[Record]:
        if not self.files:
            self.files = _snapshot(self.path)
        while self.files:
            file = self.files[0]
            if not file.is_before(self.since):
                yield from file.records()
            if len(self.files) == 1:
                if not self._is_rotated(file):
                    return
                yield from file.records()  # what was written before it was
                self.files += self._newer(file)
                if len(self.files) == 1:
                    return
            self.files.pop(0).close()

    def _is_rotated(self, file: _File) -> bool:
        try:
            return os.stat(self.path).st_ino != file.inode
        except FileNotFoundError:
            return False  # there will be another, or it was removed

    def _newer(self, file: _File) -> list[_File]:
        """The files that came after one that is held open; where it has been dropped, all there are."""
        found = _snapshot(self.path)
        # an older one that is compressed can name the same inode, which was free again
        index = max((i for i, other in enumerate(found) if other.inode == file.inode), default=-1)
        for other in found[: index + 1]:
            other.close()
        return found[index + 1 :]

    def close(self) -> None:
        """Close the files."""
        for file in self.files:
            file.close()
        self.files = []


class _File:
    """One file of a log, open; `at` is how far it was read, `inode` what it was when it was written.

    `identity` is what it is now, which differs for one that was compressed.
    """

    def __init__(self, fd: int, *, packed: bool) -> None:
        self.packed, self.at = packed, 0
        self.fd = Fd(fd)
        status = os.fstat(fd)
        self.identity = self.inode = status.st_ino
        self.last_ns = status.st_mtime_ns + LATE
        if packed:
            header = os.pread(fd, HEADER, 0)
            self.inode, self.last_ns = inode_of(header), _last_time(header)
        self._end = -1

    def is_before(self, since_ns: int) -> bool:
        """Whether all in it surely is older, as long as nothing more is written."""
        return self.last_ns < since_ns and (self.packed or os.fstat(self.fd.number).st_mtime_ns + LATE < since_ns)

    def records(self) -> Iterator[Record]:
        """What is said from `at` on; each is passed over once it was given."""
        for start, data in self._whole_lines(self.at):
            for end, record in decode_all(data):
                self.at = start + end
                if record is not None:
                    yield record

    def _whole_lines(self, at: int) -> Iterator[tuple[int, bytes]]:
        """Whole lines, many at once, and where they begin."""
        rest = b""
        for data in self._pieces(at):
            whole = data.rfind(b"\n") + 1
            if not whole:
                rest += data
                continue
            lines = rest + data[:whole] if rest else data[:whole]
            yield at, lines
            at, rest = at + len(lines), data[whole:]

    @property
    def end(self) -> int:
        """Where the last whole record ends; known after `ends`."""
        return self._end

    def ends(self, most: int) -> list[int]:
        """Where the last lines end, the last one first, at most so many."""
        return self._ends_of_packed(most) if self.packed else self._ends_of_plain(most)

    def _ends_of_plain(self, most: int) -> list[int]:
        found: list[int] = []
        self._end = 0
        for end, line in self._lines_backwards():
            self._end = self._end or end
            if _ends_a_line(line):
                found.append(end)
                if len(found) == most:
                    break
        return found

    def _lines_backwards(self) -> Iterator[tuple[int, bytes]]:
        """Whole lines without their newline from the last on, and where the next one begins."""
        fd = self.fd.number
        start, rest, is_whole = os.fstat(fd).st_size, b"", False
        while start:
            size = min(PIECE, start)
            start -= size
            lines = (os.pread(fd, size, start) + rest).split(b"\n")
            end = start + sum(map(len, lines)) + len(lines) - 1
            rest = lines[0] if start else b""
            for index in range(len(lines) - 1, 0 if start else -1, -1):
                if is_whole or index < len(lines) - 1:  # behind the last newline is none
                    yield end + 1, lines[index]
                end -= len(lines[index]) + 1
            is_whole = is_whole or len(lines) > 1

    def _ends_of_packed(self, most: int) -> list[int]:
        found: deque[int] = deque(maxlen=most)
        self._end = 0
        for start, data in self._whole_lines(0):
            self._end = start
            for line in data.splitlines(keepends=True):
                self._end += len(line)
                if _ends_a_line(line):
                    found.append(self._end)
        return list(reversed(found))

    def _pieces(self, at: int) -> Iterator[bytes]:
        if self.packed:
            for data in self._unpacked():
                if at < len(data):
                    yield data[at:] if at else data
                at = max(0, at - len(data))
            return
        while data := os.pread(self.fd.number, PIECE, at):
            at += len(data)
            yield data

    def _unpacked(self) -> Iterator[bytes]:
        """What a file of gzip has; where the machine stopped before it was on the disk, as far as it is there."""
        import zlib

        unpack = zlib.decompressobj(zlib.MAX_WBITS | 16)
        at = 0
        try:
            while packed := os.pread(self.fd.number, PACKED, at):
                at += len(packed)
                while packed:
                    yield unpack.decompress(packed, PIECE)
                    packed = unpack.unconsumed_tail
        except zlib.error:
            return

    def close(self) -> None:
        """Close it."""
        self.fd.close()


def _ends_a_line(line: bytes) -> bool:
    record = decode(line)
    return record is not None and record.text.endswith(b"\n")


def _last_time(header: bytes) -> int:
    text = header.partition(b'{"lastTime":"')[2].partition(b'"')[0]
    try:
        found = parse_time(text.decode(errors="replace"))
    except ValueError:
        return NEVER
    return found if found > 0 else NEVER


def _snapshot(path: str) -> list[_File]:
    """The files of a log, open, the oldest first: as they were at one moment, though they may be renamed meanwhile."""
    for _ in range(TRIES):
        numbers = _numbers(path)
        found = _open_all(path, numbers)
        now = _inode(path)
        # names were moved where a file was met twice, the newest is none of these, or a number has come or gone
        if (
            len({file.identity for file in found}) == len(found)
            and (not now or now in {file.identity for file in found})
            and _numbers(path) == numbers
        ):
            return found
        for file in found:
            file.close()
    return _open_all(path, _numbers(path))


def _open_all(path: str, numbers: set[int]) -> list[_File]:
    found = []
    if (current := _open(path, packed=False)) is not None:
        found.append(current)
    for number in sorted(numbers):
        file = _open(f"{path}.{number}", packed=False) or _open(f"{path}.{number}.gz", packed=True)
        if file is not None:
            found.append(file)
    return found[::-1]


def _numbers(path: str) -> set[int]:
    folder, _, name = path.rpartition("/")
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return set()
    texts = [other.removeprefix(f"{name}.").removesuffix(".gz") for other in names if other.startswith(f"{name}.")]
    return {int(text) for text in texts if text.isascii() and text.isdecimal()}


def _open(path: str, *, packed: bool) -> _File | None:
    try:
        return _File(os.open(path, os.O_RDONLY | os.O_CLOEXEC), packed=packed)
    except FileNotFoundError:
        return None


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        return 0


def merged(logs: Iterable[Iterator[Record]]) -> Iterator[tuple[int, Record]]:
    """The records of several logs in the order of their times, with the index of the log."""
    from heapq import merge

    streams = ([(record.time_ns, index, record) for record in log] for index, log in enumerate(logs))
    for _, index, record in merge(*streams, key=lambda item: item[:2]):
        yield index, record
