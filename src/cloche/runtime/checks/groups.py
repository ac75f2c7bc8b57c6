"""Control groups: made, limited, joined and removed, in the place containers of this user would have theirs."""

from __future__ import annotations

import os
from contextlib import contextmanager

from cloche.linux import files
from cloche.runtime.checks.attempt import attempt
from cloche.runtime.checks.finding import LIMITED, MISSING, OK, Finding, judge
from cloche.runtime.checks.making import in_new
from cloche.runtime.checks.place import read
from cloche.stage import delegation
from cloche.stage.cleaning import remove_groups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloche.runtime.checks.place import Place
    from cloche.runtime.host import Groups

# controller: a file of v1 and of v2, and something harmless to write; "" only looks whether it may be written
FILES = {
    "memory": ("memory.limit_in_bytes", "memory.max", "1073741824"),
    "pids": ("pids.max", "pids.max", "1000"),
    "cpu": ("cpu.shares", "cpu.weight", "100"),
    "cpuset": ("cpuset.cpus", "cpuset.cpus", ""),
    "blkio": ("blkio.throttle.read_bps_device", "io.max", ""),
    "devices": ("devices.deny", "", ""),
    "freezer": ("freezer.state", "cgroup.freeze", ""),
}
NAMES = {"io": "blkio"}  # what v2 calls otherwise
MAIN = ("memory", "pids")
DELEGATE = "systemd-run --user --scope -p Delegate=yes cloche …"


def groups(place: Place) -> Finding | None:
    """Which controllers this user can really limit with."""
    if place.host is None:
        return None
    found = place.host.groups
    if found.kind == "none":
        return Finding("cgroup", MISSING, "no cgroup file system is mounted", _without("memory, pids and all else"))
    name = f"cloche-doctor-{os.getpid()}"
    refused = _try_v2(found, name) if found.kind == "v2" else _try_v1(found, name)
    usable = [c for c, why in refused.items() if not why]
    lost = [c for c, why in refused.items() if why]
    where = _parent(found, next((c for c in FILES if c in found.own), "")) if found.own else found.v2
    did = (
        "made a group, set limits, removed it"
        if found.kind == "v2"
        else "made groups, set limits, joined, removed them"
    )
    detail = f"cgroup {found.kind}: {did}, in {where}"
    for why in dict.fromkeys(refused.values()):
        detail += f"; {', '.join(c for c in refused if refused[c] == why)}: {why or 'works'}"
    if not lost:
        return Finding("cgroup", OK, detail, f"limits work: {', '.join(usable)}")
    fix = ""
    if not place.privileged and found.kind == "v2":
        fix = DELEGATE
    elif not place.privileged:
        fix = "sudo cloche run …"
    status = LIMITED if set(MAIN) & set(usable) else MISSING
    if all(c in usable for c in MAIN):
        return Finding("cgroup", LIMITED, detail, f"limits work, but for {', '.join(lost)}", fix)
    return Finding("cgroup", status, detail, _without(", ".join(lost)), fix)


def _without(what: str) -> str:
    return f"containers run, but limits of {what} are refused; --timeout and --ulimit still work"


def _parent(found: Groups, controller: str) -> str:
    return _home(found) if found.kind == "v2" else found.own[controller]


def _home(found: Groups) -> str:
    """The group of v2 below which containers have theirs."""
    return found.v2_mount if os.geteuid() == 0 else found.v2


def _try_v1(found: Groups, name: str) -> dict[str, str]:
    """For each controller why it cannot be used, "" when it can."""
    refused = {}
    for controller, (file, _, value) in FILES.items():
        if controller not in found.own:
            if controller in MAIN:
                refused[controller] = "not mounted"
            continue
        path = f"{_parent(found, controller)}/{name}"

        def use(path: str = path, file: str = file, value: str = value, controller: str = controller) -> None:
            os.mkdir(path, 0o755)
            try:
                _write(f"{path}/{file}", value)
                if controller != "cpuset":  # nothing can join one of v1 until it has processors
                    in_new(0, lambda: files.write_value(f"{path}/cgroup.procs", "0"))
            finally:
                remove_groups((path,))

        try:
            outcome = attempt(use)
        finally:
            left = remove_groups((path,))
        refused[controller] = "" if outcome.ok else outcome.says.rpartition(": ")[2]
        if left:
            refused[controller] = f"the group {path} cannot be removed"
    return refused


