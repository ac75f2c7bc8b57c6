"""What one supervisor finds of another that was killed, or of another boot: each container is taken over or concluded.

the stage runs            its containers are handed over, with their terminals
it was killed             what is written down and runs is watched by a pidfd of our own
it has ended meanwhile    the stage has written down how; where it could not, the end is unknown, and never 0
it was being made         it has died with its stage; its groups are removed
"""

from __future__ import annotations

import _socket
import marshal
import os

from cloche.engine import sockets
from cloche.engine.containers import containers_dir, is_alive, load
from cloche.engine.supervisor import orphans
from cloche.engine.supervisor.loop import guarded
from cloche.engine.supervisor.supervised import Supervised
from cloche.stage import wire
from cloche.stage.cleaning import end_groups
from cloche.stage.client import Adopted, Stage, adopt_stage
from cloche.stage.leaving import ENDED, NEVER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cloche.engine.containers import Container
    from cloche.engine.supervisor.main import Supervisor


def reach_stage(path: str) -> tuple[Stage, list[Adopted]] | None:
    """A stage that another supervisor has left, and what runs in it."""
    control = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        sockets.connect(control, path)
        if wire.is_ours(control):
            return adopt_stage(control)
    except OSError:
        pass  # nobody listens
    control.close()
    return None


def take_over(supervisor: Supervisor, adopted: dict[str, Adopted]) -> None:
    """Look at every container that was running or was to run, and at what is left of others."""
    try:
        names = os.listdir(containers_dir())
    except FileNotFoundError:
        names = []
    for name in names:
        container = load(name, everything=False) if len(name) == 64 else None
        if container is None:
            continue
        found = adopted.pop(container.id, None)
        guarded(lambda container=container, found=found: _take(supervisor, container, found))  # type: ignore[misc]
    for left in adopted.values():  # its directory is gone, or says that it has ended
        left.run.send("kill")
        left.run.close()
    _remove_rest(supervisor)


def take_again(supervisor: Supervisor, container_id: str) -> None:
    """Look at one that has ended, and of which that could not be written down."""
    container = load(container_id, everything=False)
    if container is not None and container_id not in supervisor.items:
        _take(supervisor, container, None)


def _take(supervisor: Supervisor, container: Container, found: Adopted | None) -> None:
    state = {**container.state, "entry": container.entry}
    if state["status"] == "removing":
        supervisor.remove(container.id)
        return
    item = Supervised(supervisor, container.id, container.folder)
    supervisor.items[container.id] = item
    if found is not None:
        item.resume(container.known, state, found.run, found.console)
    elif not is_alive(state):
        item.find_ended(container.known, state, _word(item.place))
    elif orphans.never_ran(state):
        item.find_ended(container.known, state, NEVER)
    else:
        item.resume(container.known, state, None, -1)


def _word(place: str) -> dict[str, Any] | None:
    """What the stage has written down about the end."""
    try:
        with open(f"{place}/{ENDED}", "rb") as file:
            return dict(marshal.loads(file.read()))
    except (OSError, ValueError, EOFError, TypeError):
        return None


def _remove_rest(supervisor: Supervisor) -> None:
    """Places of containers that were being made when everything was killed."""
    try:
        names = os.listdir(supervisor.places)
    except FileNotFoundError:
        return
    for name in names:
        item = supervisor.items.get(name)
        if item is None or not item.busy:
            guarded(lambda place=f"{supervisor.places}/{name}": _remove_place(place))  # type: ignore[misc]


def _remove_place(place: str) -> None:
    try:
        with open(f"{place}/groups", encoding="utf-8") as file:
            end_groups(tuple(file.read().split("\n")))
    except FileNotFoundError:
        pass
    for name in os.listdir(place):
        os.unlink(f"{place}/{name}")
    os.rmdir(place)
