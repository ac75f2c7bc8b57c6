"""Removing trees whose files may be those of the ids that containers have.

Root removes them itself. Another user has no power over the files of subordinate ids but in a user namespace, where
a process does it that is started for the first tree.
"""

from __future__ import annotations

import os

from cloche.linux import files
from cloche.runtime.host import probe_host
from cloche.stage.points import point
from cloche.stage.removal import remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from cloche.images.unpack.worker import Worker


class Remover:
    """Removes the directories it is called with, if they are there; a context manager."""

    def __init__(self) -> None:
        self._worker: Worker | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._worker is not None:
            self._worker.close()

    def __call__(self, path: str) -> None:
        """Remove a directory with all in it."""
        folder, _, name = path.rpartition("/")
        with files.Fd(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as place:
            point("tree-removing")
            if probe_host().privileged:
                remove_tree(place.number, name)
            else:
                self._start().remove(place.number, name)

    def _start(self) -> Worker:
        if self._worker is None:
            from cloche.engine.layers import users
            from cloche.images.unpack.worker import Worker
            from cloche.linux.libraries import reach

            reach()
            self._worker = Worker(users())
        return self._worker
