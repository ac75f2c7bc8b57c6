"""Records of running containers: found by name, id or pid; stale ones are cleaned up by whoever looks.

    STATE/containers/<id>.json   {"id", "name", "pid", "start", "boot", "stage", "stage_start", "groups", …}
    STATE/containers/<id>.reserved   a link whose text is a process, its start, the boot and a name
    STATE/containers/.lock       flock'd by who writes one, or takes a name

A record is true while the process it names is the same one: pid, start time and boot id agree. It is
written when the container has started and removed by the stage at its end; when both stage and caller
were killed, the next command removes it, and the groups it names. Before the start its name is reserved,
as long as the caller is there.
"""

from __future__ import annotations

import _stat as stat
import _thread
import fcntl
import posix as os

from cloche.errors import ForbiddenError, SpecError
from cloche.images.store.layout import store_dir
from cloche.linux import files, places
from cloche.linux.reading import boot_id, read_bytes
from cloche.spec.reader import read_json, write_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Record = dict[str, Any]

UNFINISHED, RESERVED = ".new", ".reserved"
STATE = "state"  # in the store, a link to the directory
OTHERS_WRITE = 0o022  # they could put records and sockets of their own in the place of ours


_own = _thread._local()


def use_state(path: str) -> str:
    """Have run-time state elsewhere in this thread, "" for where it usually is; returns where it was."""
    before: str = getattr(_own, "path", "")
    _own.path = path
    return before


def state_dir() -> str:
    """Where run-time state lives: this thread's own, CLOCHE_STATE, /run/cloche, or $XDG_RUNTIME_DIR/cloche.

    Where nothing is given, and the store has its supervisor elsewhere, there: a job of cron has other variables.
    """
    given: str = getattr(_own, "path", "") or places.environment("CLOCHE_STATE")
    if given:
        return places.abspath(given)
    runtime = places.environment("XDG_RUNTIME_DIR")
    usual = f"{runtime}/cloche" if runtime else f"/tmp/cloche-{os.geteuid()}"
    if os.geteuid() == 0:
        usual = "/run/cloche"
    known = state_of_store()
    if known in {"", usual}:
        return usual
    from cloche.engine.sockets import has_supervisor

    return known if is_surely_ours(known) and has_supervisor(known) else usual


def state_of_store() -> str:
    """The state directory in which the store has had its supervisor last, "" for none yet."""
    try:
        return os.readlink(f"{store_dir()}/{STATE}")
    except OSError:
        return ""


def keep_state(top: str) -> None:
    """Have the store know it; one that cannot be written has no containers either, which is said when one is made."""
    link = f"{store_dir()}/{STATE}"
    made = f"{link}{UNFINISHED}"
    try:
        places.makedirs(store_dir(), 0o700)
        try:
            os.symlink(top, made)
        except FileExistsError:  # of one that was killed
            os.unlink(made)
            os.symlink(top, made)
        os.rename(made, link)
    except OSError:
        pass


def is_surely_ours(folder: str) -> bool:
    """Whether a directory is there, and nobody else's to put things into."""
    try:
        status = os.lstat(folder)
    except OSError:
        return False
    mine = status.st_uid == os.geteuid() and stat.S_ISDIR(status.st_mode)
    return mine and not status.st_mode & OTHERS_WRITE


def containers_dir() -> str:
    """The directory of the records, made if missing, and surely ours."""
    top = state_dir()
    try:
        places.makedirs(top, mode=0o700)
        status = os.lstat(top)
        if status.st_uid != os.geteuid() or not stat.S_ISDIR(status.st_mode):
            raise ForbiddenError(f"{top} belongs to somebody else", hint="give one of your own: --state-dir")
        if status.st_mode & OTHERS_WRITE:
            raise ForbiddenError(f"{top} can be written to by others", hint=f"chmod go-w {top}")
        folder = f"{top}/containers"
        places.makedirs(folder, mode=0o700)
    except OSError as error:
        raise unusable(top, error) from None
    return folder


def unusable(top: str, error: OSError) -> ForbiddenError:
    """What is said of a state directory in which something could not be made."""
    text = f"the state directory {top} cannot be used: {error.strerror}"
    return ForbiddenError(text, hint="give another: --state-dir")


def locked() -> files.Fd:
    """Hold the lock of the records until the descriptor is closed: who writes one has looked at the others."""
    lock = _open_lock(containers_dir())
    fcntl.flock(lock.number, fcntl.LOCK_EX)
    return lock


