"""Locks that are files which come and go: whoever removes one holds it (flock(2))."""

from __future__ import annotations

import errno
import fcntl
import posix as os

from cloche.linux import files


def lock(path: str, *, shared: bool = False) -> files.Fd:
    """Open the file, made if it is missing, and wait until nobody else holds it, but for others who share it.

    Who waited for one that was removed or renamed meanwhile tries again with the file that has the name now.
    """
    while True:
        held = files.Fd(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644))
        try:
            fcntl.flock(held.number, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
            if os.stat(path).st_ino == os.fstat(held.number).st_ino:
                return held
        except FileNotFoundError:
            pass
        except BaseException:
            held.close()
            raise
        held.close()


def _open(path: str) -> int:
    """For an exclusive lock, which some file systems of other machines give only to who may write."""
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def lock_folder(path: str, *, wait: bool = True) -> files.Fd:
    """Lock a directory in which names are moved. Raises BlockingIOError for one that is locked, if that is not to wait.

    FileNotFoundError where it is not there.
    """
    held = files.Fd(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    try:
        fcntl.flock(held.number, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BaseException:
        held.close()
        raise
    return held


def is_locked(path: str) -> bool:
    """Whether somebody holds the lock on a file, which need not be there."""
    try:
        with files.Fd(_open(path)) as file:
            fcntl.flock(file.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
