"""OCI mounts as steps: what each option means, which steps make a bind, a tmpfs, a cgroup view."""

from __future__ import annotations

from cloche.errors import SpecError
from cloche.linux import mount
from cloche.records import record
from cloche.stage.operations.filesystems import Attach, Filesystem, Propagate, Remount
from cloche.stage.operations.roots import AttachVolume
from cloche.stage.operations.trees import GroupViews, OpenTree
from cloche.stage.operations.volumes import AttachNamed, FillVolume, OpenFirst

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.runtime.cgroups.plan import GroupPlan
    from cloche.spec.mounts import IDMapping, Mount
    from cloche.stage.operation import Operation

_SET = {
    "ro": mount.MOUNT_ATTR_RDONLY,
    "nosuid": mount.MOUNT_ATTR_NOSUID,
    "nodev": mount.MOUNT_ATTR_NODEV,
    "noexec": mount.MOUNT_ATTR_NOEXEC,
    "nodiratime": mount.MOUNT_ATTR_NODIRATIME,
    "nosymfollow": mount.MOUNT_ATTR_NOSYMFOLLOW,
}
_CLEAR = {
    "rw": "ro",
    "suid": "nosuid",
    "dev": "nodev",
    "exec": "noexec",
    "diratime": "nodiratime",
    "symfollow": "nosymfollow",
}
# one field of which one value counts; relatime is 0, and what "no…" and "atime" go back to
_ATIME = {
    "noatime": mount.MOUNT_ATTR_NOATIME,
    "strictatime": mount.MOUNT_ATTR_STRICTATIME,
    "relatime": 0,
    "atime": 0,
    "norelatime": 0,
    "nostrictatime": 0,
}
_PROPAGATION = {
    "private": mount.MS_PRIVATE,
    "slave": mount.MS_SLAVE,
    "shared": mount.MS_SHARED,
    "unbindable": mount.MS_UNBINDABLE,
}
_OF_THE_FILE_SYSTEM = {"sync", "dirsync", "lazytime", "mand"}  # vfs flags of a superblock; a bind has none of its own
_NEGATED = {"async": "sync", "nolazytime": "lazytime", "nomand": "mand"}
_IGNORED = {"defaults", *_NEGATED, "iversion", "noiversion", "silent", "loud", "acl", "z", "Z"}
_EITHER_WAY = (*_SET, *_CLEAR, *_ATIME, *_PROPAGATION)
KNOWN_OPTIONS = {
    *_EITHER_WAY,
    *(f"r{name}" for name in _EITHER_WAY),
    *_OF_THE_FILE_SYSTEM,
    *(_IGNORED - {"z", "Z"}),
    *("bind", "rbind", "idmap", "ridmap", "remount", "tmpcopyup"),
}
VOLUME = "volume"  # a type of our own: a part of the root that stays writable where the root does not
# another: a volume of the store; options: ro, nocopy, bind or rbind where it is another directory of the host,
# first=FILE, where its first use is written down, and below=PATH in it
NAMED = "named volume"
SAYS = {
    "proc": "/proc shows the processes of this container and no others",
    "sysfs": "/sys shows this container's network and the machine's hardware, to read",
    "devpts": "terminals in here are not the host's",
    "mqueue": "POSIX message queues of its own",
    "tmpfs": "an empty directory in memory",
}


@record
class Options:
    """Mount options taken apart: attributes of the mount, those of all mounts below, options of the file system."""

    attributes: int
    clear: int
    deep: int
    deep_clear: int
    data: tuple[tuple[str, str | None], ...]
    bind: bool
    recursive: bool
    propagation: int
    id_mapped: str  # as OpenTree has it
    remount: bool
    copy_up: bool


def parse_options(options: list[str]) -> Options:
    """Sort the options of one mount by what they apply to; of those that exclude each other the last counts."""
    words = set(options)
    sets, clears, propagation, id_mapped = [0, 0], [0, 0], 0, ""
    data: list[tuple[str, str | None]] = []
    for option in options:
        deep = option[:1] == "r" and option[1:] in _EITHER_WAY and option not in _EITHER_WAY
        plain = option[1:] if deep else option
        if plain in _SET:
            sets[deep] |= _SET[plain]
            clears[deep] &= ~_SET[plain]
        elif plain in _CLEAR:
            sets[deep] &= ~_SET[_CLEAR[plain]]
            clears[deep] |= _SET[_CLEAR[plain]]
        elif plain in _ATIME:
            sets[deep] = sets[deep] & ~mount.MOUNT_ATTR_ATIME | _ATIME[plain]
            clears[deep] |= mount.MOUNT_ATTR_ATIME
        elif plain in _PROPAGATION:
            propagation = _PROPAGATION[plain]
        elif option in {"idmap", "ridmap"}:
            id_mapped = "top" if option == "idmap" else "all"
        elif option not in _IGNORED | {"bind", "rbind", "remount", "tmpcopyup"}:
            key, equals, value = option.partition("=")
            data.append((key, value if equals else None))
        if option in _NEGATED:
            data = [pair for pair in data if pair != (_NEGATED[option], None)]
    return Options(
        sets[0],
        clears[0],
        sets[1],
        clears[1],
        tuple(data),
        bool(words & {"bind", "rbind"}),
        "rbind" in words,
        propagation,
        id_mapped,
        "remount" in words,
        "tmpcopyup" in words,
    )


