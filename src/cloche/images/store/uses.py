"""What must not be removed, whatever the index says: images of running containers, and what is being fetched.

    uses/HEX        held (flock, shared) by whoever runs a container of the image with that ID
    uses/fetching   held likewise by every pull and load, whose blobs have no name yet

A lock goes with its process. `collect` looks while it holds the lock of the store; whoever begins to use an image does
so under a share of that lock, so that the image is either seen in use or not there any more.
"""

from __future__ import annotations

import fcntl
import os

from cloche.linux import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from cloche.images.store.layout import Layout

    T = TypeVar("T")

FETCHING = "fetching"


def undisturbed(layout: Layout, work: Callable[[], T]) -> T:
    """Do something short while nothing is removed and no name changes."""
    with layout.locked(shared=True):
        return work()


def hold(layout: Layout, name: str) -> files.Fd:
    """Use the image with this ID, or FETCHING, until the descriptor is closed everywhere."""
    os.makedirs(f"{layout.path}/uses", exist_ok=True)
    held = files.Fd(os.open(_path(layout, name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    fcntl.flock(held.number, fcntl.LOCK_SH)
    return held


def used(layout: Layout) -> set[str]:
    """What is held now: IDs, and FETCHING. Files nobody holds are removed; call it with the lock of the store."""
    found: set[str] = set()
    folder = f"{layout.path}/uses"
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        if is_used(layout, name):
            found.add(name if name == FETCHING else f"sha256:{name}")
        else:
            os.unlink(f"{folder}/{name}")
    return found


def is_used(layout: Layout, name: str) -> bool:
    """Whether somebody holds it now."""
    try:
        with files.Fd(os.open(_path(layout, name), os.O_RDWR | os.O_CLOEXEC)) as file:
            fcntl.flock(file.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _path(layout: Layout, name: str) -> str:
    return f"{layout.path}/uses/{name.removeprefix('sha256:')}"
