"""The commands of the sections "Events" and "The system" of docs/containers.md, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.documents import block, follow
from tests.images.conftest import filled, fresh, images, registry

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Cli
    from tests.images.conftest import Registry

__all__ = ["filled", "fresh", "images", "registry"]


@pytest.mark.parametrize("section", ["Events", "The system"])
def test_the_commands_succeed(section: str, fresh: Cli, filled: Registry, tmp_path: Path) -> None:
    said = follow(fresh, block("containers.md", section).replace("registry.example.com", filled.host), tmp_path)
    assert all(printed or command.startswith("cloche tag ") for command, printed in said), said
