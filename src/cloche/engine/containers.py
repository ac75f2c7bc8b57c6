"""Containers, kept and throwaway, as every command sees them: found by name or id, with what is known of them.

    STORE/names/NAME            a symbolic link whose text is the id: names are unique by symlink(2)
    STORE/containers/ID/        a kept one
        container.json          what was asked; written by commands that hold `lock`
        state.json              where it stands, and in a second line how it is entered, which is read where it is
                                asked for; written by the supervisor once it was started
        receipt.json            what is enforced
        layer/upper, layer/work what it has written
        log/                    what it has said
    STATE/containers/ID.json    a throwaway one while it runs (`records`)

A container is there as soon as its container.json is, which is written last and removed first. What a command left
that was killed in between is removed by whoever looks (`leftovers`).
"""

from __future__ import annotations

import posix as os

from cloche.engine import records
from cloche.errors import ClocheError, ConflictError, NotFoundError, SpecError
from cloche.images.store.layout import store_dir
from cloche.linux import places
from cloche.linux.reading import boot_id, read_bytes
from cloche.spec.reader import read_own_json
from cloche.stage.early import is_setting_up

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Known = dict[str, Any]

HEX = frozenset("0123456789abcdef")
TRIES = 200  # a hundredth of a second each
LOOK_AGAIN = 0.1  # seconds
ALIVE = {"running", "paused", "restarting"}
TRANSIENT = {*ALIVE, "removing"}  # what somebody has to watch
STATUSES = ("created", *sorted(TRANSIENT), "exited", "dead")
_seen = [float("-inf")]  # when a supervisor was looked for
CREATED: Known = {
    "status": "created",
    "pid": 0,
    "start": 0,
    "boot": "",
    "started_at": "",
    "finished_at": "",
    "exit_code": 0,
    "oom": False,
    "error": "",
    "reason": None,
    "by": "",
    "restarts": 0,
    "health": None,
    "lost": None,
    "held": [],
    "timeout": 0.0,
    "entry": {},
}
UNKNOWN: Known = {**CREATED, "status": "running"}  # it was started, and whether it runs has to be looked for
ASKED: Known = {
    "id": "",
    "name": "",
    "created": "",
    "options": {},
    "image": "",
    "image_id": "",
    "image_digest": "",
    "command": [],
    "labels": {},
    "exposed": [],
    "stop_signal": "SIGTERM",
    "stop_timeout": 10,
    "keep": {},
    "check": {},
    "mounts": [],
    "volumes": [],
}
# members that may be of another kind as well
KINDS: dict[str, tuple[type, ...]] = dict.fromkeys(("reason", "health", "lost"), (dict, type(None)))
KINDS |= {
    "exit_code": (int, type(None)),
    "stop_signal": (str, int),
    "stop_timeout": (int, float),
    "timeout": (int, float),
}


class Container:
    """One container: `known` is its container.json, `state` its state.json, `folder` "" for a throwaway one."""

    def __init__(self, folder: str, known: Known, state: Known, entry: bytes = b"") -> None:
        self.folder, self.known, self.state, self._entry = folder, known, state, entry

    @property
    def id(self) -> str:
        """64 hexadecimal digits."""
        return str(self.known["id"])

    @property
    def name(self) -> str:
        """Its name; of a throwaway one perhaps ""."""
        return str(self.known["name"])

    @property
    def kept(self) -> bool:
        """Whether it stays when it has ended."""
        return bool(self.folder)

    @property
    def status(self) -> str:
        """created, running, paused, restarting, exited, removing or dead, as docker's State.Status."""
        return str(self.state["status"])

    @property
    def running(self) -> bool:
        """Whether it has a process."""
        return self.status in ALIVE and bool(self.pid)

    @property
    def pid(self) -> int:
        """Its first process, 0 for none."""
        return int(self.state["pid"]) if self.status in ALIVE else 0

    @property
    def mounts(self) -> list[Known]:
        """What is mounted in it, with docker's members: Type, Name, Source, Destination, …"""
        return [mount for mount in self.known["mounts"] if isinstance(mount, dict)]

    @property
    def entry(self) -> Known:
        """What another process needs to know to enter it: pid, start, groups, env, cwd, user, capabilities, …"""
        if self._entry:
            self.state["entry"], self._entry = _document(self._entry), b""
        return dict(self.state["entry"])

    def become(self, other: Container) -> None:
        """Know what the other one knows, who is the same and was read later."""
        self.known, self.state, self._entry = other.known, other.state, other._entry

    def read_state(self) -> Container:
        """Read its state again; one that has been removed meanwhile stays as it was known last."""
        if self.folder and (text := read_bytes(f"{self.folder}/state.json")):
            self.state, self._entry = parse_state(text)
        return self


