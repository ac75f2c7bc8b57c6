"""`exec`: what one more process of a running container gets, and the records of those that run.

    STATE/execs/CONTAINER.EXEC    a symbolic link whose text is {"id", "pid", "start", "boot", "command", "tty", "user"}

A record is there at once and whole, as symlink(2) is, and true while the process it names is the same one. Whoever
makes one removes it at the end; what was left by those that were killed is removed by the next that makes or looks,
whichever container it was of.
"""

from __future__ import annotations

import posix as os
import time

from cloche.engine import records
from cloche.errors import BAD_OPTION, ConflictError, ForbiddenError, SpecError
from cloche.linux import places
from cloche.linux.namespaces import NAMES
from cloche.linux.reading import boot_id, read
from cloche.records import record
from cloche.runtime.entering import Confinement, Entry
from cloche.runtime.idmaps import joined
from cloche.spec.reader import read_json, write_json
from cloche.stage.kept import seal_against

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cloche.engine.containers import Container

    Facts = dict[str, Any]


TRIES, SHORTLY = 20, 0.01  # how often it is looked whether a container ends, every so many seconds
LONGEST, SHORT = 4000, 200  # of a link's text, which has to be shorter than a path may be


@record
class Asked:
    """What `exec` was asked, beside the container; "" for what the container itself has."""

    argv: tuple[str, ...]
    env: tuple[str, ...] = ()  # KEY=VALUE, or KEY to be without it
    workdir: str = ""
    user: str = ""
    privileged: bool = False
    terminal_size: tuple[int, int] | None = None
    stays: bool = False  # it goes on when the command has ended


def check_running(container: Container) -> None:
    """Raises ConflictError, with docker's sentences, where nothing can be run in a container now."""
    if not container.running or not container.entry:
        raise not_running(container)
    word = container.name or container.id[:12]
    if "capabilities" not in container.entry:
        raise ConflictError(
            f"nobody knows any more how container {word} is entered: its state.json was damaged",
            hint=f"cloche restart {word}",
        )
    if container.status == "paused" or _is_frozen(container.entry["groups"]):
        raise ConflictError(
            f"container {word} is paused, unpause the container before exec", hint=f"cloche unpause {word}"
        )


def is_alive(container: Container) -> bool:
    """Whether the container's first process is there, and is the one that was known."""
    return records.start_time(int(container.entry["pid"])) == int(container.entry["start"])


def is_ending(container: Container) -> bool:
    """Whether it has ended, or does so within a moment: of all that is killed with it, it need not be the first."""
    for _ in range(TRIES):
        if not is_alive(container):
            return True
        time.sleep(SHORTLY)
    return not is_alive(container)


def not_running(container: Container) -> ConflictError:
    """docker's sentence for a container without a process."""
    word = container.name or container.id[:12]
    return ConflictError(f"container {container.id} is not running", hint=f"cloche start {word}")


def entry_of(container: Container, asked: Asked) -> Entry:
    """All that the plan needs. Raises ConflictError where the container has just ended."""
    facts = container.entry
    pid, start = hold(container)
    kinds = differing(pid)
    ids = joined(pid)
    return Entry(
        pid=pid,
        started=start,
        kinds=kinds,
        argv=asked.argv,
        env=environment(tuple(facts["env"]), asked.env, tty=asked.terminal_size is not None),
        cwd=asked.workdir or facts["cwd"],
        user=asked.user or facts["user"],
        extra_groups=tuple(facts.get("group_add", ())),
        confinement=confinement_of(facts, privileged=asked.privileged),
        terminal_size=asked.terminal_size,
        first=ids.first(),
        keep_groups=ids.deny_setgroups and "user" in kinds,
        stays=asked.stays,
    )


def hold(container: Container) -> tuple[int, int]:
    """(pid, start time) of a process of the container whose namespaces this user may join."""
    if not is_alive(container):
        raise not_running(container)
    reached = records.within_reach(int(container.entry["pid"]))
    start = records.start_time(reached)
    if start is None:
        raise not_running(container)
    return reached, start


def environment(own: tuple[str, ...], more: tuple[str, ...], *, tty: bool) -> tuple[str, ...]:
    """The container's variables, TERM for a terminal, and those asked for; KEY alone takes one away."""
    env = dict(entry.partition("=")[::2] for entry in own)
    if tty:
        env.setdefault("TERM", "xterm")
    for text in more:
        key, equals, value = text.partition("=")
        if equals:
            env[key] = value
        else:
            env.pop(key, None)
    return tuple(f"{key}={value}" for key, value in env.items())


