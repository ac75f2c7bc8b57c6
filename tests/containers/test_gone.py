"""Somebody removes the state directory or the store while a supervisor is there: it goes, whatever is in them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.containers.ground import Ground, patience, started
from tests.containers.made import Store, at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Cli

COMMAND = ("sh", "-c", "trap 'exit 7' TERM; echo here; sleep 1000 & wait")
IDLE = 1.0  # seconds that a supervisor stays without being needed
RETURN = 2.0  # and that it waits before for those who were attached to another


@pytest.fixture
def ground(ground: Ground) -> Iterator[Ground]:
    """With a container that runs."""
    ground.run("one", command=COMMAND)
    yield ground
    ground.clear()
    assert "Traceback" not in ground.log()


def ends(pid: int, *, seconds: float = IDLE) -> None:
    deadline = time.monotonic() + seconds + patience()
    while started(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("name", ["", "/supervisor.sock", "/supervisor.lock"])
def test_the_state_directory(ground: Ground, name: str) -> None:
    """The container goes on, and the next supervisor finds it."""
    supervisor = ground.pid("supervisor")
    shutil.rmtree(ground.state) if not name else os.unlink(f"{ground.state}{name}")
    ends(supervisor, seconds=0)
    assert ground.truth() == {"one": ("running", 0)}
    assert ground.pid("supervisor") not in {0, supervisor}
    assert ground.well("exec", "one", "echo", "there") == "there\n"
    ground.well("stop", "one")
    assert ground.truth()["one"][1] in {7, None}


def test_one_that_goes_leaves_the_socket_of_the_next(ground: Ground) -> None:
    """It stands still while its directory is removed, and another supervisor comes."""
    supervisor = ground.pid("supervisor")
    os.kill(supervisor, signal.SIGSTOP)
    shutil.rmtree(ground.state)
    assert ground.truth() == {"one": ("running", 0)}
    os.kill(supervisor, signal.SIGCONT)
    ends(supervisor, seconds=0)
    assert (ground.state / "supervisor.sock").exists()
    assert ground.pid("supervisor") not in {0, supervisor}


@pytest.mark.parametrize("how", ["removed", "moved", "one"])
def test_the_store(ground: Ground, how: str, tmp_path: Path) -> None:
    """Nobody can say anything of a container any more: it ends, and nothing of it stays."""
    supervisor, folder = ground.pid("supervisor"), ground.store / "containers"
    (one,) = folder.iterdir()
    aside = tmp_path / "aside"
    if how == "moved":
        os.rename(folder, aside)
    elif how == "removed":
        shutil.rmtree(folder)
    else:
        shutil.rmtree(one)
    ends(supervisor)
    (ground.store / "names/one").unlink()
    (ground.store / "pins" / one.name).unlink()
    ground.settles()
    assert ground.truth() == {}


DAMAGED = (
    b"{}",
    b'{"created": 5, "labels": [], "options": "x", "mounts": [1, {}], "keep": {"restart": 5}, "name": {}}',
    b'{"options": {"tty": [], "env": 7}, "keep": {"log_driver": {}, "auto_remove": "x"}, "check": {"a": 1}}',
)


@pytest.mark.parametrize("removed", [True, False])
@pytest.mark.parametrize("content", DAMAGED)
def test_a_container_whose_document_is_damaged(root: Cli, tmp_path: Path, content: bytes, removed: bool) -> None:
    """It keeps no supervisor from going when it has ended, or when it is gone while its process is there."""
    store = Store(tmp_path / "top")
    ground = Ground(root, tmp_path / "top", image=False)
    with subprocess.Popen(["sleep", "1000"]) as process:
        try:
            state = {"pid": process.pid, "started_at": at(5), "entry": {}}
            (store.make("one", state) / "container.json").write_bytes(content)
            assert root("ps", "-q", env=store.env).stdout
            supervisor = ground.pid("supervisor")
            assert supervisor
            shutil.rmtree(tmp_path / "top") if removed else process.kill()
            ends(supervisor, seconds=RETURN + IDLE)
        finally:
            process.kill()
