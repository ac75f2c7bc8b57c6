"""Limits from options: the OCI resources section, and the names of those that were asked for."""

from __future__ import annotations

import _stat as stat
import posix as os

from cloche.errors import ConflictError, NotFoundError, SpecError
from cloche.runtime.defaults import PIDS_LIMIT
from cloche.runtime.filesystem import STANDARD_DEVICES
from cloche.sandbox import values
from cloche.sandbox.volumes import devices_of
from cloche.spec.resources import CPU, BlockIO, DeviceRule, Memory, Pids, Resources, ThrottleDevice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from cloche.sandbox.options import Options

LEAST_MEMORY = 512 << 10


def resources(options: Options) -> tuple[Resources, tuple[str, ...]]:
    """The limits, and the receipt names of those the caller asked for rather than got by default."""
    asked: list[str] = []
    memory, cpu, block = _memory(options, asked), _cpu(options, asked), _block(options, asked)
    pids = PIDS_LIMIT
    if options.pids_limit is not None:
        pids = values.whole(options.pids_limit, "--pids-limit", -1, 4194304)
        asked.append("pids")
        pids = -1 if pids == 0 else pids  # docker's and podman's: 0 is no limit
    unified = {}
    if options.io_weight is not None:
        unified["io.weight"] = str(values.whole(options.io_weight, "--io-weight", 1, 10000))
        asked.append("io.weight")
    if options.io_max:
        unified["io.max"] = "\n".join(options.io_max)
        asked.append("io.max")
    result = Resources(
        memory=memory,
        cpu=cpu,
        pids=Pids(limit=pids),
        blockIO=block,
        unified=unified or None,
        devices=_devices(options, asked),
    )
    return result, tuple(asked)


def _devices(options: Options, asked: list[str]) -> list[DeviceRule] | None:
    """Device rules, where /dev alone does not settle it: root without a user namespace could make nodes of
    its own, and root inside may write what was given for reading."""
    given = devices_of(options)
    limited = [device for device in given if device[5] != "rwm"]
    if options.privileged or not (limited or options.userns == "host"):
        return None
    if limited:
        asked.append("devices")
    rules = [DeviceRule(allow=False, access="rwm")]
    numbers: list[tuple[Literal["c", "b"], int, int | None, str]] = [
        ("c", -1, None, "m"),
        ("b", -1, None, "m"),
        *(("c", major, minor, "rwm") for _, (major, minor) in STANDARD_DEVICES),
        ("c", 5, 2, "rwm"),  # ptmx
        ("c", 136, None, "rwm"),  # pts/*
    ]
    numbers += [("b" if stat.S_ISBLK(device[2]) else "c", *device[3:]) for device in given]
    for kind, major, minor, access in numbers:
        rules.append(DeviceRule(allow=True, type=kind, major=major, minor=minor, access=access))
    return rules


def _memory(options: Options, asked: list[str]) -> Memory | None:
    limit = swap = reservation = None
    if options.memory is not None:
        limit = values.positive_size(options.memory, "--memory", least=LEAST_MEMORY)
        asked.append("memory")
    if options.memory_swap is not None:
        swap = values.size(options.memory_swap, "--memory-swap")
        asked.append("memory-swap")
        if limit is None:
            raise ConflictError("--memory-swap needs --memory", hint="it is memory and swap together")
        if swap != -1 and swap < limit:
            raise ConflictError("--memory-swap is smaller than --memory", hint="it is memory and swap together")
    if options.memory_reservation is not None:
        reservation = values.positive_size(options.memory_reservation, "--memory-reservation")
        asked.append("memory-reservation")
        if limit is not None and reservation > limit:
            raise ConflictError("--memory-reservation is larger than --memory")
    if limit is None and reservation is None:
        return None
    return Memory(limit=limit, swap=swap, reservation=reservation)


