"""The container's tree: what is taken from the host, in which order it is put together, what covers what."""

from __future__ import annotations

import _stat as stat

from cloche.errors import ConflictError
from cloche.linux import mount
from cloche.linux.places import isdir, normpath
from cloche.records import values
from cloche.runtime.attributes import root_propagation
from cloche.runtime.mounts import VOLUME, fill_steps, parse_options, plan_group_view, plan_mount
from cloche.runtime.request import Node
from cloche.stage.operation import INSIDE, OUTSIDE
from cloche.stage.operations import command, filesystems, overlays, roots
from cloche.stage.operations.identity import FindUser, TakeUser
from cloche.stage.operations.processes import AwaitTrees
from cloche.stage.operations.trees import MakeDev, OpenTree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.runtime.cgroups.plan import GroupPlan
    from cloche.runtime.host import Host
    from cloche.runtime.request import Request
    from cloche.spec.mounts import Mount
    from cloche.spec.process import User
    from cloche.stage.operation import Operation

STANDARD_DEVICES = (
    ("null", (1, 3)),
    ("zero", (1, 5)),
    ("full", (1, 7)),
    ("random", (1, 8)),
    ("urandom", (1, 9)),
    ("tty", (5, 0)),
)
OWN_DIRECTORIES = ("pts", "shm", "mqueue")  # of /dev
KEPT = "layers that are kept"
DEVICE_LINKS = (
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
)


def plan_filesystem(
    request: Request, host: Host, made: GroupPlan, new: tuple[str, ...], joined: set[str]
) -> tuple[list[Operation], list[Operation]]:
    """What the stage takes from the host, and every step from the scratch tmpfs to the last mask."""
    by_stage = host.privileged
    mapped = by_stage and host.initial and ("user" in new or "user" in joined)
    taken, steps = _root(request, by_stage=by_stage, mapped=mapped, in_userns=request.ids.kind != "host")
    config, linux = request.config, request.config.linux
    for index, item in enumerate(config.mounts or []):
        if item.type in {"cgroup", "cgroup2"}:
            if made.controllers and ("cgroup" in new or request.lifecycle is not None):
                read_only = bool({"ro", "rro"} & set(item.options or ()))
                found, placed = plan_group_view(item.destination, made, by_stage=by_stage, read_only=read_only)
                taken += found
                steps += placed
            continue
        if item.destination == "/dev" and item.type == "tmpfs" and by_stage and host.initial:
            taken.append(_dev(request, item))
            steps.append(filesystems.Attach("dev", "/dev", "the devices every program expects, and those asked for"))
            continue
        strict = request.lifecycle is not None
        opened, placed = plan_mount(item, index, by_stage=by_stage, id_mapped=mapped, strict=strict)
        taken += opened
        steps += placed
        if item.destination == "/dev" and item.type == "tmpfs":
            nodes, placed = _bound_devices(request)
            taken += nodes
            steps += placed
    _add_parameters(steps, (linux and linux.sysctl) or {})
    nodes, placed = _other_devices(request, by_stage and host.initial)
    taken += nodes
    steps += placed
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
    if request.lifecycle is None or config.process is None:
        steps.append(FindUser(request.user, request.groups))
    else:
        steps.append(take_user(config.process.user))
    if request.terminal_size is not None:
        steps.append(filesystems.OpenTerminal(*request.terminal_size))
        steps.append(filesystems.BindConsole())
    if request.root.read_only:
        steps.append(roots.SealRoot(("/", *(t.target for t in request.root.trees if t.layered and t.target != "/"))))
    outside = [op for op in taken if op.side == OUTSIDE]
    return outside, [*(op for op in taken if op.side == INSIDE), *steps]


def _add_parameters(steps: list[Operation], parameters: dict[str, str]) -> None:
    """Kernel parameters, as soon as there is a /proc, which a later mount may cover; else at the end."""
    kinds = [isinstance(step, filesystems.Filesystem) and step.kind == "proc" for step in steps]
    place = kinds.index(True) + 1 if True in kinds else len(steps)
    steps[place:place] = [command.Sysctl(key, value) for key, value in parameters.items()]


def take_user(user: User) -> Operation:
    """The step that takes the user of a config.json, who is numbers."""
    return TakeUser(user.uid, user.gid, tuple(user.additionalGids or ()))


