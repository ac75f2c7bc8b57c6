"""The writer of a log file, and its rotation.

    ID-json.log        what is written to
    ID-json.log.1      what was written before it, and so on
    ID-json.log.2.gz   the same, when it is to be compressed (`compressing`)

Names are moved one by one, the oldest first, so that whoever is killed in between leaves a number that is missing:
nothing is twice and nothing lost, readers pass over it, and the next rotation fills it. A file is never cut short, so
that readers who have it open can finish it. What a killed writer has left of a record is cut off.
"""

from __future__ import annotations

import posix as os

from cloche.engine.logs import compressing
from cloche.engine.logs.options import attributes_of, limits_of
from cloche.engine.logs.records import Clock, cut, encode, middle_of, payload
from cloche.engine.logs.writers import Writer
from cloche.images.store.locks import lock_folder
from cloche.linux.places import exists, makedirs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.engine.logs.writers import Facts

MODE = 0o600
BLOCK = 65536
CLOCK = Clock()


def log_path(folder: str, container_id: str) -> str:
    """The file that is written to."""
    return f"{folder}/{container_id}-json.log"


class FileWriter(Writer):
    """The drivers json-file and local."""

    __slots__ = ("fd", "folder", "last_why", "limits", "lost", "middles", "path", "pending", "size", "total", "why")

    def __init__(self, driver: str, options: dict[str, str], folder: str, container: Facts) -> None:
        self.folder, self.path = folder, log_path(folder, container.id)
        self.limits = limits_of(driver, options)
        attributes = attributes_of(options, container)
        self.middles = {stream: middle_of(stream, attributes) for stream in ("stdout", "stderr")}
        self.pending: dict[str, bytes] = {}
        self.fd, self.size = -1, 0
        self.lost, self.why = 0, ""
        self.total, self.last_why = 0, ""

    def write(self, stream: str, data: bytes, now_ns: int) -> None:
        """Write the lines that are whole, and all of those that are longer than a record may be."""
        if pending := self.pending.pop(stream, b""):
            data = pending + data
        parts, rest = cut(data)
        if rest < len(data):
            self.pending[stream] = data[rest:]
        if parts:
            middle, stamp = self.middles[stream], CLOCK.spell(now_ns)
            self._put(b"".join([encode(data[start:end], middle, stamp) for start, end in parts]), rest, stamp)

    def unfinished(self, stream: str) -> bytes:
        """What waits for the end of its line."""
        return self.pending.get(stream, b"")

    def flush(self, now_ns: int) -> None:
        """Write what waits for the end of its line, and let go of the file."""
        stamp = CLOCK.spell(now_ns)
        for stream, data in self.pending.items():
            self._put(encode(data, self.middles[stream], stamp), len(data), stamp)
        self.pending.clear()
        if self.lost:
            self._put(b"", 0, stamp)
        self.close()

    def close(self) -> None:
        """Close the file; a later write opens it again."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def losses(self) -> int:
        """How many bytes of what was said are not in the file."""
        return self.total

    def cause(self) -> str:
        """What the kernel said of the last of them."""
        return self.last_why

    def _put(self, records: bytes, said: int, stamp: bytes) -> None:
        """Write records that hold so many bytes of what was said; where that fails, count what is lost."""
        note = self._note(stamp) if self.lost else b""
        taken = self._store(note + records)
        if taken == len(note) + len(records):
            self.lost, self.why = 0, ""
            return
        if note and taken >= len(note):
            self.lost = 0
        missing = said - payload(records[: max(0, taken - len(note))])
        self.lost, self.total, self.last_why = self.lost + missing, self.total + missing, self.why

    def _note(self, stamp: bytes) -> bytes:
        text = f"cloche: {self.lost} bytes lost: {self.why}\n"
        return encode(text.encode(), self.middles["stderr"], stamp)

    def _store(self, records: bytes) -> int:
        """Append records, in a new file where this one is full; returns how many bytes have found a place, whole
        records each."""
        taken, limit = 0, self.limits.size
        try:
            if self.fd < 0:
                self._open()
            while limit and self.size + len(records) - taken > limit:
                if self.size >= limit:
                    self._rotate()
                # a file ends with the record that reaches the limit, as docker's do
                end = records.find(b"\n", taken + max(limit - self.size - 1, 0)) + 1
                if not 0 < end < len(records) or self.size >= limit:
                    break
                taken += self._append(records[taken:end])
            return taken + self._append(records[taken:] if taken else records)
        except _Full as full:
            self.why = full.why
            return taken + full.taken
        except OSError as error:
            self.why = (error.strerror or "it cannot be written").lower()
            self._drop()
            return taken

    def _append(self, records: bytes) -> int:
        """Write whole records. Raises _Full, with what is there of them."""
        done = 0
        try:
            while done < len(records):
                done += os.write(self.fd, records[done:] if done else records)
        except OSError as error:
            whole = records.rfind(b"\n", 0, done) + 1
            if whole < done:
                os.ftruncate(self.fd, self.size + whole)
            self.size += whole
            raise _Full(whole, (error.strerror or "").lower()) from None
        self.size += done
        return done

    def _drop(self) -> None:
        """Let go of a file that went wrong; when it is opened again, what is half a record is cut off."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def _open(self) -> None:
        try:
            self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, MODE)
        except FileNotFoundError:
            makedirs(self.folder, 0o700)
            self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, MODE)
        self.size = _repaired(self.fd)

    def _rotate(self) -> None:
        """Move the files on by one and begin a new one.

        Where a compression is just ending, or names cannot be moved, that is done the next time: a file rather grows
        beyond its limit than that something is lost.
        """
        try:
            with lock_folder(self.folder, wait=False):
                self._drop()
                move_on(self.path, self.limits.files)
                if self.limits.compress:
                    compressing.begin(self.path, self.limits.files)
        except OSError:
            pass
        if self.fd < 0:
            self._open()


class _Full(Exception):
    """A write that found no room: how much of it is there, and what the kernel said."""

    def __init__(self, taken: int, why: str) -> None:
        super().__init__(why)
        self.taken, self.why = taken, why


def move_on(path: str, files: int) -> None:
    """Give every file the next number, up to the first that is free, and drop the oldest where none is."""
    if files < 2:
        _unlink(path)
        return
    free = next((number for number in range(1, files) if not _there(f"{path}.{number}")), 0)
    if not free:
        free = files - 1
        _unlink(f"{path}.{free}")
        _unlink(f"{path}.{free}.gz")
    for number in range(free - 1, 0, -1):
        for ending in ("", ".gz"):
            _rename(f"{path}.{number}{ending}", f"{path}.{number + 1}{ending}")
    os.rename(path, f"{path}.1")


def _there(path: str) -> bool:
    return exists(path) or exists(f"{path}.gz")


def _rename(source: str, target: str) -> None:
    try:
        os.rename(source, target)
    except FileNotFoundError:
        pass


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _repaired(fd: int) -> int:
    """The size of a file, after what is behind its last newline was cut off."""
    size = end = os.fstat(fd).st_size
    if not size or os.pread(fd, 1, size - 1) == b"\n":
        return size
    while end:
        start = max(0, end - BLOCK)
        newline = os.pread(fd, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    os.ftruncate(fd, end)
    return end
