"""What the linux section may say beyond its shape; see `validate`, which calls this."""

from __future__ import annotations

from cloche.spec.checks import (
    check_absolute,
    check_cpu_list,
    check_id_mappings,
    fail,
    parse_cpu_list,
    sysctl_path,
)
from cloche.spec.shape import escape, shown
from cloche.spec.validate_resources import check_resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.spec.linux import Device, IntelRdt, Linux, MemoryPolicy, NetDevice
    from cloche.spec.seccomp import Seccomp

# Sysctls that belong to a namespace; every other one would change the host.
_UTS_SYSCTLS = ("kernel/hostname", "kernel/domainname")
_IPC_SYSCTLS = ("kernel/msg", "kernel/sem", "kernel/shm", "fs/mqueue/")
IF_NAME_MAX = 15  # linux/if.h, IFNAMSIZ without the NUL
LONGEST_PATH = 4095  # linux/limits.h, PATH_MAX without the NUL
MAX_ERRNO = 4095  # linux/err.h; the kernel cuts SECCOMP_RET_ERRNO's data to it


def check_linux(linux: Linux, warnings: list[str]) -> None:
    """Check every part of the linux section."""
    _check_namespaces(linux)
    _check_user_mappings(linux, warnings)
    _check_time_offsets(linux)
    _check_sysctls(linux)
    _check_devices(linux.devices or [], warnings)
    if linux.netDevices:
        _check_net_devices(linux.netDevices, has_network=linux.namespace("network") is not None)
    if linux.cgroupsPath and ".." in linux.cgroupsPath.split("/"):
        fail("/linux/cgroupsPath", "must not lead upwards (..)")
    if len((linux.cgroupsPath or "").encode(errors="surrogatepass")) > LONGEST_PATH:
        fail("/linux/cgroupsPath", f"is longer than the kernel's {LONGEST_PATH} bytes")
    if linux.resources is not None:
        check_resources(linux.resources, "/linux/resources")
    if linux.intelRdt is not None:
        _check_intel_rdt(linux.intelRdt)
    if linux.memoryPolicy is not None:
        _check_memory_policy(linux.memoryPolicy)
    if linux.seccomp is not None:
        _check_seccomp(linux.seccomp, "/linux/seccomp", warnings)
    for name in ("maskedPaths", "readonlyPaths"):
        for i, path in enumerate(getattr(linux, name) or ()):
            check_absolute(path, f"/linux/{name}/{i}")
    if linux.personality is not None and linux.personality.flags:
        fail("/linux/personality/flags", "the specification defines no flags")


def _check_namespaces(linux: Linux) -> None:
    seen = set()
    for i, namespace in enumerate(linux.namespaces or ()):
        if namespace.type in seen:
            fail(f"/linux/namespaces/{i}/type", f"the {namespace.type} namespace is there twice")
        seen.add(namespace.type)
        if namespace.path:  # writers that do not omit empty strings mean a new one
            check_absolute(namespace.path, f"/linux/namespaces/{i}/path")


def _check_user_mappings(linux: Linux, warnings: list[str]) -> None:
    user = linux.namespace("user")
    for name in ("uidMappings", "gidMappings"):
        mappings = getattr(linux, name)
        if not mappings:
            if user is not None and not user.path:
                warnings.append(f"/linux/{name}: a new user namespace without any; the runtime chooses")
            continue
        if user is None:
            fail(f"/linux/{name}", "needs a user namespace")
        check_id_mappings(mappings, f"/linux/{name}")
        if user.path:
            warnings.append(f"/linux/{name}: a joined user namespace keeps the mappings it has")


def _check_time_offsets(linux: Linux) -> None:
    time = linux.namespace("time")
    for clock, offset in (linux.timeOffsets or {}).items():
        pointer = f"/linux/timeOffsets/{escape(clock)}"
        if clock not in ("monotonic", "boottime"):
            fail(pointer, "only the clocks monotonic and boottime have offsets")
        if offset.nanosecs >= 1_000_000_000:
            fail(f"{pointer}/nanosecs", f"must be less than a second, not {offset.nanosecs}")
        if time is None:
            fail("/linux/timeOffsets", "needs a time namespace")
        if time.path:
            fail("/linux/timeOffsets", "a joined time namespace keeps the offsets it has")


def _check_sysctls(linux: Linux) -> None:
    for key in linux.sysctl or ():
        pointer = f"/linux/sysctl/{escape(key)}"
        path = sysctl_path(key)
        parts = path.split("/")
        if len(parts) < 2 or any(part in ("", ".", "..") or not part.isprintable() for part in parts):
            fail(pointer, "is not the name of a sysctl such as net.ipv4.ip_forward")
        needed = namespace_of_sysctl(path)
        if not needed:
            fail(pointer, "belongs to no namespace: it would change the host")
        if linux.namespace(needed) is None:  # type: ignore[arg-type]  # one of the literals below
            fail(pointer, f"needs the container to have its own {needed} namespace")


def namespace_of_sysctl(path: str) -> str:
    """The kind of namespace a path below /proc/sys belongs to, "" for none."""
    if path.startswith("net/"):
        return "network"
    if path.startswith(_IPC_SYSCTLS):
        return "ipc"
    if path.startswith("user/"):
        return "user"
    return "uts" if path in _UTS_SYSCTLS else ""


