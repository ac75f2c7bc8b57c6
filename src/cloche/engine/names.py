"""Names of kept containers: made up where none is given, taken, given up, changed.

    STORE/names/NAME    a symbolic link whose text is the id of whose name it is
    STORE/names/.lock   flock'd while a link is replaced or removed; no name begins with a dot

symlink(2) gives a name to one of all who ask at the same time. Whoever takes one holds the `lock` of its own folder
until its container.json is there: a link that leads to a container without either is of a command that was killed,
one to a container that calls itself something else of a change of names that was, and one to a container whose mark
says what it was of a removal that goes on, or was killed; all of them are taken over.
"""

from __future__ import annotations

import fcntl
import posix as os

from cloche.engine import records
from cloche.errors import ConflictError, SpecError, StageError
from cloche.images.store.layout import store_dir
from cloche.linux import places
from cloche.linux.files import Fd
from cloche.linux.reading import read_bytes
from cloche.spec.reader import read_json

HEX = frozenset("0123456789abcdef")
MARKS = "unfinished"  # in the store, of containers that are made or removed, see `making`
NEW = ".new-"
TRIES = 16


def generate(random: bytes) -> str:
    """A name such as docker makes them, adjective_surname; `random` are at least four bytes, of which it is made."""
    from cloche.engine.name_words import ADJECTIVES, SURNAMES

    number = int.from_bytes(random, "big")
    return f"{ADJECTIVES[number % len(ADJECTIVES)]}_{SURNAMES[number // len(ADJECTIVES) % len(SURNAMES)]}"


def take_any(container_id: str) -> str:
    """Take a name that is free, and return it; one with a number in it where those without are hard to find."""
    for attempt in range(TRIES):
        random = os.urandom(8)
        name = generate(random) + (str(random[0]) if attempt > TRIES // 2 else "")
        try:
            take(name, container_id)
        except ConflictError:
            continue
        return name
    raise StageError("no name was found that is free", hint="give one: --name NAME")


def take(name: str, container_id: str) -> None:
    """Have a name stand for a container from now on. Raises ConflictError where it stands for another.

    It has passed `check_name`. A container that has it already keeps it.
    """
    if not records.place_exists():  # nobody has reserved one
        _take(name, container_id)
        return
    with records.locked():
        _check_throwaways(name)
        _take(name, container_id)


def _take(name: str, container_id: str) -> None:
    link = _link(name)
    try:
        _symlink(container_id, link)
    except FileExistsError:
        with _locked():
            _take_over(name, link, container_id)


def give_up(name: str, container_id: str) -> None:
    """Have a name stand for nothing; unless it stands for another container, or for nothing already."""
    if not name:
        return
    try:
        with _locked():
            if os.readlink(_link(name)) == container_id:
                os.unlink(_link(name))
    except FileNotFoundError:
        pass


def owner(name: str) -> str:
    """The id of the container that has a name; "" for none."""
    try:
        holder = os.readlink(_link(name)) if name and "/" not in name else ""
    except OSError:
        return ""
    return holder if _holds(holder, name) else ""


def _take_over(name: str, link: str, container_id: str) -> None:
    try:
        holder = os.readlink(link)
    except FileNotFoundError:
        holder = ""  # given up meanwhile
    if holder == container_id:
        return
    if _holds(holder, name):
        raise conflict(name, holder)
    # in one step: there is no moment in which somebody else could have the name
    fresh = f"{folder()}/{NEW}{container_id}"
    try:
        os.symlink(container_id, fresh)
    except FileExistsError:
        pass  # of this very container, by a command that was killed
    os.rename(fresh, link)


def reserve(name: str, container_id: str) -> None:
    """Have a name stand for a container that ends with its caller, until its record goes. Raises ConflictError."""
    with records.locked():
        _check_throwaways(name)
        if holder := owner(name):
            raise conflict(name, holder)
        records.reserve(container_id, name)


def conflict(name: str, holder: str) -> ConflictError:
    """docker's sentence for a name that is in use."""
    return ConflictError(
        f'Conflict. The container name "/{name}" is already in use by container "{holder}". '
        "You have to remove (or rename) that container to be able to reuse that name.",
        hint=f"cloche rm {name}",
    )


def folder() -> str:
    """Where the links are."""
    return f"{store_dir()}/names"


def _link(name: str) -> str:
    return f"{folder()}/{name}"


def _symlink(text: str, link: str) -> None:
    try:
        os.symlink(text, link)
    except FileNotFoundError:
        _make_folder()
        os.symlink(text, link)


def _make_folder() -> None:
    places.makedirs(folder(), 0o700)


def _locked() -> Fd:
    held = Fd(os.open(f"{folder()}/.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    fcntl.flock(held.number, fcntl.LOCK_EX)
    return held


def _check_throwaways(name: str) -> None:
    if holder := records.reserved(name):
        raise conflict(name, holder)
    for record in records.every():
        if record.get("name") == name:
            raise conflict(name, str(record["id"]))


def _holds(holder: str, name: str) -> bool:
    """Whether a container is there, or on its way, and this is its name."""
    if len(holder) != 64 or not set(holder) <= HEX:
        return False
    place = f"{store_dir()}/containers/{holder}"
    if _is_locked(f"{place}/lock"):
        return not _is_removed(holder)
    text = read_bytes(f"{place}/container.json")
    try:
        known = read_json(text) if text else None
    except SpecError:
        return True  # damaged, and all the same there
    return isinstance(known, dict) and known.get("name") == name


def _is_removed(container_id: str) -> bool:
    """Whether its removal has come so far that nobody sees it any more: its container.json has become its mark."""
    try:
        return os.stat(f"{store_dir()}/{MARKS}/{container_id}").st_size > 0
    except FileNotFoundError:
        return False


def _is_locked(path: str) -> bool:
    try:
        with Fd(os.open(path, os.O_RDONLY | os.O_CLOEXEC)) as lock:
            fcntl.flock(lock.number, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False


def names_of(container_id: str) -> list[str]:
    """The names that stand for an id: looks at all there are, for what was left by a command that was killed."""
    try:
        found = os.listdir(folder())
    except FileNotFoundError:
        return []
    return [name for name in found if _leads_to(name, container_id)]


def _leads_to(name: str, container_id: str) -> bool:
    try:
        return os.readlink(_link(name)) == container_id
    except OSError:
        return False  # the lock, or one that went away
