"""What kept containers have said, and say from now on, as records with their time and stream."""

from __future__ import annotations

import time

from cloche.engine.containers import ALIVE, Container, is_alive
from cloche.engine.logs.drivers import readable
from cloche.engine.logs.following import follow as following
from cloche.engine.logs.options import DEFAULT
from cloche.engine.logs.reading import NEVER, Log, merged
from cloche.engine.supervisor import client
from cloche.errors import ClocheError, ConflictError
from cloche.linux import places
from cloche.linux.inotify import wait_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from cloche.engine.logs.records import Record

LOST = 5.0  # seconds a process may be gone before nobody is left who will say that the container has ended


def said(
    containers: Sequence[Container],
    *,
    since_ns: int | None = None,
    until_ns: int | None = None,
    tail: int | None = None,
    follow: bool = False,
    leave: int = -1,
) -> Generator[tuple[int, Record | None]]:
    """What they have said between two times, nanoseconds since 1970, with the index of who said it.

    `tail` is how many of the last lines of each, None for all. With `follow` it goes on until all have ended, or
    until the descriptor `leave` can be read; a None says that there is nothing more at the moment. Raises
    ConflictError, at once, where there is nothing that could be read.
    """
    for container in containers:
        _check(container)
    until = NEVER if until_ns is None else until_ns
    logs = [Log(f"{each.folder}/log", each.id, since_ns=since_ns or 0, until_ns=until) for each in containers]
    if tail is not None:
        for log in logs:
            log.skip_to_tail(tail)
    return _read(list(containers), logs, until, follow=follow, leave=leave)


def _read(
    containers: list[Container], logs: list[Log], until: int, *, follow: bool, leave: int
) -> Generator[tuple[int, Record | None]]:
    watcher = _Watcher()
    try:
        if not follow:
            yield from merged(log.records() for log in logs)
            return
        folders = [path for each in containers for path in (each.folder, f"{each.folder}/log")]
        ends = [_End(each, watcher) for each in containers]
        found = following(logs, folders, lambda index: ends[index].has_come(), until_ns=until, leave=leave)
        try:
            yield from found
        finally:
            found.close()
    finally:
        watcher.close()
        for log in logs:
            log.close()


def _check(container: Container) -> None:
    """Raise where there is nothing that could be read."""
    if not container.kept:
        raise ConflictError(
            f"what {container.name or container.id[:12]} says is not kept: it is removed when it ends",
            hint="cloche run -d keeps it, and what is said",
        )
    keep = container.known.get("keep", {})
    driver = keep.get("log_driver", DEFAULT)
    if not readable(driver, keep.get("log_options", {})):
        hint = {
            "journald": f"journalctl CONTAINER_ID_FULL={container.id} shows it, or cloche without cache-disabled",
            "syslog": "it is in the log of this machine, and here where cache-disabled is not given",
        }.get(driver, "the driver none keeps nothing; --log-driver json-file does")
        raise ConflictError("configured logging driver does not support reading", hint=hint)


class _Watcher:
    """Sees to it that there is a supervisor, which writes down what containers say, while somebody follows that."""

    def __init__(self) -> None:
        self._session: client.Session | None = None

    def look(self) -> None:
        """Start one where there is none any more."""
        if self._session is not None and wait_for([self._session.fileno()], 0):
            self.close()
        if self._session is None:
            try:
                self._session = client.connect()
            except (ClocheError, OSError):
                pass  # as where nothing may be written: then others see to it

    def close(self) -> None:
        """Let go of it."""
        if self._session is not None:
            self._session.close()
            self._session = None


class _End:
    """When there is nothing more to come from a container."""

    def __init__(self, container: Container, watcher: _Watcher) -> None:
        self._container, self._watcher = container, watcher
        self._gone = 0.0

    def has_come(self) -> bool:
        """Whether all it will ever say is written; a process of which nobody says that it has ended is waited for."""
        state = self._container.read_state().state
        if state["status"] not in ALIVE or not places.exists(self._container.folder):
            return True
        self._watcher.look()
        if not state["pid"] or is_alive(state):
            self._gone = 0.0
            return False
        now = time.monotonic()
        self._gone = self._gone or now
        return now - self._gone > LOST
