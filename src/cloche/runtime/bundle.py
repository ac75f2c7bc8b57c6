"""An OCI bundle as a request: a directory with config.json, and the root it names.

What config.json asks for and this runtime does not carry out yet is an error, never left out quietly.
"""

from __future__ import annotations

import _stat as stat
import posix as os

from cloche.errors import NotFoundError, SpecError, UnsupportedError
from cloche.linux.places import environment, isdir, join, normpath
from cloche.runtime.attributes import label_mounts
from cloche.runtime.describing import KINDS
from cloche.runtime.idmaps import given, without
from cloche.runtime.request import Node, Request, Root, Tree
from cloche.spec.config import Config
from cloche.spec.reader import read_json
from cloche.spec.validate import validate
from cloche.stage.points import from_environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.runtime.host import Host
    from cloche.runtime.idmaps import IdMaps
    from cloche.runtime.request import Lifecycle
    from cloche.spec.mounts import IDMapping
    from cloche.spec.process import Process


LARGEST = 32 << 20  # bytes of a config.json; real ones have some kilobytes


def read_config(bundle: str, path: str = "") -> tuple[Config, list[str], bytes]:
    """The bundle's config.json, or the file `path` instead; checked, what is odd about it, its text.

    Raises SpecError with a JSON pointer, or NotFoundError.
    """
    path = path or f"{bundle}/config.json"
    try:
        # what is no file may keep us waiting, or have no end
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise OSError(22, "is not a file")
            if status.st_size > LARGEST:
                raise OSError(27, f"has {status.st_size >> 20} MiB, and {LARGEST >> 20} are the most that is read")
            text = file.read()
    except OSError as error:
        raise NotFoundError(
            f"{path} cannot be read: {error.strerror}", hint="`cloche-runtime spec` makes one"
        ) from None
    try:
        config = Config.parse(read_json(text))
    except SpecError as error:
        if error.pointer:
            raise
        raise SpecError(f"{path}: {error}", hint=error.hint) from None  # of the whole document
    warnings = validate(config)
    _check_users(config)
    return config, warnings, text


def _check_users(config: Config) -> None:
    """Whether a new user namespace has maps; to choose some would give the container ids nobody has spoken of."""
    linux = config.linux
    user = linux.namespace("user") if linux is not None else None
    if linux is None or user is None or user.path:
        return
    for name, maps in (("uidMappings", linux.uidMappings), ("gidMappings", linux.gidMappings)):
        if not maps:
            raise SpecError(
                "a new user namespace needs at least one entry",
                pointer=f"/linux/{name}",
                hint="`cloche-runtime spec --rootless` shows one",
            )


def read_document(option: str, path: str, *, stdin: bool = False) -> bytes:
    """The file an option names, or standard input: a pipe as well, but not without end. Raises NotFoundError."""
    try:
        with open(0 if stdin else path, "rb", closefd=not stdin) as file:
            text = file.read(LARGEST + 1) or b""
    except OSError as error:
        raise NotFoundError(f"{option} {path}: {error.strerror}") from error
    if len(text) > LARGEST:
        raise NotFoundError(f"{option} {path}: has more than {LARGEST >> 20} MiB, the most that is read")
    return text


def _devices(config: Config) -> tuple[Node, ...]:
    """linux.devices as a request has them."""
    found = []
    kinds = {"b": stat.S_IFBLK, "c": stat.S_IFCHR, "u": stat.S_IFCHR, "p": stat.S_IFIFO}
    for device in (config.linux and config.linux.devices) or []:
        mode = kinds[device.type] | (0o666 if device.fileMode is None else device.fileMode & 0o7777)
        numbers = device.major or 0, device.minor or 0, device.uid or 0, device.gid or 0
        found.append(Node(device.path, device.path, mode, *numbers))
    return tuple(found)


