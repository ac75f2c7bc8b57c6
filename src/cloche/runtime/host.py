"""What this machine is and allows: facts, read once and cheaply, on which planning depends.

Nothing here tries anything; real attempts are made by `doctor`, and by the stage itself.
"""

from __future__ import annotations

import posix as os

from cloche.linux import capabilities, files, kernel, landlock, namespaces
from cloche.linux.reading import read
from cloche.records import record
from cloche.runtime.idmaps import read_map
from cloche.stage.delegation import ASIDE

CAP_SYS_ADMIN = 21
INITIAL_USERS = 0xEFFFFFFD  # linux/proc_ns.h PROC_USER_INIT_INO
STANDARD_CONTROLLERS = (
    *("memory", "pids", "cpu", "cpuset", "blkio", "devices", "cpuacct", "freezer"),
    *("hugetlb", "net_cls", "net_prio", "perf_event", "rdma", "misc"),
)
NAMED = "name=systemd"  # a hierarchy of v1 without a controller, in which systemd keeps its units


@record
class Groups:
    """Where cgroups are: for each controller, the directory of this process' own group.

    `kind` is "v2", "v1", "hybrid" (v1 for the controllers, a v2 tree beside) or "none". "name=systemd" is
    there beside the controllers where that hierarchy is. `v2` is the
    process' own group in the v2 tree, "" where there is none; `mounts` the top of each hierarchy.
    """

    kind: str
    own: dict[str, str]
    mounts: dict[str, str]
    v2: str
    v2_mount: str


@record
class Host:
    """The facts."""

    uid: int
    gid: int
    privileged: bool  # root, with CAP_SYS_ADMIN over its own mounts
    kernel: tuple[int, int]
    machine: str
    id_map: tuple[tuple[int, int, int], ...]  # of this process' own user namespace
    groups: Groups
    landlock: int
    initial: bool = True  # it is in the initial user namespace: device nodes and id-mapped mounts are possible
    groups_frozen: bool = False  # setgroups is denied in its user namespace, and so in all below
    capabilities: int = -1  # permitted to this process: no others can be given without a user namespace
    nested_root: bool = False  # root of a user namespace that does not own the mounts it sees


def probe_host() -> Host:
    """The facts of this machine, for this process; what cannot change is read once."""
    uid, gid = os.geteuid(), os.getegid()
    effective, permitted, _ = capabilities.get()
    root = uid == 0 and bool(effective >> CAP_SYS_ADMIN & 1)
    users = os.stat("/proc/self/ns/user").st_ino
    privileged = root and (users == INITIAL_USERS or _owner_of_mounts() == users)
    with open("/proc/self/cgroup", "rb", buffering=0) as file:
        own_groups = _read_all(file.fileno())
    key = uid, gid, permitted, users if root else 0, own_groups
    host = _KNOWN.get(key)
    if host is None:
        host = _KNOWN[key] = Host(
            uid=uid,
            gid=gid,
            privileged=privileged,
            kernel=kernel.release(),
            machine=kernel.MACHINE,
            id_map=read_map("/proc/self/uid_map"),
            groups=_find_groups(read_mounts(), own_groups),
            landlock=_landlock(),
            initial=users == INITIAL_USERS,
            capabilities=permitted,
            groups_frozen=read("/proc/self/setgroups").strip() == "deny",
            nested_root=root and not privileged,
        )
    return host


_KNOWN: dict[tuple[int, int, int, int, str], Host] = {}


def _owner_of_mounts() -> int:
    """The user namespace that owns the mount namespace this process is in, by its inode; 0 if out of reach."""
    with files.Fd(os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)) as mounts:
        try:
            with files.Fd(namespaces.owner(mounts.number)) as users:
                return os.fstat(users.number).st_ino
        except PermissionError:
            return 0


def _landlock() -> int:
    try:
        return landlock.abi()
    except PermissionError:  # a filter around us refuses to say
        return 0


def mount_points() -> list[str]:
    """Where something is mounted now."""
    return [mount[0] for mount in read_mounts()]


def read_mounts() -> list[tuple[str, str, str, str]]:
    """/proc/self/mountinfo as (mount point, root within the file system, type, super options)."""
    result = []
    with open("/proc/self/mountinfo", "rb", buffering=0) as file:
        text = _read_all(file.fileno())
    for line in text.splitlines():
        fields = line.split(" ")
        dash = fields.index("-", 6)
        result.append((_unescape(fields[4]), _unescape(fields[3]), fields[dash + 1], fields[dash + 3]))
    return result


def _read_all(fd: int) -> str:
    parts = []
    while part := os.read(fd, 65536):
        parts.append(part)
    return b"".join(parts).decode(errors="surrogateescape")


def _unescape(text: str) -> str:
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        if code in text:
            text = text.replace(code, char)
    return text


def _find_groups(mounts: list[tuple[str, str, str, str]], own_groups: str) -> Groups:
    lines = [line.split(":", 2) for line in own_groups.splitlines()]
    paths = {names: path for _, names, path in lines}
    own: dict[str, str] = {}
    tops: dict[str, str] = {}
    v2 = v2_mount = ""
    for point, root, kind, options in mounts:
        if kind == "cgroup2" and not v2_mount:
            v2_mount, v2 = point, _below(point, root, paths.get("", "/"))
        elif kind == "cgroup":
            found = options.split(",")
            for controller in (*STANDARD_CONTROLLERS, NAMED):
                if controller in found and controller not in own:
                    path = next((p for names, p in paths.items() if controller in names.split(",")), "/")
                    own[controller], tops[controller] = _below(point, root, path), point
    kind = ("hybrid" if own.keys() - {NAMED} else "v2") if v2_mount else ("v1" if own else "none")
    v2 = v2.removesuffix(f"/{ASIDE}")
    if kind == "v2":
        for controller in read(f"{v2_mount if os.geteuid() == 0 else v2}/cgroup.controllers").split():
            name = "blkio" if controller == "io" else controller
            own[name], tops[name] = v2, v2_mount
    return Groups(kind=kind, own=own, mounts=tops, v2=v2, v2_mount=v2_mount)


def _below(point: str, root: str, path: str) -> str:
    """The directory of group `path` in a hierarchy whose part `root` is mounted at `point`."""
    if root != "/" and path.startswith(root):
        path = path[len(root) :]
    return (point + "/" + path.strip("/")).rstrip("/")
