"""A person at a kept container's streams: what it writes to our output, what is typed to it, until it ends.

our stdin ──▶ "in" ──▶ supervisor ──▶ the command ──▶ supervisor ──▶ "out" ──▶ our stdout and stderr

A supervisor that is killed is followed by another one, which waits for us (`engine.supervisor.returning`) before it
goes on; it is told again what the first one had not answered. Whoever reads our output slowly does not keep us from it.
"""

from __future__ import annotations

import os
import select

from cloche.cli import front
from cloche.engine.containers import ALIVE
from cloche.engine.events import tell
from cloche.engine.supervisor import client
from cloche.linux import terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from typing import Any, Self

    from cloche.engine.containers import Container
    from cloche.engine.supervisor.client import Message, Session
else:
    import _signal

CHUNK = 1 << 16
PIECE = 4096  # bytes that a pipe takes at once when it is ready (PIPE_BUF, pipe(7))
WINCH = 28
NOTICED = 0.02  # seconds in which a command notices another size
UNKNOWN = 125  # nobody has seen how it ended
DEFAULT_KEYS = "ctrl-p,ctrl-q"


class Attached:
    """Our streams between us and a container; `run` returns its exit code, or None where we have left it.

    Without a `session` it has ended before we could be attached.
    """

    def __init__(
        self,
        session: Session | None,
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
        self.begun = container.state["started_at"]  # it may be started again, which is none of our concern
        self.proxy = (
            proxy and not tty
        )  # as docker has it: who is at a terminal types them, and a closed window is no end
        self.keys = _matcher(keys or DEFAULT_KEYS) if interactive and os.isatty(0) and tty else None
        self.poll = select.poll()
        self.code: int | None = None
        self.reason: dict[str, Any] | None = None
        self.over = False
        # what the supervisor has not answered yet
        self.typed, self.typed_all = b"", False
        self.signals: list[int] = []
        self.unwritten: list[tuple[int, bytes]] = []  # output, and where it goes

    def run(self) -> int | None:
        """Until it ends, or the keys to leave it were typed."""
        raw = self.tty and self.interactive and os.isatty(0)
        if self.interactive:
            self.poll.register(0, select.POLLIN)
        with _Raw() if raw else _nothing(), _Signals(self):
            self._begin()
            while not self.over or self.unwritten:
                for fd, _ in self.poll.poll():
                    if fd == 0:
                        self._type()
                    elif self.session is not None and fd == self.session.fileno():
                        self._hear()
                    elif self.unwritten:
                        self._write()
        return self.code

    def ask_for_a_drawing(self) -> None:
        """Have the command show what it is at, as docker does: its terminal is another size for a moment.

        Without a terminal of our own it stays as it is: somebody else may be at it.
        """
        size = terminal.own_size()
        if size is not None:
            self._send("resize", size[0] + 1, size[1] + 1)
            select.select([], [], [], NOTICED)

    def resize(self) -> None:
        """Give the command's terminal the size of ours, if we have one."""
        size = terminal.own_size()
        if size is not None:
            self._send("resize", *size)

    def signal(self, number: int) -> None:
        """Pass a signal on."""
        self.signals.append(number)
        self._send("signal", self.container.id, number, False)

    def _send(self, *message: Any) -> None:
        try:
            if self.session is not None:
                self.session.send(*message)
        except client.GoneError:
            pass  # as we are about to hear; the next one is told

    def _begin(self) -> None:
        """Tell the supervisor all that it has to know of us."""
        if self.session is None:
            self._is_over()
            return
        self._listen()
        if self.interactive:
            self._send("keyboard")
        if self.typed:
            self._send("in", self.typed)
        if self.typed_all:
            self._send("eof")
        if self.tty:
            self.resize()
        for number in self.signals:
            self._send("signal", self.container.id, number, False)

    def _listen(self) -> None:
        """To the supervisor; while there is something to be written only to whether it is there."""
        if self.session is not None:
            self.poll.register(self.session.fileno(), 0 if self.unwritten else select.POLLIN)

    def _hear(self) -> None:
        assert self.session is not None
        try:
            self._take(self.session.receive())
        except client.GoneError:
            self._let_go()
            self._come_back()

    def _let_go(self) -> None:
        if self.session is not None:
            self.poll.unregister(self.session.fileno())
            self.session.close()
            self.session = None

    def _come_back(self) -> None:
        """To the next supervisor, unless the last one has written down the end that we were about to hear of."""
        state = self.container.read_state().state
        if state["status"] in ALIVE and state["started_at"] == self.begun:
            self.session = client.attach(self.container.id)
        else:
            self.session = None
        self._begin()

    def _is_over(self) -> None:
        """It has ended, and nobody was there to tell us: its state does."""
        state = self.container.read_state().state
        self._end(None if state["status"] in ALIVE and state["started_at"] == self.begun else state["exit_code"])
        self.reason = state["reason"]

    def _take(self, message: Message) -> None:
        kind, *rest = message
        if kind == "out" and rest[0] not in self.shown:
            return
        if kind == "out":
            self.unwritten.append((rest[0], rest[1]))
            self.poll.register(self.unwritten[0][0], select.POLLOUT)
            self._listen()
        elif kind == "taken":
            self.typed = self.typed[rest[0] :]
            if not self.typed:
                self.poll.register(0, select.POLLIN)
        elif kind == "ended":
            self._end(rest[0])
            self.reason = rest[1]
        elif self.signals:  # the answer to the first of them
            del self.signals[0]

    def _write(self) -> None:
        """A piece of what there is: it is taken at once."""
        number, data = self.unwritten[0]
        try:
            data = data[os.write(number, data[:PIECE]) :]
        except BlockingIOError:
            return
        if data:
            self.unwritten[0] = number, data
            return
        del self.unwritten[0]
        self.poll.unregister(number)
        if self.unwritten:
            self.poll.register(self.unwritten[0][0], select.POLLOUT)
        self._listen()

    def _end(self, code: int | None) -> None:
        self.code = UNKNOWN if code is None else code
        self.over = True
        self._let_go()
        try:
            self.poll.unregister(0)
        except KeyError:
            pass  # nothing was to be typed

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
                self.over, self.unwritten = True, []
                return
            if not data:
                self.poll.register(0, select.POLLIN)
                return
        self.typed, self.typed_all = data, not data
        self._send(*(("in", data) if data else ("eof",)))


def _matcher(keys: str) -> Any:
    from cloche.cli.detaching import Matcher, parse_keys

    return Matcher(parse_keys(keys)).feed


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
