"""Removing containers: what runs only if that is wanted, and nothing of it stays.

The kernel takes its time for an end, and for many ends at once not much more: those of the next ones are asked for
while one is removed (`Ahead`).
"""

from __future__ import annotations

import posix as os

from cloche.engine import making, sockets
from cloche.engine.containers import TRANSIENT, Container, find, settled
from cloche.engine.events import tell
from cloche.engine.supervisor import client
from cloche.errors import ClocheError, ConflictError, StageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.engine.supervisor.client import Session

TRIES = 20
AT_ONCE = 16  # ends that are waited for


def remove(container: Container, *, force: bool = False, volumes: bool = False) -> None:
    """Remove a kept container, with `volumes` its anonymous ones too; `force` ends one that runs.

    Raises ConflictError for one that runs, and NotFoundError for one that somebody else has removed.
    """
    if not container.kept:
        _remove_throwaway(container, force=force)
        return
    for _ in range(TRIES):
        if _runs(container):
            if not force:
                raise ConflictError(
                    f'cannot remove container "/{container.name}": container is running: '
                    "stop the container before removing or force remove",
                    hint=f"cloche rm -f {container.name}",
                )
            client.ask_surely("end", container.id)
        with making.lock(container):
            if _runs(container):
                continue  # somebody has started it meanwhile
            making.take_apart(container)
            break
    else:
        raise ConflictError(
            f'cannot remove container "/{container.name}": it is started again and again', hint="run it again"
        )
    if volumes and container.known["volumes"]:
        _remove_volumes(container.known["volumes"])
    tell(container, "destroy")
    _remove_places()


def _remove_throwaway(container: Container, *, force: bool) -> None:
    """One that is in the foreground of its command, which sees to all else when it ends."""
    if not force:
        raise ConflictError(
            f'cannot remove container "/{container.name}": container is running: it removes itself when it ends',
            hint=f"cloche rm -f {container.name or container.id[:12]}",
        )
    from cloche.engine.stopping import KILL, kill, wait

    try:
        kill(container, KILL)
    except ConflictError:
        return  # it has ended by itself meanwhile
    wait(container)


def _remove_places() -> None:
    """What a killed supervisor has left, and perhaps a killed removal, the next one sees to: now, or when it comes."""
    try:
        if os.listdir(f"{sockets.place()}/run"):
            client.revive()
    except (FileNotFoundError, StageError):
        pass


def _runs(container: Container) -> bool:
    return settled(container).running or container.status == "restarting"


def _remove_volumes(names: list[str]) -> None:
    from cloche.engine.trees import Remover
    from cloche.engine.volume_uses import discard

    with Remover() as remover:
        for path in discard(names):
            remover(path)


class Ahead:
    """Has containers end that are to be removed by force in this order, before it is their turn; the first one's is."""

    def __init__(self, words: list[str]) -> None:
        self._words = iter(words[1:])
        self._begun: list[Session | None] = []

    def advance(self) -> None:
        """Before each of them is removed: ask for more ends. What goes wrong is for the removal to say."""
        if self._begun and (done := self._begun.pop(0)) is not None:
            done.close()
        for word in self._words:
            self._begun.append(_end(word))
            if len(self._begun) > AT_ONCE:
                break

    def close(self) -> None:
        """Wait for none of them any more."""
        for session in filter(None, self._begun):
            session.close()
        self._begun = []


def _end(word: str) -> Session | None:
    """Ask for the end of a kept container that runs; nothing where no supervisor is there: the removal starts one.

    One that goes with its end would be gone when it is its turn.
    """
    try:
        container = find(word)
        meant = container.kept and container.status in TRANSIENT and not container.known["keep"].get("auto_remove")
        session = client.reach() if meant else None
        if session is not None:
            session.send("end", container.id)
    except ClocheError:
        return None
    return session
