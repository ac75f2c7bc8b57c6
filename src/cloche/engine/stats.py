"""What a container uses: samples of its control groups, and what two of them say (`docker stats`).

    sample(container)         one look; what there is no group for is None
    use(now, before)          processor in per cent of one, from two samples; pure
    shown(container, …)       docker's words for it; pure

Where there is no group that counts the processor, the processes themselves are asked: the sum of their times and of
those of their children that have ended, which a parent who does not wait for its children loses.
"""

from __future__ import annotations

import os
import time

from cloche.engine.processes import pids_in
from cloche.linux.reading import read
from cloche.records import record
from cloche.runtime.cgroups.stats import stats

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cloche.engine.containers import Container

NOTHING = "--"  # docker's, where there is no figure
SECOND = 10**9
UNITS, BINARY = ("B", "kB", "MB", "GB", "TB", "PB"), ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
# a group of v1 by a file that it has; the tree of v2 has the empty name
SIGNS = (
    ("", "cgroup.controllers"),
    ("memory", "memory.usage_in_bytes"),
    ("pids", "pids.current"),
    ("cpuacct", "cpuacct.usage"),
    ("cpu", "cpu.shares"),
    ("blkio", "blkio.throttle.io_service_bytes_recursive"),
)


@record
class Sample:
    """A container at a moment: nanoseconds of any clock that does not go back, and bytes.

    cpu      nanoseconds of processor time
    memory   without what could be dropped at once (inactive file pages), as docker counts it
    limit    of memory; that of the machine where there is none
    network  received and sent over all interfaces but the loopback; None where it is the machine's own
    disk     read and written
    """

    when: int = 0
    cpu: int | None = 0
    memory: int | None = 0
    limit: int = 0
    network: tuple[int, int] | None = (0, 0)
    disk: tuple[int, int] | None = (0, 0)
    pids: int | None = 0


def sample(container: Container) -> Sample:
    """Look at one; zeros for one that does not run, as docker has it."""
    if not container.running:
        return Sample()
    groups = places(container.entry.get("groups", ()))
    found = stats(groups) if groups else {}
    of_v2 = read(f"{groups['']}/cgroup.controllers").split() if "" in groups else []
    counted = {name for name in groups if name} | {"blkio" if name == "io" else name for name in of_v2}
    pids = pids_in(container)
    memory, limit = _memory(found["memory"]) if "memory" in counted else (None, 0)
    by_group = "cpuacct" in groups or ("" in groups and "cpu" not in groups)
    total = found["cpu"]["usage"].get("total", 0) if by_group else None
    return Sample(
        when=time.monotonic_ns(),
        cpu=_time_of(pids) if total is None else total,
        memory=memory,
        limit=limit,
        network=_network(container.pid),
        disk=_disk(found["blkio"]) if "blkio" in counted else None,
        pids=found["pids"].get("current", 0) if "pids" in counted else len(pids),
    )


def places(groups: tuple[str, ...] | list[str]) -> dict[str, str]:
    """The groups by their controllers, as `cgroups.stats` takes them."""
    found: dict[str, str] = {}
    for group in groups:
        for name, file in SIGNS:
            if os.access(f"{group}/{file}", os.F_OK):
                found.setdefault(name, group)
                if not name:
                    break
    return found


def use(now: Sample, before: Sample | None) -> float | None:
    """How much of one processor was used between two samples, in per cent; None where nobody knows."""
    if before is None or now.cpu is None or before.cpu is None:
        return None
    between = now.when - before.when
    return max(0.0, (now.cpu - before.cpu) / between * 100) if between > 0 else 0.0


def shown(name: str, container_id: str, word: str, now: Sample, percent: float | None) -> dict[str, str]:
    """The members that docker's templates and JSON have, in its words; `word` is what it was asked for by."""
    memory = NOTHING if now.memory is None else f"{now.memory / now.limit * 100 if now.limit else 0:.2f}%"
    return {
        "BlockIO": _both(now.disk),
        "CPUPerc": NOTHING if percent is None else f"{percent:.2f}%",
        "Container": word,
        "ID": container_id,
        "MemPerc": memory,
        "MemUsage": f"{NOTHING} / {NOTHING}" if now.memory is None else f"{binary(now.memory)} / {binary(now.limit)}",
        "Name": name,
        "NetIO": _both(now.network),
        "PIDs": NOTHING if now.pids is None else str(now.pids),
    }


def uncounted(now: Sample) -> list[str]:
    """What there is no group for, in words."""
    return [word for word, figure in (("memory", now.memory), ("disk", now.disk)) if figure is None]


def binary(count: float) -> str:
    """Bytes with four digits, in units of 1024 (go-units, BytesSize)."""
    return _scaled(count, 1024, BINARY, 4)


def decimal(count: float) -> str:
    """Bytes with three digits, in units of 1000 (go-units, HumanSizeWithPrecision)."""
    return _scaled(count, 1000, UNITS, 3)


def _scaled(count: float, base: int, units: tuple[str, ...], digits: int) -> str:
    unit = 0
    while count >= base and unit < len(units) - 1:
        count /= base
        unit += 1
    return f"{count:.{digits}g}{units[unit]}"


def _both(pair: tuple[int, int] | None) -> str:
    return NOTHING if pair is None else f"{decimal(pair[0])} / {decimal(pair[1])}"


def _memory(found: dict[str, Any]) -> tuple[int, int]:
    """What is used, and the limit: that of the group, or of the machine."""
    raw = found.get("raw", {})
    used = found["usage"].get("usage", 0)
    idle = raw.get("total_inactive_file", raw.get("inactive_file", 0))
    whole = next((int(line.split()[1]) for line in read("/proc/meminfo").splitlines() if line[:9] == "MemTotal:"), 0)
    limit = found["usage"]["limit"]
    return used - idle if idle < used else used, min(limit, whole * 1024) if limit else whole * 1024


def _network(pid: int) -> tuple[int, int] | None:
    try:
        if os.stat(f"/proc/{pid}/ns/net").st_ino == os.stat("/proc/self/ns/net").st_ino:
            return None
    except OSError:
        pass  # it has just ended, or is our own init, which cannot be looked into
    received = sent = 0
    for line in read(f"/proc/{pid}/net/dev").splitlines()[2:]:
        name, _, figures = line.partition(":")
        numbers = figures.split()
        if name.strip() != "lo" and len(numbers) > 8:
            received, sent = received + int(numbers[0]), sent + int(numbers[8])
    return received, sent


def _disk(found: dict[str, Any]) -> tuple[int, int]:
    read_, written = 0, 0
    for entry in found.get("ioServiceBytesRecursive", ()):
        read_ += entry.get("value", 0) if entry.get("op") == "Read" else 0
        written += entry.get("value", 0) if entry.get("op") == "Write" else 0
    return read_, written


def _time_of(pids: list[int]) -> int:
    ticks = 0
    for pid in pids:
        fields = read(f"/proc/{pid}/stat").rpartition(") ")[2].split()
        ticks += sum(map(int, fields[11:15]))
    return ticks * SECOND // os.sysconf("SC_CLK_TCK")
