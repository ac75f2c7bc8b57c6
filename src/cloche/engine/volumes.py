"""Volumes: directories that outlive containers, by name.

    STORE/volumes/.lock             shared by who makes or takes a volume, alone for who removes one
    STORE/volumes/NAME/_data        what containers see
                      /volume.json  what was asked, written once
                      /first        a byte, by which is known whether it has got what an image has there (`FillVolume`)
                      /users/ID     locked by a container that is gone when it ends, while it runs (`volume_uses`)
    STORE/volumes/.new.…            one that is being made: it gets its name when all of it is on the disk
    STORE/volumes/.gone.…           one that is being removed, which took its name away at once

Names are docker's (local driver), and cannot begin with a dot. What was left by somebody who was killed is removed by
the next who makes or removes one.
"""

from __future__ import annotations

import errno
import fcntl
import posix as os
import time

from cloche.errors import ClocheError, ForbiddenError, NotFoundError, SpecError, StageError, UnsupportedError
from cloche.ids import new_id
from cloche.images.store.layout import create, store_dir, sync_directory, unique
from cloche.images.store.room import FULL
from cloche.linux import files, places
from cloche.linux.reading import read_bytes
from cloche.records import record
from cloche.spec.reader import read_json, write_json
from cloche.stage.points import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

DRIVER = "local"
ANONYMOUS = "com.docker.volume.anonymous"  # the label of those that nobody gave a name, as docker's
DATA, KNOWN, FIRST, USERS = "_data", "volume.json", "first", "users"
NEW, GONE = ".new", ".gone"
SUBPATH = "Subpath"  # a member of a container's mount: which part of the volume it has, none for all of it
WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
# what an option of the local driver needs beside it (docker volume create, "Driver-specific options")
NEEDS = {"type": ("device",), "device": ("type",), "o": ("device", "type")}
BINDS = ("bind", "rbind")
BIND_WORDS = (*BINDS, "ro", "rw")
TMPFS_WORDS = ("size", "mode", "uid", "gid", "nr_inodes", "ro", "rw")


@record
class Volume:
    """One volume: its folder, and what is in its volume.json; `options` are the local driver's, type, o and device."""

    name: str
    folder: str
    labels: dict[str, str]
    options: dict[str, str]
    created: str  # RFC 3339
    anonymous: bool

    @property
    def data(self) -> str:
        """Where what it holds is: in its folder, unless the options say another directory."""
        return self.options["device"] if self.is_bound else self.mountpoint

    @property
    def mountpoint(self) -> str:
        """Where docker says that it is: `inspect` names its folder, whatever the options say."""
        return f"{self.folder}/{DATA}"

    @property
    def is_bound(self) -> bool:
        """Whether it is another directory of this machine."""
        return bool(set(BINDS) & set(self.words))

    @property
    def in_memory(self) -> bool:
        """Whether each container gets an empty one in memory."""
        return self.options.get("type") == "tmpfs"

    @property
    def words(self) -> tuple[str, ...]:
        """The mount options among its options."""
        return tuple(filter(None, self.options.get("o", "").split(",")))


def volumes_dir() -> str:
    """Where they are; it need not be there."""
    return f"{store_dir()}/volumes"


def check_name(name: str) -> str:
    """docker's grammar of names, [a-zA-Z0-9][a-zA-Z0-9_.-]+. Returns it, or raises SpecError."""
    if len(name) == 1 and name in WORD:
        why = "volume name is too short, names should be at least two alphanumeric characters"
        raise SpecError(f"create {name}: {why}", hint=f"for a directory, write ./{name}")
    if not name or name[0] not in WORD or not set(name) <= WORD | set("_.-"):
        why = 'includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed'
        raise SpecError(f'create {name}: "{name}" {why}', hint=f"for a directory, write an absolute path, or ./{name}")
    if len(name) > 255:
        raise SpecError(f"create {name}: a name has 255 characters at most")
    return name


def check_options(options: dict[str, str], name: str = "") -> None:
    """Whether these options of the local driver make sense, and can be had. Raises SpecError, UnsupportedError."""
    where = f"create {name}: " if name else ""
    for key in options:
        if key not in NEEDS:
            raise SpecError(f'{where}invalid option: "{key}"', hint=f"the local driver takes {', '.join(NEEDS)}")
        for other in NEEDS[key]:
            if not options.get(other):
                raise SpecError(f'{where}missing required option: "{other}"', hint=f"{key} means nothing without it")
    if not options:
        return
    kind, words = options["type"], set(filter(None, options.get("o", "").split(",")))
    if kind == "tmpfs":
        _check_words(words, TMPFS_WORDS)
        return
    if not words & set(BINDS) or kind not in {"none", *BINDS}:
        raise UnsupportedError(
            f"a volume of type {kind}",
            needs="a file system that is mounted by who uses it",
            hint="mount it yourself, and give its directory: -o type=none -o o=bind -o device=DIR",
        )
    if not options["device"].startswith("/"):
        raise SpecError(f"device={options['device']} is not an absolute path", hint="such as device=/srv/data")
    _check_words(words, BIND_WORDS)


def _check_words(words: set[str], known: tuple[str, ...]) -> None:
    if strange := sorted(word for word in words if word.partition("=")[0] not in known):
        raise SpecError(f"the option o={strange[0]} is not known here", hint=", ".join(known))


