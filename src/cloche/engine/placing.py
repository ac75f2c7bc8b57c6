"""Files made below a directory, entry by entry, as a tree or an archive has them: the other end of `walking`.

Nothing that is there already is trusted: each name is made or opened below the descriptor of its directory, no link is
followed but by whoever knows where it leads in a container, and a file is dressed by its descriptor.
"""

from __future__ import annotations

import errno
import os
import stat

from cloche.engine.walking import BENEATH, LOOK, OPEN, open_below
from cloche.errors import ConflictError
from cloche.images.exporting import KINDS
from cloche.images.unpack.apply import write_content
from cloche.images.unpack.naming import is_wanted, shown, split, times_of
from cloche.images.unpack.tar import DEVICES, DIRECTORY, FIFO, FILE, HARD_LINK, SYMLINK, BadArchive, Entry
from cloche.linux import files
from cloche.records import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.images.unpack.tar import Archive

MADE = (DIRECTORY, FILE, HARD_LINK, SYMLINK, FIFO)
MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
MOST_COPIED = 1 << 30  # bytes, of one call
PRIVILEGES = 0o6000  # set-uid and set-gid
NO_HOLES = {errno.EINVAL, errno.ENOTSUP}
NO_COPY = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EBADF, errno.EPERM, errno.ETXTBSY}


@record
class Giving:
    """What files get of what an entry says: `owner` (uid, gid) for all of them, or None for that of the entry; whether
    set-uid, set-gid and the powers of a file stay, where the owner does, and lists of users (ACLs)."""

    owner: tuple[int, int] | None
    privileges: bool = True


class Placer:
    """Makes entries below `base`, a descriptor of a directory; `elsewhere` opens a directory that a link leads to.

    A directory is merged with one that is there, anything else replaces what is there, and neither the other, as
    docker has it. Call `finish` at the end.
    """

    def __init__(self, base: int, giving: Giving, elsewhere: Callable[[bytes], int] | None = None) -> None:
        self.base, self.giving = base, giving
        self.skipped: dict[str, int] = {}
        self.bytes = 0
        self._elsewhere = elsewhere
        self._folders: list[tuple[bytes, Entry, tuple[int, int]]] = []
        self._parent: tuple[bytes, files.Fd] | None = None

    def place(self, entry: Entry, copy: Callable[[int], None]) -> None:
        """Make one; `copy` writes the data of a file into a descriptor. Raises ConflictError, OSError, BadArchive."""
        parts = split(entry.name)
        if not parts:
            return  # the directory it all goes to
        parent = self._open_parent(b"/".join(parts[:-1]))
        name = parts[-1]
        if entry.kind not in MADE:  # a device is this machine's, and not for whoever can write an archive
            self._skip("devices" if entry.kind in DEVICES else "files of unknown kinds")
            return
        self._make_room(parent, name, entry)
        if entry.kind == DIRECTORY:
            self._directory(parent, name, entry, b"/".join(parts))
        elif entry.kind == FILE:
            self._file(parent, name, entry, copy)
        elif entry.kind == HARD_LINK:
            self._hard_link(parent, name, entry)
        else:
            self._special(parent, name, entry)

    def finish(self) -> None:
        """Give directories their modes and times, those in others first."""
        self._close()
        for path, entry, inode in reversed(self._folders):
            fd = open_below(self.base, path)
            if fd is None:
                continue
            with files.Fd(fd) as made:
                status = os.fstat(made.number)
                if (status.st_dev, status.st_ino) == inode:
                    self._dress(made.number, entry)

    def _close(self) -> None:
        if self._parent is not None:
            self._parent[1].close()
            self._parent = None

    def _open_parent(self, path: bytes) -> int:
        if self._parent is not None and self._parent[0] == path:
            return self._parent[1].number
        self._close()
        try:
            fd = self._reach(path)
        except FileNotFoundError:
            fd = self._make_parents(path)
        self._parent = path, files.Fd(fd)
        return fd

    def _reach(self, path: bytes) -> int:
        try:
            return files.openat2(self.base, path or b".", OPEN, resolve=BENEATH)
        except OSError as error:
            if error.errno not in {errno.ELOOP, errno.ENOTDIR}:  # the latter of a link that is the last name
                raise
        if self._elsewhere is None:
            raise ConflictError(
                f"{os.fsdecode(path)} leads through what is no directory", hint="a link here is not followed"
            )
        return self._elsewhere(path)

    def _make_parents(self, path: bytes) -> int:
        """Directories that an archive does not have, as docker makes them."""
        parts = path.split(b"/")
        place = files.Fd(os.dup(self.base))
        try:
            for count in range(1, len(parts) + 1):
                above = b"/".join(parts[:count])
                try:
                    fd = self._reach(above)
                except FileNotFoundError:
                    os.mkdir(parts[count - 1], 0o755, dir_fd=place.number)
                    fd = os.open(parts[count - 1], OPEN, dir_fd=place.number)
                    if self.giving.owner is not None:
                        os.fchown(fd, *self.giving.owner)
                place.close()
                place = files.Fd(fd)
            return place.detach()
        finally:
            place.close()

    def _make_room(self, parent: int, name: bytes, entry: Entry) -> None:
        try:
            there = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return
        shown = os.fsdecode(entry.name)
        if stat.S_ISDIR(there.st_mode):
            if entry.kind != DIRECTORY:
                raise ConflictError(f"cannot overwrite directory {shown!r} with non-directory {shown!r}")
            return
        if entry.kind == DIRECTORY:
            raise ConflictError(f"cannot overwrite non-directory {shown!r} with directory {shown!r}")
        if entry.kind == HARD_LINK and self._is_same(there, entry):
            return
        os.unlink(name, dir_fd=parent)

    def _is_same(self, there: os.stat_result, entry: Entry) -> bool:
        parts = _linked(entry)
        folder = open_below(self.base, b"/".join(parts[:-1]))
        if folder is None:
            return False
        with files.Fd(folder):
            other = os.stat(parts[-1], dir_fd=folder, follow_symlinks=False)
        return (other.st_dev, other.st_ino) == (there.st_dev, there.st_ino)

    def _directory(self, parent: int, name: bytes, entry: Entry, path: bytes) -> None:
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            pass
        with files.Fd(os.open(name, OPEN, dir_fd=parent)) as made:
            status = os.fstat(made.number)
        kept = Entry(DIRECTORY, b"", b"", entry.mode, entry.uid, entry.gid, 0, entry.mtime, 0, 0, entry.xattrs)
        self._folders.append((path, kept, (status.st_dev, status.st_ino)))

    def _file(self, parent: int, name: bytes, entry: Entry, copy: Callable[[int], None]) -> None:
        with files.Fd(os.open(name, MAKE, 0o600, dir_fd=parent)) as made:
            copy(made.number)
            self.bytes += entry.size
            self._dress(made.number, entry)

    def _hard_link(self, parent: int, name: bytes, entry: Entry) -> None:
        parts = _linked(entry)
        above = b"/".join(parts[:-1])
        with files.Fd(self._reach(above)) as other:
            try:
                os.link(parts[-1], name, src_dir_fd=other.number, dst_dir_fd=parent, follow_symlinks=False)
            except FileExistsError:
                pass  # the same file already

    def _special(self, parent: int, name: bytes, entry: Entry) -> None:
        if entry.kind == SYMLINK:
            os.symlink(entry.link, name, dir_fd=parent)
        else:
            os.mkfifo(name, 0o600, dir_fd=parent)
        with files.Fd(os.open(name, LOOK, dir_fd=parent)) as made:
            status = os.fstat(made.number)
            if KINDS.get(stat.S_IFMT(status.st_mode)) != entry.kind:
                return  # somebody has put something else there already
            files.chown(made.number, *self._owner(entry))
            if entry.kind != SYMLINK:
                os.chmod(f"/proc/self/fd/{made.number}", entry.mode & 0o777)
        os.utime(name, ns=times_of(entry.mtime), dir_fd=parent, follow_symlinks=False)

    def _skip(self, what: str) -> None:
        self.skipped[what] = self.skipped.get(what, 0) + 1

    def _owner(self, entry: Entry) -> tuple[int, int]:
        return self.giving.owner or (entry.uid, entry.gid)

    def _dress(self, fd: int, entry: Entry) -> None:
        """Owner, mode, attributes and times, in an order in which none takes another away."""
        status = os.fstat(fd)
        if self._owner(entry) != (status.st_uid, status.st_gid):
            try:
                os.fchown(fd, *self._owner(entry))
            except OSError as error:
                if error.errno not in {errno.EPERM, errno.EINVAL}:
                    raise
                self._skip("owners")  # a user who does not exist here, or whom we may not give files to
        powers = self.giving.privileges and self._owner(entry) == (entry.uid, entry.gid)
        for name, value in entry.xattrs:
            text = os.fsdecode(name)
            if is_wanted(text) and (powers or text.startswith("user.")):
                try:
                    os.setxattr(fd, text, value)
                except OSError as error:
                    if error.errno not in {errno.ENOTSUP, errno.EPERM, errno.EINVAL}:
                        raise
                    self._skip(f"attributes {text}")
        special = 0 if powers or entry.kind == DIRECTORY else PRIVILEGES
        os.fchmod(fd, entry.mode & 0o7777 & ~special)
        os.utime(fd, ns=times_of(entry.mtime))


