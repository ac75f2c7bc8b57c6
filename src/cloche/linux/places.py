"""Paths, as os.path has them: for modules that every command of the runtime loads.

`os` takes 1.2 ms to import, of which most is for the abstract classes of its mapping. Those modules say
`import posix as os` for the calls, which are the same functions, and take from here what is os.path's.
"""

from __future__ import annotations

import posix

S_IFDIR, S_IFMT = 0o040000, 0o170000

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
    return normpath(join(posix.getcwd(), path))


def makedirs(path: str, mode: int = 0o777) -> None:
    """Make a directory of this mode unless it is there, and what is missing above it, of this mode, too."""
    try:
        posix.mkdir(path, mode)
    except FileExistsError:
        if not isdir(path):
            raise
    except FileNotFoundError:
        above = dirname(path)
        if not above or isdir(above):
            raise
        makedirs(above, mode)
        makedirs(path, mode)


def commonpath(one: str, other: str) -> str:
    """The deepest directory that both of these absolute paths are in."""
    while not f"{other}/".startswith(f"{one.rstrip('/')}/"):
        one = dirname(one)
    return one


def environment(name: str, otherwise: str = "") -> str:
    """A variable of the environment."""
    return posix.environ.get(name.encode(), otherwise.encode()).decode(errors="surrogateescape")
