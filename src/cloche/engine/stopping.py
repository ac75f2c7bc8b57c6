"""Ends of containers that somebody asks for, of kept and of throwaway ones."""

from __future__ import annotations

import time

from cloche.engine import sockets
from cloche.engine.containers import ALIVE, Container, load
from cloche.engine.events import tell
from cloche.engine.keeping import STOP_TIMEOUT
from cloche.engine.signals import signal_number
from cloche.engine.supervisor import client
from cloche.errors import ConflictError, NotFoundError, StageError
from cloche.linux import places, process
from cloche.linux.inotify import wait_for
from cloche.stage.early import is_setting_up

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.engine.supervisor.client import Message
    from cloche.linux.files import Fd

KILL = 9
SHORTLY, REMOVAL = 0.01, 1.0  # seconds


def stop(container: Container, signal: str | int | None, timeout: float | None, *, again: bool = False) -> None:
    """Have it end: its stop signal, or that given; after so many seconds everything inside is killed, negative: never.

    Nothing for one that does not run. One that is to run `again` is not removed, whatever else is done at its end.
    """
    known = container.known
    number = signal_number(known.get("stop_signal", "SIGTERM") if signal is None else signal)
    patience = float(known.get("stop_timeout", STOP_TIMEOUT)) if timeout is None else timeout
    if not _is_busy(container):
        return
    if not container.kept:
        _stop_throwaway(container, number, patience)
    else:
        _ask_to_stop("halt" if again else "stop", container.id, number, patience)
        if not again:
            await_removal(container)
    tell(container, "stop")


def _is_busy(container: Container) -> bool:
    """Whether it runs or is to run; who is starting it is waited for, as docker does.

    Where that was killed, it may be on its way still: the supervisor has a place for it.
    """
    if container.status in ALIVE or not container.kept:
        return True
    from cloche.engine import making

    try:
        making.lock(container).close()
    except NotFoundError:
        return False  # it is removed at its end
    return container.status in ALIVE or places.exists(f"{sockets.place()}/run/{container.id}")


def _ask_to_stop(word: str, container_id: str, number: int, patience: float) -> None:
    """A supervisor that is killed does not know any more who was asked to end, and until when: the next one is told."""
    deadline = time.monotonic() + patience

    def once() -> Message:
        left = patience if patience < 0 else max(0.0, deadline - time.monotonic())
        return client.ask(word, container_id, number, left)

    client.surely(once)


def kill(container: Container, number: int) -> None:
    """Send a signal to its first process. Raises ConflictError where it does not run.

    One that is no wish for its end is sent once at most: GoneError where the supervisor was killed meanwhile.
    """
    why = f"cannot kill container: {container.name}: container {container.id} is not running"
    final = number in {KILL, signal_number(_stop_signal(container))}
    waits = container.status == "restarting" and not container.running  # for its next start, which may be called off
    if not _is_busy(container) or (waits and not final):
        raise ConflictError(why)
    if not container.kept:
        if not _kill_throwaway(container, number):
            raise ConflictError(why)
    elif (client.ask_surely if final else client.ask)("signal", container.id, number, final)[0] != "ok":
        raise ConflictError(why)


def wait(container: Container, *, leave: int = -1) -> int | None:
    """Wait until it does not run; returns its exit code, None where nobody has seen it.

    A supervisor that is killed meanwhile is followed by another one, which is asked again. The wait ends, with None,
    when the descriptor `leave` can be read.
    """
    if not container.kept:
        pidfd = _pidfd(container)
        if pidfd is not None:
            with pidfd:
                wait_for([pidfd.number, leave])
        return None
    while container.read_state().status in ALIVE:
        answer = _ask_for_end(container.id, leave)
        if answer is None:
            continue
        if answer[0] == "ended":
            if answer[1] is None:
                return None
            await_removal(container)
            return int(answer[1])
        if container.read_state().status in ALIVE:
            return None  # it is gone, with all that was known of its end
    return container.state["exit_code"]  # type: ignore[no-any-return]


def await_removal(container: Container) -> None:
    """Of one that is removed at its end wait for that, too, as its name is free only then: for a second at most."""
    if container.known["keep"].get("auto_remove"):
        deadline = time.monotonic() + REMOVAL
        while load(container.id) is not None and time.monotonic() < deadline:
            time.sleep(SHORTLY)


def _ask_for_end(container_id: str, leave: int) -> Message | None:
    """What a supervisor says of its end; None where that was killed itself."""
    session = client.connect()
    try:
        session.send("wait", container_id)
        wait_for([session.fileno(), leave])
        if leave >= 0 and wait_for([leave], 0):
            return "ended", None
        return session.receive()
    except StageError:
        return None
    finally:
        session.close()


def _stop_signal(container: Container) -> str | int:
    found = container.known.get("stop_signal", "SIGTERM")
    return found if isinstance(found, int) else str(found)


def _stop_throwaway(container: Container, number: int, patience: float) -> None:
    pidfd = _pidfd(container)
    if pidfd is None:
        return
    deadline = time.monotonic() + patience
    with pidfd:
        while is_setting_up(_first(container)) and (patience < 0 or time.monotonic() < deadline):
            if _await(pidfd.number, SHORTLY):
                return
        _send(container, pidfd.number, number)
        if not _await(pidfd.number, patience):
            _send(container, pidfd.number, KILL)
            from cloche.stage.cleaning import end_groups

            end_groups(tuple(container.entry["groups"]))
            _await(pidfd.number, -1.0)


def _kill_throwaway(container: Container, number: int) -> bool:
    """False for one that has ended, and for one that is not the command yet, unless it is to be killed."""
    pidfd = _pidfd(container)
    if pidfd is None:
        return False
    with pidfd:
        return (number == KILL or not is_setting_up(_first(container))) and _send(container, pidfd.number, number)


def _send(container: Container, pidfd: int, number: int) -> bool:
    """Send a signal to the first process of a throwaway; what it would not get, and would end others, is its end.

    False where it has ended meanwhile.
    """
    lost = process.would_be_lost(_first(container), number)
    try:
        process.pidfd_send_signal(pidfd, KILL if lost else number)
    except ProcessLookupError:
        return False
    tell(container, "kill", signal=str(number))
    return True


def _pidfd(container: Container) -> Fd | None:
    """Its first process, surely; None where it has ended."""
    from cloche.engine.containers import is_alive
    from cloche.linux.files import Fd

    try:
        found = Fd(process.pidfd_open(_first(container)))
    except ProcessLookupError:
        return None
    if not is_alive(container.state):
        found.close()
        return None
    return found


def _first(container: Container) -> int:
    """The first process of a throwaway, which may not be the command yet."""
    return int(container.state["pid"])


def _await(pidfd: int, patience: float) -> bool:
    """Wait until a process has ended, so many seconds at most, negative: for ever; whether it has."""
    import select

    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(None if patience < 0 else patience * 1000))
