"""`create` and `run`: a container from a bundle."""

from __future__ import annotations

import posix as os

from cloche.cli.table import FLAG, VALUE, Operand, Option, Verb
from cloche.errors import NotFoundError, SpecError, StageError
from cloche.linux.places import abspath, environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed
    from cloche.cli.runtime.globals import Globals
    from cloche.runtime.creating import Creation

EPERM = 1
ID = Operand("ID", "what to call the container: letters, digits and _ + - .", required=True)
COMMON = (
    Option(
        ("-b", "--bundle"),
        VALUE,
        "Options",
        "DIR",
        "the bundle: a directory with a config.json",
        default=".",
        complete="<dir>",
    ),
    Option(
        ("-f", "--config"), VALUE, "Options", "FILE", "read this instead of the bundle's config.json", complete="<file>"
    ),
    Option(("--console-socket",), VALUE, "Options", "PATH", "a unix socket to send the terminal to", complete="<file>"),
    Option(("--pidfd-socket",), VALUE, "Options", "PATH", "a unix socket to send a pidfd to", complete="<file>"),
    Option(("--pid-file",), VALUE, "Options", "FILE", "write the first process' pid there", complete="<file>"),
    Option(("--preserve-fds",), VALUE, "Options", "N", "pass on N descriptors from 3 up", default="0"),
    Option(("--no-pivot",), FLAG, "Options", "", "do without pivot_root, for a root in an initramfs"),
    Option(("--no-new-keyring",), FLAG, "Options", "", "keep the caller's session keyring"),
    Option(("--no-subreaper",), FLAG, "Options", "", "accepted; orphans of the container are never adopted"),
)
_RUN = (
    Option(("-d", "--detach"), FLAG, "Options", "", "leave it running, and do not wait for its end"),
    Option(("--keep",), FLAG, "Options", "", "do not delete it at its end"),
)
VERBS = {
    "create": Verb(
        "create",
        "make a container; its command waits for `start`",
        ("cloche-runtime create [OPTIONS] ID",),
        (
            "Make all that config.json asks for but the command: namespaces, mounts, cgroups, the filter of system"
            " calls. Later changes of config.json have no effect. When it fails, nothing is left of the attempt.",
            "With /process/terminal a --console-socket is needed: the terminal is sent there.",
        ),
        COMMON,
        operands=(ID,),
        examples=(
            ("cloche-runtime create --bundle ./box demo", "make the container demo from ./box"),
            ("cloche-runtime start demo", "let it begin"),
            ("cloche-runtime delete demo", "give back what it holds, once it has ended"),
        ),
        program="cloche-runtime",
    ),
    "run": Verb(
        "run",
        "create and start a container, and wait for its end",
        ("cloche-runtime run [OPTIONS] ID",),
        (
            "The same as create, start and, when the command has ended, delete. Ends with the exit status of the"
            " command, 128+n when signal n ended it. Signals that it gets itself are passed on.",
            "With --detach it ends as soon as the command runs; the container is there until it is deleted.",
        ),
        (*COMMON, *_RUN),
        operands=(ID,),
        examples=(
            ("cloche-runtime spec --bundle ./box", "a config.json beside ./box/rootfs, for root"),
            ("cloche-runtime run --bundle ./box demo", "its command, in the foreground"),
            ("cloche-runtime run -d --bundle ./box demo", "in the background"),
        ),
        program="cloche-runtime",
    ),
}


def run(name: str, given: Parsed, options: Globals) -> int:
    """Carry out `create` or `run`."""
    from cloche.linux.files import hold_standard_descriptors
    from cloche.runtime.bundle import read_config
    from cloche.runtime.creating import create, seal
    from cloche.stage.inside import default_signals

    hold_standard_descriptors()
    detached = name == "create" or given.flag("detach")
    asked = creation(given, options, master=not detached, runs=name == "run")
    config, warnings, text = read_config(asked.bundle, given.text("config") or "")
    seal(config)
    for warning in warnings:
        if not warning.startswith("/process/capabilities/ambient:"):  # in every config.json of runc's making
            asked.warn(warning)
    default_signals()
    try:
        container, made, master = create(asked, config, text)
    except StageError as error:
        without_user = config.linux is None or config.linux.namespace("user") is None
        if error.op == "Clone" and error.errno == EPERM and without_user and os.geteuid() != 0:
            error.hint = "an ordinary user needs a user namespace: see `cloche-runtime spec --rootless`"
        raise
    if name == "create":
        return 0
    from cloche.runtime.changing import delete, settle

    try:
        settle(container, made.failed)
    except BaseException:
        delete(container, force=True)
        raise
    container.unlock()
    if detached:
        return 0
    from cloche.cli.runtime.foreground import wait

    code = wait(made.pidfd, master)
    if not given.flag("keep"):
        from cloche.cli.runtime.globals import warn

        try:
            for warning in delete(container.lock(), force=True):
                warn(warning, options)
        except NotFoundError:
            pass  # somebody else has deleted it meanwhile
    return code


def creation(given: Parsed, options: Globals, *, master: bool, runs: bool = False) -> Creation:
    """The options as the runtime takes them; `master`: its terminal is relayed by us, `runs`: it does not wait."""
    from cloche.cli.runtime.globals import warn
    from cloche.runtime.creating import Creation

    return Creation(
        root=options.root,
        container_id=given.positionals[0],
        bundle=abspath(given.text("bundle") or "."),
        console_socket=given.text("console_socket") or "",
        pid_file=given.text("pid_file") or "",
        pidfd_socket=given.text("pidfd_socket") or "",
        preserve=preserved(given),
        listening=listening(),
        pivot=not given.flag("no_pivot"),
        keyring=not given.flag("no_new_keyring"),
        manager=options.manager,
        master=master,
        warn=lambda text: warn(text, options),
        waits=not runs,
        meanwhile=_load_rest if runs else _nothing,
        letting_go=_hold_signals if runs and master else _nothing,
    )


def _nothing() -> None:
    pass


def _load_rest() -> None:
    """What `run` needs later than `create`, while there is time for it."""
    import cloche.cli.runtime.foreground
    import cloche.runtime.changing
    import cloche.stage.cleaning  # noqa: F401


def _hold_signals() -> None:
    from cloche.cli.runtime.foreground import hold_signals

    hold_signals()


def preserved(given: Parsed) -> int:
    """How many descriptors from 3 up are passed on: --preserve-fds, and LISTEN_FDS (sd_listen_fds(3))."""
    text = given.text("preserve_fds") or "0"
    if not (text.isascii() and text.isdecimal() and len(text) < 7):
        raise SpecError(f"--preserve-fds {text}: a number is needed")
    count = int(text) + listening()
    for fd in range(3, 3 + count):
        if not _is_open(fd):
            raise SpecError(f"--preserve-fds: descriptor {fd} is not open")
    return count


def listening() -> int:
    """How many descriptors from 3 up a service manager gave us; none where LISTEN_FDS is left over from another one."""
    text = environment("LISTEN_FDS", "0")
    count = int(text) if text.isascii() and text.isdecimal() and len(text) < 7 else 0
    return count if all(_is_open(fd) for fd in range(3, 3 + count)) else 0


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
