"""What a supervisor stands on: its state directory, where commands find it, and the store, where its containers are.

the state directory is gone   nobody finds it any more, and whoever needs one starts another: it goes
a container's directory is    nobody finds that one any more: it is ended

Who removes them is heard of at once (inotify); where nothing can be heard, or one above them gets another name, it is
looked for now and then.
"""

from __future__ import annotations

import os

from cloche.engine.containers import containers_dir
from cloche.linux import inotify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.engine.supervisor.main import Supervisor

SELDOM, OFTEN = 30.0, 1.0  # seconds
CHANGES = inotify.IN_DELETE | inotify.IN_MOVED_FROM | inotify.IN_DELETE_SELF | inotify.IN_MOVE_SELF
CHANGES |= inotify.IN_ONLYDIR


class Footing:
    """Watches for a supervisor. `held` are paths of its own that are to lead where they lead now."""

    def __init__(self, supervisor: Supervisor, *held: str) -> None:
        self.supervisor = supervisor
        self.held = {path: _identity(path) for path in held}
        self.ear: inotify.Watch | None = None
        self.containers = -1  # what the ear calls their directory
        try:
            self.ear = inotify.Watch()
            self.ear.add(supervisor.state, CHANGES)
            supervisor.loop.watch(self.ear.number, lambda _events: self._heard())
        except OSError:  # this user has too many already
            self.ear = None
        self.hear_containers()
        self._look_later()

    @property
    def is_there(self) -> bool:
        """Whether commands still find this very supervisor."""
        return all(_identity(path) == identity for path, identity in self.held.items())

    def hear_containers(self) -> None:
        """Hear of those that are removed; their directory may have been made just now."""
        try:
            self.containers = self.ear.add(containers_dir(), CHANGES) if self.ear is not None else -1
        except OSError:
            self.containers = -1  # it is not there yet, or not any more

    def _heard(self) -> None:
        assert self.ear is not None
        news = self.ear.read()
        if all(watched == self.containers and name for watched, _, name in news):
            for _, _, name in news:
                self._look_for(name)
        else:
            self._look()

    def _look(self) -> None:
        if not self.is_there:
            self.supervisor.going = True
        for container_id in list(self.supervisor.items):
            self._look_for(container_id)

    def _look_for(self, container_id: str) -> None:
        item = self.supervisor.items.get(container_id)
        if item is not None and not os.path.exists(item.folder):
            item.forsake()

    def _look_later(self) -> None:
        self.supervisor.loop.after(OFTEN if self.ear is None else SELDOM, self._look_now)

    def _look_now(self) -> None:
        self._look_later()
        self._look()


def _identity(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return (0, 0)
    return status.st_dev, status.st_ino
