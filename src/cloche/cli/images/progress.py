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


def of_pull(selector: str, name: str, *, only_new: bool = False) -> pulling.Progress:
    """What shows a pull of this tag or digest of a repository; with `only_new`, nothing before something is."""
    heading = f"{selector}: Pulling from {name}"
    bars = _bars(sys.stdout)
    return bars.PullBars(heading, sys.stdout) if bars else PullLines(heading, sys.stdout, only_new=only_new)


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
    """A line whenever something has been done; from several threads. With `only_new`, none before something is new."""

    def __init__(self, heading: str, out: TextIO, *, only_new: bool = False) -> None:
        self._heading, self._out = heading, out
        self._held: list[str] | None = [] if only_new else None
        self._lock = threading.Lock()

    def layers(self, items: list[Descriptor]) -> None:
        """The layers are known."""
        del items
        self._say(self._heading, held=True)

    def _tell(self, item: Descriptor, what: str, *, held: bool = False) -> None:
        self._say(f"{short(item)}: {what}", held=held)

    def _say(self, line: str, *, held: bool) -> None:
        with self._lock:
            if held and self._held is not None:
                self._held.append(line)
                return
            lines, self._held = [*(self._held or []), line], None
            self._out.write("\n".join(lines) + "\n")
            self._out.flush()


class PullLines(Lines, pulling.Progress):
    """Those of a pull."""

    def exists(self, item: Descriptor) -> None:
        """A layer is there already."""
        self._tell(item, "Already exists", held=True)

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
