"""The containers of a runtime: one directory each, below --root, readable by every later command.

    ROOT/ID/state.json    what is known, replaced as a whole (write, rename)
    ROOT/ID/config.json   the bundle's, as it was at `create`: later edits have no effect (runtime.md)
    ROOT/ID/receipt.json  what is enforced
    ROOT/ID/start         the socket at which a created container waits
    ROOT/ID/lock          held by the command that is changing it

A process is known by (pid, start time, boot id), so that neither a pid that was used again nor a reboot makes
a container out of somebody else's process. On the way of every `state` and `kill`: imports next to nothing.
"""

from __future__ import annotations

import fcntl
import posix as os  # `os` itself costs more than all the rest of `state`

from cloche.errors import ConflictError, ForbiddenError, NotFoundError, SpecError
from cloche.ids import check_id
from cloche.linux import files
from cloche.linux.places import makedirs
from cloche.linux.reading import boot_id, read_bytes
from cloche.spec.reader import read_json, write_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

START = "start"
RECEIPT = "receipt.json"  # what is enforced, layer by layer
LAST = "state.json lock"  # removed in this order, after all others, which are found nowhere in it
TRIES, ENOTEMPTY = 10, 39
NEEDED = {"ociVersion", "bundle", "rootfs", "created"}
NONE: dict[str, str] = {}


def default_root() -> str:
    """/run/cloche-runtime for root, below $XDG_RUNTIME_DIR for others; also where root is one in a user namespace."""
    runtime = os.environ.get(b"XDG_RUNTIME_DIR", b"").decode(errors="surrogateescape")
    root_in_name = bool(runtime) and os.environ.get(b"USER") != b"root" and not _all_ids()
    if os.geteuid() == 0 and not root_in_name:
        return "/run/cloche-runtime"
    return f"{runtime}/cloche-runtime" if runtime.startswith("/") else _own(_shared())


def _shared() -> str:
    return f"/tmp/cloche-runtime-{os.geteuid()}"


