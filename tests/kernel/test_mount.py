"""cloche.linux.mount: new file systems, copies, attributes, overlay, id maps, pivot_root."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from cloche.linux import mount, namespaces, process
from cloche.linux.files import AT_FDCWD, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, filesystem_type

from .forked import clone, ended, enter_namespaces, fails, in_child, needs_root


def outcome(function: object, *args: object) -> str:
    """The errno's name when a call is refused, else "done"."""
    try:
        function(*args)  # type: ignore[operator]
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "done"


def attach(fd: int, path: Path) -> None:
    mount.move_mount(fd, AT_FDCWD, str(path))
    os.close(fd)


def tmpfs(path: Path) -> Path:
    attach(mount.new_filesystem("tmpfs", {"mode": "0755"}), path)
    return path


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


def test_overlay_in_a_user_namespace(tmp_path: Path) -> None:
    def child() -> tuple[int, str, list[str], list[str], bool]:
        enter_namespaces(process.CLONE_NEWNS)
        base = tmpfs(tmp_path)
        for name in ("lower", "upper", "work", "merged"):
            (base / name).mkdir()
        for name in ("kept", "changed", "removed"):
            (base / "lower" / name).write_text("below")
        layers: dict[str, str | None] = {f"{n}dir": str(base / n) for n in ("lower", "upper", "work")}
        fd = mount.new_filesystem("overlay", layers | {"userxattr": None})
        magic = filesystem_type(fd)
        attach(fd, base / "merged")
        (base / "merged" / "changed").write_text("above")
        (base / "merged" / "removed").unlink()
        whiteout = os.stat(base / "upper" / "removed")
        untouched = (base / "lower" / "changed").read_text()
        upper, merged = sorted(os.listdir(base / "upper")), sorted(os.listdir(base / "merged"))
        return magic, untouched, upper, merged, whiteout.st_rdev == 0

    expected = (OVERLAYFS_SUPER_MAGIC, "below", ["changed", "removed"], ["changed", "kept"], True)
    assert in_child(child) == expected


@needs_root
def test_an_idmapped_bind_mount_shows_other_owners(tmp_path: Path) -> None:
    def child() -> tuple[int, tuple[int, int], int, int]:
        namespaces.unshare(process.CLONE_NEWNS)
        mount.make_private()
        source = tmpfs(tmp_path)
        (source / "disk").mkdir(mode=0o700)
        (source / "disk" / "file").write_text("owned by 0 on disk")
        hold, release = os.pipe()
        pid, pidfd = clone(process.CLONE_NEWUSER, lambda: len(os.read(hold, 1)))
        for kind in ("uid", "gid"):
            namespaces.write_id_map(pid, kind, [(0, 100_000, 1000)])
        userns = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        mapped = mount.open_tree(AT_FDCWD, str(source / "disk"))
        mount.mount_setattr(mapped, set_=mount.MOUNT_ATTR_IDMAP, userns=userns)
        outside = os.stat("file", dir_fd=mapped).st_uid

        def inside() -> tuple[int, int]:
            namespaces.setns(userns)
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
            os.close(os.open("made", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=mapped))
            return os.stat("file", dir_fd=mapped).st_uid, os.stat("made", dir_fd=mapped).st_uid

        seen = in_child(inside)
        on_disk = os.stat(source / "disk" / "made").st_uid
        os.write(release, b".")
        return outside, seen, on_disk, ended(pidfd)[1]

    assert in_child(child) == (100_000, (0, 0), 0, 1)


def test_an_idmap_needs_a_user_namespace(tmp_path: Path) -> None:
    def child() -> None:
        enter_namespaces(process.CLONE_NEWNS)
        fd = mount.open_tree(AT_FDCWD, str(tmp_path))
        other = os.open("/proc/self/ns/uts", os.O_RDONLY)
        with fails(errno.EINVAL, "mount_setattr(2)"):
            mount.mount_setattr(fd, set_=mount.MOUNT_ATTR_IDMAP, userns=other)

    in_child(child)


def test_pivot_root_onto_itself_leaves_nothing_of_the_old_root(tmp_path: Path) -> None:
    def child() -> tuple[bool, list[str], list[str], str]:
        enter_namespaces(process.CLONE_NEWNS)
        (tmpfs(tmp_path) / "marker").mkdir()
        os.chdir(tmp_path)
        mount.pivot_root(".", ".")
        reachable = os.path.exists("/../proc/self")  # the old root still lies over the new one
        mount.umount2(".", mount.MNT_DETACH)
        os.chdir("/")
        return reachable, os.listdir("/"), os.listdir("/.."), outcome(os.stat, "/../proc")

    assert in_child(child) == (True, ["marker"], ["marker"], "ENOENT")


def test_pivot_root_and_umount_refuse_what_is_no_mount(tmp_path: Path) -> None:
    def child() -> None:
        enter_namespaces(process.CLONE_NEWNS)
        with fails(errno.EINVAL, "pivot_root(2)"):
            mount.pivot_root(str(tmp_path), str(tmp_path))
        with fails(errno.EINVAL, "umount2(2)"):
            mount.umount2(str(tmp_path))
        with fails(errno.ENOENT, "umount2(2)"):
            mount.umount2(str(tmp_path / "nothing"))

    in_child(child)


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
