"""cloche.linux.files: resolution that cannot escape, memory files and seals, nodes."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
from pathlib import Path

import pytest

from cloche.linux import files, process
from cloche.linux.files import Fd, open_in_root, openat2

from .forked import clone, ended, enter_namespaces, fails, in_child


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A root directory with links that try to leave it, beside a file they must not reach."""
    (tmp_path / "secret").write_text("outside")
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "name").write_text("inside")
    (root / "absolute").symlink_to("/etc/name")
    (root / "host").symlink_to(tmp_path / "secret")
    (root / "dots").symlink_to("../../../../../../../../../.." + str(tmp_path / "secret"))
    (root / "chain").symlink_to("absolute")
    (root / "etc" / "up").symlink_to("../..")
    return root


def read(fd: int) -> str:
    with os.fdopen(fd) as file:
        return file.read()


@pytest.mark.parametrize("path", ["etc/name", "/etc/name", "absolute", "chain", "../../etc/name", "etc/up/etc/name"])
def test_in_root_finds_what_a_chroot_would(tree: Path, path: str) -> None:
    with Fd(os.open(tree, os.O_PATH)) as root:
        assert read(open_in_root(root.number, path, os.O_RDONLY)) == "inside"


@pytest.mark.parametrize("path", ["host", "dots", "../secret", "etc/up/secret", "etc/../../secret"])
def test_in_root_cannot_be_left(tree: Path, path: str) -> None:
    assert (tree / "etc").is_dir()
    with Fd(os.open(tree, os.O_PATH)) as root, fails(errno.ENOENT, "openat2(2)"):
        open_in_root(root.number, path)


def test_renames_elsewhere_do_not_disturb(tree: Path) -> None:
    (tree.parent / "one").mkdir()

    def child() -> int:
        def restless() -> int:
            process.die_with_parent()
            while True:
                os.rename(tree.parent / "one", tree.parent / "two")
                os.rename(tree.parent / "two", tree.parent / "one")

        _, pidfd = clone(0, restless)
        with Fd(os.open(tree, os.O_PATH)) as root:
            for _ in range(3000):
                os.close(open_in_root(root.number, "etc/up/etc/name"))
        process.pidfd_send_signal(pidfd, signal.SIGKILL)
        return ended(pidfd)[1]

    assert in_child(child) == signal.SIGKILL


def test_magic_links_are_refused() -> None:
    with Fd(os.open("/proc", os.O_PATH)) as proc, fails(errno.ELOOP, "openat2(2)"):
        open_in_root(proc.number, "self/root")


@pytest.mark.parametrize(
    ("path", "resolve", "code"),
    [
        ("absolute", files.RESOLVE_BENEATH, errno.EXDEV),
        ("../secret", files.RESOLVE_BENEATH, errno.EXDEV),
        ("chain", files.RESOLVE_NO_SYMLINKS, errno.ELOOP),
        ("nothing", 0, errno.ENOENT),
        ("etc/name", 1 << 40, errno.EINVAL),
    ],
)
def test_resolve_rules(tree: Path, path: str, resolve: int, code: int) -> None:
    with Fd(os.open(tree, os.O_PATH)) as root, fails(code, "openat2(2)"):
        openat2(root.number, path, os.O_RDONLY, resolve=resolve)


def test_no_xdev_stops_at_a_mount() -> None:
    with Fd(os.open("/", os.O_PATH)) as root, fails(errno.EXDEV, "openat2(2)"):
        openat2(root.number, "proc/version", os.O_RDONLY, resolve=files.RESOLVE_NO_XDEV)


def test_openat2_creates_with_mode_and_close_on_exec(tmp_path: Path) -> None:
    with Fd(openat2(files.AT_FDCWD, str(tmp_path / "new"), os.O_CREAT | os.O_WRONLY, mode=0o600)) as new:
        assert not os.get_inheritable(new.number)
        assert stat.S_IMODE(os.fstat(new.fileno()).st_mode) == 0o600


def test_a_nul_in_a_path_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="null byte"):
        openat2(files.AT_FDCWD, "/etc\0", os.O_RDONLY)
    with pytest.raises(ValueError, match="null byte"):
        files.memfd_create("a\0b")


def test_a_sealed_memfd_cannot_be_changed() -> None:
    with Fd(files.memfd_create("bell", files.MFD_CLOEXEC | files.MFD_ALLOW_SEALING)) as memory:
        fd = memory.number
        os.write(fd, b"cast")
        seals = files.F_SEAL_SEAL | files.F_SEAL_SHRINK | files.F_SEAL_GROW | files.F_SEAL_WRITE
        fcntl.fcntl(fd, files.F_ADD_SEALS, seals)
        assert fcntl.fcntl(fd, files.F_GET_SEALS) & seals == seals
        for change in (lambda: os.write(fd, b"x"), lambda: os.ftruncate(fd, 0), lambda: os.ftruncate(fd, 9)):
            with pytest.raises(PermissionError):
                change()
        with pytest.raises(PermissionError):  # not even through a new description
            os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_TRUNC)
        assert os.pread(fd, 10, 0) == b"cast"
        with pytest.raises(PermissionError):
            fcntl.fcntl(fd, files.F_ADD_SEALS, files.F_SEAL_WRITE)


def test_a_memfd_without_sealing_refuses_seals() -> None:
    with Fd(files.memfd_create("bell")) as memory, pytest.raises(PermissionError):
        fcntl.fcntl(memory.number, files.F_ADD_SEALS, files.F_SEAL_WRITE)


def test_fd_closes_once_and_can_be_given_away() -> None:
    fd = Fd(os.open("/", os.O_PATH))
    number = fd.number
    fd.close()
    fd.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)
    with Fd(os.open("/", os.O_PATH)) as fd:
        number = fd.detach()
    os.close(number)


def test_filesystem_type_of_proc_and_namespaces() -> None:
    with Fd(os.open("/proc", os.O_PATH)) as proc:
        assert files.filesystem_type(proc.number) == files.PROC_SUPER_MAGIC
    with Fd(os.open("/proc/self/ns/user", os.O_RDONLY)) as ns:
        assert files.filesystem_type(ns.number) == files.NSFS_MAGIC
    with fails(errno.EBADF, "fstatfs(2)"):
        files.filesystem_type(-1)


def test_a_whiteout_needs_no_privilege(tmp_path: Path) -> None:
    def make() -> tuple[int, int]:
        enter_namespaces()
        with Fd(os.open(tmp_path, os.O_PATH)) as place:
            files.mknodat(place.number, "gone", stat.S_IFCHR)
        node = os.stat(tmp_path / "gone")
        return stat.S_IFMT(node.st_mode), node.st_rdev

    assert in_child(make) == (stat.S_IFCHR, 0)


def test_write_value_names_the_file_and_the_call(tmp_path: Path) -> None:
    (tmp_path / "value").write_text("")
    files.write_value(str(tmp_path / "value"), "5")
    assert (tmp_path / "value").read_text() == "5"
    with pytest.raises(FileNotFoundError):
        files.write_value(str(tmp_path / "missing"), "5")
    with fails(errno.EINVAL, "write(2)"):
        files.write_value("/proc/self/oom_score_adj", "loud")
    with pytest.raises(OSError, match="'/proc/self/oom_score_adj'"):
        files.write_value("/proc/self/oom_score_adj", "loud")
