"""cloche.linux.mount: new file systems, copies, attributes, refusals."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from cloche.linux import mount, process
from cloche.linux.files import AT_FDCWD, TMPFS_MAGIC, filesystem_type

from .forked import enter_namespaces, fails, in_child
from .mounts import attach, outcome, tmpfs


def options(path: Path) -> set[str]:
    """The per-mount options of the topmost mount at `path`."""
    with open("/proc/self/mountinfo") as file:
        return set([line.split()[5] for line in file if line.split()[4] == str(path)][-1].split(","))


def test_new_tmpfs_with_options_and_attributes(tmp_path: Path) -> None:
    def child() -> tuple[int, int, set[str]]:
        enter_namespaces(process.CLONE_NEWNS)
        flags = mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NODEV
        fd = mount.new_filesystem("tmpfs", {"size": "64k", "mode": "0750", "source": "bell"}, flags)
        magic, mode = filesystem_type(fd), os.fstat(fd).st_mode & 0o7777
        attach(fd, tmp_path)
        return magic, mode, options(tmp_path)

    magic, mode, set_ = in_child(child)
    assert (magic, mode) == (TMPFS_MAGIC, 0o750)
    assert {"nosuid", "nodev", "rw"} <= set_


def test_a_file_system_says_what_it_did_not_like() -> None:
    def child() -> None:
        enter_namespaces(process.CLONE_NEWNS)
        with fails(errno.EINVAL, "nonsense"):
            mount.new_filesystem("tmpfs", {"nonsense": "1"})
        with fails(errno.EINVAL, "fsconfig(2)"):
            mount.new_filesystem("tmpfs", {"nonsense": None})
        with fails(errno.ENODEV, "fsopen(2)"):
            mount.new_filesystem("no-such-filesystem", {})

    in_child(child)


def test_a_read_only_bind_truly_refuses_writes(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "below").mkdir(parents=True)
    (source / "file").write_text("kept")
    target.mkdir()

    def child() -> tuple[list[str], str]:
        enter_namespaces(process.CLONE_NEWNS)
        tmpfs(source / "below")
        fd = mount.open_tree(AT_FDCWD, str(source), recursive=True)
        mount.mount_setattr(fd, set_=mount.MOUNT_ATTR_RDONLY, recursive=True)
        attach(fd, target)
        results = [
            outcome(os.open, target / "file", os.O_WRONLY),
            outcome(os.mkdir, target / "new"),
            outcome(os.unlink, target / "file"),
            outcome(os.chmod, target / "file", 0o777),
            outcome(os.mkdir, target / "below" / "new"),
            outcome(os.mkdir, source / "through-the-other-mount"),
        ]
        return results, (target / "file").read_text()

    assert in_child(child) == (["EROFS"] * 5 + ["done"], "kept")


def test_without_recursive_the_mounts_below_stay_behind(tmp_path: Path) -> None:
    (tmp_path / "source" / "below").mkdir(parents=True)

    def child() -> list[list[str]]:
        enter_namespaces(process.CLONE_NEWNS)
        (tmpfs(tmp_path / "source") / "below").mkdir()
        (tmpfs(tmp_path / "source" / "below") / "deep").mkdir()
        found = []
        for recursive in (False, True):
            fd = mount.open_tree(AT_FDCWD, str(tmp_path / "source"), recursive=recursive)
            found.append(os.listdir(os.open("below", os.O_RDONLY, dir_fd=fd)))
        return found

    assert in_child(child) == [[], ["deep"]]


def test_open_tree_of_a_descriptor_and_without_a_copy(tmp_path: Path) -> None:
    def child() -> tuple[bool, bool]:
        enter_namespaces(process.CLONE_NEWNS)
        place = os.open(tmp_path, os.O_PATH)
        copy = mount.open_tree(place, "")
        plain = mount.open_tree(AT_FDCWD, str(tmp_path), clone=False)
        same = os.fstat(copy).st_ino == os.fstat(plain).st_ino == os.fstat(place).st_ino
        with fails(errno.EINVAL, "move_mount(2)"):
            mount.move_mount(plain, AT_FDCWD, str(tmp_path))  # not the root of a mount
        return same, os.get_inheritable(copy)

    assert in_child(child) == (True, False)


def test_attributes_are_set_and_cleared(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/")

    def child() -> tuple[str, str, set[str], set[str]]:
        enter_namespaces(process.CLONE_NEWNS)
        tmpfs(tmp_path)
        (tmp_path / "link").symlink_to("/")
        no_atime = mount.MOUNT_ATTR_NOATIME | mount.MOUNT_ATTR_NOEXEC | mount.MOUNT_ATTR_NOSYMFOLLOW
        mount.mount_setattr(AT_FDCWD, str(tmp_path), set_=no_atime, clear=mount.MOUNT_ATTR_ATIME)
        refused, before = outcome(os.listdir, tmp_path / "link"), options(tmp_path)
        drop = mount.MOUNT_ATTR_NOSYMFOLLOW | mount.MOUNT_ATTR_NOEXEC
        mount.mount_setattr(AT_FDCWD, str(tmp_path), clear=drop)
        return refused, outcome(os.listdir, tmp_path / "link"), before, options(tmp_path)

    refused, allowed, before, after = in_child(child)
    assert (refused, allowed) == ("ELOOP", "done")
    assert {"noatime", "noexec"} <= before
    assert "noatime" in after
    assert "noexec" not in after


def test_private_mounts_do_not_come_out(tmp_path: Path) -> None:
    def child() -> set[str]:
        enter_namespaces(process.CLONE_NEWNS)
        tmpfs(tmp_path)
        mount.mount_setattr(AT_FDCWD, str(tmp_path), propagation=mount.MS_SHARED)
        with open("/proc/self/mountinfo") as file:
            line = next(line for line in file if line.split()[4] == str(tmp_path))
        return set(line.split(" - ")[0].split()[6:])

    assert any(tag.startswith("shared:") for tag in in_child(child))
    with open("/proc/self/mountinfo") as file:
        assert str(tmp_path) not in file.read()


def test_without_privilege_it_is_eperm(tmp_path: Path) -> None:
    def child() -> None:
        enter_namespaces()  # root of a user namespace, but the mounts belong to the one above
        with fails(errno.EPERM, "open_tree(2)"):
            mount.open_tree(AT_FDCWD, str(tmp_path))
        with fails(errno.EPERM, "fsopen(2)"):
            mount.fsopen("tmpfs")
        with fails(errno.EPERM, "pivot_root(2)"):
            mount.pivot_root(".", ".")

    in_child(child)


def test_a_nul_in_a_path_is_a_value_error() -> None:
    for attempt in (
        lambda: mount.umount2("/tmp\0"),
        lambda: mount.pivot_root("/\0", "/"),
        lambda: mount.open_tree(AT_FDCWD, "/\0"),
        lambda: mount.fsopen("tmpfs\0"),
    ):
        with pytest.raises(ValueError, match="null byte"):
            attempt()


def test_one_line_of_options_as_long_as_a_page(tmp_path: Path) -> None:
    places = [tmp_path / f"{number:040}" for number in range(40)]  # more than the 255 bytes of fsconfig(2)
    for place in places:
        place.mkdir()
        (place / place.name[-2:]).touch()

    def child() -> tuple[int, set[str]]:
        enter_namespaces(process.CLONE_NEWNS)
        os.chdir(tmp_path)
        data = "lowerdir=" + ":".join(place.name for place in places)
        os.mkdir("top")
        mount.mount_with_data("overlay", "top", mount.MS_NODEV, data)
        with fails(errno.EINVAL, "mount(2)"):
            mount.mount_with_data("overlay", "top", 0, "nonsense=1")
        return len(os.listdir("top")), options(tmp_path / "top")

    count, set_ = in_child(child)
    assert count == 40
    assert "nodev" in set_
