"""Resource limits (config-linux.md "Control groups"): what a container may use.

The names and units are cgroup v1's, which is what the specification speaks; translating them to
cgroup v2 happens elsewhere. `unified` is v2 as it is.
"""

from __future__ import annotations

from cloche.spec.document import Document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from cloche.spec.shape import i64, u16, u32, u64


class DeviceRule(Document):
    """One entry of the device allow list, applied in order; what is not set means all."""

    allow: bool
    type: Literal["a", "c", "b"] | None = None
    major: i64 | None = None
    minor: i64 | None = None
    access: str | None = None


class Memory(Document):
    """Limits in bytes, -1 for none; `swap` is memory and swap together."""

    limit: i64 | None = None
    reservation: i64 | None = None
    swap: i64 | None = None
    kernel: i64 | None = None
    kernelTCP: i64 | None = None
    swappiness: u64 | None = None
    disableOOMKiller: bool | None = None
    useHierarchy: bool | None = None
    checkBeforeUpdate: bool | None = None


class CPU(Document):
    """Shares, quotas in microseconds, and the sets of CPUs and memory nodes."""

    shares: u64 | None = None
    quota: i64 | None = None
    burst: u64 | None = None
    period: u64 | None = None
    realtimeRuntime: i64 | None = None
    realtimePeriod: u64 | None = None
    cpus: str | None = None
    mems: str | None = None
    idle: i64 | None = None


class Pids(Document):
    """The most tasks there may be; -1 is no limit, and so is nothing at all."""

    limit: i64 | None = None


class WeightDevice(Document):
    """A block device's own weight."""

    major: i64
    minor: i64
    weight: u16 | None = None
    leafWeight: u16 | None = None


class ThrottleDevice(Document):
    """A block device's rate, in bytes or operations a second."""

    major: i64
    minor: i64
    rate: u64


class BlockIO(Document):
    """Weights and rates of block devices."""

    weight: u16 | None = None
    leafWeight: u16 | None = None
    weightDevice: list[WeightDevice] | None = None
    throttleReadBpsDevice: list[ThrottleDevice] | None = None
    throttleWriteBpsDevice: list[ThrottleDevice] | None = None
    throttleReadIOPSDevice: list[ThrottleDevice] | None = None
    throttleWriteIOPSDevice: list[ThrottleDevice] | None = None


class HugepageLimit(Document):
    """A limit in bytes for one page size (`2MB`)."""

    pageSize: str
    limit: u64


class InterfacePriority(Document):
    """The priority of traffic leaving through an interface (cgroup v1 only)."""

    name: str
    priority: u32


class NetworkResources(Document):
    """net_cls and net_prio, which only cgroup v1 has."""

    classID: u32 | None = None
    priorities: list[InterfacePriority] | None = None


class Rdma(Document):
    """Limits of one RDMA device."""

    hcaHandles: u32 | None = None
    hcaObjects: u32 | None = None


class Resources(Document):
    """Everything a cgroup can limit."""

    devices: list[DeviceRule] | None = None
    memory: Memory | None = None
    cpu: CPU | None = None
    pids: Pids | None = None
    blockIO: BlockIO | None = None
    hugepageLimits: list[HugepageLimit] | None = None
    network: NetworkResources | None = None
    rdma: dict[str, Rdma] | None = None
    unified: dict[str, str] | None = None
