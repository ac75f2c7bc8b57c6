"""stdin, stdout and stderr of a command run from Python: where they come from, where they go.

Nothing is cut off silently: what the command writes is collected or passed on until the container has
ended and its pipes are empty. A reader inside that closes its stdin early ends the writing, quietly.
"""

from __future__ import annotations

import asyncio
import os
import select
from typing import TYPE_CHECKING, Any

from cloche.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.stage.client import Run

PIPE = -1  # as subprocess has them
DEVNULL = -3
CHUNK = 1 << 16


class Streams:
    """The descriptors of one command, and the work of feeding and draining them."""

    def __init__(self, stdin: Any, stdout: Any, stderr: Any) -> None:
        self._ours: set[int] = set()
        self._handed: list[int] = []
        self._sinks: dict[int, bytearray | Callable[[bytes], object]] = {}
        self._collected: list[bytearray | None] = [None, None]
        self._input = memoryview(b"")
        self._input_fd = -1
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
            read, write = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(write, False)
            self._handed.append(read)
            self._ours.add(write)
            self._input, self._input_fd = memoryview(stdin), write
            return read
        return _descriptor(stdin, "stdin")

    def _sink(self, output: Any, index: int) -> int:
        if output is None:
            return index + 1
        if isinstance(output, int) and output == DEVNULL:
            return self._null()
        if (isinstance(output, int) and output == PIPE) or callable(output):
            read, write = os.pipe2(os.O_CLOEXEC)
            self._handed.append(write)
            self._ours.add(read)
            if callable(output):
                self._sinks[read] = output
            else:
                buffer = bytearray()
                self._sinks[read], self._collected[index] = buffer, buffer
            return write
        return _descriptor(output, ("stdout", "stderr")[index])

    def handed_over(self) -> None:
        """The stage has its copies: let go of ours, so that end of file can be seen."""
        for fd in self._handed:
            os.close(fd)
        self._handed = []
        if self._input_fd >= 0 and not self._input:
            self._end(self._input_fd)

    def collected(self) -> list[bytearray | None]:
        """What was written to stdout and stderr, where it was to be collected."""
        return self._collected

    def close(self) -> None:
        """Close what is still open of ours."""
        for fd in [*self._ours, *self._handed]:
            os.close(fd)
        self._ours, self._handed = set(), []

    def _end(self, fd: int) -> None:
        os.close(fd)
        self._ours.discard(fd)
        self._sinks.pop(fd, None)
        if fd == self._input_fd:
            self._input_fd = -1

    def _serve(self, fd: int) -> bool:
        """Read or write once; False when this descriptor is done with."""
        if fd == self._input_fd:
            try:
                self._input = self._input[os.write(fd, self._input[:CHUNK]) :]
            except BlockingIOError:
                return True
            except BrokenPipeError:
                self._input = memoryview(b"")  # the command has closed its stdin: the rest is not wanted
            return bool(self._input)
        data = os.read(fd, CHUNK)
        sink = self._sinks[fd]
        if data:
            if isinstance(sink, bytearray):
                sink += data
            else:
                sink(data)
        return bool(data)

    def wait(self, run: Run, heard: Callable[[tuple[Any, ...]], None]) -> dict[str, Any]:
        """Feed and drain until the container has ended; returns the stage's report."""
        poll = select.poll()
        poll.register(run.fileno(), select.POLLIN)
        for fd in self._sinks:
            poll.register(fd, select.POLLIN)
        if self._input_fd >= 0:
            poll.register(self._input_fd, select.POLLOUT)
        ended: dict[str, Any] | None = None
        while ended is None:
            for fd, _ in poll.poll():
                if fd == run.fileno():
                    ended = _news(run, heard)
                elif not self._serve(fd):
                    poll.unregister(fd)
                    self._end(fd)
        self._drain()
        return ended

    async def wait_async(self, run: Run, heard: Callable[[tuple[Any, ...]], None]) -> dict[str, Any]:
        """The same on the running event loop; cancelling it leaves, and the stage ends the container."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        report: dict[str, Any] = {}
        watched: set[int] = {run.fileno(), *self._sinks}

        def guard(work: Callable[[], None]) -> None:
            try:
                work()
            except Exception as error:
                if not done.done():
                    done.set_exception(error)
                return
            if report and not done.done():
                done.set_result(None)

        def news() -> None:
            ended = _news(run, heard)
            if ended is not None:
                report.update(ended)
                loop.remove_reader(run.fileno())
                watched.discard(run.fileno())

        def serve(fd: int) -> None:
            if not self._serve(fd):
                if fd == self._input_fd:
                    loop.remove_writer(fd)
                else:
                    loop.remove_reader(fd)
                    watched.discard(fd)
                self._end(fd)

        loop.add_reader(run.fileno(), guard, news)
        for fd in self._sinks:
            loop.add_reader(fd, guard, lambda fd=fd: serve(fd))
        if self._input_fd >= 0:
            loop.add_writer(self._input_fd, guard, lambda fd=self._input_fd: serve(fd))
        try:
            await done
        finally:
            for fd in watched:
                loop.remove_reader(fd)
            if self._input_fd >= 0:
                loop.remove_writer(self._input_fd)
        self._drain()
        return report

    def _drain(self) -> None:
        """After the end: take what is in the pipes, but wait for nobody who may still hold them."""
        poll = select.poll()
        for fd in self._sinks:
            poll.register(fd, select.POLLIN)
        while self._sinks and (ready := poll.poll(0)):
            for fd, _ in ready:
                if not self._serve(fd):
                    poll.unregister(fd)
                    self._end(fd)


def _news(run: Run, heard: Callable[[tuple[Any, ...]], None]) -> dict[str, Any] | None:
    message, fds = run.receive()
    for fd in fds:
        os.close(fd)
    if message[0] == "ended":
        return dict(message[1])
    heard(message)
    return None


def _descriptor(value: Any, what: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    try:
        return int(value.fileno())
    except (AttributeError, OSError, ValueError):
        raise SpecError(f"{what} {value!r} is neither a file, a descriptor, PIPE nor DEVNULL") from None
