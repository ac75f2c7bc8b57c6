"""One more process in a container of an engine, for a program: by a `cloche exec` of its own.

    program ── stdin ──▶ cloche exec ── makes ──▶ the new process, its child
            ◀── stdout, stderr, exit code ──┘

A program may have threads, and nothing may be forked from one that has: so the command does it, lean and alone, with
the seal that the container may need. When it is killed, as by cancelling, the new process ends with it; what that has
started itself is the container's, and ends with the container. The end is that of the process, whoever may still hold
its streams open.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading

from cloche.errors import SpecError
from cloche.linux.files import hold_standard_descriptors
from cloche.records import record
from cloche.sandbox.engine_values import finished
from cloche.sandbox.keywords import command_of
from cloche.sandbox.streams import PIPE, Streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Self

    from cloche.sandbox.engine_values import Finished


@record
class Asked:
    """What is to be run: the words of a `cloche exec`, its environment, and what the new process is given to read."""

    argv: list[str]
    env: dict[str, str]
    stdin: bytes | None
    timeout: float | None


def asked(
    container_id: str,
    args: Sequence[str] | str,
    directories: Mapping[str, str],
    *,
    stdin: str | bytes | None,
    env: Mapping[str, str] | None,
    workdir: str,
    user: str | int,
    privileged: bool,
    timeout: float | None,
) -> Asked:
    """The command for it; the rest as for `Container.exec`. Raises SpecError."""
    words = ["exec"]
    for key, value in (env or {}).items():
        if not isinstance(key, str) or not isinstance(value, str) or not key or "=" in key:
            raise SpecError(f"env: {key!r}: {value!r} is no variable", hint="a str with a str, and no = in the name")
        words += ["--env", f"{key}={value}"]
    words += ["--workdir", workdir] if workdir else []
    words += ["--user", str(user)] if user != "" else []
    words += ["--privileged"] if privileged else []
    words += ["--interactive"] if stdin is not None else []
    command = command_of(args)
    if not command:
        raise SpecError("the command is empty", hint="such as container.exec(['id', '-u'])")
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    code = f"import sys; sys.path.insert(0, {root!r}); from cloche.cli.main import entry; entry()"
    argv = [sys.executable, "-I", "-S", "-B", "-c", code, *words, "--", container_id, *command]
    given = stdin.encode("utf-8", "surrogateescape") if isinstance(stdin, str) else stdin
    return Asked(argv, {**os.environ, **directories}, given, timeout)


def run(what: Asked, *, text: bool) -> Finished:
    """Have it run, and wait for its end. Raises TimeoutError."""
    with _Process(what) as process:
        timer = threading.Timer(what.timeout, process.kill) if what.timeout is not None else None
        if timer is not None:
            timer.start()
        try:
            process.streams.wait(process, _ignore)
        finally:
            if timer is not None:
                timer.cancel()
                timer.join()
        return process.finished(text=text)


async def run_async(what: Asked, *, text: bool) -> Finished:
    """The same on the event loop; cancelling it ends the new process."""
    with _Process(what) as process:
        if what.timeout is not None:
            timer = asyncio.get_running_loop().call_later(what.timeout, process.kill)
        try:
            await process.streams.wait_async(process, _ignore)
        finally:
            if what.timeout is not None:
                timer.cancel()
        return process.finished(text=text)


class _Process:
    """The command, and its streams."""

    def __init__(self, what: Asked) -> None:
        hold_standard_descriptors()
        self._what, self._killed = what, False
        self.streams = Streams(what.stdin, PIPE, PIPE)
        try:
            stdin, stdout, stderr = self.streams.theirs
            self._process = subprocess.Popen(what.argv, stdin=stdin, stdout=stdout, stderr=stderr, env=what.env)
            self._pidfd = os.pidfd_open(self._process.pid)
            self.streams.handed_over()
        except BaseException:
            self.streams.close()
            raise

    def fileno(self) -> int:
        """Readable at its end."""
        return self._pidfd

    def receive(self) -> tuple[tuple[Any, ...], list[int]]:
        """How it ended."""
        return ("ended", {"exit_code": self._process.wait()}), []

    def kill(self) -> None:
        """End it: it is late."""
        self._killed = True
        self._process.kill()

    def finished(self, *, text: bool) -> Finished:
        """What came of it. Raises TimeoutError."""
        code = self._process.wait()
        if self._killed and code == -signal.SIGKILL:
            raise TimeoutError(f"the command did not end within {self._what.timeout:g} s, and was killed")
        out, err = (bytes(part or b"") for part in self.streams.collected())
        return finished(code if code >= 0 else 128 - code, out, err, text=text)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._pidfd)
        self.streams.close()


def _ignore(_message: tuple[Any, ...]) -> None:
    """There is no news before the end."""
