"""Stopping everything in a container's groups, and letting it go on.

The v1 freezer is used where there is one, as that is where engines look; else the v2 group. A group's `paths` are
{controller: directory}, "" for the v2 tree.
"""

from __future__ import annotations

import select
import time

from cloche.linux import files
from cloche.linux.reading import read

ETIMEDOUT, ENOENT = 110, 2
PATIENCE = 10.0  # seconds: what waits for a disk is stopped only afterwards


def freeze(paths: dict[str, str], patience: float = PATIENCE) -> None:
    """Stop everything in the container's groups; returns when it stands still.

    Raises OSError: ENOENT without a group that can be frozen, ETIMEDOUT when something did not stop within
    `patience` seconds; everything goes on then.
    """
    group, v1 = _place(paths)
    if v1:
        frozen = _freeze_v1(group, time.monotonic() + patience)
    else:
        files.write_value(f"{group}/cgroup.freeze", "1")
        frozen = _await_frozen(group, time.monotonic() + patience)
    if not frozen:
        thaw(paths)
        raise OSError(ETIMEDOUT, f"something in there did not stop within {patience:g} s", group)


def thaw(paths: dict[str, str]) -> None:
    """Let what was frozen go on. Raises OSError: ENOENT without a group that can be frozen."""
    group, v1 = _place(paths)
    files.write_value(f"{group}/{'freezer.state' if v1 else 'cgroup.freeze'}", "THAWED" if v1 else "0")


def is_frozen(paths: dict[str, str]) -> bool:
    """Whether the container was frozen, by whatever way; what is frozen only with a group above it is not."""
    state = read(f"{paths['freezer']}/freezer.state").strip() if "freezer" in paths else ""
    if state in {"FROZEN", "FREEZING"}:
        return read(f"{paths['freezer']}/freezer.self_freezing").strip() == "1"
    return "" in paths and read(f"{paths['']}/cgroup.freeze").strip() == "1"


def _place(paths: dict[str, str]) -> tuple[str, bool]:
    for controller in ("freezer", ""):
        if controller in paths:
            return paths[controller], bool(controller)
    raise OSError(ENOENT, "the container has no group that can be frozen")


def _freeze_v1(group: str, deadline: float) -> bool:
    """A process that forks, or is being traced, can slip through once: ask again while it says FREEZING."""
    attempt = 0
    while True:
        if attempt % 10 == 9:  # started anew it gets hold of those that wait for each other
            files.write_value(f"{group}/freezer.state", "THAWED")
        files.write_value(f"{group}/freezer.state", "FROZEN")
        if read(f"{group}/freezer.state").strip() == "FROZEN":
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.001 if attempt < 20 else 0.01)
        attempt += 1


def _await_frozen(group: str, deadline: float) -> bool:
    """Linux 5.2: cgroup.events says when it stands still, and is reported as urgent data when it changes."""
    with open(f"{group}/cgroup.events", "rb", buffering=0) as events:
        waiting = select.poll()
        waiting.register(events, select.POLLPRI)
        while True:
            events.seek(0)
            if b"frozen 1" in events.read(4096):
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            waiting.poll(left * 1000)
