"""From options to an OCI config and a request (long: every default is put in here, and nothing is tried)."""

from __future__ import annotations

import posix as os

from cloche.engine.signals import signal_number
from cloche.engine.sweeping import group_name
from cloche.errors import ConflictError, ForbiddenError, NotFoundError, SpecError
from cloche.linux import places
from cloche.linux.places import normpath
from cloche.network.names import LOOPBACK, hosts_file, resolver_file
from cloche.records import record
from cloche.runtime import defaults, idmaps
from cloche.runtime.host import mount_points
from cloche.runtime.request import Node, Request, Root, Tree
from cloche.sandbox import values
from cloche.sandbox.image_config import image_root, image_variables, image_volumes
from cloche.sandbox.limits import resources
from cloche.sandbox.security import Security, decide, read_profile
from cloche.sandbox.volumes import devices_of, here, mounts_of
from cloche.spec.config import Config
from cloche.spec.linux import Linux, Namespace, TimeOffset
from cloche.spec.mounts import Mount
from cloche.spec.process import Capabilities, ConsoleSize, Process, Rlimit, User
from cloche.spec.seccomp import Seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.images.host import HostImage
    from cloche.images.local import Image
    from cloche.runtime.host import Host
    from cloche.runtime.idmaps import IdMaps, Lease
    from cloche.sandbox.options import Options

    # how to find another container's first process by name: (pid, start time)
    Finder = Callable[[str], tuple[int, int]]

SHELL = "/bin/sh"


def build(
    options: Options,
    host: Host,
    container_id: str,
    *,
    lease: Lease | None,
    find: Finder,
    size: tuple[int, int] = (0, 0),
    image: Image | None = None,
) -> Request:
    """The request for these options; `image` is the one they name, unless it is `host`, which
    they are to have been completed with (`with_image`).

    `lease` gives root's containers their range of ids (None: a dry run); `find` turns another
    container's name into (pid, start time); `size` is the terminal's rows and columns.
    Raises ClocheError for everything a person can get wrong.
    """
    options = without_zeros(options)
    check(options)
    security = decide(options)
    sharing = _sharing(options, host, find)
    ids = _ids(options, host, lease, sharing)
    if options.group_add and ids.deny_setgroups:
        raise ForbiddenError(
            "--group-add needs a range of group ids: an ordinary user's single one leaves groups as they are",
            hint="give the user a range in /etc/subuid and /etc/subgid, and install uidmap",
        )
    host_files = None if options.rootfs or image is not None else _host_files()
    if image is not None:
        root = image_root(image, read_only=options.read_only)
    else:
        root = _root(options) if host_files is None else _host_root(options, host_files, host)
    command = _command(options)
    hostname = "" if sharing.has("uts") else options.hostname or container_id[:12]
    env = _environment(options, host_files.path if host_files else (), image, hostname)
    cwd = "/" + normpath(options.workdir).strip("/") if options.workdir else "/"
    limits, asked = resources(options)
    capabilities = list(security.capabilities)
    timeout = values.duration(options.timeout, "--timeout")
    score = options.oom_score_adj
    process = Process(
        cwd=cwd,
        user=User(uid=0, gid=0, umask=_umask(options.umask)),
        args=list(command),
        env=env,
        terminal=options.tty,
        consoleSize=ConsoleSize(height=size[0], width=size[1]) if options.tty else None,
        capabilities=Capabilities(
            bounding=capabilities, effective=capabilities, permitted=capabilities, inheritable=[], ambient=[]
        ),
        rlimits=rlimits(options),
        noNewPrivileges=security.no_new_privileges,
        oomScoreAdj=None if score is None else values.whole(score, "--oom-score-adj", -1000, 1000),
    )
    config = Config(
        ociVersion="1.2.0",
        hostname=hostname or None,
        domainname=options.domainname or None,
        process=process,
        mounts=_mounts(options, sharing, ids, () if image is None else image_volumes(image)),
        linux=Linux(
            namespaces=_namespaces(options, sharing, ids),
            timeOffsets=_time_offsets(options.time_offset),
            resources=limits,
            seccomp=_profile(security, host),
            sysctl=_sysctls(options, sharing, ids),
            maskedPaths=_masked(security),
            readonlyPaths=list(defaults.READ_ONLY) if security.masks else None,
        ),
        annotations=dict(values.key_value(text, "--annotation") for text in options.annotation),
    )
    return Request(
        config=config,
        root=root,
        ids=ids,
        name=group_name(container_id),
        user=options.user or (f"{host.uid}:{host.gid}" if options.userns == "keep-id" else ""),
        groups=tuple(options.group_add),
        files=_files(options, hostname, sharing),
        make_cwd=bool(options.workdir),
        devices=tuple(Node(*device[:5]) for device in devices_of(options)),
        init=options.init,
        default_seccomp=security.seccomp == "default",
        watch_refusals=security.watch_refusals and security.no_new_privileges,
        landlock=security.landlock,
        allow_unenforced=options.allow_unenforced,
        asked=asked,
        timeout=timeout,
        joins=sharing.paths,
        processes=sharing.processes,
        terminal_size=size if options.tty else None,
        cgroup_parent=options.cgroup_parent,
        machine=host.machine,
        landlock_abi=host.landlock,
        trace=options.trace,
        step=options.step,
    )


