"""Writing limits where a file may be missing, and what may not be taken is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cloche.stage.limits import hand_down, inherit_cpuset, write_limits

if TYPE_CHECKING:
    from pathlib import Path


def test_the_first_file_that_is_there_is_written(tmp_path: Path) -> None:
    (tmp_path / "b").touch()
    (tmp_path / "c").touch()
    write_limits(str(tmp_path), (("a", "1", "x", "always", (("b", "2"), ("c", "3"))),))
    assert [(tmp_path / name).read_text() for name in "bc"] == ["2", ""]


def test_what_has_to_be_is_an_error_that_names_the_first_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        write_limits(str(tmp_path), (("a", "1", "x", "always", (("b", "2"),)),))
    assert caught.value.filename == f"{tmp_path}/a"


def test_what_need_not_be_is_noted_or_holds_anyway(tmp_path: Path) -> None:
    writes = (("a", "1", "old", "never", ()), ("b", "1", "swap", "present", ()))
    assert write_limits(str(tmp_path), writes) == [("old", "the kernel has no a: No such file or directory")]


def test_a_cpuset_group_inherits_what_it_does_not_have(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    for directory, cpus, mems in ((tmp_path, "0-3\n", "0\n"), (inner, "1\n", "\n")):
        (directory / "cpuset.cpus").write_text(cpus)
        (directory / "cpuset.mems").write_text(mems)
    inherit_cpuset(str(tmp_path), str(inner))
    assert [(inner / f"cpuset.{name}").read_text().strip() for name in ("cpus", "mems")] == ["1", "0"]


def test_what_is_handed_down_already_is_not_written_again(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    control = tmp_path / "cgroup.subtree_control"
    control.write_text("cpu memory")
    hand_down(str(tmp_path), ("cpu", "io", "memory"))
    assert control.read_text() == "cpu memory"
    control.write_text("cpu")
    hand_down(str(tmp_path), ("cpu", "io", "memory"))
    assert control.read_text() == "+memory"