def asked_variables(texts: list[str]) -> tuple[str, ...]:
    """--env as given, with the caller's own value where there is none. Raises SpecError."""
    found = []
    for text in texts:
        key, equals, _ = text.partition("=")
        if not key:
            hint = "KEY=VALUE, or KEY to pass on your own"
            raise SpecError(f"--env {text!r} has no name", hint=hint, code=BAD_OPTION)
        own = None if equals else places.variable(key)
        found.append(text if own is None else f"{key}={own}")
    return tuple(found)


def confinement_of(facts: Facts, *, privileged: bool = False) -> Confinement:
    """What holds the container's processes; with `privileged` its namespaces, groups and limits alone."""
    groups, rlimits = tuple(facts["groups"]), tuple(tuple(limit) for limit in facts.get("rlimits", ()))
    score, umask = facts.get("oom_score_adj"), facts.get("umask")
    umask = 0o022 if umask is None else umask
    if privileged:
        from cloche.linux.capabilities import NAMES as EVERY

        return Confinement(tuple(EVERY), False, None, (), groups, rlimits, umask, score)
    program = (bytes.fromhex(facts["filter"][0]), facts["filter"][1]) if facts["filter"] else None
    landlock = tuple(tuple(tuple(f) if isinstance(f, list) else f for f in rules) for rules in facts["landlock"])
    held = tuple(facts["capabilities"])
    return Confinement(held, facts["no_new_privs"], program, landlock, groups, rlimits, umask, score)


def seal_for(container: Container, *, privileged: bool) -> None:
    """See to it that the container cannot write the interpreter we run from; may start this command again.

    Who may be in there is decided by the ids it was made with: the namespace of its first process tells nothing, as
    that may have gone to another, and left somebody behind.
    """
    facts = container.entry
    users = facts.get("users")
    maps = [(int(outside), int(count)) for _, outside, count in users] if users else None
    held = {"CAP_LINUX_IMMUTABLE"} if privileged or "CAP_LINUX_IMMUTABLE" in facts["capabilities"] else set()
    seal_against(maps, held)


def differing(pid: int, wanted: tuple[str, ...] = tuple(NAMES)) -> tuple[str, ...]:
    """The kinds of namespaces that a process does not share with us. Raises ForbiddenError."""
    kinds = []
    try:
        for kind in wanted:
            if os.stat(f"/proc/{pid}/ns/{kind}").st_ino != os.stat(f"/proc/self/ns/{kind}").st_ino:
                kinds.append(kind)
    except PermissionError:
        raise ForbiddenError(f"process {pid} cannot be inspected by you", hint="be its user, or root") from None
    except FileNotFoundError:
        raise ConflictError(f"process {pid} has ended") from None
    return tuple(kinds)


def add(container_id: str, exec_id: str, pid: int, asked: Asked) -> str:
    """Write down that a process runs in a container; returns the path, to be removed at its end."""
    folder = f"{records.state_dir()}/execs"
    try:
        places.makedirs(folder, mode=0o700)
        for name in os.listdir(folder):
            _true_record(f"{folder}/{name}")
        path = f"{folder}/{container_id}.{exec_id}"
        facts = {"id": exec_id, "pid": pid, "start": records.start_time(pid), "boot": boot_id()}
        facts |= {"tty": asked.terminal_size is not None, "user": asked.user, "command": list(asked.argv)}
        text = write_json(facts)
        if len(text) > LONGEST:
            text = write_json({**facts, "command": [asked.argv[0][:SHORT], "…"]})
        os.symlink(text, path)
    except OSError as error:
        raise ForbiddenError(
            f"{folder} cannot be written: {error.strerror}", hint="give another: --state-dir"
        ) from None
    return path


def forget(path: str) -> None:
    """Remove a record."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def of(container_id: str) -> list[Facts]:
    """The processes that `exec` has started in a container and that run now; docker's ExecIDs are their "id"."""
    folder = f"{records.state_dir()}/execs"
    try:
        names = [name for name in os.listdir(folder) if name.startswith(f"{container_id}.")]
    except FileNotFoundError:
        return []
    found = (_true_record(f"{folder}/{name}") for name in sorted(names))
    return [facts for facts in found if facts is not None]


def _true_record(path: str) -> Facts | None:
    """A record whose process runs; any other is removed."""
    try:
        facts = read_json(os.readlink(path))
    except (SpecError, OSError):
        facts = None
    if isinstance(facts, dict) and records.alive(facts):
        return facts
    forget(path)
    return None


def _is_frozen(groups: list[str]) -> bool:
    return any(
        read(f"{group}/cgroup.freeze").strip() == "1" or read(f"{group}/freezer.self_freezing").strip() == "1"
        for group in groups
    )
