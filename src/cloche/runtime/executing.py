"""`exec`: one more process in a container that is there already, with its restrictions."""

from __future__ import annotations

import posix as os

from cloche.errors import ClocheError, ConflictError, SpecError
from cloche.linux.places import commonpath, environment, isdir
from cloche.records import record
from cloche.runtime import attributes
from cloche.runtime.agents import tell_agent
from cloche.runtime.bundle import check_mapped
from cloche.runtime.cgroups.containers import entry_of
from cloche.runtime.consoles import check_console, send_console
from cloche.runtime.creating import carry_out, state_for_hooks, users_of
from cloche.runtime.filesystem import take_user
from cloche.runtime.host import probe_host
from cloche.runtime.identity import plan_identity
from cloche.runtime.idmaps import first_of, joined, without
from cloche.runtime.planning import find_command
from cloche.runtime.receipt import Receipt
from cloche.runtime.request import Request, Root
from cloche.spec.config import Config
from cloche.spec.process import Capabilities, Process, User
from cloche.spec.reader import read_json
from cloche.spec.validate import check_process
from cloche.stage.hooks import with_pid
from cloche.stage.kept import seal_against
from cloche.stage.making import Callbacks, Made
from cloche.stage.operation import Plan
from cloche.stage.operations import command, filesystems, groups, processes
from cloche.stage.operations.identity import GiveStreams, SessionKeyring
from cloche.stage.points import from_environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.runtime.containers import Container
    from cloche.runtime.host import Groups
    from cloche.stage.operation import Operation

KINDS = ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time")


@record
class Execution:
    """What `exec` was asked, beside the container."""

    process: bytes = b""  # of --process, a JSON document; else from the rest:
    argv: tuple[str, ...] = ()
    cwd: str = ""
    env: tuple[str, ...] = ()
    terminal: bool = False
    user: str = ""
    groups: tuple[int, ...] = ()
    capabilities: tuple[str, ...] = ()
    no_new_privs: bool = False
    apparmor: str = ""
    label: str = ""
    cgroups: tuple[str, ...] = ()  # groups below the container's own: PATH, or CONTROLLER,...:PATH
    ignore_paused: bool = False
    console_socket: str = ""
    pidfd_socket: str = ""
    preserve: int = 0
    detach: bool = False


class _Callbacks(Callbacks):
    def __init__(self, container: Container, config: Config, console_socket: str) -> None:
        self.container, self.config = container, config
        self.console_socket, self.master = console_socket, -1

    def listener(self, fd: int, pid: int) -> None:
        linux = self.config.linux
        state = with_pid(state_for_hooks(self.container, "running"), self.container.pid)
        tell_agent(linux.seccomp if linux is not None else None, state, pid, fd)

    def console(self, master: int) -> None:
        if self.console_socket:
            send_console(self.console_socket, master)
        else:
            self.master = os.dup(master)


def seal_for(container: Container, asked: Execution) -> Config:
    """See to it that the container cannot write the interpreter we run from; may start this command again.

    Who may be in there is decided by its config.json, which is returned: the namespace of its first process tells
    nothing, as that may have gone to another with other ids, and left somebody behind who has the host's.
    Raises ConflictError for a container that nothing can run in now.
    """
    status = container.status()
    if status == "paused" and not asked.ignore_paused:
        raise ConflictError("cannot exec in a paused container (use --ignore-paused to override)")
    if status not in {"created", "running", "paused"}:
        raise ConflictError(f"cannot exec in a {status} container", hint=f"{container.id} has to be running")
    text = container.config_text()
    config = Config.parse(read_json(text))
    named = text + asked.process + " ".join(asked.capabilities).encode()
    seal_against(users_of(config), {"CAP_LINUX_IMMUTABLE"} if b"CAP_LINUX_IMMUTABLE" in named else set())
    return config


def execute(container: Container, config: Config, asked: Execution) -> tuple[Made, int]:
    """Make the process; it waits for `Made.keep`. Returns it with its terminal's master or -1.

    `config` is the container's, and changed here.
    """
    process = _process_of(config, asked)
    check_console(process.terminal, asked.console_socket, stays=not asked.detach)
    config.process = process
    plan = _plan(container, config, process, asked)
    callbacks = _Callbacks(container, config, asked.console_socket)
    return carry_out(plan, callbacks), callbacks.master


def _process_of(config: Config, asked: Execution) -> Process:
    """The process document: as given, or the container's own with what was asked on top."""
    if asked.process:
        try:
            process = Process.parse(read_json(asked.process))
        except SpecError as error:
            raise SpecError(f"--process: {error}", hint=error.hint) from None
    else:
        if config.process is None:
            raise SpecError("the container has no process to take after", hint="give --process FILE")
        process = config.process
        if not asked.argv:
            raise SpecError("there is no command to execute", hint="cloche-runtime exec ID COMMAND, or --process FILE")
        process.args = list(asked.argv)
        process.terminal = asked.terminal
        process.cwd = asked.cwd or process.cwd
        process.env = [*(process.env or []), *asked.env]
        if asked.user:
            _set_user(process.user, asked.user)
        if asked.groups:
            process.user.additionalGids = [*(process.user.additionalGids or []), *asked.groups]
    if asked.no_new_privs:
        process.noNewPrivileges = True
    attributes.inherit(process, config.process)
    process.apparmorProfile = asked.apparmor or process.apparmorProfile
    process.selinuxLabel = asked.label or process.selinuxLabel
    if asked.capabilities:
        _add_capabilities(process, asked.capabilities)
    check_process(process, "/process", [])
    return process


