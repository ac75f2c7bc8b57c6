"""Stores of the tests' own, with containers written down by hand, and places for tests to work in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.containers.made import Store
from tests.integration.conftest import own_rootfs, place

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["own_rootfs", "place"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty one."""
    return Store(tmp_path)