def locked(*, shared: bool = False) -> files.Fd:
    """Hold the lock of all volumes until the descriptor is closed; what it is in is made if missing."""
    top = volumes_dir()
    try:
        places.makedirs(store_dir(), mode=0o700)
        places.makedirs(top, mode=0o700)
        held = files.Fd(os.open(f"{top}/.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise _unusable(error) from None
    fcntl.flock(held.number, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
    return held


def make(
    name: str = "", labels: dict[str, str] | None = None, options: dict[str, str] | None = None
) -> tuple[Volume, bool]:
    """The volume of this name, and whether it was made now; one that nobody gives a name gets 64 digits.

    One that is there stays as it is, as docker has it. Raises SpecError, UnsupportedError, StageError (full disk),
    ForbiddenError.
    """
    with locked(shared=True):
        return make_with_lock(name, labels, options)


def make_with_lock(
    name: str = "", labels: dict[str, str] | None = None, options: dict[str, str] | None = None
) -> tuple[Volume, bool]:
    """The same, for who holds the lock, shared or not."""
    anonymous = not name
    name = check_name(name) if name else new_id()
    check_options(options or {}, name)
    if (known := load(name)) is not None:
        return known, False
    labels = {**(labels or {}), **({ANONYMOUS: ""} if anonymous else {})}
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    folder = f"{volumes_dir()}/{name}"
    made = Volume(name, folder, labels, dict(options or {}), created, anonymous)
    temporary = unique(f"{volumes_dir()}/{NEW}")
    try:
        _furnish(made, temporary)
        os.rename(temporary, folder)
    except OSError as error:
        _unmake(temporary)
        if error.errno in {errno.EEXIST, errno.ENOTEMPTY} and (known := load(name)) is not None:
            return known, False  # somebody else was quicker
        raise _unusable(error) from None
    point("volume-renamed")
    sync_directory(volumes_dir())
    tell("create", name)
    return made, True


def _furnish(volume: Volume, folder: str) -> None:
    os.mkdir(folder, 0o700)
    point("volume-begun")
    for name, mode in ((DATA, 0o755), (USERS, 0o700)):
        os.mkdir(f"{folder}/{name}")
        os.chmod(f"{folder}/{name}", mode)  # whatever the umask
    create(f"{folder}/{FIRST}", 0o600).close()
    known = {
        "version": 1,
        "Name": volume.name,
        "Driver": DRIVER,
        "Labels": volume.labels,
        "Options": volume.options,
        "CreatedAt": volume.created,
        "Anonymous": volume.anonymous,
    }
    with create(f"{folder}/{KNOWN}", 0o600) as file:
        files.write_all(file.number, write_json(known).encode())
        point("volume-written")
        os.fsync(file.number)
    sync_directory(folder)
    point("volume-synced")


def _unmake(folder: str) -> None:
    """Take away what `_furnish` has made of it, however much that is."""
    for name in (FIRST, KNOWN):
        _quietly(os.unlink, f"{folder}/{name}")
    for path in (f"{folder}/{DATA}", f"{folder}/{USERS}", folder):
        _quietly(os.rmdir, path)


def _quietly(remove: object, path: str) -> None:
    try:
        remove(path)  # type: ignore[operator]
    except OSError:
        pass


def load(name: str) -> Volume | None:
    """The volume of this name, if there is one."""
    folder = f"{volumes_dir()}/{name}"
    if not name or name[0] not in WORD or "/" in name or "\0" in name:
        return None
    text = read_bytes(f"{folder}/{KNOWN}")
    try:
        known = read_json(text)
        assert isinstance(known, dict)
        labels, options = dict(known["Labels"]), dict(known["Options"])
        return Volume(name, folder, labels, options, str(known["CreatedAt"]), bool(known["Anonymous"]))
    except (SpecError, AssertionError, KeyError, TypeError, ValueError):
        # a volume's data is never out of reach: what a disk has spoilt beside it costs its labels
        return Volume(name, folder, {}, {}, "", False) if places.isdir(f"{folder}/{DATA}") else None


def find(name: str) -> Volume:
    """The volume of this name. Raises NotFoundError, in docker's words."""
    found = load(name)
    if found is None:
        raise NotFoundError(f"get {name}: no such volume", hint="cloche volume ls lists what there is")
    return found


def every() -> list[Volume]:
    """All volumes, by name."""
    try:
        names = sorted(name for name in os.listdir(volumes_dir()) if name[0] in WORD)
    except FileNotFoundError:
        return []
    return list(_loaded(names))


def _loaded(names: list[str]) -> Iterator[Volume]:
    for name in names:
        if (found := load(name)) is not None:
            yield found


def describe(volume: Volume) -> dict[str, Any]:
    """A volume with docker's members; null where docker has null."""
    return {
        "CreatedAt": volume.created,
        "Driver": DRIVER,
        "Labels": volume.labels or None,
        "Mountpoint": volume.mountpoint,
        "Name": volume.name,
        "Options": volume.options or None,
        "Scope": "local",
    }


def tell(action: str, name: str, attributes: dict[str, str] | None = None) -> None:
    """Leave word of it among the events."""
    from cloche.engine.events import emit

    emit("volume", action, name, {"driver": DRIVER, **(attributes or {})})


def _unusable(error: OSError) -> ClocheError:
    if error.errno in FULL:
        hint = "remove volumes (cloche volume prune), or images, or give another store: --root DIR"
        return StageError(f"the disk of the store {store_dir()} is full", errno=errno.ENOSPC, hint=hint)
    why = f"the volumes in {volumes_dir()} cannot be used: {error.strerror}"
    return ForbiddenError(why, hint="give another store: --root, or CLOCHE_ROOT")