def _own(path: str) -> str:
    """A directory where anybody could have made one: ours alone, or none yet. Raises ForbiddenError."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return path
    if status.st_mode >> 12 != 4 or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise ForbiddenError(f"{path} is not a directory of yours alone", hint="set XDG_RUNTIME_DIR, or give --root")
    return path


def _all_ids() -> bool:
    """Whether this is the initial user namespace, as far as its map tells (user_namespaces(7))."""
    return read_bytes("/proc/self/uid_map").split() == [b"0", b"0", b"4294967295"]


class Container:
    """One container's directory and what its state.json says."""

    def __init__(self, root: str, container_id: str, known: dict[str, Any]) -> None:
        self.root, self.id, self.known = root, container_id, known
        self.folder = f"{root}/{container_id}"
        self._lock = -1

    @property
    def pid(self) -> int:
        """The pid of its first process as it was written down; 0 before there was one."""
        return int(self.known.get("pid", 0))

    @property
    def groups(self) -> dict[str, str]:
        """Its cgroups: {controller: directory}, "" for the one in the v2 tree."""
        return dict(self.known.get("groups", ()))

    @property
    def directories(self) -> tuple[str, ...]:
        """The directories of its cgroups, each once; none after a reboot, when others may have made theirs there."""
        if self.known.get("boot", "") not in {"", boot_id()}:
            return ()
        return tuple(dict.fromkeys(self.groups.values()))

    def status(self) -> str:
        """creating, created, running, paused or stopped, asked of the kernel (runtime.md, "State")."""
        if not self.known.get("ready"):
            return "creating" if self.alive() or self._is_locked() else "stopped"
        if not self.alive():
            return "stopped"
        if self.is_frozen():
            return "paused"
        return "created" if self._waits() else "running"

    def alive(self) -> bool:
        """Whether its first process is there and not a zombie."""
        started = self.known.get("started", 0)  # 0: it ended before that could be read
        return bool(self.pid and started) and self.known.get("boot") == boot_id() and start_time(self.pid) == started

    def is_frozen(self) -> bool:
        """Whether its processes were stopped by way of its cgroup (see cgroups.freezing, of which this is a part)."""
        groups = self.groups
        if "freezer" in groups and read_bytes(f"{groups['freezer']}/freezer.state").strip() in {b"FROZEN", b"FREEZING"}:
            return read_bytes(f"{groups['freezer']}/freezer.self_freezing").strip() == b"1"
        return "" in groups and read_bytes(f"{groups['']}/cgroup.freeze").strip() == b"1"

    def _waits(self) -> bool:
        """Whether somebody still listens for `start`: the socket's file alone proves nothing."""
        try:
            os.stat(f"{self.folder}/{START}")
            fd = os.open(self.folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        import _socket

        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC)
        try:
            sock.connect(f"/proc/self/fd/{fd}/{START}")
        except OSError as error:
            return error.errno == 11  # EAGAIN: many are waiting already
        else:
            return True
        finally:
            sock.close()
            os.close(fd)

    def lock(self) -> Self:
        """Wait until no other command is changing this container, and see what it is like then.

        A lock of the process, not of the open file: the container's first process, a fork of ours, has no part in it.
        Released at exit. Raises NotFoundError when it was removed meanwhile.
        """
        try:
            self._lock = os.open(f"{self.folder}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            raise NotFoundError(f"container does not exist: {self.id}") from None
        fcntl.lockf(self._lock, fcntl.LOCK_EX)
        if os.fstat(self._lock).st_nlink == 0:
            raise NotFoundError(f"container does not exist: {self.id}")
        if text := read_bytes(f"{self.folder}/state.json"):
            try:
                self.known = _known(text, self.folder)
            except SpecError:
                if not self.known.get("damaged"):
                    raise
        return self

    def unlock(self) -> None:
        """Let the next command have it."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _is_locked(self) -> bool:
        if self._lock >= 0:
            return False  # by us; and closing the file once more would let go of the lock (fcntl_locking(2))
        try:
            fd = os.open(f"{self.folder}/lock", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            # struct flock { short type, whence; off_t start, len; pid_t pid; }
            found = fcntl.fcntl(fd, fcntl.F_GETLK, fcntl.F_WRLCK.to_bytes(32, "little"))
            return int.from_bytes(found[:2], "little") != fcntl.F_UNLCK
        finally:
            os.close(fd)

    def update(self, **news: Any) -> None:
        """Write state.json anew with these members changed, so that a reader sees the old or the new one."""
        self.known.update(news)
        files.write_atomically(f"{self.folder}/state.json", write_json(self.known).encode())

    def config_text(self) -> bytes:
        """config.json as it was at `create`."""
        return read_bytes(f"{self.folder}/config.json")

    def receipt_text(self) -> bytes:
        """receipt.json as `create` or the last `update` wrote it."""
        return read_bytes(f"{self.folder}/{RECEIPT}")

    def state(self) -> dict[str, object]:
        """The state as runtime.md has it, with what runc adds."""
        status = self.status()
        return {
            "ociVersion": self.known["ociVersion"],
            "id": self.id,
            "pid": self.pid if status not in {"stopped", "creating"} else 0,
            "status": status,
            "bundle": self.known["bundle"],
            "rootfs": self.known["rootfs"],
            "created": self.known["created"],
            "annotations": self.known.get("annotations") or {},
            "owner": self.known.get("owner", ""),
        }

    def remove(self) -> None:
        """Remove the directory: state.json late, so that until then what it says is known, and the lock at the end.

        Whoever comes meanwhile may make a new lock, sees that this one has no name any more, and goes away.
        """
        try:
            for _ in range(TRIES):
                for name in sorted(os.listdir(self.folder), key=LAST.find):
                    unlink(f"{self.folder}/{name}")
                    point(f"unlink {name}")
                try:
                    os.rmdir(self.folder)
                    return
                except OSError as error:
                    if error.errno != ENOTEMPTY:
                        raise
        except FileNotFoundError:
            return  # somebody else was at it, too
        raise ConflictError(f"{self.folder} cannot be removed: somebody keeps on making files in it")


def write(container: Container) -> None:
    """Make the directory of a new container, locked. Raises ConflictError where there is one of that id."""
    makedirs(container.root, 0o700)
    if container.root == _shared():
        _own(container.root)  # somebody may have made it just now
    try:
        os.mkdir(container.folder, 0o700)
    except FileExistsError:
        raise ConflictError(
            f"container with given ID already exists: {container.id}", hint="delete it first, or give another id"
        ) from None
    try:
        container.lock().update()
    except OSError:  # the disk is full
        container.remove()
        raise


def load(root: str, container_id: str) -> Container:
    """A container by its id. Raises NotFoundError ("container does not exist")."""
    check_id(container_id)
    text = read_bytes(f"{root}/{container_id}/state.json")
    if not text:
        try:
            directory = os.stat(f"{root}/{container_id}").st_mode >> 12 == 4
        except FileNotFoundError:
            directory = False
        if not directory:
            raise NotFoundError(f"container does not exist: {container_id}")
        return unknown(root, container_id)  # killed before it wrote anything
    return Container(root, container_id, _known(text, f"{root}/{container_id}"))


def unknown(root: str, container_id: str, **known: Any) -> Container:
    """A container of which nothing is written down, or nothing that can be read."""
    return Container(root, container_id, {"ociVersion": "1.0.0", "bundle": "", "rootfs": "", "created": "", **known})


def _known(text: bytes, folder: str) -> dict[str, Any]:
    """What a state.json says. Raises SpecError where a machine that stopped has left it cut off."""
    try:
        known = read_json(text)
        if not isinstance(known, dict) or not known.keys() >= NEEDED:
            raise SpecError("is not the state of a container")
        if type(known.get("pid", 0)) is not int or type(known.get("groups", NONE)) is not dict:
            raise SpecError("is not the state of a container")
    except SpecError as error:
        raise SpecError(
            f"{folder}/state.json: {error}", hint="delete --force removes what is left of the container"
        ) from None
    return known


def every(root: str, warn: Callable[[str], None]) -> list[Container]:
    """All of them, by id; one that is removed meanwhile is left out, and `warn` told of one that cannot be read."""
    try:
        names = sorted(os.listdir(root))
    except FileNotFoundError:
        return []
    found = []
    for name in names:
        try:
            check_id(name)
        except SpecError:
            continue  # nothing of ours
        try:
            found.append(load(root, name))
        except NotFoundError:
            continue
        except SpecError as error:
            warn(str(error))
    return found


def own_groups(container: Container, groups: tuple[str, ...]) -> tuple[tuple[str, ...], list[str]]:
    """Those of its groups that are nobody else's, and the containers that use the others or have theirs below.

    Once it has ended they are empty, and one that is there and empty is used by a container of the same cgroupsPath.
    """
    if container.alive():
        return groups, []
    others = [other for other in every(container.root, lambda _text: None) if other.id != container.id]
    used = {place: other.id for other in others if other.alive() for place in other.directories}
    shared = {group: used[place] for group in groups for place in used if f"{place}/".startswith(f"{group}/")}
    return tuple(group for group in groups if group not in shared), sorted(set(shared.values()))


def point(name: str) -> None:
    """A point at which a test can make things go wrong (cloche.stage.points); nothing is imported without one."""
    if value := os.environ.get(b"CLOCHE_FAILPOINT"):
        from cloche.stage.points import from_environment, reach

        reach(from_environment(value.decode()), name)


def start_time(pid: int) -> int:
    """When process `pid` began, in clock ticks since boot (proc_pid_stat(5)); 0 for none, or a zombie."""
    fields = read_bytes(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return int(fields[19]) if len(fields) > 19 and fields[0] not in {b"Z", b"X"} else 0


def unlink(path: str) -> None:
    """Remove a file, unless it is gone already."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
