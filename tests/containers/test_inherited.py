"""What a container has of whoever started it: the same in the foreground, in the background, and at a restart.

The supervisor and its stage are in between: what they have changed for themselves is not to be seen.
"""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.containers.ground import Ground

pytestmark = pytest.mark.usefixtures("cleared")
# limits, process 1's niceness, group, session and terminal, signals, score, mask, directory, variables, descriptors
LIMITS = "cat /proc/self/limits"
SCRIPT = f"""{LIMITS}; cat /proc/self/oom_score_adj; umask; pwd; env | sort | grep -v -e HOSTNAME -e GROUND
set -- $(cat /proc/1/stat); echo nice ${{19}} group $5 session $6 terminal $7
grep -e Sig -e Shd -e NoNewPrivs /proc/self/status | grep -v -e SigQ -e SigCgt; ls /proc/1/fd; exit 3"""
ODD = (
    *("prlimit", "--nofile=333:4444", "--core=7:77", "--nproc=5555:6666", "--msgqueue=8192:8192", "--"),
    *("choom", "-n", "123", "--", "nice", "-n", "3", "env", "ODD=odd", "sh", "-c"),
    """umask 017; cd /usr; trap '' HUP USR1 TERM; exec "$@" 7</etc/passwd""",
    "sh",
)


def odd(ground: Ground, *words: str) -> str:
    """What a command prints whose own attributes are strange."""
    whole = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/", **ground.env}
    done = subprocess.run(
        [*ODD, *ground.cli.argv, *words], env=whole, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode in {0, 3}, done.stderr
    return done.stdout


def test_the_same_everywhere(ground: Ground) -> None:
    command = ("-e", ground.mark, "box", "sh", "-c", SCRIPT)
    thrown_away = odd(ground, "run", "--rm", *command)
    assert "Max open files            333                  4444" in thrown_away
    assert "\nnice 3 " in thrown_away
    assert "\n123\n" in thrown_away
    assert "ODD" not in thrown_away
    assert "SigIgn:\t0000000000000000" in thrown_away
    assert odd(ground, "run", "--name", "one", *command) == thrown_away
    odd(ground, "run", "-d", "--name", "two", "--restart", "on-failure:1", *command)
    ground.until("two", "exited")
    assert ground.well("logs", "two") == thrown_away * 2
    assert odd(ground, "start", "-a", "one") == thrown_away


def test_checks_of_its_health(ground: Ground) -> None:
    check = ("--health-cmd", f"{LIMITS}; cat /proc/self/oom_score_adj; umask", "--health-interval", "1h")
    odd(ground, "run", "-d", "--name", "one", "-e", ground.mark, *check, "box", "sleep", "1000")
    expected = odd(ground, "exec", "one", "sh", "-c", f"{LIMITS}; cat /proc/self/oom_score_adj; umask")
    ground.well("healthcheck", "run", "one")
    assert json.loads(ground.well("inspect", "-f", "{{json .State.Health}}", "one"))["Log"][-1]["Output"] == expected


def test_after_the_supervisor_was_killed(ground: Ground) -> None:
    """The next one has what its command has, the stage what it had."""
    command = ("-e", ground.mark, "box", "sh", "-c", LIMITS)
    odd(ground, "run", "-d", "--name", "one", "-e", ground.mark, "box", "sleep", "1000")
    before = odd(ground, "run", "--name", "two", *command)
    ground.kill("supervisor")
    assert odd(ground, "run", "--name", "three", *command) == before
    ground.kill("supervisor", "stage")
    assert odd(ground, "run", "--name", "four", *command) == before
