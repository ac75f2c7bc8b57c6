"""Containers that stay, on a pure cgroup v2 tree and Linux 6.1: from their start to their end; part of `inside.py`."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.vm.inside import AS_USER, DISK, LEAF, USER, cloche, groups, in_rootfs

if TYPE_CHECKING:
    from collections.abc import Callable

    Command = Callable[..., subprocess.CompletedProcess[str]]

STORE = f"{DISK}/kept"
SCRIPT = "echo $((1 + $(cat /count 2>/dev/null || echo 0))) >/count; cat /count; exec sleep 1000"


def good(command: Command, *words: str) -> str:
    """What a command prints, which has to succeed."""
    done = command("--root", STORE if command is cloche else f"{STORE}-user", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def delegated(*words: str) -> subprocess.CompletedProcess[str]:
    """The same as a user in a delegated group, or in the one beside the containers in there."""
    enter = f'(echo $$ >{LEAF}/cgroup.procs) 2>/dev/null || echo $$ >{LEAF}/cloche-aside/cgroup.procs; exec "$@"'
    return cloche(*words, prefix=["sh", "-c", enter, "sh", *AS_USER])


def until(command: Command, name: str, wanted: str, form: str = "{{.State.Status}}") -> None:
    """Wait until `inspect` says this."""
    deadline = time.monotonic() + 60
    while (found := good(command, "inspect", "-f", form, name)) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.2)


def supervisors(store: str) -> list[int]:
    """The supervisor of a store, and its stage."""
    found = []
    for path in Path("/proc").iterdir():
        try:
            words, environment = (path / "cmdline").read_bytes(), (path / "environ").read_bytes()
        except OSError:
            continue
        if b"supervisor.main" in words and f"CLOCHE_ROOT={store}\0".encode() in environment:
            found.append(int(path.name))
            found += [int(pid) for pid in (path / f"task/{path.name}/children").read_text().split()]
    return found


def live(command: Command, *limits: str) -> None:
    """Through its life, as somebody who may limit it."""
    good(command, "run", "-d", "--name", "stays", *limits, *in_rootfs("sh", "-c", SCRIPT))
    (group,) = (Path(group) for group in groups() if "cloche-kept-" in group)
    assert (group / "memory.max").read_text() == "67108864\n"
    assert good(command, "exec", "stays", "cat", "/proc/self/cgroup") == "0::/"
    good(command, "pause", "stays")
    assert "frozen 1" in (group / "cgroup.events").read_text()
    good(command, "unpause", "stays")
    assert good(command, "stats", "--no-stream", "--format", "{{.MemUsage}}", "stays").endswith("/ 64MiB")
    good(command, "stop", "-t", "1", "stays")
    assert not [each for each in groups() if "cloche-kept-" in each], groups()
    good(command, "start", "stays")
    assert good(command, "logs", "stays").split() == ["1", "2"], "what it has written is there, and what it has said"


def check_a_container_that_stays_lives_on() -> None:
    live(cloche, "-m", "64m")
    for pid in supervisors(STORE):
        os.kill(pid, signal.SIGKILL)
    assert good(cloche, "ps", "--format", "{{.Names}}") == "stays"
    good(cloche, "kill", "stays")
    until(cloche, "stays", "exited")
    # this kernel does not tell who was not its parent how a process has ended
    assert good(cloche, "ps", "-a", "--format", "{{.Status}}").startswith("Exited (unknown)")
    good(cloche, "rm", "stays")


def check_a_users_container_that_stays_has_limits_and_lives_on() -> None:
    place = Path(f"{STORE}-user")
    place.mkdir()
    shutil.chown(place, USER, USER)
    live(delegated, "-m", "64m")
    good(delegated, "rm", "-f", "stays")


def check_a_user_without_a_group_has_containers_that_stay() -> None:
    def user(*words: str) -> subprocess.CompletedProcess[str]:
        return cloche(*words, prefix=AS_USER)

    good(user, "run", "-d", "--name", "plain", *in_rootfs("sh", "-c", SCRIPT))
    assert good(user, "exec", "plain", "cat", "/count") == "1"
    good(user, "rm", "-f", "plain")
