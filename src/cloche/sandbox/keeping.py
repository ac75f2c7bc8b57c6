"""Containers that stay: made from options, started, and started again.

create   options checked ─▶ the container's directory (engine.making)
start    options read back ─▶ plan ─▶ supervisor ─▶ stage ─▶ the command
"""

from __future__ import annotations

import time

from cloche.engine import making, sockets
from cloche.engine.containers import Container, facts_of, find, folder_of
from cloche.engine.containers import settled as settled_state
from cloche.engine.events import volumes_among
from cloche.engine.keeping import Keep
from cloche.engine.supervisor import client, whereabouts
from cloche.errors import ConflictError, ForbiddenError, NotExecutedError, StageError
from cloche.ids import new_id
from cloche.images.store.layout import store_dir
from cloche.linux import files, places
from cloche.records import record
from cloche.runtime.request import Kept
from cloche.sandbox import values
from cloche.sandbox.image import HOST
from cloche.sandbox.known import known_of
from cloche.sandbox.options import Options
from cloche.sandbox.running import Prepared, prepare
from cloche.sandbox.volumes import here
from cloche.spec.reader import write_json
from cloche.stage.operation import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cloche.engine.supervisor.client import Message, Session
    from cloche.runtime.receipt import Layer


TRIES, SHORTLY = 200, 0.02  # how often somebody else's start is looked after, every so many seconds


class BeingStartedError(ConflictError):
    """Its command was killed, or has begun a moment ago; the supervisor goes on with it."""


@record
class Started:
    """A container whose command runs; `session` hears what it writes, where it was to be attached to.

    None where it has ended by now, when the supervisor was killed in between.
    """

    container: Container
    session: Session | None
    pid: int
    lacking: tuple[Layer, ...]  # see Prepared


@record
class Made:
    """A container that is not started, and what it would be without."""

    container: Container
    lacking: tuple[Layer, ...]


def create(options: Options, keep: Keep) -> Made:
    """Make a container that is not started. Raises ClocheError for what a person can get wrong."""
    options = settled(options)
    container_id = new_id()
    prepared = prepare(options, dry=True, kept=_kept(container_id, sockets.place()))
    try:
        return Made(_make(options, keep, prepared), prepared.lacking)
    finally:
        prepared.close()


def run(
    options: Options,
    keep: Keep,
    *,
    size: tuple[int, int] = (0, 0),
    attach: bool = False,
    made: Callable[[Container], None] = lambda _container: None,
) -> Started:
    """Make a container and start it; `made` hears of it between the two.

    Raises StageError where it could not be started, NotExecutedError for its command's sake: then it stays, unless
    it was to be removed.
    """
    options = settled(options)
    container_id = new_id()
    place = sockets.claim()
    with Early() as early, prepare(options, size=size, kept=_kept(container_id, place)) as prepared:
        early.ask(prepared)
        container = _make(options, keep, prepared)
        made(container)
        try:
            with making.lock(container):
                return _begin(container, prepared, early, attach=attach)
        except BaseException:
            if keep.auto_remove:
                _remove(container, force=True)
            raise


def start(container: Container, *, size: tuple[int, int] = (0, 0), attach: bool = False) -> Started | None:
    """Start one that does not run; None for one that does, or that somebody else is just starting, who is waited for.

    One that is to be removed with its end is so where it could not be started.
    """
    if not container.kept:
        return None
    try:
        for _ in range(TRIES):
            try:
                return _start(container, size, attach=attach)
            except BeingStartedError:
                time.sleep(SHORTLY)
        return _start(container, size, attach=attach)
    except StageError:
        if container.known["keep"]["auto_remove"] and not settled_state(container.read_state()).running:
            _remove(container, force=False)
        raise


def _remove(container: Container, *, force: bool) -> None:
    from cloche.engine.removing import remove

    remove(container, force=force, volumes=True)


def _start(container: Container, size: tuple[int, int], *, attach: bool) -> Started | None:
    with making.lock(container):
        if settled_state(container).pid:
            return None
        if container.status == "removing":
            raise ConflictError(f"container {container.name} is marked for removal and cannot be started")
        options = options_of(container)
        place = sockets.claim()
        with Early() as early, prepare(options, size=size, kept=_kept(container.id, place)) as prepared:
            early.ask(prepared)
            return _begin(container, prepared, early, attach=attach)


def restart(container: Container, signal: str | int | None = None, timeout: float | None = None) -> Started | None:
    """End it, as `stop` does, and start it again; None where somebody else has done that meanwhile."""
    from cloche.engine.events import tell
    from cloche.engine.stopping import stop

    if not container.kept:
        raise ConflictError(
            f"container {container.name} cannot be restarted: it is gone when it ends, and its command with it",
            hint="start it without --rm, or with -d",
        )
    stop(container, signal, timeout, again=True)
    started = start(find(container.id))
    tell(container, "restart")
    return started


def options_of(container: Container) -> Options:
    """What a kept container was asked."""
    known = container.known["options"]
    given: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in known.items()}
    given["image"] = container.known["image_id"] or given["image"]  # the image, whatever has its name by now
    given["pull"] = "never"
    return Options(**given)


def settled(options: Options) -> Options:
    """The options as they mean the same wherever and whenever the container is started."""
    base = here()
    changed: dict[str, object] = {}
    if options.rootfs:
        path, colon, mode = options.rootfs.rpartition(":")
        whole = not colon or mode not in {"rw", "ro"}
        path = options.rootfs if whole else path
        changed["rootfs"] = values.absolute(path, base) + ("" if whole else f":{mode}")
    if options.pidfile:
        changed["pidfile"] = values.absolute(options.pidfile, base)
    changed["volume"] = tuple(_absolute_source(text, base) for text in options.volume)
    changed["env"] = tuple(found for text in options.env if (found := _with_value(text)))
    return Options(**{**vars(options), **changed})


