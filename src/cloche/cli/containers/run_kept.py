"""`cloche run` of a container that stays, or that goes on without this command."""

from __future__ import annotations

import sys

from cloche.cli.idfiles import IdFile, check_pidfile
from cloche.cli.keeping import keep_of
from cloche.cli.run import check_terminal, fetch_wanted
from cloche.engine.events import tell
from cloche.engine.keeping import STREAMS
from cloche.engine.stopping import await_removal
from cloche.errors import ConflictError, NotExecutedError
from cloche.linux import terminal
from cloche.sandbox import keeping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed
    from cloche.engine.containers import Container
    from cloche.sandbox.options import Options


def run_kept(parsed: Parsed, options: Options, *, auto_remove: bool) -> int:
    """Carry out `run`; returns the exit code: of a container in the foreground its own."""
    keep = keep_of(parsed, auto_remove=auto_remove)
    detach = parsed.flag("detach")
    if parsed.flag("explain") or parsed.flag("step"):
        raise ConflictError("--explain and --step watch a container that ends with this command", hint="add --rm")
    if not detach:
        check_terminal(options, step=False)
    check_pidfile(options.pidfile)
    if code := fetch_wanted(options, quiet=parsed.flag("quiet")):
        return code
    size = terminal.new_size() if options.tty else (0, 0)

    def made(container: Container) -> None:
        file.write(container.id)
        if detach:  # as docker has it, also where it cannot be started
            sys.stdout.write(f"{container.id}\n")
        tell(container, "create")
        if not detach:
            tell(container, "attach")

    try:
        with IdFile(options.cidfile) as file:
            started = keeping.run(options, keep, size=size, attach=not detach, made=made)
    except NotExecutedError as error:
        from cloche.cli.output import print_error

        print_error(error)
        return error.code
    if started.lacking and not parsed.flag("quiet"):
        from cloche.cli.output import print_lacking

        print_lacking(started.lacking)
    if detach:
        return 0
    from cloche.cli.containers.attaching import Attached

    attached = Attached(
        started.session,
        started.container,
        tty=options.tty,
        interactive=options.interactive,
        proxy=parsed.flag("sig_proxy"),
        keys=keep.detach_keys,
        shown=tuple(number for number in (1, 2) if STREAMS[number] in keep.attached),
    )
    left = attached.run() is None
    if not left:
        await_removal(started.container)
    _report(attached.reason, quiet=parsed.flag("quiet"))
    return 0 if left else attached.code or 0


def _report(reason: dict[str, str] | None, *, quiet: bool) -> None:
    """Say why it ended, where the exit code alone does not."""
    if quiet or reason is None or reason["kind"] in {"exited", "signal"}:
        return
    from cloche.cli.output import print_error
    from cloche.errors import StageError

    print_error(StageError(reason["text"], hint=reason["hint"]))
