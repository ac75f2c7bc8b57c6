"""cloche.linux.terminal: a devpts instance of one's own, sizes, raw mode, sessions."""

from __future__ import annotations

import ctypes
import errno
import os
import select
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from cloche.linux import mount, process, terminal
from cloche.linux.files import AT_FDCWD, Fd

from .forked import clone, ended, enter_namespaces, fails, in_child

T = TypeVar("T")


def with_pty(place: Path, function: Callable[[int, int], T]) -> T:
    """Run `function(master, slave)` in a child that has mounted a devpts of its own at `place`."""

    def child() -> T:
        enter_namespaces(process.CLONE_NEWNS)
        options: dict[str, str | None] = {"newinstance": None, "ptmxmode": "0666", "mode": "0620"}
        mount.move_mount(mount.new_filesystem("devpts", options), AT_FDCWD, str(place))
        with Fd(os.open(place, os.O_RDONLY | os.O_DIRECTORY)) as devpts:
            return function(*terminal.open_pty(devpts.number))

    return in_child(child)


def test_a_pty_of_this_instance(tmp_path: Path) -> None:
    def check(master: int, slave: int) -> tuple[int, bool, bool, bool]:
        named = os.stat(tmp_path / str(terminal.pty_number(master)))
        same = (named.st_dev, named.st_ino) == (os.fstat(slave).st_dev, os.fstat(slave).st_ino)
        inheritable = os.get_inheritable(master) or os.get_inheritable(slave)
        return terminal.pty_number(master), same, os.isatty(slave), inheritable

    assert with_pty(tmp_path, check) == (0, True, True, False)


def test_cooked_and_raw_and_restored(tmp_path: Path) -> None:
    def written(master: int, slave: int) -> bytes:
        os.write(slave, b"a\n")
        return os.read(master, 100)

    def typed(master: int, slave: int, keys: bytes) -> bytes:
        os.write(master, keys)
        return os.read(slave, 100) if select.select([slave], [], [], 1)[0] else b"nothing"

    def check(master: int, slave: int) -> list[object]:
        found: list[object] = [written(master, slave)]
        saved = terminal.raw_mode(slave)
        found += [written(master, slave), typed(master, slave, b"\x03\r"), len(saved)]
        terminal.restore(slave, saved)
        found += [written(master, slave), typed(master, slave, b"x\r")]
        return found

    assert with_pty(tmp_path, check) == [b"a\r\n", b"a\n", b"\x03\r", 36, b"a\r\n", b"x\n"]


def test_raw_mode_is_what_cfmakeraw_makes(tmp_path: Path) -> None:
    def check(_: int, slave: int) -> tuple[bytes, bytes]:
        saved = terminal.raw_mode(slave)
        theirs = ctypes.create_string_buffer(saved, 60)  # the C library's struct begins like the kernel's
        ctypes.CDLL(None).cfmakeraw(theirs)
        return terminal.raw_mode(slave), theirs.raw[: len(saved)]

    ours, theirs = with_pty(tmp_path, check)
    assert ours == theirs


def test_window_size_is_seen_on_both_ends(tmp_path: Path) -> None:
    def check(master: int, slave: int) -> tuple[tuple[int, int], tuple[int, int]]:
        before = terminal.window_size(slave)
        terminal.set_window_size(master, 50, 300)
        return before, terminal.window_size(slave)

    assert with_pty(tmp_path, check) == ((0, 0), (50, 300))


def test_controlling_terminal_and_foreground(tmp_path: Path) -> None:
    def check(_: int, slave: int) -> tuple[int, int]:
        def leader() -> int:
            os.setsid()
            terminal.make_controlling(slave)
            with Fd(os.open("/dev/tty", os.O_RDWR)) as tty:
                assert terminal.foreground(tty.number) == os.getpid()
            hold, release = os.pipe()
            pid, pidfd = clone(0, lambda: len(os.read(hold, 1)))
            os.setpgid(pid, pid)
            terminal.set_foreground(slave, pid)
            assert terminal.foreground(slave) == pid
            os.write(release, b".")
            ended(pidfd)
            return 5

        return ended(clone(0, leader)[1])

    assert with_pty(tmp_path, check) == (process.CLD_EXITED, 5)


def test_who_leads_no_session_gets_no_terminal(tmp_path: Path) -> None:
    def check(_: int, slave: int) -> None:
        def follower() -> int:
            with fails(errno.EPERM, "TIOCSCTTY"):
                terminal.make_controlling(slave)
            return 0

        assert ended(clone(0, follower)[1]) == (process.CLD_EXITED, 0)

    with_pty(tmp_path, check)


def test_what_is_no_terminal(tmp_path: Path) -> None:
    with Fd(os.open(tmp_path, os.O_RDONLY)) as fd:
        with fails(errno.ENOTTY, "TIOCGWINSZ"):
            terminal.window_size(fd.number)
        with fails(errno.ENOTTY, "TCGETS"):
            terminal.raw_mode(fd.number)
        with pytest.raises(FileNotFoundError):
            terminal.open_pty(fd.number)
        (tmp_path / "ptmx").write_text("not a device")
        with fails(errno.ENOTTY, "TIOCSPTLCK"):
            terminal.open_pty(fd.number)
