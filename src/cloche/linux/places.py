"""Paths and the environment, as `os` has them: for modules that commands load which are to be there at once.

`os` takes 1.2 ms to import, of which most is for the abstract classes of its mapping. Those modules say
`import posix as os` for the calls, which are the same functions, and take the rest from here.
"""

from __future__ import annotations

import posix
import sys

S_IFDIR, S_IFLNK, S_IFMT = 0o040000, 0o120000, 0o170000

try:
    from posix import _path_normpath as _normpath  # type: ignore[attr-defined]  # os.path's own since 3.11
except ImportError:  # pragma: no cover - a Python that has it elsewhere
    from posixpath import normpath as _normpath


def normpath(path: str) -> str:
    """The same without `.`, `..` and double slashes, as far as its words tell."""
    return _normpath(path) or "."


def isdir(path: str) -> bool:
    """Whether there is a directory, or a link to one."""
    try:
        return posix.stat(path).st_mode & S_IFMT == S_IFDIR
    except (OSError, ValueError):
        return False


def exists(path: str) -> bool:
    """Whether there is anything, or a link to it."""
    try:
        posix.stat(path)
    except (OSError, ValueError):
        return False
    return True


def lexists(path: str) -> bool:
    """Whether there is anything, or a link, wherever that leads."""
    try:
        posix.lstat(path)
    except (OSError, ValueError):
        return False
    return True


def islink(path: str) -> bool:
    """Whether there is a link."""
    try:
        return posix.lstat(path).st_mode & S_IFMT == S_IFLNK
    except (OSError, ValueError):
        return False


def samefile(one: str, other: str) -> bool:
    """Whether both lead to the same. Raises OSError where one of them leads to nothing."""
    return _identity(posix.stat(one)) == _identity(posix.stat(other))


def sameopenfile(one: int, other: int) -> bool:
    """Whether two descriptors are of the same file."""
    return _identity(posix.fstat(one)) == _identity(posix.fstat(other))


def _identity(status: posix.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def realpath(path: str) -> str:
    """Where that is without a link on the way, seen from the root; of what is not there as far as it can be said."""
    try:
        fd = posix.open(path, posix.O_PATH | posix.O_CLOEXEC)
        try:
            found = posix.readlink(f"/proc/self/fd/{fd}")
        finally:
            posix.close(fd)
    except OSError:
        found = ""
    if lexists(found):  # else it is not there, or has a name no more
        return found
    from os.path import realpath as as_far_as_it_is_there

    return as_far_as_it_is_there(path)


def dirname(path: str) -> str:
    """All before the last slash."""
    above = path[: path.rfind("/") + 1]
    return above.rstrip("/") or above


def basename(path: str) -> str:
    """All after the last slash."""
    return path.rpartition("/")[2]


def join(above: str, below: str) -> str:
    """`below`, seen from `above` unless it is absolute."""
    if below.startswith("/") or not above:
        return below
    return above + below if above.endswith("/") else f"{above}/{below}"


def abspath(path: str) -> str:
    """Where that is, seen from the root."""
    return normpath(path if path.startswith("/") else join(posix.getcwd(), path))


def makedirs(path: str, mode: int = 0o777) -> None:
    """Make a directory of this mode unless it is there, and what is missing above it, writable for its owner alone."""
    try:
        posix.mkdir(path, mode)
    except FileExistsError:
        if not isdir(path):
            raise
    except FileNotFoundError:
        above = dirname(path)
        if not above or isdir(above):
            raise
        makedirs(above, 0o755)
        makedirs(path, mode)


def commonpath(one: str, other: str) -> str:
    """The deepest directory that both of these absolute paths are in."""
    while not f"{other}/".startswith(f"{one.rstrip('/')}/"):
        one = dirname(one)
    return one


def fsencode(path: str) -> bytes:
    """A name as the kernel knows it."""
    return path.encode(sys.getfilesystemencoding(), "surrogateescape")


def fsdecode(path: bytes) -> str:
    """A name of the kernel's as text, from which `fsencode` makes the same again."""
    return path.decode(sys.getfilesystemencoding(), "surrogateescape")


def variable(name: str) -> str | None:
    """A variable of the environment, None for one that is not set; as `os` has it by now, where that is loaded."""
    if (loaded := sys.modules.get("os")) is not None:
        return loaded.environ.get(name)  # type: ignore[no-any-return]
    value = posix.environ.get(fsencode(name))
    return None if value is None else fsdecode(value)


def environment(name: str, otherwise: str = "") -> str:
    """The same, or what is to be taken for one that is not set."""
    value = variable(name)
    return otherwise if value is None else value


def set_variable(name: str, value: str) -> None:
    """Set one, for this process and those it starts."""
    if (loaded := sys.modules.get("os")) is not None:
        loaded.environ[name] = value
    else:
        posix.putenv(name, value)
    posix.environ[fsencode(name)] = fsencode(value)
