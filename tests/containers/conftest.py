"""Stores of the tests' own, with containers written down by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.containers.made import Store

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty one."""
    return Store(tmp_path)
