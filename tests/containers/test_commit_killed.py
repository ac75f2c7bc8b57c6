"""A container that stands still for `commit` goes on, whatever becomes of that command, and of the supervisor."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.containers.boxes import take_in, write_box
from tests.containers.test_health import supervisor

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.containers.conftest import Alive

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to freeze a container")


@pytest.fixture
def endless(alive: Alive, tmp_path: Path) -> Alive:
    """With a container `web` whose commit takes hours: it has a file of terabytes."""
    take_in(lambda *words, **more: alive.cli(*words, env=alive.env, **more), write_box(tmp_path / "box.tar"), "box:1")  # type: ignore[arg-type]
    script = "dd of=/big bs=1 count=0 seek=8000000000000 2>/dev/null; echo ready; exec sleep 1000"
    alive("run", "-d", "--name", "web", "box:1", "sh", "-c", script)
    while not alive("logs", "web"):
        pass
    return alive


def commit(alive: Alive) -> subprocess.Popen[bytes]:
    """One that has the container stand still."""
    process = alive.cli.popen("commit", "web", "made:1", env=alive.env)
    alive.until("web", "paused")
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_it_goes_on_when_the_command_is_killed(endless: Alive, number: signal.Signals) -> None:
    process = commit(endless)
    process.send_signal(number)
    assert process.wait(20) in {130, -number}
    endless.until("web", "running")
    assert endless("exec", "web", "echo", "well") == "well\n"


def test_it_goes_on_when_the_supervisor_was_killed_before(endless: Alive) -> None:
    process = commit(endless)
    os.kill(supervisor(endless), signal.SIGKILL)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    endless.until("web", "running")


def test_who_lets_it_go_on_meanwhile_may_have_it_stand_still(endless: Alive) -> None:
    process = commit(endless)
    endless("unpause", "web")
    endless("pause", "web")
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert endless.document("web")["State"]["Status"] == "paused"
    endless("unpause", "web")
