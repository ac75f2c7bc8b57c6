"""cloche.linux.mount, what containers are made of: overlay, mapped ids, a root of their own."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from cloche.linux import mount, namespaces, process
from cloche.linux.files import AT_FDCWD, OVERLAYFS_SUPER_MAGIC, filesystem_type

from .forked import clone, ended, enter_namespaces, fails, in_child, needs_root
from .mounts import attach, outcome, tmpfs


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
