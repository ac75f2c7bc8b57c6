# large: one class with a short method for each verb about a container, which are looked for in one place
"""The containers of an engine: `engine.containers`, and one of them, with a method for each verb of the command line.

What a `Container` knows of itself is how it stood when it was last looked at: by `reload`, and by every method that
changes something.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Literal, NamedTuple, overload

from cloche.engine import clock, execs, pausing, renaming, saying, stopping
from cloche.engine import containers as known
from cloche.engine.changes import differences
from cloche.engine.events import tell
from cloche.engine.filtering import chosen, parse_filters
from cloche.engine.reason import Reason
from cloche.engine.removing import remove
from cloche.engine.signals import signal_number
from cloche.engine.supervisor.client import GoneError, attach
from cloche.errors import NotFoundError
from cloche.runtime.receipt import Receipt
from cloche.sandbox import engine_exec, keeping
from cloche.sandbox.engine_values import filter_texts, finished, nanoseconds
from cloche.sandbox.engine_waiting import awaited, following, inside
from cloche.sandbox.image import fetch_image, to_fetch, unpacking
from cloche.sandbox.inspecting import inspect_container, read_document
from cloche.sandbox.keywords import KEPT, command_of, keep_of, options_of

if TYPE_CHECKING:
    import builtins
    from collections.abc import AsyncIterator, Iterator, Sequence
    from typing import Any

    from cloche.engine.keeping import Keep
    from cloche.engine.logs.records import Record
    from cloche.sandbox.engine import Engine
    from cloche.sandbox.engine_values import Filters, Finished, Moment
    from cloche.sandbox.options import Options


class Said(NamedTuple):
    """A part of what a container has said: when, in nanoseconds since 1970; "stdout" or "stderr"; and what."""

    time_ns: int
    stream: str
    data: bytes


class Container:
    """A container of an engine, kept until it is removed."""

    def __init__(self, engine: Engine, found: known.Container) -> None:
        self._engine, self._found = engine, found

    def __repr__(self) -> str:
        return f"<cloche.Container: {self.name} {self.id[:12]} {self.status}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Container) and (self.id, self._found.folder) == (other.id, other._found.folder)

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def id(self) -> str:
        """64 hexadecimal digits."""
        return self._found.id

    @property
    def name(self) -> str:
        """Its name."""
        return self._found.name

    @property
    def image(self) -> str:
        """The image it was made of, as it was named then; of a directory its path."""
        return str(self._found.known["image"])

    @property
    def labels(self) -> dict[str, str]:
        """Its labels."""
        return dict(self._found.known["labels"])

    @property
    def status(self) -> str:
        """created, running, paused, restarting, exited, removing or dead."""
        return self._found.status

    @property
    def exit_code(self) -> int | None:
        """What it exited with, the last time; None while it runs, before it ever did, and where nobody has seen it."""
        state = self._found.state
        ended = state["finished_at"] and self.status not in known.ALIVE
        return state["exit_code"] if ended else None

    @property
    def reason(self) -> Reason | None:
        """What ended it, the last time; None before that."""
        return _reason(self._found.state["reason"])

    @property
    def health(self) -> str:
        """starting, healthy or unhealthy; none where nobody asks."""
        return str((self._found.state["health"] or {}).get("status") or "none")

    @property
    def receipt(self) -> Receipt | None:
        """Each layer of isolation, enforced or not, and why; None of one that was never started."""
        raw = read_document(f"{self._found.folder}/receipt.json") if self._found.kept else {}
        return Receipt.of(raw) if raw else None

    @property
    def attrs(self) -> dict[str, Any]:
        """All there is to know, as `cloche inspect` prints it, looked up now."""
        with self._engine.here():
            return inspect_container(known.settled(known.find(self.id)))

    def reload(self) -> None:
        """Look how it stands. Raises NotFoundError where it is gone."""
        with self._engine.here():
            self._found = known.settled(known.find(self.id))

    def start(self) -> None:
        """Start it, unless it runs.

        Raises StageError where it cannot be set up, NotExecutedError for its command's sake, and other ClocheErrors.
        """
        with self._engine.here():
            keeping.start(known.find(self.id))
        self.reload()

    def stop(self, *, signal: str | int | None = None, timeout: float | None = None) -> None:
        """Have it end: its stop signal, or that given, and after `timeout` seconds the end of everything inside.

        None is what it was made with, else 10 seconds; below zero there is no such end. Nothing for one that does not
        run.
        """
        with self._engine.here():
            stopping.stop(known.find(self.id), signal, timeout)
        self._look()

    def restart(self, *, signal: str | int | None = None, timeout: float | None = None) -> None:
        """`stop`, if it runs, and `start`."""
        with self._engine.here():
            keeping.restart(known.find(self.id), signal, timeout)
        self.reload()

    def kill(self, signal: str | int = "KILL") -> None:
        """Send a signal to its first process. Raises ConflictError where it does not run, SpecError for no signal."""
        with self._engine.here():
            stopping.kill(known.find(self.id), signal_number(signal))
        self._look()

    def pause(self) -> None:
        """Freeze all its processes. Raises ConflictError, and UnsupportedError where there is no group for that."""
        with self._engine.here():
            pausing.pause(known.find(self.id))
        self.reload()

    def unpause(self) -> None:
        """Let them go on. Raises ConflictError where they do."""
        with self._engine.here():
            pausing.unpause(known.find(self.id))
        self.reload()

    def rename(self, name: str) -> None:
        """Call it otherwise. Raises SpecError for what is no name, and ConflictError for one that is taken."""
        with self._engine.here():
            renaming.rename(known.find(self.id), name)
        self.reload()

    def remove(self, *, force: bool = False, volumes: bool = False) -> None:
        """Remove it, with `volumes` those of its volumes that have no name; `force` ends it first where it runs.

        Raises ConflictError for one that runs, and NotFoundError for one that is gone.
        """
        with self._engine.here():
            remove(known.find(self.id), force=force, volumes=volumes)

    def wait(self) -> int | None:
        """Wait until it does not run; returns its exit code, None where nobody has seen it. See `wait_async`."""
        with self._engine.here():
            code = stopping.wait(known.find(self.id))
        self._look(code)
        return code

    async def wait_async(self) -> int | None:
        """The same on an event loop; cancelling it leaves the container as it is."""
        code = await awaited(self._engine, lambda leave: stopping.wait(known.find(self.id), leave=leave))
        self._look(code)
        return code

    def logs(
        self,
        *,
        since: Moment | None = None,
        until: Moment | None = None,
        tail: int | None = None,
        follow: bool = False,
    ) -> Iterator[Said]:
        """What it has said, as (time_ns, stream, data): what was said at one time, lines or a part of one.

        since, until   seconds since 1970, or a datetime with its zone
        tail           so many lines from the end; None for all
        follow         go on until it ends

        Raises ConflictError, with the first item, where the log driver keeps nothing that could be read.
        """
        return inside(self._engine, self._logs(since, until, tail, follow=follow, leave=-1))

    def logs_async(
        self,
        *,
        since: Moment | None = None,
        until: Moment | None = None,
        tail: int | None = None,
        follow: bool = False,
    ) -> AsyncIterator[Said]:
        """The same for `async for`; leaving the loop, and cancelling, ends it at once."""
        return following(self._engine, lambda leave: self._logs(since, until, tail, follow=follow, leave=leave))

    def _logs(
        self, since: Moment | None, until: Moment | None, tail: int | None, *, follow: bool, leave: int
    ) -> Iterator[Said | None]:
        found = saying.said(
            [known.settled(known.find(self.id))],
            since_ns=nanoseconds(since),
            until_ns=nanoseconds(until),
            tail=tail,
            follow=follow,
            leave=leave,
        )
        with closing(found):
            for _, record in found:
                yield _said(record)

    def exec(
        self,
        args: Sequence[str] | str,
        *,
        stdin: str | bytes | None = None,
        text: bool = True,
        env: dict[str, str] | None = None,
        workdir: str = "",
        user: str | int = "",
        privileged: bool = False,
        timeout: float | None = None,
    ) -> Finished:
        """Run one more command in it, and wait for its end.

        args        the command and its arguments; a string is given to `sh -c`
        stdin       what it reads; None for nothing
        text        what it writes as str (UTF-8, surrogateescape), else bytes
        env         more variables; the container's are there
        workdir     where it begins, and `user` who it is: NAME, UID or UID:GID; "" for what the container has
        privileged  without the container's limits on powers
        timeout     seconds, after which it is killed; what it has started itself stays

        Returns exit code, stdout and stderr. One that cannot be executed has 126 or 127 and the reason in stderr, as
        at the command line. Raises ConflictError where the container does not run or is paused, and TimeoutError.
        """
        what = self._asked(
            args, stdin=stdin, env=env, workdir=workdir, user=user, privileged=privileged, timeout=timeout
        )
        return engine_exec.run(what, text=text)

    async def exec_async(
        self,
        args: Sequence[str] | str,
        *,
        stdin: str | bytes | None = None,
        text: bool = True,
        env: dict[str, str] | None = None,
        workdir: str = "",
        user: str | int = "",
        privileged: bool = False,
        timeout: float | None = None,
    ) -> Finished:
        """The same on an event loop; cancelling it kills the command."""
        what = self._asked(
            args, stdin=stdin, env=env, workdir=workdir, user=user, privileged=privileged, timeout=timeout
        )
        return await engine_exec.run_async(what, text=text)

    def _asked(self, args: Sequence[str] | str, **how: Any) -> engine_exec.Asked:
        with self._engine.here():
            execs.check_running(known.running(self.id))
        return engine_exec.asked(self.id, args, self._engine.environment(), **how)

    def diff(self) -> builtins.list[tuple[str, str]]:
        """What it has changed in the files of its image: A, C or D, and the path (docker diff)."""
        with self._engine.here():
            return list(differences(known.find(self.id), unpacking()))

    def _look(self, code: int | None = None) -> None:
        """`reload`; of one that has removed itself, as it has ended."""
        try:
            self.reload()
        except NotFoundError:
            ended = {"status": "exited", "pid": 0, "exit_code": code, "finished_at": clock.now()}
            self._found.state = {**self._found.state, **ended}


class Containers:
    """`engine.containers`: those there are, and new ones."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(
        self, image: str, command: Sequence[str] | str | None = None, *, name: str = "", **options: Any
    ) -> Container:
        """Make a container that is not started.

        image     "host", this machine's own system under a layer of its own; or an image's name or ID, which is
                  fetched where it is missing (pull="never", "always", "newer"); "" with rootfs="DIR"
        command   the command and its arguments, None for the image's own; a string is given to `sh -c`
        name      "" for one that is made up
        options   all that `cloche create` can be asked, by its name there: env={"A": "1"}, labels={"a": "b"},
                  volumes=["data:/data"], memory="256m", cpus=1.5, pids=100, network="none", workdir="/", user="ana",
                  restart="on-failure:3", log_driver="json-file", log_options={"max-size": "1m"}, health_cmd="true",
                  health_interval=5.0 (seconds), stop_signal="INT", stop_timeout=2.0, tty=True, interactive=True, …

        Raises TypeError for an option that is none, and ClocheError: SpecError, NotFoundError, ConflictError (the name
        is taken), UnsupportedError.
        """
        asked, keep = _wanted("create", image, command, name, options)
        with self._engine.here():
            _fetch(asked)
            found = keeping.create(asked, keep).container
            tell(found, "create")
        return Container(self._engine, found)

    @overload
    def run(
        self,
        image: str,
        command: Sequence[str] | str | None = None,
        *,
        detach: Literal[True],
        remove: bool = False,
        name: str = "",
        **options: Any,
    ) -> Container: ...

    @overload
    def run(
        self,
        image: str,
        command: Sequence[str] | str | None = None,
        *,
        detach: Literal[False] = False,
        remove: bool = False,
        text: bool = True,
        name: str = "",
        **options: Any,
    ) -> Finished: ...

    def run(
        self,
        image: str,
        command: Sequence[str] | str | None = None,
        *,
        detach: bool = False,
        remove: bool = False,
        text: bool = True,
        name: str = "",
        **options: Any,
    ) -> Container | Finished:
        """`create` and start it: with `detach` the container, else what came of its command, once that has ended.

        remove    it is gone when it has ended, with those of its volumes that have no name
        text      what it wrote as str (UTF-8, surrogateescape), else bytes

        Raises what `create` raises, StageError where it could not be set up, and NotExecutedError for its command's
        sake: then it stays, unless it was to be removed. For commands that leave no container behind, `cloche.run` is
        lighter.
        """
        asked, keep = _wanted("run", image, command, name, options, auto_remove=remove)
        with self._engine.here():
            _fetch(asked)
            started = keeping.run(asked, keep, attach=not detach, made=lambda found: tell(found, "create"))
            if detach:
                return Container(self._engine, started.container)
            return _collect(started, text=text)

    def get(self, name: str) -> Container:
        """The one of this name, ID, or beginning of an ID that is no other's. Raises NotFoundError, ConflictError."""
        with self._engine.here():
            return Container(self._engine, known.settled(known.find(name)))

    def list(self, *, all: bool = False, filters: Filters | None = None) -> builtins.list[Container]:
        """Those that run, or `all` of them; those made last come first.

        `filters` are those of `cloche ps`: {"status": "exited", "label": ["a", "b=c"]}. Raises SpecError.
        """
        with self._engine.here():
            found = chosen(parse_filters(filter_texts(filters)), everything=all)
        return [Container(self._engine, each) for each in found]


