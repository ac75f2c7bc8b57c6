"""Lines that a container has begun and not ended yet, where they outlive the supervisor that has read them.

    STATE/run/ID/out.begun, err.begun

Not in its log: a program that says a line letter by letter would fill that.
"""

from __future__ import annotations

import os

BEGUN = ".begun"


class Beginnings:
    """Those of one container, by the name of its pipe."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.kept: set[str] = set()  # of which there is a file

    def keep(self, name: str, begun: bytes) -> None:
        """Write down what there is of a line; where there is no room for it, we have it all the same."""
        self.kept.add(name)
        try:
            fd = os.open(self._path(name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        except OSError:
            return
        try:
            os.write(fd, begun)
        except OSError:
            pass
        finally:
            os.close(fd)

    def drop(self, name: str) -> None:
        """It goes into the log now; call this before it does, as it is not to be there twice."""
        if name in self.kept:
            self.kept.discard(name)
            try:
                os.unlink(self._path(name))
            except FileNotFoundError:
                pass

    def take(self, name: str) -> bytes:
        """What another supervisor had begun to read; it is kept until it is dropped."""
        try:
            with open(self._path(name), "rb") as file:
                begun = file.read()
        except FileNotFoundError:
            return b""
        self.kept.add(name)
        return begun

    def _path(self, name: str) -> str:
        return f"{self.place}/{name}{BEGUN}"
