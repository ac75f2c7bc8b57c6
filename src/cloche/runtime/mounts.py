"""OCI mounts as steps: what each option means, which steps make a bind, a tmpfs, a cgroup view."""

from __future__ import annotations

from cloche.linux import mount
from cloche.records import record
from cloche.stage.operations.filesystems import Attach, Filesystem
from cloche.stage.operations.trees import OpenTree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.runtime.groups import GroupPlan
    from cloche.spec.mounts import Mount
    from cloche.stage.operation import Operation

_SET = {
    "ro": mount.MOUNT_ATTR_RDONLY,
    "nosuid": mount.MOUNT_ATTR_NOSUID,
    "nodev": mount.MOUNT_ATTR_NODEV,
    "noexec": mount.MOUNT_ATTR_NOEXEC,
    "noatime": mount.MOUNT_ATTR_NOATIME,
    "strictatime": mount.MOUNT_ATTR_STRICTATIME,
    "nodiratime": mount.MOUNT_ATTR_NODIRATIME,
    "nosymfollow": mount.MOUNT_ATTR_NOSYMFOLLOW,
}
_CLEAR = {"rw": "ro", "suid": "nosuid", "dev": "nodev", "exec": "noexec", "symfollow": "nosymfollow"}
_PROPAGATION = {
    "private": mount.MS_PRIVATE,
    "slave": mount.MS_SLAVE,
    "shared": mount.MS_SHARED,
    "unbindable": mount.MS_UNBINDABLE,
}
_IGNORED = {"relatime", "defaults", "async", "atime", "diratime", "norelatime", "z", "Z"}
KNOWN_OPTIONS = (
    {*_SET, *_CLEAR, *_PROPAGATION, *(f"r{name}" for name in (*_SET, *_CLEAR, *_PROPAGATION))}
    | {"bind", "rbind", "idmap", "ridmap"}
    | _IGNORED
)
SAYS = {
    "proc": "/proc shows the processes of this container and no others",
    "sysfs": "/sys shows this container's network and the machine's hardware, to read",
    "devpts": "terminals in here are not the host's",
    "mqueue": "POSIX message queues of its own",
    "tmpfs": "an empty directory in memory",
}


@record
class Options:
    """Mount options taken apart: attributes of the mount, options of the file system."""

    attributes: int
    clear: int
    data: tuple[tuple[str, str | None], ...]
    bind: bool
    recursive: bool
    propagation: int
    id_mapped: bool


def parse_options(options: list[str]) -> Options:
    """Sort the options of one mount by what they apply to."""
    attributes = clear = propagation = 0
    bind = recursive = id_mapped = False
    data: list[tuple[str, str | None]] = []
    for option in options:
        plain = option[1:] if option[:1] == "r" and option[1:] in {*_SET, *_CLEAR, *_PROPAGATION} else option
        if option in {"bind", "rbind"}:
            bind, recursive = True, option == "rbind"
        elif option in {"idmap", "ridmap"}:
            id_mapped = True
        elif plain in _SET:
            attributes |= _SET[plain]
        elif plain in _CLEAR:
            attributes &= ~_SET[_CLEAR[plain]]
            clear |= _SET[_CLEAR[plain]]
        elif plain in _PROPAGATION:
            propagation = _PROPAGATION[plain]
        elif option not in _IGNORED:
            key, equals, value = option.partition("=")
            data.append((key, value if equals else None))
    return Options(attributes, clear, tuple(data), bind, recursive, propagation, id_mapped)


def plan_mount(item: Mount, index: int, *, by_stage: bool, id_mapped: bool) -> tuple[list[OpenTree], list[Operation]]:
    """The tree to take from the host, if it is a bind, and the steps that put the mount in place.

    `id_mapped` says whether binds that ask for it can have their owners mapped.
    """
    options = parse_options(item.options or [])
    says = ""
    if options.bind or item.type == "bind":
        name = f"mount {index}"
        source = item.source or ""
        tree = OpenTree(
            name=name,
            source=source,
            by_stage=by_stage,
            recursive=options.recursive,
            attributes=options.attributes,
            clear=options.clear & ~mount.MOUNT_ATTR_RDONLY,  # what is read-only on the host stays so
            propagation=options.propagation,
            id_mapped=options.id_mapped and id_mapped,
        )
        read_only = options.attributes & mount.MOUNT_ATTR_RDONLY
        says = f"{source} of the host can be {'read' if read_only else 'read and written'} at {item.destination}"
        return [tree], [Attach(name, item.destination, says)]
    kind = item.type or "tmpfs"
    says = SAYS.get(kind, f"a {kind} of its own") + ("" if kind != "tmpfs" else f" at {item.destination}")
    return [], [Filesystem(kind, item.destination, options.data, options.attributes, says)]


def is_writable_bind(item: Mount) -> bool:
    """Whether what is written below a mount is written to files of the host; the kernel's own are not meant."""
    if item.destination.split("/")[1] in {"proc", "sys", "dev"} and item.source == item.destination:
        return False
    options = parse_options(item.options or [])
    return (options.bind or item.type == "bind") and not options.attributes & mount.MOUNT_ATTR_RDONLY


def plan_group_view(destination: str, made: GroupPlan, *, by_stage: bool) -> tuple[list[OpenTree], list[Operation]]:
    """The container's own groups, read-only: one directory on v2, one for each controller on v1."""
    attributes = mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NODEV | mount.MOUNT_ATTR_NOEXEC
    trees: list[OpenTree] = []
    steps: list[Operation] = []
    views = [(made.born_in, destination)]
    if not made.born_in:
        options = (("mode", "0755"), ("size", "64k"))
        steps.append(Filesystem("tmpfs", destination, options, attributes, "the place of its cgroup views"))
        views = [(path, f"{destination}/{name}") for name, path in made.by_controller]
    for index, (path, target) in enumerate(views):
        name = f"group {index}"
        trees.append(OpenTree(name, path, by_stage, attributes=attributes | mount.MOUNT_ATTR_RDONLY))
        steps.append(Attach(name, target, "the container sees its own control group, and cannot change it"))
    return trees, steps
