"""What a container reads and writes: named pipes or a terminal, its log, and the commands that are attached.

    STATE/run/ID/out, err, in    held open by the container itself, so that nobody has to be here

A command that is attached and does not take what it is given holds the container up, as a pipe would; one that only
reads the log does not. Nothing is taken from a pipe that would have to wait in here: we may be killed.
"""

from __future__ import annotations

import os
import time
from errno import ENOENT, ENXIO

from cloche.engine.logs.drivers import open_writer
from cloche.engine.logs.options import DEFAULT
from cloche.engine.logs.records import LONGEST
from cloche.engine.logs.writers import Facts
from cloche.engine.supervisor import pipes, returning
from cloche.engine.supervisor.beginnings import Beginnings
from cloche.engine.supervisor.loop import READ, WRITE
from cloche.engine.supervisor.losses import Losses
from cloche.engine.supervisor.unfinished import Unfinished
from cloche.errors import SpecError
from cloche.linux import terminal
from cloche.stage.leaving import REST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cloche.engine.logs.writers import Writer
    from cloche.engine.supervisor.connection import Connection
    from cloche.engine.supervisor.loop import Loop, Timer

CHUNK = 1 << 16
NAMES = {1: "stdout", 2: "stderr"}
PIPES = pipes.NAMES
MOST_ON_TERMINAL = 1 << 18  # bytes: more than its buffers hold
LATER = 0.5  # seconds, until it is tried again to open what there was no room for


