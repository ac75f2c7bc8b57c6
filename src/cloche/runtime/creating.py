"""`create`: from a bundle to a process that has everything but its command, and waits for `start`."""

from __future__ import annotations

import posix as os
import time

from cloche import ids
from cloche.errors import UnsupportedError
from cloche.linux import files
from cloche.linux.places import environment, join, normpath
from cloche.linux.reading import boot_id, read
from cloche.records import record
from cloche.runtime import attributes, containers
from cloche.runtime.agents import tell_agent
from cloche.runtime.bundle import request_of
from cloche.runtime.cgroups.containers import plan_cgroups
from cloche.runtime.consoles import check_console, send_console, send_descriptor
from cloche.runtime.failures import explain
from cloche.runtime.host import Groups, probe_host
from cloche.runtime.planning import plan as make_plan
from cloche.runtime.receipt import Receipt
from cloche.runtime.request import Lifecycle
from cloche.spec.hooks import HOOK_NAMES
from cloche.spec.mounts import Mount
from cloche.spec.reader import write_json
from cloche.stage.cleaning import end_groups, missing_above, remove_empty
from cloche.stage.hooks import run_hooks_in, with_pid
from cloche.stage.kept import reaches_interpreter, seal_against
from cloche.stage.making import Callbacks, Made, StepFailed, make
from cloche.stage.passwd import by_id, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.runtime.cgroups.plan import GroupPlan
    from cloche.runtime.containers import Container
    from cloche.runtime.host import Host
    from cloche.spec.config import Config
    from cloche.spec.hooks import Hooks
    from cloche.stage.hooks import Hook
    from cloche.stage.operation import Plan

NOTIFY = "/run/notify/notify.sock"
COPIED = "the interpreter it starts from is a copy that nobody can write"
UNREACHED = "the interpreter it starts from cannot be written by anybody in there"


@record
class Creation:
    """What `create` and `run` were asked, beside the bundle."""

    root: str
    container_id: str
    bundle: str  # absolute
    console_socket: str = ""
    pid_file: str = ""
    pidfd_socket: str = ""
    preserve: int = 0
    listening: int = 0  # how many of these a service manager gave us
    pivot: bool = True
    keyring: bool = True
    manager: str = "cgroupfs"  # who makes its cgroups: "cgroupfs" is us, "systemd", or "disabled" for nobody
    master: bool = False  # the caller takes the terminal itself
    warn: Callable[[str], None] = lambda _text: None
    waits: bool = True  # for `start`; else it begins at once
    meanwhile: Callable[[], None] = lambda: None  # called while the new process carries out its steps
    letting_go: Callable[[], None] = lambda: None  # called when it is written down, before it goes on


class _Callbacks(Callbacks):
    def __init__(self, container: Container, asked: Creation, config: Config) -> None:
        self.container, self.asked, self.state = container, asked, state_for_hooks(container, "creating")
        self.all_hooks = hooks_of(config.hooks)
        self.seccomp = config.linux.seccomp if config.linux is not None else None
        self.master = -1
        self.receipt = Receipt()
        self.above: list[str] = []  # groups that are to be made above the container's own
        self.hooked = False  # hooks may have done something that those of poststop undo

    def made(self, pid: int) -> None:
        self.container.update(pid=pid, started=containers.start_time(pid))

    def meanwhile(self) -> None:
        self.write_receipt([])
        self.asked.meanwhile()

    def write_receipt(self, notes: list[tuple[str, str]]) -> None:
        """Write down what is enforced, as decided but for `notes`: what came out weaker, and why."""
        text = write_json(self.receipt.with_notes(notes).to_dict())
        files.write_atomically(f"{self.container.folder}/{containers.RECEIPT}", text.encode())

    def hooks(self, pid: int) -> None:
        self.hooked = True
        text = with_pid(self.state, pid)
        for kind in ("prestart", "createRuntime"):
            if hooks := self.all_hooks.get(kind):
                run_hooks_in(self.asked.bundle, kind, hooks, text)

    def console(self, master: int) -> None:
        if self.asked.console_socket:
            send_console(self.asked.console_socket, master)
        else:
            self.master = os.dup(master)

    def listener(self, fd: int, pid: int) -> None:
        tell_agent(self.seccomp, with_pid(self.state, pid), pid, fd)


def seal(config: Config) -> None:
    """See to it that the container cannot write the interpreter we run from; may start this command again."""
    process = config.process
    sets = process.capabilities if process is not None else None
    seal_against(users_of(config), set((sets.bounding if sets else None) or ()))  # no other set outlives execve without


def users_of(config: Config) -> list[tuple[int, int]] | None:
    """The host's ids (first, how many) of a user namespace; None: without one, any."""
    linux = config.linux
    users = linux.namespace("user") if linux is not None else None
    if linux is None or users is None:
        return None
    # of a namespace to join it is not known here what its map is
    return [] if users.path else [(item.hostID, item.size) for item in linux.uidMappings or []]