def _open_lock(folder: str) -> files.Fd:
    return files.Fd(os.open(f"{folder}/.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def reserve(container_id: str, name: str) -> None:
    """Have a name stand for a container that this process is about to start; call it with the lock."""
    pid = os.getpid()
    os.symlink(f"{pid} {start_time(pid)} {boot_id()} {name}", f"{state_dir()}/containers/{container_id}{RESERVED}")


def reserved(name: str) -> str:
    """The id of the container for which a name is reserved, "" for none."""
    folder = f"{state_dir()}/containers"
    links = (found for found in os.listdir(folder) if found.endswith(RESERVED))
    return next((found.removesuffix(RESERVED) for found in links if _reservation(f"{folder}/{found}") == name), "")


def _reservation(path: str) -> str:
    """The name that is reserved; "", and the link is removed, where that was by a process that is gone."""
    try:
        pid, start, boot, name = os.readlink(path).split(" ", 3)
        if alive({"pid": pid, "start": int(start), "boot": boot}):
            return name
    except FileNotFoundError:
        return ""
    except ValueError:
        pass  # none of ours
    _unlink(path)
    return ""


def paths_of(container_id: str) -> tuple[str, str]:
    """The record's file, and what reserves a name for it before, whether they are there or not."""
    place = f"{state_dir()}/containers/{container_id}"
    return f"{place}.json", f"{place}{RESERVED}"


def add(record: Record, stage: int) -> None:
    """Write a record, whole or not at all, of a container of a stage; its name need not be reserved any more."""
    path, reservation = paths_of(record["id"])
    known = {**record, "start": start_time(record["pid"]), "boot": boot_id()}
    known |= {"stage": stage, "stage_start": start_time(stage)}
    with locked():
        with open(f"{path}{UNFINISHED}", "w", encoding="utf-8") as file:
            file.write(write_json(known))
        os.rename(f"{path}{UNFINISHED}", path)
        _unlink(reservation)


def remove(container_id: str) -> None:
    """Take a record away, and what has reserved a name."""
    for path in paths_of(container_id):
        _unlink(path)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def every() -> list[Record]:
    """The records of containers that run; those of others are removed, with their groups."""
    folder = containers_dir()
    found = []
    names = os.listdir(folder)
    if any(name.endswith(UNFINISHED) for name in names):
        _remove_unfinished(folder)
    for name in names:
        if name.endswith(RESERVED):
            _reservation(f"{folder}/{name}")
        if not name.endswith(".json"):
            continue
        path = f"{folder}/{name}"
        try:
            with open(path, "rb") as file:
                record = read_json(file.read())
        except (OSError, SpecError):  # just removed, or cut short when the machine lost power
            continue
        if isinstance(record, dict):
            if alive(record):
                found.append(record)
            elif not _is_ending(record):
                _forget(path, record)
    return found


def _remove_unfinished(folder: str) -> None:
    """Remove what a command left that was killed while it wrote; who writes holds the lock."""
    with _open_lock(folder) as lock:
        try:
            fcntl.flock(lock.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # somebody is writing now: next time
        for name in os.listdir(folder):
            if name.endswith(UNFINISHED):
                os.unlink(f"{folder}/{name}")


def any_there() -> bool:
    """Whether there are records at all, true or stale; makes nothing."""
    try:
        return any(name.endswith((".json", UNFINISHED, RESERVED)) for name in os.listdir(f"{state_dir()}/containers"))
    except OSError:
        return False


def place_exists() -> bool:
    """Whether there is a directory for them: there has been a container in this state directory."""
    return places.isdir(f"{state_dir()}/containers")


def within_reach(pid: int) -> int:
    """A process whose namespaces this user may join: `pid`, a container's first, or the child of an init of ours.

    That one is not dumpable.
    """
    try:
        os.stat(f"/proc/{pid}/ns/user")
    except PermissionError:
        children = read_bytes(f"/proc/{pid}/task/{pid}/children").split()
        return int(children[0]) if children else pid
    except OSError:
        pass  # it has ended, which is told when it is joined
    return pid


def alive(record: Record) -> bool:
    """Whether the very process a record names still runs."""
    if record.get("boot") != boot_id():
        return False
    start = start_time(int(record.get("pid", -1)))
    return start is not None and start == record.get("start")


def _is_ending(record: Record) -> bool:
    """Whether a stage is there which has seen the end, and looks into the groups before it removes them."""
    start = record.get("stage_start")
    return start is not None and record.get("boot") == boot_id() and start_time(int(record["stage"])) == start


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot (proc_pid_stat(5)); None for a zombie or none."""
    return parse_start(read_bytes(f"/proc/{pid}/stat"))


def parse_start(stat_line: bytes) -> int | None:
    """The same from what that file says, which is nothing for no process."""
    fields = stat_line.rpartition(b")")[2].split(None, 20)
    return None if not fields or fields[0] in {b"Z", b"X"} else int(fields[19])


def _forget(path: str, record: Record) -> None:
    groups = tuple(str(group) for group in record.get("groups", ()))
    if record.get("boot") == boot_id() and all("/cloche-" in group for group in groups):
        from cloche.stage.cleaning import end_groups

        end_groups(groups)
    _unlink(path)
