"""state.json as the supervisor writes it, and the pieces of a report that it is made of."""

from __future__ import annotations

import os
import sys
from errno import EFBIG, ENOSPC

from cloche.engine import clock
from cloche.engine.containers import CREATED, load
from cloche.engine.reason import Reason, exit_code_of, oom_kills, reason_of
from cloche.images.store.layout import sync_directory
from cloche.linux import files
from cloche.spec.reader import write_json
from cloche.stage.points import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    State = dict[str, Any]

ROOM = 1024  # bytes: what the end of one that runs says more than its beginning
SHORT = 200  # characters of what a health check said
CREATED_BEFORE = {"status": "created", "started_at": "", "finished_at": "", "exit_code": 0, "lost": None}
FAILED = 128  # the exit code of one that could not be started, as docker has it
UNKNOWN = "it ended while nobody was there to see how"


def write_state(folder: str, state: State, *, sync: bool) -> bool:
    """Replace state.json as a whole; `sync` has it on the disk when this returns. Whether it could be written.

    Where the disk is full it is written over instead, where there is ROOM for an end: what can be read meanwhile may be
    broken for a moment. What finds no room there either is not written, and the old one stays. Never raises: whoever
    waits for an end has to hear of it, whatever the disk says.
    """
    content = _encoded(state) + b" " * (ROOM if state["pid"] else 0)
    path = f"{folder}/state.json"
    try:
        point("state-begun")
        _write(f"{path}.new", content, sync=sync)
        os.rename(f"{path}.new", path)
        if sync:
            sync_directory(folder)
    except FileNotFoundError:
        pass  # the container has been removed meanwhile
    except OSError as error:
        if not _write_over(path, (content.rstrip(), _encoded(_without_log(state)).rstrip()), error):
            return False
    point("state-written")
    return True


def _encoded(state: State) -> bytes:
    head = {name: value for name, value in state.items() if name != "entry"}
    return f"{write_json(head)}\n{write_json(state['entry'])}\n".encode()


def _without_log(state: State) -> State:
    """What its health checks have said may be much, and is what is missed least."""
    return {**state, "health": {**state["health"], "log": []}} if state.get("health") else state


def _write(path: str, content: bytes, *, sync: bool) -> None:
    with files.Fd(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)) as file:
        files.write_all(file.number, content)
        if sync:
            os.fdatasync(file.number)


def _write_over(path: str, contents: tuple[bytes, ...], why: OSError) -> bool:
    """The blocks that it has are enough for as many bytes as there are: write the first of these that is no more."""
    try:
        if os.path.exists(f"{path}.new"):
            os.unlink(f"{path}.new")
        with files.Fd(os.open(path, os.O_RDWR | os.O_CLOEXEC)) as file:
            before = os.pread(file.number, os.fstat(file.number).st_size, 0)
            fitting = [content for content in contents if len(content) <= len(before)]
            if not fitting:
                raise OSError(EFBIG, "it has become too large to be written over")
            written = os.pwrite(file.number, fitting[0].ljust(len(before)), 0)
            if written < len(before):  # a file system that takes new blocks for what it had
                os.pwrite(file.number, before[:written], 0)
                raise OSError(ENOSPC, os.strerror(ENOSPC))
    except OSError as error:
        sys.stderr.write(f"{path} could not be written: {error.strerror}, after {why.strerror}\n")
        return False
    return True


def how_it_ended(ended: dict[str, Any], timeout: float) -> State:
    """The members of a state that a stage's report of the end gives; `timeout` is what it was given, in seconds."""
    reason = reason_of(ended, _names_of(ended["refused"]), timeout)
    return {
        "exit_code": exit_code_of(ended),
        "oom": bool(oom_kills(ended["counters"])),
        "reason": as_members(reason),
    }


def more_lost(before: State | None, count: int, why: str) -> State:
    """What a log lacks, when so many bytes more have found no place."""
    return {"bytes": (int(before["bytes"]) if before else 0) + count, "why": why}


def _names_of(refused: dict[int, int]) -> tuple[str, ...]:
    """The calls that a filter has refused, by their numbers and how often: the most frequent first."""
    if not refused:
        return ()
    from cloche.runtime.seccomp.syscalls import name

    order = sorted(refused, key=lambda number: -refused[number])
    return tuple(name(number, os.uname().machine) or f"number {number}" for number in order)


def unknown_end() -> State:
    """The same where nobody has seen it."""
    return {"exit_code": None, "oom": False, "reason": {"kind": "unknown", "text": UNKNOWN, "hint": ""}}


def unhealthy(failing: int, output: str) -> State:
    """The reason of one that was ended for its health."""
    said = output.strip().partition("\n")[0][:SHORT]
    text = "a health check failed" if failing == 1 else f"{failing} health checks in a row failed"
    text = f"{text}: {said}" if said else text
    hint = "cloche inspect shows what the last ones said, in State.Health"
    return {"kind": "unhealthy", "text": text, "hint": hint, "blocked": []}


def as_members(reason: Reason) -> State:
    """A reason as it is written down."""
    return {"kind": reason.kind, "text": reason.text, "hint": reason.hint, "blocked": list(reason.blocked)}


def before(container_id: str) -> State:
    """How one stands that is about to be started, for the case that it is not: docker leaves that as it was."""
    found = load(container_id)
    if found is None or not found.state["finished_at"]:
        return CREATED_BEFORE
    kept = ("started_at", "finished_at", "exit_code", "lost")
    return {"status": "exited"} | {name: found.state[name] for name in kept}


def not_started(state: State, why: str, *, exit_code: int | None = 0) -> State:
    """The members of one whose start was in vain: of a restart that it has ended, else how it stood before.

    Without an exit code it is that of before, or FAILED where that says that all was well.
    """
    if state["restarts"]:
        return {"status": "exited", "exit_code": exit_code or FAILED, "error": why, "finished_at": clock.now()}
    was = state.get("was", CREATED_BEFORE)
    last = FAILED if was["exit_code"] == 0 else was["exit_code"]
    return {**was, "exit_code": exit_code or last, "error": why}


def fresh(**news: Any) -> State:
    """A state like that of a new container, but for these members."""
    return {**CREATED, **news}
