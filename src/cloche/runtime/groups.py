"""Limits as cgroup files: which groups a container gets, what is written there, what is read at its end.

cgroup v1 has one hierarchy for each controller and the process is moved into each group; cgroup v2 has
one, and the process is born in it. On a hybrid machine the controllers are where v1 has them.

    limit           v1                                   v2
    memory          memory.limit_in_bytes                memory.max
    memory+swap     memory.memsw.limit_in_bytes          memory.swap.max (less the memory)
    cpu quota       cpu.cfs_quota_us / cfs_period_us     cpu.max
    cpu shares      cpu.shares                           cpu.weight
    cpuset          cpuset.cpus, cpuset.mems             the same
    processes       pids.max                             pids.max
    block I/O       blkio.*                              io.*
"""

from __future__ import annotations

import os

from cloche.errors import UnsupportedError
from cloche.records import record
from cloche.stage.operations.groups import CreateGroup, CreateGroupBelow, WriteGroup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.runtime.host import Groups
    from cloche.runtime.receipt import Receipt
    from cloche.spec.resources import Resources
    from cloche.stage.operation import Operation

UNLIMITED = -1


NO_LIMIT = {"max", "-1"}  # values that were asked for, and limit nothing


@record
class Limit:
    """One value to write: `name` in the receipt, the controller, the file, and a sentence."""

    name: str
    controller: str
    file: str
    value: str
    says: str
    v2_only: bool = False


@record
class GroupPlan:
    """Steps before the process is there, groups to join afterwards, and what to read at the end."""

    create: tuple[Operation, ...]
    join: tuple[str, ...]  # v1 directories
    born_in: str  # v2 directory
    directories: tuple[str, ...]
    counters: tuple[tuple[str, str], ...]
    controllers: tuple[str, ...]
    by_controller: tuple[tuple[str, str], ...] = ()  # v1: (controller, directory)
    made_room: str = ""  # v2: the group whose processes step aside meanwhile


def plan_groups(
    resources: Resources | None,
    groups: Groups,
    name: str,
    parent: str,
    asked: tuple[str, ...],
    allow_unenforced: bool,
    receipt: Receipt,
) -> GroupPlan:
    """Decide the groups. Raises UnsupportedError for a limit that was asked for and cannot be enforced."""
    limits = limits_of(resources, v2=groups.kind == "v2")
    wanted = ["memory", "pids"] + [limit.controller for limit in limits]
    reasons = {controller: _why_not(groups, controller, parent) for controller in dict.fromkeys(wanted)}
    if parent and any(reasons.values()) and not allow_unenforced:
        needs = next(filter(None, reasons.values()))
        raise UnsupportedError("--cgroup-parent", needs=needs, hint="make it first; or go on: --allow-unenforced")
    kept = []
    for limit in limits:
        why = reasons[limit.controller]
        if limit.v2_only and groups.kind != "v2":
            why = f"{limit.file} exists on cgroup v2 only, this is {groups.kind}"
        if why and limit.name in asked and not allow_unenforced:
            raise UnsupportedError(
                limit.name,
                needs=why,
                hint="see `cloche doctor`; or go on without it: --allow-unenforced",
            )
        receipt.add(limit.name, not why and limit.value not in NO_LIMIT, why or limit.says)
        if not why:
            kept.append(limit)
    usable = [c for c, why in reasons.items() if not why]
    needed = set() if allow_unenforced else set(asked)
    if not usable:
        receipt.add("cgroup", False, reasons["pids"] or "no cgroup file system is mounted")
        return GroupPlan((), (), "", (), (), ())
    if groups.kind == "v2":
        return _plan_v2(groups, name, parent, usable, kept, needed, receipt)
    return _plan_v1(groups, name, parent, usable, kept, needed, receipt)


def _plan_v1(
    groups: Groups,
    name: str,
    parent: str,
    usable: list[str],
    limits: list[Limit],
    needed: set[str],
    receipt: Receipt,
) -> GroupPlan:
    paths: dict[str, str] = {}
    for controller in usable:
        paths[controller] = f"{_parent(groups, controller, parent)}/{name}"
    directories = tuple(dict.fromkeys(paths.values()))
    steps: list[Operation] = [CreateGroup(path) for path in directories]
    if "cpuset" in paths:
        steps += _inherit_cpuset(paths["cpuset"], limits)
    steps += [_write(paths[limit.controller], limit, needed) for limit in limits]
    counters = []
    if "memory" in paths:
        counters.append(("oom", f"{paths['memory']}/memory.oom_control"))
        counters.append(("peak", f"{paths['memory']}/memory.max_usage_in_bytes"))
    if "pids" in paths:
        counters.append(("pids", f"{paths['pids']}/pids.events"))
    receipt.add("cgroup", True, f"a group of its own, cgroup {groups.kind}: {', '.join(usable)}")
    by_controller = tuple(paths.items())
    return GroupPlan(tuple(steps), directories, "", directories, tuple(counters), tuple(usable), by_controller)


