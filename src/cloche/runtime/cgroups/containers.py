"""The groups of an OCI container: linux.cgroupsPath in every hierarchy there is, its limits and device rules.

    cgroupsPath     v1 and hybrid                      v2
    /a/b            TOP/CONTROLLER/a/b, and TOP/unified/a/b      TOP/a/b
    a/b             below our own group of each        beside our own group, which holds processes
    none            the same with the container's id

as runc's cgroupfs driver has it. A hybrid machine has its controllers on v1 and a tree of v2 beside, in which
the process is born: it can be ended there as a whole (cgroup.kill), and a controller that v1 does not have
may be there. Engines read what is used from every v1 hierarchy, so the group is made in all of them.

Missing groups above are made, and left behind at the end as others may use them by then. A group that is there
already is used when it is empty.
"""

from __future__ import annotations

import posix as os

from cloche.errors import ConflictError, ForbiddenError, UnsupportedError
from cloche.linux.places import basename, commonpath, dirname, isdir, normpath
from cloche.linux.reading import read
from cloche.runtime.cgroups import devices
from cloche.runtime.cgroups.freezing import is_frozen
from cloche.runtime.cgroups.limits import ALWAYS, NEVER, NO_LIMIT, Limit, limits_of
from cloche.runtime.cgroups.plan import GroupPlan
from cloche.runtime.host import NAMED
from cloche.spec.resources import Resources
from cloche.stage.cleaning import pids_of
from cloche.stage.operations.groups import GiveGroup, LimitDevices, MakeGroup, WriteLimits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.runtime.host import Groups
    from cloche.runtime.receipt import Receipt
    from cloche.stage.operation import Operation

    Paths = dict[str, str]  # {controller: directory}, "" for the one in the v2 tree

# which section of linux.resources is which controller's, as v1 calls it
SECTIONS = {
    "memory": ("memory",),
    "cpu": ("cpu", "cpuset"),
    "pids": ("pids",),
    "blockIO": ("blkio",),
    "hugepageLimits": ("hugetlb",),
    "rdma": ("rdma",),
}


def plan_cgroups(
    resources: Resources | None,
    groups: Groups,
    path: str,
    *,
    name: str,
    rootless: bool,
    by_others: bool = False,
    owner: int = -1,
    receipt: Receipt | None = None,
) -> GroupPlan:
    """Decide the groups of a container.

    `path` is linux.cgroupsPath or "", `name` what a group without it is called, `owner` a host uid that shall
    be able to make groups in its v2 group (-1 for nobody). `rootless` says that the groups of this machine are
    not ours: no group is made where none may be, unless a path or a limit was asked for. `by_others` says that
    somebody else makes them, who may.

    Raises ConflictError for a group in use, ForbiddenError for one that may not be made, UnsupportedError and
    SpecError for a limit that cannot be had.
    """
    places = find_places(groups, path, name)
    limits = limits_in(resources, places, controllers_of_v2(groups.v2_mount))
    if rootless and not by_others:
        places = _permitted(places, groups, path, limits)
    for place in dict.fromkeys(places.values()):
        _check_unused(place)
    tops = {**groups.mounts, "": groups.v2_mount}
    left_out = [
        (limit.name, limit.lacks or "no group may be made for it")
        for key, limit in limits
        if limit.lacks or key not in places
    ]
    writes = _by_directory(limits, places, receipt)
    handed_down = _handed_down(groups, limits)
    steps: list[Operation] = []
    for place in dict.fromkeys(places.values()):
        kinds = {controller for controller, other in places.items() if other == place}
        top = tops[next(iter(kinds))]
        steps.append(MakeGroup(place, top, "cpuset" in kinds, handed_down if "" in kinds else ()))
        if "" in kinds and owner >= 0:
            steps.append(GiveGroup(place, owner))
        if place in writes:
            steps.append(_write(place, writes[place]))
    steps += _device_steps(resources, places, rootless=rootless, receipt=receipt)
    directories = tuple(dict.fromkeys(places.values()))
    v1 = {controller: place for controller, place in places.items() if controller}
    if receipt is not None:
        made = ", ".join(handed_down if groups.kind == "v2" else v1)
        receipt.add("cgroup", bool(places), f"cgroup {groups.kind}: {made}" if places else "no group may be made")
    return GroupPlan(
        create=tuple(steps),
        join=tuple(dict.fromkeys(v1.values())),
        born_in=places.get("", ""),
        directories=directories,
        counters=_counters(places),
        controllers=tuple(v1) or (handed_down if places else ()),
        by_controller=tuple(v1.items()),
        views=_views(groups, places),
        left_out=tuple(left_out),
    )


