"""`create` and `run`: a container from a bundle."""

from __future__ import annotations

import os

from cloche.cli.table import FLAG, VALUE, Operand, Option, Verb
from cloche.errors import NotFoundError, SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed
    from cloche.cli.runtime.globals import Globals
    from cloche.runtime.creating import Creation

ID = Operand("ID", "what the container is called", required=True)
_COMMON = (
    Option(("-b", "--bundle"), VALUE, "Options", "DIR", "the bundle: a directory with a config.json", default="."),
    Option(("-f", "--config"), VALUE, "Options", "FILE", "read this instead of the bundle's config.json"),
    Option(("--console-socket",), VALUE, "Options", "PATH", "a unix socket that gets the terminal's far end"),
    Option(("--pidfd-socket",), VALUE, "Options", "PATH", "a unix socket that gets a pidfd of the process"),
    Option(("--pid-file",), VALUE, "Options", "FILE", "write the process' pid there"),
    Option(("--preserve-fds",), VALUE, "Options", "N", "pass on N descriptors from 3 up", default="0"),
    Option(("--no-pivot",), FLAG, "Options", "", "do without pivot_root, for a root in an initramfs"),
    Option(("--no-new-keyring",), FLAG, "Options", "", "keep the caller's session keyring"),
)
_RUN = (
    Option(("-d", "--detach"), FLAG, "Options", "", "do not wait for its end"),
    Option(("--keep",), FLAG, "Options", "", "do not delete it at its end"),
    Option(("--no-subreaper",), FLAG, "Options", "", "accepted; orphans of the container are never adopted"),
)
VERBS = {
    "create": Verb(
        "create",
        "make a container; its command waits for `start`",
        ("cloche-runtime create [OPTIONS] ID",),
        (),
        _COMMON,
        operands=(ID,),
        program="cloche-runtime",
    ),
    "run": Verb(
        "run",
        "create and start a container, and wait for its end",
        ("cloche-runtime run [OPTIONS] ID",),
        (),
        (*_COMMON, *_RUN),
        operands=(ID,),
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
    asked = creation(given, options, master=not detached)
    config, warnings, text = read_config(asked.bundle, given.text("config") or "")
    seal(config)
    for warning in warnings:
        if not warning.startswith("/process/capabilities/ambient:"):  # in every config.json of runc's making
            asked.warn(warning)
    default_signals()
    container, made, master = create(asked, config, text)
    if name == "create":
        return 0
    from cloche.runtime.changing import delete, start

    if not detached:
        from cloche.cli.runtime.foreground import hold_signals, wait

        hold_signals()
    try:
        start(container)
    except BaseException:
        delete(container, force=True)
        raise
    container.unlock()
    if detached:
        return 0
    code = wait(made.pidfd, master)
    if not given.flag("keep"):
        from cloche.cli.runtime.globals import warn

        try:
            for warning in delete(container.lock(), force=True):
                warn(warning, options)
        except NotFoundError:
            pass  # somebody else has deleted it meanwhile
    return code


def creation(given: Parsed, options: Globals, *, master: bool) -> Creation:
    """The options as the runtime takes them."""
    from cloche.cli.runtime.globals import warn
    from cloche.runtime.creating import Creation

    return Creation(
        root=options.root,
        container_id=given.positionals[0],
        bundle=os.path.abspath(given.text("bundle") or "."),
        console_socket=given.text("console_socket") or "",
        pid_file=given.text("pid_file") or "",
        pidfd_socket=given.text("pidfd_socket") or "",
        preserve=preserved(given),
        pivot=not given.flag("no_pivot"),
        keyring=not given.flag("no_new_keyring"),
        manager=options.manager,
        master=master,
        warn=lambda text: warn(text, options),
    )


def preserved(given: Parsed) -> int:
    """How many descriptors from 3 up are passed on: --preserve-fds, and LISTEN_FDS (sd_listen_fds(3))."""
    text = given.text("preserve_fds") or "0"
    if not (text.isascii() and text.isdecimal() and len(text) < 7):
        raise SpecError(f"--preserve-fds {text}: a number is needed")
    listening = os.environ.get("LISTEN_FDS", "0")
    count = int(text) + (int(listening) if listening.isdecimal() and len(listening) < 7 else 0)
    for fd in range(3, 3 + count):
        try:
            os.fstat(fd)
        except OSError:
            raise SpecError(f"--preserve-fds: descriptor {fd} is not open") from None
    return count
