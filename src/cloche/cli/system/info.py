"""`cloche info`: this machine, this user's store, and how containers are isolated here, by docker's names."""

from __future__ import annotations

import os
import sys
import time

from cloche import __version__
from cloche.cli import human
from cloche.cli.format import is_json, unescaped
from cloche.cli.output import plain
from cloche.engine import containers
from cloche.engine.records import state_dir
from cloche.errors import ClocheError
from cloche.images.listing import rows
from cloche.images.platforms import own_platform
from cloche.images.store.layout import Layout, store_dir
from cloche.linux.reading import read
from cloche.runtime import idmaps
from cloche.runtime.host import probe_host
from cloche.spec.reader import write_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cloche.cli.grammar import Parsed
    from cloche.runtime.host import Host

    Facts = dict[str, Any]

LOG_DRIVERS = ("journald", "json-file", "local", "none", "syslog")
# what the text shows, by docker's headings; a space for each level
LINES = (
    ("Containers", "Containers"),
    (" Running", "ContainersRunning"),
    (" Paused", "ContainersPaused"),
    (" Stopped", "ContainersStopped"),
    ("Images", "Images"),
    ("Server Version", "ServerVersion"),
    ("Storage Driver", "Driver"),
    ("DriverStatus", "DriverStatus"),
    ("Logging Driver", "LoggingDriver"),
    ("Cgroup Driver", "CgroupDriver"),
    ("Cgroup Version", "CgroupVersion"),
    ("Security Options", "SecurityOptions"),
    ("Kernel Version", "KernelVersion"),
    ("Operating System", "OperatingSystem"),
    ("OSType", "OSType"),
    ("Architecture", "Architecture"),
    ("CPUs", "NCPU"),
    ("Total Memory", "MemTotal"),
    ("Name", "Name"),
    ("Root Dir", "DockerRootDir"),
    ("State Dir", "StateDir"),
    ("User Mode", "UserMode"),
    ("User IDs", "UserIDs"),
    ("Group IDs", "GroupIDs"),
    ("Supervisor", "Supervisor"),
)


def info(parsed: Parsed) -> int:
    """Carry out `info`."""
    found = facts()
    form = parsed.text("format") or ""
    if not form:
        sys.stdout.write(_text(found))
    elif is_json(form):
        sys.stdout.write(write_json(found) + "\n")
    else:
        from cloche.cli.template import compile_template

        sys.stdout.write(plain(compile_template(unescaped(form))(found)) + "\n")
    return 0


def facts() -> Facts:
    """docker's members of `info` that mean something here, and cloche's own at the end."""
    host = probe_host()
    return {**_stored(), **_groups(host), **_machine(), **_own(host)}


def _stored() -> Facts:
    """What there is in the store, and what it is on."""
    every = containers.every(everything=True)
    running = sum(container.running and container.status != "paused" for container in every)
    paused = sum(container.status == "paused" for container in every)
    store = store_dir()
    return {
        "Containers": len(every),
        "ContainersRunning": running,
        "ContainersPaused": paused,
        "ContainersStopped": len(every) - running - paused,
        "Images": len({row.id for row in rows(Layout(store))}),
        "Driver": "overlay2",
        "DriverStatus": [["Backing Filesystem", _filesystem(store)], ["Native Overlay Diff", "true"]],
        "Plugins": {"Volume": ["local"], "Network": ["host", "none"], "Authorization": None, "Log": list(LOG_DRIVERS)},
        "LoggingDriver": "json-file",
        "DockerRootDir": store,
    }


