"""linux.resources as cgroup files: what is written, where, in which order. Pure.

cgroup v1 has one hierarchy for each controller, v2 has one tree for all.

    limit           v1                                   v2
    memory          memory.limit_in_bytes                memory.max
    memory+swap     memory.memsw.limit_in_bytes          memory.swap.max (less the memory)
    reservation     memory.soft_limit_in_bytes           memory.low
    cpu quota       cpu.cfs_quota_us / cfs_period_us     cpu.max
    cpu burst       cpu.cfs_burst_us                     cpu.max.burst
    cpu shares      cpu.shares                           cpu.weight
    cpu idle        cpu.idle                             the same
    realtime        cpu.rt_runtime_us / rt_period_us     none
    cpuset          cpuset.cpus, cpuset.mems             the same
    processes       pids.max                             the same
    network         net_cls.classid, net_prio.ifpriomap  none
    block I/O, huge pages, RDMA: see `blocks`

The order is the one a new group takes. A group that has limits already may take another one only (memory
below memory and swap, a burst below the quota); who writes there tries again what is refused (`update`).

0 is "not set" everywhere but for processes, as engines that fill in every member mean it.
"""

from __future__ import annotations

from cloche.errors import SpecError
from cloche.records import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.spec.resources import CPU, Memory, Resources

UNLIMITED = -1
NO_LIMIT = {"max", "-1"}  # values that were asked for, and limit nothing

# what it means when the kernel does not take a limit
ALWAYS = "always"  # an error
PRESENT = "present"  # an error where the file is there; without it, what was asked holds anyway
NEVER = "never"  # no more than a note: the kernel itself no longer knows it, or only as advice


@record
class Limit:
    """One value to write: `name` in the receipt, the controller as v1 calls it, the file, and a sentence.

    `instead` are other files with their values, for kernels on which the first one is not there. `lacks` says
    why it cannot be had on this version of cgroup at all.
    """

    name: str
    controller: str
    file: str
    value: str
    says: str
    need: str = ALWAYS
    instead: tuple[tuple[str, str], ...] = ()
    lacks: str = ""


def limits_of(resources: Resources | None, *, v2: bool) -> list[Limit]:
    """The values to write for a `linux.resources` section, in an order that a new group takes.

    Device rules are no values of files; they are in `devices`. Raises SpecError for what cgroup v2 cannot
    express (a limit on swap alone).
    """
    if resources is None:
        return []
    limits = _memory(resources.memory, v2=v2) + _cpu(resources.cpu, v2=v2) + _pids(resources)
    if resources.blockIO or resources.hugepageLimits or resources.rdma:
        from cloche.runtime.cgroups import blocks

        limits += blocks.limits_of(resources, v2=v2)
    limits += _network(resources, v2=v2)
    for file, value in (resources.unified or {}).items():
        controller = {"io": "blkio"}.get(file.partition(".")[0], file.partition(".")[0])
        lacks = "" if v2 else f"{file} exists on cgroup v2 only"
        # one write(2) takes one line
        lines = value.splitlines() or [""]
        limits += [Limit(file, controller, file, line, f"{file} is {line}", lacks=lacks) for line in lines]
    return limits


def _memory(memory: Memory | None, *, v2: bool) -> list[Limit]:
    if memory is None:
        return []
    limits = []
    if memory.limit:
        file, value = ("memory.max", _max(memory.limit)) if v2 else ("memory.limit_in_bytes", str(memory.limit))
        limits.append(Limit("memory", "memory", file, value, f"at most {_bytes(memory.limit)} of memory together"))
    swap = memory.swap
    if memory.limit == UNLIMITED and not swap:
        swap = UNLIMITED  # a limit on both would be left that was never below the one on memory
    if swap:
        says = f"at most {_bytes(swap)} of memory and swap together"
        if v2:
            value = _max(swap_alone(swap, memory.limit))
            need = PRESENT if value in {"max", "0"} else ALWAYS  # as it is where swap is not counted
            limits.append(Limit("memory-swap", "memory", "memory.swap.max", value, says, need))
        else:
            need = PRESENT if swap == UNLIMITED else ALWAYS
            limits.append(Limit("memory-swap", "memory", "memory.memsw.limit_in_bytes", str(swap), says, need))
    if memory.reservation:
        file = "memory.low" if v2 else "memory.soft_limit_in_bytes"
        value = _max(memory.reservation) if v2 else str(memory.reservation)
        says = f"{_bytes(memory.reservation)} are left to it when memory is short"
        limits.append(Limit("memory-reservation", "memory", file, value, says))
    return limits + _memory_of_v1(memory, v2=v2)


def _memory_of_v1(memory: Memory, *, v2: bool) -> list[Limit]:
    """What v2 does not have. Engines send it wherever they are, so it is said there and refused nowhere."""
    found: list[tuple[str, str, object, str, str]] = []
    if memory.swappiness is not None:
        says = f"how eagerly its memory is swapped out: {memory.swappiness} of 100"
        found.append(("memory-swappiness", "memory.swappiness", memory.swappiness, says, ALWAYS))
    if memory.kernel:  # no kernel since Linux 5.16 takes it
        says = f"asked: at most {_bytes(memory.kernel)} of the kernel's memory, which counts as its own by now"
        found.append(("memory-kernel", "memory.kmem.limit_in_bytes", memory.kernel, says, NEVER))
    if memory.kernelTCP:
        says = f"asked: at most {_bytes(memory.kernelTCP)} in TCP connections, if this kernel knows it still"
        found.append(("memory-kernel-tcp", "memory.kmem.tcp.limit_in_bytes", memory.kernelTCP, says, NEVER))
    if memory.disableOOMKiller:
        says = "who asks for more than the limit waits, and is not killed"
        found.append(("oom-kill", "memory.oom_control", 1, says, ALWAYS))
    lacks = "cgroup v2 has no such limit" if v2 else ""
    return [
        Limit(name, "memory", file, str(value), says, NEVER if v2 else need, lacks=lacks)
        for name, file, value, says, need in found
    ]


