"""`cloche`: the words of the command line to a verb, and every error to one line and an exit code.

    125  cloche itself failed      126, 127  the command cannot be executed, is not found
    125  an option is not there, or its value means nothing
    1    a verb about images or kept containers failed; a verb is not there, an operand missing or one too many
    124  it timed out              else      the command's own, or 128+n for signal n

Each verb lives in a module of its own, imported when it is called for.
"""

from __future__ import annotations

import posix as os
import sys
from errno import EACCES, EDQUOT, ENOSPC, EROFS

from cloche.cli.grammar import parse
from cloche.cli.options import CLOCHE, MODULES, find, is_group
from cloche.errors import ClocheError, SpecError, StageError, UnsupportedError
from cloche.linux import places
from cloche.linux.files import hold_standard_descriptors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed
    from cloche.cli.table import Verb

FAILED, INT = 125, 2
# verb -> the module below cloche.cli, whose last word is the name of the function that carries it out
IMAGES = "pull push images rmi tag save load login logout history search".split()
ROOMS = {verb: f"images.{verb}" for verb in IMAGES}
ROOMS |= {f"image {verb}": f"images.{verb}" for verb in "pull push save load tag history bootstrap".split()}
ROOMS |= {f"image {verb}": f"images.image_{verb}" for verb in "inspect tree exists prune mount unmount diff".split()}
ROOMS |= {
    f"manifest {verb}": f"images.manifest_{verb}"
    for verb in "inspect create add annotate remove push rm exists".split()
}
ROOMS |= {"image ls": "images.images", "image rm": "images.rmi"}
ROOMS |= {"import": "images.import_image", "image import": "images.import_image"}
ROOMS |= {f"volume {verb}": f"volumes.volume_{verb}" for verb in "create ls inspect rm prune exists".split()}
CONTAINERS = "create start stop restart kill rm wait attach pause unpause rename exec top stats ps inspect logs".split()
CONTAINERS += "why port update cp diff commit export".split()
ROOMS |= {verb: f"containers.{verb}" for verb in CONTAINERS}
ROOMS |= {verb: f"system.{verb.rpartition(' ')[2]}" for verb in ("events", "info", "system events", "system info")}
ROOMS |= {f"{verb} prune": f"system.{verb}_prune" for verb in ("system", "container")}
ROOMS |= {"system df": "system.system_df"}
ROOMS |= {f"container {verb}": f"containers.{verb}" for verb in CONTAINERS}
ROOMS |= {"healthcheck run": "containers.healthcheck_run"}
ROOMS |= {"container ls": "containers.ps", "container inspect": "containers.container_inspect"}
# rooms that need no library of others', which takes 5 ms to look for
ALONE = {f"images.{room}" for room in "images history image_inspect image_tree image_exists tag".split()}
ALONE |= {f"system.{room}" for room in ("events", "info", "system_df", "container_prune")}
ALONE |= {f"containers.{verb}" for verb in (*CONTAINERS, "healthcheck_run") if verb != "commit"}
ALONE |= {room for room in ROOMS.values() if room.startswith("volumes.")}
# what the bundles have of modules: loaded by every command that has this bundle, and when they are asked for; a bundle
# that is missing is made by the first command that has loaded the last one of the former
OF_IMAGES = (
    "cloche.images.local",
    "cloche.images.store.stacks",
    "cloche.images.store.uses",
    "cloche.engine.name_words",
)
OF_RUN = ("cloche.cli.main", "cloche.cli.options_run", "cloche.cli.options_keep", *OF_IMAGES)
OF_STAGES = ("cloche.stage.main", "cloche.stage.server", "cloche.stage.client")
ENDS = ("cloche.cli.front", "cloche.sandbox.results", "cloche.engine.passing")
RUN = (*OF_RUN, *OF_STAGES, *ENDS, "cloche.images.host", "cloche.cli.run")
KEPT = (*OF_RUN, "cloche.cli.run", "cloche.cli.containers.run_kept")
EXEC = ("cloche.cli.main", "cloche.cli.options_exec", "cloche.cli.containers.exec")
OF_TERMINALS = ("cloche.cli.containers.leaving", "cloche.stage.operations.filesystems")
# what each of these alone loads; the rest has one bundle, of which most needs little
OWN: dict[str, tuple[str, ...]] = {
    "ps": (),
    "rm": ("cloche.engine.layers",),
    "stop": (),
    "kill": (),
    "start": ("cloche.cli.containers.attaching",),
    "logs": (),
    "inspect": (),
}
VERBS = (
    *(f"cloche.cli.images.{room}" for room in ("images", "image_inspect")),
    *(f"cloche.cli.containers.{verb}" for verb in "attaching create restart wait".split()),
    *(f"cloche.cli.options_{part}" for part in ("containers", "create", "images")),
)
BUNDLES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "run": (RUN, ("cloche.cli.containers.run_kept", "cloche.cli.containers.attaching")),
    "kept": (KEPT, ("cloche.cli.containers.attaching", *RUN)),
    "exec": (EXEC, OF_TERMINALS),
    **{
        verb: (("cloche.cli.main", MODULES[verb], f"cloche.cli.containers.{verb}"), later)
        for verb, later in OWN.items()
    },
    "verbs": (("cloche.cli.main",), VERBS),
}


