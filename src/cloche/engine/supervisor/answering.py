"""What commands may ask the supervisor, one function for each word; see `client` for their side.

where SEALED                           ─▶ here NAMESPACES PID, of who would make a container
start ID FOLDER PLAN SETTINGS ATTACH   ─▶ started PID ATTESTED | failed STEP… | not executed … | running; then as attach
attach ID                              ─▶ out 1|2 BYTES … ended CODE REASON
wait ID                                ─▶ ended CODE REASON
keyboard                               an attached command, whose stdin is to be the container's: it will send
in BYTES | eof | resize ROWS COLUMNS   `in` is answered by: taken COUNT…; eof, or its going, may be the stdin's end
signal ID NUMBER USER                  ─▶ ok; USER: somebody wants its end, and it is not to be started again
stop ID NUMBER SECONDS                 ─▶ ended CODE REASON
halt ID NUMBER SECONDS                 ─▶ the same; it is about to be started again: it stays, also with --rm
end ID                                 ─▶ ended CODE REASON; at once, for whoever is about to remove it
pause ID | unpause ID                  ─▶ ok | failed TEXT
hold ID                                ─▶ ok | failed TEXT; it stands still until all have released it, or are gone
release ID                             ─▶ ok
policy ID RESTART MOST                 ─▶ ok
check ID                               ─▶ looked CODE OUTPUT | no check
what is not there, or does not run     ─▶ not running
"""

from __future__ import annotations

import os

from cloche.engine.supervisor import adopting
from cloche.engine.supervisor.supervised import Supervised

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cloche.engine.supervisor.connection import Connection
    from cloche.engine.supervisor.main import Supervisor


# what each word takes
SHAPES: dict[str, tuple[Any, ...]] = {
    "where": (bool,),
    "start": (str, str, tuple, dict, bool),
    "attach": (str,),
    "wait": (str,),
    "keyboard": (),
    "in": (bytes,),
    "eof": (),
    "resize": (int, int),
    "signal": (str, int, bool),
    "stop": (str, int, (int, float)),
    "halt": (str, int, (int, float)),
    "end": (str,),
    "pause": (str,),
    "unpause": (str,),
    "hold": (str,),
    "release": (str,),
    "policy": (str, str, int),
    "check": (str,),
}
SETTINGS: dict[str, Any] = {
    **dict.fromkeys(("tty", "interactive", "sealed"), bool),
    **dict.fromkeys(("keep", "facts", "entry"), dict),
    "check": (dict, type(None)),
    "volumes": (list, tuple),
    "timeout": (int, float),
}


def is_meant(message: tuple[Any, ...]) -> bool:
    """Whether it is one of these words with what it takes."""
    word, *rest = message
    shape = SHAPES.get(word)
    if shape is None or len(shape) != len(rest) or not all(map(isinstance, rest, shape)):
        return False
    return word != "start" or all(isinstance(rest[3].get(name), kind) for name, kind in SETTINGS.items())


def answer(supervisor: Supervisor, conn: Connection, message: tuple[Any, ...], fds: list[int]) -> None:
    """Do what a command asks, or say why not; whoever asks for what there is not is not to wait for an answer."""
    word, *rest = message
    meant = is_meant(message)
    is_looked_at = not meant or not rest or adopting.take_again(supervisor, rest[0])
    if meant and is_looked_at and word == "start":
        _start(supervisor, conn, fds, *rest)
        return
    for fd in fds:
        os.close(fd)
    if not meant or not is_looked_at:
        conn.close()
        return
    if word == "where":
        conn.send("here", *supervisor.where(sealed=rest[0]))
        return
    item = supervisor.items.get(rest[0]) if rest else None
    if word in ATTACHED:
        for other in conn.concerns:
            if conn in other.streams.attached:
                ATTACHED[word](other, conn, *rest)
        return
    if item is None or not item.busy:
        conn.send("not running")
        return
    conn.concerns.add(item)
    WORDS[word](item, conn, *rest[1:])


def _start(
    supervisor: Supervisor,
    conn: Connection,
    fds: list[int],
    container_id: str,
    folder: str,
    plan: Any,
    settings: dict[str, Any],
    attach: bool,
) -> None:
    item = supervisor.items.get(container_id)
    if item is not None and (item.is_there or item.refuses(conn)):
        for fd in fds:
            os.close(fd)
        conn.send("running")
        return
    if item is None:
        item = supervisor.items[container_id] = Supervised(supervisor, container_id, folder)
    conn.concerns.add(item)
    assert supervisor.footing is not None
    supervisor.footing.hear_containers()
    try:
        item.start(conn, plan, settings, fds, attach)
    except BaseException:
        supervisor.settle(item)
        raise


def _attach(item: Supervised, conn: Connection) -> None:
    conn.send("attached")
    item.streams.attach(conn)


def _wait(item: Supervised, conn: Connection) -> None:
    item.waiting.append(conn)


def _signal(item: Supervised, conn: Connection, number: int, user: bool) -> None:
    if user:
        item.give_up()
    item.signal(number)
    if user:
        item.holding.let_run()
    conn.send("ok")


def _stop(item: Supervised, conn: Connection, number: int, patience: float) -> None:
    item.waiting.append(conn)
    item.give_up()
    item.stop(number, patience)


def _halt(item: Supervised, conn: Connection, number: int, patience: float) -> None:
    item.stays = True
    _stop(item, conn, number, patience)


def _end(item: Supervised, conn: Connection) -> None:
    item.waiting.append(conn)
    item.end_for_good()


def _pause(item: Supervised, conn: Connection) -> None:
    item.holding.pause(conn)


def _unpause(item: Supervised, conn: Connection) -> None:
    item.holding.unpause(conn)


def _hold(item: Supervised, conn: Connection) -> None:
    item.holding.hold(conn)


def _release(item: Supervised, conn: Connection) -> None:
    item.holding.release(conn)
    conn.send("ok")


def _policy(item: Supervised, conn: Connection, restart: str, most: int) -> None:
    item.set_policy(restart, most)
    conn.send("ok")


def _check(item: Supervised, conn: Connection) -> None:
    if item.checker is None or item.state["status"] != "running":
        conn.send("no check" if not item.settings["check"] else "not running")
    else:
        item.checker.ask(conn)


WORDS: dict[str, Callable[..., None]] = {
    "attach": _attach,
    "wait": _wait,
    "signal": _signal,
    "stop": _stop,
    "halt": _halt,
    "end": _end,
    "pause": _pause,
    "unpause": _unpause,
    "hold": _hold,
    "release": _release,
    "policy": _policy,
    "check": _check,
}


def _type(item: Supervised, conn: Connection, data: bytes) -> None:
    item.streams.type(conn, data)


def _keyboard(item: Supervised, conn: Connection) -> None:
    item.streams.keyboard(conn)


def _end_of_input(item: Supervised, conn: Connection) -> None:
    item.streams.end_of(conn)


def _resize(item: Supervised, conn: Connection, rows: int, columns: int) -> None:
    del conn
    item.resize(rows, columns)


ATTACHED: dict[str, Callable[..., None]] = {"keyboard": _keyboard, "in": _type, "eof": _end_of_input, "resize": _resize}