def plan_mount(
    item: Mount, index: int, *, by_stage: bool, id_mapped: bool, strict: bool = False
) -> tuple[list[Operation], list[Operation]]:
    """What to take from the host, such as the tree of a bind, and the steps that put the mount in place.

    `id_mapped` says whether binds that ask for it can have their owners mapped to the container's; `strict`,
    that one whose owners cannot be mapped is an error.
    """
    if item.type == VOLUME and not strict:
        return [], [AttachVolume(item.destination)]
    if item.type == NAMED and not strict:
        return _named(item, index, by_stage=by_stage, id_mapped=id_mapped)
    options = parse_options(item.options or [])
    if options.remount:
        sets, clears = options.attributes | options.deep, options.clear | options.deep_clear
        return [], [Remount(item.destination, sets, clears, bool(options.deep | options.deep_clear))]
    if options.bind or item.type == "bind":
        tree = _bind(item, f"mount {index}", options, by_stage=by_stage, id_mapped=id_mapped, strict=strict)
        read_only = (options.attributes | options.deep) & mount.MOUNT_ATTR_RDONLY
        says = f"{tree.source} of the host can be {'read' if read_only else 'read and written'} at {item.destination}"
        return [tree], [Attach(tree.name, item.destination, says)]
    if item.uidMappings or item.gidMappings or options.id_mapped:
        raise SpecError(f"{item.destination}: ids can be mapped for bind mounts only", pointer=f"/mounts/{index}")
    kind = item.type or "tmpfs"
    says = SAYS.get(kind, f"a {kind} of its own") + ("" if kind != "tmpfs" else f" at {item.destination}")
    attributes = options.attributes | options.deep
    source = item.source if item.source and kind not in SAYS else ""
    step = Filesystem(kind, item.destination, options.data, attributes, says, source, options.copy_up)
    if not options.propagation:
        return [], [step]
    return [], [step, Propagate(item.destination, options.propagation)]


def _bind(item: Mount, name: str, options: Options, *, by_stage: bool, id_mapped: bool, strict: bool) -> OpenTree:
    given = item.uidMappings or item.gidMappings
    mapped = options.id_mapped or ("top" if given else "")
    if not strict:
        mapped = "if possible" if mapped and id_mapped else ""
    return OpenTree(
        name=name,
        source=item.source or "",
        by_stage=by_stage,
        recursive=options.recursive,
        attributes=options.attributes,
        # what is read-only on the host stays so
        clear=options.clear & ~mount.MOUNT_ATTR_RDONLY,
        deep=options.deep,
        deep_clear=options.deep_clear,
        propagation=options.propagation,
        id_mapped=mapped,
        maps=(_map(item.uidMappings), _map(item.gidMappings)) if given else (),
    )


def _named(item: Mount, index: int, *, by_stage: bool, id_mapped: bool) -> tuple[list[Operation], list[Operation]]:
    words = named_words(item)
    attributes = mount.MOUNT_ATTR_NODEV
    if words.keys() & {"bind", "rbind"}:
        attributes |= mount.MOUNT_ATTR_NOSUID  # whose programs the host's users can run
    tree = OpenTree(
        name=f"mount {index}",
        source=item.source or "",
        by_stage=by_stage,
        recursive="rbind" in words,
        deep=attributes,
        id_mapped="if possible" if id_mapped else "",
        below=words.get("below", ""),
    )
    first = OpenFirst(_first(index), words["first"], by_stage)
    return [tree, first], [AttachNamed(tree.name, item.destination, "ro" in words)]


def fill_steps(mounts: list[Mount]) -> list[Operation]:
    """The steps that fill volumes of the store, to be carried out before anything covers the root."""
    return [
        FillVolume(f"mount {index}", _first(index), item.destination, "nocopy" not in named_words(item))
        for index, item in enumerate(mounts)
        if item.type == NAMED
    ]


def named_words(item: Mount) -> dict[str, str]:
    """The options of a volume of the store, by what is before the =."""
    return {key: value for key, _, value in (word.partition("=") for word in item.options or [])}


def _first(index: int) -> str:
    return f"first {index}"


def _map(items: list[IDMapping] | None) -> tuple[tuple[int, int, int], ...]:
    return tuple((item.containerID, item.hostID, item.size) for item in items or [])


def is_writable_bind(item: Mount) -> bool:
    """Whether what is written below a mount is written to files of the host; the kernel's own are not meant."""
    if item.destination.split("/")[1] in {"proc", "sys", "dev"} and item.source == item.destination:
        return False
    options = parse_options(item.options or [])
    read_only = (options.attributes | options.deep) & mount.MOUNT_ATTR_RDONLY
    return (options.bind or item.type == "bind") and not read_only


def plan_group_view(
    destination: str, made: GroupPlan, *, by_stage: bool, read_only: bool
) -> tuple[list[OpenTree], list[Operation]]:
    """The container's own groups: one directory on v2, one for each hierarchy on v1."""
    attributes = mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NODEV | mount.MOUNT_ATTR_NOEXEC
    attributes |= mount.MOUNT_ATTR_RDONLY if read_only else 0
    if made.paths.keys() <= {""}:
        tree = OpenTree("group", made.paths.get("", ""), by_stage, attributes=attributes)
        says = f"the container sees its own control group{', and cannot change it' if read_only else ''}"
        return [tree], [Attach(tree.name, destination, says)]
    views = tuple((f"group {name}", name, path) for name, path in made.views or made.by_controller)
    trees = [OpenTree(tree, path, by_stage, attributes=attributes) for tree, _, path in views]
    says = "the container sees its own control groups, one in each hierarchy"
    says += ", and cannot change them" if read_only else ""
    return trees, [GroupViews(destination, tuple((tree, name) for tree, name, _ in views), attributes, says)]
