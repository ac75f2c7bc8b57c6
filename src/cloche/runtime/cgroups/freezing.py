"""Stopping everything in a container's groups, and letting it go on.

The v1 freezer is used where there is one, as that is where engines look; else the v2 group. A group's `paths` are
{controller: directory}, "" for the v2 tree.
"""

from __future__ import annotations

import time

from cloche.linux import files
from cloche.linux.reading import read

ETIMEDOUT, ENOENT = 110, 2
PATIENCE = 10.0  # seconds: what waits for a disk is stopped only afterwards
HURRIED, ANEW = 20, 10  # looks: so many come at once, and each of so many begins anew


def freeze(paths: dict[str, str], patience: float = PATIENCE) -> None:
    """Stop everything in the container's groups; returns when it stands still.

    Raises OSError: ENOENT without a group that can be frozen, ETIMEDOUT when something did not stop within
    `patience` seconds; everything goes on then.
    """
    deadline = time.monotonic() + patience
    number = 0
    while not stop(paths, number):
        if time.monotonic() >= deadline:
            raise too_late(paths, patience)
        time.sleep(rest(number))
        number += 1


def stop(paths: dict[str, str], number: int) -> bool:
    """Ask everything to stop, and return whether it stands still; where not, `rest` and ask again, with one more.

    Raises OSError: ENOENT without a group that can be frozen.
    """
    group, v1 = _place(paths)
    if v1:
        return _stop_v1(group, number)
    if not number:
        files.write_value(f"{group}/cgroup.freeze", "1")
    return "frozen 1" in read(f"{group}/cgroup.events")  # Linux 5.2


def rest(number: int) -> float:
    """Seconds until what was asked so often to stop is asked again; most of it has by then."""
    return 0.001 if number < HURRIED else 0.01


def too_late(paths: dict[str, str], patience: float) -> OSError:
    """Let everything go on, as some of it did not stop within so many seconds; returns what says so."""
    thaw(paths)
    return OSError(ETIMEDOUT, f"something in there did not stop within {patience:g} s", _place(paths)[0])


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


def _stop_v1(group: str, number: int) -> bool:
    """A process that forks, or is being traced, can slip through once: asked again while it says FREEZING."""
    if number % ANEW == ANEW - 1:  # started anew it gets hold of those that wait for each other
        files.write_value(f"{group}/freezer.state", "THAWED")
    files.write_value(f"{group}/freezer.state", "FROZEN")
    return read(f"{group}/freezer.state").strip() == "FROZEN"