def swap_alone(swap: int, limit: int | None) -> int:
    """memory.swap.max for a limit on memory and swap together, in bytes or -1.

    The conversion runc and crun use. Raises SpecError where memory itself is not limited.
    """
    if swap == UNLIMITED:
        return UNLIMITED
    if not limit or limit == UNLIMITED:
        needs = "memory and swap together cannot be limited where memory is not"
        raise SpecError(needs, pointer="/linux/resources/memory/swap", hint="give a limit for memory too")
    if swap < limit:
        raise SpecError(f"must be at least the limit {limit}", pointer="/linux/resources/memory/swap")
    return swap - limit


def _cpu(cpu: CPU | None, *, v2: bool) -> list[Limit]:
    if cpu is None:
        return []
    limits = _realtime(cpu, v2=v2)
    period, quota = cpu.period or 100_000, cpu.quota or UNLIMITED
    says = f"at most {quota / period:g} processors' time" if quota > 0 else "as much time as there is"
    if v2:
        if cpu.quota or cpu.period:
            limits.append(Limit("cpu", "cpu", "cpu.max", f"{_max(quota)} {period}", says))
    else:
        if cpu.period or cpu.quota:
            limits.append(Limit("cpu", "cpu", "cpu.cfs_period_us", str(period), says))
        if cpu.quota:
            limits.append(Limit("cpu", "cpu", "cpu.cfs_quota_us", str(cpu.quota), says))
    if cpu.burst is not None:
        file = "cpu.max.burst" if v2 else "cpu.cfs_burst_us"
        need = ALWAYS if cpu.burst else PRESENT
        limits.append(Limit("cpu-burst", "cpu", file, str(cpu.burst), f"{cpu.burst} µs may be saved up", need))
    if cpu.idle is not None:
        says = "it runs when nothing else wants to" if cpu.idle else "it gets its share of time as others do"
        limits.append(Limit("cpu-idle", "cpu", "cpu.idle", str(cpu.idle), says))
    if cpu.shares and cpu.idle != 1:  # an idle group has no weight: EINVAL
        says = f"a share of {cpu.shares} against the usual 1024 when processors are busy"
        if v2:
            limits.append(Limit("cpu-shares", "cpu", "cpu.weight", str(weight_of(cpu.shares)), says))
        else:
            limits.append(Limit("cpu-shares", "cpu", "cpu.shares", str(cpu.shares), says))
    if cpu.cpus:
        limits.append(Limit("cpuset", "cpuset", "cpuset.cpus", cpu.cpus, f"runs on processors {cpu.cpus} only"))
    if cpu.mems:
        limits.append(Limit("cpuset-mems", "cpuset", "cpuset.mems", cpu.mems, f"memory of nodes {cpu.mems} only"))
    return limits


def _realtime(cpu: CPU, *, v2: bool) -> list[Limit]:
    found = (("cpu.rt_period_us", cpu.realtimePeriod), ("cpu.rt_runtime_us", cpu.realtimeRuntime))
    lacks = "cgroup v2 cannot limit real-time scheduling" if v2 else ""
    says = "what real-time processes may use"
    return [Limit("cpu-realtime", "cpu", file, str(value), says, lacks=lacks) for file, value in found if value]


def _pids(resources: Resources) -> list[Limit]:
    if resources.pids is None or resources.pids.limit is None:
        return []
    limit = resources.pids.limit
    says = f"at most {max(limit, 1)} processes and threads" if limit >= 0 else "as many processes as there may be"
    # the first process does not count against a limit it is moved under, but could not be born under 0
    return [Limit("pids", "pids", "pids.max", "1" if limit == 0 else _max(limit), says)]


def _network(resources: Resources, *, v2: bool) -> list[Limit]:
    network = resources.network
    if network is None:
        return []
    lacks = "cgroup v2 marks no traffic" if v2 else ""
    limits = []
    if network.classID:
        says = f"its packets are marked as of class {network.classID:#x}"
        limits.append(Limit("network-class", "net_cls", "net_cls.classid", str(network.classID), says, lacks=lacks))
    for item in network.priorities or []:
        value, says = f"{item.name} {item.priority}", f"its packets have priority {item.priority} on {item.name}"
        limits.append(Limit("network-priority", "net_prio", "net_prio.ifpriomap", value, says, lacks=lacks))
    return limits


def weight_of(shares: int) -> int:
    """cpu.weight (1 to 10000) for cpu.shares (2 to 262144); 0, "not set", stays 0.

    The conversion of runc 1.3.2 and crun 1.23: a curve through the least, the usual (1024 is 100) and the
    most. The straight line used before left a container with the usual shares only 39 of 100.
    """
    if shares <= 2 or shares >= 262144:
        return 0 if shares == 0 else 1 if shares <= 2 else 10000
    from math import ceil, log2

    power = log2(shares)
    return ceil(10 ** ((power * power + 125 * power) / 612 - 7 / 34))


def _max(value: int) -> str:
    return "max" if value == UNLIMITED else str(value)


def _bytes(value: int) -> str:
    if value == UNLIMITED:
        return "any amount"
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if value >= size:
            return f"{value / size:.4g} {unit}"
    return f"{value} bytes"
