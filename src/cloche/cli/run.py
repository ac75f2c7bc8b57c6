"""`cloche run` and `cloche shell`: this process is the front; a stage forked from it does the work.

    front (this process)                  stage                       container
    signals, terminal, relays ── plan ──▶ makes it, waits ──────────▶ the command
    exit code, reason, receipt ◀─ ended ─ counters, groups removed

The command gets our own stdin, stdout and stderr where they are pipes and sockets, so that nothing is copied; a pipe
stands between it and anything else, which would be a way for it to our terminal or our file (`front.Streams`).
"""

from __future__ import annotations

import posix as os
import sys

from cloche.cli.idfiles import IdFile, check_pidfile
from cloche.cli.request import options_of
from cloche.engine import records
from cloche.engine.checks import check_of
from cloche.engine.keeping import STREAMS, Keep
from cloche.engine.names import generate
from cloche.engine.signals import signal_number
from cloche.errors import ConflictError, ForbiddenError, StageError
from cloche.linux import terminal
from cloche.sandbox import values
from cloche.sandbox.image import to_fetch
from cloche.sandbox.known import known_of, passing
from cloche.sandbox.running import Prepared, prepare, will_need_seal

FETCH_FAILED = 125
LOOKED_AFTER = ("health_cmd", "log_driver", "log_opt", "detach_keys")
KEPT = (
    *("restart", "health_on_failure", "health_retries", "no_healthcheck", "health_interval", "health_timeout"),
    *("health_start_period", "health_start_interval"),
)


TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli import front
    from cloche.cli.grammar import Parsed
    from cloche.cli.table import Verb
    from cloche.engine.passing import Passing
    from cloche.sandbox.options import Options
    from cloche.sandbox.results import Result


def run(verb: Verb, parsed: Parsed) -> int:
    """Carry out the verb; returns the exit code."""
    if verb.name != "shell":
        passing = _is_passing(parsed)
        if not passing or _is_looked_after(parsed):
            from cloche.cli.containers.run_kept import run_kept

            return run_kept(parsed, options_of(verb, parsed), auto_remove=passing)
        _check_keeping(parsed)
    step = parsed.flag("step")
    watch = parsed.flag("explain") or step
    options = options_of(verb, parsed, trace=watch, step=step)
    if not options.name:
        options = type(options)(**{**vars(options), "name": generate(os.urandom(8))})
    check_terminal(options, step=step)
    if to_fetch(options):
        if will_need_seal(options):  # now: the whole command begins anew for that, and is to fetch once
            _seal()
        if code := fetch(options, quiet=parsed.flag("quiet")):
            return code
    size = terminal.new_size() if options.tty else (0, 0)
    prepared = prepare(options, size=size)
    if not (watch or verb.name == "shell") and _is_checked(parsed, prepared):
        prepared.close()
        from cloche.cli.containers.run_kept import run_kept

        return run_kept(parsed, type(options)(**{**vars(options), "pull": "never"}), auto_remove=True)
    if prepared.lacking and not parsed.flag("quiet"):
        from cloche.cli.output import print_lacking

        print_lacking(prepared.lacking)
    if prepared.sealed:
        _seal(prepared)
    try:
        observer = _observer(parsed, prepared) if watch else None
        check_pidfile(options.pidfile)
        with IdFile(options.cidfile) as file:
            file.write(prepared.id)
        result = _drive(options, prepared, observer)
    finally:
        prepared.close()
    if observer is not None:
        observer.receipt(result)
    elif not parsed.flag("quiet"):
        _report(result)
    return result.exit_code


def _seal(prepared: Prepared | None = None) -> None:
    from cloche.stage.seal import is_sealed, restart_sealed

    if prepared is not None and not is_sealed():
        prepared.close()  # it is made anew, and may have its name then
    restart_sealed()


def fetch_wanted(options: Options, *, quiet: bool) -> int:
    """Have the image fetched if --pull wants that; returns an exit code."""
    return fetch(options, quiet=quiet) if to_fetch(options) else 0


def fetch(options: Options, *, quiet: bool) -> int:
    """Have the image fetched by a process of its own: this one forks the stage, and is to have nothing of that in it.

    Says how it goes on standard error, as the output is the command's. Returns its exit code.
    """
    from cloche.sandbox.words import check_words

    check_words(options)
    pid = os.fork()
    if pid == 0:
        code = FETCH_FAILED
        try:
            os.dup2(2, 1)
            from cloche.linux.libraries import reach

            reach()
            from cloche.cli.images.pull import fetch_for_run

            code = fetch_for_run(options, quiet=quiet)
        except ModuleNotFoundError as error:
            _report_lacking(options.image, str(error.name))
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code if code >= 0 else FETCH_FAILED


