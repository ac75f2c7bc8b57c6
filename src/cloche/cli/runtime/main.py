"""Which verb, and what its errors become."""

from __future__ import annotations

import sys
from posix import _exit

from cloche.cli.grammar import parse
from cloche.cli.runtime.globals import COMMAND, Globals, debug, report, say
from cloche.cli.table import HELP
from cloche.errors import ClocheError, SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    from cloche.cli.grammar import Parsed
    from cloche.cli.table import Verb

# verb -> the room it lives in
ROOMS = {
    "create": "create",
    "run": "create",
    "start": "start",
    "state": "state",
    "list": "state",
    "kill": "kill",
    "delete": "delete",
    "exec": "execute",
    "ps": "ps",
    "pause": "pause",
    "resume": "pause",
    "update": "update",
    "events": "events",
    "explain": "explain",
    "spec": "spec",
    "features": "features",
    "checkpoint": "unsupported",
    "restore": "unsupported",
    "completion": "printing",
    "help": "printing",
    "man": "printing",
}
# what each bundle holds: loaded by every run of it, and by some
BUNDLES = {
    "small": (
        ("cloche.cli.runtime.main", "cloche.runtime.containers"),
        (
            *(f"cloche.cli.runtime.{room}" for room in ("state", "start", "kill", "delete", "pause")),
            "cloche.runtime.changing",
            "cloche.stage.making",
            "cloche.stage.cleaning",
            "cloche.cli.output",
        ),
    ),
    "runtime": (
        ("cloche.cli.runtime.main", "cloche.runtime.creating", "cloche.stage.seal"),
        (
            *(f"cloche.cli.runtime.{room}" for room in ("create", "execute", "foreground")),
            "cloche.runtime.executing",
            "cloche.runtime.changing",
        ),
    ),
}
OWN_ERROR = {"exec": 255}  # as runc has it: the command's own codes are passed on
EPIPE, SIGPIPE = 32, 13


def main(argv: list[str]) -> int:
    """Run a command line; returns the exit code."""
    options: Globals | None = None
    name = ""
    try:
        parsed = parse(COMMAND, argv)
        if parsed.flag("version"):
            return _version()
        if parsed.help or not parsed.positionals:
            from cloche.cli.runtime.printing import overview

            return overview()
        name, *words = parsed.positionals
        options = Globals(parsed)
        name = "help" if name == "h" else name  # as runc has it
        if name not in ROOMS:
            from cloche.cli.runtime.printing import find

            find(name)
        room = load_room(ROOMS[name])
        verb = room.VERBS[name]
        given = _parse(verb, words)
        if given.help:
            from cloche.cli.runtime.printing import show

            return show(verb)
        debug(f"{name} {' '.join(words)}, containers below {options.root}", options)
        return int(room.run(name, given, options))
    except ClocheError as error:
        report(f"{error} ({error.hint})" if error.hint else str(error), options)
    except KeyboardInterrupt:
        return 130  # as shells have it: 128 and SIGINT
    except OSError as error:
        if error.errno == EPIPE and _nobody_reads():
            return 128 + SIGPIPE
        what = f"{error.filename}: " if error.filename else ""
        notes = ", ".join(getattr(error, "__notes__", []))
        report(f"{what}{error.strerror or error}" + (f" ({notes})" if notes else ""), options)
    except Exception as error:  # a defect of ours: engines read the log, and people get the place with --debug
        if "--debug" in argv:
            raise
        report(f"a defect in cloche-runtime: {type(error).__name__}: {error} (run it with --debug)", options)
    return OWN_ERROR.get(name, 1)


def _parse(verb: Verb, words: list[str]) -> Parsed:
    if not verb.stop and not any(verb.index().get(word) is HELP for word in words):
        words = ["--", *words]  # any at all, as it is refused anyway
    try:
        return parse(verb, words)
    except SpecError as error:
        for word in words:
            option = word.partition("=")[0]
            if option in COMMAND.index() and str(error).startswith(f"unknown option {option}"):
                raise SpecError(f"{option} stands before {verb.name}: cloche-runtime {option} … {verb.name}") from None
        raise


def _nobody_reads() -> bool:
    """Whether our output is a pipe whose reader has gone, which is an end and no error."""
    from select import POLLERR, poll

    output = poll()
    output.register(1, 0)
    return any(event & POLLERR for _, event in output.poll(0))


def load_room(name: str) -> ModuleType:
    """The module of this name beside this one."""
    module = f"cloche.cli.runtime.{name}"
    __import__(module)
    return sys.modules[module]


def _version() -> int:
    from cloche import __version__
    from cloche.spec.config import OCI_VERSION

    say(f"cloche-runtime version {__version__}\nspec: {OCI_VERSION}\n")
    return 0


def entry(bundle: str = "", package: str = "") -> None:
    """What the installed command calls.

    `bundle` is what to call the bundle that is to be made of the modules it runs on, `package` the directory.
    """
    code = main(sys.argv[1:])
    if bundle and not code:
        from cloche.cli.bundling import write

        write(package, bundle, *BUNDLES[bundle])
    _exit(code)
