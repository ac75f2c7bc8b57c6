"""`cloche enter`: a command in the namespaces of a running container or process.

A whole container is entered as by `exec`; any other process, or with --only, by its namespaces alone.
"""

from __future__ import annotations

import os

from cloche.cli.containers import making
from cloche.cli.containers.exec import carry_out, check_terminal
from cloche.cli.containers.making import NotExecutedError
from cloche.cli.output import print_error
from cloche.engine import containers, execs, records
from cloche.errors import SpecError
from cloche.linux import terminal
from cloche.linux.namespaces import NAMES
from cloche.runtime import defaults
from cloche.runtime.entering import Entry
from cloche.runtime.idmaps import joined
from cloche.stage.kept import seal_against

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed
    from cloche.engine.containers import Container

ALIASES = {"mount": "mnt", "network": "net"}


def enter(parsed: Parsed) -> int:
    """Carry out the verb; returns the exit code."""
    try:
        return _enter(parsed)
    except NotExecutedError as error:
        print_error(error)
        return error.code


def _enter(parsed: Parsed) -> int:
    target, *command = parsed.positionals
    tty, interactive = parsed.flag("tty"), parsed.flag("interactive")
    if not command and os.isatty(0):
        tty = interactive = True
    if tty and interactive:
        check_terminal()
    argv = tuple(command) or ("/bin/sh",)
    only = parsed.text("only")
    start = records.start_time(int(target)) if target.isdecimal() and len(target) < 10 else None
    container = _meant_by(target, by_pid=start is not None)
    if container is not None and only is None:
        return _container(container, parsed, argv, tty=tty, interactive=interactive)
    if container is not None:
        execs.check_running(container)
        pid, started = execs.hold(container)
    else:
        assert start is not None
        pid, started = int(target), start
    kinds = _kinds(only, pid)
    if "mnt" in kinds:  # a program in there may be a script whose interpreter is /proc/self/exe
        seal_against(None, {"CAP_LINUX_IMMUTABLE"})
    ids = joined(pid)
    entry = Entry(
        pid=pid,
        started=started,
        kinds=kinds,
        argv=argv,
        env=execs.environment((f"PATH={defaults.PATH}",), _variables(parsed, tty=tty), tty=tty),
        cwd=parsed.text("workdir") or "/",
        user=parsed.text("user") or "",
        terminal_size=terminal.new_size() if tty else None,
        first=ids.first(),
        keep_groups=ids.deny_setgroups and "user" in kinds,
    )
    return making.follow(entry, lambda _pid: lambda _code: None, interactive=interactive)


def _container(container: Container, parsed: Parsed, argv: tuple[str, ...], *, tty: bool, interactive: bool) -> int:
    execs.check_running(container)
    execs.seal_for(container, privileged=False)
    asked = execs.Asked(
        argv=argv,
        env=_variables(parsed, tty=tty),
        workdir=parsed.text("workdir") or "",
        user=parsed.text("user") or "",
        terminal_size=terminal.new_size() if tty else None,
        stays=tty and interactive,
    )
    return carry_out(container, asked, interactive=interactive, matcher=None)


def _meant_by(target: str, *, by_pid: bool) -> Container | None:
    """The container that a name, id, beginning of an id or pid stands for; None for another process."""
    if not by_pid:
        return containers.find(target)
    return next((found for found in containers.every() if found.pid == int(target)), None)


def _variables(parsed: Parsed, *, tty: bool) -> tuple[str, ...]:
    """The terminal here is the one there."""
    own = (f"TERM={os.environ.get('TERM', 'xterm')}",) if tty else ()
    return (*own, *execs.asked_variables(parsed.all("env")))


def _kinds(only: str | None, pid: int) -> tuple[str, ...]:
    """The kinds to join: those named, or all that differ from ours."""
    wanted = list(NAMES)
    if only is not None:
        wanted = [ALIASES.get(word, word) for word in only.split(",")]
        unknown = [word for word in wanted if word not in NAMES]
        if unknown:
            raise SpecError(f"{unknown[0]!r} is not a kind of namespace", hint=", ".join(NAMES))
    kinds = execs.differing(pid, tuple(wanted))
    if "user" in wanted or os.geteuid() == 0:
        return kinds
    return (*execs.differing(pid, ("user",)), *kinds)  # power over the others comes with it