@record
class Decided:
    """All that `create` is going to do, before it does anything."""

    plan: Plan
    receipt: Receipt  # what the plan enforces, if every step succeeds
    groups: GroupPlan
    scope: list[object]  # of systemd's: its unit, whether it is the user's


def unwritten(asked: Creation, config: Config) -> Container:
    """What is to be known of the container that is asked for; nothing of it is on disk."""
    ids.check_id(asked.container_id)
    return containers.Container(
        asked.root,
        asked.container_id,
        {
            "ociVersion": config.ociVersion,
            "bundle": asked.bundle,
            "rootfs": normpath(join(asked.bundle, config.root.path)) if config.root else "",
            "created": _now(),
            "annotations": config.annotations or {},
            "owner": _owner(),
            "boot": boot_id(),
        },
    )


def decide(asked: Creation, config: Config, container: Container, host: Host) -> Decided:
    """Decide on every step. Raises UnsupportedError and SpecError for what cannot be, or makes no sense."""
    _pass_on_services(config, asked)
    receipt = Receipt()
    groups, scope = _plan_groups(config, asked, host, receipt)
    keyring = f"_ses.{asked.container_id}" if asked.keyring else ""
    state, hooks = state_for_hooks(container, "creating"), hooks_of(config.hooks)
    life = Lifecycle(
        container.folder, state, hooks, groups, asked.preserve, asked.pivot, keyring, asked.bundle, asked.waits
    )
    stage = COPIED if reaches_interpreter(users_of(config)) else UNREACHED
    plan, rest = make_plan(request_of(config, asked.bundle, asked.container_id, host, life, stage), host)
    return Decided(plan, Receipt([*receipt, *rest]), groups, scope)


def create(asked: Creation, config: Config, text: bytes) -> tuple[Container, Made, int]:
    """Create a container; returns it locked, with its first process and the terminal's master or -1.

    Where it does not wait for `start`, `Made.failed` says whether it has become the command; see `changing.settle`.

    `config` is what was read from `text`, the bundle's config.json, once for all decisions.

    Raises ClocheError, with nothing left of the attempt.
    """
    container = unwritten(asked, config)
    host = probe_host()
    terminal = config.process is not None and config.process.terminal
    check_console(terminal, asked.console_socket, stays=asked.master)
    containers.write(container)
    callbacks = _Callbacks(container, asked, config)
    try:
        containers.point("recorded")
        files.write_atomically(f"{container.folder}/config.json", text)  # has the hooks for who finds it killed
        decided = decide(asked, config, container, host)
        plan, groups, callbacks.receipt = decided.plan, decided.groups, decided.receipt
        resctrl = attributes.resctrl_directories(config, asked.container_id)
        container.update(groups=groups.paths, own_pids=plan.own_pids, resctrl=resctrl, scope=decided.scope)
        callbacks.above = [] if decided.scope else missing_above(container.directories)
        made = carry_out(plan, callbacks)
    except BaseException:
        _undo(container, callbacks)
        raise
    try:
        if made.notes:
            callbacks.write_receipt(made.notes)
        for name, why in (*groups.left_out, *made.notes):
            asked.warn(f"{name} is not in force: {why}")
        container.update(ready=True)
        containers.point("created")
        if asked.pid_file:
            write_pid_file(asked.pid_file, made.pid)
        if asked.pidfd_socket:
            send_descriptor(asked.pidfd_socket, "--pidfd-socket", made.pidfd, b"pidfd")
    except BaseException:
        made.abandon()
        _undo(container, callbacks)
        raise
    asked.letting_go()
    made.keep()
    containers.point("kept")
    return container, made, callbacks.master


def _undo(container: Container, callbacks: _Callbacks) -> None:
    if busy := remove_empty(container.directories):
        end_groups(containers.own_groups(container, busy)[0])
    for group in reversed(callbacks.above):
        try:
            os.rmdir(group)
        except OSError:
            pass  # somebody else has made one below it meanwhile
    attributes.remove_resctrl(container.known.get("resctrl", []))
    if callbacks.hooked:
        # runtime.md, Lifecycle: where hooks of `create` fail it goes on with those of poststop
        for text in run_poststop(container, callbacks.all_hooks):
            callbacks.asked.warn(text)
    container.remove()


def run_poststop(container: Container, hooks: dict[str, tuple[Hook, ...]]) -> list[str]:
    """Run the hooks poststop, each of them whatever the others do; returns what failed, as warnings."""
    state = with_pid(state_for_hooks(container, "stopped"), container.pid)
    warnings = []
    for index, hook in enumerate(hooks.get("poststop", ())):
        try:
            run_hooks_in(container.known["bundle"], "poststop", (hook,), state, index)
        except OSError as error:
            warnings.append(f"{error.filename}: {error.strerror}")
    return warnings