def main(argv: list[str]) -> int:
    """Run a command line (without the program's name); returns the exit code."""
    hold_standard_descriptors()
    _hold_streams()
    debug, failed = False, FAILED
    try:
        top = parse(CLOCHE, argv)
        debug = top.flag("debug")
        if (
            top.positionals[:2] != ["container", "run"]
            and top.positionals[:1]
            and (top.positionals[0] in ROOMS or is_group(top.positionals[0]))
        ):
            failed = 1  # as docker has it: there is no command whose code it could be taken for
        _set_directories(top)
        if top.flag("version"):
            return _call("version", [])
        if top.help or not top.positionals:
            from cloche.cli.small import overview

            return overview()
        return _flushed(_call(top.positionals[0], top.positionals[1:]))
    except ClocheError as error:
        if debug:
            raise
        from cloche.cli.output import print_error

        print_error(error)
        return error.code if isinstance(error, SpecError) and error.code else failed
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # whoever read our output has closed it: that is an end, not an error
        os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
        return 128 + 13
    except OSError as error:
        if debug:
            raise
        from cloche.cli.output import print_error

        what = f"{error.filename}: " if error.filename else ""
        notes = ", ".join(getattr(error, "__notes__", []))
        text = f"{what}{error.strerror or error}{f' ({notes})' if notes else ''}"
        print_error(StageError(text, hint=_hint(error)))
        return failed


def _flushed(code: int) -> int:
    """The code, if all that was printed could be written; OSError where there is no room for it."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        pass  # nobody reads it any more
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard output") from None
    return code


def _hint(error: OSError) -> str:
    from cloche.images.store.layout import store_dir

    if error.errno in {EACCES, EROFS} and str(error.filename).startswith(f"{store_dir()}/"):
        return "give another store: --root, or CLOCHE_ROOT"
    if error.errno in {ENOSPC, EDQUOT}:
        return "make room there"
    return "run it again with `cloche --debug` for the place in the code"


def _call(name: str, argv: list[str]) -> int:
    verb = find(name)
    parsed = parse(verb, argv)
    group = is_group(name)
    if group and parsed.positionals and not parsed.help:
        return _call(f"{name} {parsed.positionals[0]}", parsed.positionals[1:])
    if parsed.help or group:
        from cloche.cli.small import show

        return show(verb)
    return _implementation(verb, parsed)


def _implementation(verb: Verb, parsed: Parsed) -> int:
    if verb.name in {"run", "shell", "container run"}:
        from cloche.cli.run import run

        return run(verb, parsed)
    if verb.name == "explain":
        from cloche.cli.explain import explain

        return explain(parsed)
    if verb.name == "enter":
        from cloche.cli.enter import enter

        return enter(parsed)
    if verb.name == "doctor":
        from cloche.cli.doctor import doctor

        return doctor(parsed)
    if verb.name in ROOMS:
        room = ROOMS[verb.name]
        if room not in ALONE:
            from cloche.linux.libraries import reach

            reach()
        module = f"cloche.cli.{room}"
        try:
            __import__(module)
            return int(getattr(sys.modules[module], room.rpartition(".")[2])(parsed))
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith("cloche"):
                raise
            needs = f"the Python library {error.name} is not installed"
            raise UnsupportedError(f"cloche {verb.name}", needs=needs, hint=f"pip install {error.name}") from None
    from cloche.cli import small

    return small.call(verb, parsed)


def _hold_streams() -> None:
    """Python has no stream where a descriptor was closed from the start; what is written there goes nowhere."""
    for fd, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(fd, "w", encoding="utf-8", closefd=False))  # noqa: SIM115 - for good


def _set_directories(top: Parsed) -> None:
    for option, variable in (("root", "CLOCHE_ROOT"), ("state_dir", "CLOCHE_STATE")):
        value = top.text(option)
        if value:
            places.set_variable(variable, places.abspath(value))


def _interrupt_again(lost: sys.UnraisableHookArgs) -> None:
    """Have Ctrl-C come again where it was lost: in a callback of the import system, say, nothing can be raised."""
    if lost.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(lost)
        return
    from _thread import start_new_thread
    from time import sleep

    def again() -> None:
        sleep(0.001)
        os.kill(os.getpid(), INT)

    start_new_thread(again, ())


def entry(bundle: str = "", package: str = "") -> None:
    """What the installed command calls: run, flush, and leave without ceremony.

    `bundle` is what to call the bundle that is to be made of the modules it runs on, `package` the directory.
    """
    sys.unraisablehook = _interrupt_again
    code = main(sys.argv[1:])
    if bundle in BUNDLES and BUNDLES[bundle][0][-1] in sys.modules:
        from cloche.cli.bundling import write

        write(package, bundle, *BUNDLES[bundle])
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except OSError:
        pass  # nobody reads it any more, or it was told already
    os._exit(code)