def ids_of(options: Options, host: Host, find: Finder) -> IdMaps:
    """The ids a container with these options gets, without a lease."""
    return _ids(options, host, None, _sharing(options, host, find))


def without_zeros(options: Options) -> Options:
    """The options without those 0s that mean "not set" to docker."""
    given = vars(options)
    unset = [name for name in ("memory_swap", "cpus", "blkio_weight") if _is_zero(given[name])]
    return type(options)(**{**given, **dict.fromkeys(unset)}) if unset else options


def _is_zero(amount: object) -> bool:
    try:
        return float(str(amount)) == 0
    except ValueError:
        return False


def check(options: Options) -> None:
    """Raise SpecError, ConflictError for contradictions, and characters no system call takes."""
    for field, value in vars(options).items():
        for text in value if isinstance(value, tuple) else (value,):
            if isinstance(text, str):
                _check_characters(text, f"--{field.replace('_', '-')}", strict=field in _WRITTEN)
    if options.rootfs and options.image:
        raise ConflictError("both an image and --rootfs were given", hint="leave one of them out")
    if not options.rootfs and not options.image:
        raise SpecError("no image was named", hint="a name such as debian:12, or `host`; or --rootfs DIR")
    if options.userns not in {"", "private"} and (options.uidmap or options.gidmap):
        raise ConflictError(
            f"--userns={options.userns} contradicts --uidmap and --gidmap", hint="leave one of them out"
        )
    if options.uts not in {"", "private"} and (options.hostname or options.domainname):
        raise ConflictError(
            f"--hostname and --domainname contradict --uts={options.uts}: the name is not the container's own",
            hint="leave one of them out",
        )
    if options.cpus is not None and (options.cpu_quota is not None or options.cpu_period is not None):
        raise ConflictError("--cpus contradicts --cpu-quota and --cpu-period", hint="they say the same thing: use one")
    if options.workdir and not options.workdir.startswith("/"):
        raise SpecError(f"the working directory {options.workdir!r} is not absolute", hint="such as /work")
    if options.hostname and (len(options.hostname) > 64 or not _is_host_name(options.hostname)):
        raise SpecError(
            f"{options.hostname!r} is not a host name", hint="letters, digits, dots and hyphens, at most 64"
        )
    if options.stop_signal is not None:
        signal_number(options.stop_signal)
    if options.stop_timeout is not None:
        values.duration(options.stop_timeout, "--stop-timeout")
    if len(options.domainname) > 64:
        raise SpecError("the domain name is longer than 64 bytes")
    if ".." in options.cgroup_parent.split("/"):
        raise SpecError(f"--cgroup-parent {options.cgroup_parent!r} leads upwards", hint="a path below the top: /a/b")


_WRITTEN = {"add_host", "dns", "dns_search", "dns_option", "domainname", "sysctl"}  # these reach files as UTF-8