def _check_devices(devices: list[Device], warnings: list[str]) -> None:
    seen: dict[str, int] = {}
    for i, device in enumerate(devices):
        pointer = f"/linux/devices/{i}"
        check_absolute(device.path, f"{pointer}/path")
        if device.path in seen:
            warnings.append(f"{pointer}/path: {device.path} is there already, as number {seen[device.path]}")
        seen[device.path] = i
        if device.type == "p":
            continue
        for name in ("major", "minor"):
            number = getattr(device, name)
            if number is None:
                fail(pointer, f"a device of type {device.type} needs a {name} number")
            if not 0 <= number < 1 << 32:
                fail(f"{pointer}/{name}", f"must be from 0 to 4294967295, not {number}")


def _check_net_devices(devices: dict[str, NetDevice], *, has_network: bool) -> None:
    if not has_network:
        fail("/linux/netDevices", "needs a network namespace to move them to")
    names: dict[str, str] = {}
    for host_name, device in devices.items():
        pointer = f"/linux/netDevices/{escape(host_name)}"
        _check_interface_name(host_name, pointer)
        if device.name:
            _check_interface_name(device.name, f"{pointer}/name")
        name = device.name or host_name
        if name in names:
            fail(pointer, f"would be called {name} inside, as {names[name]} is")
        names[name] = host_name


def _check_interface_name(name: str, pointer: str) -> None:
    # net/core/dev.c, dev_valid_name; % makes the kernel number it, which nobody here could follow
    size = len(name.encode(errors="surrogateescape"))
    bad = name in (".", "..") or any(char in "/:%" or char.isspace() for char in name)
    if bad or not 0 < size <= IF_NAME_MAX:
        fail(pointer, f"{shown(name)} cannot be the name of a network interface")


def _check_intel_rdt(rdt: IntelRdt) -> None:
    pointer = "/linux/intelRdt"
    if rdt.closID is not None and (rdt.closID in ("", ".", "..") or "/" in rdt.closID or "\n" in rdt.closID):
        fail(f"{pointer}/closID", f"must be a plain file name, not {shown(rdt.closID)}")
    if rdt.memBwSchema and (rdt.memBwSchema[:3] != "MB:" or "\n" in rdt.memBwSchema):
        fail(f"{pointer}/memBwSchema", "must be one line that starts with MB:")
    for i, line in enumerate(rdt.schemata or ()):
        if "\n" in line:
            fail(f"{pointer}/schemata/{i}", "must be one line")


def _check_memory_policy(policy: MemoryPolicy) -> None:
    pointer = "/linux/memoryPolicy"
    check_cpu_list(policy.nodes, f"{pointer}/nodes")
    nodes = parse_cpu_list(policy.nodes or "")
    flags = policy.flags or []
    # set_mempolicy(2)
    if policy.mode in ("MPOL_DEFAULT", "MPOL_LOCAL"):
        if nodes:
            fail(f"{pointer}/nodes", f"{policy.mode} takes no nodes")
        if flags:
            fail(f"{pointer}/flags", f"{policy.mode} takes no flags")
    elif not nodes and (policy.mode != "MPOL_PREFERRED" or flags):
        fail(f"{pointer}/nodes" if policy.nodes is not None else pointer, f"{policy.mode} needs nodes")
    if "MPOL_F_STATIC_NODES" in flags and "MPOL_F_RELATIVE_NODES" in flags:
        fail(f"{pointer}/flags", "nodes are either static or relative")
    if "MPOL_F_NUMA_BALANCING" in flags and policy.mode not in ("MPOL_BIND", "MPOL_PREFERRED_MANY"):
        fail(f"{pointer}/flags", f"{policy.mode} cannot be balanced")


def _check_seccomp(seccomp: Seccomp, pointer: str, warnings: list[str]) -> None:
    _check_errno(seccomp.defaultErrnoRet, seccomp.defaultAction, f"{pointer}/defaultErrnoRet")
    if seccomp.defaultAction == "SCMP_ACT_NOTIFY":
        fail(f"{pointer}/defaultAction", "SCMP_ACT_NOTIFY cannot be the default: nobody could answer yet")
    notifies = False
    for i, rule in enumerate(seccomp.syscalls or ()):
        if not rule.names:
            fail(f"{pointer}/syscalls/{i}/names", "must name at least one system call")
        _check_errno(rule.errnoRet, rule.action, f"{pointer}/syscalls/{i}/errnoRet")
        for j, arg in enumerate(rule.args or ()):
            if arg.index > 5:
                fail(f"{pointer}/syscalls/{i}/args/{j}/index", "a system call has arguments 0 to 5")
        notifies |= rule.action == "SCMP_ACT_NOTIFY"
    if notifies and not seccomp.listenerPath:
        fail(pointer, "SCMP_ACT_NOTIFY needs a listenerPath")
    if seccomp.listenerMetadata and not seccomp.listenerPath:
        fail(f"{pointer}/listenerMetadata", "needs a listenerPath to be sent to")
    if not notifies and "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" in (seccomp.flags or ()):
        warnings.append(f"{pointer}/flags: WAIT_KILLABLE_RECV means nothing without SCMP_ACT_NOTIFY")


def _check_errno(number: int | None, action: str, pointer: str) -> None:
    if number is None:
        return
    if action not in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"):
        fail(pointer, f"{action} returns no errno")
    highest = MAX_ERRNO if action == "SCMP_ACT_ERRNO" else 0xFFFF
    if number > highest:
        fail(pointer, f"must be from 0 to {highest}, not {number}")
