"""`cloche attach`: our streams to those of a container that runs."""

from __future__ import annotations

import os

from cloche.cli.keeping import checked_keys
from cloche.engine import containers
from cloche.engine.events import tell
from cloche.engine.supervisor import client
from cloche.errors import ConflictError, UnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed
    from cloche.engine.containers import Container


def attach(parsed: Parsed) -> int:
    """Carry out `attach`; returns the command's exit code."""
    given = checked_keys(parsed.text("detach_keys"))
    container = containers.find(parsed.positionals[0])
    if container.status == "restarting" and not container.running:
        raise ConflictError("You cannot attach to a restarting container, wait until it is running")
    if not container.running:
        raise ConflictError(
            "You cannot attach to a stopped container, start it first", hint=f"cloche start -a {container.name}"
        )
    if container.status == "paused":
        raise ConflictError("You cannot attach to a paused container, unpause it first")
    options = container.known["options"]
    if options["tty"] and options["interactive"] and not parsed.flag("no_stdin") and not os.isatty(0):
        raise ConflictError("the input device is not a TTY", hint="--no-stdin only listens")
    keys = given or container.known["keep"]["detach_keys"]
    interactive = options["interactive"] and not parsed.flag("no_stdin")
    return attach_to(container, interactive=interactive, proxy=parsed.flag("sig_proxy"), keys=keys)


def attach_to(container: Container, *, interactive: bool, proxy: bool, keys: str) -> int:
    """Be attached until it ends, or is left; returns its exit code, 0 for one that was left."""
    from cloche.cli.containers.attaching import Attached

    if not container.kept:
        needs = "it takes a container that is kept: the streams of this one are its caller's"
        raise UnsupportedError("attach", needs=needs, hint="start it without --rm, or with -d")
    session = client.attach(container.id)
    if session is None:
        raise ConflictError(f"container {container.id} is not running")
    tell(container, "attach")
    tty = container.known["options"]["tty"]
    attached = Attached(session, container, tty=tty, interactive=interactive, proxy=proxy, keys=keys)
    if tty:
        attached.ask_for_a_drawing()
    return attached.run() or 0
