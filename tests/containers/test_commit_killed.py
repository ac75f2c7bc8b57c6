"""A container that stands still for `commit` goes on, whatever becomes of that command, and of the supervisor."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.containers.boxes import take_in, write_box
from tests.containers.ground import end
from tests.containers.test_health import supervisor

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from tests.containers.conftest import Alive

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to freeze a container")


begun: list[subprocess.Popen[bytes]] = []


@pytest.fixture
def endless(alive: Alive, tmp_path: Path) -> Iterator[Alive]:
    """With a container `web` whose commit takes hours: it has a file of terabytes."""
    begun.clear()
    take_in(lambda *words, **more: alive.cli(*words, env=alive.env, **more), write_box(tmp_path / "box.tar"), "box:1")  # type: ignore[arg-type]
    script = "dd of=/big bs=1 count=0 seek=8000000000000 2>/dev/null; echo ready; exec sleep 1000"
    alive("run", "-d", "--name", "web", "box:1", "sh", "-c", script)
    while not alive("logs", "web"):
        pass
    yield alive
    for process in begun:
        process.kill()
        process.wait()


def commit(alive: Alive) -> subprocess.Popen[bytes]:
    """One that has the container stand still."""
    process = alive.cli.popen("commit", "web", "made:1", env=alive.env)
    begun.append(process)
    alive.until("web", "paused")
    return process


def held(alive: Alive) -> int:
    """For how many it stands still, as is written down."""
    (state,) = Path(alive.env["CLOCHE_ROOT"]).glob("containers/*/state.json")
    return len(json.loads(state.read_text().splitlines()[0]).get("held", []))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_it_goes_on_when_the_command_is_killed(endless: Alive, number: signal.Signals) -> None:
    process = commit(endless)
    process.send_signal(number)
    assert process.wait(20) in {130, -number}
    endless.until("web", "running")
    assert endless("exec", "web", "echo", "well") == "well\n"


def test_it_goes_on_when_the_supervisor_was_killed_before(endless: Alive) -> None:
    process = commit(endless)
    end(supervisor(endless))
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    endless.until("web", "running")


@pytest.mark.parametrize("first", ["command", "supervisor"])
def test_it_goes_on_when_both_are_killed(endless: Alive, first: str) -> None:
    """The supervisor before it could hear of the command's end, or while that goes on, for which the next one waits."""
    process, pid = commit(endless), supervisor(endless)
    if first == "command":
        os.kill(pid, signal.SIGSTOP)
        process.kill()
        process.wait()
    end(pid)
    if first == "supervisor":
        assert endless.document("web")["State"]["Status"] == "paused"
        assert supervisor(endless) != pid
        process.kill()
        process.wait()
    endless.until("web", "running")
    assert held(endless) == 0


def test_the_last_of_two_lets_it_go_on(endless: Alive) -> None:
    processes = [commit(endless), commit(endless)]
    while held(endless) < len(processes):
        time.sleep(0.02)
    processes[0].send_signal(signal.SIGINT)
    assert processes[0].wait(20) == 130
    assert endless.document("web")["State"]["Status"] == "paused"
    assert held(endless) == 1
    processes[1].send_signal(signal.SIGINT)
    assert processes[1].wait(20) == 130
    endless.until("web", "running")


def test_what_a_user_has_paused_stays_so(endless: Alive) -> None:
    endless("pause", "web")
    process = commit(endless)
    time.sleep(0.2)  # it has begun to read
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert endless.document("web")["State"]["Status"] == "paused"
    endless("unpause", "web")


def test_who_lets_it_go_on_meanwhile_may_have_it_stand_still(endless: Alive) -> None:
    process = commit(endless)
    endless("unpause", "web")
    endless("pause", "web")
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert endless.document("web")["State"]["Status"] == "paused"
    endless("unpause", "web")