def _wanted(
    function: str,
    image: str,
    command: Sequence[str] | str | None,
    name: str,
    options: dict[str, Any],
    *,
    auto_remove: bool = False,
) -> tuple[Options, Keep]:
    """The records that keywords ask for."""
    keep = keep_of({key: value for key, value in options.items() if key in KEPT}, auto_remove=auto_remove)
    given = {key: value for key, value in options.items() if key not in KEPT}
    words = () if command is None else command_of(command)
    return options_of(function, words, image, {**given, "name": name}), keep


def _fetch(options: Options) -> None:
    if to_fetch(options):
        fetch_image(options)


def _collect(started: keeping.Started, *, text: bool) -> Finished:
    """What is written and how it ends, heard from the supervisor, and from the next one where that is killed."""
    container, session = started.container, started.session
    parts = bytearray(), bytearray()
    code, reason = None, None
    while session is not None:
        try:
            while (message := session.receive())[0] != "ended":
                if message[0] == "out":
                    parts[message[1] - 1].extend(message[2])
            code, reason = message[1], message[2]
            break
        except GoneError:
            pass
        finally:
            session.close()
        session = attach(container.id)
    else:
        code = stopping.wait(container)
        reason = container.read_state().state["reason"]
    raw = read_document(f"{container.folder}/receipt.json")
    if container.known["keep"]["auto_remove"]:
        try:
            remove(container, force=True, volumes=True)
        except NotFoundError:
            pass  # it has removed itself
    receipt = Receipt.of(raw) if raw else None
    return finished(code, bytes(parts[0]), bytes(parts[1]), text=text, reason=_reason(reason), receipt=receipt)


def _said(record: Record | None) -> Said | None:
    return None if record is None else Said(record.time_ns, record.stream, record.text)


def _reason(raw: dict[str, Any] | None) -> Reason | None:
    if not raw:
        return None
    return Reason(str(raw.get("kind", "")), str(raw.get("text", "")), str(raw.get("hint", "")))
