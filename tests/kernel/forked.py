"""Running a part of a test in a process of its own, so that what it does to itself ends with it.

    the test                         a child of it
    in_child(f) ──── fork ─────────▶ f()
      waits             pipe         │
      returns, fails ◀── result or traceback ── _exit
      or skips

Children return facts and the test asserts on them. What does not belong here: mocks.
"""

from __future__ import annotations

import errno
import marshal
import os
import re
import select
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

from cloche.linux import mount, namespaces, process

T = TypeVar("T")
PATIENCE = 10  # seconds; a child that takes longer is stuck


def in_child(function: Callable[[], T]) -> T:
    """Run `function` in a forked child; return its result (plain data), or fail or skip as it did."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _run_and_exit(function, writing)
    os.close(writing)
    pidfd = process.pidfd_open(pid)
    try:
        data = _read_all(reading)
        if data is None:
            process.pidfd_send_signal(pidfd, signal.SIGKILL)
        how = process.wait_pidfd(pidfd)
    finally:
        os.close(reading)
        os.close(pidfd)
    if data is None:
        pytest.fail(f"the child did not finish within {PATIENCE} s")
    if not data:
        assert how is not None
        pytest.fail(f"the child ended without a word: code {how.code}, status {how.status}")
    kind, value = marshal.loads(data)
    if kind == "skip":
        pytest.skip(value)
    if kind == "fail":
        pytest.fail(f"in the child:\n{value}", pytrace=False)
    result: T = value
    return result


def _run_and_exit(function: Callable[[], Any], writing: int) -> None:
    outcome: tuple[str, Any]
    try:
        process.die_with_parent()
        try:
            outcome = "result", function()
        except pytest.skip.Exception as skipped:
            outcome = "skip", str(skipped)
        except BaseException as error:
            outcome = "fail", "".join(traceback.format_exception(error))[-60_000:]
        os.write(writing, marshal.dumps(outcome))
    finally:
        os._exit(0)


def _read_all(fd: int) -> bytes | None:
    """Everything up to the end of the pipe; None when nothing came in time."""
    if not select.select([fd], [], [], PATIENCE)[0]:
        return None
    return os.read(fd, 1 << 16)


def clone(flags: int, function: Callable[[], int], *, cgroup: int = -1) -> tuple[int, int]:
    """clone3 a child that runs `function` and exits with its result, or 99; returns (pid, pidfd)."""
    pid, pidfd = process.clone3(flags, cgroup=cgroup)
    if pid == 0:
        try:
            os._exit(function())
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
        finally:
            os._exit(99)
    return pid, pidfd


def ended(pidfd: int) -> tuple[int, int]:
    """Wait for a child, close its pidfd; returns (CLD_* code, exit status or signal)."""
    how = process.wait_pidfd(pidfd)
    os.close(pidfd)
    assert how is not None
    return how.code, how.status


def enter_namespaces(flags: int = 0) -> None:
    """Become root of a new user namespace, where only 0 is mapped, and of new ones by `flags`.

    Mounts, if they are unshared, are made private. Skips where user namespaces are not allowed.
    """
    uid, gid = os.geteuid(), os.getegid()
    try:
        namespaces.unshare(process.CLONE_NEWUSER | flags)
        namespaces.deny_setgroups(0)
        namespaces.write_id_map(0, "uid", [(0, uid, 1)])
        namespaces.write_id_map(0, "gid", [(0, gid, 1)])
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EACCES, errno.ENOSPC):
            pytest.skip(f"user namespaces are not allowed here: {error}")
        raise
    if flags & process.CLONE_NEWNS:
        mount.make_private()


def status(field: str) -> str:
    """A field of /proc/self/status, as text."""
    with open("/proc/self/status") as file:
        return next(line.split(":", 1)[1].strip() for line in file if line.startswith(f"{field}:"))


@contextmanager
def fails(code: int, note: str) -> Iterator[None]:
    """Expect OSError with this errno and a note that has this text."""
    with pytest.raises(OSError, match=re.escape(os.strerror(code))) as caught:
        yield
    error = caught.value
    notes = getattr(error, "__notes__", [])
    assert error.errno == code
    assert any(note in text for text in notes), f"{notes} do not name {note}"


def _is_real_root() -> bool:
    with open("/proc/self/uid_map") as file:
        return os.geteuid() == 0 and file.read().split() == ["0", "0", "4294967295"]


needs_root = pytest.mark.skipif(not _is_real_root(), reason="needs root outside of any user namespace")
