"""The commands of the part on volumes of docs/containers.md, one after the other."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from tests.containers.boxes import member, take_in, write_box
from tests.documents import block, follow

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Cli


def test_its_commands_succeed(anyone: Cli, tmp_path: Path, shared_dir: Path) -> None:
    take_in(anyone, write_box(tmp_path / "app.tar", member("data/"), member("data/seed", b"x")), "app:1")
    desk = shared_dir / f"volumes-{anyone.kind}"
    desk.mkdir()
    desk.chmod(0o755)
    said = [printed for _, printed in follow(anyone, block("containers.md", "Volumes"), desk)]
    assert said[2] == "hello\n"
    assert said[3].split() == ["file", "seed"]
    assert said[-1] == "Total reclaimed space: 0B\n"
    shutil.rmtree(anyone.root)
