"""What a container's groups have counted, in the shape of `runc events --stats`.

    {"type": "stats", "id": ID, "data": {cpu, cpuset, memory, pids, blkio, hugetlb, intel_rdt, network_interfaces}}

Times are in nanoseconds, sizes in bytes, as runc has them (its types/events.go); a limit that is none is 2⁶⁴-1 on
v2 and what the kernel shows on v1. Members that runc leaves out when they are empty or 0 are left out here too.
"""

from __future__ import annotations

import os

from cloche.linux.reading import read
from cloche.runtime.cgroups.containers import controllers_of_v2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

UNLIMITED = (1 << 64) - 1
SECOND = 10**9
MICROSECOND = 1000


def stats(paths: dict[str, str]) -> dict[str, Any]:
    """The `data` of a stats event, for the groups of one container; what has no group counts nothing."""
    unified = paths.get("", "")
    v1 = {key: path for key, path in paths.items() if key}
    return {
        "cpu": _cpu_v1(v1) if "cpu" in v1 or "cpuacct" in v1 else _cpu_v2(unified),
        "cpuset": _cpuset(v1.get("cpuset", "")),
        "memory": _memory_v1(v1["memory"]) if "memory" in v1 else _memory_v2(unified),
        "pids": _pids(v1.get("pids", unified)),
        "blkio": _blkio_v1(v1["blkio"]) if "blkio" in v1 else _blkio_v2(unified),
        "hugetlb": _hugetlb_v1(v1["hugetlb"]) if "hugetlb" in v1 else _hugetlb_v2(unified),
        "intel_rdt": {},
        "network_interfaces": None,
    }


def _cpu_v1(v1: dict[str, str]) -> dict[str, Any]:
    usage: dict[str, Any] = {"kernel": 0, "user": 0}
    if "cpuacct" in v1:
        group = v1["cpuacct"]
        each = [line.split() for line in read(f"{group}/cpuacct.usage_all").splitlines()[1:]]  # cpu user system
        ticks = _table(f"{group}/cpuacct.stat")
        tick = SECOND // os.sysconf("SC_CLK_TCK")
        usage = {
            **_some(total=_number(f"{group}/cpuacct.usage")),
            **_some(percpu=[int(word) for word in read(f"{group}/cpuacct.usage_percpu").split()]),
            **_some(percpu_kernel=[int(system) for _, _, system in each]),
            **_some(percpu_user=[int(user) for _, user, _ in each]),
            "kernel": ticks.get("system", 0) * tick,
            "user": ticks.get("user", 0) * tick,
        }
    table = _table(f"{v1['cpu']}/cpu.stat") if "cpu" in v1 else {}
    return {"usage": usage, "throttling": _throttling(table, table.get("throttled_time", 0))}


def _cpu_v2(group: str) -> dict[str, Any]:
    table = _table(f"{group}/cpu.stat")
    usage = {
        **_some(total=table.get("usage_usec", 0) * MICROSECOND),
        "kernel": table.get("system_usec", 0) * MICROSECOND,
        "user": table.get("user_usec", 0) * MICROSECOND,
    }
    throttling = _throttling(table, table.get("throttled_usec", 0) * MICROSECOND)
    return {"usage": usage, "throttling": throttling, **_some(psi=_pressure(f"{group}/cpu.pressure"))}


def _throttling(table: dict[str, int], time: int) -> dict[str, Any]:
    return _some(periods=table.get("nr_periods", 0), throttledPeriods=table.get("nr_throttled", 0), throttledTime=time)


def _cpuset(group: str) -> dict[str, Any]:
    """runc fills it in on v1 only."""
    numbers = "cpu_exclusive mem_hardwall mem_exclusive memory_migrate memory_spread_page memory_spread_slab"
    numbers += " memory_pressure sched_load_balance sched_relax_domain_level"
    return {
        **_some(cpus=_expanded(read(f"{group}/cpuset.cpus")) if group else []),
        **_some(mems=_expanded(read(f"{group}/cpuset.mems")) if group else []),
        **{name: _number(f"{group}/cpuset.{name}") if group else 0 for name in numbers.split()},
    }


def _memory_v1(group: str) -> dict[str, Any]:
    def entry(name: str) -> dict[str, Any]:
        files = {key: f"{group}/memory.{name}{key}" for key in ("usage_in_bytes", "max_usage_in_bytes", "failcnt")}
        usage, most, failed = (_number(path) for path in files.values())
        limit = _number(f"{group}/memory.{name}limit_in_bytes")
        return {"limit": limit, **_some(usage=usage, max=most), "failcnt": failed}

    raw = _table(f"{group}/memory.stat")
    return {
        **_some(cache=raw.get("cache", 0)),
        "usage": entry(""),
        "swap": entry("memsw."),
        "kernel": entry("kmem."),
        "kernelTCP": entry("kmem.tcp."),
        **_some(raw=raw),
    }


