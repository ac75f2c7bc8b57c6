"""`cloche start`: containers that were made, or have ended, run."""

from __future__ import annotations

from cloche.cli.containers.each import for_each
from cloche.engine import containers
from cloche.engine.events import tell
from cloche.errors import ConflictError
from cloche.linux import terminal
from cloche.sandbox import keeping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed


def start(parsed: Parsed) -> int:
    """Carry out `start`; returns the exit code, with --attach the command's own."""
    if parsed.flag("attach") or parsed.flag("interactive"):
        if len(parsed.positionals) > 1:
            raise ConflictError("you cannot start and attach multiple containers at once", hint="name one of them")
        return _start_attached(parsed)
    return for_each(parsed.positionals, _start)


def _start(word: str) -> str:
    started = keeping.start(containers.find(word))
    if started is not None:
        report_lacking(started)
    return word


def report_lacking(started: keeping.Started) -> None:
    """Say what it is without that was asked for."""
    if started.lacking:
        from cloche.cli.output import print_lacking

        print_lacking(started.lacking)


def _start_attached(parsed: Parsed) -> int:
    from cloche.cli.containers.attach import attach_to
    from cloche.cli.containers.attaching import Attached
    from cloche.cli.keeping import checked_keys

    given = checked_keys(parsed.text("detach_keys"))
    container = containers.find(parsed.positionals[0])
    options = container.known["options"]
    if not container.running:
        tell(container, "attach")
    started = keeping.start(container, size=terminal.new_size() if options["tty"] else (0, 0), attach=True)
    interactive = parsed.flag("interactive") and options["interactive"]
    keys = given or container.known["keep"]["detach_keys"]
    if started is None:
        return attach_to(container, interactive=interactive, proxy=parsed.flag("sig_proxy"), keys=keys)
    report_lacking(started)
    attached = Attached(
        started.session,
        started.container,
        tty=options["tty"],
        interactive=interactive,
        proxy=parsed.flag("sig_proxy"),
        keys=keys,
    )
    return attached.run() or 0
