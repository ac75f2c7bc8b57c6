"""A kept container's directory: made, changed, and taken apart; whoever is killed meanwhile leaves nothing half-done.

made      mark ─ directory ─ lock ─ name ─ pin of the image ─ layer ─ container.json ─ mark gone
removed   container.json becomes the mark: from then on nobody sees it; then volumes, layer, pin, name, mark
leftovers what has a mark, and neither a container.json nor somebody who holds a lock

    STORE/unfinished/ID    the mark, locked by whoever makes that container

A change of names has a mark as well. Whoever sweeps looks at the marks, of which there are none mostly, and not at each
of a thousand containers and names.
"""

from __future__ import annotations

import fcntl
import posix as os
from errno import ENOENT, ENOTEMPTY

from cloche.engine import names
from cloche.engine.containers import CREATED, Container, containers_dir, folder_of, load, not_found
from cloche.images.store import locks, uses
from cloche.images.store.layout import Layout, store_dir, sync_directory, write_once
from cloche.images.store.room import full, is_full
from cloche.linux import files, places
from cloche.spec.reader import write_json
from cloche.stage.points import point
from cloche.stage.removal import empty, remove_tree

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
        is_first = not places.exists(containers_dir())
        places.makedirs(containers_dir(), mode=0o700)
        with locks.lock(_mark_of(known["id"])), _claimed(folder):
            container = _furnish(layout, folder, known)
            if is_first:
                sync_directory(layout.path)
            _unmark(container.id)
            return container
    except OSError as error:
        if is_full(error):
            raise full(layout.path) from None
        raise


def _claimed(folder: str) -> files.Fd:
    """Make a directory and hold its lock; before that whoever sweeps may have taken it for a rest: it is made again."""
    while True:
        held = None
        try:
            places.makedirs(folder, 0o700)
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
        pins = (f"{layout.path}/{uses.PINS}",) if known["image_id"] else ()
        write_known(container, after=(containers_dir(), names.folder(), *pins))
    except BaseException:
        _take_apart(layout, container, names.names_of(container.id))
        raise
    return container


def write_known(container: Container, *, after: tuple[str, ...] = ()) -> None:
    """Write container.json anew, whole and synced; whoever changes it holds the lock. Raises StageError for no room.

    What is in the directories `after` is on the disk before.
    """
    content = write_json(container.known).encode()
    try:
        write_once(f"{container.folder}/container.json", content, after=after)
    except OSError as error:
        if is_full(error):
            raise full(store_dir()) from None
        raise
    point("container-written")


def rename(container: Container, new: str) -> None:
    """Give a container another name; call it with its lock. Raises ConflictError for one that is taken."""
    try:
        mark = locks.lock(_mark_of(container.id))
    except OSError as error:
        if is_full(error):
            raise full(store_dir()) from None
        raise
    with mark:
        _rename(container, new)
        _unmark(container.id)


def _rename(container: Container, new: str) -> None:
    old = container.name
    try:
        names.take(new, container.id)
        point("rename-taken")
        container.known["name"] = new
        write_known(container, after=(names.folder(),))
    except BaseException:
        written = load(container.id)
        if written is None or written.name != new:  # else it is called so, and who sweeps gives the old name up
            container.known["name"] = old
            names.give_up(new, container.id)
            _unmark(container.id)
        raise
    point("rename-written")
    names.give_up(old, container.id)
    sync_directory(names.folder())


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
    container.become(found)
    return held


def take_apart(container: Container) -> None:
    """Remove what there is of a container that does not run; call it with its lock."""
    point("removing")
    was_left = places.exists(_mark_of(container.id))  # by a command that was killed: another name may be its own, too
    if _hide(container):
        sync_directory(f"{store_dir()}/{names.MARKS}")  # else nobody would know what to sweep
        uses.unpin(Layout(store_dir()), container.id)  # now: whoever does not see it does not see why an image is kept
    sync_directory(container.folder)
    point("removed-known")
    _take_apart(Layout(store_dir()), container, names.names_of(container.id) if was_left else [container.name])


def _hide(container: Container) -> bool:
    """Have its container.json become its mark, in one step; False where there is no room for a mark: it goes anyway."""
    path = f"{container.folder}/container.json"
    try:
        os.rename(path, _mark_of(container.id))
    except OSError:
        os.unlink(path)
        return False
    return True


def _mark_of(container_id: str) -> str:
    folder = f"{store_dir()}/{names.MARKS}"
    places.makedirs(folder, mode=0o700)
    return f"{folder}/{container_id}"


def _unmark(container_id: str) -> None:
    try:
        os.unlink(f"{store_dir()}/{names.MARKS}/{container_id}")
    except FileNotFoundError:
        pass


def _take_apart(layout: Layout, container: Container, taken: list[str]) -> None:
    from cloche.engine.layers import remove_layers

    remove_layers(container.folder)
    point("removed-layers")
    uses.unpin(layout, container.id)
    for name in taken:
        names.give_up(name, container.id)
    point("removed-name")
    if _remove_folder(container.folder):
        _unmark(container.id)


def _remove_folder(folder: str) -> bool:
    """Remove it with all in it; False where somebody else has come to it."""
    with files.Fd(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as place:
        _remove_log(folder, place)
        empty(place.number, but="lock")
    os.unlink(f"{folder}/lock")
    point("removed-lock")
    try:
        os.rmdir(folder)
    except OSError as error:  # who sweeps has taken it for a rest, or who makes it again has come already: it is theirs
        if error.errno not in {ENOENT, ENOTEMPTY}:
            raise
        return error.errno == ENOENT
    return True


def _remove_log(folder: str, place: files.Fd) -> None:
    """With its lock: it has names moved in it after the container's end too, while what was rotated is compressed."""
    try:
        held = locks.lock_folder(f"{folder}/log")
    except FileNotFoundError:
        return
    with held:
        remove_tree(place.number, "log")


def sweep() -> None:
    """Remove what commands left that were killed while they made or removed a container."""
    try:
        found = os.listdir(f"{store_dir()}/{names.MARKS}")
    except FileNotFoundError:
        return
    for name in found:
        try:
            with files.Fd(os.open(_mark_of(name), os.O_RDWR | os.O_CLOEXEC)) as mark:
                fcntl.flock(mark.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _sweep(name)
        except (BlockingIOError, FileNotFoundError):
            continue  # somebody is at it


def _sweep(container_id: str) -> None:
    """See to what has a mark that nobody holds. Raises BlockingIOError where somebody removes it just now."""
    folder = folder_of(container_id)
    try:
        lock = _open_lock(folder)
    except FileNotFoundError:
        _unmark(container_id)
        return
    with files.Fd(lock) as held:
        fcntl.flock(held.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _is_its_lock(folder, held):
            return
        taken = names.names_of(container_id)
        if not places.exists(f"{folder}/container.json"):
            _take_apart(Layout(store_dir()), Container(folder, {"id": container_id, "name": ""}, {}), taken)
        elif (found := load(container_id)) is not None:  # else it is damaged, and cannot say which name is its own
            for name in taken:
                if name != found.name:
                    names.give_up(name, container_id)
            _unmark(container_id)


def _is_its_lock(folder: str, held: files.Fd) -> bool:
    """Whether what is locked is still the lock: the directory may have been removed, and made again by another."""
    return os.stat(f"{folder}/lock").st_ino == os.fstat(held.number).st_ino


def _open_lock(folder: str, flags: int = os.O_RDWR | os.O_CREAT) -> int:
    return os.open(f"{folder}/lock", flags | os.O_CLOEXEC, 0o600)
