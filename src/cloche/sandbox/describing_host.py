"""HostConfig of `inspect`: what was asked of the machine, with docker's names and units."""

from __future__ import annotations

from cloche.engine.keeping import Keep
from cloche.errors import ClocheError
from cloche.linux import places
from cloche.runtime.defaults import MASKED, READ_ONLY
from cloche.sandbox import values
from cloche.sandbox.options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Document = dict[str, Any]

# what only Windows has, or cloche has not, as docker shows it where nobody asked for it
UNASKED: Document = {
    "VolumeDriver": "",
    "Cgroup": "",
    "Links": None,
    "PublishAllPorts": False,
    "PortBindings": {},
    "ConsoleSize": [0, 0],
    "Isolation": "",
    "BlkioWeightDevice": [],
    "CpuRealtimePeriod": 0,
    "CpuRealtimeRuntime": 0,
    "DeviceCgroupRules": None,
    "DeviceRequests": None,
    "MemorySwappiness": None,
    "OomKillDisable": None,
    "CpuCount": 0,
    "CpuPercent": 0,
    "IOMaximumIOps": 0,
    "IOMaximumBandwidth": 0,
}


def resolve(given: Document, kind: type[Options] | type[Keep]) -> Document:
    """A record's fields as they were written down; one that is not there, or of another kind, was not asked for."""
    found: Document = dict(kind.record_defaults)  # type: ignore[union-attr]
    for name, usual in found.items():
        value = given.get(name)
        if isinstance(usual, tuple):
            found[name] = tuple(map(str, value)) if isinstance(value, (list, tuple)) else usual
        elif isinstance(value, _kinds(usual)):
            found[name] = value
    return found


def _kinds(usual: object) -> tuple[type, ...]:
    if usual is None:
        return (str, int, float)
    return (int, float) if isinstance(usual, float) else (type(usual),)


def host_config(options: Document, keep: Document) -> Document:
    """It; both are resolved."""
    return {
        **_kept(keep, options),
        **_confinement(options),
        **_limits(options),
        **UNASKED,
        **_mounts(options),
        "MaskedPaths": [] if options["privileged"] else list(MASKED),
        "ReadonlyPaths": [] if options["privileged"] else list(READ_ONLY),
        **({"Init": True} if options["init"] else {}),
    }


def _kept(keep: Document, options: Document) -> Document:
    return {
        "Binds": list(options["volume"]) or None,
        "ContainerIDFile": options["cidfile"],
        "LogConfig": {"Type": keep["log_driver"], "Config": keep["log_options"]},
        "NetworkMode": options["network"],
        "RestartPolicy": {"Name": keep["restart"], "MaximumRetryCount": keep["restart_most"]},
        "AutoRemove": keep["auto_remove"],
        "VolumesFrom": list(options.get("volumes_from") or ()) or None,
    }


def _confinement(options: Document) -> Document:
    sysctls = dict(text.partition("=")[::2] for text in options["sysctl"])
    annotations = dict(text.partition("=")[::2] for text in options["annotation"])
    return {
        "CapAdd": _capabilities(options["cap_add"]),
        "CapDrop": _capabilities(options["cap_drop"]),
        "CgroupnsMode": options["cgroupns"] or "private",
        "Dns": list(options["dns"]),
        "DnsOptions": list(options["dns_option"]),
        "DnsSearch": list(options["dns_search"]),
        "ExtraHosts": list(options["add_host"]) or None,
        "GroupAdd": list(options["group_add"]) or None,
        "IpcMode": options["ipc"] or "private",
        "OomScoreAdj": _number(options["oom_score_adj"], int),
        "PidMode": options["pid"],
        "Privileged": bool(options["privileged"]),
        "ReadonlyRootfs": bool(options["read_only"]),
        "SecurityOpt": list(options["security_opt"]) or None,
        "UTSMode": options["uts"],
        "UsernsMode": options["userns"],
        "ShmSize": _number(options["shm_size"], lambda text: values.size(text, "--shm-size")),
        "Runtime": "cloche",
        **({"Sysctls": sysctls} if sysctls else {}),
        **({"Annotations": annotations} if annotations else {}),
    }


