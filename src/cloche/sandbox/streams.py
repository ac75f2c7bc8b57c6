"""stdin, stdout and stderr of a command run from Python: where they come from, where they go.

Nothing is cut off silently: what the command writes is collected or passed on until the container has
ended and its pipes are empty. A reader inside that closes its stdin early ends the writing, quietly.
Terminals and files stay out of the command's reach: a pipe stands between.
"""

from __future__ import annotations

import asyncio
import os
import select
from typing import TYPE_CHECKING, Any

from cloche.errors import SpecError
from cloche.linux.files import only_conveys

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Running(Protocol):
        """What runs with the streams: `stage.client.Run`, and its like."""

        def fileno(self) -> int:
            """Readable when there is news."""

        def receive(self) -> tuple[tuple[Any, ...], list[int]]:
            """The next message and its descriptors: the last one is "ended" with a report."""


PIPE = -1  # as subprocess has them
DEVNULL = -3
CHUNK = 1 << 16


class Streams:
    """The descriptors of one command, and the work of feeding and draining them."""

    def __init__(self, stdin: Any, stdout: Any, stderr: Any) -> None:
        self._ours: set[int] = set()
        self._ended: list[int] = []  # of ours, to be closed
        self._handed: list[int] = []
        # read here: to be collected, passed on, or written to a descriptor, which is a file's or a terminal's
        self._sinks: dict[int, bytearray | int | Callable[[bytes], object]] = {}
        self._passed: list[tuple[int, int]] = []  # a descriptor among these, and the pipe that leads there
        self._collected: list[bytearray | None] = [None, None]
        self._input = memoryview(b"")
        self._input_fd = -1
        self._keyboard = -1  # a terminal or a file: where the input comes from
        self._typed = False  # by somebody, who is to be waited for: a file has all of it at once
        try:
            self.theirs = [self._source(stdin), self._sink(stdout, 0), self._sink(stderr, 1)]
        except BaseException:
            self.close()
            raise

    def _null(self) -> int:
        fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._handed.append(fd)
        return fd

    def _source(self, stdin: Any) -> int:
        if stdin is None or stdin == DEVNULL:
            return self._null()
        if isinstance(stdin, str):
            stdin = stdin.encode("utf-8", "surrogateescape")
        if isinstance(stdin, bytes | bytearray | memoryview):
            self._input = memoryview(bytes(stdin))  # bytes: what a memoryview has may be larger items
            return self._fed()
        fd = _descriptor(stdin, "stdin")
        if only_conveys(fd):
            return fd
        self._keyboard = os.dup(fd)  # an event loop may be watching the caller's own
        self._ours.add(self._keyboard)
        self._typed = os.isatty(fd)
        return self._fed()

    def _fed(self) -> int:
        """The end of a pipe into which we write."""
        read, write = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(write, False)
        self._handed.append(read)
        self._ours.add(write)
        self._input_fd = write
        return read

    def _sink(self, output: Any, index: int) -> int:
        if isinstance(output, int) and output == DEVNULL:
            return self._null()
        if isinstance(output, int) and output == PIPE:
            buffer = self._collected[index] = bytearray()
            return self._drained(buffer)
        if callable(output):
            return self._drained(output)
        fd = _descriptor(index + 1 if output is None else output, ("stdout", "stderr")[index])
        if only_conveys(fd):
            return fd
        for ours, theirs in self._passed:
            if os.path.sameopenfile(ours, fd):
                return theirs  # one pipe for both keeps what is written to them in its order
        ours = os.dup(fd)  # the caller may close it before the command has ended
        self._ours.add(ours)
        self._passed.append((ours, self._drained(ours)))
        return self._passed[-1][1]

    def _drained(self, sink: bytearray | int | Callable[[bytes], object]) -> int:
        """The end of a pipe from which we read for `sink`."""
        read, write = os.pipe2(os.O_CLOEXEC)
        self._handed.append(write)
        self._ours.add(read)
        self._sinks[read] = sink
        return write

    def handed_over(self) -> None:
        """The stage has its copies: let go of ours, so that end of file can be seen."""
        handed, self._handed = self._handed, []
        for fd in handed:
            os.close(fd)
        if self._input_fd >= 0 and self._keyboard < 0 and not self._input:
            self._end(self._input_fd)
        self._close_ended()

    def collected(self) -> list[bytearray | None]:
        """What was written to stdout and stderr, where it was to be collected."""
        return self._collected

    def close(self) -> None:
        """Close what is still open of ours."""
        # a fork in another thread may close what is in these: never a number that is free again
        ours, self._ours, self._handed, self._ended = [*self._ours, *self._handed], set(), [], []
        for fd in ours:
            os.close(fd)

    def _end(self, fd: int) -> None:
        """Be done with a descriptor; it is closed when nobody watches it any more."""
        self._sinks.pop(fd, None)
        if fd == self._input_fd:
            self._input_fd = -1
        self._ended.append(fd)

    def _close_ended(self) -> None:
        while self._ended:
            fd = self._ended.pop()
            self._ours.discard(fd)
            os.close(fd)

    def _wanted(self) -> tuple[set[int], set[int]]:
        """What to wait for: descriptors to read, descriptors to write."""
        if self._input_fd < 0:
            return {*self._sinks}, set()
        if self._input or not self._typed:
            return {*self._sinks}, {self._input_fd}
        return {*self._sinks, self._keyboard}, set()  # nothing is typed ahead of what was taken

    def _serve(self, fd: int) -> None:
        """Read or write once, and let go of a descriptor that is done with."""
        if fd == self._input_fd:
            self._feed()
        elif fd == self._keyboard:
            self._type()
        else:
            data = os.read(fd, CHUNK)
            if not data or not _pass_on(data, self._sinks[fd]):
                self._end(fd)

    def _feed(self) -> None:
        if not self._input and self._keyboard >= 0:
            self._type()
            if not self._input:
                return
        try:
            self._input = self._input[os.write(self._input_fd, self._input[:CHUNK]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:  # the command has closed its stdin: the rest is not wanted
            self._end(self._input_fd)
            return
        if not self._input and self._keyboard < 0:
            self._end(self._input_fd)

    def _type(self) -> None:
        try:
            self._input = memoryview(os.read(self._keyboard, CHUNK))
        except OSError:
            if not self._typed:
                raise
            self._input = memoryview(b"")  # EIO: the window was closed
        if not self._input:
            self._end(self._input_fd)

    def wait(self, run: Running, heard: Callable[[tuple[Any, ...]], None]) -> dict[str, Any]:
        """Feed and drain until the container has ended; returns the stage's report."""
        ended: dict[str, Any] | None = None
        while ended is None:
            poll = select.poll()
            reading, writing = self._wanted()
            for fd in (run.fileno(), *reading):
                poll.register(fd, select.POLLIN)
            for fd in writing:
                poll.register(fd, select.POLLOUT)
            for fd, _ in poll.poll():
                if fd == run.fileno():
                    ended = _news(run, heard)
                else:
                    self._serve(fd)
            self._close_ended()
        self._drain()
        return ended

    async def wait_async(self, run: Running, heard: Callable[[tuple[Any, ...]], None]) -> dict[str, Any]:
        """The same on the running event loop; cancelling it leaves, and the stage ends the container."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        report: dict[str, Any] = {}
        reading: set[int] = set()
        writing: set[int] = set()

        def watch(to_read: set[int], to_write: set[int]) -> None:
            for fd in reading - to_read:
                loop.remove_reader(fd)
            for fd in writing - to_write:
                loop.remove_writer(fd)
            for fd in to_read - reading:
                loop.add_reader(fd, serve, fd)
            for fd in to_write - writing:
                loop.add_writer(fd, serve, fd)
            reading.clear()
            reading.update(to_read)
            writing.clear()
            writing.update(to_write)

        def serve(fd: int) -> None:
            if done.done():
                return
            try:
                if fd == run.fileno():
                    report.update(_news(run, heard) or {})
                else:
                    self._serve(fd)
            except Exception as error:
                done.set_exception(error)
                return
            if report:
                done.set_result(None)
                return
            to_read, to_write = self._wanted()
            watch({run.fileno(), *to_read}, to_write)
            self._close_ended()

        to_read, to_write = self._wanted()
        watch({run.fileno(), *to_read}, to_write)
        try:
            await done
        finally:
            watch(set(), set())
        self._drain()
        return report

    def _drain(self) -> None:
        """After the end: take what is in the pipes, but wait for nobody who may still hold them."""
        poll = select.poll()
        for fd in self._sinks:
            poll.register(fd, select.POLLIN)
        while self._sinks and (ready := poll.poll(0)):
            for fd, _ in ready:
                self._serve(fd)
                if fd not in self._sinks:
                    poll.unregister(fd)
            self._close_ended()


def _news(run: Running, heard: Callable[[tuple[Any, ...]], None]) -> dict[str, Any] | None:
    message, fds = run.receive()
    for fd in fds:
        os.close(fd)
    if message[0] == "ended":
        return dict(message[1])
    heard(message)
    return None


def _pass_on(data: bytes, sink: bytearray | int | Callable[[bytes], object]) -> bool:
    """Give what was read to whom it is for; False when nobody takes it any more."""
    if isinstance(sink, bytearray):
        sink += data
    elif isinstance(sink, int):
        return _write_whole(sink, data)
    else:
        sink(data)
    return True


def _write_whole(target: int, data: bytes) -> bool:
    while data:
        try:
            data = data[os.write(target, data) :]
        except BlockingIOError:
            select.select([], [target], [])
        except OSError:
            if not os.isatty(target):
                raise
            return False  # the window was closed
    return True


def _descriptor(value: Any, what: str) -> int:
    fd = value
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        try:
            fd = int(value.fileno())
        except (AttributeError, OSError, ValueError):
            raise SpecError(f"{what} {value!r} is neither a file, a descriptor, PIPE nor DEVNULL") from None
    try:
        os.fstat(fd)
    except (OSError, OverflowError):
        raise SpecError(f"{what}: the descriptor {fd} is not open") from None
    return int(fd)