def _try_v2(found: Groups, name: str) -> dict[str, str]:
    """The same for the one tree of v2, whose controllers may have to be handed down first."""
    above = _home(found)
    path, own = f"{above}/{name}", above == found.v2
    offered = [c for c in read(f"{above}/cgroup.controllers").split() if NAMES.get(c, c) in FILES]

    def use() -> dict[str, str]:
        _make_below(above, path, offered, own=own)
        return {c: _use(path, c, file, value, offered) for c, (_, file, value) in FILES.items() if file}

    with as_before(found):
        try:
            outcome = attempt(use)
        finally:
            remove_groups((path,))
            if own:
                delegation.step_back(above)
    if outcome.ok:
        refused: dict[str, str] = outcome.value
        return refused
    return dict.fromkeys(MAIN, outcome.says)


def _make_below(above: str, path: str, controllers: list[str], *, own: bool) -> None:
    """As a container's group is made: only the top of all may hand controllers down and hold processes."""
    if os.path.exists(f"{above}/cgroup.type"):
        delegation.make_below(above, path, tuple(controllers), own=own)
        return
    os.mkdir(path, 0o755)
    for name in set(controllers) - _handed_down(above):
        files.write_value(f"{above}/cgroup.subtree_control", f"+{name}")


def _use(path: str, controller: str, file: str, value: str, offered: list[str]) -> str:
    if controller != "freezer" and controller not in {NAMES.get(c, c) for c in offered}:
        return "not available here"
    try:
        _write(f"{path}/{file}", value)
    except OSError as error:
        return f"{file}: {error.strerror}"
    return ""


def _write(path: str, value: str) -> None:
    if value:
        files.write_value(path, value)
    else:
        os.close(os.open(path, os.O_WRONLY | os.O_CLOEXEC))


def _handed_down(group: str) -> set[str]:
    return set(read(f"{group}/cgroup.subtree_control").split())


def _folders(group: str) -> set[str]:
    try:
        return {entry.name for entry in os.scandir(group) if entry.is_dir(follow_symlinks=False)}
    except OSError:
        return set()


@contextmanager
def as_before(found: Groups | None) -> Iterator[None]:
    """See to it that what is run in the block leaves v2 handing down the controllers it did before."""
    if found is None or found.kind != "v2":
        yield
        return
    above = _home(found)
    before, neighbours = _handed_down(above), _folders(above)
    try:
        yield
    finally:
        if _folders(above) <= neighbours:  # else somebody's new group may rely on it by now
            _take_back(above, _handed_down(above) - before)


def _take_back(group: str, names: set[str]) -> None:
    for name in names:
        try:
            files.write_value(f"{group}/cgroup.subtree_control", f"-{name}")
        except OSError:
            pass  # somebody uses it by now, so it has to stay


def birth(place: Place) -> Finding | None:
    """A process can be born in a group of v2 (CLONE_INTO_CGROUP)."""
    found = place.host.groups if place.host else None
    if found is None or not found.v2:
        return None
    above = _home(found) if found.kind == "v2" else found.v2
    path = f"{above}/cloche-doctor-{os.getpid()}-birth"

    def use() -> None:
        os.mkdir(path, 0o755)
        try:
            with files.Fd(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as group:
                where = in_new(0, lambda: read("/proc/self/cgroup"), cgroup=group.number)
            if os.path.basename(path) not in where:
                raise OSError(5, "the process was born elsewhere")
        finally:
            remove_groups((path,))

    try:
        outcome = attempt(use)
    finally:
        remove_groups((path,))
    refused_group = not outcome.ok and "clone3(2)" not in outcome.says
    delegate = DELEGATE if refused_group and found.kind == "v2" and not place.privileged else ""
    return judge(
        "cgroup-birth",
        outcome,
        "made a v2 group and a process in it",
        good="a container is counted and limited from its first instruction"
        if found.kind == "v2"
        else "works, though here the controllers are on v1, where a process is moved in before it goes on",
        bad="containers get no group of their own" if refused_group else "no container can be started in a group",
        fix=place.fix(outcome, delegate),
        needed=found.kind == "v2" and not refused_group,
    )
