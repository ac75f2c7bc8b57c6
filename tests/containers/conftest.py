"""Stores of the tests' own, with containers written down by hand, and places for tests to work in."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.containers.made import Store
from tests.images.conftest import quick, workshop
from tests.integration.conftest import own_rootfs, place

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Cli

__all__ = ["own_rootfs", "place", "quick", "workshop"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty one."""
    return Store(tmp_path)


class Alive:
    """The command line with a store of its own, for containers of this machine's system that are really started."""

    def __init__(self, cli: Cli, top: Path) -> None:
        self.cli = cli
        self.env = {"CLOCHE_ROOT": str(top / "store"), "CLOCHE_STATE": str(top / "state")}

    def __call__(self, *words: str, code: int = 0) -> str:
        """What a command prints, with what it says on standard error behind it, which must end with this code."""
        done = self.cli(*words, env=self.env)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def document(self, name: str) -> dict[str, Any]:
        """What `inspect` says of a container."""
        (found,) = json.loads(self("inspect", name))
        assert isinstance(found, dict)
        return found

    def until(self, name: str, status: str) -> None:
        """Wait until a container stands like this."""
        deadline = time.monotonic() + 30
        while (found := self("inspect", "-f", "{{.State.Status}}", name).strip()) != status:
            assert time.monotonic() < deadline, f"{name} is {found}"
            time.sleep(0.05)

    def end(self) -> None:
        """Remove all of them."""
        ids = self("ps", "-aq").split()
        if ids:
            self("rm", "-f", *ids)


@pytest.fixture
def alive(cli: Cli, tmp_path: Path) -> Iterator[Alive]:
    """Real containers, as whoever runs the tests."""
    made = Alive(cli, tmp_path)
    yield made
    made.end()
