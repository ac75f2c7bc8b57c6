"""What changes in directories and files (inotify(7), Linux 2.6.27): to wait for it in place of looking again and again.

Not told are changes by other machines (a network file system) and those made through a mapping of the file.
"""

from __future__ import annotations

import posix as os
import select

from cloche.linux import kernel
from cloche.linux.files import Fd

# linux/inotify.h
IN_MODIFY = 0x2
IN_ATTRIB = 0x4
IN_CLOSE_WRITE = 0x8
IN_MOVED_FROM = 0x40
IN_MOVED_TO = 0x80
IN_CREATE = 0x100
IN_DELETE = 0x200
IN_DELETE_SELF = 0x400
IN_MOVE_SELF = 0x800
IN_Q_OVERFLOW = 0x4000
IN_IGNORED = 0x8000
IN_ONLYDIR = 0x1000000
_HEAD = 16  # struct inotify_event { int wd; u32 mask, cookie, len; char name[len]; }
_ROOM = 1 << 16


class Watch(Fd):
    """A queue of changes; closed as any descriptor. Raises OSError EMFILE where this user has too many of them."""

    __slots__ = ()

    def __init__(self) -> None:
        flags = os.O_CLOEXEC | os.O_NONBLOCK  # IN_CLOEXEC, IN_NONBLOCK
        super().__init__(kernel.call("inotify_init1", kernel.number(294, 26), flags))

    def add(self, path: str, mask: int) -> int:
        """inotify_add_watch(2): hear of what `mask` (IN_*) says of a file, or of what is in a directory.

        Returns what it is called in `read`; the same for one that is watched already, whose mask is replaced.
        """
        try:
            return kernel.call("inotify_add_watch", kernel.number(254, 27), self.number, kernel.path_bytes(path), mask)
        except OSError as error:
            error.filename = path
            raise

    def read(self) -> list[tuple[int, int, str]]:
        """What has happened since the last time: (what `add` returned, IN_*, name in that directory or ""), at once.

        IN_Q_OVERFLOW, with -1, says that more has happened than is told.
        """
        found: list[tuple[int, int, str]] = []
        while True:
            try:
                data = os.read(self.number, _ROOM)
            except BlockingIOError:
                return found
            at = 0
            while at < len(data):
                watched = int.from_bytes(data[at : at + 4], "little", signed=True)
                mask = int.from_bytes(data[at + 4 : at + 8], "little")
                end = at + _HEAD + int.from_bytes(data[at + 12 : at + 16], "little")
                name = data[at + _HEAD : end].rstrip(b"\0").decode(errors="surrogateescape")
                found.append((watched, mask, name))
                at = end

    def wait(self, seconds: float, other: int = -1) -> bool:
        """Wait until there is something to be read, here or from another descriptor, at most so long; whether it is."""
        return wait_for([self.number, other], seconds)


def wait_for(descriptors: list[int], seconds: float | None = None) -> bool:
    """Wait until there is something to be read from one of them, at most so long, None: for ever.

    Descriptors below 0 are none. Returns whether there is something.
    """
    poll = select.poll()
    for number in descriptors:
        if number >= 0:
            poll.register(number, select.POLLIN)
    return bool(poll.poll(None if seconds is None else max(0, int(seconds * 1000 + 0.999))))
