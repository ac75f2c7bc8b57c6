"""Stores of the tests' own, with containers written down by hand, and places for tests to work in."""

from __future__ import annotations

import json
import os
import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.containers.filed import box
from tests.containers.ground import Ground, laid_out
from tests.containers.made import Store
from tests.images.conftest import quick, workshop
from tests.integration.background import uid_of
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

    def until_there(self, name: str) -> None:
        """Wait until a container runs that somebody else is starting."""
        deadline = time.monotonic() + 30
        while name not in self("ps", "--format", "{{.Names}}").split():
            assert time.monotonic() < deadline
            time.sleep(0.05)

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


@pytest.fixture(scope="module")
def ground(shared_dir: Path) -> Iterator[Ground]:
    """A store of root's and a state directory, for things to go wrong."""
    with laid_out(shared_dir) as made:
        yield made


@pytest.fixture
def cleared(ground: Ground) -> Iterator[None]:
    """After each test there are no containers, and nothing is left of them."""
    yield
    ground.clear()
    assert "Traceback" not in ground.log()


@pytest.fixture
def desk(anyone: Cli, tmp_path: Path, shared_dir: Path) -> Iterator[Path]:
    """A directory of this user's own, and an image in the store."""
    box(anyone, tmp_path)
    place = shared_dir / f"desk-{os.urandom(4).hex()}"
    place.mkdir()
    os.chown(place, uid_of(anyone), uid_of(anyone))
    yield place
    shutil.rmtree(place)
