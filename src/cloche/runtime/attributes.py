"""Which steps the attributes of a process and of a container need.

Scheduler, disk, memory, personality, security modules, caches, interfaces, and what the root passes on.

    outside_steps  after the clone: what needs power over the machine, or is about the process from outside
    inside_steps   before powers are dropped and the filter is loaded
    root_steps     after the pivot

What does not belong here: groups, limits, capabilities and filters.
"""

from __future__ import annotations

import posix as os

from cloche.errors import ConflictError, UnsupportedError
from cloche.linux import files, mount, scheduling
from cloche.linux.places import basename, isdir
from cloche.spec.checks import parse_cpu_list
from cloche.stage.operations import attributes, roots

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.runtime.request import Request
    from cloche.spec.config import Config
    from cloche.spec.linux import IntelRdt, Linux
    from cloche.spec.process import Process
    from cloche.stage.operation import Operation

_PROPAGATION = {
    "private": mount.MS_PRIVATE,
    "slave": mount.MS_SLAVE,
    "shared": mount.MS_SHARED,
    "unbindable": mount.MS_UNBINDABLE,
}
_UNLABELLED = {"proc", "sysfs", "bind", "cgroup", "cgroup2", "mqueue"}
APPARMOR = "/sys/module/apparmor/parameters/enabled"


def outside_steps(request: Request) -> list[Operation]:
    """What the stage does to a container's process before it lets it go on. Raises UnsupportedError."""
    process, linux = request.config.process, request.config.linux
    steps = _priorities(process, by_stage=True) if process is not None and request.ids.kind != "host" else []
    if linux is None or request.lifecycle is None:
        return steps
    if (step := _resctrl(linux.intelRdt, basename(request.lifecycle.folder))) is not None:
        steps.append(step)
    if linux.netDevices:
        names = tuple((here, device.name or here) for here, device in linux.netDevices.items())
        steps.append(attributes.MoveInterfaces(names))
    return steps


def exec_steps(clone: Operation, process: Process, *, own_users: bool) -> list[Operation]:
    """`clone` with the processors before and after it, and what the stage does to one more process of a container."""
    affinity = process.execCPUAffinity
    initial = tuple(parse_cpu_list(affinity.initial or "")) if affinity is not None else ()
    final = tuple(parse_cpu_list(affinity.final or "")) if affinity is not None else ()
    steps: list[Operation] = [attributes.Affinity(initial)] if initial else []
    steps.append(clone)
    if initial or final:
        # a kernel of 6.2 or later keeps `initial` across the change of groups
        steps.append(attributes.Affinity(final))
    return steps + (_priorities(process, by_stage=True) if own_users else [])


def inside_steps(linux: Linux | None, process: Process, *, own_users: bool) -> list[Operation]:
    """What the process does to itself while it may, before any filter can refuse it. Raises UnsupportedError."""
    steps = [] if own_users else _priorities(process, by_stage=False)
    if linux is not None and linux.memoryPolicy is not None:
        policy = linux.memoryPolicy
        nodes = tuple(parse_cpu_list(policy.nodes or ""))
        steps.append(attributes.MemoryPolicy(policy.mode, tuple(policy.flags or ()), nodes))
    if process.apparmorProfile and (step := _apparmor(process.apparmorProfile)) is not None:
        steps.append(step)
    if process.selinuxLabel:
        steps.append(_selinux("/process/selinuxLabel", "exec", process.selinuxLabel))
    if linux is not None and linux.personality is not None:
        domain = linux.personality.domain
        number = scheduling.PER_LINUX32 if domain == "LINUX32" else scheduling.PER_LINUX
        steps.append(attributes.Personality(domain, number))
    return steps


def keyring_steps(process: Process) -> list[Operation]:
    """Before the session keyring: it gets the label of the process. Raises UnsupportedError."""
    if not process.selinuxLabel:
        return []
    return [_selinux("/process/selinuxLabel", "keycreate", process.selinuxLabel)]


def inherit(process: Process, above: Process | None) -> None:
    """What `exec` is not told, the process has from its container: it may not be confined less."""
    if above is None:
        return
    process.apparmorProfile = process.apparmorProfile or above.apparmorProfile
    process.selinuxLabel = process.selinuxLabel or above.selinuxLabel
    process.scheduler = process.scheduler or above.scheduler
    process.ioPriority = process.ioPriority or above.ioPriority


def label_mounts(config: Config) -> None:
    """Let every mount that has files of its own carry linux.mountLabel. Raises UnsupportedError."""
    label = config.linux and config.linux.mountLabel
    if not label:
        return
    _need_selinux("/linux/mountLabel")
    for item in config.mounts or []:
        if item.type not in _UNLABELLED and not {"bind", "rbind"} & set(item.options or ()):
            item.options = [*(item.options or []), f"context={label}"]


def label_steps(config: Config) -> list[Operation]:
    """After the mounts: those that take their label as a file does."""
    label = config.linux and config.linux.mountLabel
    queues = [item.destination for item in config.mounts or [] if item.type == "mqueue"] if label else []
    return [attributes.LabelFile(path, label or "") for path in queues]


def root_propagation(request: Request) -> int:
    """MS_SLAVE or 0: how the root hangs together with the host's mount it is a copy of."""
    if request.lifecycle is None:
        return 0
    name = request.config.linux and request.config.linux.rootfsPropagation
    return mount.MS_SLAVE if name in {None, "", "slave", "rslave"} else 0


def cut_loose(request: Request, *, by_stage: bool) -> Operation:
    """The first step on the new tree of mounts, which is a copy of the host's; the root comes from it or the stage."""
    return attributes.CutUpwards() if root_propagation(request) and not by_stage else roots.MakePrivate()