def _plan_groups(config: Config, asked: Creation, host: Host, receipt: Receipt) -> tuple[GroupPlan, list[object]]:
    """The container's cgroups, and the scope (unit, whether it is the user's) that systemd makes for them.

    With a user namespace and a writable view on v2, its root may make more below.
    """
    linux = config.linux
    owner = -1
    if linux is not None and linux.namespace("user") is not None and linux.namespace("cgroup") is not None:
        views = [item for item in config.mounts or [] if item.type in {"cgroup", "cgroup2"}]
        roots = [m.hostID - m.containerID for m in linux.uidMappings or [] if m.containerID == 0]
        if roots and views and not any({"ro", "rro"} & set(item.options or ()) for item in views):
            owner = roots[0]
    resources = linux.resources if linux is not None else None
    path = (linux.cgroupsPath if linux is not None else "") or ""
    rootless = not (host.privileged and host.initial)
    if asked.manager == "systemd":
        from cloche.runtime.cgroups.scopes import plan_scope

        return plan_scope(
            resources, host.groups, path, asked.container_id, config.annotations or {}, rootless, owner, receipt
        )
    none = asked.manager == "disabled"
    groups = host.groups if not none else Groups("none", {}, {}, "", "")
    try:
        return plan_cgroups(
            resources, groups, path, name=asked.container_id, rootless=rootless, owner=owner, receipt=receipt
        ), []
    except UnsupportedError as error:
        if not none:
            raise
        raise UnsupportedError(
            error.feature, needs="--cgroup-manager disabled is given", hint="leave one of the two out"
        ) from None


def _pass_on_services(config: Config, asked: Creation) -> None:
    """Pass on what a service manager gave us: listening sockets (sd_listen_fds(3)) and where to notify it.

    The socket of sd_notify(3) is bound into the container, as crun does, at a place that needs no room elsewhere.
    One that is not there belongs to a service that we are no part of, and its environment has reached us by chance.
    """
    process = config.process
    if process is None:
        return
    env = process.env = list(process.env or [])
    if asked.listening:
        env += [f"LISTEN_FDS={asked.listening}", "LISTEN_PID=1"]
        if names := environment("LISTEN_FDNAMES"):
            env.append(f"LISTEN_FDNAMES={names}")
    notify = environment("NOTIFY_SOCKET")
    if notify.startswith("/") and not os.access(notify, os.F_OK):
        asked.warn(f"NOTIFY_SOCKET is not passed on: {notify} is not there")
    elif notify.startswith("/"):
        mounts = config.mounts = list(config.mounts or [])
        mounts.append(
            Mount(destination=NOTIFY, type="bind", source=notify, options=["bind", "nosuid", "nodev", "noexec"])
        )
        env.append(f"NOTIFY_SOCKET={NOTIFY}")


def carry_out(plan: Plan, callbacks: Callbacks) -> Made:
    """`make`, with what failed as an error a person and an engine can read."""
    try:
        return make(plan, [0, 1, 2], callbacks)
    except StepFailed as failure:
        raise explain(plan, failure) from None


def state_for_hooks(container: Container, status: str) -> str:
    """The state as JSON (runtime.md), with "PID" where the pid belongs."""
    return write_json({
        "ociVersion": container.known["ociVersion"],
        "status": status,  # this and the pid are replaced: before them nothing may say the same
        "pid": "PID",
        "id": container.id,
        "bundle": container.known["bundle"],
        "annotations": container.known.get("annotations") or {},
    })  # fmt: skip


def hooks_of(hooks: Hooks | None) -> dict[str, tuple[Hook, ...]]:
    """config.json's hooks as plain values, by kind."""
    found: dict[str, tuple[Hook, ...]] = {}
    for kind in HOOK_NAMES:
        listed = getattr(hooks, kind, None) or []
        if listed:
            found[kind] = tuple((h.path, tuple(h.args or ()), tuple(h.env or ()), h.timeout or 0) for h in listed)
    return found


def write_pid_file(path: str, pid: int) -> None:
    """Write a pid so that a reader sees all of it or nothing."""
    above, slash, name = path.rpartition("/")
    temporary = f"{above}{slash}.{name}.{os.getpid()}"
    try:
        # a new one: what is there by that name may be somebody's link to another file
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            try:
                os.write(fd, str(pid).encode())
            finally:
                os.close(fd)
            os.rename(temporary, path)
        except OSError:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"--pid-file {path}") from None


def _owner() -> str:
    if entry := by_id(os.geteuid(), parse(read("/etc/passwd"))):
        return entry[0]  # a tenth of what a question to the C library costs
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"#{os.geteuid()}"


def _now() -> str:
    """The time as RFC 3339 with nanoseconds, in UTC."""
    nanoseconds = time.time_ns()
    moment = time.gmtime(nanoseconds // 10**9)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', moment)}.{nanoseconds % 10**9:09d}Z"