def _cpu(options: Options, asked: list[str]) -> CPU | None:
    cpu = CPU()
    if options.cpus is not None:
        cpu.period = 100_000
        cpu.quota = round(values.processors(options.cpus) * 100_000)
        available = os.cpu_count() or 1
        if cpu.quota > available * 100_000:
            raise SpecError(f"--cpus {options.cpus} is more than this machine has", hint=f"it has {available}")
        asked.append("cpu")
    period = 100_000
    if options.cpu_period is not None and options.cpu_period != 0:
        period = values.whole(options.cpu_period, "--cpu-period", 1000, 1_000_000)
    if options.cpu_quota is not None:
        cpu.quota, cpu.period = values.whole(options.cpu_quota, "--cpu-quota", -1, 10**9), period
        if 0 <= cpu.quota < 1000:
            raise SpecError(f"--cpu-quota {cpu.quota} is too small", hint="at least 1000 microseconds, or -1")
        asked.append("cpu")
    elif options.cpu_period is not None:
        raise ConflictError("--cpu-period needs --cpu-quota", hint="or say --cpus")
    if options.cpu_shares is not None:
        cpu.shares = values.whole(options.cpu_shares, "--cpu-shares", 0, 262144) or None
        asked.append("cpu-shares")
    if options.cpuset_cpus:
        cpu.cpus = values.cpu_list(options.cpuset_cpus, "--cpuset-cpus")
        _check_there(cpu.cpus, "--cpuset-cpus", "/sys/devices/system/cpu/online")
        asked.append("cpuset")
    if options.cpuset_mems:
        cpu.mems = values.cpu_list(options.cpuset_mems, "--cpuset-mems")
        _check_there(cpu.mems, "--cpuset-mems", "/sys/devices/system/node/online")
        asked.append("cpuset-mems")
    return cpu if vars(cpu) else None


def _block(options: Options, asked: list[str]) -> BlockIO | None:
    block = BlockIO()
    if options.blkio_weight is not None:
        block.weight = values.whole(options.blkio_weight, "--blkio-weight", 10, 1000)
        asked.append("io-weight")
    for field, texts, option in (
        ("throttleReadBpsDevice", options.device_read_bps, "--device-read-bps"),
        ("throttleWriteBpsDevice", options.device_write_bps, "--device-write-bps"),
        ("throttleReadIOPSDevice", options.device_read_iops, "--device-read-iops"),
        ("throttleWriteIOPSDevice", options.device_write_iops, "--device-write-iops"),
    ):
        if texts:
            setattr(block, field, [_throttle(text, option) for text in texts])
            asked.append("io")
    return block if vars(block) else None


def _throttle(text: str, option: str) -> ThrottleDevice:
    path, colon, amount = text.rpartition(":")
    if not colon:
        raise SpecError(f"{option} {text!r} is not DEVICE:AMOUNT", hint="such as /dev/sda:10m")
    try:
        status = os.stat(path)
    except OSError as error:
        raise NotFoundError(f"{option}: {path} cannot be used: {error.strerror}") from None
    if status.st_mode & 0o170000 != 0o060000:
        raise SpecError(f"{option}: {path} is not a disk", hint="a block device such as /dev/sda; see lsblk")
    rate = values.positive_size(amount, option)
    return ThrottleDevice(major=os.major(status.st_rdev), minor=os.minor(status.st_rdev), rate=rate)


def _check_there(wanted: str, option: str, online: str) -> None:
    """Raise SpecError for numbers that this machine does not have."""
    try:
        with open(online, encoding="ascii") as file:
            there = file.read().strip()
    except OSError:
        return  # the kernel was built without
    if not _numbers(wanted) <= _numbers(there):
        raise SpecError(f"{option} {wanted} is more than this machine has", hint=f"it has {there}")


def _numbers(text: str) -> set[int]:
    """The numbers of a list such as 0-3,5."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found |= set(range(int(first), min(int(last or first), 1 << 20) + 1))
    return found
