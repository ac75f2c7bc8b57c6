"""Entries of a layer become files below one directory (image-spec, layer.md "Applying Changesets").

    name          in here
    .wh.NAME      a whiteout: NAME of the layers below is not there (a character device 0:0, as overlayfs has it)
    .wh..wh..opq  an opaque directory: nothing of the layers below is in it (an attribute of overlayfs, `hides` for all)
    .wh..wh.*     what aufs kept for itself; left out

What an entry leads through is resolved as if the directory were the root of all: a link in a layer goes nowhere else.
A directory gets its mode and times at the end, when nothing more is made in it.
"""

from __future__ import annotations

import errno
import os
import stat

from cloche.images.unpack.naming import is_wanted, shown, split, times_of
from cloche.images.unpack.parents import DEEPEST, LOOK, is_there, make_opaque, make_parents
from cloche.images.unpack.tar import (
    BLOCK_DEVICE,
    CHARACTER,
    DIRECTORY,
    FIFO,
    FILE,
    HARD_LINK,
    LONGEST_NAME,
    SYMLINK,
    Archive,
    BadArchive,
    Entry,
)
from cloche.linux import files
from cloche.records import record
from cloche.stage.removal import remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

NO_NAME = (b"", b".", b"..")
WHITEOUT, OPAQUE, AUFS = b".wh.", b".wh..wh..opq", b".wh..wh."
MOST_ENTRIES = 4 << 20
MOST_BYTES = 256 << 30  # of one layer
MOST_KEPT = 32 << 20  # of what is kept of directories to the end
PIECE = 1 << 20  # of a file with holes, written at once
MOST_OPEN = 64  # directories kept open, as the next entry is mostly in one of the last
MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
OWNER = "user.containers.override_stat"  # where containers/storage and fuse-overlayfs keep an owner that cannot be


@record
class Powers:
    """What whoever unpacks may do.

    `own` gives files to their owners; without it all belong to who unpacks, and OWNER says whose they would be.
    `nodes` makes device nodes. `opaque` is the attribute by which overlayfs knows an opaque directory if it is mounted
    in a user namespace, as that of a container is (userxattr): there the kernel has no eye for trusted attributes.
    """

    own: bool = True
    nodes: bool = True
    opaque: str = "user.overlay.opaque"


