"""`cloche.run` and `cloche.run_async`: subprocess.run's shape, in a container, with reason and receipt.

One stage, a child process of its own, serves all calls of this program from the first one on. Any thread
may call; each call waits on descriptors of its own:

    caller's thread ── plan, stdin/out/err ──▶ stage ──▶ the command
         ▲  ▲ ▲                                 │           │
         │  └─┴───────── pipes ◀────────────────┼───────────┘
         └─ ended ◀─────────────────────────────┘
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from cloche.engine import records
from cloche.engine.keeping import Keep
from cloche.errors import RunError, SpecError
from cloche.linux.files import hold_standard_descriptors
from cloche.sandbox.image import fetch_image, to_fetch
from cloche.sandbox.keywords import command_of, options_of
from cloche.sandbox.known import known_of, passing
from cloche.sandbox.options import Options
from cloche.sandbox.results import Result, conclude
from cloche.sandbox.running import Prepared, is_recorded, prepare
from cloche.sandbox.streams import DEVNULL, PIPE, Streams
from cloche.stage.client import Stage, spawn_stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import IO

    from cloche.engine.passing import Passing

    Input = None | int | str | bytes | IO[Any]
    Output = None | int | IO[Any] | Callable[[bytes], object]

__all__ = ["DEVNULL", "PIPE", "run", "run_async"]

_stages: dict[bool, Stage] = {}
_sessions: WeakSet[_Session] = WeakSet()  # those that hold descriptors
_lock = threading.Lock()


def run(
    args: Sequence[str] | str,
    image: str = "host",
    *,
    rootfs: str | os.PathLike[str] | None = None,
    stdin: Input = None,
    stdout: Output = PIPE,
    stderr: Output = PIPE,
    text: bool = True,
    env: Mapping[str, str] | None = None,
    volumes: Iterable[str] = (),
    memory: str | int | None = None,
    cpus: str | float | None = None,
    pids: int | None = None,
    timeout: float | str | None = None,
    network: str = "none",
    workdir: str | None = None,
    user: str | int | None = None,
    check: bool = False,
    **options: Any,
) -> Result:
    """Run a command in a new container and wait for its end.

    args      the command and its arguments; a string is given to `sh -c`
    image     "host", this machine's own system under a throwaway layer; or an image's name ("debian:12") or ID,
              which is fetched where it is missing (pull="never", "always", "newer")
    rootfs    a directory to use as the root instead; "DIR:rw" to change it for good
    stdin     None for empty, str or bytes to be read, a file or descriptor
    stdout    PIPE to collect, DEVNULL, None for the caller's own, a file or descriptor, or a
              callable that is given each part as bytes; stderr likewise
    text      collected output as str (UTF-8; bytes that are not are kept by surrogateescape), else bytes
    env       variables to add to the clean environment
    volumes   "SOURCE:TARGET[:ro]", as docker's -v
    memory    the most memory everything inside may use, bytes or "256m"
    cpus      the most processor time, in processors
    pids      the most processes and threads
    timeout   seconds, or "1m30s", after which everything inside is killed (exit code 124)
    network   "none", "host", "ns:PATH", "container:NAME"
    check     raise RunError, which carries the result, unless the exit code is 0
    options   everything else `cloche run` can be asked, by its name there: cap_drop=["ALL"],
              read_only=True, tmpfs=["/scratch"], hostname="x", allow_unenforced=True, …

    Raises ClocheError: SpecError, NotFoundError, UnsupportedError before anything was started,
    StageError when a step of setting up failed, RunError with `check`.
    """
    session = _Session(_options(args, image, locals(), options), stdin, stdout, stderr)
    with session:
        ended = session.streams.wait(session.run, session.heard)
        return session.result(ended, text=text, check=check)


async def run_async(args: Sequence[str] | str, image: str = "host", **options: Any) -> Result:
    """The same as `run`, awaitable; cancelling it ends everything inside."""
    known = {name: options.pop(name) for name in ("stdin", "stdout", "stderr", "text", "check") if name in options}
    loop = asyncio.get_running_loop()
    merged = _options(args, image, _DEFAULTS | options, {k: v for k, v in options.items() if k not in _DEFAULTS})
    outputs = known.get("stdout", PIPE), known.get("stderr", PIPE)
    made: Future[_Session] = Future()
    loop.run_in_executor(None, _make_session, made, merged, known.get("stdin"), *outputs)
    try:
        session = await asyncio.wrap_future(made)
    except asyncio.CancelledError:
        made.add_done_callback(_give_back)
        raise
    with session:
        ended = await session.streams.wait_async(session.run, session.heard)
        return session.result(ended, text=known.get("text", True), check=known.get("check", False))


def _make_session(made: Future[_Session], options: Options, stdin: Input, stdout: Output, stderr: Output) -> None:
    """Prepare a session in this thread, unless nobody wants it any more."""
    if not made.set_running_or_notify_cancel():
        return
    try:
        session = _Session(options, stdin, stdout, stderr)
    except BaseException as error:
        made.set_exception(error)
    else:
        made.set_result(session)


def _give_back(made: Future[_Session]) -> None:
    """End a session that became ready after its caller had been cancelled."""
    if not made.cancelled() and made.exception() is None:
        made.result().close()


_DEFAULTS: dict[str, Any] = {
    "rootfs": None,
    "env": None,
    "volumes": (),
    "memory": None,
    "cpus": None,
    "pids": None,
    "timeout": None,
    "network": "none",
    "workdir": None,
    "user": None,
}


def _options(args: Sequence[str] | str, image: str, given: Mapping[str, Any], more: Mapping[str, Any]) -> Options:
    """Options from the keywords of `run`."""
    command = command_of(args)
    if not command and not more.get("entrypoint"):
        raise SpecError("the command is empty", hint="such as cloche.run(['id', '-u'])")
    return options_of("run", command, image, {**{k: given[k] for k in _DEFAULTS}, **more}, without=_COMMAND_LINE_ONLY)


_COMMAND_LINE_ONLY = frozenset({"tty", "interactive"})


class _Session:
    """One call: what was prepared, its streams, and its run on the stage."""

    def __init__(self, options: Options, stdin: Input, stdout: Output, stderr: Output) -> None:
        hold_standard_descriptors()
        self.options = options
        self.told: Passing | None = None  # others can see it, and hear of it
        if to_fetch(options):
            fetch_image(options)
        self.prepared: Prepared = prepare(options)
        try:
            self.streams = Streams(stdin, stdout, stderr)
            _sessions.add(self)
            try:
                self.run = _stage(sealed=self.prepared.sealed).run(self.prepared.plan, self.streams.theirs)
            except BaseException:
                self.streams.close()
                raise
            self.streams.handed_over()
        except BaseException:
            self.prepared.close()
            raise

    def __enter__(self) -> _Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of everything; what still runs inside is ended by the stage."""
        _sessions.discard(self)
        self._over(None)
        self.run.close()
        self.streams.close()
        self.prepared.close()

    def forget(self) -> None:
        """In a fork: let go of descriptors that keep the parent's container waiting, and change nothing else."""
        self.streams.close()
        if hasattr(self, "run"):
            self.run.sock.close()

    def heard(self, message: tuple[Any, ...]) -> None:
        """News from the stage before the end."""
        if message[0] == "started" and is_recorded(self.options):
            known = known_of(self.options, Keep(auto_remove=True), self.prepared)
            records.add({**self.prepared.record(self.options, message[1]), "known": known}, self.run.stage)
            if self.options.name:
                self.told = passing(self.options, self.prepared)
                self.told.made()
        elif message[0] == "executed" and self.told is not None:
            self.told.executed()

    def _over(self, report: dict[str, Any] | None) -> None:
        told, self.told = self.told, None
        if told is not None:
            told.ended(report)

    def result(self, ended: dict[str, Any], *, text: bool, check: bool) -> Result:
        """The result, with what was collected."""
        self._over(ended)
        collected = [None if data is None else bytes(data) for data in self.streams.collected()]
        if text:
            output = [None if data is None else data.decode("utf-8", "surrogateescape") for data in collected]
            result = conclude(self.prepared, ended, *output)
        else:
            result = conclude(self.prepared, ended, *collected)
        if check and result.exit_code != 0:
            raise RunError(f"{self.options.command[0]}: {result.reason.text}", result, hint=result.reason.hint)
        return result


def _stage(*, sealed: bool) -> Stage:
    """This program's stage, started at the first call and again if it was killed."""
    with _lock:
        stage = _stages.get(sealed)
        if stage is None or not stage.alive():
            if stage is not None:
                stage.control.close()
            stage = _stages[sealed] = spawn_stage(sealed=sealed)
        return stage


def _end_stages() -> None:
    """At the program's end: no stage, and nothing that runs in one, is there any longer."""
    with _lock:
        for stage in _stages.values():
            stage.close()
        _stages.clear()


def _forget_stages() -> None:
    """In a fork: stage and containers belong to the parent, and must not be kept waiting by us."""
    global _lock
    _lock = threading.Lock()
    for stage in _stages.values():
        stage.control.close()
    _stages.clear()
    for session in list(_sessions):
        session.forget()
    _sessions.clear()


os.register_at_fork(after_in_child=_forget_stages)
atexit.register(_end_stages)
