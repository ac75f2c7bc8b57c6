"""`cloche exec`: one more process in a running container.

`making` has it as a child of this process; where it may be left running, by --detach or by keys, `leaving` has it as
a child of one that stays.
"""

from __future__ import annotations

import posix as os

from cloche.cli.containers import making
from cloche.cli.containers.making import NotExecutedError
from cloche.cli.detaching import Matcher, parse_keys
from cloche.cli.output import print_error
from cloche.cli.request import lines_of
from cloche.engine import containers, execs
from cloche.engine.events import tell
from cloche.errors import ConflictError, StageError
from cloche.ids import new_id
from cloche.linux import terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.cli.grammar import Parsed
    from cloche.engine.containers import Container
    from cloche.engine.execs import Asked

ENOENT = 2
NOT_SET_UP = 126  # as docker has it for a user or a directory that is not there


def exec(parsed: Parsed) -> int:
    """Carry out the verb; returns the exit code."""
    word, *command = parsed.positionals
    tty, interactive = parsed.flag("tty"), parsed.flag("interactive")
    keys = parse_keys(parsed.text("detach_keys") or "")
    detached = parsed.flag("detach")
    if tty and interactive and not detached:
        check_terminal()
    variables = [*lines_of("--env-file", parsed.all("env_file"), "variable"), *parsed.all("env")]
    env = execs.asked_variables(variables)
    container = containers.running(word)
    execs.check_running(container)
    execs.seal_for(container, privileged=parsed.flag("privileged"))
    asked = execs.Asked(
        argv=tuple(command),
        env=env,
        workdir=parsed.text("workdir") or "",
        user=parsed.text("user") or "",
        privileged=parsed.flag("privileged"),
        terminal_size=terminal.new_size() if tty else None,
        stays=detached or (tty and interactive),
    )
    try:
        if not asked.argv[0]:
            raise NotExecutedError("a command without a name is not found", ENOENT, hint="it is the empty word here")
        return carry_out(container, asked, interactive=interactive and not detached, matcher=Matcher(keys))
    except NotExecutedError as error:
        print_error(error)
        return error.code
    except StageError as error:
        if not execs.is_alive(container) or (not error.op and execs.is_ending(container)):  # no step of ours has failed
            raise execs.not_running(container) from None
        print_error(error)
        return NOT_SET_UP


def carry_out(container: Container, asked: Asked, *, interactive: bool, matcher: Matcher | None) -> int:
    """Have it made and stay until its end, or leave it; returns its exit code. Raises NotExecutedError, StageError."""

    def record(pid: int) -> Callable[[int | None], None]:
        exec_id, (program, *rest) = new_id(), asked.argv
        path = execs.add(container.id, exec_id, pid, asked)
        for what in ("exec_create", "exec_start"):
            tell(container, f"{what}: {program} {' '.join(rest)}", execID=exec_id)

        def forget(code: int | None) -> None:
            execs.forget(path)
            if code is not None:
                tell(container, "exec_die", execID=exec_id, exitCode=str(code))

        return forget

    entry = execs.entry_of(container, asked)
    if not entry.stays:
        return making.follow(entry, record, interactive=interactive)
    from cloche.cli.containers import leaving

    if interactive:
        return leaving.follow(entry, record, matcher)
    leaving.leave(entry, record)
    return 0


def check_terminal() -> None:
    """Raises ConflictError where there is no terminal to pass on."""
    if not os.isatty(0):
        raise ConflictError("the input device is not a TTY", hint="leave -t out, as with: cloche exec -i … < file")