def _check_characters(text: str, option: str, *, strict: bool) -> None:
    """No NUL, and nothing that has no bytes; `strict` text has to be UTF-8, other text may be any bytes."""
    if "\0" in text:
        raise SpecError(f"{option} has a NUL byte in it")
    try:
        text.encode("utf-8", "strict" if strict else "surrogateescape")
    except UnicodeEncodeError:
        raise SpecError(f"{option} {text!r} is not text that can be written as UTF-8") from None


def _is_host_name(name: str) -> bool:
    return all(c.isascii() and (c.isalnum() or c in "-._") for c in name)


def _command(options: Options) -> tuple[str, ...]:
    command = tuple(options.command)
    if options.entrypoint:
        return (options.entrypoint, *command)
    if not command and (options.entrypoint == "" or not (options.rootfs or options.image == "host")):
        raise SpecError(
            "there is no command: none was given, and the image has none", hint="name a program, such as sh"
        )
    if not command:
        return (SHELL,)
    if not command[0]:
        raise SpecError("the command is an empty string", hint="name a program, such as sh")
    return command


def _umask(value: str | int) -> int:
    try:
        number = value if isinstance(value, int) else int(value, 8)
    except ValueError:
        number = -1
    if not 0 <= number <= 0o777:
        raise SpecError(f"--umask {value!r} is not a mode", hint="octal, such as 0022")
    return number


@record
class Sharing:
    """Namespaces that are not the container's own."""

    host: frozenset[str]  # kinds shared with the host
    paths: tuple[tuple[str, str], ...]  # (kind, file)
    processes: tuple[tuple[int, int, tuple[str, ...]], ...]  # (pid, start time, kinds)

    def has(self, kind: str) -> bool:
        """Whether this kind is shared with anybody."""
        return kind in self.host or self.joins(kind)

    def joins(self, kind: str) -> bool:
        """Whether this kind is taken from a file or another process."""
        return any(kind == k for k, _ in self.paths) or any(kind in held[2] for held in self.processes)


def modes(options: Options) -> tuple[tuple[str, str, str], ...]:
    """What --network, --pid, --ipc, --uts, --cgroupns and --userns say: (kind, option, mode). Raises SpecError."""
    found = (
        ("net", "--network", options.network),
        ("pid", "--pid", options.pid),
        ("ipc", "--ipc", options.ipc),
        ("uts", "--uts", options.uts),
        ("cgroup", "--cgroupns", options.cgroupns),
        ("user", "--userns", options.userns),
    )
    for kind, option, mode in found:
        if mode in _MODES.get(kind, ("", "private", "host")):
            continue
        if mode.startswith("container:") and kind != "cgroup":
            continue
        if kind == "user":
            raise SpecError(f"--userns={mode} is not a mode", hint="auto, keep-id, host or container:NAME")
        if mode.startswith("ns:") and kind != "cgroup":
            continue
        if mode in {"bridge", "default", "slirp4netns", "pasta"} and kind == "net":
            raise SpecError(f"--network={mode} is not here yet", hint="none, host, ns:PATH or container:NAME")
        others = "" if kind == "cgroup" else ", ns:PATH or container:NAME"
        raise SpecError(f"{option}={mode} is not a mode", hint=f"private, host{others}")
    return found


_MODES = {
    "net": ("", "none", "private", "host"),
    "ipc": ("", "none", "private", "shareable", "host"),  # whoever names a container can join it, whatever it says
    "user": ("", "auto", "keep-id", "private", "host"),
}


def _sharing(options: Options, host: Host, find: Finder) -> Sharing:
    """Whose namespaces the modes mean."""
    shared: set[str] = set()
    paths: list[tuple[str, str]] = []
    held: dict[tuple[int, int], list[str]] = {}
    for kind, option, mode in modes(options):
        if mode == "host":
            shared.add(kind)
        elif mode.startswith("container:"):
            held.setdefault(find(mode[10:]), []).append(kind)
        elif mode.startswith("ns:"):
            if not places.exists(mode[3:]):
                raise NotFoundError(f"{option}={mode}: {mode[3:]} is not there", hint="such as ns:/run/netns/NAME")
            paths.append((kind, mode[3:]))
    for (pid, _), kinds in held.items():
        # what belongs to namespaces, such as /proc, can be mounted only with power over their owner
        if "user" not in kinds and "user" not in shared and _other_users(pid):
            kinds.append("user")
    if paths and not host.privileged and not held:
        raise ForbiddenError(
            "an ordinary user has no power over a namespace given by its file", hint="container:NAME, or run as root"
        )
    processes = tuple((pid, start, tuple(kinds)) for (pid, start), kinds in held.items())
    return Sharing(frozenset(shared), tuple(paths), processes)


