"""A container's groups without the container: planned and made as for one, with processes of our own in them.

What a runtime's commands do to groups can be tried on them, on this machine and in the one of software.
"""

from __future__ import annotations

import os
import subprocess
import time
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cloche.runtime.cgroups.containers import plan_cgroups
from cloche.runtime.host import probe_host
from cloche.runtime.receipt import Receipt
from cloche.stage.cleaning import kill_groups, pids_of, remove_groups
from cloche.stage.scene import Outside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cloche.spec.resources import Resources

ENTER = 'while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs" || exit 99; shift; done; shift; exec "$@"'
PATIENCE = 20  # seconds


class Grouped:
    """The groups, and what was started in them."""

    def __init__(self, resources: Resources | None, path: str, owner: int) -> None:
        self.receipt = Receipt()
        groups = probe_host().groups
        self.plan = plan_cgroups(resources, groups, path, name="it", rootless=False, owner=owner, receipt=self.receipt)
        self.paths = self.plan.paths
        self.scene = Outside([])
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a command in all of the groups, and wait until it is in each of them."""
        argv = ["sh", "-c", ENTER, "sh", *self.plan.directories, "--", *words]
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.started.append(process)
        until(lambda: process.poll() is not None or self.holds(process.pid), f"{words} is in every group")
        return process

    def holds(self, pid: int) -> bool:
        """Whether a process is in each of the groups."""
        return all(pid in pids_of((directory,)) for directory in self.plan.directories)

    def read(self, v1: str, v2: str = "") -> str:
        """The content of a limit's file, by its name on whichever version it is."""
        for directory in self.plan.directories:
            for name in (v1, v2 or v1):
                if os.path.exists(f"{directory}/{name}"):
                    with open(f"{directory}/{name}", encoding="ascii") as file:
                        return file.read().strip()
        raise AssertionError(f"neither {v1} nor {v2} is in {self.plan.directories}")


@contextmanager
def grouped(resources: Resources | None = None, owner: int = -1) -> Iterator[Grouped]:
    """Groups for these resources, two levels below the top; everything in and of them goes at the end."""
    name = f"cloche-grouped-{uuid.uuid4().hex[:8]}"
    it = Grouped(resources, f"/{name}/it", owner)
    above = [os.path.dirname(path) for path in it.plan.directories]
    roots = {path: _handed_down(os.path.dirname(path)) for path in above}
    try:
        for step in it.plan.create:
            step.execute(it.scene)
        yield it
    finally:
        kill_groups(it.plan.directories)
        for process in it.started:
            process.communicate(timeout=PATIENCE)
        left = remove_groups((*above, *it.plan.directories))
        for path, before in roots.items():
            _take_back(os.path.dirname(path), before)
        assert not left, left


def _handed_down(group: str) -> set[str]:
    try:
        with open(f"{group}/cgroup.subtree_control", encoding="ascii") as file:
            return set(file.read().split())
    except OSError:
        return set()


def _take_back(group: str, before: set[str]) -> None:
    for name in _handed_down(group) - before:
        try:
            with open(f"{group}/cgroup.subtree_control", "w", encoding="ascii") as file:
                file.write(f"-{name}")
        except OSError:
            continue  # somebody else uses it by now


def until(holds: Callable[[], object], what: str) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        time.sleep(0.01)


def running(pids: list[int]) -> list[int]:
    """Those of these processes that have not ended; a zombie has."""
    found = []
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                found += [pid] if file.read().rpartition(")")[2].split()[0] != "Z" else []
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def memory_limits(group: Grouped) -> tuple[int, int]:
    """(memory, memory and swap together) in bytes, as v1 counts."""
    if "memory" in group.paths:
        return int(group.read("memory.limit_in_bytes")), int(group.read("memory.memsw.limit_in_bytes"))
    limit = int(group.read("memory.max"))
    return limit, limit + int(group.read("memory.swap.max"))
