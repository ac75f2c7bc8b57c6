"""Ending what is in a group and removing the group, also by a stage that can import nothing any more."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.conftest import SOURCE

from cloche.stage.cleaning import remove_groups

if TYPE_CHECKING:
    from pathlib import Path

FROZEN = """
import sys
sys.path.insert(0, sys.argv[1])
import cloche.stage.main
from cloche.stage.cleaning import kill_groups
cloche.stage.main.freeze_imports()
kill_groups((sys.argv[2],))
"""


def test_a_stage_ends_what_is_in_a_group_of_v1(tmp_path: Path) -> None:
    """A group without cgroup.kill, emptied process by process; the stage has its imports frozen by then."""
    sleeper = subprocess.Popen(["sleep", "60"])
    (tmp_path / "cgroup.procs").write_text(f"{sleeper.pid}\n")
    argv = [sys.executable, "-I", "-S", "-c", FROZEN, str(SOURCE), str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    code = sleeper.wait(10)
    assert (done.returncode, done.stderr, code) == (0, "", -9)


def test_groups_are_removed_inner_ones_first(tmp_path: Path) -> None:
    inner = tmp_path / "outer/inner"
    inner.mkdir(parents=True)
    assert remove_groups((str(tmp_path / "outer"), str(inner))) == []
    assert not (tmp_path / "outer").exists()


def test_a_group_that_is_gone_already_is_fine(tmp_path: Path) -> None:
    assert remove_groups((str(tmp_path / "never"),)) == []


def test_a_group_that_cannot_go_is_said(tmp_path: Path) -> None:
    (tmp_path / "busy").mkdir()
    (tmp_path / "busy/file").touch()
    assert remove_groups((str(tmp_path / "busy"),)) == [str(tmp_path / "busy")]
    assert os.path.isdir(tmp_path / "busy")
