"""Copying a directory of a root nobody trusts, by descriptors: what `tmpcopyup` takes along."""

from __future__ import annotations

import _stat as stat
import posix as os

from cloche.linux import files

DEEPEST = 128
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


def copy_directory(held: int, target: int) -> None:
    """Copy what the directory holds that `held` stands for into directory `target`, with owners and modes; not its own.

    `held` may be an O_PATH descriptor.
    """
    with files.Fd(os.open(".", _FLAGS | os.O_DIRECTORY, dir_fd=held)) as source:
        _copy_entries(source.number, target, DEEPEST)


def _copy_entries(source: int, target: int, left: int) -> None:
    if left == 0:
        raise OSError(40, "is too deep to be copied")
    for name in os.listdir(source):
        status = os.stat(name, dir_fd=source, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            os.mkdir(name, 0o700, dir_fd=target)
            with (
                files.Fd(os.open(name, _FLAGS | os.O_DIRECTORY, dir_fd=source)) as inner,
                files.Fd(os.open(name, _FLAGS | os.O_DIRECTORY, dir_fd=target)) as made,
            ):
                _copy_entries(inner.number, made.number, left - 1)
        elif stat.S_ISREG(status.st_mode):
            _copy_file(source, target, name)
        elif stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        else:
            os.mknod(name, status.st_mode, status.st_rdev, dir_fd=target)
        os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
        if not stat.S_ISLNK(status.st_mode):
            os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=target)
            os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=target)


def _copy_file(source: int, target: int, name: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with (
        files.Fd(os.open(name, _FLAGS, dir_fd=source)) as given,
        files.Fd(os.open(name, flags, 0o600, dir_fd=target)) as made,
    ):
        if not stat.S_ISREG(os.fstat(given.number).st_mode):
            raise OSError(22, "was another kind of file a moment ago", name)
        while os.sendfile(made.number, given.number, None, 1 << 30):
            pass
