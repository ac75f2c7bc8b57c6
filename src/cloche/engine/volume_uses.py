"""Who uses which volume, and the end of those that nobody uses.

    kept containers        "mounts" of their container.json
    those that are gone when they end, and who is about to make one that is kept
                           STORE/volumes/NAME/users/ID, locked for as long as that process is there

A volume is looked at, and taken away from its name, by who holds the lock of all volumes alone; whoever begins to use
one does so under a share of it, so that it is either seen in use or not there any more.
"""

from __future__ import annotations

import os

from cloche.engine import containers, volumes
from cloche.engine.events import emit
from cloche.engine.trees import Remover
from cloche.engine.volumes import GONE, NEW, USERS, Volume
from cloche.errors import ConflictError, UnsupportedError
from cloche.images.store.layout import sync_directory, unique
from cloche.images.store.locks import is_locked, lock
from cloche.stage.points import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Removal = Callable[[str], None]  # removes a tree whose files may be those of other ids


class Hold:
    """A use of a volume by a container that no container.json tells of, until it is closed."""

    def __init__(self, path: str) -> None:
        self._path, self._fd = path, lock(path)

    def close(self) -> None:
        """Let go. A process that ends otherwise lets go as well, and what is left of it is removed by `remove`."""
        if self._fd.number >= 0:
            try:
                os.unlink(self._path)
            except FileNotFoundError:
                pass
            self._fd.close()


def hold(volume: Volume, container_id: str) -> Hold:
    """Use a volume; for who has a share of the lock of all volumes."""
    return Hold(f"{volume.folder}/{USERS}/{container_id}")


def uses() -> dict[str, list[str]]:
    """The ids of the containers that use each volume; those that nobody uses are not in it."""
    found: dict[str, list[str]] = {}
    for container in containers.every(everything=True):
        for item in container.known.get("mounts") or ():
            if item.get("Type") == "volume" and item.get("Name"):
                found.setdefault(item["Name"], []).append(container.id)
    for volume in volumes.every():
        for container_id in _running(volume):
            known = found.setdefault(volume.name, [])
            if container_id not in known:
                known.append(container_id)
    return found


def _running(volume: Volume) -> list[str]:
    return [name for name in _holds(volume) if is_locked(f"{volume.folder}/{USERS}/{name}")]


def _holds(volume: Volume) -> list[str]:
    try:
        return os.listdir(f"{volume.folder}/{USERS}")
    except FileNotFoundError:
        return []


def create(name: str, labels: dict[str, str], options: dict[str, str], *, driver: str = volumes.DRIVER) -> Volume:
    """The volume of this name, made where there is none; one that nobody gives a name gets 64 digits.

    Raises UnsupportedError for another driver than the local one, ConflictError where there is one with other options,
    and what `volumes.make` raises.
    """
    if driver != volumes.DRIVER:
        raise UnsupportedError(f"the volume driver {driver}", needs="a plugin of docker's; the driver here is local")
    with Remover() as remover:
        sweep(remover)
    volume, made = volumes.make(name, labels, options)
    if not made and options and options != volume.options:
        raise ConflictError(
            f"create {name}: there is a volume of this name with other options",
            hint=f"cloche volume inspect {name} shows them; volume rm takes it away",
        )
    return volume


def remove(name: str, remover: Removal) -> None:
    """Remove a volume with all in it. Raises NotFoundError, and ConflictError where a container uses it."""
    with volumes.locked():
        volume = volumes.find(name)
        used = uses().get(name, [])
        if used:
            raise ConflictError(
                f"remove {name}: volume is in use - [{', '.join(used)}]", hint="cloche rm CONTAINER, or end it, first"
            )
        gone = _out_of_the_way(volume)
    remover(gone)


def prune(meant: Callable[[Volume], bool]) -> tuple[list[str], int]:
    """Remove all that are meant and that nobody uses; returns their names, and how many bytes they had."""
    with Remover() as remover:
        sweep(remover)
        with volumes.locked():
            used = uses()
            found = [volume for volume in volumes.every() if volume.name not in used and meant(volume)]
            freed = sum(map(size_of, found))
            gone = [_out_of_the_way(volume) for volume in found]
        for path in gone:  # with the lock open again: it may take its time
            remover(path)
    emit("volume", "prune", "", {"reclaimed": str(freed)})
    return [volume.name for volume in found], freed


def discard(names: list[str]) -> list[str]:
    """Take the anonymous volumes of a container that is removed away from their names, but for those others use.

    The container is to be gone already. Returns the directories that are to be removed; whoever cannot do it, as it
    has no power over their owners, leaves it to `sweep`.
    """
    with volumes.locked():
        used = uses()
        found = [volume for name in names if name not in used and (volume := volumes.load(name)) is not None]
        return [_out_of_the_way(volume) for volume in found if volume.anonymous]


def sweep(remover: Removal) -> None:
    """Remove what was left by somebody who was killed while he made, removed or used a volume."""
    top = volumes.volumes_dir()
    if not os.path.isdir(top):
        return
    unfinished = any(name.startswith((NEW, GONE)) for name in os.listdir(top))
    idle = [volume for volume in volumes.every() if len(_holds(volume)) > len(_running(volume))]
    if not unfinished and not idle:
        return
    with volumes.locked():  # nobody makes one, or begins to use one, now
        left = [f"{top}/{name}" for name in os.listdir(top) if name.startswith((NEW, GONE))]
        for volume in idle:
            for name in set(_holds(volume)) - set(_running(volume)):
                os.unlink(f"{volume.folder}/{USERS}/{name}")
    for path in left:
        remover(path)


def size_of(volume: Volume) -> int:
    """How many bytes the files of a volume have, each counted once; what cannot be read counts nothing."""
    if volume.is_bound or volume.in_memory:
        return 0
    seen: set[tuple[int, int]] = set()
    total = 0
    for folder, names, others in os.walk(volume.data):
        for name in (*names, *others):
            try:
                status = os.lstat(f"{folder}/{name}")
            except OSError:
                continue
            if name in others and (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                total += status.st_size
    return total


def _out_of_the_way(volume: Volume) -> str:
    gone = unique(f"{volumes.volumes_dir()}/{GONE}")
    point("volume-removing")
    os.rename(volume.folder, gone)
    point("volume-gone")
    sync_directory(volumes.volumes_dir())
    volumes.tell("destroy", volume.name)
    return gone
