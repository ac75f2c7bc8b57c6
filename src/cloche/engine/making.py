"""A kept container's directory: made, changed, and taken apart; whoever is killed meanwhile leaves nothing half-done.

made      directory ─ lock ─ name ─ pin of the image ─ layer ─ container.json, which is written last
removed   container.json first: from then on nobody sees it; then volumes, layer, pin, name
leftovers what is neither locked nor has a container.json
"""

from __future__ import annotations

import fcntl
import os
from errno import ENOENT, ENOTEMPTY

from cloche.engine import names
from cloche.engine.containers import CREATED, Container, containers_dir, folder_of, load, not_found
from cloche.images.store import uses
from cloche.images.store.layout import Layout, store_dir, sync_directory, write_once
from cloche.images.store.room import full, is_full
from cloche.linux import files
from cloche.spec.reader import write_json
from cloche.stage.points import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.engine.containers import Known

LAYER = "layer"


def make(known: Known) -> Container:
    """Make the directory of a container; a name that is "" is made up. Raises ConflictError for one that is taken."""
    folder = folder_of(known["id"])
    layout = Layout(store_dir())
    layout.make()
    sweep()
    try:
        os.makedirs(containers_dir(), mode=0o700, exist_ok=True)
        with _claimed(folder):
            return _furnish(layout, folder, known)
    except OSError as error:
        if is_full(error):
            raise full(layout.path) from None
        raise


def _claimed(folder: str) -> files.Fd:
    """Make a directory and hold its lock; before that whoever sweeps may have taken it for a rest: it is made again."""
    while True:
        held = None
        try:
            os.makedirs(folder, 0o700, exist_ok=True)
            held = files.Fd(_open_lock(folder))
            fcntl.flock(held.number, fcntl.LOCK_EX)
            if _is_its_lock(folder, held):
                return held
        except FileNotFoundError:
            pass
        if held is not None:
            held.close()


def _furnish(layout: Layout, folder: str, known: Known) -> Container:
    container = Container(folder, known, dict(CREATED))
    try:
        point("container-begun")
        if known["name"]:
            names.take(known["name"], known["id"])
        else:
            known["name"] = names.take_any(known["id"])
        point("container-named")
        if known["image_id"]:
            uses.pin(layout, known["id"], known["image_id"])
        os.mkdir(f"{folder}/{LAYER}", 0o755)
        point("container-furnished")
        write_known(container)
    except BaseException:
        _take_apart(layout, container)
        raise
    return container


def write_known(container: Container) -> None:
    """Write container.json anew, whole and synced; whoever changes it holds the lock. Raises StageError for no room."""
    content = write_json(container.known).encode()
    try:
        write_once(f"{container.folder}/container.json", content)
    except OSError as error:
        if is_full(error):
            raise full(store_dir()) from None
        raise
    point("container-written")


def rename(container: Container, new: str) -> None:
    """Give a container another name; call it with its lock. Raises ConflictError for one that is taken."""
    old = container.name
    names.take(new, container.id)
    point("rename-taken")
    container.known["name"] = new
    try:
        write_known(container)
    except BaseException:
        container.known["name"] = old
        names.give_up(new, container.id)
        raise
    point("rename-written")
    names.give_up(old, container.id)


def lock(container: Container) -> files.Fd:
    """Hold the lock of a container until the descriptor is closed, with what is known of it read again.

    Raises NotFoundError where it has been removed meanwhile.
    """
    try:
        held = files.Fd(_open_lock(container.folder, os.O_RDWR))
    except FileNotFoundError:
        raise not_found(container.name) from None
    fcntl.flock(held.number, fcntl.LOCK_EX)
    found = load(container.id)
    if found is None:
        held.close()
        raise not_found(container.name)
    container.known, container.state = found.known, found.state
    return held


def take_apart(container: Container) -> None:
    """Remove what there is of a container that does not run; call it with its lock."""
    point("removing")
    os.unlink(f"{container.folder}/container.json")
    sync_directory(container.folder)
    point("removed-known")
    _take_apart(Layout(store_dir()), container)


def _take_apart(layout: Layout, container: Container) -> None:
    from cloche.engine.layers import remove_layers

    remove_layers(container.folder)
    point("removed-layers")
    uses.unpin(layout, container.id)
    names.give_up(container.name, container.id)
    while name := names.name_of(container.id):  # one that a command took that was killed before it was the container's
        names.give_up(name, container.id)
    point("removed-name")
    _remove_folder(container.folder)


def _remove_folder(folder: str) -> None:
    for top, directories, found in os.walk(folder, topdown=False):
        for name in found:
            if top != folder or name != "lock":
                os.unlink(f"{top}/{name}")
        for name in directories:
            os.rmdir(f"{top}/{name}")
    os.unlink(f"{folder}/lock")
    point("removed-lock")
    try:
        os.rmdir(folder)
    except OSError as error:  # who sweeps has taken it for a rest, or who makes it again has come already: it is theirs
        if error.errno not in {ENOENT, ENOTEMPTY}:
            raise


def sweep() -> None:
    """Remove what commands left that were killed while they made or removed a container."""
    try:
        found = os.listdir(containers_dir())
    except FileNotFoundError:
        return
    for name in found:
        folder = folder_of(name)
        if len(name) != 64 or os.path.exists(f"{folder}/container.json"):
            continue
        try:
            with files.Fd(_open_lock(folder)) as held:
                fcntl.flock(held.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_its_lock(folder, held) and not os.path.exists(f"{folder}/container.json"):
                    _take_apart(Layout(store_dir()), Container(folder, {"id": name, "name": names.name_of(name)}, {}))
        except (BlockingIOError, FileNotFoundError):
            continue  # somebody is at it


def _is_its_lock(folder: str, held: files.Fd) -> bool:
    """Whether what is locked is still the lock: the directory may have been removed, and made again by another."""
    return os.stat(f"{folder}/lock").st_ino == os.fstat(held.number).st_ino


def _open_lock(folder: str, flags: int = os.O_RDWR | os.O_CREAT) -> int:
    return os.open(f"{folder}/lock", flags | os.O_CLOEXEC, 0o600)