def _plan_v2(
    groups: Groups,
    name: str,
    parent: str,
    usable: list[str],
    limits: list[Limit],
    needed: set[str],
    receipt: Receipt,
) -> GroupPlan:
    above = _parent(groups, "pids" if "pids" in usable else usable[0], parent)
    path = f"{above}/{name}"
    steps: list[Operation] = []
    names = ["io" if c == "blkio" else c for c in usable]
    enabled = _read(f"{above}/cgroup.subtree_control").split()
    missing = [n for n in names if n not in enabled]
    own = above == groups.v2
    if not os.path.exists(f"{above}/cgroup.type"):  # the top of all, which alone may hold processes as well
        if missing:
            value = " ".join(f"+{n}" for n in missing)
            steps.append(WriteGroup(f"{above}/cgroup.subtree_control", value, "groups below may be limited in these"))
        steps.append(CreateGroup(path))
    else:
        steps.append(CreateGroupBelow(above, path, tuple(names), own))
    steps += [_write(path, limit, needed) for limit in limits]
    counters = [("events", f"{path}/memory.events"), ("peak", f"{path}/memory.peak"), ("pids", f"{path}/pids.events")]
    receipt.add("cgroup", True, f"a group of its own, cgroup v2: {', '.join(names)}")
    room = above if own else ""
    return GroupPlan(tuple(steps), (), path, (path,), tuple(counters), tuple(usable), made_room=room)


def _inherit_cpuset(path: str, limits: list[Limit]) -> list[Operation]:
    """A v1 cpuset group starts empty, and nothing can join it until both files are written."""
    above = os.path.dirname(path)
    given = {limit.file for limit in limits}
    return [
        WriteGroup(f"{path}/{file}", _read(f"{above}/{file}").strip(), "as the group above has it")
        for file in ("cpuset.cpus", "cpuset.mems")
        if file not in given
    ]


def homes(groups: Groups) -> list[str]:
    """The directories in which containers' groups are made, the one that every container uses first."""
    order = sorted(groups.own, key=lambda controller: {"memory": 0, "pids": 1}.get(controller, 2))
    return list(dict.fromkeys(_parent(groups, controller, "") for controller in order))


def _parent(groups: Groups, controller: str, parent: str) -> str:
    """The directory in which the container's group is made."""
    if parent:
        return f"{groups.mounts[controller]}/{parent.strip('/')}"
    if groups.kind == "v2" and os.geteuid() == 0:
        return groups.v2_mount
    return groups.own[controller]


def _why_not(groups: Groups, controller: str, parent: str) -> str:
    """Why this controller cannot be used by this process, or the empty string."""
    shown = {"blkio": "io"}.get(controller, controller) if groups.kind == "v2" else controller
    if groups.kind == "none":
        return "no cgroup file system is mounted"
    if controller not in groups.own:
        return f"the {shown} controller is not available in this process' part of cgroup {groups.kind}"
    above = _parent(groups, controller, parent)
    if not os.path.isdir(above):
        return f"the group {above} is not there"
    needed = [above]
    if groups.kind == "v2":
        needed += [f"{above}/cgroup.procs", f"{above}/cgroup.subtree_control"]
    if not all(os.access(path, os.W_OK) for path in needed):
        if groups.kind == "v2":
            return f"{above} is not delegated to you; start under: systemd-run --user --scope -p Delegate=yes"
        return f"{above} belongs to root, and cgroup v1 cannot be delegated safely"
    return ""


def _write(directory: str, limit: Limit, needed: set[str]) -> WriteGroup:
    """A limit that was asked for has to work; one that was not is noted in the receipt if it does not."""
    required = limit.name in needed
    return WriteGroup(f"{directory}/{limit.file}", limit.value, limit.says, limit.name, required)


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except OSError:
        return ""


def limits_of(resources: Resources | None, *, v2: bool) -> list[Limit]:
    """The values to write for a `linux.resources` section, in an order the kernel takes."""
    if resources is None:
        return []
    limits = _memory(resources, v2=v2) + _cpu(resources, v2=v2) + _pids(resources) + _block_io(resources, v2=v2)
    return limits + _devices(resources)


def _devices(resources: Resources) -> list[Limit]:
    limits = []
    for rule in resources.devices or []:
        major, minor = (number if number is not None and number >= 0 else "*" for number in (rule.major, rule.minor))
        whole = rule.type in {None, "a"} and major == minor == "*"
        value = "a" if whole else f"{rule.type or 'a'} {major}:{minor} {rule.access or 'rwm'}"
        file = "devices.allow" if rule.allow else "devices.deny"
        says = "no other device can be opened, whatever node is made for it"
        limits.append(Limit("devices", "devices", file, value, says))
    return limits


