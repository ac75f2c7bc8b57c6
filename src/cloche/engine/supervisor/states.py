"""state.json as the supervisor writes it, and the pieces of a report that it is made of."""

from __future__ import annotations

import os

from cloche.engine.containers import CREATED
from cloche.engine.reason import Reason, exit_code_of, oom_kills, reason_of
from cloche.linux import files
from cloche.spec.reader import write_json
from cloche.stage.points import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    State = dict[str, Any]

UNKNOWN = "it ended while nobody was there to see how"


def write_state(folder: str, state: State, *, sync: bool) -> None:
    """Replace state.json as a whole; `sync` has it on the disk when this returns.

    Where the disk is full it is written over instead: a reader may then find none for a moment.
    """
    content = write_json(state).encode()
    path = f"{folder}/state.json"
    point("state-begun")
    try:
        _write(f"{path}.new", content, sync=sync)
        os.rename(f"{path}.new", path)
    except FileNotFoundError:
        return  # the container has been removed meanwhile
    except OSError:
        _write(path, content, sync=False)
    point("state-written")


def _write(path: str, content: bytes, *, sync: bool) -> None:
    with files.Fd(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)) as file:
        view = memoryview(content)
        while view:
            view = view[os.write(file.number, view) :]
        if sync:
            os.fdatasync(file.number)


def how_it_ended(ended: dict[str, Any], names: tuple[str, ...], timeout: float, memory: int | None) -> State:
    """The members of a state that a stage's report of the end gives; `names` are the calls that were refused.

    `timeout` is what it was given, in seconds, `memory` its limit in bytes, None for none.
    """
    reason = reason_of(ended, names, timeout, memory)
    return {
        "exit_code": exit_code_of(ended),
        "oom": bool(oom_kills(ended["counters"])),
        "reason": as_members(reason),
    }


def unknown_end() -> State:
    """The same where nobody has seen it."""
    return {"exit_code": None, "oom": False, "reason": {"kind": "unknown", "text": UNKNOWN, "hint": ""}}


def as_members(reason: Reason) -> State:
    """A reason as it is written down."""
    return {"kind": reason.kind, "text": reason.text, "hint": reason.hint, "blocked": list(reason.blocked)}


def fresh(**news: Any) -> State:
    """A state like that of a new container, but for these members."""
    return {**CREATED, **news}
