"""How a pull or push goes: bars on a terminal, docker's lines in a log."""

from __future__ import annotations

import os
import sys
import threading

from cloche.images import pulling, pushing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import TextIO

    from cloche.spec.image import Descriptor

DIGITS = 12  # of a digest, as docker shows it
WORDS = {"exists": "Layer already exists", "mounted": "Mounted from another repository", "pushed": "Pushed"}


def of_pull(selector: str, name: str, out: TextIO | None = None) -> pulling.Progress:
    """What shows a pull of this tag or digest of a repository, on `out`, standard output by default."""
    heading, out = f"{selector}: Pulling from {name}", out or sys.stdout
    bars = _bars(out)
    return bars.PullBars(heading, out) if bars else PullLines(heading, out)


def of_push(name: str) -> pushing.Progress:
    """What shows a push to a repository."""
    heading = f"The push refers to repository [{name}]"
    bars = _bars(sys.stdout)
    return bars.PushBars(heading, sys.stdout) if bars else PushLines(heading, sys.stdout)


def _bars(out: TextIO) -> ModuleType | None:
    """What draws bars, on a terminal that moves its cursor; lines do where the library for them is not there."""
    if not out.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return None
    try:
        from cloche.cli.images import bars
    except ModuleNotFoundError:
        return None
    return bars


class Lines:
    """A line whenever something has been done; from several threads."""

    def __init__(self, heading: str, out: TextIO) -> None:
        self._heading, self._out = heading, out
        self._lock = threading.Lock()

    def layers(self, items: list[Descriptor]) -> None:
        """The layers are known."""
        del items
        self._say(self._heading)

    def _tell(self, item: Descriptor, what: str) -> None:
        self._say(f"{short(item)}: {what}")

    def _say(self, line: str) -> None:
        with self._lock:
            self._out.write(line + "\n")
            self._out.flush()


class PullLines(Lines, pulling.Progress):
    """Those of a pull."""

    def exists(self, item: Descriptor) -> None:
        """A layer is there already."""
        self._tell(item, "Already exists")

    def unpacking(self, item: Descriptor) -> None:
        """A layer is being unpacked."""
        self._tell(item, "Download complete")

    def unpacked(self, item: Descriptor) -> None:
        """A layer is ready."""
        self._tell(item, "Pull complete")


class PushLines(Lines, pushing.Progress):
    """Those of a push."""

    def done(self, item: Descriptor, how: str) -> None:
        """A layer is there."""
        self._tell(item, WORDS[how])


def short(item: Descriptor) -> str:
    """A digest as docker shows it."""
    return item.digest.partition(":")[2][:DIGITS]