def _other_users(pid: int) -> bool:
    try:
        return os.stat(f"/proc/{pid}/ns/user").st_ino != os.stat("/proc/self/ns/user").st_ino
    except PermissionError:
        raise ForbiddenError(f"process {pid} is not yours to join", hint="be the same user, or root") from None


def _ids(options: Options, host: Host, lease: Lease | None, sharing: Sharing) -> IdMaps:
    if sharing.joins("user"):
        pid = next((held[0] for held in sharing.processes if "user" in held[2]), 0)
        return idmaps.joined(pid) if pid else idmaps.IdMaps("joined", (), (), idmaps.JOINED)
    if "user" in sharing.host:
        if not host.privileged:
            raise ConflictError(
                "--userns=host needs root: an ordinary user has no other way to make a container",
                hint="leave it out, or run as root",
            )
        return idmaps.HOST
    uids = tuple(idmaps.parse_map(text) for text in options.uidmap)
    gids = tuple(idmaps.parse_map(text) for text in options.gidmap)
    return idmaps.choose(host, options.userns, uids, gids, lease)


def _root(options: Options) -> Root:
    path, colon, mode = options.rootfs.rpartition(":")
    if not colon or mode not in {"rw", "ro"}:
        path, mode = options.rootfs, ""
    path = values.absolute(path, here())
    if not places.isdir(path):
        why = "is not a directory" if places.exists(path) else "is not there"
        raise NotFoundError(f"the root file system {path} {why}", hint="--rootfs takes an existing directory")
    if not os.access(path, os.R_OK | os.X_OK):
        raise NotFoundError(f"the root file system {path} cannot be read by you", hint="check its permissions")
    read_only = options.read_only or mode == "ro"
    tree = Tree(path, "/", layered=mode != "rw" or read_only)
    return Root((tree,), read_only=read_only)


def _host_files() -> HostImage:
    from cloche.images.host import host_image, python_environment

    return host_image(python_environment())


def _host_root(options: Options, image: HostImage, host: Host) -> Root:
    below = [] if host.privileged else [point for point in mount_points() if point.count("/") > 1]
    trees = []
    for source, hidden in image.trees:
        # an overlay of a tree with mounts in it works for root only, who can leave them out
        whole = host.privileged or not any(point.startswith(source + "/") for point in below)
        trees.append(Tree(source, source, layered=whole, read_only=not whole, hidden=hidden))
    trees += [Tree(path, path, layered=False, read_only=True) for path in image.lent]
    return Root(tuple(trees), image.directories, image.symlinks, read_only=options.read_only)


def rlimits(options: Options) -> list[Rlimit]:
    """--ulimit; of two for the same resource the last counts. Raises SpecError."""
    limits = [values.rlimit(text) for text in options.ulimit]
    return [Rlimit.parse(limit) for limit in {limit["type"]: limit for limit in limits}.values()]


def _environment(options: Options, path: tuple[str, ...], image: Image | None, hostname: str) -> list[str]:
    env = {"PATH": ":".join((*path, defaults.PATH)) if path else defaults.PATH, "container": "cloche"}
    if options.tty:
        env["TERM"] = places.environment("TERM", "xterm") if options.image == "host" else "xterm"
    if options.image == "host":
        for name in ("LANG", "LC_ALL", "TZ"):
            if (own := places.variable(name)) is not None:
                env[name] = own
    if image is not None:
        env["HOSTNAME"] = hostname or os.uname().nodename
        for key, own in image_variables(image).items():
            env.pop(key, None)
            if own is not None:
                env[key] = own
    for text in options.env:
        key, equals, value = text.partition("=")
        if not key:
            raise SpecError(f"--env {text!r} has no name", hint="KEY=VALUE, or KEY to pass on your own")
        if equals:
            env[key] = value
        elif (own := places.variable(key)) is not None:
            env[key] = own
        else:
            env.pop(key, None)
    return [f"{key}={value}" for key, value in env.items()]


