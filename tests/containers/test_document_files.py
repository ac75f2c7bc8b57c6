"""The commands of the section "Files of a container" of docs/containers.md, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.containers.filed import BOX, box, create, succeed
from tests.documents import block, follow

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Cli


def test_its_commands_succeed(cli: Cli, tmp_path: Path) -> None:
    box(cli, tmp_path)
    create(cli, "web", image=BOX)
    (tmp_path / "app.conf").write_text("x")
    try:
        follow(cli, block("containers.md", "Files of a container"), tmp_path, "bash", "-o", "pipefail")
        assert (tmp_path / "etc/app.conf").read_text() == "x"
        assert (tmp_path / "web.tar").stat().st_size > 1 << 20
    finally:
        succeed(cli, "rm", "web")
