"""`cloche enter`: a command in the namespaces of a running container or process."""

from __future__ import annotations

import os

from cloche.cli import front
from cloche.engine import records
from cloche.engine.reason import exit_code_of
from cloche.errors import ConflictError, ForbiddenError, SpecError
from cloche.linux.kernel import MACHINE
from cloche.linux.namespaces import NAMES
from cloche.runtime import defaults
from cloche.runtime.entering import Entry, plan_entry
from cloche.runtime.idmaps import joined
from cloche.sandbox.running import set_up_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed


def enter(parsed: Parsed) -> int:
    """Carry out the verb; returns the exit code."""
    target, *command = parsed.positionals
    tty, interactive = parsed.flag("tty"), parsed.flag("interactive")
    if not command and os.isatty(0):
        tty = interactive = True
    if tty and interactive and not os.isatty(0):
        raise ConflictError("stdin is not a terminal", hint="leave -t out")
    entry = _entry(parsed, target, tuple(command) or ("/bin/sh",), tty=tty)
    if "mnt" in entry.kinds:  # a program in there may be a script whose interpreter is /proc/self/exe
        from cloche.stage.seal import restart_sealed

        restart_sealed()
    plan, _ = plan_entry(entry)
    ended = front.drive(plan, interactive=interactive, tty=tty)
    if "failed" in ended:
        raise set_up_error(plan, ended["failed"])
    if "not executed" in ended:
        from cloche.cli.output import print_error
        from cloche.errors import StageError

        print_error(StageError(ended["not executed"][2], hint=ended["not executed"][3]))
    return exit_code_of(ended)


def _entry(parsed: Parsed, target: str, command: tuple[str, ...], *, tty: bool) -> Entry:
    pid, started = records.find_process(target)
    found = records.meant_by(target)
    kinds = _kinds(parsed.text("only"), pid)
    whole = parsed.text("only") is None
    env = list(found["env"]) if found and whole else [f"PATH={defaults.PATH}"]
    if tty:
        env.append(f"TERM={os.environ.get('TERM', 'xterm')}")
    for text in parsed.all("env"):
        key, equals, value = text.partition("=")
        if equals or key in os.environ:
            env.append(f"{key}={value if equals else os.environ[key]}")
    cwd = parsed.text("workdir") or (found["cwd"] if found and whole else "/")
    ids = joined(pid)
    entry = Entry(
        pid=pid,
        started=started,
        kinds=kinds,
        argv=command,
        env=tuple(env),
        cwd=cwd,
        user=parsed.text("user") or (found["user"] if found and whole else ""),
        machine=MACHINE,
        terminal_size=front.terminal_size() if tty else None,
        first=ids.first(),
        keep_groups=ids.deny_setgroups and "user" in kinds,
    )
    if found is None or not whole:
        return entry
    restricted = {
        "restrictions": tuple(found["capabilities"]),
        "no_new_privs": found["no_new_privs"],
        "seccomp": found["seccomp"],
        "profile": (bytes.fromhex(found["filter"][0]), found["filter"][1]) if found["filter"] else None,
        "groups": tuple(found["groups"]),
        "landlock": tuple(
            tuple(tuple(field) if isinstance(field, list) else field for field in rules) for rules in found["landlock"]
        ),
    }
    return Entry(**{**vars(entry), **restricted})


def _kinds(only: str | None, pid: int) -> tuple[str, ...]:
    """The kinds to join: those named, or all that differ from ours."""
    aliases = {"mount": "mnt", "network": "net"}
    wanted = list(NAMES)
    if only is not None:
        wanted = [aliases.get(word, word) for word in only.split(",")]
        unknown = [word for word in wanted if word not in NAMES]
        if unknown:
            raise SpecError(f"{unknown[0]!r} is not a kind of namespace", hint=", ".join(NAMES))
    try:
        own = {kind: os.stat(f"/proc/self/ns/{kind}").st_ino for kind in wanted}
        theirs = {kind: os.stat(f"/proc/{pid}/ns/{kind}").st_ino for kind in wanted}
    except PermissionError:
        raise ForbiddenError(f"process {pid} cannot be inspected by you", hint="be its user, or root") from None
    differing = [kind for kind in wanted if own[kind] != theirs[kind]]
    if "user" in theirs or os.geteuid() == 0:
        return tuple(differing)
    if os.stat("/proc/self/ns/user").st_ino != os.stat(f"/proc/{pid}/ns/user").st_ino:
        differing.insert(0, "user")  # power over the others comes with it
    return tuple(differing)