class Streams:
    """The streams of one run of a container.

    `closed` is called when its stdin is to have an end; `lost` with the bytes that its log has not taken, and why.
    """

    def __init__(self, loop: Loop, place: str, closed: Callable[[], None], lost: Callable[[int, str], None]) -> None:
        self.loop, self.place, self.closed = loop, place, closed
        self.log: Callable[[], Writer] | None = None
        self.writer: Writer | None = None
        self.console = -1
        self.outputs: dict[int, int] = {}  # descriptor to read from: 1 or 2
        self.input = -1
        self.typed: list[tuple[Connection, bytes]] = []  # what it has not taken yet, and who is told when it has
        self.keyboards: list[Connection] = []  # whose stdin is its stdin
        self.once, self.ending = False, False  # its stdin ends with the first of them; that has come
        self.unfinished = Unfinished(loop, self._flush)
        self.reopening: Timer | None = None
        self.losses = Losses(loop, lost)
        self.beginnings = Beginnings(place)
        self.attached: list[Connection] = []
        self.held_up = False
        self.first: Connection | None = None  # who is to have all of it, and is not attached yet
        self.expected: list[tuple[int, bool]] = []  # who was attached and comes back, as `returning` has them
        self.waiting: Timer | None = None  # for them
        self.complete: list[Callable[[], None]] = []  # to be done when they have

    def set_up(self, keep: dict[str, Any], folder: str, facts: dict[str, Any]) -> None:
        """Where its output is written down, opened when there is some; and whether its input ends with who types."""
        self.once = keep.get("stdin_once", False)

        def begin() -> Writer:
            about = {**facts, "env": tuple(facts["env"])}
            try:
                return open_writer(keep["log_driver"], keep["log_options"], folder, Facts(**about))
            except SpecError:  # somebody has written into container.json since it was checked
                return open_writer(DEFAULT, {}, folder, Facts(**about))

        self.log = begin

    def open(self, *, tty: bool, interactive: bool) -> tuple[list[int], dict[str, int]]:
        """Make its pipes: what it gets as 0, 1 and 2, and the other ends, by name, which the stage keeps open, too.

        Of a terminal there is nothing yet: it comes from the inside (`take_console`).
        """
        if tty:
            null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            return [null, null, null], {}
        made = pipes.make(self.place, interactive=interactive)
        self.input = made.input
        for number, name in PIPES.items():
            self._listen(made.held[name], number)
        return made.theirs, made.held

    def open_again(self, *, interactive: bool) -> None:
        """Find the pipes of one that runs; those for which there is no room now are found later."""
        try:
            for number in PIPES.keys() - self.outputs.values():
                self._listen(pipes.open_pipe(self.place, PIPES[number], os.O_RDONLY | os.O_NONBLOCK), number)
            if interactive:
                self.input = pipes.open_pipe(self.place, pipes.INPUT, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno not in {ENOENT, ENXIO}:  # somebody has removed them; it has closed its stdin
                self.reopening = self.loop.after(LATER, lambda: self.open_again(interactive=interactive))

    def take_begun(self) -> None:
        """The lines that another supervisor had begun to read: those who are attached have seen that much of them."""
        for number, name in PIPES.items():
            if begun := self.beginnings.take(name):
                self._write(number, begun)
                self._remember(number)

    def take_rest(self) -> None:
        """What the stage has found in the pipes at the end."""
        for number, name in PIPES.items():
            path = f"{self.place}/{name}{REST}"
            try:
                with open(path, "rb") as file:
                    rest = file.read()
            except FileNotFoundError:
                continue
            if rest:
                self._pass_on(number, rest)
                self._remember(number)
            os.unlink(path)

    def take_console(self, fd: int) -> None:
        """Its terminal, which is input and output in one."""
        os.set_blocking(fd, False)
        self.console = self.input = fd
        self._listen(fd, 1)

    def _listen(self, fd: int, number: int) -> None:
        self.outputs[fd] = number
        self._wait_for(fd)

    def _wait_for(self, fd: int) -> None:
        """Hear of what is wanted now; of nothing not at all, as the end of a pipe would be told all the same."""
        wanted = self._wanted(fd)
        if not wanted:
            self.loop.forget(fd)
        elif fd in self.loop.handlers:
            self.loop.change(fd, wanted)
        else:
            self.loop.watch(fd, lambda events: self._ready(fd, events), wanted)

    def _ready(self, fd: int, events: int) -> None:
        if events & WRITE:
            self._feed()
        if events & ~WRITE and fd in self.outputs:
            self._read(fd)

    # what it writes

    def _read(self, fd: int, most: int = CHUNK) -> int:
        """Take what there is; returns how many bytes, 0 when there was nothing, or never will be."""
        try:
            data = os.read(fd, min(most, CHUNK))
        except BlockingIOError:
            return 0
        except OSError:
            data = b""  # EIO: the last process on the terminal is gone
        if not data:
            self._close_output(fd)
            return 0
        number = self.outputs[fd]
        self._pass_on(number, data)
        if len(data) < CHUNK:  # that was all, and it may take a while until there is more
            self._remember(number)
        return len(data)

    def _pass_on(self, number: int, data: bytes) -> None:
        self._write(number, data)
        for conn in tuple(self.attached):  # one that is found to be gone leaves the list
            conn.send("out", number, data)
        if self.attached and not self.held_up and not self._has_room():
            self.held_up = True
            self._listen_again()

    def _write(self, number: int, data: bytes) -> None:
        if self.writer is None and self.log is not None:
            self.writer = self.log()
        if self.writer is not None:
            if b"\n" in data or len(self.writer.unfinished(NAMES[number])) + len(data) >= LONGEST:
                self.beginnings.drop(PIPES[number])
            self.writer.write(NAMES[number], data, time.time_ns())
            self.losses.look(self.writer)
            self.unfinished.said(data)

    def _has_room(self) -> bool:
        """Whether everybody takes some more at once."""
        found = [conn.has_room() for conn in tuple(self.attached)]  # all are asked: each is to tell when it has
        return all(found)

    def _flush(self) -> None:
        if self.writer is not None:
            for name in PIPES.values():
                self.beginnings.drop(name)
            self.writer.flush(time.time_ns())

    def _remember(self, number: int) -> None:
        """Who is killed has not lost the line that has begun."""
        begun = self.writer.unfinished(NAMES[number]) if self.writer is not None else b""
        if begun:
            self.beginnings.keep(PIPES[number], begun)
        else:
            self.beginnings.drop(PIPES[number])

    def hold_for(self, conn: Connection) -> None:
        """Take nothing until a command is attached that is to have all of it, in the hands of another of us as well."""
        self.held_up, self.first = True, conn
        self._write_down()

    def hold_no_more(self) -> None:
        """Whoever that was for is attached by now, or does not come."""
        self.first = None
        self.go_on()

    def go_on(self) -> None:
        """There may be room again at whoever was slow."""
        if self.held_up and self.first is None and not self.expected and self._has_room():
            self.held_up = False
            self._listen_again()

    def _listen_again(self) -> None:
        for fd in self.outputs:
            self._wait_for(fd)

    def _wanted(self, fd: int) -> int:
        return (0 if self.held_up else READ) | (WRITE if fd == self.console and self.typed else 0)

    # what it reads

    def type(self, conn: Connection, data: bytes) -> None:
        """What an attached command sends for its input; it hears of as many bytes as are taken."""
        if self.input < 0:
            conn.send("taken", len(data))
            return
        self.typed.append((conn, data))
        self._feed()

    def _feed(self) -> None:
        try:
            while self.typed:
                conn, data = self.typed[0]
                count = os.write(self.input, data)
                self.typed[:1] = [(conn, data[count:])] if count < len(data) else []
                conn.send("taken", count)
        except BlockingIOError:
            pass
        except OSError:
            typed, self.typed = self.typed, []
            for conn, data in typed:  # nobody reads it any more
                conn.send("taken", len(data))
        if self.input == self.console:
            self._wait_for(self.input)
        elif not self.typed:
            self.loop.forget(self.input)
        elif self.input not in self.loop.handlers:
            self.loop.watch(self.input, lambda _events: self._feed(), WRITE)
        if not self.typed and self.ending:
            self.no_more_input()

    def keyboard(self, conn: Connection) -> None:
        """The stdin of an attached command is its stdin from now on."""
        self.keyboards.append(conn)
        self._write_down()

    def end_of(self, conn: Connection) -> None:
        """Somebody types nothing more; that is the end of its stdin if it was made for one (docker's StdinOnce)."""
        if conn in self.keyboards:
            self.keyboards.remove(conn)
            self._write_down()
            self._keyboard_ended()

    def _keyboard_ended(self) -> None:
        self.ending = self.ending or self.once
        if self.ending and not self.typed:
            self.no_more_input()

    def no_more_input(self) -> None:
        """The end of its stdin; a terminal has none."""
        if self.input >= 0 and self.input != self.console:
            self.loop.forget(self.input)
            os.close(self.input)
            self.input = -1
            self.closed()
            pipes.remove(self.place, pipes.INPUT)  # nobody is to open it again

    def resize(self, rows: int, columns: int) -> None:
        """Give its terminal, which is there, another size."""
        terminal.set_window_size(self.console, rows, columns)

    # who is attached

    def attach(self, conn: Connection) -> None:
        """Give a command what it writes from now on."""
        self.attached.append(conn)
        if conn is self.first:
            self.first = None
        conn.relieved = self.go_on
        self._write_down()
        for each in self.expected:
            if each[0] == conn.pid:
                self.expected.remove(each)
                self._perhaps_complete()
                break

    def let_go(self, conn: Connection) -> None:
        """A command is gone, or has enough."""
        if conn in self.attached or conn is self.first:
            self.attached = [other for other in self.attached if other is not conn]
            self.first = None if conn is self.first else self.first
            self._write_down()
        self.typed = [(typist, data) for typist, data in self.typed if typist is not conn]
        self.end_of(conn)
        self.go_on()

    def _write_down(self) -> None:
        there = self.attached if self.first is None else [*self.attached, self.first]
        attached = [(conn.pid, conn in self.keyboards) for conn in there]
        returning.write_down(self.place, attached + self.expected)

    def wait_for_attached(self) -> None:
        """Take nothing until those are back that were attached when another supervisor was killed, or do not come."""
        self.expected, gone = returning.read_back(self.place)
        if self.expected:
            self.held_up = True
            self._listen_again()
            self.waiting = self.loop.after(returning.PATIENCE, self._give_them_up)
        if gone:
            self.complete.append(self._keyboard_ended)
        self._perhaps_complete()

    def _give_them_up(self) -> None:
        self.expected = []
        self._write_down()
        self._perhaps_complete()

    def when_complete(self, work: Callable[[], None]) -> None:
        """Call when nobody is waited for: at once, or later."""
        self.complete.append(work)
        self._perhaps_complete()

    def _perhaps_complete(self) -> None:
        if self.expected:
            return
        self.go_on()
        work, self.complete = self.complete, []
        for each in work:
            each()

    # the end

    def end(self) -> None:
        """Everybody who could write has ended: take what is left, and close all."""
        for fd in list(self.outputs):
            # it may have given its end to somebody who goes on: what comes from now on is not its own
            left = MOST_ON_TERMINAL if fd == self.console else terminal.bytes_waiting(fd)
            while fd in self.outputs and left > 0 and (taken := self._read(fd, left)):
                left -= taken
        self.no_more_input()
        self._flush()
        if self.writer is not None:
            self.losses.end(self.writer)
        self.drop()

    def drop(self) -> None:
        """Close all, whatever is in there, and call nobody any more: whoever takes it again finds it as it is."""
        for fd in list(self.outputs):
            self._close_output(fd)
        if self.input >= 0:
            self.loop.forget(self.input)
            os.close(self.input)
            self.input = -1
        for timer in filter(None, (self.waiting, self.reopening)):
            timer.cancel()
        self.unfinished.drop()
        self.losses.drop()
        if self.writer is not None:
            self.writer.close()
            self.writer = None
        self.held_up, self.first, self.typed = False, None, []
        self.expected, self.complete = [], []
        self.keyboards, self.ending = [], False

    def remove(self) -> None:
        """Remove the pipes."""
        for name in (pipes.INPUT, *PIPES.values(), returning.NAME):
            pipes.remove(self.place, name)

    def _close_output(self, fd: int) -> None:
        self.loop.forget(fd)
        del self.outputs[fd]
        if fd == self.console:
            self.console = self.input = -1
        os.close(fd)
