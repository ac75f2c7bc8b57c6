"""Removing containers: what runs only if that is wanted, and nothing of it stays."""

from __future__ import annotations

from cloche.engine import making
from cloche.engine.containers import Container, settled
from cloche.engine.events import tell
from cloche.engine.supervisor import client
from cloche.errors import ConflictError

KILL, NEVER = 9, -1.0
TRIES = 20


def remove(container: Container, *, force: bool = False, volumes: bool = False) -> None:
    """Remove a kept container, with `volumes` its anonymous ones too; `force` ends one that runs.

    Raises ConflictError for one that runs, and NotFoundError for one that somebody else has removed.
    """
    if not container.kept:
        raise ConflictError(
            f'cannot remove container "/{container.name}": container is running: it removes itself when it ends',
            hint=f"cloche stop {container.name or container.id[:12]}",
        )
    for _ in range(TRIES):
        if _runs(container):
            if not force:
                raise ConflictError(
                    f'cannot remove container "/{container.name}": container is running: '
                    "stop the container before removing or force remove",
                    hint=f"cloche rm -f {container.name}",
                )
            client.ask_surely("stop", container.id, KILL, NEVER)
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


def _runs(container: Container) -> bool:
    return settled(container).running or container.status == "restarting"


def _remove_volumes(names: list[str]) -> None:
    from cloche.engine.trees import Remover
    from cloche.engine.volume_uses import discard

    with Remover() as remover:
        for path in discard(names):
            remover(path)