def _linked(entry: Entry) -> list[bytes]:
    parts = split(entry.link)
    if not parts:
        raise BadArchive(f"has {shown(entry.name)}, a link to the root")
    return parts


def place_archive(archive: Archive, placer: Placer) -> None:
    """Make all that an archive has. Raises as `Placer.place`, and BadArchive for one that is none."""
    while (entry := archive.next()) is not None:

        def copy(fd: int, entry: Entry = entry) -> None:
            write_content(fd, entry, archive)

        placer.place(entry, copy)
    placer.finish()


def copy_file(source: int, target: int, size: int) -> None:
    """Copy the first `size` bytes of a file into a new one, holes as holes; less where it has become shorter.

    Of what is interrupted there is no more than what was copied.
    """
    at = 0
    while at < size:
        try:
            start = os.lseek(source, at, os.SEEK_DATA)
            end = min(os.lseek(source, start, os.SEEK_HOLE), size)
        except OSError as error:
            if error.errno == errno.ENXIO:
                break  # a hole up to its end
            if error.errno not in NO_HOLES:
                raise
            start, end = at, size
        if start >= size or not _copy_part(source, target, start, end):
            break
        at = end
    os.ftruncate(target, min(size, os.fstat(source).st_size))


def _copy_part(source: int, target: int, start: int, end: int) -> bool:
    """Copy a range; whether all of it was there."""
    at, quick = start, True
    while at < end:
        count = min(end - at, MOST_COPIED)
        if quick:
            try:
                done = os.copy_file_range(source, target, count, at, at)
            except OSError as error:
                if error.errno not in NO_COPY:
                    raise
                quick = False
                os.lseek(target, at, os.SEEK_SET)
                continue
        else:
            done = os.sendfile(target, source, at, count)
        if not done:
            return False
        at += done
    return True
