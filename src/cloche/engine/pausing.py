"""Containers that stand still, and go on."""

from __future__ import annotations

from cloche.engine import making
from cloche.engine.containers import Container
from cloche.engine.supervisor import client
from cloche.errors import ConflictError, UnsupportedError

WHY = "a cgroup that can be frozen: as an ordinary user a delegated one of cgroup v2"


def pause(container: Container) -> None:
    """Freeze everything in a kept container. Raises ConflictError, UnsupportedError."""
    if container.status == "paused":
        raise ConflictError(f"Container {container.id} is already paused")
    _ask(container, "pause")


def unpause(container: Container) -> None:
    """Let it go on. Raises ConflictError where it does not stand still."""
    if container.status != "paused":
        raise ConflictError(f"Container {container.id} is not paused")
    _ask(container, "unpause")


def _ask(container: Container, word: str) -> None:
    if not container.running and container.kept:
        making.lock(container).close()  # one that is being started is waited for
    if not container.running:
        raise ConflictError(f"Container {container.id} is not running")
    if not container.kept or not container.entry.get("paths"):
        raise UnsupportedError(f"cloche {word}", needs=WHY if container.kept else "a container that is kept")
    answer, *rest = client.ask_surely(word, container.id)
    if answer == "failed":
        raise ConflictError(f"container {container.name} cannot be frozen: {rest[0]}")
    if answer != "ok":
        raise ConflictError(f"Container {container.id} is not running")
