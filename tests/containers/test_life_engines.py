"""A container's life beside docker's: the same commands, one after the other, their exit codes and what they print."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.engines.conftest import require
from tests.engines.daemons import IMAGE, Docker, Room, make_image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from subprocess import CompletedProcess

    from tests.conftest import Cli

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
NONE = ("--network", "none")
OBEYS = "trap 'exit 7' TERM; while :; do sleep 0.1; done"
FACTS = "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}"
HEALTH = "{{.State.Health.Status}} {{.State.Health.FailingStreak}} {{(index .State.Health.Log 0).ExitCode}}"
LOOKED = "{{.State.Health.Status}} {{(index .State.Health.Log 0).ExitCode}}"  # how often depends on the machine
OUTPUT = "{{json (index .State.Health.Log 0).Output}}"
TIMES = "{{slice .State.FinishedAt 0 2}} {{slice .State.StartedAt 0 2}}"
FAILED = '{{.State.Status}} {{.State.ExitCode}} {{ne .State.Error ""}} ' + TIMES
MOUNT = ("--mount", "type=bind,src=DIR,dst=/x")
# each is a line of commands; "sleep" waits; what is printed has to be the same, but for ids
LINES = {
    "stop": (
        ("run", "-d", "--name", "web", *NONE, IMAGE, "sh", "-c", OBEYS),
        ("sleep", "1"),
        ("stop", "web"),
        ("inspect", "-f", FACTS, "web"),
        ("stop", "web"),
        ("wait", "web"),
        ("start", "web"),
        ("kill", "web"),
        ("wait", "web"),
        ("kill", "web"),
        ("rm", "web"),
        ("rm", "web"),
    ),
    "not executed": (
        ("run", "--name", "web", *NONE, IMAGE, "nosuch"),
        ("inspect", "-f", FACTS, "web"),
        ("start", "web"),
        ("rm", "web"),
        ("run", "--name", "web", *NONE, IMAGE, "/etc"),
        ("rm", "web"),
        ("run", "-d", "--rm", "--name", "web", *NONE, IMAGE, "nosuch"),
        ("inspect", "--type", "container", "web"),
        ("create", "--name", "web", *NONE, IMAGE, "nosuch"),
        ("start", "-a", "web"),
        ("inspect", "-f", FACTS, "web"),
        ("rm", "web"),
    ),
    "in the foreground": (
        ("run", "--name", "web", *NONE, IMAGE, "sh", "-c", "echo out; exit 5"),
        ("start", "-a", "web"),
        ("run", "--name", "web", *NONE, IMAGE, "true"),
        ("run", "-i", "--name", "typed", *NONE, IMAGE, "cat"),
        ("rm", "web", "typed", "other"),
        ("run", "--rm", "--restart", "always", IMAGE, "true"),
        ("attach", "other"),
        ("start", "other"),
    ),
    "restarts": (
        ("run", "-d", "--name", "web", "--restart", "on-failure:2", *NONE, IMAGE, "sh", "-c", "exit 3"),
        ("sleep", "6"),
        ("inspect", "-f", FACTS, "web"),
        ("rm", "web"),
        ("run", "-d", "--name", "web", "--restart", "always", *NONE, IMAGE, "sleep", "1000"),
        ("kill", "web"),
        ("sleep", "2"),
        ("inspect", "-f", FACTS, "web"),
        ("rm", "-f", "web"),
    ),
    "health": (
        (
            *("run", "-d", "--name", "web", *NONE, "--health-cmd", "yes | head -c 5000; exit 1"),
            *("--health-interval", "1s", "--health-retries", "1", IMAGE, "sleep", "1000"),
        ),
        ("sleep", "2.5"),
        ("inspect", "-f", "{{.State.Health.Status}} {{(index .State.Health.Log 0).ExitCode}}", "web"),
        ("inspect", "-f", OUTPUT, "web"),
        ("ps", "--filter", "health=unhealthy", "--format", "{{.Names}}"),
        ("kill", "web"),
        ("wait", "web"),
        ("inspect", "-f", "{{.State.Health.Status}}", "web"),
        ("rm", "web"),
    ),
    "too long a look": (
        (
            *("run", "-d", "--name", "web", *NONE, "--health-cmd", "sleep 100"),
            *("--health-interval", "1s", "--health-timeout", "1s", "--health-retries", "1", IMAGE, "sleep", "1000"),
        ),
        ("sleep", "4"),
        ("inspect", "-f", LOOKED, "web"),
        ("inspect", "-f", OUTPUT, "web"),
        ("rm", "-f", "web"),
    ),
    "its command is gone": (
        ("run", "--name", "web", *NONE, IMAGE, "sh", "-c", "rm /bin/sh; exit 7"),
        ("inspect", "-f", FACTS, "web"),
        ("start", "web"),
        ("inspect", "-f", FAILED, "web"),
        ("start", "web"),
        ("inspect", "-f", FAILED, "web"),
        ("wait", "web"),
        ("rm", "web"),
        ("run", "--name", "web", *NONE, IMAGE, "sh", "-c", "exec rm /bin/busybox"),
        ("start", "web"),
        ("inspect", "-f", FAILED, "web"),
        ("rm", "web"),
        ("run", "--name", "web", *NONE, IMAGE, "/bin/sh", "-c", "chmod 644 /bin/busybox"),
        ("start", "-a", "web"),
        ("inspect", "-f", FAILED, "web"),
        ("rm", "web"),
        ("create", "--name", "web", "--restart", "always", *NONE, IMAGE, "nosuch"),
        ("start", "web"),
        ("sleep", "0.5"),
        ("inspect", "-f", FAILED, "web"),
        ("rm", "web"),
        ("run", "-d", "--name", "web", "--restart", "always", *NONE, IMAGE, "sh", "-c", "rm /bin/sh; sleep 1000"),
        ("sleep", "0.5"),
        ("kill", "web"),
        ("wait", "web"),
        ("start", "web"),
        ("sleep", "0.5"),
        ("inspect", "-f", FAILED, "web"),
        ("rm", "web"),
    ),
    "its mount is gone": (
        ("mkdir",),
        ("create", "--name", "new", *NONE, *MOUNT, IMAGE, "true"),
        ("run", "--name", "web", *NONE, *MOUNT, IMAGE, "sh", "-c", "exit 7"),
        ("run", "--name", "well", *NONE, *MOUNT, IMAGE, "true"),
        ("rmdir",),
        *(
            line
            for name in ("new", "web", "well")
            for line in (("start", name), ("inspect", "-f", FAILED, name), ("start", "-a", name))
        ),
        ("mkdir",),
        ("start", "-a", "web"),
        ("inspect", "-f", FAILED, "web"),
        ("start", "-a", "new"),
        ("inspect", "-f", FAILED, "new"),
        ("rmdir",),
        ("rm", "new", "web", "well"),
    ),
}


class Both:
    """dockerd in a room, and cloche with a store, that have the same image."""

    def __init__(self, room: Room, cli: Cli, top: Path) -> None:
        runc, busybox = shutil.which("runc"), shutil.which("busybox")
        assert runc
        assert busybox
        self.docker = Docker(room, {"ut": runc}, "ut")
        self.cli, self.env = cli, {"CLOCHE_ROOT": str(top / "store"), "CLOCHE_STATE": str(top / "state")}
        make_image(top / "box.tar", busybox)
        self.docker.load(top / "box.tar")
        assert self.cli("load", "-i", str(top / "box.tar"), env=self.env).returncode == 0

    def ours(self, *words: str) -> tuple[int, str]:
        return shown(self.cli(*words, env=self.env))

    def theirs(self, *words: str) -> tuple[int, str]:
        return shown(self.docker(*words))


def shown(done: CompletedProcess[str]) -> tuple[int, str]:
    """The exit code, and what is printed but for ids."""
    words = ["ID" if len(word) == 64 else word for word in done.stdout.split()]
    return done.returncode, " ".join(words)


@pytest.fixture(scope="module")
def both(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    require("dockerd", "docker", "runc")
    with Room("life") as room:
        yield Both(room, cli, tmp_path_factory.mktemp("life"))


@pytest.mark.parametrize("name", LINES)
def test_the_same_as_docker(both: Both, name: str) -> None:
    place = both.docker.room.folder / "mounted"
    found: list[Any] = []
    for who in (both.theirs, both.ours):
        found.append([])
        for words in LINES[name]:
            if words[0] == "sleep":
                time.sleep(float(words[1]))
            elif words[0] == "mkdir":
                place.mkdir()
            elif words[0] == "rmdir":
                place.rmdir()
            else:
                given = [word.replace("DIR", str(place)) for word in words]
                found[-1].append((" ".join(words), *who(*given)))
    assert found[1] == found[0]