def _root(
    request: Request, *, by_stage: bool, mapped: bool, in_userns: bool
) -> tuple[list[Operation], list[Operation]]:
    root = request.root
    trees: list[Operation] = []
    steps: list[Operation] = [roots.Scratch(""), AwaitTrees()]
    if request.kept is not None:
        layer = request.kept.layer
        trees.append(OpenTree(KEPT, layer, by_stage=by_stage, id_mapped="top" if mapped else ""))
        steps.append(overlays.KeepLayers(KEPT))
    whole = bool(root.trees) and root.trees[0].target == "/"
    if not whole:
        steps.append(roots.NewRoot())
        steps += [roots.Directory(path, mode) for path, mode in root.directories]
        steps += [roots.Symlink(path, target) for path, target in root.symlinks]
    for index, tree in enumerate(root.trees):
        name = f"tree {index}"
        attributes = mount.MOUNT_ATTR_RDONLY | mount.MOUNT_ATTR_NOSUID if tree.read_only else 0
        if request.lifecycle is None:
            attributes |= (
                mount.MOUNT_ATTR_NODEV
            )  # a runtime's root is the engine's, and its devices are ruled by groups
        trees.append(
            OpenTree(
                name=name,
                source=tree.source,
                by_stage=by_stage,
                recursive=not tree.layered,
                deep=attributes,
                id_mapped="if possible" if mapped and request.lifecycle is None else "",
                propagation=root_propagation(request) if tree.target == "/" else 0,
            )
        )
        if tree.layered:
            # an image's ids all exist in the container: what is missing can be made where it is to be
            places = () if tree.layers else _places(request, tree.target)
            # layers are marked for a user namespace, and are to mean the same without one
            user_attributes = in_userns or bool(tree.layers)
            kept = KEPT if request.kept is not None else ""
            steps.append(
                overlays.Overlay(
                    name, index, tree.target, tree.hidden, user_attributes, places, tree.layers, tree.shape, kept
                )
            )
        elif tree.target == "/":
            steps.append(roots.TreeRoot(name))
        else:
            says = f"{tree.source} of the host can be {'read' if tree.read_only else 'read and written'}"
            steps.append(filesystems.Attach(name, tree.target, says))
    if request.lifecycle is None:
        volumes = [item.destination for item in request.config.mounts or [] if item.type == VOLUME]
        steps += fill_steps(request.config.mounts or [])
        steps += [roots.TakeVolume(path) for path in volumes]
    return trees, steps


def _places(request: Request, target: str) -> tuple[tuple[str, bool], ...]:
    """Mount points below `target`, relative to it: (path, whether a directory), outer ones first."""
    above = [item.destination for item in request.config.mounts or [] if item.type != "bind"]
    above += [tree.target for tree in request.root.trees if tree.target != target]
    found = [(path, True) for path in above] + [(path, False) for path, _ in request.files]
    for item in request.config.mounts or []:
        if item.type == "bind":
            found.append((item.destination, isdir(item.source or "")))
    if request.make_cwd and request.config.process is not None:
        found.append((request.config.process.cwd, True))
    prefix = target.rstrip("/") + "/"
    covered = [path.rstrip("/") + "/" for path, directory in found if directory]
    return tuple(
        (path[len(prefix) :].strip("/"), directory)
        for path, directory in found
        if path.startswith(prefix) and not any(path.startswith(c) and c != path.rstrip("/") + "/" for c in covered)
    )


def _dev(request: Request, item: Mount) -> MakeDev:
    """/dev made by the stage, which may make device nodes."""
    options = parse_options(item.options or [])
    owner = request.ids.outside(0) or 0, request.ids.outside_gid(0) or 0
    wanted = {_below_dev(d.target): d for d in request.devices if _is_below_dev(d) and not _has_own(request, d)}
    nodes = [(name, 0o020666, *numbers, *owner) for name, numbers in STANDARD_DEVICES if name not in wanted]
    for name, device in wanted.items():
        ids = _outside_ids(request, device)
        nodes.append((name, device.mode, device.major, device.minor, *ids))
    above = {"/".join(parts[:depth]) for parts in (n.split("/") for n in wanted) for depth in range(1, len(parts))}
    directories = (*OWN_DIRECTORIES, *sorted(above))
    links = tuple((path.removeprefix("/dev/"), target) for path, target in DEVICE_LINKS)
    return MakeDev("dev", tuple(nodes), links, directories, options.data, options.attributes, *owner)


