"""The groups of `cloche run`: those that can be had, below the top or below the group that is ours.

The process is born in its group on v2, and moved into each of its groups on v1; on a hybrid machine the
controllers are where v1 has them. What was asked for and cannot be enforced is an error; what nobody asked
for is noted in the receipt.
"""

from __future__ import annotations

import posix as os

from cloche.errors import UnsupportedError
from cloche.linux.places import dirname, exists, isdir
from cloche.linux.reading import read
from cloche.runtime.cgroups.limits import ALWAYS, NO_LIMIT, Limit, limits_of
from cloche.runtime.cgroups.plan import GroupPlan
from cloche.stage.operations.groups import CreateGroup, CreateGroupBelow, LimitDevices, WriteGroup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.runtime.host import Groups
    from cloche.runtime.receipt import Receipt
    from cloche.spec.resources import Resources
    from cloche.stage.operation import Operation


DEVICES = "no other device can be opened, whatever node is made for it"


def plan_groups(
    resources: Resources | None,
    groups: Groups,
    name: str,
    parent: str,
    asked: tuple[str, ...],
    allow_unenforced: bool,
    receipt: Receipt,
    *,
    privileged: bool = False,
    more: tuple[str, ...] = (),
) -> GroupPlan:
    """Decide the groups. Raises UnsupportedError for a limit that was asked for and cannot be enforced.

    `more` are controllers of v1 to have a group of as well, where that can be had.

    `privileged` is whether this process may load a program that decides about devices, as v2 needs it.
    """
    limits = limits_of(resources, v2=groups.kind == "v2")
    program = b""
    if resources is not None and resources.devices:
        from cloche.runtime.cgroups import devices

        table = devices.table_of(resources.devices, defaults=False)
        if groups.kind == "v2" and privileged:
            program = devices.program_of(table)
        else:
            limits += [Limit("devices", "devices", file, line, DEVICES) for file, line in devices.lines_of(table)]
    wanted = ["memory", "pids"] + [limit.controller for limit in limits]
    wanted += [] if groups.kind == "v2" else more
    reasons = {controller: _why_not(groups, controller, parent) for controller in dict.fromkeys(wanted)}
    if parent and any(reasons.values()) and not allow_unenforced:
        needs = next(filter(None, reasons.values()))
        raise UnsupportedError("--cgroup-parent", needs=needs, hint="make it first; or go on: --allow-unenforced")
    kept = []
    for limit in limits:
        why = reasons[limit.controller]
        if limit.lacks:
            why = f"{limit.lacks}, this is {groups.kind}"
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
        why = reasons["pids"] or "no cgroup file system is mounted"
        if program and "devices" in needed:
            raise UnsupportedError("devices", needs=why, hint="or go on without it: --allow-unenforced")
        receipt.add("cgroup", False, why)
        if program:
            receipt.add("devices", False, why)
        return GroupPlan((), (), "", (), (), ())
    if groups.kind == "v2":
        made = _plan_v2(groups, name, parent, usable, kept, needed, receipt)
        if program:
            receipt.add("devices", True, DEVICES)
            step = LimitDevices(made.born_in, program, "devices" in needed)
            made = GroupPlan(**{**vars(made), "create": (*made.create, step)})
        return made
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
        counters.append(("limit", f"{paths['memory']}/memory.limit_in_bytes"))
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
    enabled = read(f"{above}/cgroup.subtree_control").split()
    missing = [n for n in names if n not in enabled]
    own = above == groups.v2
    if not exists(f"{above}/cgroup.type"):  # the top of all, which alone may hold processes as well
        if missing:
            value = " ".join(f"+{n}" for n in missing)
            steps.append(WriteGroup(f"{above}/cgroup.subtree_control", value, "groups below may be limited in these"))
        steps.append(CreateGroup(path))
    else:
        steps.append(CreateGroupBelow(above, path, tuple(names), own))
    steps += [_write(path, limit, needed) for limit in limits]
    files = {"events": "memory.events", "peak": "memory.peak", "limit": "memory.max", "pids": "pids.events"}
    counters = [(name, f"{path}/{file}") for name, file in files.items()]
    receipt.add("cgroup", True, f"a group of its own, cgroup v2: {', '.join(names)}")
    room = above if own else ""
    return GroupPlan(tuple(steps), (), path, (path,), tuple(counters), tuple(usable), made_room=room)


def _inherit_cpuset(path: str, limits: list[Limit]) -> list[Operation]:
    """A v1 cpuset group starts empty, and nothing can join it until both files are written."""
    above = dirname(path)
    given = {limit.file for limit in limits}
    return [
        WriteGroup(f"{path}/{file}", read(f"{above}/{file}").strip(), "as the group above has it")
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
    if not isdir(above):
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
    required = limit.name in needed and limit.need == ALWAYS
    instead = tuple((f"{directory}/{file}", value) for file, value in limit.instead)
    return WriteGroup(f"{directory}/{limit.file}", limit.value, limit.says, limit.name, required, instead)