def containers_dir() -> str:
    """Where the kept ones are."""
    return f"{store_dir()}/containers"


def folder_of(container_id: str) -> str:
    """The directory of a kept one, whether it is there or not."""
    return f"{store_dir()}/containers/{container_id}"


def every(everything: bool = False) -> list[Container]:
    """The containers that run, or all there are; those made last come first."""
    kept = (load(name, everything=everything) for name in _ids())
    found = [container for container in kept if container is not None] + _throwaways()
    return sorted(found, key=lambda container: str(container.known["created"]), reverse=True)


def find(word: str) -> Container:
    """The container with this name, id, or unambiguous beginning of an id. Raises NotFoundError, ConflictError."""
    if not word:
        raise SpecError("invalid container name or ID: value is empty")
    name = word.removeprefix("/")
    try:
        target = os.readlink(f"{store_dir()}/names/{name}") if name and "/" not in name else ""
    except OSError:
        target = ""
    if target and (found := load(target)) is not None:
        return found
    matches = _throwaways()
    exact = [container for container in matches if name in {container.name, container.id}]
    if exact:
        return exact[0]
    if not set(word) <= HEX:
        raise not_found(word)
    alike = [container for container in matches if container.id.startswith(word)]
    alike += [found for known in _ids() if known.startswith(word) and (found := load(known)) is not None]
    if len(alike) > 1:
        raise ConflictError(f"Multiple IDs found with provided prefix: {word}", hint="write more of it")
    if not alike:
        raise not_found(word)
    return alike[0]


def running(word: str) -> Container:
    """The same, if it runs. Raises ConflictError where it does not."""
    container = settled(find(word))
    if container.status == "restarting" and not container.running:
        raise ConflictError(
            f"Container {container.id} is restarting, wait until the container is running",
            hint=f"cloche why {container.name} says why it ended",
        )
    if not container.running:
        raise not_running(container)
    return container


def not_running(container: Container) -> ConflictError:
    """docker's sentence for what only one that runs can do."""
    how = f"cloche start {container.name or container.id[:12]}"
    if not container.kept:
        how = "it is just being started, or has just ended"
    return ConflictError(f"container {container.id} is not running", hint=how)


def find_process(word: str) -> tuple[int, int]:
    """(pid, start time) of a running container's first process, by name or id, or of any process by its number."""
    start = records.start_time(int(word)) if word.isdecimal() and len(word) < 10 else None
    if start is not None:
        return int(word), start
    state = running(word).state
    pid = records.within_reach(int(state["pid"]))
    start = records.start_time(pid)
    return pid, int(state["start"]) if start is None else start


def not_found(word: str) -> NotFoundError:
    """docker's sentence for what is not there."""
    return NotFoundError(f"No such container: {word}", hint="cloche ps -a lists what there is")


def load(container_id: str, *, everything: bool = True) -> Container | None:
    """A kept container by its whole id; None where there is none, or, unless `everything`, none that runs or is to."""
    folder = folder_of(container_id)
    state, entry = _stands(f"{folder}/state.json")
    if not everything and state["status"] not in TRANSIENT:
        return None
    try:
        known = read_own_json(read_bytes(f"{folder}/container.json"))
    except SpecError:
        return None  # not there yet, or not any more
    if not isinstance(known, dict):
        return None
    return Container(folder, {**_sound(known, ASKED), "id": container_id}, state, entry)


def parse_known(container_id: str, text: bytes) -> Known:
    """What a container.json says; what is usual, where it is damaged."""
    return {**_sound(_document(text), ASKED), "id": container_id}


