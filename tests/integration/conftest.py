"""Places for the tests of this folder to work in, which every kind of user may reach."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def place(shared_dir: Path) -> Iterator[Path]:
    """An empty directory of the test's own that anybody may read and write."""
    path = Path(tempfile.mkdtemp(dir=shared_dir, prefix="place-"))
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def own_rootfs(place: Path, rootfs: Path) -> Path:
    """A root file system that the test may change."""
    return shutil.copytree(rootfs, place / "root", symlinks=True)