def _set_user(user: User, text: str) -> None:
    """Other ids for a user; what is not named stays: the group, the others, the umask."""
    uid, colon, gid = text.partition(":")
    if not all(part.isascii() and part.isdecimal() and len(part) < 11 for part in ((uid, gid) if colon else (uid,))):
        raise SpecError(f"--user {text[:80]}: numbers are needed", hint="UID or UID:GID")
    user.uid = int(uid)
    if colon:
        user.gid = int(gid)


def _add_capabilities(process: Process, names: tuple[str, ...]) -> None:
    sets = process.capabilities = process.capabilities or Capabilities()
    for kind in ("bounding", "effective", "permitted"):
        setattr(sets, kind, list(dict.fromkeys([*(getattr(sets, kind) or []), *names])))


def _plan(container: Container, config: Config, process: Process, asked: Execution) -> Plan:
    host = probe_host()
    pid = container.pid
    kinds = tuple(kind for kind in KINDS if _namespace(pid, kind) != _namespace("self", kind))
    maps = joined(pid) if "user" in kinds else without(host)
    if "user" in kinds:
        check_mapped(process, maps)
    request = Request(
        config=config,
        root=Root(()),
        ids=maps,
        name="",
        default_seccomp=False,
        watch_refusals=False,
        machine=host.machine,
    )
    born_in, enter = _groups(container, host.groups, asked.cgroups)
    adopt = _by_systemd(container, host.groups, born_in)
    steps: list[Operation] = [
        processes.OpenProcess(pid, int(container.known["started"]), kinds),
        *attributes.exec_steps(
            processes.Clone((), "" if adopt else born_in, enter), process, own_users="user" in kinds
        ),
        *adopt,
    ]
    if process.oomScoreAdj is not None:
        steps.append(groups.OomScore(process.oomScoreAdj))
    steps += [groups.RaiseRlimit(limit.type, limit.hard) for limit in process.rlimits or []]
    first = first_of(maps.uids), first_of(maps.gids)
    steps += [processes.Release(), processes.AwaitRelease("user" in kinds, *first), processes.KeepRoot()]
    steps += [*attributes.keyring_steps(process), SessionKeyring()]
    steps.append(take_user(process.user))
    if process.terminal:
        size = process.consoleSize
        steps.append(filesystems.OpenTerminal(*((size.height, size.width) if size is not None else (0, 0))))
    steps += [command.NewSession(process.terminal), GiveStreams()]
    last = [find_command(process), command.Outlive()]
    steps += plan_identity(request, host, process, Receipt(), asked.preserve, last)
    return Plan(tuple(steps), own_pids=False, failpoint=from_environment(environment("CLOCHE_FAILPOINT")))


def _groups(container: Container, groups: Groups, asked: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The v2 group to be born in, and the v1 groups."""
    below = _below(container, asked)
    places = {}
    for controller, group in container.groups.items():
        path = f"{group}/{below.get(controller, '').strip('/')}".rstrip("/")
        if isdir(path):
            places[controller] = path
        elif below.get(controller):
            raise ClocheError(f"--cgroup {below[controller]}: there is no group {path}") from None
    if not below.get(""):
        places = entry_of(places, groups, container.pid)
    born_in = places.pop("", "")
    return born_in, tuple(dict.fromkeys(places.values()))


def _below(container: Container, asked: tuple[str, ...]) -> dict[str, str]:
    """What --cgroup names, by controller: PATH for every one, or CONTROLLER,...:PATH, more than once (runc-exec(8))."""
    below: dict[str, str] = {}
    for item in asked:
        names, colon, path = item.partition(":")
        if not colon:
            names, path = "", item
        if ".." in path.split("/"):
            raise SpecError(f"--cgroup {item}: may not lead upwards")
        if not colon and len(asked) > 1:
            raise SpecError(f"--cgroup {item}: more than one is given, so each needs its CONTROLLER: in front")
        for name in names.split(",") if colon else container.groups:
            if name in below:
                raise SpecError(f"--cgroup {item}: {name} is named twice")
            if colon and (not name or name not in container.groups):
                raise SpecError(f"--cgroup {item}: the container has no group of a controller {name!r}")
            below[name] = path
    return below


def _by_systemd(container: Container, groups: Groups, place: str) -> list[Operation]:
    """How systemd puts a process into `place`, a group of its scope, where nobody but it can."""
    if not place or not container.known.get("scope"):
        return []
    if os.access(f"{commonpath(groups.v2, place)}/cgroup.procs", os.W_OK):
        return []
    from cloche.stage.operations.scopes import EnterScope

    unit, user = container.known["scope"]
    return [EnterScope(unit, place.removeprefix(container.groups[""]), user)]


def _namespace(pid: int | str, kind: str) -> int:
    try:
        return os.stat(f"/proc/{pid}/ns/{kind}").st_ino
    except FileNotFoundError:  # a kernel without that kind
        return 0
