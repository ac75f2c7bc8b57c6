"""What one supervisor finds of another that was killed, or of another boot: each container is taken over or concluded.

the stage runs            its containers are handed over, with their terminals
it was killed             what is written down and runs is watched by a pidfd of our own
it has ended meanwhile    the stage has written down how; where it could not, the end is unknown, and never 0
it was being made         it has died with its stage; its groups are removed
it cannot be looked at    it is left as it is, and looked at again: only what is gone from this store, or is written
                          down as over, is ended

Where there is no room for a descriptor, no more can be said of any of them, and no supervisor comes up.
"""

from __future__ import annotations

import _socket
import marshal
import os
import select
import sys
from errno import EMFILE, ENFILE, ENOMEM

from cloche.engine import sockets
from cloche.engine.containers import (
    TRANSIENT,
    UNKNOWN,
    Container,
    containers_dir,
    folder_of,
    parse_known,
    parse_state,
)
from cloche.engine.supervisor import orphans, states
from cloche.engine.supervisor.loop import guarded
from cloche.engine.supervisor.supervised import Supervised
from cloche.errors import StageError
from cloche.linux.reading import boot_id
from cloche.stage import wire
from cloche.stage.cleaning import end_groups
from cloche.stage.client import Adopted, Stage, adopt_stage
from cloche.stage.leaving import ENDED, NEVER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cloche.engine.supervisor.main import Supervisor
    from cloche.engine.supervisor.states import State

PATIENCE = 1000  # milliseconds, with what is ended
NO_ROOM = {EMFILE, ENFILE, ENOMEM}  # which say nothing of what was to be opened


def reach_stage(path: str) -> tuple[Stage, list[Adopted]] | None:
    """A stage that another supervisor has left, and what runs in it. Raises OSError where there is no room for that."""
    control = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        sockets.connect(control, path)
    except OSError as error:
        control.close()
        if error.errno in NO_ROOM:
            raise
        return None  # nobody listens
    if wire.is_ours(control):
        return adopt_stage(control)
    control.close()
    return None


def take_over(supervisor: Supervisor, adopted: dict[str, Adopted]) -> None:
    """Look at every container that was running or was to run, and at what is left of others.

    Raises OSError where there is no room to look.
    """
    try:
        names = {name for name in os.listdir(containers_dir()) if len(name) == 64}
    except FileNotFoundError:
        names = set()
    for container_id in names | adopted.keys():
        error = _look_at(supervisor, container_id, adopted.get(container_id))
        if error is not None and error.errno in NO_ROOM:
            raise error
        if error is not None:
            sys.stderr.write(f"{container_id} cannot be looked at: {error}\n")
    _remove_rest(supervisor)


def take_again(supervisor: Supervisor, container_id: str) -> bool:
    """Look once more at one that could not be looked at; whether that is done."""
    if container_id in supervisor.unread:
        found = supervisor.unread.pop(container_id)
        if container_id not in supervisor.items:
            _look_at(supervisor, container_id, found)
    return container_id not in supervisor.unread


def _look_at(supervisor: Supervisor, container_id: str, found: Adopted | None) -> OSError | None:
    """Take one over, or see to its end; what keeps it from being looked at now is returned."""
    trouble = []

    def look() -> None:
        try:
            container = _read(container_id, runs=found is not None)
            if container is not None:
                _take(supervisor, container, found)
            elif found is not None:
                _end(found)
        except OSError as error:
            item = supervisor.items.pop(container_id, None)
            if item is not None:
                item.streams.drop()
            if found is not None:
                supervisor.loop.forget(found.run.fileno())
            supervisor.look_later(container_id, found)
            trouble.append(error)

    guarded(look)
    return trouble[0] if trouble else None


