"""Copying and emptying directories by descriptors: deep ones, links, holes, and those somebody changes meanwhile."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

import pytest
from tests.images.whole import look

from cloche.stage import copying, removal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEEP = 3000


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[tuple[Path, int, int]]:
    """A directory to copy, and descriptors of it and of an empty one."""
    for name in ("from", "to"):
        (tmp_path / name).mkdir()
    source, target = (os.open(tmp_path / name, os.O_RDONLY | os.O_DIRECTORY) for name in ("from", "to"))
    yield tmp_path, source, target
    for fd in (source, target):
        removal.empty(fd)
        os.close(fd)


def test_all_comes_along(folders: tuple[Path, int, int]) -> None:
    top, source, target = folders
    mine = top / "from"
    (mine / "a/b").mkdir(parents=True)
    (mine / "a/b/file").write_bytes(b"content")
    (mine / "a/b/file").chmod(0o4711)
    os.link(mine / "a/b/file", mine / "linked")
    os.link(mine / "a/b/file", mine / "a/linked")
    os.setxattr(mine / "a/b", "user.note", b"\xff")
    (mine / "a/link").symlink_to("/etc/passwd")
    os.mkfifo(mine / "fifo", 0o640)
    (mine / os.fsdecode(b"latin-\xe9\n")).write_bytes(b"")
    with (mine / "sparse").open("wb") as file:
        file.seek(5 << 20)
        file.write(b"end")
        file.truncate(9 << 20)
    os.utime(mine / "a/b/file", ns=(1, 1_600_000_000_123_456_789))
    os.utime(mine / "a/b", ns=(1, 1_500_000_000_000_000_001))
    mine.chmod(0o2750)
    assert copying.copy_directory(source, target, itself=True) == {}
    assert look(str(top / "to")) == look(str(mine))
    assert (top / "to/sparse").stat().st_blocks == (mine / "sparse").stat().st_blocks < 100
    assert (top / "to/a/b").stat().st_mtime_ns == 1_500_000_000_000_000_001
    assert stat.S_IMODE((top / "to").stat().st_mode) == 0o2750


def test_without_what_it_is_like_itself(folders: tuple[Path, int, int]) -> None:
    top, source, target = folders
    (top / "from").chmod(0o700)
    (top / "to").chmod(0o711)
    copying.copy_directory(source, target)
    assert stat.S_IMODE((top / "to").stat().st_mode) == 0o711


def test_a_tree_deeper_than_any_path_and_than_descriptors_last(folders: tuple[Path, int, int]) -> None:
    _, source, target = folders
    here = os.dup(source)
    for _ in range(DEEP):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("one", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.link("one", "two", src_dir_fd=here, dst_dir_fd=here)
    os.close(here)
    assert copying.copy_directory(source, target) == {}
    here, depth = os.dup(target), 0
    while "d" in (names := os.listdir(here)):
        below = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here, depth = below, depth + 1
    os.close(here)
    assert (depth, sorted(names)) == (DEEP, ["one", "two"])  # too far down for a link between them
    removal.empty(target)
    assert os.listdir(target) == []


def test_no_link_of_a_volume_leads_a_hard_link_out(folders: tuple[Path, int, int]) -> None:
    """Another container that has the volume puts a link where the first of a file's names was copied to."""
    top, source, target = folders
    (top / "from/file").write_bytes(b"x")
    os.link(top / "from/file", top / "from/other")
    (top / "outside").mkdir()
    (top / "outside/secret").write_bytes(b"s")
    (top / "to/evil").symlink_to(top / "outside")
    copy = copying._Copy(os.dup(source), os.dup(target), target)
    status = (top / "from/file").stat()
    copy._links[status.st_dev, status.st_ino] = "evil", "secret"
    try:
        with pytest.raises(OSError) as caught:  # noqa: PT011 - whichever the kernel says
            copy.run()
        assert caught.value.errno in {errno.ELOOP, errno.EXDEV}
    finally:
        os.close(copy.source)
        os.close(copy.target)
    assert (top / "outside/secret").stat().st_nlink == 1


def test_a_directory_that_is_moved_meanwhile_is_an_error(folders: tuple[Path, int, int]) -> None:
    top, source, target = folders
    (top / "from/a/b").mkdir(parents=True)
    copy = copying._Copy(os.dup(source), os.dup(target), target)
    try:
        assert copy._enter("a", [])
        (top / "to/elsewhere").mkdir()
        (top / "to/a").rename(top / "to/elsewhere/a")
        with pytest.raises(OSError, match="was moved while it was copied"):
            copy._leave()
    finally:
        os.close(copy.source)
        os.close(copy.target)


def test_what_is_there_already_is_no_place_to_write_to(folders: tuple[Path, int, int]) -> None:
    top, source, target = folders
    (top / "from/file").write_bytes(b"x")
    (top / "secret").write_bytes(b"s")
    (top / "to/file").symlink_to(top / "secret")
    with pytest.raises(FileExistsError):
        copying.copy_directory(source, target)
    assert (top / "secret").read_bytes() == b"s"


def test_emptying_follows_no_link(folders: tuple[Path, int, int]) -> None:
    top, _, target = folders
    (top / "outside").mkdir()
    (top / "outside/file").write_bytes(b"x")
    (top / "to/link").symlink_to(top / "outside")
    (top / "to/a/b").mkdir(parents=True)
    (top / "to/a/b/link").symlink_to(top / "outside")
    removal.empty(target)
    assert os.listdir(target) == []
    assert (top / "outside/file").exists()
