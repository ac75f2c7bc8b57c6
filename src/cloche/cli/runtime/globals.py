"""The options before the verb, and where errors go: stderr for people, the log for engines."""

from __future__ import annotations

import sys
from posix import O_APPEND, O_CLOEXEC, O_CREAT, O_WRONLY, close, getcwd
from posix import open as open_

from cloche.cli.table import FLAG, VALUE, Operand, Option, Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed

COMMAND = Verb(
    "",
    "run OCI bundles",
    ("cloche-runtime [OPTIONS] VERB [ARG...]",),
    (
        "An OCI runtime: engines such as docker, podman and containerd call it in runc's place, and people can try out"
        " a bundle, which is a directory with a config.json and a root file system.",
        "Nothing of it stays resident while a container runs: each verb finds what it needs below --root.",
    ),
    (
        Option(
            ("--root",),
            VALUE,
            "Options",
            "DIR",
            "keep the state of containers here, in place of /run/cloche-runtime (root) or"
            " $XDG_RUNTIME_DIR/cloche-runtime (others)",
            complete="<dir>",
        ),
        Option(
            ("--log",),
            VALUE,
            "Options",
            "FILE",
            "append errors to this file, too; or journald:ID, syslog:NAME",
            complete="<file>",
        ),
        Option(
            ("--log-format",),
            VALUE,
            "Options",
            "FORMAT",
            "how the log is written: as text or json",
            default="text",
            complete="text json",
            closed=True,
        ),
        Option(
            ("--log-level",),
            VALUE,
            "Options",
            "LEVEL",
            "what is said: only errors, warnings as well, or every call",
            default="warning",
            complete="error warning debug",
            closed=True,
        ),
        Option(("--debug",), FLAG, "Options", "", "the same as --log-level debug; a defect also shows its place"),
        Option(
            ("--systemd-cgroup",),
            FLAG,
            "Options",
            "",
            "let systemd make the cgroup; cgroupsPath is then SLICE:PREFIX:NAME",
        ),
        Option(
            ("--cgroup-manager",),
            VALUE,
            "Options",
            "MANAGER",
            "who makes the cgroup, as crun's option has it",
            complete="cgroupfs systemd disabled",
            closed=True,
        ),
        Option(("--rootless",), VALUE, "Options", "true|false|auto", "accepted; what is allowed is found out"),
        Option(("--criu",), VALUE, "Options", "PATH", "accepted; checkpoints are not supported", complete="<file>"),
        Option(("-v", "-V", "--version"), FLAG, "Options", "", "show the version"),
    ),
    operands=(Operand("VERB", "what to do", complete="<verb>"), Operand("ARG", "what the verb takes", many=True)),
    examples=(
        ("cloche-runtime spec", "write a config.json that runs a shell in ./rootfs"),
        ("cloche-runtime run demo", "run the bundle that is here, as container demo"),
        ("cloche-runtime list", "what containers there are"),
    ),
    stop=1,
    program="cloche-runtime",
)


class Globals:
    """What was given before the verb."""

    def __init__(self, parsed: Parsed) -> None:
        from cloche.runtime.containers import default_root

        root = parsed.text("root") or default_root()
        self.root = root if root.startswith("/") else f"{getcwd()}/{root}"
        log = parsed.text("log") or ""
        self.journal = log.startswith(("journald:", "syslog:"))  # as crun writes it, and file:
        self.log = log.removeprefix("file:")
        if self.journal:
            from cloche.cli.runtime.journal import check

            check(log)
        elif self.log:
            # known at once, or what fails later would be told to nobody
            close(open_(self.log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o644))
        self.json = parsed.text("log_format") == "json"
        self.manager = "systemd" if parsed.flag("systemd_cgroup") else parsed.text("cgroup_manager") or "cgroupfs"
        level = parsed.text("log_level")
        self.debug = parsed.flag("debug") or level == "debug"
        self.quiet = level == "error"


def say(text: str) -> None:
    """Print what was asked for. Raises OSError where it cannot be: the output is closed, or full, or nobody reads."""
    if sys.stdout is None:
        raise OSError(9, "is closed", "standard output")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard output") from error


def report(text: str, options: Globals | None) -> None:
    """Say an error on stderr, and in the log."""
    from cloche.cli.output import message

    line = message(text).removeprefix("cloche-runtime ")  # which the parser says, and a line begins with
    _to_stderr(line)
    _to_log(line, options, "error")


def warn(text: str, options: Globals) -> None:
    """Say a warning in the log; without one on stderr, which belongs to the container as well."""
    if options.quiet:
        return
    from cloche.cli.output import message

    line = message(text)
    _to_log(line, options, "warning")
    if options.debug or not options.log:
        _to_stderr(f"warning: {line}")


def debug(text: str, options: Globals) -> None:
    """Say what is done, in the log or, without one, on stderr; only with --debug."""
    if not options.debug:
        return
    from cloche.cli.output import message

    line = message(text)
    if options.log:
        _to_log(line, options, "debug")
    else:
        _to_stderr(f"debug: {line}")


def _to_stderr(line: str) -> None:
    try:
        print(f"cloche-runtime: {line}", file=sys.stderr, flush=True)
    except (OSError, ValueError, AttributeError):
        pass  # closed or full: nobody can be told


def _to_log(line: str, options: Globals | None, level: str) -> None:
    """One entry in the shape that engines read (logrus, as runc writes it)."""
    if options is None or not options.log:
        return
    try:
        if options.journal:
            from cloche.cli.runtime.journal import send

            send(options.log, level, line)
        else:
            _to_file(line, options, level)
    except OSError as error:
        _to_stderr(f"--log {options.log}: {error.strerror or error}")


def _to_file(line: str, options: Globals, level: str) -> None:
    import time

    from cloche.spec.reader import write_json

    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if options.json:
        entry = write_json({"level": level, "msg": line, "time": now})
    else:
        entry = f"time={write_json(now)} level={level} msg={write_json(line)}"
    with open(options.log, "a", encoding="utf-8") as file:
        file.write(entry + "\n")
