"""From a request to a plan: the whole order of steps, and the receipt for what they enforce.

    outside   groups ─ clone ─ id maps ─ joins groups ─ limits ─ trees ─ release
    inside    names, loopback, private mounts ─ (release) ─ root ─ mounts ─ masks ─ user found ─
              pivot ─ session ─ capabilities ─ user ─ no_new_privs ─ Landlock ─ seccomp ─ the command

Pure but for looking at which groups may be used. What is not decided here: values and defaults,
which whoever made the request has put into its config.
"""

from __future__ import annotations

import os

from cloche.errors import SpecError
from cloche.linux import mount
from cloche.runtime import describing, identity
from cloche.runtime.groups import GroupPlan, plan_groups
from cloche.runtime.mounts import plan_group_view, plan_mount
from cloche.runtime.receipt import Receipt
from cloche.stage.operation import Plan
from cloche.stage.operations import command, filesystems, groups, processes, roots
from cloche.stage.operations.identity import FindUser, SessionKeyring
from cloche.stage.operations.trees import AttachDevices, MakeDevices, OpenTree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.runtime.host import Host
    from cloche.runtime.request import Request
    from cloche.stage.operation import Operation

STANDARD_DEVICES = (
    ("null", (1, 3)),
    ("zero", (1, 5)),
    ("full", (1, 7)),
    ("random", (1, 8)),
    ("urandom", (1, 9)),
    ("tty", (5, 0)),
)
DEVICE_LINKS = (
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
)


def plan(request: Request, host: Host) -> tuple[Plan, Receipt]:
    """The plan and its receipt.

    Raises UnsupportedError for what was asked and cannot be enforced on this host, SpecError for
    what makes no sense.
    """
    receipt = Receipt()
    new, joined = describing.plan_namespaces(request, receipt)
    linux = request.config.linux
    made = plan_groups(
        linux.resources if linux else None,
        host.groups,
        request.name,
        request.cgroup_parent,
        request.asked,
        request.allow_unenforced,
        receipt,
    )
    trees, inner = _filesystem(request, host, made, new, joined)
    outside = _outside(request, made, new, trees, privileged=host.privileged)
    inside = _inside(request, new, joined, inner, receipt)
    describing.describe_rest(request, receipt)
    steps = (*outside, *inside)
    return Plan(
        steps,
        timeout=request.timeout,
        trace=request.trace,
        step=request.step,
        own_pids="pid" in new,
        groups=made.directories,
        counters=made.counters,
        unlink=request.unlink,
        failpoint=request.failpoint,
    ), receipt


def _outside(
    request: Request, made: GroupPlan, new: tuple[str, ...], trees: list[OpenTree], *, privileged: bool
) -> list[Operation]:
    steps: list[Operation] = list(made.create)
    if request.joins:
        steps.append(processes.OpenNamespaces(request.joins))
    steps += [processes.OpenProcess(*held) for held in request.processes]
    at_birth = tuple(kind for kind in new if kind not in {"cgroup", "time"})
    steps.append(processes.Clone(at_birth, made.born_in))
    steps += [groups.JoinGroup(path) for path in made.join]
    ids = request.ids
    if "user" in new:
        if ids.deny_setgroups:
            steps.append(processes.DenySetgroups())
        steps.append(processes.MapIds("uid", ids.uids, ids.uid_helper))
        steps.append(processes.MapIds("gid", ids.gids, ids.gid_helper))
    process = request.config.process
    if process is not None:
        if process.oomScoreAdj is not None:
            steps.append(groups.OomScore(process.oomScoreAdj))
        steps += [groups.Rlimit(limit.type, limit.soft, limit.hard) for limit in process.rlimits or []]
    steps += [tree for tree in trees if tree.by_stage]
    if request.devices and privileged:
        nodes = tuple((f"n{i}", mode, major, minor) for i, (_, _, mode, major, minor) in enumerate(request.devices))
        steps.append(MakeDevices("devices", nodes, ids.outside(0) or 0, ids.outside_gid(0) or 0))
    steps.append(processes.Release())
    return steps


