"""What limits may say beyond their shape; `update` checks a resources document alone with this."""

from __future__ import annotations

from cloche.spec.checks import check_cpu_list, fail
from cloche.spec.shape import escape, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.spec.resources import CPU, BlockIO, DeviceRule, HugepageLimit, Memory, Resources


def check_resources(resources: Resources, pointer: str = "") -> None:
    """Check what a cgroup is asked to limit."""
    for i, rule in enumerate(resources.devices or ()):
        _check_device_rule(rule, f"{pointer}/devices/{i}")
    if resources.memory is not None:
        _check_memory(resources.memory, f"{pointer}/memory")
    if resources.cpu is not None:
        _check_cpu(resources.cpu, f"{pointer}/cpu")
    if resources.pids is not None and (resources.pids.limit or 0) < -1:
        fail(f"{pointer}/pids/limit", "must be -1 for no limit, or not negative")
    if resources.blockIO is not None:
        _check_block_io(resources.blockIO, f"{pointer}/blockIO")
    _check_hugepages(resources.hugepageLimits or [], f"{pointer}/hugepageLimits")
    if resources.network is not None:
        for i, priority in enumerate(resources.network.priorities or ()):
            if not priority.name:
                fail(f"{pointer}/network/priorities/{i}/name", "must not be empty")
    for device, rdma in (resources.rdma or {}).items():
        if rdma.hcaHandles is None and rdma.hcaObjects is None:
            fail(f"{pointer}/rdma/{escape(device)}", "needs hcaHandles or hcaObjects")
    for name in resources.unified or ():
        # The key becomes a file name in the container's cgroup directory.
        if "/" in name or "." not in name.strip("."):
            fail(f"{pointer}/unified/{escape(name)}", "is not the name of a cgroup file such as memory.high")


def _check_device_rule(rule: DeviceRule, pointer: str) -> None:
    if rule.access is not None and (not rule.access or rule.access.strip("rwm")):
        fail(f"{pointer}/access", f"must be made of r, w and m, not {shown(rule.access)}")
    for name in ("major", "minor"):
        number = getattr(rule, name)
        if number is not None and not -1 <= number < 1 << 32:  # -1 is an older way to say all
            fail(f"{pointer}/{name}", f"must be a device number, not {number}")


def _check_memory(memory: Memory, pointer: str) -> None:
    for name in ("limit", "reservation", "swap", "kernel", "kernelTCP"):
        value = getattr(memory, name)
        if value is not None and value < -1:
            fail(f"{pointer}/{name}", f"must be -1 for no limit, or not negative, not {value}")
    limit, swap = memory.limit or 0, memory.swap or 0
    if swap > 0:
        if limit == -1:
            fail(f"{pointer}/swap", "memory and swap together cannot be limited where memory is not")
        if swap < limit:
            fail(f"{pointer}/swap", f"is memory and swap together, so at least the limit {limit}, not {swap}")
    if memory.swappiness is not None and memory.swappiness > 100:
        fail(f"{pointer}/swappiness", f"must be from 0 to 100, not {memory.swappiness}")


def _check_cpu(cpu: CPU, pointer: str) -> None:
    check_cpu_list(cpu.cpus, f"{pointer}/cpus")
    check_cpu_list(cpu.mems, f"{pointer}/mems")
    for name in ("quota", "realtimeRuntime"):
        value = getattr(cpu, name)
        if value is not None and value < -1:
            fail(f"{pointer}/{name}", f"must be -1 for no limit, or not negative, not {value}")
    if cpu.burst and 0 < (cpu.quota or 0) < cpu.burst:
        fail(f"{pointer}/burst", f"must not be above the quota {cpu.quota}")
    if cpu.idle is not None and cpu.idle not in (0, 1):
        fail(f"{pointer}/idle", f"must be 0 or 1, not {cpu.idle}")


def _check_block_io(block_io: BlockIO, pointer: str) -> None:
    for i, device in enumerate(block_io.weightDevice or ()):
        _check_block_device(device.major, device.minor, f"{pointer}/weightDevice/{i}")
        if device.weight is None and device.leafWeight is None:
            fail(f"{pointer}/weightDevice/{i}", "needs a weight or a leafWeight")
    for direction in ("ReadBps", "WriteBps", "ReadIOPS", "WriteIOPS"):
        name = f"throttle{direction}Device"
        for i, throttled in enumerate(getattr(block_io, name) or ()):
            _check_block_device(throttled.major, throttled.minor, f"{pointer}/{name}/{i}")


def _check_block_device(major: int, minor: int, pointer: str) -> None:
    for name, number in (("major", major), ("minor", minor)):
        if not 0 <= number < 1 << 32:
            fail(f"{pointer}/{name}", f"must be a device number, not {number}")


def _check_hugepages(limits: list[HugepageLimit], pointer: str) -> None:
    seen = set()
    for i, limit in enumerate(limits):
        size = limit.pageSize
        number = size[:-2]
        if size[-2:] not in ("KB", "MB", "GB") or not (number.isascii() and number.isdigit()) or number[0] == "0":
            fail(f"{pointer}/{i}/pageSize", f"must be a page size such as 2MB, not {shown(size)}")
        if size in seen:
            fail(f"{pointer}/{i}/pageSize", f"{size} is there twice")
        seen.add(size)