def _is_below_dev(device: Node) -> bool:
    return (normpath(device.target) + "/").startswith("/dev/")


def _has_own(request: Request, device: Node) -> bool:
    """Whether a runtime leaves it out: engines list every node of the host, also those a container has its own of."""
    if request.lifecycle is None:
        return False
    name = normpath(device.target).removeprefix("/dev/").split("/")[0]
    return name in {*OWN_DIRECTORIES, *(path.removeprefix("/dev/") for path, _ in DEVICE_LINKS)}


def _outside_ids(request: Request, device: Node) -> tuple[int, int]:
    """The host's ids for a node's owner, root's where it has none there."""
    ids = request.ids
    if ids.kind == "host":
        return device.uid, device.gid
    uid, gid = ids.outside(device.uid), ids.outside_gid(device.gid)
    return (ids.outside(0) or 0) if uid is None else uid, (ids.outside_gid(0) or 0) if gid is None else gid


def _other_devices(request: Request, may_make: bool) -> tuple[list[OpenTree], list[Operation]]:
    """Devices that no /dev of ours holds: elsewhere in the root, or where /dev is not a new tmpfs."""
    own_dev = any(i.destination.rstrip("/") == "/dev" and i.type == "tmpfs" for i in request.config.mounts or [])
    left = [device for device in request.devices if not (own_dev and _is_below_dev(device))]
    foreign = any(i.destination.rstrip("/") == "/dev" for i in request.config.mounts or []) and not own_dev
    if request.lifecycle is not None and not own_dev and not foreign:
        named = {device.target for device in left}
        standard = [Node(f"/dev/{name}", f"/dev/{name}", 0o020666, *numbers) for name, numbers in STANDARD_DEVICES]
        left = [*(device for device in standard if device.target not in named), *left]
    trees: list[OpenTree] = []
    steps: list[Operation] = []
    for index, device in enumerate(left):
        if (may_make and request.ids.kind == "host") or stat.S_ISFIFO(device.mode):
            steps.append(filesystems.MakeNode(device.target, device.mode, *values(device)[3:]))
        else:
            name = f"device {index}"
            numbers = (device.major, device.minor)
            source = next((f"/dev/{own}" for own, pair in STANDARD_DEVICES if pair == numbers), device.source)
            trees.append(OpenTree(name, source, by_stage=may_make, device=numbers))
            steps.append(filesystems.Attach(name, device.target, f"the device {device.source}, as on the host"))
    if request.lifecycle is not None and not own_dev and not foreign:
        steps += [roots.Symlink(path, target) for path, target in DEVICE_LINKS]
    return trees, steps


def _below_dev(target: str) -> str:
    """A device's path below /dev. Raises ConflictError where the container has something of its own."""
    name = normpath(target).removeprefix("/dev").strip("/")
    links = {path.removeprefix("/dev/") for path, _ in DEVICE_LINKS}
    if name in {"", *OWN_DIRECTORIES, *links} or name.split("/")[0] in {*OWN_DIRECTORIES, *links}:
        raise ConflictError(
            f"device at {target}: the container has its own there",
            hint="give another path: in --device, or in /linux/devices",
        )
    return name


def _bound_devices(request: Request) -> tuple[list[OpenTree], list[Operation]]:
    """The host's own device nodes bound into /dev, for a user who may not make any."""
    trees: list[OpenTree] = []
    steps: list[Operation] = []
    attributes = mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NOEXEC
    standard = [(f"/dev/{name}", f"/dev/{name}", numbers) for name, numbers in STANDARD_DEVICES]
    asked = [
        (d.source, d.target, (d.major, d.minor))
        for d in request.devices
        if _is_below_dev(d)
        and not _has_own(request, d)
        and d.target not in {f"/dev/{name}" for name, _ in STANDARD_DEVICES}
    ]
    for index, (source, target, numbers) in enumerate([*standard, *asked]):
        trees.append(OpenTree(f"dev {index}", source, by_stage=False, attributes=attributes, device=numbers))
        steps.append(filesystems.Attach(f"dev {index}", target, f"the device {source}, as on the host"))
    return trees, steps + [roots.Symlink(path, target) for path, target in DEVICE_LINKS]
