"""Making the copy of the interpreter that stays (`kept`), and removing copies that nothing leads to any more."""

from __future__ import annotations

import os
import sys

from cloche.linux import files
from cloche.stage import kept


def _is_intact(path: str) -> bool:
    """Whether there is a copy at `path` that nobody can write, and its library beside it."""
    try:
        with files.Fd(os.open(f"{path}/bin/python3", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)) as copy:
            immutable = files.flags_of(copy.number) & files.FS_IMMUTABLE_FL
            return bool(immutable) and os.fstat(copy.number).st_uid == 0 and os.path.isdir(f"{path}/lib")
    except OSError:
        return False


def keep(origin: str) -> str:
    """Make the copy of interpreter `origin` and the link to it, as far as they are missing; returns the link.

    The launcher starts what is there, whoever calls it: no directory on the way is anybody else's to write to, in an
    engine with a umask of 0 neither.
    """
    mask = os.umask(0o022)
    try:
        return _keep(origin)
    finally:
        os.umask(mask)


def _keep(origin: str) -> str:
    folder = f"{kept.KEPT}/{kept.identity(origin)}"
    os.makedirs(kept.KEPT, 0o755, exist_ok=True)
    for path in ("/run/cloche", kept.KEPT):
        status = os.stat(path, follow_symlinks=False)
        if status.st_uid != 0 or status.st_mode & 0o022:
            raise OSError(1, "is not root's alone", path)
    with files.Fd(os.open(kept.KEPT, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as place:
        import fcntl

        # one at a time: another would take a copy that has no link yet for one that nobody needs
        fcntl.flock(place.number, fcntl.LOCK_EX)
        if not _is_intact(folder):
            remove_copy(folder)
            _copy(origin, folder)
        link = f"{kept.KEPT}{origin}"
        os.makedirs(os.path.dirname(link), 0o755, exist_ok=True)
        temporary = f"{link}.new"
        if os.path.lexists(temporary):
            os.unlink(temporary)  # of one that was killed
        os.symlink(f"{folder}/bin/python3", temporary)
        os.replace(temporary, link)
        _forget_others()
    return link


def _copy(origin: str, folder: str) -> None:
    made = f"{folder}.new"
    remove_copy(made)  # of one that was killed
    os.makedirs(f"{made}/bin", 0o755)
    # itself, not the link of the copy we may be running from, which goes when the original is another
    os.symlink(os.path.realpath(f"{sys.base_prefix}/lib"), f"{made}/lib")
    with (
        files.Fd(os.open(origin, os.O_RDONLY | os.O_CLOEXEC)) as source,
        files.Fd(os.open(f"{made}/bin/python3", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755)) as copy,
    ):
        while os.sendfile(copy.number, source.number, None, 1 << 30):
            pass
        os.fchmod(copy.number, 0o555)
    # one that does not find its library would be found out too late
    pid = os.posix_spawn(f"{made}/bin/python3", [f"{made}/bin/python3", "-I", "-S", "-c", "import os, _socket"], {})
    works = os.waitpid(pid, 0)[1] == 0
    if works:
        with files.Fd(os.open(f"{made}/bin/python3", os.O_RDONLY | os.O_CLOEXEC)) as copy:
            works = _freeze(copy.number)
    if not works:
        remove_copy(made)
        raise OSError(95, "cannot hold a copy that nobody can write", folder)
    os.rename(made, folder)


def _freeze(fd: int) -> bool:
    try:
        files.set_flags(fd, files.flags_of(fd) | files.FS_IMMUTABLE_FL)
    except OSError:
        return False
    return True


def remove_copy(folder: str) -> None:
    """Remove the directory of a copy, as far as it is there."""
    for name in ("bin/python3", "lib"):
        path = f"{folder}/{name}"
        if not os.path.lexists(path):
            continue
        if name != "lib":
            with files.Fd(os.open(path, os.O_RDONLY | os.O_CLOEXEC)) as copy:
                if files.flags_of(copy.number) & files.FS_IMMUTABLE_FL:
                    files.set_flags(copy.number, files.flags_of(copy.number) & ~files.FS_IMMUTABLE_FL)
        os.unlink(path)
    for path in (f"{folder}/bin", folder):
        if os.path.isdir(path):
            os.rmdir(path)


def _forget_others() -> None:
    """Remove links whose original is gone, and copies that no link leads to."""
    used = set()
    for top, folders, names in os.walk(kept.KEPT, topdown=True):
        folders[:] = [name for name in folders if not (top == kept.KEPT and name.startswith("."))]
        for name in names:
            link = f"{top}/{name}"
            if not os.path.islink(link):
                continue
            if os.path.exists(link.removeprefix(kept.KEPT)) and os.path.exists(link):
                used.add(os.readlink(link).removeprefix(f"{kept.KEPT}/").split("/")[0])
            else:
                os.unlink(link)
                _remove_empty(top)
    for name in os.listdir(kept.KEPT):
        if name.startswith(".") and name not in used:
            remove_copy(f"{kept.KEPT}/{name}")


def _remove_empty(folder: str) -> None:
    while folder != kept.KEPT:
        try:
            os.rmdir(folder)
        except OSError:
            return
        folder = os.path.dirname(folder)