def find_places(groups: Groups, path: str, name: str) -> Paths:
    """{controller: directory} of a container's group in every hierarchy, "" for the v2 tree."""
    inner = path or name
    below = "/".join(part for part in inner.split("/") if part not in {"", "."})
    places = {}
    if groups.v2_mount:
        if inner.startswith("/"):
            above = groups.v2_mount
        elif groups.kind == "v2" and groups.v2 != groups.v2_mount:
            above = dirname(groups.v2)  # ours holds processes, and could hand no controller down
        else:
            above = groups.v2
        places[""] = f"{above}/{below}"
    for controller in groups.own if groups.kind != "v2" else ():
        above = groups.mounts[controller] if inner.startswith("/") else groups.own[controller]
        places[controller] = f"{above}/{below}"
    return places


def entry_of(paths: Paths, groups: Groups, init: int) -> Paths:
    """Where another process of a container goes: into its groups, given by the container's `paths` and first process.

    A group of v2 that hands controllers down can hold no processes: a container that manages groups itself, as
    one with systemd does, has moved its first process further down, and the new one goes there too.
    """
    place = paths.get("", "")
    if not place or not read(f"{place}/cgroup.subtree_control").split():
        return paths
    lines = read(f"/proc/{init}/cgroup").splitlines()
    inner = next((line[3:] for line in lines if line.startswith("0::")), "")
    found = normpath(f"{groups.v2_mount}/{inner}")
    return {**paths, "": found} if found.startswith(f"{place}/") else paths


def controllers_of_v2(directory: str) -> set[str]:
    """The controllers of a v2 group, by their names on v1; none for ""."""
    names = read(f"{directory}/cgroup.controllers").split() if directory else []
    return {"blkio" if name == "io" else name for name in names}


def limits_in(resources: Resources | None, places: Paths, of_v2: set[str]) -> list[tuple[str, Limit]]:
    """The limits, each with the key in `places` of the group that it is written in.

    `of_v2` are the controllers of the v2 tree. A limit whose controller is in neither has the key of the
    version that the others are of, and lacks it.
    """
    if resources is None:
        return []
    if places.keys() <= {""}:
        return [("", _with_controller(limit, of_v2)) for limit in limits_of(resources, v2=True)]
    elsewhere = of_v2 - places.keys() if "" in places else set()
    first, second = _split(resources, elsewhere)
    found = [(limit.controller, _with_controller(limit, set(places))) for limit in limits_of(first, v2=False)]
    return found + [("", _beside_v1(limit, places)) for limit in limits_of(second, v2=True)]


def _beside_v1(limit: Limit, places: Paths) -> Limit:
    """A file of v2 whose controller is on v1 is not there, whatever the kernel may know."""
    if limit.lacks or limit.controller not in places:
        return limit
    lacks = f"the {limit.controller} controller is on cgroup v1 here"
    return Limit(limit.name, limit.controller, limit.file, limit.value, limit.says, limit.need, limit.instead, lacks)


def _split(resources: Resources, elsewhere: set[str]) -> tuple[Resources, Resources]:
    """What is limited on v1, and what in the v2 tree of a hybrid machine."""
    moved = {name for name, controllers in SECTIONS.items() if elsewhere.issuperset(controllers)}
    if elsewhere:
        moved.add("unified")  # the words of v2, for the tree of v2
    first, second = vars(resources).copy(), {}
    for name in moved & first.keys():
        second[name] = first.pop(name)
    return Resources(**first), Resources(**second)


def _with_controller(limit: Limit, there: set[str]) -> Limit:
    if limit.lacks or limit.controller in there or limit.name == limit.file:  # as it is: the kernel's word counts
        return limit
    lacks = f"there is no {limit.controller} controller here"
    return Limit(limit.name, limit.controller, limit.file, limit.value, limit.says, limit.need, limit.instead, lacks)


def _by_directory(limits: list[tuple[str, Limit]], places: Paths, receipt: Receipt | None) -> dict[str, list[Limit]]:
    """What is written into each directory; raises UnsupportedError for what has to be and cannot."""
    found: dict[str, list[Limit]] = {}
    for key, limit in limits:
        if limit.lacks and limit.need == ALWAYS:
            raise UnsupportedError(f"/linux/resources: {limit.name}", needs=limit.lacks, hint="leave it out")
        if not limit.lacks and key in places:
            found.setdefault(places[key], []).append(limit)
    if receipt is not None:
        tell_limits(limits, places, receipt)
    return found


def tell_limits(limits: list[tuple[str, Limit]], places: Paths, receipt: Receipt) -> None:
    """Say in the receipt which limits are enforced, and why others are not."""
    for key, limit in limits:
        if limit.lacks or key not in places:
            receipt.add(limit.name, False, limit.lacks or "no group may be made for it")
        else:
            receipt.add(limit.name, limit.need != NEVER and limit.value not in NO_LIMIT, limit.says)


def _write(place: str, limits: list[Limit]) -> WriteLimits:
    writes = tuple((limit.file, limit.value, limit.name, limit.need, limit.instead) for limit in limits)
    return WriteLimits(place, writes, tuple(limit.says for limit in limits))