def _filesystem(path: str) -> str:
    """The type of the file system that a directory is on, or would be."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    device = os.stat(path).st_dev
    name = f"{os.major(device)}:{os.minor(device)}"
    kinds = {line.split()[2]: line.partition(" - ")[2].split()[0] for line in read("/proc/self/mountinfo").splitlines()}
    return kinds.get(name, "unknown")


def _groups(host: Host) -> Facts:
    """What can be limited."""
    own, version = host.groups.own, host.groups.kind
    return {
        "MemoryLimit": "memory" in own,
        "SwapLimit": "memory" in own and _counts_swap(host),
        "CpuCfsPeriod": "cpu" in own,
        "CpuCfsQuota": "cpu" in own,
        "CPUShares": "cpu" in own,
        "CPUSet": "cpuset" in own,
        "PidsLimit": "pids" in own,
        "OomKillDisable": version != "v2" and "memory" in own,
        "CgroupDriver": "none" if version == "none" else "cgroupfs",
        "CgroupVersion": "2" if version == "v2" else "1",
    }


def _counts_swap(host: Host) -> bool:
    names = "memory.swap.max", "memory.memsw.limit_in_bytes"
    return any(os.path.exists(f"{host.groups.own['memory']}/{name}") for name in names)


def _machine() -> Facts:
    system = os.uname()
    release = dict(line.partition("=")[::2] for line in read("/etc/os-release").splitlines() if "=" in line)
    memory = next((line.split()[1] for line in read("/proc/meminfo").splitlines() if line.startswith("MemTotal:")), "0")
    now = time.time_ns()
    return {
        "SystemTime": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now // 10**9))}.{now % 10**9:09}Z",
        "KernelVersion": system.release,
        "OperatingSystem": release.get("PRETTY_NAME", "Linux").strip("\"'"),
        "OSVersion": release.get("VERSION_ID", "").strip("\"'"),
        "OSType": "linux",
        "Architecture": system.machine,
        "NCPU": len(os.sched_getaffinity(0)),
        "MemTotal": int(memory) * 1024,
        "Name": system.nodename,
    }


def _own(host: Host) -> Facts:
    """Who containers run as, and what watches them."""
    ids = _ids(host)
    return {
        "Labels": [],
        "ServerVersion": __version__,
        "Runtimes": {"cloche": {"path": "cloche-runtime"}},
        "DefaultRuntime": "cloche",
        "SecurityOptions": _security(host),
        "Warnings": None,
        "ClientInfo": {"Debug": False, "Version": __version__, "Os": "linux", "Arch": own_platform().architecture},
        "StateDir": state_dir(),
        "UserMode": "root" if host.privileged else "rootless",
        "UserNamespace": ids.kind if ids else "none",
        "UserIDs": _ranges(ids.uids if ids else ()),
        "GroupIDs": _ranges(ids.gids if ids else ()),
        "Supervisor": _supervisor(),
    }


def _ids(host: Host) -> idmaps.IdMaps | None:
    try:
        return idmaps.choose(host, "", (), (), None)
    except ClocheError:
        return None  # `doctor` says why


def _ranges(entries: tuple[tuple[int, int, int], ...]) -> list[str]:
    """Ids inside, and which ones they are outside."""
    return [f"{inside}-{inside + count - 1} are {outside}-{outside + count - 1}" for inside, outside, count in entries]


def _security(host: Host) -> list[str]:
    found = ["name=seccomp,profile=builtin", "name=cgroupns", "name=userns"]
    if host.landlock:
        found.append(f"name=landlock,abi={host.landlock}")
    return found if host.privileged else [*found, "name=rootless"]


def _supervisor() -> str:
    """The supervisor, if there is one now."""
    from cloche.engine.supervisor.client import reach

    session = reach()
    if session is None:
        return "not running, nothing needs it"
    session.close()
    return "running"


def _text(found: Facts) -> str:
    lines = ["Client:", f" Version:    {found['ClientInfo']['Version']}", " Debug Mode: false", "", "Server:"]
    for heading, name in LINES:
        lines += _lines(heading, name, found[name])
    return "".join(f"{plain(line)}\n" for line in lines)


def _lines(heading: str, name: str, value: Any) -> list[str]:
    if name == "DriverStatus":
        return [f"  {key}: {item}" for key, item in value]
    if name == "SecurityOptions":
        return [f" {heading}:", *(f"  {item.removeprefix('name=').replace(',', ', ')}" for item in value)]
    if name == "MemTotal":
        value = human.memory(value)
    return [f" {heading}: {', '.join(value) or 'none'}" if isinstance(value, list) else f" {heading}: {value}"]