def _end(found: Adopted) -> None:
    """End one that is nobody's, and hear of that, so that no word of it is left in its place; but not for ever."""
    found.run.send("kill")
    poll = select.poll()
    poll.register(found.run.fileno(), select.POLLIN)
    try:
        if poll.poll(PATIENCE):
            for fd in found.run.receive()[1]:
                os.close(fd)
            found.run.send("taken")
    except StageError:
        pass  # the stage was killed meanwhile
    found.run.close()


def _read(container_id: str, *, runs: bool) -> Container | None:
    """One that is to run, as far as is known; None where it is gone, or over. Raises OSError where nobody can say.

    Of one that `runs` it is not enough that nothing is written down.
    """
    folder = folder_of(container_id)
    text = _content(f"{folder}/state.json")
    if text is None and (not runs or _is_gone(folder)):
        return None
    state, entry = parse_state(text or b"")
    if state["status"] not in TRANSIENT:
        return None
    known = _content(f"{folder}/container.json")
    if known is None and not runs and not orphans.runs(state):
        return None  # it is being removed
    return Container(folder, parse_known(container_id, known or b""), state, entry)


def _content(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _is_gone(folder: str) -> bool:
    try:
        os.lstat(folder)
    except FileNotFoundError:
        return True
    return False


def _take(supervisor: Supervisor, container: Container, found: Adopted | None) -> None:
    state = {**container.state, "entry": container.entry}
    if state["status"] == "removing":
        if found is not None:
            _end(found)
        supervisor.remove(container.id)
        return
    item = Supervised(supervisor, container.id, container.folder)
    if "groups" not in state["entry"]:  # they were written down before it was started, too
        state["entry"] = {**state["entry"], "groups": list(_groups_of(item.place))}
    pid = _unknown_process(state, found)
    if pid:
        state = _as_running(state, pid)
        states.write_state(container.folder, state, sync=False)
    alive = found is not None or orphans.runs(state)
    word = None if alive else _word(item.place)
    supervisor.items[container.id] = item
    if found is not None:
        item.resume(container.known, state, found.run, found.console)
    elif not alive:
        item.find_ended(container.known, state, word)
    elif orphans.never_ran(state):
        item.find_ended(container.known, state, NEVER)
    else:
        item.resume(container.known, state, None, -1)


def _unknown_process(state: State, found: Adopted | None) -> int:
    """The first process of one that runs and of which something else is written down, as its file was damaged, or 0."""
    if found is not None:
        return 0 if found.run.pid == state["pid"] else found.run.pid
    is_lost = state["status"] == UNKNOWN["status"] and not state["pid"]
    return orphans.first_in(orphans.groups_of(state)) if is_lost else 0


def _as_running(state: State, pid: int) -> State:
    process = {"pid": pid, "start": orphans.started(pid) or 0, "boot": boot_id()}
    return {**state, **process, "status": "running", "entry": {**state["entry"], **process}}


def _groups_of(place: str) -> tuple[str, ...]:
    """The control groups of one that was started, as they were written down before it was."""
    text = _content(f"{place}/groups") or b""
    return tuple(os.fsdecode(line) for line in text.split(b"\n") if line)


def _word(place: str) -> dict[str, Any] | None:
    """What the stage has written down about the end."""
    try:
        with open(f"{place}/{ENDED}", "rb") as file:
            return dict(marshal.loads(file.read()))
    except (FileNotFoundError, ValueError, EOFError, TypeError):
        return None


def _remove_rest(supervisor: Supervisor) -> None:
    """Places of containers that were being made when everything was killed."""
    try:
        names = os.listdir(supervisor.places)
    except FileNotFoundError:
        return
    for name in names:
        item = supervisor.items.get(name)
        if name not in supervisor.unread and (item is None or not item.busy):
            guarded(lambda place=f"{supervisor.places}/{name}": _remove_place(place))  # type: ignore[misc]


def _remove_place(place: str) -> None:
    end_groups(_groups_of(place))
    for name in os.listdir(place):
        os.unlink(f"{place}/{name}")
    os.rmdir(place)
