"""A person at a kept container's streams: what it writes to our output, what is typed to it, until it ends.

our stdin ──▶ "in" ──▶ supervisor ──▶ the command ──▶ supervisor ──▶ "out" ──▶ our stdout and stderr
"""

from __future__ import annotations

import os
import select

from cloche.cli import front
from cloche.engine.events import tell
from cloche.linux import terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from typing import Any, Self

    from cloche.engine.containers import Container
    from cloche.engine.supervisor.client import Session
else:
    import _signal

CHUNK = 1 << 16
WINCH = 28
UNKNOWN = 125  # nobody has seen how it ended
DEFAULT_KEYS = "ctrl-p,ctrl-q"


class Attached:
    """Our streams between us and a container; `run` returns its exit code, or None where we have left it."""

    def __init__(
        self,
        session: Session,
        container: Container,
        *,
        tty: bool,
        interactive: bool,
        proxy: bool,
        keys: str,
        shown: tuple[int, ...] = (1, 2),
    ) -> None:
        """`shown` are those of its streams that come to ours."""
        self.shown = shown
        self.session, self.container, self.tty, self.interactive = session, container, tty, interactive
        self.proxy = (
            proxy and not tty
        )  # as docker has it: who is at a terminal types them, and a closed window is no end
        self.keys = _matcher(keys or DEFAULT_KEYS) if interactive and os.isatty(0) and tty else None
        self.poll = select.poll()
        self.code: int | None = None
        self.reason: dict[str, Any] | None = None
        self.over = False

    def run(self) -> int | None:
        """Until it ends, or the keys to leave it were typed."""
        raw = self.tty and self.interactive and os.isatty(0)
        self.poll.register(self.session.fileno(), select.POLLIN)
        if self.interactive:
            self.session.send("keyboard")
            self.poll.register(0, select.POLLIN)
        if self.tty:
            self.resize()
        with _Raw() if raw else _nothing(), _Signals(self):
            while not self.over:
                for fd, _ in self.poll.poll():
                    if fd == 0:
                        self._type()
                    elif not self._hear():
                        break
        return self.code

    def resize(self) -> None:
        """Give the command's terminal the size of ours."""
        self.session.send("resize", *front.terminal_size())

    def signal(self, number: int) -> None:
        """Pass a signal on."""
        self.session.send("signal", self.container.id, number, False)

    def _hear(self) -> bool:
        kind, *rest = self.session.receive()
        if kind == "out" and rest[0] in self.shown:
            _write(rest[0], rest[1])
        elif kind == "taken":
            self.poll.register(0, select.POLLIN)
        elif kind == "ended":
            self.code = UNKNOWN if rest[0] is None else rest[0]
            self.reason = rest[1]
            self.over = True
        return not self.over

    def _type(self) -> None:
        try:
            data = os.read(0, CHUNK)
        except OSError:
            data = b""  # EIO: the window was closed
        self.poll.unregister(0)
        if data and self.keys is not None:
            data, left = self.keys(data)
            if left:
                tell(self.container, "detach")
                self.over = True
                return
            if not data:
                self.poll.register(0, select.POLLIN)
                return
        if data:
            self.session.send("in", data)
        else:
            self.session.send("eof")


def _matcher(keys: str) -> Any:
    from cloche.cli.detaching import Matcher, parse_keys

    return Matcher(parse_keys(keys)).feed


def _write(number: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(number, data) :]
        except BlockingIOError:
            select.select([], [number], [])


class _nothing:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


class _Raw:
    """Our terminal in raw mode, put back whatever happens."""

    def __enter__(self) -> Self:
        self.saved = terminal.raw_mode(0)
        return self

    def __exit__(self, *_: object) -> None:
        terminal.restore(0, self.saved)


class _Signals:
    """While inside, signals to us go to the command, and the size of our terminal to its terminal."""

    def __init__(self, attached: Attached) -> None:
        self.attached = attached
        self.before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if self.attached.proxy:
            for number in front.PASSED:
                self.before[number] = _signal.signal(number, lambda number, _frame: self.attached.signal(number))
        if self.attached.tty:
            self.before[WINCH] = _signal.signal(WINCH, lambda *_: self.attached.resize())
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            _signal.signal(number, handler)
