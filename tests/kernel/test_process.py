"""cloche.linux.process: clone3 in its variants, pidfds, waiting, prctl, close_range."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import pytest

from cloche.linux import files, namespaces, process

from .forked import clone, ended, enter_namespaces, fails, in_child, needs_root, status

ALL = process.CLONE_NEWUSER | process.CLONE_NEWNS | process.CLONE_NEWPID | process.CLONE_NEWNET
ALL |= process.CLONE_NEWIPC | process.CLONE_NEWUTS | process.CLONE_NEWCGROUP | process.CLONE_NEWTIME


def test_clone3_with_every_namespace_and_id_maps() -> None:
    def parent() -> tuple[list[str], list[int], tuple[int, int]]:
        ready, go = os.pipe()
        answer, tell = os.pipe()

        def child() -> int:
            os.read(ready, 1)  # the maps are written now
            os.write(tell, f"{os.getpid()} {os.getppid()} {os.getuid()} {os.getgid()}".encode())
            return 42

        pid, pidfd = clone(ALL, child)
        names = [n for n in namespaces.NAMES if _inode(pid, n) != _inode(os.getpid(), n)]
        namespaces.deny_setgroups(pid)
        namespaces.write_id_map(pid, "uid", [(7, os.geteuid(), 1)])
        namespaces.write_id_map(pid, "gid", [(8, os.getegid(), 1)])
        os.write(go, b".")
        facts = [int(word) for word in os.read(answer, 100).split()]
        return names, facts, ended(pidfd)

    in_child(enter_namespaces)  # or skip
    names, facts, how = in_child(parent)
    assert names == list(namespaces.NAMES)
    assert facts == [1, 0, 7, 8]
    assert how == (process.CLD_EXITED, 42)


def _inode(pid: int, name: str) -> int:
    return os.stat(f"/proc/{pid}/ns/{name}").st_ino


@pytest.mark.parametrize("code", [0, 1, 127, 255])
def test_exit_codes(code: int) -> None:
    assert in_child(lambda: ended(clone(0, lambda: code)[1])) == (process.CLD_EXITED, code)


def test_clone3_refuses_nonsense() -> None:
    def attempt() -> None:
        with fails(errno.EINVAL, "clone3(2)"):
            clone(process.CLONE_NEWNS | 0x200, lambda: 0)  # CLONE_FS

    in_child(attempt)


def test_clone_parent_makes_a_sibling() -> None:
    def grandparent() -> tuple[bool, tuple[int, int], tuple[int, int]]:
        answer, tell = os.pipe()
        me = os.getpid()

        def middle() -> int:
            pid, _ = clone(process.CLONE_PARENT, lambda: 7 if os.getppid() == me else 8)
            os.write(tell, str(pid).encode())
            return 5

        _, pidfd = clone(0, middle)
        sibling = int(os.read(answer, 20))
        first = ended(pidfd)
        reaped, raw = os.waitpid(sibling, 0)  # it is ours, though the one that made it has gone
        return reaped == sibling, first, (process.CLD_EXITED, os.waitstatus_to_exitcode(raw))

    same, middle, sibling = in_child(grandparent)
    assert same
    assert (middle, sibling) == ((process.CLD_EXITED, 5), (process.CLD_EXITED, 7))


def test_pidfd_is_closed_on_exec_and_signals() -> None:
    def sleeper() -> int:
        signal.pause()
        return 0

    def parent() -> tuple[bool, tuple[int, int]]:
        _, pidfd = clone(0, sleeper)
        inheritable = os.get_inheritable(pidfd)
        process.pidfd_send_signal(pidfd, signal.SIGKILL)
        return inheritable, ended(pidfd)

    assert in_child(parent) == (False, (process.CLD_KILLED, signal.SIGKILL))


def test_wait_pidfd_without_waiting_then_usage_then_no_child() -> None:
    def parent() -> tuple[bool, int, float, int]:
        hold, release = os.pipe()
        pid, pidfd = clone(0, lambda: sum(range(300_000)) and len(os.read(hold, 1)))
        early = process.wait_pidfd(pidfd, options=os.WEXITED | os.WNOHANG)
        os.write(release, b".")
        how = process.wait_pidfd(pidfd)
        assert how is not None
        assert how.pid == pid
        with fails(errno.ECHILD, "waitid(2)"):
            process.wait_pidfd(pidfd)
        with fails(errno.ESRCH, "pidfd_send_signal(2)"):
            process.pidfd_send_signal(pidfd, 0)
        return early is None, how.status, how.user_time + how.system_time, how.max_rss

    early, code, seconds, rss = in_child(parent)
    assert (early, code) == (True, 1)
    assert 0 < seconds < 5
    assert 1 << 20 < rss < 1 << 32


def test_pidfd_open_of_nobody() -> None:
    with fails(errno.ESRCH, "pidfd_open(2)"):
        process.pidfd_open(2**22 - 1)


def test_pidfd_getfd_copies_from_another_process() -> None:
    def parent() -> bytes:
        answer, tell = os.pipe()
        hold, release = os.pipe()

        def child() -> int:
            memory = files.memfd_create("handed over")
            os.write(memory, b"copied")
            os.write(tell, bytes([memory]))
            os.read(hold, 1)
            return 0

        _, pidfd = clone(0, child)
        number = os.read(answer, 1)[0]
        copy = process.pidfd_getfd(pidfd, number)
        with fails(errno.EBADF, "pidfd_getfd(2)"):
            process.pidfd_getfd(pidfd, 9999)
        os.write(release, b".")
        ended(pidfd)
        return os.pread(copy, 100, 0)

    assert in_child(parent) == b"copied"


@needs_root
def test_clone3_into_a_cgroup() -> None:
    with open("/proc/self/mountinfo") as file:
        mounts = [line.split() for line in file]
    points = [words[4] for words in mounts if words[words.index("-") + 1] == "cgroup2"]
    if not points:
        pytest.skip("no cgroup v2 is mounted")
    place = Path(points[0], f"cloche-test-{os.getpid()}")
    place.mkdir()
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY)

    def child() -> int:
        with open("/proc/self/cgroup") as file:
            return 0 if any(line.strip().endswith(place.name) for line in file) else 1

    try:
        assert in_child(lambda: ended(clone(0, child, cgroup=fd)[1])) == (process.CLD_EXITED, 0)
    finally:
        os.close(fd)
        place.rmdir()


def test_clone3_into_what_is_no_cgroup(tmp_path: Path) -> None:
    def attempt() -> None:
        with files.Fd(os.open(tmp_path, os.O_RDONLY)) as fd, fails(errno.EBADF, "clone3(2)"):
            clone(0, lambda: 0, cgroup=fd.number)

    in_child(attempt)


def test_no_new_privs_and_dumpable_show() -> None:
    def child() -> tuple[str, str, int, int]:
        before = status("NoNewPrivs")
        process.set_no_new_privs()
        process.set_dumpable(False)
        off = process.prctl(process.PR_GET_DUMPABLE)
        process.set_dumpable(True)
        return before, status("NoNewPrivs"), off, process.prctl(process.PR_GET_DUMPABLE)

    assert in_child(child)[1:] == ("1", 0, 1)


def test_prctl_names_itself_when_refused() -> None:
    with fails(errno.EINVAL, "prctl(2)"):
        process.prctl(99999)


def test_die_with_parent() -> None:
    def reaper() -> tuple[int, int]:
        process.prctl(process.PR_SET_CHILD_SUBREAPER, 1)
        answer, tell = os.pipe()

        def middle() -> int:
            ready, set_ = os.pipe()

            def orphan() -> int:
                process.die_with_parent()
                os.write(set_, b".")
                signal.pause()
                return 0

            pid, _ = clone(0, orphan)
            os.read(ready, 1)
            os.write(tell, str(pid).encode())
            return 0

        ended(clone(0, middle)[1])
        pid, raw = os.waitpid(int(os.read(answer, 20)), 0)
        return pid, os.waitstatus_to_exitcode(raw)

    assert in_child(reaper)[1] == -signal.SIGKILL


def test_close_range_closes_or_marks() -> None:
    def child() -> tuple[bool, bool, bool]:
        first = os.open("/", os.O_PATH)
        os.set_inheritable(first, True)
        process.close_range(first, first, flags=process.CLOSE_RANGE_CLOEXEC)
        marked = not os.get_inheritable(first)
        process.close_range(first, first)
        try:
            os.fstat(first)
        except OSError:
            return marked, True, False
        return marked, False, False

    assert in_child(child) == (True, True, False)
    with fails(errno.EINVAL, "close_range(2)"):
        process.close_range(9, 3)