class Unpacker:
    """Applies entries below the directory `root`, a descriptor."""

    def __init__(self, root: int, powers: Powers) -> None:
        self.root, self.powers = root, powers
        self.entries = self.bytes = 0
        self.left_out: dict[str, int] = {}  # what could not be made here, and how often
        self.has_root = False  # whether the layer says what the root directory itself is like
        self.hides = False  # whether nothing of the layers below is seen
        self._implied: dict[int, bytes] = {}  # by inode, directories that nothing is said about
        self._open: dict[bytes, int] = {}
        self._folder = b"", b""  # that of the last entry, as the archive has it and without what means nothing
        self._directories: dict[bytes, tuple[Entry, int]] = {}  # to be finished, with their inodes
        self._kept = 0
        self._uid, self._gid = os.geteuid(), os.getegid()

    @property
    def implied(self) -> list[bytes]:
        """The directories that nothing is said about, by name."""
        return sorted(self._implied.values())

    def close(self) -> None:
        """Close what is kept open."""
        for fd in self._open.values():
            os.close(fd)
        self._open.clear()

    def run(self, archive: Archive) -> None:
        """Apply all entries. Raises BadArchive, OSError."""
        self.take(archive)
        self.finish()

    def take(self, archive: Archive) -> None:
        """Apply all entries; directories are not yet as they are to be, which `finish` sees to."""
        try:
            while (entry := archive.next()) is not None:
                self.entries += 1
                if self.entries > MOST_ENTRIES:
                    raise BadArchive(f"has more than {MOST_ENTRIES} entries")
                try:
                    self._apply(entry, archive)
                except OSError as error:
                    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE}:
                        raise
                    raise BadArchive(f"has {shown(entry.name)}, which cannot be made: {error.strerror}") from None
        finally:
            self.close()

    def finish(self) -> None:
        """Give directories their modes, owners and times, those in others first."""
        for path, (entry, inode) in sorted(self._directories.items(), key=lambda item: -item[0].count(b"/")):
            if path:
                self._finish_directory(path, entry, inode)
        for inode, path in self._implied.items():  # the same whenever they are made
            self._finish_directory(path, Entry(DIRECTORY, path, mode=0o755), inode)
        if b"" in self._directories:
            self._finish_directory(b"", *self._directories[b""])

    def _apply(self, entry: Entry, archive: Archive) -> None:
        above, name = self._place(entry)
        if not name:
            if entry.kind == DIRECTORY:
                self.has_root = True
                self._remember(b"", entry, 0)
            return
        if above.startswith(WHITEOUT) or b"/" + WHITEOUT in above:
            return  # below what aufs kept for itself
        parent = self._parent(above)
        if name.startswith(WHITEOUT):
            self._white_out(parent, name, above)
        elif entry.kind == FILE:
            self._file(parent, name, entry, archive)
        elif entry.kind == DIRECTORY:
            self._directory(parent, name, entry, above + b"/" + name if above else name)
        elif entry.kind == SYMLINK:
            if not entry.link:
                raise BadArchive(f"has {shown(entry.name)}, a link to nothing")
            self._retry(parent, name, lambda: os.symlink(entry.link, name, dir_fd=parent))
            self._finish_other(parent, name, entry)
        elif entry.kind == HARD_LINK:
            self._hard_link(parent, name, entry)
        elif entry.kind == FIFO:
            self._retry(parent, name, lambda: os.mkfifo(name, entry.mode & 0o777, dir_fd=parent))
            self._finish_other(parent, name, entry)
        elif entry.kind in {CHARACTER, BLOCK_DEVICE}:
            self._node(parent, name, entry)
        else:
            raise BadArchive(f"has {shown(entry.name)} of a kind nobody knows, {entry.kind!r}")

    def _place(self, entry: Entry) -> tuple[bytes, bytes]:
        """The directory an entry is in and its name there, which is empty for the root. Raises BadArchive."""
        folder, _, name = entry.name.rpartition(b"/")
        if folder == self._folder[0] and name not in NO_NAME:
            return self._folder[1], name  # as most, beside the last one
        parts = split(entry.name)
        if not parts:
            return b"", b""
        if len(parts) > DEEPEST:
            raise BadArchive(f"has {shown(entry.name)}, which is deeper than {DEEPEST} directories")
        above = b"/".join(parts[:-1])
        if name not in NO_NAME:
            self._folder = folder, above
        return above, parts[-1]

    def _parent(self, path: bytes) -> int:
        """A descriptor of a directory of the layer, made with what is above it where it is missing."""
        found = self._open.get(path)
        if found is not None:
            return found
        if not path:
            fd = os.open(".", LOOK, dir_fd=self.root)
        else:
            try:
                fd = files.open_in_root(self.root, path, LOOK)
            except (FileNotFoundError, NotADirectoryError):
                fd = make_parents(self.root, path, self.powers.opaque, self._imply)
        if len(self._open) >= MOST_OPEN:
            oldest = next(iter(self._open))
            os.close(self._open.pop(oldest))
        self._open[path] = fd
        return fd

    def _imply(self, inode: int, path: bytes) -> None:
        """Keep that nothing was said of a directory: it may be like that of a layer below."""
        self._keep(len(path), "directories that nothing is said about")
        if len(path) > LONGEST_NAME:
            raise BadArchive("has a directory whose name is longer than any path can be")
        self._implied[inode] = path

    def _retry(self, parent: int, name: bytes, make: Callable[[], T]) -> T:
        """Make something in the place of whatever is there."""
        try:
            return make()
        except FileExistsError:
            self._remove(parent, name)
            return make()

    def _remove(self, parent: int, name: bytes) -> None:
        try:
            os.unlink(name, dir_fd=parent)
        except IsADirectoryError:
            remove_tree(parent, name)
        # what was below it, or led through it, is elsewhere now
        for path, fd in list(self._open.items()):
            if fd != parent:
                os.close(self._open.pop(path))

    def _file(self, parent: int, name: bytes, entry: Entry, archive: Archive) -> None:
        self.bytes += entry.size
        if self.bytes > MOST_BYTES:
            raise BadArchive(f"unfolds to more than {MOST_BYTES >> 30} GiB")
        special = entry.mode & 0o7000
        fd = self._retry(parent, name, lambda: os.open(name, MAKE, entry.mode & 0o777, dir_fd=parent))
        try:
            write_content(fd, entry, archive)
            if self.powers.own:
                if (entry.uid, entry.gid) != (self._uid, self._gid):
                    os.fchown(fd, entry.uid, entry.gid)
            elif entry.uid or entry.gid:
                self._note_owner(fd, entry)
            if special:
                os.fchmod(fd, entry.mode)
            if entry.xattrs:
                self._attributes(fd, entry)
            os.utime(fd, ns=times_of(entry.mtime))
        finally:
            os.close(fd)

    def _directory(self, parent: int, name: bytes, entry: Entry, path: bytes) -> None:
        opaque = False
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            there = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if not stat.S_ISDIR(there.st_mode):
                opaque = files.is_whiteout(there)  # it hides what is below, and so must this
                self._remove(parent, name)
                os.mkdir(name, 0o700, dir_fd=parent)
        with files.Fd(
            os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        ) as made:
            if opaque:
                os.setxattr(made.number, self.powers.opaque, b"y")
            inode = os.fstat(made.number).st_ino
            self._implied.pop(inode, None)
            self._remember(path, entry, inode)

    def _remember(self, path: bytes, entry: Entry, inode: int) -> None:
        """Keep what a directory is to be like in the end."""
        wanted = tuple(item for item in entry.xattrs if is_wanted(os.fsdecode(item[0])))
        self._keep(sum(len(name) + len(value) for name, value in wanted), "attributes of directories")
        kept = Entry(DIRECTORY, entry.name, b"", entry.mode, entry.uid, entry.gid, 0, entry.mtime, 0, 0, wanted)
        self._directories.pop(path, None)
        self._directories[path] = kept, inode

    def _keep(self, size: int, what: str) -> None:
        self._kept += size
        if self._kept > MOST_KEPT:
            raise BadArchive(f"has too many {what}")

    def _finish_directory(self, path: bytes, entry: Entry, inode: int) -> None:
        try:
            fd = files.open_in_root(self.root, path, os.O_RDONLY | os.O_DIRECTORY) if path else os.dup(self.root)
        except (FileNotFoundError, NotADirectoryError):
            return  # something else has taken its place
        with files.Fd(fd) as made:
            if inode and os.fstat(made.number).st_ino != inode:
                return
            if self.powers.own:
                os.fchown(made.number, entry.uid, entry.gid)
            elif entry.uid or entry.gid:
                self._note_owner(made.number, entry)
            os.fchmod(made.number, entry.mode)
            if entry.xattrs:
                self._attributes(made.number, entry)
            os.utime(made.number, ns=times_of(entry.mtime))

    def _finish_other(self, parent: int, name: bytes, entry: Entry) -> None:
        """Owner, mode and times of what cannot be opened: a link, a fifo, a device."""
        if self.powers.own and (entry.uid, entry.gid) != (self._uid, self._gid):
            os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        if entry.kind != SYMLINK:
            # chmod follows links, and whoever owns the directory may have put one in its place
            with files.Fd(os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)) as made:
                if stat.S_ISLNK(os.fstat(made.number).st_mode):
                    raise BadArchive(f"has {shown(entry.name)}, which somebody has replaced")
                os.chmod(f"/proc/self/fd/{made.number}", entry.mode)
        if entry.xattrs:
            self._attributes(f"/proc/self/fd/{parent}/{os.fsdecode(name)}", entry)
        os.utime(name, ns=times_of(entry.mtime), dir_fd=parent, follow_symlinks=False)

    def _hard_link(self, parent: int, name: bytes, entry: Entry) -> None:
        parts = split(entry.link)
        if not parts:
            raise BadArchive(f"has {shown(entry.name)}, a link to the root")
        above = b"/".join(parts[:-1])
        try:
            with files.Fd(files.open_in_root(self.root, above or b".", LOOK)) as other:
                there = os.stat(parts[-1], dir_fd=other.number, follow_symlinks=False)
                if stat.S_ISDIR(there.st_mode):
                    raise BadArchive(f"has {shown(entry.name)}, a hard link to a directory")
                own = os.stat(name, dir_fd=parent, follow_symlinks=False) if is_there(parent, name) else None
                if own is not None and (own.st_ino, own.st_dev) == (there.st_ino, there.st_dev):
                    return
                self._retry(
                    parent,
                    name,
                    lambda: os.link(parts[-1], name, src_dir_fd=other.number, dst_dir_fd=parent, follow_symlinks=False),
                )
        except FileNotFoundError:
            raise BadArchive(
                f"has {shown(entry.name)}, a hard link to {shown(entry.link)}, which it does not have"
            ) from None

    def _node(self, parent: int, name: bytes, entry: Entry) -> None:
        if not self.powers.nodes:
            self.left_out["device nodes"] = self.left_out.get("device nodes", 0) + 1
            return
        kind = stat.S_IFCHR if entry.kind == CHARACTER else stat.S_IFBLK
        device = os.makedev(entry.major, entry.minor)
        self._retry(parent, name, lambda: os.mknod(name, kind | entry.mode & 0o777, device, dir_fd=parent))
        self._finish_other(parent, name, entry)

    def _white_out(self, parent: int, name: bytes, above: bytes) -> None:
        if name == OPAQUE:
            if os.path.sameopenfile(parent, self.root):
                self.hides = True  # overlayfs does not look at what a root directory has
            else:
                make_opaque(parent, self.powers.opaque)
            return
        if name.startswith(AUFS):
            return
        hidden = name[len(WHITEOUT) :]
        if hidden in {b"", b".", b".."}:
            raise BadArchive(f"has a whiteout of {shown(above + b'/' + hidden)}")
        try:
            os.mknod(hidden, stat.S_IFCHR, 0, dir_fd=parent)
        except FileExistsError:
            # the layer has something of that name itself, which hides what is below unless both are directories
            if stat.S_ISDIR(os.stat(hidden, dir_fd=parent, follow_symlinks=False).st_mode):
                with files.Fd(os.open(hidden, LOOK | os.O_NOFOLLOW, dir_fd=parent)) as place:
                    make_opaque(place.number, self.powers.opaque)
                    self._implied.pop(os.fstat(place.number).st_ino, None)

    def _attributes(self, place: int | str, entry: Entry) -> None:
        for name, value in entry.xattrs:
            text = os.fsdecode(name)
            if not is_wanted(text):
                continue
            try:
                os.setxattr(place, text, value, follow_symlinks=isinstance(place, int))
            except OSError as error:
                # EINVAL: a list of users of whom some have no number here
                acl = (errno.EINVAL,) if text.startswith("system.posix_acl_") else ()
                if error.errno not in {errno.ENOTSUP, errno.EPERM, *acl}:
                    raise
                key = "attributes user.*" if text.startswith("user.") else f"the attribute {text}"
                self.left_out[key] = self.left_out.get(key, 0) + 1

    def _note_owner(self, fd: int, entry: Entry) -> None:
        try:
            os.setxattr(fd, OWNER, f"{entry.uid}:{entry.gid}:{entry.mode:o}".encode())
        except OSError as error:
            if error.errno != errno.ENOTSUP:
                raise
        self.left_out["owners"] = self.left_out.get("owners", 0) + 1


def write_content(fd: int, entry: Entry, archive: Archive) -> None:
    """Write what an archive has of the file it is at, holes as holes. Raises BadArchive, OSError."""
    if entry.pieces is None:
        for part in archive.content():
            files.write_all(fd, part)
        return
    os.ftruncate(fd, entry.size)
    for offset, length in entry.pieces:
        os.lseek(fd, offset, os.SEEK_SET)
        left = length
        while left:
            piece = archive.take(min(left, PIECE))
            left -= len(piece)
            files.write_all(fd, piece)
