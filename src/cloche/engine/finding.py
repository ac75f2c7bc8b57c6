"""A path in a container, followed as its own processes would, one name at a time: what it stands for, and where.

/a/link/../b    each name is opened below the descriptor of the last one, and followed nowhere; a link is read,
                and what it says goes on from there, or from the root: never above it
/proc/1/root    leads nowhere but where its text does: nothing is followed by the kernel, so there is no magic
"""

from __future__ import annotations

import errno
import os
import stat

from cloche.linux import files
from cloche.records import record

LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
MOST_LINKS = 255  # followed for one path, as docker has it
LONGEST = 4096
BENEATH = files.RESOLVE_BENEATH | files.RESOLVE_NO_SYMLINKS


@record
class Found:
    """Where a path leads: `name` in the directory `parent`, a descriptor that is the caller's; "." for the root itself.

    `path` is where that is, without links, from the root on. `fd` is what is there, -1 for nothing; `link` what it
    says where it is a link that was not followed.
    """

    parent: int
    name: bytes
    path: bytes
    fd: int
    link: bytes = b""

    @property
    def directory(self) -> bool:
        """Whether it is there, and a directory."""
        return self.fd >= 0 and stat.S_ISDIR(os.fstat(self.fd).st_mode)


def find(root: int, path: bytes, *, follow: bool) -> Found:
    """Follow a path from the descriptor `root`; the last name too if `follow`, or if it ends in "/" or "/.".

    Only the last name may be missing: raises FileNotFoundError, NotADirectoryError, OSError.
    """
    follow = follow or path.endswith((b"/", b"/."))
    waiting = [part for part in path.split(b"/") if part not in {b"", b"."}][::-1]
    at: list[bytes] = []
    links = 0
    place = files.Fd(os.open(".", LOOK | os.O_DIRECTORY, dir_fd=root))
    try:
        while waiting:
            name = waiting.pop()
            if name == b"..":
                at = at[:-1]
                place.close()
                place = files.Fd(files.openat2(root, b"/".join(at) or b".", LOOK, resolve=BENEATH))
                continue
            last = not waiting
            try:
                fd = files.Fd(os.open(name, LOOK, dir_fd=place.number))
            except FileNotFoundError:
                if not last:
                    raise
                return Found(place.detach(), name, b"/".join([*at, name]), -1)
            mode = os.fstat(fd.number).st_mode
            if stat.S_ISLNK(mode) and (follow or not last):
                with fd:
                    target = os.readlink(b"", dir_fd=fd.number)
                links += 1
                if links > MOST_LINKS or sum(map(len, waiting)) > LONGEST:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.fsdecode(path))
                if target.startswith(b"/"):
                    at = []
                    place.close()
                    place = files.Fd(os.open(".", LOOK | os.O_DIRECTORY, dir_fd=root))
                waiting += [part for part in target.split(b"/") if part not in {b"", b"."}][::-1]
                continue
            if last:
                link = os.readlink(b"", dir_fd=fd.number) if stat.S_ISLNK(mode) else b""
                return Found(place.detach(), name, b"/".join([*at, name]), fd.detach(), link)
            if not stat.S_ISDIR(mode):
                fd.close()
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), os.fsdecode(path))
            at.append(name)
            place.close()
            place = fd
        top = os.dup(place.number)
        return Found(place.detach(), b".", b"/".join(at), top)
    finally:
        place.close()
