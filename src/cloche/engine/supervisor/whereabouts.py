"""Whether the supervisor, which makes containers, is where a command is: a path may mean something else to it.

It keeps the namespaces of whoever has started it. What is asked in others is refused, unless that comes to the same.
"""

from __future__ import annotations

import posix as os

from cloche.errors import ConflictError, ForbiddenError
from cloche.linux import places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Place = tuple[int, int]  # st_dev and st_ino
    Mounts = dict[bytes, tuple[bytes, ...]]  # mount point: device, root within it, options

SELF = "self"
NAMESPACES = {"user": "user", "net": "network", "pid": "PID", "ipc": "IPC", "uts": "UTS"}  # which have to be the same


def of(who: str | int) -> dict[str, Place]:
    """The namespaces and the root of a process, of which ours can read that (ptrace(2))."""
    found = {name: os.stat(f"/proc/{who}/ns/{name}") for name in (*NAMESPACES, "mnt")}
    found["root"] = os.stat(f"/proc/{who}/root")
    return {name: (status.st_dev, status.st_ino) for name, status in found.items()}


def check(theirs: dict[str, Place], pid: int, paths: Iterable[str]) -> None:
    """Raise ConflictError where a command is elsewhere than process `pid`, and `paths` are not the same there."""
    ours = of(SELF)
    if ours == theirs:
        return
    hint = f"run it there: nsenter -t {pid} -a; or end what runs, and the next command starts a supervisor here"
    for name, word in NAMESPACES.items():
        if ours[name] != theirs[name]:
            raise ConflictError(f"the supervisor, process {pid}, is in another {word} namespace", hint=hint)
    try:
        here, there = _mounts(SELF), _mounts(pid)
    except OSError as error:
        text = f"the supervisor, process {pid}, is in another mount namespace, which cannot be read: {error.strerror}"
        raise ForbiddenError(text, hint=hint) from None
    for path in paths:
        if not _is_same(places.realpath(path), pid, here, there):
            text = f"{path} is something else for the supervisor, process {pid}, which is in another mount namespace"
            raise ConflictError(text, hint=hint)


def _is_same(path: str, pid: int, here: Mounts, there: Mounts) -> bool:
    """Whether a path leads to the same file in both, and what is mounted below it is the same."""
    try:
        ours, theirs = os.stat(path), os.stat(f"/proc/{pid}/root{path}")
    except OSError:
        return False
    same = (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino)
    place = places.fsencode(path)
    return same and seen_at(here, place) == seen_at(there, place)


def seen_at(mounts: Mounts, path: bytes) -> Mounts:
    """What is mounted at and below a path, and what it is on."""
    below = path.rstrip(b"/") + b"/"
    found = {point: what for point, what in mounts.items() if point == path or point.startswith(below)}
    over = max((point for point in mounts if (path + b"/").startswith(point.rstrip(b"/") + b"/")), key=len, default=b"")
    return {**found, over: mounts.get(over, ())}


def _mounts(who: str | int) -> Mounts:
    with open(f"/proc/{who}/mountinfo", "rb") as file:
        return parsed(file.read())


def parsed(text: bytes) -> Mounts:
    """proc_pid_mountinfo(5), of mounts on top of each other the last."""
    lines = (line.split(b" ") for line in text.splitlines())
    return {_plain(words[4]): (words[2], words[3], words[5]) for words in lines}


def _plain(text: bytes) -> bytes:
    for octal, char in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
        text = text.replace(octal, char)
    return text
