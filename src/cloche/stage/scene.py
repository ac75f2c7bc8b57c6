"""What operations work on: the descriptors and facts gathered while one container is made.

`Outside` is the stage's view of one container, `Inside` the new process' view of itself.
"""

from __future__ import annotations

import posix as os

from cloche.stage import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from typing import Any, Protocol

    class Undoable(Protocol):
        """Something that was changed outside for one container."""

        def undo(self) -> list[str]:
            """Change it back; returns what could not be."""

        def keep(self) -> None:
            """Leave it to the container."""


class Outside:
    """The stage's side: the new process' pid and pidfd, the trees to hand over, what came out less."""

    def __init__(self, stdio: list[int]) -> None:
        self.stdio = stdio
        self.pid = -1
        self.pidfd = -1
        self.channel: _socket.socket | None = None  # to the new process, once it is there
        self.trees: dict[str, int] = {}
        self.joins: list[tuple[int, int]] = []  # (CLONE_NEW* flag or 0, descriptor)
        self.notes: list[tuple[str, str]] = []  # (layer, what came out weaker and why)
        self.userns = -1
        self.starting: _socket.socket | None = None  # where `start` will come to
        self.undo: list[Undoable] = []  # what has to be given back if there is no container in the end

    @property
    def in_child(self) -> bool:
        """Whether this is the new process, coming back from clone3."""
        return self.pid == 0

    def user_namespace(self) -> int:
        """The new process' user namespace, opened once."""
        if self.userns < 0:
            self.userns = os.open(f"/proc/{self.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        return self.userns

    def close(self) -> None:
        """Close what was opened for the set-up; the pidfd and channel are the caller's."""
        if self.starting is not None:
            self.starting.close()
        handed = [*self.trees.values(), *(fd for _, fd in self.joins), *self.stdio]
        for fd in [*handed, *([self.userns] if self.userns >= 0 else [])]:
            os.close(fd)
        self.trees, self.joins, self.stdio, self.userns = {}, [], [], -1


class Inside:
    """The new process' side: its trees, its root while that is being built, its stdin/out/err."""

    def __init__(self, channel: _socket.socket, stdio: list[int]) -> None:
        self.channel = channel
        self.stdio = stdio
        self.trees: dict[str, int] = {}
        self.notes: list[tuple[str, str]] = []
        self.scratch = -1
        self.root = -1
        self.user: tuple[int, int, tuple[int, ...], str] = (0, 0, (), "/")  # uid, gid, groups, home
        self.starting: _socket.socket | None = None  # where `start` comes to
        self.outside_pid = 0  # what the runtime knows this process by
        self.early: list[tuple[Any, list[int]]] = []  # messages that came while `--step` waited for another

    def receive(self) -> tuple[Any, list[int]] | None:
        """The stage's next message and its descriptors; None when the stage is gone."""
        return self.early.pop(0) if self.early else wire.receive(self.channel)

    def user_namespace(self) -> int:
        """Only the stage, with its privileges, can map the ids of a mount."""
        raise OSError(1, "ids of a mount can only be mapped by root")

    def note(self, layer: str, text: str) -> None:
        """Record that a layer came out weaker than planned, and why."""
        self.notes.append((layer, text))