def _memory(resources: Resources, *, v2: bool) -> list[Limit]:
    memory = resources.memory
    if memory is None:
        return []
    limits = []
    if memory.limit is not None:
        file, value = ("memory.max", _max(memory.limit)) if v2 else ("memory.limit_in_bytes", str(memory.limit))
        limits.append(Limit("memory", "memory", file, value, f"at most {_bytes(memory.limit)} of memory together"))
    if memory.swap is not None:
        says = f"at most {_bytes(memory.swap)} of memory and swap together"
        if v2:
            swap = memory.swap if memory.swap == UNLIMITED else max(0, memory.swap - (memory.limit or 0))
            limits.append(Limit("memory-swap", "memory", "memory.swap.max", _max(swap), says))
        else:
            limits.append(Limit("memory-swap", "memory", "memory.memsw.limit_in_bytes", str(memory.swap), says))
    if memory.reservation is not None:
        file = "memory.low" if v2 else "memory.soft_limit_in_bytes"
        value = _max(memory.reservation) if v2 else str(memory.reservation)
        says = f"{_bytes(memory.reservation)} are left to it when memory is short"
        limits.append(Limit("memory-reservation", "memory", file, value, says))
    return limits


def _cpu(resources: Resources, *, v2: bool) -> list[Limit]:
    cpu = resources.cpu
    if cpu is None:
        return []
    limits = []
    if cpu.quota is not None:
        period = cpu.period or 100_000
        says = f"at most {cpu.quota / period:g} processors' time" if cpu.quota > 0 else "as much time as there is"
        if v2:
            limits.append(Limit("cpu", "cpu", "cpu.max", f"{_max(cpu.quota)} {period}", says))
        else:
            limits.append(Limit("cpu", "cpu", "cpu.cfs_period_us", str(period), says))
            limits.append(Limit("cpu", "cpu", "cpu.cfs_quota_us", str(cpu.quota), says))
    if cpu.shares is not None:
        says = f"a share of {cpu.shares} against the usual 1024 when processors are busy"
        if v2:
            limits.append(Limit("cpu-shares", "cpu", "cpu.weight", str(weight_of(cpu.shares)), says))
        else:
            limits.append(Limit("cpu-shares", "cpu", "cpu.shares", str(cpu.shares), says))
    if cpu.cpus is not None:
        limits.append(Limit("cpuset", "cpuset", "cpuset.cpus", cpu.cpus, f"runs on processors {cpu.cpus} only"))
    if cpu.mems is not None:
        limits.append(Limit("cpuset-mems", "cpuset", "cpuset.mems", cpu.mems, f"memory of nodes {cpu.mems} only"))
    return limits


def _pids(resources: Resources) -> list[Limit]:
    if resources.pids is None or resources.pids.limit is None:
        return []
    limit = resources.pids.limit
    says = f"at most {limit} processes and threads" if limit >= 0 else "as many processes as there may be"
    return [Limit("pids", "pids", "pids.max", _max(limit), says)]


def _block_io(resources: Resources, *, v2: bool) -> list[Limit]:
    limits = []
    block = resources.blockIO
    if block is not None:
        if block.weight is not None:
            says = f"a share of {block.weight} when the disks are busy"
            if v2:
                weight = 1 + (block.weight - 10) * 9999 // 990
                limits.append(Limit("io-weight", "blkio", "io.weight", str(weight), says))
            else:
                limits.append(Limit("io-weight", "blkio", "blkio.weight", str(block.weight), says))
        throttles = (
            (block.throttleReadBpsDevice, "read_bps", "rbps"),
            (block.throttleWriteBpsDevice, "write_bps", "wbps"),
            (block.throttleReadIOPSDevice, "read_iops", "riops"),
            (block.throttleWriteIOPSDevice, "write_iops", "wiops"),
        )
        for devices, v1_name, v2_name in throttles:
            for device in devices or []:
                where = f"{device.major}:{device.minor}"
                says = f"disk {where}: at most {device.rate} {v2_name[0]}{v2_name[1:]}"
                if v2:
                    limits.append(Limit("io", "blkio", "io.max", f"{where} {v2_name}={device.rate}", says))
                else:
                    file = f"blkio.throttle.{v1_name}_device"
                    limits.append(Limit("io", "blkio", file, f"{where} {device.rate}", says))
    for file, value in (resources.unified or {}).items():
        controller = {"io": "blkio"}.get(file.partition(".")[0], file.partition(".")[0])
        limits.append(Limit(file, controller, file, value, f"{file} is {value}", v2_only=True))
    return limits


def weight_of(shares: int) -> int:
    """cpu.weight for cpu.shares, the conversion runc and crun have used since runtime-spec 1.0."""
    return 0 if shares == 0 else 1 + ((min(max(shares, 2), 262144) - 2) * 9999) // 262142


def _max(value: int) -> str:
    return "max" if value == UNLIMITED else str(value)


def _bytes(value: int) -> str:
    if value == UNLIMITED:
        return "any amount"
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if value >= size:
            return f"{value / size:.4g} {unit}"
    return f"{value} bytes"
