"""What a process writes about itself in procfs, which nothing mounted there may redirect; groups of resctrl."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from cloche.linux import mount, process
from cloche.linux.files import AT_FDCWD
from cloche.stage.operations import attributes
from cloche.stage.scene import Outside

from .forked import enter_namespaces, fails, in_child, needs_root
from .mounts import tmpfs


@needs_root
def test_a_procfs_of_our_own_has_us_in_it() -> None:
    def child() -> str:
        proc = attributes._own_proc()
        attributes.write_own(proc, ["nosuch", "comm"], "changed")
        assert os.stat("/proc").st_dev != os.fstat(proc).st_dev, "it is a new one"
        with fails(errno.ENOENT, "openat2(2)"):
            attributes.write_own(proc, ["nosuch"], "x")
        return Path("/proc/self/comm").read_text()

    assert in_child(child) == "changed\n"


def test_what_is_mounted_over_a_file_of_procfs_is_not_written_to(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")

    def child() -> str:
        enter_namespaces(process.CLONE_NEWNS)
        proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY)
        attributes.write_own(proc, ["comm"], "changed")
        found = Path("/proc/self/comm").read_text()
        with open(victim, "rb") as file:
            copy = mount.open_tree(file.fileno(), b"")
        mount.move_mount(copy, AT_FDCWD, f"/proc/{os.getpid()}/task/{os.getpid()}/comm")
        with fails(errno.EXDEV, "openat2(2)"):
            attributes.write_own(proc, ["comm"], "redirected")
        return found

    assert in_child(child) == "changed\n"
    assert victim.read_text() == "untouched"


def test_what_is_no_procfs_is_not_written_to(tmp_path: Path) -> None:
    def child() -> str:
        enter_namespaces(process.CLONE_NEWNS)
        fake = tmpfs(tmp_path)
        (fake / "thread-self/attr").mkdir(parents=True)
        (fake / "thread-self/attr/exec").write_text("untouched")
        with pytest.raises(OSError, match="is not of procfs"):
            attributes.write_own(os.open(fake, os.O_PATH | os.O_DIRECTORY), ["attr/exec"], "redirected")
        return (fake / "thread-self/attr/exec").read_text()

    assert in_child(child) == "untouched"


def resctrl(top: Path) -> Outside:
    """A directory with what the step looks at, and a scene whose process is 1234."""
    (top / "there").mkdir()
    (top / "there/schemata").write_text("    MB:0=100;1=100\n    L3:0=7f0;1=1f\n")
    (top / "there/tasks").write_text("")
    scene = Outside([])
    scene.pid = 1234
    return scene


def test_a_class_of_service_that_is_there_is_joined_if_it_is_as_asked(tmp_path: Path) -> None:
    scene, path = resctrl(tmp_path), str(tmp_path / "there")
    attributes.EnterResctrl(path, True, ("L3:0=7f0",)).execute(scene)
    assert (tmp_path / "there/tasks").read_text() == "1234"
    (tmp_path / "there/tasks").write_text("")
    for line in ("L3:0=7ff", "MB:1=50", "L2:0=f"):
        with pytest.raises(OSError, match="is there with another") as caught:
            attributes.EnterResctrl(path, True, (line,)).execute(scene)
        assert caught.value.errno == errno.EEXIST
    assert (tmp_path / "there/tasks").read_text() == "", "not joined, and not changed"
    assert "7f0" in (tmp_path / "there/schemata").read_text()


def test_a_class_of_service_is_not_made_where_nothing_is_said_about_it(tmp_path: Path) -> None:
    scene = resctrl(tmp_path)
    with pytest.raises(OSError, match="no such class of service"):
        attributes.EnterResctrl(str(tmp_path / "other"), False, ()).execute(scene)
    assert not (tmp_path / "other").exists()


def test_schemata_are_compared_by_value() -> None:
    parse = attributes.parse_schemata
    assert parse(["L3:0=7f0;1=01f", " MB:0=20 ; 1=70"]) == parse(["MB:0=20", "L3:1=1f;0=7F0", "MB:1=70"])
    assert parse(["MB:0=10"])[("MB", "0")] == 10
    assert parse(["L3CODE:0=10"])[("L3CODE", "0")] == 16
