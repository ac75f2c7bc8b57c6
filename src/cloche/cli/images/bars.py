"""A bar for each layer, and one for all with speed and time left, on a terminal."""

from __future__ import annotations

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

from cloche.cli.images.progress import WORDS, short
from cloche.cli.output import plain
from cloche.images import pulling, pushing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

    from cloche.spec.image import Descriptor

TOTAL = "total"


class Bars:
    """Drawn from when the layers are known until it is closed; from several threads."""

    def __init__(self, heading: str, out: TextIO) -> None:
        self._heading, self._out = plain(heading), out
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._arrived: dict[str, int] = {}
        self._lock = threading.Lock()

    def layers(self, items: list[Descriptor]) -> None:
        """The layers are known."""
        self._out.write(self._heading + "\n")
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[state]}", markup=False),
        )
        bars = Progress(*columns, console=Console(file=self._out))
        own = {item.digest: item for item in items}
        self._tasks = {
            digest: bars.add_task(short(item), total=item.size or 1, state="waiting") for digest, item in own.items()
        }
        self._tasks[TOTAL] = bars.add_task(TOTAL, total=sum(item.size for item in own.values()) or 1, state="")
        self._arrived = {}
        self._bars = bars
        bars.start()

    def close(self) -> None:
        """Leave the bars as they are."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def _tell(self, item: Descriptor, size: int, state: str) -> None:
        with self._lock:
            if self._bars is None or item.digest not in self._tasks:
                return  # a config, or another small thing
            self._bars.update(self._tasks[item.digest], completed=size, state=state)
            self._arrived[item.digest] = size
            self._bars.update(self._tasks[TOTAL], completed=sum(self._arrived.values()))


class PullBars(Bars, pulling.Progress):
    """Those of a pull."""

    def exists(self, item: Descriptor) -> None:
        """A layer is there already."""
        self._tell(item, item.size, "already exists")

    def arrived(self, item: Descriptor, size: int) -> None:
        """So many bytes of a layer are there."""
        self._tell(item, size, "")

    def unpacking(self, item: Descriptor) -> None:
        """A layer is being unpacked."""
        self._tell(item, item.size, "unpacking")

    def unpacked(self, item: Descriptor) -> None:
        """A layer is ready."""
        self._tell(item, item.size, "done")


class PushBars(Bars, pushing.Progress):
    """Those of a push."""

    def sent(self, item: Descriptor, size: int) -> None:
        """So many bytes of a layer have been sent."""
        self._tell(item, size, "")

    def done(self, item: Descriptor, how: str) -> None:
        """A layer is there."""
        self._tell(item, item.size, WORDS[how].lower())