def _report_lacking(image: str, library: str) -> None:
    """What is here can do without the library, but not fetch what is not; a name that is none is told first."""
    from cloche.cli.output import print_error
    from cloche.errors import SpecError, UnsupportedError
    from cloche.images.references import parse_reference

    try:
        familiar = parse_reference(image).familiar
    except SpecError as error:
        print_error(error)
        return
    what, needs = f"{familiar} is not in the store; to fetch it", f"the Python library {library} is not installed"
    print_error(UnsupportedError(what, needs=needs, hint=f"pip install {library}"))


def _drive(options: Options, prepared: Prepared, observer: front.Observer | None) -> Result:
    from cloche.cli import front
    from cloche.sandbox.results import conclude

    told, ended = passing(options, prepared), None
    try:
        ended = front.drive(
            prepared.plan,
            interactive=options.interactive,
            tty=options.tty,
            observer=observer or front.Observer(),
            started=lambda pid, stage: _started(options, prepared, told, pid, stage),
            told=told,
            stop_signal=signal_number(prepared.stop_signal),
            patience=None if options.stop_timeout is None else values.duration(options.stop_timeout, "--stop-timeout"),
        )
    finally:
        told.ended(ended)
    return conclude(prepared, ended)


def _started(options: Options, prepared: Prepared, told: Passing, pid: int, stage: int) -> None:
    """The command's process is there: leave word of it, also where that was asked for."""
    if options.pidfile:
        _write_file(options.pidfile, str(pid))
    ours = STREAMS if options.interactive else STREAMS[1:]
    keep = Keep(auto_remove=True, attached=ours, stdin_once=options.interactive)
    known = known_of(options, keep, prepared)
    records.add({**prepared.record(options, pid), "known": known}, stage)
    told.made()


def check_terminal(options: Options, *, step: bool) -> None:
    """What a terminal is needed for has to be one. Raises ConflictError."""
    if options.tty and options.interactive and not os.isatty(0):
        raise ConflictError(
            "the input device is not a TTY", hint="leave -t out, as with: cloche run -i host sh < script"
        )
    if step and not os.isatty(0):
        raise ConflictError("--step waits for a key, and stdin is not a terminal", hint="use --explain")


def _is_passing(parsed: Parsed) -> bool:
    """Whether the container is gone when it has ended: images are docker's, what is the host's is not."""
    if parsed.values["rm"] is not None:
        return parsed.flag("rm")
    is_hosts = parsed.text("rootfs") or (parsed.positionals or ["host"])[0] == "host"
    return bool(is_hosts) and not parsed.flag("detach")


def _is_looked_after(parsed: Parsed) -> bool:
    """Whether it goes on without this command, or somebody has to look at it meanwhile, write down what it says, …"""
    if parsed.flag("detach") or parsed.all("attach") or not parsed.flag("sig_proxy"):
        return True
    return any(parsed.values[dest] for dest in LOOKED_AFTER)


def _is_checked(parsed: Parsed, prepared: Prepared) -> bool:
    """Whether the image asks for looks at its health, and nobody has said otherwise: a supervisor has to take them."""
    image = prepared.image.config.config if prepared.image is not None else None
    if image is None or image.Healthcheck is None or parsed.flag("no_healthcheck"):
        return False
    return bool(check_of(Keep(), image))


def _check_keeping(parsed: Parsed) -> None:
    """What only containers that stay have, is to make sense at least, and is not to be lost without a word."""
    if any(parsed.values[dest] for dest in KEPT):
        from cloche.cli.keeping import keep_of

        keep_of(parsed, auto_remove=True)


def _observer(parsed: Parsed, prepared: Prepared) -> front.Observer:
    from cloche.cli.explain import Narrator

    return Narrator(prepared, as_json=parsed.text("format") == "json")


def _report(result: Result) -> None:
    """Say on stderr why it ended, where the exit code alone does not."""
    if result.exit_code == 0 or result.reason.kind in {"exited", "signal"}:
        return
    from cloche.cli.output import print_error

    print_error(StageError(result.reason.text, hint=result.reason.hint))
    sys.stderr.flush()


def _write_file(path: str, text: str) -> None:
    """Write a small file as a whole."""
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ForbiddenError(f"{path} cannot be written: {error.strerror}") from None