def _with_value(text: str) -> str:
    """The same with the caller's own value where there is none; "" for one that he has not set either."""
    own = None if "=" in text else places.variable(text)
    return text if "=" in text else "" if own is None else f"{text}={own}"


def _absolute_source(text: str, base: str) -> str:
    source, colon, rest = text.partition(":")
    relative = source.startswith(".") or source.startswith("~")
    return f"{values.absolute(source, base)}{colon}{rest}" if colon and relative else text


def _kept(container_id: str, place: str) -> tuple[str, Kept]:
    layer = f"{folder_of(container_id)}/{making.LAYER}"
    return container_id, Kept(layer, f"{place}/run/{container_id}")


def _make(options: Options, keep: Keep, prepared: Prepared) -> Container:
    try:
        return making.make(known_of(options, keep, prepared))
    except BaseException:
        if prepared.volumes is not None:
            prepared.volumes.take_back()
        raise


class Early:
    """Has the supervisor that is there, if one is, look where it is while the container is made."""

    def __init__(self) -> None:
        self._session = client.knock()

    def ask(self, prepared: Prepared) -> None:
        """As soon as it is known who would make the container."""
        if self._session is None:
            return
        try:
            if self._session.is_greeted():
                self._session.send("where", prepared.sealed)
                return
        except client.GoneError:
            self._session.close()
        self._session = None

    def session(self, prepared: Prepared) -> Session:
        """A connection whose answer is on its way: the one that was asked, later another. Raises StageError."""
        session, self._session = self._session, None
        if session is None:
            session = client.connect()
            try:
                session.send("where", prepared.sealed)
            except client.GoneError:
                session.close()
                raise
        return session

    def __enter__(self) -> Early:
        return self

    def __exit__(self, *_: object) -> None:
        if self._session is not None:
            self._session.close()


def _begin(container: Container, prepared: Prepared, early: Early, *, attach: bool) -> Started:
    known = container.known
    options = options_of(container)
    settings = {
        "tty": options.tty,
        "interactive": options.interactive,
        "sealed": prepared.sealed,
        "keep": known["keep"],
        "check": known["check"],
        "facts": facts_of(known),
        "volumes": volumes_among(container.mounts),
        "timeout": prepared.plan.timeout,
        "entry": {**prepared.record(options, 0), "range": prepared.lease.slot if prepared.lease is not None else None},
    }
    held = [prepared.lease.fd] if prepared.lease is not None and prepared.lease.fd >= 0 else []
    message = ("start", container.id, container.folder, encode(prepared.plan), settings, attach)
    session, (word, *rest) = _ask_to_start(
        container,
        message,
        held,
        lambda: early.session(prepared),
        lambda session: _check_whereabouts(session, prepared, options),
    )
    try:
        if word == "failed":
            from cloche.sandbox.results import set_up_error

            raise set_up_error(prepared.plan, tuple(rest[0]))
        if word == "not executed":
            code, _, text, hint = rest[0]
            raise NotExecutedError(text, code, hint=hint)
        if word == "running":
            raise BeingStartedError(f"container {container.name} is being started by somebody else")
        if word != "started":
            raise StageError(f"the supervisor answered {word}")
        _write_receipt(container, prepared, rest[1], rest[2])
        if options.pidfile:
            _write_pid(options.pidfile, rest[0])
    except BaseException:
        if session is not None:
            session.close()
        raise
    if not attach and session is not None:
        session.close()
    container.read_state()
    return Started(container, session, rest[0], prepared.lacking)


def _check_whereabouts(session: Session, prepared: Prepared, options: Options) -> None:
    """Raise ConflictError where this command sees something else at what is to be mounted than who will mount it."""
    _, theirs, pid = session.receive()
    paths = [mount.source for mount in prepared.request.config.mounts or () if mount.source and mount.source[0] == "/"]
    if options.rootfs:
        path, colon, mode = options.rootfs.rpartition(":")
        paths.append(path if colon and mode in {"rw", "ro"} else options.rootfs)
    elif options.image == HOST:
        paths.append("/")
    whereabouts.check(theirs, pid, [store_dir(), *paths])


def _ask_to_start(
    container: Container,
    message: Message,
    held: list[int],
    connect: Callable[[], Session],
    check: Callable[[Session], None],
) -> tuple[Session | None, Message | tuple[str, Any, Any, Any]]:
    """The supervisor's answer, and the connection that hears more of it.

    Where the supervisor is killed meanwhile, the next one is asked, unless the container has come to its command.
    """
    before = container.state["started_at"]

    def once() -> tuple[Session | None, Message]:
        session = connect()
        try:
            check(session)
        except BaseException:
            session.close()
            raise
        try:
            return session, session.ask(*message, fds=held)
        except client.GoneError:
            session.close()
            found = client.attach(container.id)
            if container.read_state().state["started_at"] == before:
                if found is not None:
                    found.close()
                raise
            return found, ("started", container.pid, {}, [])

    return client.surely(once)


def _write_receipt(
    container: Container, prepared: Prepared, attested: dict[str, str], notes: list[tuple[str, str]]
) -> None:
    receipt = prepared.receipt.with_notes(notes).attest(attested)
    files.write_atomically(f"{container.folder}/receipt.json", write_json(receipt.to_dict()).encode())


def _write_pid(path: str, pid: int) -> None:
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(str(pid))
    except OSError as error:
        raise ForbiddenError(f"--pidfile {path} cannot be written: {error.strerror}") from None
