"""Copying a directory of a root nobody trusts, by descriptors: what `tmpcopyup` and volumes take along.

Every name is one name, opened without following links below a directory that is held; what a file is, is asked of
what was opened. Trees may be as deep as they like: there is no recursion, and of all directories on the way down
only the last is held, from which the one above is found again, and has to be the same.
"""

from __future__ import annotations

import _stat as stat
import posix as os
from errno import EACCES, EINVAL, ENAMETOOLONG, ENXIO, EOPNOTSUPP, EPERM, ESTALE

from cloche.linux import files
from cloche.stage.points import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    Identity = tuple[int, int]  # device and inode

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_FOLDER = _FLAGS | os.O_DIRECTORY
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
MOST = 1 << 30  # bytes in one sendfile(2)
REFUSED = (EPERM, EACCES, EINVAL, EOPNOTSUPP)
# of the layers' own, or of the host's and not the image's
NOT_COPIED = ("trusted.", "user.overlay.", "security.")
CAPABILITY = "security.capability"
DEVICES, UNREADABLE, OWNERS, ATTRIBUTES = "devices", "unreadable files", "owners", "extended attributes"


def copy_directory(held: int, target: int, *, itself: bool = False) -> dict[str, int]:
    """Copy what the directory holds that `held` stands for into directory `target`, and with `itself` what it is like.

    Owners, modes, times, extended attributes, hard links and holes come along. `held` may be an O_PATH descriptor.
    Returns what could not be copied by this process, and how often. Raises OSError.
    """
    source = os.open(".", _FOLDER, dir_fd=held)
    try:
        place = os.open(".", _FOLDER, dir_fd=target)
    except OSError:
        os.close(source)
        raise
    copy = _Copy(source, place, target)
    try:
        copy.run()
        if itself:
            copy.finish(copy.source, copy.target, os.fstat(copy.source))
    finally:
        os.close(copy.source)
        os.close(copy.target)
    return copy.left_out


