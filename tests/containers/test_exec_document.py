"""The commands of sections of docs/containers.md, one after the other, in a store of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.documents import block, follow

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Cli

SECTIONS = ["Exec", "Watching: top and stats", "A container's life", "Health", "Restarts"]


@pytest.mark.parametrize("section", SECTIONS)
def test_its_commands_succeed(anyone: Cli, place: Path, section: str) -> None:
    try:
        follow(anyone, block("containers.md", section), place)
    finally:
        anyone("rm", "-f", "-v", *anyone("ps", "-aq").stdout.split(), "none")
