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
        self.kept: dict[str, int] = {}  # of which there is a file, and how much of the line is in it

    def keep(self, name: str, begun: bytes) -> None:
        """Write down what there is of a line; where there is no room for it, we have it all the same.

        What was written before is only added to: at no moment there is less of it.
        """
        if len(begun) < self.kept.get(name, 0):
            self.drop(name)
        anew = 0 if name in self.kept else os.O_TRUNC
        try:
            fd = os.open(self._path(name), os.O_WRONLY | os.O_CREAT | os.O_APPEND | anew | os.O_CLOEXEC, 0o600)
        except OSError:
            return
        try:
            self.kept[name] = self.kept.get(name, 0) + os.write(fd, begun[self.kept.get(name, 0) :])
        except OSError:
            self.kept.setdefault(name, 0)
        finally:
            os.close(fd)

    def drop(self, name: str) -> None:
        """It goes into the log now; call this before it does, as it is not to be there twice."""
        if self.kept.pop(name, None) is not None:
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
        self.kept[name] = len(begun)
        return begun

    def _path(self, name: str) -> str:
        return f"{self.place}/{name}{BEGUN}"