def _inside(
    request: Request, new: tuple[str, ...], joined: set[str], inner: list[Operation], receipt: Receipt
) -> list[Operation]:
    config, linux = request.config, request.config.linux
    steps: list[Operation] = []
    if "uts" in new and (config.hostname or config.domainname):
        steps.append(command.SetHostName(config.hostname or "", config.domainname or ""))
    if "net" in new:
        steps.append(command.BringUp("lo"))
    steps.append(roots.MakePrivate())
    steps.append(SessionKeyring())
    receipt.add("keyring", True, "an empty session keyring of its own")
    if "time" in new and linux is not None:
        offsets = linux.timeOffsets or {}
        nanoseconds = {name: value.secs * 10**9 + value.nanosecs for name, value in offsets.items()}
        steps.append(processes.OffsetClocks(nanoseconds.get("monotonic"), nanoseconds.get("boottime")))
    steps.append(processes.AwaitRelease("user" in new or "user" in joined))
    if "cgroup" in new:
        steps.append(processes.UnshareGroup())
    steps += inner
    steps.append(roots.PivotRoot())
    receipt.add("root", True, "a root of its own; the host's is detached")
    process = config.process
    if process is None or not process.args:
        raise SpecError("there is no command", pointer="/process/args")
    steps.append(command.NewSession(process.terminal))
    receipt.add("session", True, "its own session" + (" and terminal" if process.terminal else ", no terminal"))
    steps += identity.plan_identity(request, process, receipt)
    return steps


def _filesystem(
    request: Request, host: Host, made: GroupPlan, new: tuple[str, ...], joined: set[str]
) -> tuple[list[OpenTree], list[Operation]]:
    """The trees to take from the host, and every step from the scratch tmpfs to the last mask."""
    by_stage = host.privileged
    mapped = by_stage and ("user" in new or "user" in joined)
    trees, steps = _root(request, by_stage=by_stage, mapped=mapped, in_userns=request.ids.kind != "host")
    config, linux = request.config, request.config.linux
    seen_dev = False
    for index, item in enumerate(config.mounts or []):
        if item.type in {"cgroup", "cgroup2"}:
            if "cgroup" in new and made.controllers:
                steps += plan_group_view(item.destination, host.groups.kind, made.controllers)
            continue
        found, placed = plan_mount(item, index, by_stage=by_stage, id_mapped=mapped)
        trees += found
        steps += placed
        if item.destination == "/dev":
            seen_dev = True
            device_trees, device_steps = _devices(by_stage=by_stage)
            trees += device_trees
            steps += device_steps
        elif item.destination == "/proc":
            steps += [filesystems.Sysctl(key, value) for key, value in ((linux and linux.sysctl) or {}).items()]
    if request.devices:
        found_trees, placed = _asked_devices(request, by_stage=by_stage)
        trees += found_trees
        steps += placed
    if seen_dev:
        steps += [roots.Symlink(path, target) for path, target in DEVICE_LINKS]
    steps += [filesystems.File(path, content) for path, content in request.files]
    if request.make_cwd and config.process is not None:
        steps.append(roots.Directory(config.process.cwd))
    bound = [tree for tree in request.root.trees if not tree.layered]
    masked = [f"{tree.target}/{path}" for tree in bound for path in tree.hidden]
    masked += (linux.maskedPaths if linux else None) or []
    if masked:
        steps.append(filesystems.Mask(tuple(masked)))
    if linux is not None and linux.readonlyPaths:
        steps.append(filesystems.ReadOnly(tuple(linux.readonlyPaths)))
    steps.append(FindUser(request.user, request.groups, request.ids.deny_setgroups))
    if request.terminal_size is not None:
        steps.append(filesystems.OpenTerminal(*request.terminal_size))
        steps.append(filesystems.BindConsole())
    if request.root.read_only:
        steps.append(roots.SealRoot(("/", *(t.target for t in request.root.trees if t.layered and t.target != "/"))))
    inside_trees = [tree for tree in trees if not tree.by_stage]
    return trees, [*inside_trees, *steps]


