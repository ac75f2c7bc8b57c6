"""Where a store's supervisor is, and its sockets, whose paths may be longer than an address can be (unix(7)).

    STATE/supervisor.store      a link to the store whose supervisor is in STATE itself: the first that has come
    STATE/supervisors/HASH/     where that of any other store is, by its path
        supervisor.sock, supervisor.lock, supervisor.log, stage.sock, run/

    STORE/state                 a link to STATE: a store has its supervisor in one of them at a time

What else there is in STATE is everybody's: ranges of ids are leased there, whatever the store.
"""

from __future__ import annotations

import _socket
import posix as os

from cloche.engine.records import containers_dir, is_surely_ours, keep_state, state_dir, state_of_store, unusable
from cloche.errors import ConflictError
from cloche.images.store.layout import store_dir
from cloche.linux import places

SUPERVISOR, STAGES = "supervisor.sock", ("stage.sock", "stage-sealed.sock")
OWNER, OTHERS = "supervisor.store", "supervisors"
LONGEST_ADDRESS = 107  # of sun_path


def place() -> str:
    """The directory of this store's supervisor, whether it is there or not; two stores never have the same."""
    return _place_in(state_dir())


def _place_in(top: str) -> str:
    store = places.realpath(store_dir())
    is_ours = _is_of(top, store)
    return top if is_ours or (is_ours is None and _is_free(top)) else f"{top}/{OTHERS}/{_hash(store)}"


def has_supervisor(top: str) -> bool:
    """Whether this store has a supervisor in a state directory, or had one that was killed."""
    return any(places.exists(f"{_place_in(top)}/{name}") for name in (SUPERVISOR, *STAGES))


def claim() -> str:
    """The same, which is there and this store's from now on. Raises ForbiddenError."""
    containers_dir()  # surely ours
    top, store = state_dir(), places.realpath(store_dir())
    _settle_in(top)
    try:
        if _is_of(top, store) is None and _is_free(top):
            try:
                os.symlink(store, f"{top}/{OWNER}")
            except FileExistsError:
                pass  # by somebody who came at the same time
        found = place()
        if found != top:
            for folder in (f"{top}/{OTHERS}", found):
                places.makedirs(folder, mode=0o700)
    except OSError as error:
        raise unusable(top, error) from None
    return found


def _settle_in(top: str) -> None:
    """Have the store know that its supervisor is in this state directory. Raises ConflictError if it is elsewhere."""
    known = state_of_store()
    if known == top:
        return
    if is_surely_ours(known) and any(is_listening(f"{_place_in(known)}/{name}") for name in (SUPERVISOR, *STAGES)):
        raise ConflictError(
            f"the store {store_dir()} has containers that run in another state directory, {known}",
            hint=f"--state-dir {known}, or another store: --root",
        )
    keep_state(top)


def _is_of(top: str, store: str) -> bool | None:
    """Whether a state directory is that of this store's supervisor; None where it is nobody's yet."""
    link = f"{top}/{OWNER}"
    try:
        return os.readlink(link) == store or places.samefile(link, store)  # it may be mounted at two places
    except FileNotFoundError:
        return False if places.islink(link) else None
    except OSError:
        return False


def _is_free(top: str) -> bool:
    """Whether what was left in a state directory that is nobody's may be this store's: its owner's name may be lost."""
    try:
        left = os.listdir(f"{top}/run")
    except OSError:
        return True
    return not left or any(places.exists(f"{store_dir()}/containers/{name}") for name in left)


def _hash(store: str) -> str:
    from hashlib import sha256

    return sha256(places.fsencode(store)).hexdigest()[:16]


class _Address:
    """How a socket is named: by its path, or, where that is too long, by its directory's descriptor."""

    def __init__(self, path: str) -> None:
        self.folder, self.path = -1, path

    def __enter__(self) -> str:
        if len(places.fsencode(self.path)) <= LONGEST_ADDRESS:
            return self.path
        folder, _, name = self.path.rpartition("/")
        self.folder = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self.folder}/{name}"

    def __exit__(self, *_exception: object) -> None:
        if self.folder >= 0:
            os.close(self.folder)


def connect(sock: _socket.socket, path: str) -> None:
    """Connect to a socket by its path. Raises OSError."""
    with _Address(path) as address:
        sock.connect(address)


def bind(sock: _socket.socket, path: str) -> None:
    """Give a socket a path. Raises OSError."""
    with _Address(path) as address:
        sock.bind(address)


def is_listening(path: str) -> bool:
    """Whether somebody listens at a path, who may have too much to do to answer."""
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
    try:
        connect(sock, path)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        sock.close()
    return True
