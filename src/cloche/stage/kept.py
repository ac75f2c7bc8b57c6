"""A copy of the interpreter that stays, so that root's containers need not make one each (CVE-2019-5736).

    /run/cloche/interpreters/.IDENTITY/bin/python3   the copy: root's, and immutable (ioctl_iflags(2))
    /run/cloche/interpreters/.IDENTITY/lib           a link, by which Python finds its library
    /run/cloche/interpreters/usr/bin/python3         a link to the copy, at the path of the original

The launcher starts from the last of these where it is there; this module then makes sure that it is what it
should be, or makes it. Nobody without CAP_LINUX_IMMUTABLE in the initial user namespace can write to it, whoever
they are; a container that is given that capability has to run from `seal`'s memory file instead.
"""

from __future__ import annotations

import posix as os
import sys

from cloche.linux import files
from cloche.stage.seal import is_out_of_reach, is_sealed, restart_sealed

KEPT = "/run/cloche/interpreters"


def seal_against(maps: list[tuple[int, int]] | None, capabilities: set[str]) -> None:
    """Restart from a copy nobody can write, where one of the host's ids in `maps` could (None: any of them).

    `maps` are (first, how many), `capabilities` the names of those that can be had in there.
    """
    if not reaches_interpreter(maps):
        return
    if maps is None and "CAP_LINUX_IMMUTABLE" in capabilities:
        restart_sealed()
    else:
        restart_kept()


def reaches_interpreter(maps: list[tuple[int, int]] | None) -> bool:
    """Whether one of the host's ids in `maps` could write this interpreter."""
    owner = os.stat(sys.executable).st_uid
    if maps and not any(start <= owner < start + size for start, size in maps):
        return False
    return not is_out_of_reach()


def runs_kept() -> bool:
    """Whether this very process runs from such a copy, of the interpreter as it is now."""
    with files.Fd(os.open("/proc/self/exe", os.O_RDONLY | os.O_CLOEXEC)) as exe:
        path = os.readlink("/proc/self/exe")
        if not path.startswith(f"{KEPT}/.") or os.fstat(exe.number).st_uid != 0:
            return False
        try:
            current = identity(sys.executable.removeprefix(KEPT))
        except OSError:
            return False
        return path.removeprefix(f"{KEPT}/").split("/")[0] == current and bool(
            files.flags_of(exe.number) & files.FS_IMMUTABLE_FL
        )


def restart_kept() -> None:
    """Execute this command line again from a copy that is kept, or from one in memory where none can be."""
    if is_sealed() or runs_kept():
        return
    if os.geteuid() == 0:
        from cloche.stage.keeping import keep

        try:
            path = keep(sys.executable.removeprefix(KEPT))
        except OSError:
            path = ""  # /run cannot be written, or its file system has no such flag: the memory file is as good
        if path:
            os.execve(path, [path, *sys.orig_argv[1:]], os.environ)
    restart_sealed()


def identity(path: str) -> str:
    """The name of the copy of the interpreter that is there now."""
    status = os.stat(path)
    return f".{status.st_dev:x}-{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"