def parse_state(text: bytes) -> tuple[Known, bytes]:
    """What a state.json says, and the part of it that tells how its container is entered, which is not read yet.

    One that is damaged, or empty as after a power cut, says that its container was started: UNKNOWN.
    """
    head, _, entry = text.partition(b"\n")
    raw = _document(head)
    if raw.get("status") not in STATUSES:
        raw["status"] = UNKNOWN["status"]
    return _sound(raw, CREATED), entry


def is_alive(state: Known) -> bool:
    """Whether the very process a state names still runs."""
    pid, start = int(state["pid"]), int(state["start"])
    return bool(pid) and state["boot"] == boot_id() and records.start_time(pid) == start


def facts_of(known: Known) -> Known:
    """What logs and events say of a container."""
    facts = {name: known[name] for name in ("id", "name", "image", "image_id", "labels")}
    return {**facts, "env": known["options"].get("env", [])}


def settled(container: Container) -> Container:
    """The same as it truly is. What should run and does not has ended: the supervisor says how, if anybody can."""
    if container.status == "restarting" and not container.pid and container.kept:
        _concluded(container)  # who was to start it again may have been killed
        return container
    if container.status not in TRANSIENT or _holds(container.state) or _holds(container.read_state().state):
        if container.kept and container.status in ALIVE and not _is_watched():
            _revive()
        return container
    if not _concluded(container) and container.status != "removing":
        container.state = {**container.state, "status": "exited", "pid": 0, "exit_code": None}
    return container


def _is_watched() -> bool:
    """Whether there is a supervisor; one that was killed is missed by all at once, so it is looked for now and then."""
    from time import monotonic

    from cloche.engine.sockets import SUPERVISOR, is_listening, place

    if monotonic() - _seen[0] < LOOK_AGAIN:
        return True
    _seen[0] = monotonic()
    return is_listening(f"{place()}/{SUPERVISOR}")


def _revive() -> bool:
    from cloche.engine.supervisor.client import revive

    try:
        revive()
    except (ClocheError, OSError):
        return False  # as where nothing may be written
    return True


def _concluded(container: Container) -> bool:
    """Have a supervisor look, which is started where there is none, and wait until it has written down what it saw."""
    from time import sleep

    if not container.kept or not _revive():
        return False
    for _ in range(TRIES):
        status = container.read_state().status
        if status not in ALIVE or status == "restarting" or _holds(container.state):
            return True
        sleep(0.01)
    return False


def _holds(state: Known) -> bool:
    if state["status"] == "restarting" and not state["pid"]:
        return bool(state["boot"] == boot_id())  # it waits for its next start
    return is_alive(state)


def _ids() -> list[str]:
    try:
        return [name for name in os.listdir(containers_dir()) if len(name) == 64]
    except FileNotFoundError:
        return []


def _stands(path: str) -> tuple[Known, bytes]:
    """What a state.json says; without one its container was never started."""
    text = read_bytes(path)
    return parse_state(text) if text or places.lexists(path) else (dict(CREATED), b"")


def _document(text: bytes) -> Known:
    """What is in a text; nothing, where it is broken."""
    try:
        raw = read_own_json(text) if text else {}
    except SpecError:
        raw = {}
    return raw if isinstance(raw, dict) else {}


def _sound(raw: Known, usual: Known) -> Known:
    """A document with all its members, each of its kind: what somebody wrote into it breaks no command."""
    found = {**usual, **raw}
    for name, value in usual.items():
        if not isinstance(found[name], KINDS.get(name, (type(value),))):
            found[name] = value
    return found


def _throwaways() -> list[Container]:
    return [_throwaway(record) for record in records.every()] if records.any_there() else []


def _throwaway(record: records.Record) -> Container:
    known = record.get("known") or {}
    known = _sound({**known, "id": record["id"], "name": record.get("name", "")}, ASKED)
    state = {**CREATED, "entry": record}
    if not is_setting_up(int(record["pid"])):  # until then it is not where its files are
        state |= {"status": "running", "started_at": known["created"]}
    state.update({name: record[name] for name in ("pid", "start", "boot")})
    return Container("", known, state)
