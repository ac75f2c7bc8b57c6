"""`exec`: one more process in a running container."""

from __future__ import annotations

from cloche.cli.table import FLAG, LIST, VALUE, Operand, Option, Verb
from cloche.errors import NotFoundError, SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed
    from cloche.cli.runtime.globals import Globals
    from cloche.runtime.executing import Execution

VERBS = {
    "exec": Verb(
        "exec",
        "run one more process in a container",
        ("cloche-runtime exec [OPTIONS] ID COMMAND [ARG...]", "cloche-runtime exec --process FILE [OPTIONS] ID"),
        (
            "Ends with the exit status of the process; 255 means that it could not be run. What is not given here is"
            " as for the container's own command.",
        ),
        (
            Option(
                ("--console-socket",),
                VALUE,
                "Options",
                "PATH",
                "a unix socket to send the terminal to",
                complete="<file>",
            ),
            Option(
                ("--pidfd-socket",), VALUE, "Options", "PATH", "a unix socket to send a pidfd to", complete="<file>"
            ),
            Option(("--cwd",), VALUE, "Options", "DIR", "where in the container it starts"),
            Option(("-e", "--env"), LIST, "Options", "NAME=VALUE", "one more environment variable"),
            Option(("-t", "--tty"), FLAG, "Options", "", "give it a terminal"),
            Option(("-u", "--user"), VALUE, "Options", "UID[:GID]", "the user it runs as, by number"),
            Option(("-g", "--additional-gids"), LIST, "Options", "GID", "one more group"),
            Option(("-p", "--process"), VALUE, "Options", "FILE", "all of it from a JSON document", complete="<file>"),
            Option(("-d", "--detach"), FLAG, "Options", "", "leave it running, and do not wait for its end"),
            Option(("--pid-file",), VALUE, "Options", "FILE", "write its pid there", complete="<file>"),
            Option(("--process-label",), VALUE, "Options", "LABEL", "its SELinux label"),
            Option(("--apparmor",), VALUE, "Options", "PROFILE", "its AppArmor profile"),
            Option(("--no-new-privs",), FLAG, "Options", "", "set-uid programs give it nothing"),
            Option(("-c", "--cap"), LIST, "Options", "CAP", "one more capability", complete="<capability>"),
            Option(("--preserve-fds",), VALUE, "Options", "N", "pass on N descriptors from 3 up", default="0"),
            Option(
                ("--cgroup",),
                LIST,
                "Options",
                "[CONTROLLER,...:]PATH",
                "a cgroup below the container's own, to run it in; on v1 also for some controllers alone",
            ),
            Option(("--ignore-paused",), FLAG, "Options", "", "also in a paused container"),
            Option(("--no-subreaper",), FLAG, "Options", "", "accepted; orphans of the container are never adopted"),
        ),
        operands=(
            Operand("ID", "the container", required=True, complete="<container>"),
            Operand("COMMAND", "what to run; not with --process"),
            Operand("ARG", "its arguments", many=True),
        ),
        examples=(
            ("cloche-runtime exec demo ps", "one command"),
            ("cloche-runtime exec -t -e TERM=xterm demo sh", "a shell on a terminal"),
        ),
        stop=1,
        program="cloche-runtime",
    )
}


def run(name: str, given: Parsed, options: Globals) -> int:
    """Carry out `exec`."""
    from cloche.cli.runtime.globals import report
    from cloche.linux.files import hold_standard_descriptors
    from cloche.runtime.consoles import send_descriptor
    from cloche.runtime.containers import load, point
    from cloche.runtime.creating import write_pid_file
    from cloche.runtime.executing import execute, seal_for
    from cloche.spec.process import CAPABILITIES
    from cloche.stage.inside import default_signals

    del name
    hold_standard_descriptors()
    asked = execution(given)
    for capability in asked.capabilities:
        if capability not in CAPABILITIES:
            report(f"warning: --cap {capability}: no capability of this kernel has that name", options)
    container = load(options.root, given.positionals[0])
    config = seal_for(container, asked)
    default_signals()
    made, master = execute(container, config, asked)
    try:
        if path := given.text("pid_file"):
            write_pid_file(path, made.pid)
        if asked.pidfd_socket:
            send_descriptor(asked.pidfd_socket, "--pidfd-socket", made.pidfd, b"pidfd")
    except BaseException:
        made.abandon()
        raise
    if not asked.detach:
        from cloche.cli.runtime.foreground import hold_signals, wait

        hold_signals()
    failed = made.keep()
    point("kept")
    if failed is not None:
        raise NotFoundError(failed[1], hint=failed[2])
    if asked.detach:
        return 0
    return wait(made.pidfd, master)


def execution(given: Parsed) -> Execution:
    """The options as the runtime takes them."""
    from cloche.cli.runtime.create import preserved
    from cloche.runtime.bundle import read_document
    from cloche.runtime.executing import Execution

    process = b""
    if path := given.text("process"):
        process = read_document("--process", path)
        if not process:
            raise SpecError(f"--process {path}: is empty")
    groups = given.all("additional_gids")
    if not all(item.isascii() and item.isdecimal() and len(item) < 11 for item in groups):
        raise SpecError("--additional-gids: numbers are needed")
    for entry in given.all("env"):
        if entry.find("=") < 1:
            raise SpecError(f"--env {entry!r}: NAME=VALUE is needed")
    argv = given.positionals[1:]
    return Execution(
        process=process,
        argv=tuple(argv[1:] if argv[:1] == ["--"] else argv),
        cwd=given.text("cwd") or "",
        env=tuple(given.all("env")),
        terminal=given.flag("tty"),
        user=given.text("user") or "",
        groups=tuple(int(item) for item in groups),
        capabilities=tuple(given.all("cap")),
        no_new_privs=given.flag("no_new_privs"),
        apparmor=given.text("apparmor") or "",
        label=given.text("process_label") or "",
        cgroups=tuple(given.all("cgroup")),
        ignore_paused=given.flag("ignore_paused"),
        console_socket=given.text("console_socket") or "",
        pidfd_socket=given.text("pidfd_socket") or "",
        preserve=preserved(given),
        detach=given.flag("detach"),
    )