class _Copy:
    """The directory that is copied now, and all that was on the way to it."""

    def __init__(self, source: int, target: int, top: int) -> None:
        self.source, self.target, self.top = source, target, top
        self.left_out: dict[str, int] = {}
        self._path: list[str] = []
        self._above: list[tuple[list[str], Identity, Identity]] = []  # what is left there, and which directories
        self._links: dict[Identity, tuple[str, str]] = {}  # where a file with several names was copied to

    def run(self) -> None:
        left = os.listdir(self.source)
        while True:
            while left:
                name = left.pop()
                if stat.S_ISDIR(os.stat(name, dir_fd=self.source, follow_symlinks=False).st_mode):
                    if not self._enter(name, left):
                        continue
                    left = os.listdir(self.source)
                else:
                    self._copy(name)
            if not self._above:
                return
            left = self._leave()

    def _enter(self, name: str, left: list[str]) -> bool:
        try:
            source = os.open(name, _FOLDER, dir_fd=self.source)
        except PermissionError:
            self._leave_out(UNREADABLE)
            return False
        try:
            os.mkdir(name, 0o700, dir_fd=self.target)
            target = os.open(name, _FOLDER, dir_fd=self.target)
        except OSError:
            os.close(source)
            raise
        self._above.append((left, _identity(self.source), _identity(self.target)))
        self._path.append(name)
        self._hold(source, target)
        return True

    def _leave(self) -> list[str]:
        self.finish(self.source, self.target, os.fstat(self.source))
        left, *known = self._above.pop()
        self._path.pop()
        source = os.open("..", _FOLDER, dir_fd=self.source)
        try:
            target = os.open("..", _FOLDER, dir_fd=self.target)
        except OSError:
            os.close(source)
            raise
        self._hold(source, target)
        if [_identity(source), _identity(target)] != known:
            raise OSError(ESTALE, "was moved while it was copied")
        return left

    def _hold(self, source: int, target: int) -> None:
        for number in (self.source, self.target):
            os.close(number)
        self.source, self.target = source, target

    def _copy(self, name: str) -> None:
        point("copying")
        status = os.stat(name, dir_fd=self.source, follow_symlinks=False)
        if stat.S_ISREG(status.st_mode):
            self._copy_file(name)
            return
        try:
            if stat.S_ISLNK(status.st_mode):
                os.symlink(os.readlink(name, dir_fd=self.source), name, dir_fd=self.target)
            else:
                os.mknod(name, status.st_mode, status.st_rdev, dir_fd=self.target)  # the umask is 0 in here
        except PermissionError:
            if not stat.S_ISCHR(status.st_mode) and not stat.S_ISBLK(status.st_mode):
                raise
            self._leave_out(DEVICES)  # nobody may make them in a user namespace
            return
        try:
            os.chown(name, status.st_uid, status.st_gid, dir_fd=self.target, follow_symlinks=False)
        except OSError as error:
            self._refused(error, OWNERS)
        times = status.st_atime_ns, status.st_mtime_ns
        os.utime(name, ns=times, dir_fd=self.target, follow_symlinks=False)

    def _copy_file(self, name: str) -> None:
        try:
            given = files.Fd(os.open(name, _FLAGS, dir_fd=self.source))
        except PermissionError:
            self._leave_out(UNREADABLE)
            return
        with given:
            status = os.fstat(given.number)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(EINVAL, "was another kind of file a moment ago", name)
            if status.st_nlink > 1 and self._link(name, _identity_of(status)):
                return
            with files.Fd(os.open(name, _NEW, 0o600, dir_fd=self.target)) as made:
                _copy_content(given.number, made.number, status.st_size)
                self.finish(given.number, made.number, status)

    def _link(self, name: str, identity: Identity) -> bool:
        """Whether the file has been copied under another name, and has this one as well now."""
        if identity not in self._links:
            self._links[identity] = "/".join(self._path), name
            return False
        folder, other = self._links[identity]
        try:
            flags = os.O_PATH | os.O_DIRECTORY
            resolve = files.RESOLVE_BENEATH | files.RESOLVE_NO_SYMLINKS | files.RESOLVE_NO_MAGICLINKS
            with files.Fd(files.openat2(self.top, folder or ".", flags, resolve=resolve)) as place:
                os.link(other, name, src_dir_fd=place.number, dst_dir_fd=self.target, follow_symlinks=False)
        except OSError as error:
            if error.errno != ENAMETOOLONG:
                raise
            return False  # too deep for a path: a copy of its own
        return True

    def finish(self, source: int, target: int, status: os.stat_result) -> None:
        """Give a file or directory that is open the owner, mode, attributes and times of another."""
        try:
            os.chown(target, status.st_uid, status.st_gid)
        except OSError as error:
            self._refused(error, OWNERS)
        os.chmod(target, stat.S_IMODE(status.st_mode))  # after the owner, whose change takes set-uid away
        for name in os.listxattr(source):
            if name.startswith(NOT_COPIED) and name != CAPABILITY:
                continue
            try:
                os.setxattr(target, name, os.getxattr(source, name))
            except OSError as error:
                self._refused(error, ATTRIBUTES)
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))

    def _refused(self, error: OSError, what: str) -> None:
        if error.errno not in REFUSED:
            raise error
        self._leave_out(what)

    def _leave_out(self, what: str) -> None:
        self.left_out[what] = self.left_out.get(what, 0) + 1


def _copy_content(given: int, made: int, size: int) -> None:
    """Copy a file's data, and leave its holes."""
    at = 0
    while at < size:
        try:
            at = os.lseek(given, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno != ENXIO:
                raise
            break  # the rest is a hole
        end = os.lseek(given, at, os.SEEK_HOLE)
        os.lseek(made, at, 0)
        while at < end:
            sent = os.sendfile(made, given, at, min(end - at, MOST))
            if sent == 0:
                break
            at += sent
        at = end
    os.ftruncate(made, size)


def _identity(number: int) -> Identity:
    return _identity_of(os.fstat(number))


def _identity_of(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino
