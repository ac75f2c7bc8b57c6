"""What is told of a container that is gone when it ends, for which there is no supervisor."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.containers.conftest import Alive


@pytest.fixture(autouse=True)
def _there_is_a_store(alive: Alive) -> None:
    os.mkdir(alive.env["CLOCHE_ROOT"], 0o700)


def told(alive: Alive, *words: str) -> list[dict[str, Any]]:
    """The events of a store."""
    lines = alive("events", "--since", "1h", "--until", "0s", "--format", "json", *words).splitlines()
    return [json.loads(line) for line in lines]


def actions(alive: Alive) -> list[str]:
    return [event["Action"] for event in told(alive, "--filter", "type=container")]


def until_told(alive: Alive, action: str) -> dict[str, Any]:
    deadline = time.monotonic() + 20
    while not (found := told(alive, "--filter", f"event={action}")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found[0]


def start(alive: Alive, *words: str) -> subprocess.Popen[bytes]:
    """`run` in the foreground, and wait until its command runs."""
    null = subprocess.DEVNULL
    front = alive.cli.popen("run", *words, env=alive.env, stdin=null, stdout=null, stderr=null)
    until_told(alive, "start")
    return front


def children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


def test_how_long_it_took_and_in_which_order(alive: Alive) -> None:
    alive("run", "--name", "web", "host", "sleep", "1.1")
    events = told(alive)
    assert [event["Action"] for event in events] == ["create", "attach", "start", "die", "destroy"]
    assert events[3]["Actor"]["Attributes"] == {"image": "host", "name": "web", "exitCode": "0", "execDuration": "1"}
    times = [event["timeNano"] for event in events]
    assert times == sorted(times)
    assert times[3] - times[2] > 10**9
    assert len({event["id"] for event in events}) == 1


def test_the_exit_code_of_one_that_took_too_long(alive: Alive) -> None:
    alive("run", "--timeout", "300ms", "host", "sleep", "1000", code=124)
    assert until_told(alive, "die")["Actor"]["Attributes"]["exitCode"] == "124"


def test_too_little_memory(alive: Alive) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root for a limit on any machine")
    alive("run", "-m", "32m", "host", "tail", "/dev/zero", code=137)
    assert actions(alive) == ["create", "attach", "start", "oom", "die", "destroy"]


def test_its_end_is_told_where_its_command_was_killed(alive: Alive) -> None:
    front = start(alive, "--name", "web", "host", "sleep", "1000")
    front.kill()
    front.wait(10)
    until_told(alive, "destroy")
    assert actions(alive) == ["create", "attach", "start", "die", "destroy"]
    about = until_told(alive, "die")["Actor"]["Attributes"]
    assert about["exitCode"] == "137"
    assert about["name"] == "web"
    assert alive("ps", "-aq") == ""


def test_its_end_is_told_where_its_stage_was_killed(alive: Alive) -> None:
    front = start(alive, "host", "sleep", "1000")
    (stage,) = children(front.pid)
    os.kill(stage, signal.SIGKILL)
    assert front.wait(10) == 125
    assert actions(alive) == ["create", "attach", "start", "die", "destroy"]
    assert until_told(alive, "die")["Actor"]["Attributes"]["exitCode"] == "unknown"


def test_who_kills_and_who_looks_is_told_between(alive: Alive) -> None:
    front = start(alive, "--name", "web", "host", "sleep", "1000")
    alive("exec", "web", "true")
    alive("kill", "web")
    assert front.wait(10) == 128 + 9
    found = actions(alive)
    assert [action.partition(":")[0] for action in found if action != "kill"] == [
        *("create", "attach", "start", "exec_create", "exec_start", "exec_die", "die", "destroy")
    ]
    assert found.count("kill") == 1


@pytest.mark.parametrize("kind", ["directory", "link", "full"])
def test_it_runs_where_nothing_can_be_told(kind: str, alive: Alive, tmp_path: Path) -> None:
    log = f"{alive.env['CLOCHE_ROOT']}/events.log"
    if kind == "directory":
        os.mkdir(log)
    else:
        os.symlink(tmp_path / "other" if kind == "link" else "/dev/full", log)
    assert alive("run", "host", "echo", "fine") == "fine\n"
    assert not (tmp_path / "other").exists()


def test_no_store_is_made_for_it(alive: Alive) -> None:
    os.rmdir(alive.env["CLOCHE_ROOT"])
    assert alive("run", "host", "echo", "fine") == "fine\n"
    assert not os.path.exists(alive.env["CLOCHE_ROOT"])


API = """
import asyncio, sys
sys.path.insert(0, {src!r})
import cloche

cloche.run(["true"])  # nobody can find it, and nobody hears of it
cloche.run(["sh", "-c", "exit 3"], name="web", label=["tier=front"])
try:
    cloche.run(["nosuch"], name="none")
except cloche.ClocheError:
    pass

async def main():
    await cloche.run_async(["true"], name="later")
    try:
        await asyncio.wait_for(cloche.run_async(["sleep", "1000"], name="never"), 1)
    except TimeoutError:
        pass

asyncio.run(main())
"""


def test_a_program_that_gives_a_name_has_the_same_told(alive: Alive) -> None:
    program = API.format(src=str(alive.cli.source))
    env = {"PATH": os.environ["PATH"], "HOME": "/", **alive.env}
    subprocess.run([*alive.cli.argv[:-2], "-c", program], env=env, check=True, timeout=60)
    found: dict[str, list[str]] = {}
    for event in told(alive, "--filter", "type=container"):
        found.setdefault(event["Actor"]["Attributes"]["name"], []).append(event["Action"])
    whole = ["create", "attach", "start", "die", "destroy"]
    assert found == {"web": whole, "none": ["create", "attach", "destroy"], "later": whole, "never": whole}
    (died,) = told(alive, "--filter", "event=die", "--filter", "container=web")
    attributes = {"image": "host", "name": "web", "tier": "front", "exitCode": "3", "execDuration": "0"}
    assert died["Actor"]["Attributes"] == attributes