def _root(request: Request, *, by_stage: bool, mapped: bool, in_userns: bool) -> tuple[list[OpenTree], list[Operation]]:
    root = request.root
    trees: list[OpenTree] = []
    steps: list[Operation] = [roots.Scratch("")]
    whole = bool(root.trees) and root.trees[0].target == "/"
    if not whole:
        steps.append(roots.NewRoot())
        steps += [roots.Directory(path, mode) for path, mode in root.directories]
        steps += [roots.Symlink(path, target) for path, target in root.symlinks]
    for index, tree in enumerate(root.trees):
        name = f"tree {index}"
        attributes = mount.MOUNT_ATTR_RDONLY | mount.MOUNT_ATTR_NOSUID if tree.read_only else 0
        attributes |= mount.MOUNT_ATTR_NODEV
        trees.append(
            OpenTree(
                name=name,
                source=tree.source,
                by_stage=by_stage,
                recursive=not tree.layered,
                attributes=attributes,
                id_mapped=mapped,
            )
        )
        if tree.layered:
            places = () if by_stage else _places(request, tree.target)
            steps.append(roots.Overlay(name, index, tree.target, tree.hidden, in_userns, places))
        elif tree.target == "/":
            steps.append(roots.TreeRoot(name))
        else:
            says = f"{tree.source} of the host can be {'read' if tree.read_only else 'read and written'}"
            steps.append(filesystems.Attach(name, tree.target, says))
    return trees, steps


def _places(request: Request, target: str) -> tuple[tuple[str, bool], ...]:
    """Mount points below `target`, relative to it: (path, whether a directory), outer ones first."""
    above = [item.destination for item in request.config.mounts or [] if item.type != "bind"]
    above += [tree.target for tree in request.root.trees if tree.target != target]
    found = [(path, True) for path in above] + [(path, False) for path, _ in request.files]
    for item in request.config.mounts or []:
        if item.type == "bind":
            found.append((item.destination, os.path.isdir(item.source or "")))
    if request.make_cwd and request.config.process is not None:
        found.append((request.config.process.cwd, True))
    prefix = target.rstrip("/") + "/"
    covered = [path.rstrip("/") + "/" for path, directory in found if directory]
    return tuple(
        (path[len(prefix) :].strip("/"), directory)
        for path, directory in found
        if path.startswith(prefix) and not any(path.startswith(c) and c != path.rstrip("/") + "/" for c in covered)
    )


def _asked_devices(request: Request, *, by_stage: bool) -> tuple[list[OpenTree], list[Operation]]:
    """Devices asked for: nodes of the container's own where the stage may make them, else the host's."""
    if by_stage:
        targets = tuple((f"n{i}", target) for i, (_, target, *_rest) in enumerate(request.devices))
        return [], [AttachDevices("devices", targets)]
    trees: list[OpenTree] = []
    steps: list[Operation] = []
    for index, (source, target, _mode, major, minor) in enumerate(request.devices):
        name = f"device {index}"
        attributes = mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NOEXEC
        trees.append(OpenTree(name, source, by_stage=False, attributes=attributes, device=(major, minor)))
        steps.append(filesystems.Attach(name, target, f"the device {source}, where its owner lets you"))
    return trees, steps


def _devices(*, by_stage: bool) -> tuple[list[OpenTree], list[Operation]]:
    trees = []
    steps: list[Operation] = []
    for name, numbers in STANDARD_DEVICES:
        attributes = mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NOEXEC
        trees.append(OpenTree(f"dev {name}", f"/dev/{name}", by_stage, attributes=attributes, device=numbers))
        steps.append(filesystems.Attach(f"dev {name}", f"/dev/{name}", f"the device /dev/{name}, as on the host"))
    return trees, steps
