"""The process that compresses what was rotated, beside the writer and not in its way.

    writer ── fork ──► reads ID-json.log.N, writes ID-json.log.gz.new
                       locks the folder, puts it in the place of what is ID-json.log.N by then, ends

It needs nobody: a writer that ends or is killed does not take it along, and one that begins meanwhile sees by the
lock on its file that it is at work. Who moves names holds the lock of the folder, which is held for moments only.
A header tells, as docker's does, the last time in the file, and here also which inode it was made of, for readers who
follow.
"""

from __future__ import annotations

import fcntl
import posix as os

from cloche.images.store.locks import lock_folder
from cloche.linux.files import Fd, write_all
from cloche.linux.places import dirname, exists

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from typing import Self
else:
    import _signal

NEW = ".gz.new"
PIECE = 1 << 18
LEVEL = 6
MOST_FDS = 1 << 30
HEADER = 512  # bytes in which the header of a file surely is
TAIL = 1 << 16  # bytes at the end of a file in which its last record surely begins to end


def begin(path: str, files: int) -> None:
    """Start to compress what of this log is not yet, unless somebody is at it; the caller holds the lock.

    Without it, what is made by a process that is just ending could be taken for what one has left that was killed.
    """
    try:
        job = _take(path, files)
        if job is not None:
            with job:
                _fork(job, path, files)
    except (OSError, ImportError):
        pass  # no room for another file or process, no zlib: it stays as it is until the next time


class _Job:
    """A file that is to be compressed, and what is made of it, whose lock says that somebody is at it."""

    def __init__(self, source: Fd, made: Fd) -> None:
        self.source, self.made = source, made

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.source.close()
        self.made.close()


def _take(path: str, files: int) -> _Job | None:
    """The next file to compress, with the lock of the folder held; None where there is none, or somebody is at it."""
    number = _next(path, files)
    if not number:
        return None
    made = Fd(os.open(f"{path}{NEW}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    try:
        fcntl.flock(made.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(made.number, 0)  # what one that was killed has left
        return _Job(Fd(os.open(f"{path}.{number}", os.O_RDONLY | os.O_CLOEXEC)), made)
    except BlockingIOError:
        made.close()
        return None
    except OSError:
        made.close()
        raise


def _next(path: str, files: int) -> int:
    """The newest file that is not compressed: it stays longest. In both forms one is that a killed process has left."""
    for number in range(1, files):
        if exists(f"{path}.{number}"):
            if exists(f"{path}.{number}.gz"):
                os.unlink(f"{path}.{number}.gz")
            return number
    return 0


def _fork(job: _Job, path: str, files: int) -> None:
    """Have a process do it that is nobody's child: its number means nothing to the writer, and its end neither."""
    import zlib  # noqa: F401 - now, so that the new process has nothing to look for

    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        return
    code = 1
    try:
        if os.fork() == 0:
            _become_small(job)
            _work(job, path, files)
        code = 0
    finally:
        os._exit(code)


def _become_small(job: _Job) -> None:
    """Hold nothing of the writer's but the two files, and be in nobody's way."""
    for number in (_signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP):
        _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    os.dup2(job.source.number, 0)
    os.dup2(job.made.number, 1)
    os.closerange(3, MOST_FDS)
    job.source, job.made = Fd(0), Fd(1)
    os.nice(19)


def _work(first: _Job, path: str, files: int) -> None:
    job: _Job | None = first
    while job is not None:
        with job:
            compress(job.source.number, job.made.number)
            os.fsync(job.made.number)
            with lock_folder(dirname(path)):
                _put_in_place(job, path, files)
                job = _take(path, files)


def compress(source: int, target: int) -> None:
    """Write a file as one of gzip (RFC 1952), the name of whose extra field is what docker writes there."""
    import zlib

    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    status = os.fstat(source)
    extra = b'{"lastTime":"%s","inode":%d}' % (_last_time(source, status.st_size), status.st_ino)
    out = b"\x1f\x8b\x08\x04" + bytes(4) + b"\x00\x03" + len(extra).to_bytes(2, "little") + extra
    total, checksum = 0, 0
    while data := os.read(source, PIECE):
        total, checksum = total + len(data), zlib.crc32(data, checksum)
        write_all(target, out + packer.compress(data))
        out = b""
    end = checksum.to_bytes(4, "little") + (total & 0xFFFFFFFF).to_bytes(4, "little")
    write_all(target, out + packer.flush() + end)


def inode_of(header: bytes) -> int:
    """The inode of what a compressed file was made of, by its first bytes; 0 where they do not say."""
    _, found, rest = header[:HEADER].partition(b'"inode":')
    digits = rest.partition(b"}")[0]
    return int(digits) if found and digits.isdigit() else 0


def _last_time(source: int, size: int) -> bytes:
    tail = os.pread(source, TAIL, max(0, size - TAIL))
    return tail[tail.rfind(b'"time":"') + 8 :].partition(b'"')[0] or b"0001-01-01T00:00:00Z"


def _put_in_place(job: _Job, path: str, files: int) -> None:
    """Replace the file that was compressed, whatever number it has by now; nothing where it is gone."""
    if not _is(f"{path}{NEW}", job.made):
        return
    for number in range(1, files):
        if _is(f"{path}.{number}", job.source):
            os.rename(f"{path}{NEW}", f"{path}.{number}.gz")
            os.unlink(f"{path}.{number}")
            return
    os.unlink(f"{path}{NEW}")


def _is(path: str, file: Fd) -> bool:
    """Whether an open file is still called so."""
    try:
        there, opened = os.lstat(path), os.fstat(file.number)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (opened.st_dev, opened.st_ino)