def _memory_v2(group: str) -> dict[str, Any]:
    raw = _table(f"{group}/memory.stat")
    used, limit = _number(f"{group}/memory.current"), _number(f"{group}/memory.max")
    swapped, swap_limit = _number(f"{group}/memory.swap.current"), _number(f"{group}/memory.swap.max")
    both = swap_limit + limit if swap_limit < UNLIMITED else UNLIMITED  # v1 counts memory and swap together
    nothing = {"limit": 0, "failcnt": 0}
    return {
        **_some(cache=raw.get("file", 0)),
        "usage": {"limit": limit, **_some(usage=used, max=_number(f"{group}/memory.peak")), "failcnt": 0},
        "swap": {"limit": min(both, UNLIMITED), **_some(usage=used + swapped), "failcnt": 0},
        "kernel": nothing,
        "kernelTCP": nothing,
        **_some(raw=raw, psi=_pressure(f"{group}/memory.pressure")),
    }


def _pids(group: str) -> dict[str, Any]:
    limit = _number(f"{group}/pids.max")
    return _some(current=_number(f"{group}/pids.current"), limit=0 if limit == UNLIMITED else limit)


# the statistics of the BFQ and CFQ schedulers, then those of throttling, which are always there
_BLKIO = (
    ("ioServiceBytesRecursive", "io_service_bytes_recursive"),
    ("ioServicedRecursive", "io_serviced_recursive"),
    ("ioQueueRecursive", "io_queued_recursive"),
    ("ioServiceTimeRecursive", "io_service_time_recursive"),
    ("ioWaitTimeRecursive", "io_wait_time_recursive"),
    ("ioMergedRecursive", "io_merged_recursive"),
    ("ioTimeRecursive", "time_recursive"),
    ("sectorsRecursive", "sectors_recursive"),
)


def _blkio_v1(group: str) -> dict[str, Any]:
    for kind in ("bfq.", "", "throttle."):
        found = {name: _entries(read(f"{group}/blkio.{kind}{file}")) for name, file in _BLKIO}
        if found["ioServiceBytesRecursive"] or found["ioServicedRecursive"]:
            return _some(**found)
    return {}


def _entries(text: str) -> list[dict[str, Any]]:
    """Lines such as `8:0 Read 4096` and `8:0 4096`; the sum over all disks, `Total 4096`, is not of them."""
    entries = []
    for line in text.splitlines():
        words = line.split()
        if ":" in words[0]:
            major, minor = (int(number) for number in words[0].split(":"))
            operation = words[1] if len(words) > 2 else ""
            entries.append(_some(major=major, minor=minor, op=operation, value=int(words[-1])))
    return entries


def _blkio_v2(group: str) -> dict[str, Any]:
    moved: list[dict[str, Any]] = []
    requests: list[dict[str, Any]] = []
    kinds = {
        "rbytes": (moved, "Read"),
        "wbytes": (moved, "Write"),
        "rios": (requests, "Read"),
        "wios": (requests, "Write"),
    }
    for line in read(f"{group}/io.stat").splitlines():
        where, *items = line.split()
        major, minor = (int(number) for number in where.split(":"))
        for name, _, value in (item.partition("=") for item in items):
            if name in kinds:
                entries, operation = kinds[name]
                entries.append(_some(major=major, minor=minor, op=operation, value=int(value)))
    pressure = _pressure(f"{group}/io.pressure")
    return _some(ioServiceBytesRecursive=moved, ioServicedRecursive=requests, psi=pressure)


def _hugetlb_v1(group: str) -> dict[str, Any]:
    found = {}
    for size in _page_sizes():
        name = f"{group}/hugetlb.{size}"
        usage, most = _number(f"{name}.usage_in_bytes"), _number(f"{name}.max_usage_in_bytes")
        found[size] = {**_some(usage=usage, max=most), "failcnt": _number(f"{name}.failcnt")}
    return found


def _hugetlb_v2(group: str) -> dict[str, Any]:
    if "hugetlb" not in controllers_of_v2(group):
        return {}
    found = {}
    for size in _page_sizes():
        name = f"{group}/hugetlb.{size}"
        if os.path.exists(f"{name}.rsvd.current"):  # what is reserved counts when it is, not when it is touched
            name += ".rsvd"
        failed = _table(f"{group}/hugetlb.{size}.events").get("max", 0)
        found[size] = {**_some(usage=_number(f"{name}.current")), "failcnt": failed}
    return found


def _page_sizes() -> list[str]:
    """Sizes as cgroup files are named: 2MB, 1GB, 64KB."""
    try:
        names = os.listdir("/sys/kernel/mm/hugepages")
    except OSError:
        return []
    sizes = sorted(int("".join(char for char in name if char.isdigit())) for name in names)
    units = ((1 << 20, "GB"), (1 << 10, "MB"), (1, "KB"))
    return [next(f"{size // least}{unit}" for least, unit in units if size >= least) for size in sizes]


def _pressure(path: str) -> dict[str, Any]:
    """Lines such as `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`; nothing where the kernel measures none."""
    found: dict[str, Any] = {}
    for line in read(path).splitlines():
        kind, *items = line.split()
        values = (item.partition("=") for item in items)
        found[kind] = {name: int(value) if name == "total" else float(value) for name, _, value in values}
    return found


def _expanded(text: str) -> list[int]:
    """`0-2,7` as [0, 1, 2, 7]."""
    found: list[int] = []
    for part in text.strip().split(",") if text.strip() else []:
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def _table(path: str) -> dict[str, int]:
    pairs = (line.split() for line in read(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _number(path: str) -> int:
    text = read(path).strip()
    if text == "max":
        return UNLIMITED
    return int(text) if text.lstrip("-").isdigit() else 0


def _some(**members: object) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value}