def root_steps(linux: Linux | None) -> list[Operation]:
    """After the pivot: what the root's own mount passes on.

    A shared one begins a peer group of its own: it was private, so the host is not in it (config-linux.md).
    """
    name = (linux and linux.rootfsPropagation) or "slave"
    plain = name.removeprefix("r")
    if plain in {"slave", "private"}:
        return []
    return [attributes.PropagateRoot(_PROPAGATION[plain], name != plain)]


def resctrl_directories(config: Config, container_id: str) -> list[str]:
    """What is made in resctrl for this container alone, inner ones first: to be removed with it.

    Raises ConflictError where it is there already.
    """
    asked = config.linux.intelRdt if config.linux is not None else None
    step = _resctrl(asked, container_id)
    if asked is None or step is None:
        return []
    own = plan_removal(asked, step)
    for path in own:
        if isdir(path):
            raise ConflictError(f"/linux/intelRdt: {path} is there already", hint="remove it with rmdir")
    return own


def update_resctrl(asked: IntelRdt | None, container_id: str, schemata: tuple[str, ...]) -> None:
    """Give a living container another share. Raises UnsupportedError without resctrl, ConflictError without a group."""
    top = _resctrl_mount()
    if asked is None or not any(vars(asked).values()):
        raise ConflictError("/linux/intelRdt: this container has no group in resctrl", hint="create it with one")
    path = plan_resctrl(asked, container_id, top).path
    files.write_value(f"{path}/schemata", "".join(f"{line}\n" for line in schemata))


def remove_resctrl(directories: list[str]) -> None:
    """Remove groups of resctrl that were made for a container; what is in them goes to the group above."""
    for path in directories:
        try:
            os.rmdir(path)
        except FileNotFoundError:
            continue  # the create that was to make it came to an end before


def _priorities(process: Process, *, by_stage: bool) -> list[Operation]:
    steps: list[Operation] = []
    scheduler, disk = process.scheduler, process.ioPriority
    if scheduler is not None:
        times = scheduler.runtime or 0, scheduler.deadline or 0, scheduler.period or 0
        flags = tuple(dict.fromkeys(scheduler.flags or ()))
        priority = scheduler.priority or 0
        steps.append(attributes.Schedule(by_stage, scheduler.policy, scheduler.nice or 0, priority, flags, *times))
    if disk is not None:
        steps.append(attributes.PrioritizeIo(by_stage, disk.class_, disk.priority))
    return steps


def _apparmor(profile: str) -> Operation | None:
    try:
        with open(APPARMOR, "rb") as file:
            enabled = file.read(1) == b"Y"
    except OSError:
        enabled = False
    if enabled:
        says = f"AppArmor confines the command by the profile {profile}"
        return attributes.SecurityAttribute(("apparmor/exec", "exec"), f"exec {profile}", says)
    if profile == "unconfined":
        return None  # as it is
    raise UnsupportedError(
        f"/process/apparmorProfile: {profile}",
        needs="a kernel with AppArmor, and that switched on",
        hint="leave it out, or use unconfined",
    )


def _selinux(pointer: str, name: str, label: str) -> Operation:
    _need_selinux(pointer)
    return attributes.SecurityAttribute((name,), label, f"SELinux takes what is made by {name} for {label}")


def _need_selinux(pointer: str) -> None:
    """SELinux is there if its file system is: it registers that when it is switched on."""
    try:
        with open("/proc/filesystems", "rb") as file:
            if b"\tselinuxfs\n" in file.read():
                return
    except OSError:
        pass  # no /proc, and so no way to give a label either
    raise UnsupportedError(pointer, needs="a kernel with SELinux, and that switched on", hint="leave it out")


def _resctrl(asked: IntelRdt | None, container_id: str) -> attributes.EnterResctrl | None:
    if asked is None or not any(vars(asked).values()):
        return None
    return plan_resctrl(asked, container_id, _resctrl_mount())


def plan_resctrl(asked: IntelRdt, container_id: str, top: str) -> attributes.EnterResctrl:
    """The group of a container in the resctrl mounted at `top`: one of its own, or the class that is named.

    A class of which nothing else is said has to be there (config-linux.md, "IntelRdt").
    """
    schemata = [*filter(None, (asked.l3CacheSchema, asked.memBwSchema)), *(asked.schemata or ())]
    path = f"{top}/{asked.closID or container_id}"
    watched = asked.enableMonitoring or asked.enableCMT or asked.enableMBM
    monitoring = f"{path}/mon_groups/{container_id}" if watched else ""
    lines = tuple(line for text in schemata for line in text.splitlines())
    return attributes.EnterResctrl(path, bool(lines) or not asked.closID, lines, monitoring)


def plan_removal(asked: IntelRdt, step: attributes.EnterResctrl) -> list[str]:
    """What goes with the container: what nobody else can be in, which a class that was named is not."""
    return [path for path in (step.monitoring, "" if asked.closID else step.path) if path]


def _resctrl_mount() -> str:
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                left, _, right = line.partition(" - ")
                if right.startswith("resctrl "):
                    return left.split()[4].encode().decode("unicode_escape")
    except OSError as error:
        raise UnsupportedError("/linux/intelRdt", needs=f"/proc/self/mountinfo: {error.strerror}") from error
    raise UnsupportedError(
        "/linux/intelRdt",
        needs="resctrl mounted",
        hint="mount -t resctrl resctrl /sys/fs/resctrl, where the processor has it",
    )
