"""What must not be removed, whatever the index says: images of running containers, and what is being fetched.

    uses/HEX        held (flock, shared) by whoever runs a container of the image with that ID
    uses/fetching   held likewise by every pull and load, whose blobs have no name yet
    pins/OWNER      a symbolic link to the ID of the image that is needed by a container, whether it runs or not
    mounts/HEX/fs   where the image with that ID is mounted, if the kernel says so (see mounting)

A lock goes with its process. `collect` looks while it holds the lock of the store; whoever begins to use an image does
so under a share of that lock, so that the image is either seen in use or not there any more.
"""

from __future__ import annotations

import errno
import posix as os

from cloche.images.store.locks import is_locked, lock
from cloche.linux import files, places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from cloche.images.store.layout import Layout

    T = TypeVar("T")

FETCHING = "fetching"
PINS = "pins"


def undisturbed(layout: Layout, work: Callable[[], T]) -> T:
    """Do something short while nothing is removed and no name changes."""
    with layout.locked(shared=True):
        return work()


def hold(layout: Layout, name: str) -> files.Fd:
    """Use the image with this ID, or FETCHING, until the descriptor is closed everywhere."""
    folder = f"{layout.path}/uses"
    places.makedirs(folder, mode=0o700)
    if os.stat(folder).st_mode & 0o077:  # of a store that others may enter: who can open one of these can lock it
        os.chmod(folder, 0o700)
    return lock(_path(layout, name), shared=True)


def keeping(layout: Layout, find: Callable[[], T]) -> tuple[T, files.Fd]:
    """What `find` says, and that nothing of the store is removed until the descriptor is closed.

    Both are settled at once: what was found is not being removed already.
    """

    def begin() -> tuple[T, files.Fd]:
        found = find()
        try:
            return found, hold(layout, FETCHING)
        except OSError as error:
            if error.errno != errno.EROFS:
                raise
            return found, layout.locked(shared=True)  # whoever can write there waits that long

    if not places.exists(layout.path):
        find()  # says what is not there, and makes no store for that
    layout.make()
    return undisturbed(layout, begin)


def used(layout: Layout) -> set[str]:
    """What is held now, or mounted: IDs, and FETCHING. Call it with the lock of the store: it removes idle files."""
    held, idle = _uses(layout)
    for name in idle:
        os.unlink(f"{layout.path}/uses/{name}")
    return {*mounted(layout), *pinned(layout), *held}


def seen_in_use(layout: Layout) -> set[str]:
    """The same for who only looks, without the lock."""
    return {*mounted(layout), *pinned(layout), *_uses(layout)[0]}


def _uses(layout: Layout) -> tuple[set[str], list[str]]:
    """What is held, and the names of the files that nobody holds."""
    held, idle = set(), []
    folder = f"{layout.path}/uses"
    for name in os.listdir(folder) if places.isdir(folder) else ():
        if is_held(layout, name):
            held.add(name if name == FETCHING else f"sha256:{name}")
        else:
            idle.append(name)
    return held, idle


def is_used(layout: Layout, name: str) -> bool:
    """Whether somebody holds it now, or has it mounted; call it with the lock of the store."""
    return is_held(layout, name) or name in mounted(layout) or name in pinned(layout)


def pin(layout: Layout, owner: str, image: str) -> None:
    """Use the image with this ID until `unpin`; call it while it is held."""
    places.makedirs(f"{layout.path}/{PINS}", mode=0o700)
    os.symlink(image, f"{layout.path}/{PINS}/{owner}")  # which has its text with its name, also after a power cut


def unpin(layout: Layout, owner: str) -> None:
    """Let go of what `pin` has held."""
    try:
        os.unlink(f"{layout.path}/{PINS}/{owner}")
    except FileNotFoundError:
        pass


def pinned(layout: Layout) -> dict[str, str]:
    """The IDs of images that are pinned, each with one of those who need it."""
    found: dict[str, str] = {}
    folder = f"{layout.path}/{PINS}"
    for owner in os.listdir(folder) if places.isdir(folder) else ():
        try:
            found[os.readlink(f"{folder}/{owner}")] = owner
        except FileNotFoundError:
            continue
    return found


def mounted(layout: Layout) -> dict[str, str]:
    """The IDs of images that are mounted, as far as can be seen from here, and where."""
    found: dict[str, str] = {}
    if not places.isdir(f"{layout.path}/mounts"):
        return found
    top = places.fsencode(places.realpath(layout.path)) + b"/mounts/"
    with open("/proc/self/mountinfo", "rb") as file:
        for line in file:
            place = line.split(b" ")[4]
            if b"\\" in place:  # as proc_pid_mountinfo(5) writes a space
                import re

                place = re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), place)
            if place.startswith(top) and place.endswith(b"/fs"):
                digits = place[len(top) : -3].decode()
                found[f"sha256:{digits}"] = places.fsdecode(place)
    return found


def is_held(layout: Layout, name: str) -> bool:
    """Whether somebody holds it now."""
    return is_locked(_path(layout, name))


def _path(layout: Layout, name: str) -> str:
    return f"{layout.path}/uses/{name.removeprefix('sha256:')}"