def _namespaces(options: Options, sharing: Sharing, ids: IdMaps) -> list[Namespace]:
    names = {"mnt": "mount", "net": "network"}
    kinds = ["mnt", "pid", "net", "ipc", "uts", "cgroup"]
    if ids.kind not in {"host", "joined"}:
        kinds.insert(0, "user")
    if options.time_offset:
        kinds.append("time")
    paths = dict(sharing.paths)
    result = []
    for kind in kinds:
        if kind not in sharing.host:
            result.append(Namespace(type=names.get(kind, kind), path=paths.get(kind)))  # type: ignore[arg-type]
    return result


def shared_memory() -> list[str]:
    """Where this host has what belongs to an IPC namespace."""
    return [path for path in ("/dev/shm", "/dev/mqueue") if places.isdir(path)]


def _mounts(options: Options, sharing: Sharing, ids: IdMaps, volumes: tuple[Mount, ...]) -> list[Mount]:
    shm = values.positive_size(options.shm_size, "--shm-size")
    pts = [*defaults.DEVPTS, *(["gid=5"] if ids.kind in {"host", "range", "subuid"} else [])]
    mounts = [
        _proc(sharing, ids),
        _sys(sharing, writable=options.privileged),
        Mount(destination="/dev", type="tmpfs", source="tmpfs", options=list(defaults.DEV)),
        Mount(destination="/dev/pts", type="devpts", source="devpts", options=pts),
    ]
    if "ipc" in sharing.host:
        mounts += [
            Mount(destination=path, type="bind", source=path, options=["rbind", "rw"]) for path in shared_memory()
        ]
    else:
        mounts.append(Mount(destination="/dev/shm", type="tmpfs", source="shm", options=[*defaults.SHM, f"size={shm}"]))
        mounts.append(Mount(destination="/dev/mqueue", type="mqueue", source="mqueue", options=list(defaults.QUIET)))
    if "cgroup" not in sharing.host:
        mounts.append(Mount(destination=defaults.GROUP_VIEW, type="cgroup", source="cgroup", options=["ro"]))
    return mounts + mounts_of(options, volumes)


def _proc(sharing: Sharing, ids: IdMaps) -> Mount:
    if "pid" in sharing.host and ids.kind != "host":
        # a new proc belongs to whoever owns the pid namespace
        return Mount(destination="/proc", type="bind", source="/proc", options=["rbind", *_recursive(defaults.QUIET)])
    return Mount(destination="/proc", type="proc", source="proc", options=list(defaults.QUIET))


def _recursive(flags: list[str]) -> list[str]:
    """The same for all that is mounted below."""
    return [f"r{flag}" for flag in flags]


def _sys(sharing: Sharing, *, writable: bool) -> Mount:
    flags = [*defaults.QUIET, "rw" if writable else "ro"]
    if sharing.has("net"):
        # a new sysfs belongs to whoever owns the network namespace
        return Mount(destination="/sys", type="bind", source="/sys", options=["rbind", *_recursive(flags)])
    return Mount(destination="/sys", type="sysfs", source="sysfs", options=flags)