def _limits(options: Document) -> Document:
    def size(name: str) -> int:
        return _number(options[name], lambda text: values.size(text, name))

    cpus = _number(options["cpus"], lambda text: round(values.processors(text) * 1e9))
    pids = _number(options["pids_limit"], int)
    return {
        "CpuShares": _number(options["cpu_shares"], int),
        "Memory": size("memory"),
        "NanoCpus": cpus,
        "CgroupParent": options["cgroup_parent"],
        "BlkioWeight": _number(options["blkio_weight"], int),
        "BlkioDeviceReadBps": _rates(options["device_read_bps"]),
        "BlkioDeviceWriteBps": _rates(options["device_write_bps"]),
        "BlkioDeviceReadIOps": _rates(options["device_read_iops"]),
        "BlkioDeviceWriteIOps": _rates(options["device_write_iops"]),
        "CpuPeriod": _number(options["cpu_period"], int),
        "CpuQuota": _number(options["cpu_quota"], int),
        "CpusetCpus": options["cpuset_cpus"] or "",
        "CpusetMems": options["cpuset_mems"] or "",
        "Devices": [_device(text) for text in options["device"]],
        "MemoryReservation": size("memory_reservation"),
        "MemorySwap": size("memory_swap"),
        "PidsLimit": None if options["pids_limit"] is None else pids,
        "Ulimits": [_ulimit(text) for text in options["ulimit"]],
    }


def _number(given: Any, parse: Callable[[Any], int]) -> int:
    """What an option says; 0 where it says nothing, or nothing that can be understood."""
    try:
        return 0 if given is None else parse(given)
    except (ClocheError, TypeError, ValueError):
        return 0


def _capabilities(given: tuple[str, ...]) -> list[str] | None:
    names = [text.upper() for text in given]
    return [name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}" for name in names] or None


def _rates(given: tuple[str, ...]) -> list[Document]:
    pairs = (text.rpartition(":")[::2] for text in given)
    return [{"Path": path, "Rate": _number(rate, lambda text: values.size(text, "rate"))} for path, rate in pairs]


def _device(text: str) -> Document:
    path, *more = text.split(":")
    access = more.pop() if more and set(more[-1]) <= set("rwm") else "rwm"
    return {"PathOnHost": path, "PathInContainer": more[0] if more else path, "CgroupPermissions": access}


def _ulimit(text: str) -> Document:
    name, _, numbers = text.partition("=")
    soft, _, hard = numbers.partition(":")

    def limit(word: str) -> int:
        return -1 if word in {"-1", "unlimited"} else _number(word, int)

    return {"Name": name, "Hard": limit(hard or soft), "Soft": limit(soft)}


def _mounts(options: Document) -> Document:
    """--mount and --tmpfs, where there are any."""
    tmpfs = dict(text.partition(":")[::2] for text in options["tmpfs"])
    mounts = [_mount(text) for text in options["mount"]]
    return {**({"Tmpfs": tmpfs} if tmpfs else {}), **({"Mounts": mounts} if mounts else {})}


def _mount(text: str) -> Document:
    try:
        words = values.mount_words(text)
    except ClocheError:
        return {"Type": "", "Target": text}
    found: Document = {"Type": words["type"]}
    if "source" in words:
        found["Source"] = places.normpath(words["source"]) if words["type"] == "bind" else words["source"]
    found["Target"] = words["target"]
    if words.get("readonly") in {"true", "1"}:
        found["ReadOnly"] = True
    if "bind-propagation" in words:
        found["BindOptions"] = {"Propagation": words["bind-propagation"]}
    if words["type"] == "tmpfs" and {"tmpfs-size", "tmpfs-mode"} & set(words):
        size = _number(words.get("tmpfs-size"), lambda size: values.size(size, "tmpfs-size"))
        mode = _number(words.get("tmpfs-mode"), lambda mode: int(mode, 8))
        found["TmpfsOptions"] = {"SizeBytes": size, "Mode": mode}
    return found
