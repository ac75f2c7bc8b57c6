"""How a pull or push goes, on a terminal: a bar for each layer, and one for all with speed and time left."""

from __future__ import annotations

import sys
import threading

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from cloche.cli.output import plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from cloche.spec.image import Descriptor

DIGITS = 12
TOTAL = "total"


class Bars:
    """What `pulling.Progress` and `pushing.Progress` are told, drawn; a context manager, for several threads."""

    def __init__(self, heading: str) -> None:
        console = Console(file=sys.stderr)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[state]}"),
            console=console,
        )
        self._heading = plain(heading)
        self._tasks: dict[str, TaskID] = {}
        self._arrived: dict[str, int] = {}
        self._total: TaskID | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def layers(self, items: list[Descriptor]) -> None:
        """The layers are known."""
        self._bars.console.print(self._heading, markup=False, highlight=False)
        with self._lock:
            for item in {item.digest: item for item in items}.values():
                name = item.digest.partition(":")[2][:DIGITS]
                self._tasks[item.digest] = self._bars.add_task(name, total=item.size, state="")
            whole = sum(item.size for item in {item.digest: item for item in items}.values())
            self._total = self._bars.add_task(TOTAL, total=whole, state="")

    def exists(self, item: Descriptor) -> None:
        """A layer is there already."""
        self._at(item, item.size, "already exists")

    def arrived(self, item: Descriptor, size: int) -> None:
        """So many bytes of a layer are there."""
        self._at(item, size, "")

    def unpacking(self, item: Descriptor) -> None:
        """A layer is being unpacked."""
        self._at(item, item.size, "unpacking")

    def unpacked(self, item: Descriptor) -> None:
        """A layer is ready."""
        self._at(item, item.size, "done")

    def done(self, item: Descriptor, how: str) -> None:
        """A layer is in the registry."""
        self._at(item, item.size, how)

    def _at(self, item: Descriptor, size: int, state: str) -> None:
        with self._lock:
            task = self._tasks.get(item.digest)
            if task is None or self._total is None:
                return  # a config, or another small thing
            self._bars.update(task, completed=size, state=state)
            self._arrived[item.digest] = size
            self._bars.update(self._total, completed=sum(self._arrived.values()))