def _time_offsets(text: str) -> dict[str, TimeOffset] | None:
    if not text:
        return None
    result = {}
    for word in text.split(","):
        clock, equals, amount = word.partition("=")
        if clock not in {"monotonic", "boottime"} or not equals:
            raise SpecError(f"--time-offset {text!r} is not CLOCK=SECONDS", hint="monotonic=3600,boottime=-5")
        sign = -1 if amount.startswith("-") else 1
        seconds = values.duration(amount.lstrip("+-"), "--time-offset") * sign
        nanoseconds = round(seconds * 10**9)
        result[clock] = TimeOffset(secs=nanoseconds // 10**9, nanosecs=nanoseconds % 10**9)
    return result


def _profile(security: Security, host: Host) -> Seccomp | None:
    if security.seccomp in {"default", "unconfined"}:
        return None
    from cloche.runtime.seccomp.docker import resolve_docker_profile

    try:
        raw = read_profile(security.seccomp)
        if not isinstance(raw, dict):
            raise SpecError("not a JSON object")
        if raw.get("listenerPath"):
            raise SpecError("listenerPath is for bundles, which cloche-runtime runs", pointer="/listenerPath")
        resolved = resolve_docker_profile(raw, frozenset(security.capabilities), host.machine, host.kernel)
        return Seccomp.parse(resolved, "")
    except SpecError as error:
        named = SpecError(f"the seccomp profile {security.seccomp}: {error}", hint=error.hint)
        named.pointer = error.pointer
        raise named from None


def _sysctls(options: Options, sharing: Sharing, ids: IdMaps) -> dict[str, str]:
    result = {} if sharing.has("net") else dict(defaults.SYSCTLS)
    if result and ids.first()[1] != 0:  # the map has no group 0
        result["net.ipv4.ping_group_range"] = f"{ids.first()[1]} {ids.first()[1]}"
    for text in options.sysctl:
        key, value = values.key_value(text, "--sysctl")
        namespace = sysctl_namespace(key)
        if sharing.has(namespace):
            raise ConflictError(
                f"--sysctl {key} would change the host, or another container, whose {namespace} namespace is shared"
            )
        if namespace == "uts" and ids.kind != "host":
            # the kernel lets nobody of another user namespace write these (kernel/utsname_sysctl.c)
            raise SpecError(f"--sysctl {key} cannot be written inside", hint="--hostname and --domainname do the same")
        result[key] = value
    return result


def sysctl_namespace(key: str) -> str:
    """The kind of namespace that a kernel parameter belongs to. Raises SpecError where it belongs to none."""
    from cloche.spec.checks import sysctl_path
    from cloche.spec.validate_linux import namespace_of_sysctl

    kind = namespace_of_sysctl(sysctl_path(key))
    if not kind or ".." in key or "/" in key:
        raise SpecError(
            f"--sysctl {key!r} does not belong to a namespace of the container",
            hint="net.*, kernel.msg*, kernel.sem, kernel.shm*, fs.mqueue.*",
        )
    return {"network": "net"}.get(kind, kind)


def _masked(security: Security) -> list[str] | None:
    if not security.masks:
        return None
    if not _MASKED:
        paths = list(defaults.MASKED)
        folder = "/sys/devices/system/cpu"
        if places.isdir(f"{folder}/cpu0/thermal_throttle"):
            paths += [f"{folder}/{name}/thermal_throttle" for name in os.listdir(folder) if name[3:].isdecimal()]
        # the container's /proc and /sys are the same kernel's: what is not here is not there either
        _MASKED.extend(path for path in paths if places.lexists(path))
    return list(_MASKED)


_MASKED: list[str] = []


def _files(options: Options, hostname: str, sharing: Sharing) -> tuple[tuple[str, str], ...]:
    files = []
    if hostname:
        files.append(("/etc/hostname", hostname + "\n"))
    hosts = hosts_file(hostname, list(options.add_host))
    if "net" not in sharing.host:
        files.append(("/etc/hosts", hosts))
    elif options.add_host:
        known = _text_of("/etc/hosts")
        files.append(("/etc/hosts", known.rstrip("\n") + "\n" + hosts.removeprefix(LOOPBACK) if known else hosts))
    if options.dns or options.dns_search or options.dns_option:
        servers, search, words = list(options.dns), list(options.dns_search), list(options.dns_option)
        files.append(("/etc/resolv.conf", resolver_file(servers, search, words)))
    elif "net" in sharing.host and options.rootfs:
        servers_file = _text_of("/etc/resolv.conf")
        if servers_file:  # otherwise the host resolves names in another way
            files.append(("/etc/resolv.conf", servers_file))
    return tuple(files)


def _text_of(path: str) -> str:
    """What is in a file of the host, "" where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
