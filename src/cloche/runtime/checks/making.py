"""Within an attempt: a process in new namespaces, as a stage makes one, and other people's programs.

in_new(flags, f)                     the new process
  ├─ clone3(flags) ────────────────▶ waits
  ├─ id maps written, prepare(pid)
  ├─ release ──────────────────────▶ becomes root inside, f()
  ◀── value, or the OSError of f ────┘
"""

from __future__ import annotations

import errno
import marshal
import os

from cloche.linux import namespaces, process
from cloche.runtime.checks.attempt import BROKEN, MOST, REFUSED, deliver, how_it_died, rebuild
from cloche.runtime.idmaps import IdMaps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def in_new(
    flags: int,
    function: Callable[[], Any],
    ids: IdMaps | None = None,
    *,
    cgroup: int = -1,
    prepare: Callable[[int], None] | None = None,
) -> Any:
    """Run `function` in a new process in new namespaces, as a stage would make one; return its result.

    With CLONE_NEWUSER the maps `ids` are written from outside, or one that makes the caller root inside.
    `prepare` is called with the new process' pid before that one goes on. For use within an attempt.
    Raises what `function` raised, OSError.
    """
    hold, release = os.pipe2(os.O_CLOEXEC)
    reading, writing = os.pipe2(os.O_CLOEXEC)
    pid, pidfd = process.clone3(flags, cgroup=cgroup)
    if pid == 0:
        os.close(release)
        if not os.read(hold, 1):
            os._exit(1)
        deliver(writing, lambda: _become_root(function, change=bool(flags & process.CLONE_NEWUSER)))
    os.close(writing)
    os.close(hold)
    try:
        if flags & process.CLONE_NEWUSER:
            write_maps(pid, ids or own_map())
        if prepare is not None:
            prepare(pid)
        os.write(release, b".")
        data = os.read(reading, MOST)
    finally:
        os.close(release)
        os.close(reading)
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
    if not data:
        raise OSError(errno.ECHILD, how_it_died(status))
    kind, *rest = marshal.loads(data)
    if kind == REFUSED:
        raise rebuild(rest)
    if kind == BROKEN:
        raise RuntimeError(rest[0])
    return rest[0]


def _become_root(function: Callable[[], Any], *, change: bool) -> Any:
    if change:
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
    process.die_with_parent()
    return function()


def own_map() -> IdMaps:
    """The map anybody may write: the caller is root inside, and nobody else exists."""
    uids, gids = ((0, os.geteuid(), 1),), ((0, os.getegid(), 1),)
    return IdMaps("single", uids, gids, "root inside is you", deny_setgroups=True)


def write_maps(pid: int, ids: IdMaps) -> None:
    """Give a process in a new user namespace its ids, as the stage does."""
    if ids.deny_setgroups:
        namespaces.deny_setgroups(pid)
    for kind, entries, helper in (("uid", ids.uids, ids.uid_helper), ("gid", ids.gids, ids.gid_helper)):
        if helper:
            words = [str(number) for entry in entries for number in entry]
            code, text = output_of([helper, str(pid), *words])
            if code:
                raise PermissionError(errno.EPERM, text or f"ended with {code}", helper)
        else:
            namespaces.write_id_map(pid, kind, entries)


def output_of(argv: list[str]) -> tuple[int, str]:
    """Run a program by its path; its exit code and the first line it wrote, to either stream."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        actions = [(os.POSIX_SPAWN_DUP2, writing, 1), (os.POSIX_SPAWN_DUP2, writing, 2)]
        pid = os.posix_spawn(argv[0], argv, {"LC_ALL": "C"}, file_actions=actions)
        os.close(writing)
        writing = -1
        text = b""
        while part := os.read(reading, 4096):
            text = (text + part)[:4096]
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text.decode(errors="replace").partition("\n")[0]
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)