def _handed_down(groups: Groups, limits: list[tuple[str, Limit]]) -> tuple[str, ...]:
    """The controllers of v2 that the groups above hand down: all, or beside v1 only what is needed there."""
    there = read(f"{groups.v2_mount}/cgroup.controllers").split() if groups.v2_mount else []
    if groups.kind == "v2":
        return tuple(there)
    needed = {"io" if limit.controller == "blkio" else limit.controller for key, limit in limits if not key}
    return tuple(name for name in there if name in needed)


def tell_devices(table: devices.Table, receipt: Receipt, *, rootless: bool = False) -> None:
    """Say in the receipt which devices can be opened."""
    if table.is_open:
        receipt.add("devices", False, "every device may be opened, as was asked")
    else:
        receipt.add("devices", not rootless, "no rules without privilege" if rootless else "only those listed")


def _device_steps(
    resources: Resources | None, places: Paths, *, rootless: bool, receipt: Receipt | None
) -> list[Operation]:
    """Device rules: always, as what is not asked for is refused."""
    if not places:
        return []
    table = devices.table_of(resources.devices if resources else None)
    if receipt is not None:
        tell_devices(table, receipt, rootless=rootless)
    if table.is_open:
        return []
    if "devices" in places:
        need = NEVER if rootless else ALWAYS
        writes = tuple((file, line, "devices", need, ()) for file, line in devices.lines_of(table))
        return [WriteLimits(places["devices"], writes, ("no other device can be opened, whatever node is made",))]
    if "" in places:
        return [LimitDevices(places[""], devices.program_of(table), not rootless)]
    return []


def _permitted(places: Paths, groups: Groups, path: str, limits: list[tuple[str, Limit]]) -> Paths:
    """The places in which this process may make a group. Raises ForbiddenError where it has to and may not."""
    needed: dict[str, list[str]] = {}
    for key, limit in limits:
        if limit.need == ALWAYS and not limit.lacks:
            needed.setdefault(key, []).append(limit.name)
    kept = {}
    for controller, place in places.items():
        why = _why_not(place, groups) if controller == "" else _not_writable(place)
        if not why:
            kept[controller] = place
        elif path or controller in needed:
            names = ", ".join(dict.fromkeys(needed.get(controller, ())))
            what = f"the group {place}" if path else f"the limits ({names}) are not possible: their group {place}"
            where = "/linux/cgroupsPath" if path else "/linux/resources"
            delegate = (
                "start under: systemd-run --user --scope -p Delegate=yes" if groups.kind == "v2" else "run as root"
            )
            raise ForbiddenError(
                f"{where}: {what} cannot be made: {why}",
                hint=f"{delegate}; or leave {'cgroupsPath' if path else names} out",
            )
    return kept


def _not_writable(place: str) -> str:
    above = _existing(place)
    return "" if os.access(above, os.W_OK) else f"{above} belongs to somebody else"


def _why_not(place: str, groups: Groups) -> str:
    """Why no process can be born in this group of v2: it is moved there from ours, through what is above both."""
    if why := _not_writable(place):
        return why
    common = commonpath(groups.v2, _existing(place))
    if not os.access(f"{common}/cgroup.procs", os.W_OK):
        return f"no process can be moved out of {groups.v2}, as {common} belongs to somebody else"
    return ""


def _existing(place: str) -> str:
    while not isdir(place):
        place = dirname(place)
    return place


def _check_unused(place: str) -> None:
    if not isdir(place):
        return
    if pids := pids_of((place,)):
        raise ConflictError(
            f"/linux/cgroupsPath: {place} is not empty: {len(pids)} process(es) found",
            hint="each container needs a group of its own",
        )
    if is_frozen({"freezer": place, "": place}):
        raise ConflictError(f"/linux/cgroupsPath: {place} is frozen", hint="thaw or remove it first")


def _counters(places: Paths) -> tuple[tuple[str, str], ...]:
    found = []
    if "memory" in places:
        found.append(("oom", f"{places['memory']}/memory.oom_control"))
        found.append(("peak", f"{places['memory']}/memory.max_usage_in_bytes"))
    elif "" in places:
        found += [("events", f"{places['']}/memory.events"), ("peak", f"{places['']}/memory.peak")]
    if "pids" in places or "" in places:
        found.append(("pids", f"{places.get('pids') or places['']}/pids.events"))
    return tuple(found)


def _views(groups: Groups, places: Paths) -> tuple[tuple[str, str], ...]:
    """Where each group is seen inside: as the hierarchies are mounted on the host, "systemd" for the named one."""
    if groups.kind == "v2":
        return tuple(("", place) for place in places.values())
    found = {}
    for controller, place in places.items():
        top = groups.mounts[controller] if controller else groups.v2_mount
        name = "systemd" if controller == NAMED else "unified" if not controller else basename(top)
        found[name] = place
    return tuple(sorted(found.items()))