def request_of(config: Config, bundle: str, container_id: str, host: Host, life: Lifecycle, stage: str) -> Request:
    """The request for a checked config; `stage` says how the interpreter is protected.

    Raises SpecError, NotFoundError, UnsupportedError.
    """
    process, linux, root = config.process, config.linux, config.root
    if process is None or root is None:
        raise SpecError("is needed to run", pointer="/process" if process is None else "/root")
    path = normpath(join(bundle, root.path))
    if not isdir(path):
        raise NotFoundError(f"/root/path: {path} is not a directory", hint="unpack the root file system there")
    listed = (linux.namespaces if linux else None) or []
    kinds = {item.type for item in listed if not item.path}
    if "mount" not in kinds:
        _check_joined_mounts([item.path or "" for item in listed if item.type == "mount"])
    for item in config.mounts or []:
        if not item.destination.startswith("/"):
            item.destination = "/" + item.destination
        if item.type == "bind" or {"bind", "rbind"} & set(item.options or ()):
            item.source = join(bundle, item.source or "")
    label_mounts(config)
    ids = _ids(config, host, own_users="user" in kinds)
    if ids.kind != "host":
        check_mapped(process, ids)
    return Request(
        config=config,
        root=Root((Tree(path, "/", layered=False),), read_only=root.readonly),
        ids=ids,
        name=f"cloche-{container_id}",
        default_seccomp=False,
        watch_refusals=False,
        devices=_devices(config),
        joins=tuple((KINDS[item.type], item.path) for item in listed if item.path),
        terminal_size=_size(process) if process.terminal else None,
        machine=host.machine,
        make_cwd=True,
        lifecycle=life,
        failpoint=from_environment(environment("CLOCHE_FAILPOINT")),
        stage_says=stage,
    )


def _check_joined_mounts(paths: list[str]) -> None:
    """Whether a mount namespace is joined, and not the host's: everybody in it will have the container's root."""
    hosts = []
    for pid in ("self", "1"):
        try:
            hosts.append(os.stat(f"/proc/{pid}/ns/mnt")[1:3])  # inode and device
        except OSError:  # the first process, for an ordinary user, who cannot join it either
            continue
    try:
        joined = bool(paths) and os.stat(paths[0])[1:3] not in hosts
    except OSError as error:
        raise NotFoundError(f"/linux/namespaces: {paths[0]}: {error.strerror}") from None
    if not joined:
        raise UnsupportedError("/linux/namespaces: a container in the mount namespace of the host")


def check_mapped(process: Process, ids: IdMaps) -> None:
    """Whether the ids of the process exist in the user namespace; for lack of a map the kernel would say EINVAL."""
    user = process.user
    groups = [("gid", user.gid), *((f"additionalGids/{i}", gid) for i, gid in enumerate(user.additionalGids or []))]
    if ids.uids and ids.outside(user.uid) is None:
        raise SpecError(f"{user.uid} is not in /linux/uidMappings", pointer="/process/user/uid")
    for name, gid in groups:
        if ids.gids and ids.outside_gid(gid) is None:
            raise SpecError(f"{gid} is not in /linux/gidMappings", pointer=f"/process/user/{name}")


def _size(process: Process) -> tuple[int, int]:
    size = process.consoleSize
    return (size.height, size.width) if size is not None else (0, 0)


def _ids(config: Config, host: Host, *, own_users: bool) -> IdMaps:
    linux = config.linux
    if linux is None or not own_users:
        return without(host)
    return given(host, _map(linux.uidMappings), _map(linux.gidMappings), "as config.json has it")


def _map(items: list[IDMapping] | None) -> tuple[tuple[int, int, int], ...]:
    return tuple((item.containerID, item.hostID, item.size) for item in items or [])


def default_config(*, rootless: bool, uid: int, gid: int) -> dict[str, object]:
    """The config.json that `spec` writes: a shell in a read-only root, with the usual mounts."""
    from cloche.runtime import defaults

    caps = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
    names = ["pid", "ipc", "uts", "mount", "cgroup", *(["user"] if rootless else []), "network"]
    pts = [*defaults.DEVPTS, *([] if rootless else ["gid=5"])]
    linux: dict[str, object] = {
        "namespaces": [{"type": name} for name in names],
        "maskedPaths": list(defaults.MASKED),
        "readonlyPaths": list(defaults.READ_ONLY),
    }
    if rootless:
        linux["uidMappings"] = [{"containerID": 0, "hostID": uid, "size": 1}]
        linux["gidMappings"] = [{"containerID": 0, "hostID": gid, "size": 1}]
    return {
        "ociVersion": "1.2.0",
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": [f"PATH={defaults.PATH}", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "cloche",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": list(defaults.DEV)},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": pts},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": [*defaults.SHM, "size=65536k"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": list(defaults.QUIET)},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*defaults.QUIET, "ro"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": [*defaults.QUIET, "ro"]},
        ],
        "linux": linux,
    }
