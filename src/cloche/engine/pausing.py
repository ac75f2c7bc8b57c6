"""Containers that stand still, and go on."""

from __future__ import annotations

from contextlib import contextmanager

from cloche.engine import making
from cloche.engine.containers import Container
from cloche.engine.supervisor import client
from cloche.errors import ConflictError, UnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloche.engine.supervisor.client import Message, Session

WHY = "it takes a cgroup that can be frozen: as an ordinary user a delegated one of cgroup v2"


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


@contextmanager
def held(container: Container) -> Iterator[None]:
    """Have it stand still while inside, and go on when this process ends, too, however that ends.

    Where others have that, it goes on when the last of them has ended; what a user has paused stays so. Raises
    ConflictError where it does not run, UnsupportedError.
    """
    _check(container, "pause")

    def hold() -> Session:
        session = client.connect()
        try:
            _judge(container, session.ask("hold", container.id))
        except BaseException:
            session.close()
            raise
        return session

    session = client.surely(hold)
    try:
        yield
    finally:
        _release(container, session)


def _release(container: Container, session: Session) -> None:
    try:
        session.ask("release", container.id)
    except client.GoneError:  # the next supervisor has found written down for whom it stands still
        client.ask_surely("release", container.id)
    finally:
        session.close()


def _ask(container: Container, word: str) -> None:
    _check(container, word)
    _judge(container, client.ask_surely(word, container.id))


def _check(container: Container, word: str) -> None:
    if not container.running and container.kept:
        making.lock(container).close()  # one that is being started is waited for
    if not container.running:
        raise ConflictError(f"Container {container.id} is not running")
    if not container.kept or not container.entry.get("paths"):
        raise UnsupportedError(f"cloche {word}", needs=WHY if container.kept else "it takes a container that is kept")


def _judge(container: Container, told: Message) -> None:
    answer, *rest = told
    if answer == "failed":
        raise ConflictError(f"container {container.name} cannot be frozen: {rest[0]}")
    if answer != "ok":
        raise ConflictError(f"Container {container.id} is not running")
