"""Limits on block devices, huge pages and RDMA as cgroup files: the rarer part of `limits`. Pure.

limit           v1                                        v2
weight          blkio.weight, else blkio.bfq.weight       io.bfq.weight, else io.weight
leaf weight     blkio.leaf_weight                         none
throttles       blkio.throttle.{read,write}_{bps,iops}…   io.max
huge pages      hugetlb.SIZE.limit_in_bytes, rsvd         hugetlb.SIZE.max, rsvd
RDMA            rdma.max                                  the same
"""

from __future__ import annotations

from cloche.runtime.cgroups.limits import NEVER, PRESENT, Limit, _bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.spec.resources import BlockIO, Resources


def limits_of(resources: Resources, *, v2: bool) -> list[Limit]:
    """The values to write for blockIO, hugepageLimits and rdma."""
    limits = []
    if resources.blockIO is not None:
        limits += _weights(resources.blockIO, v2=v2) + _throttles(resources.blockIO, v2=v2)
    for pages in resources.hugepageLimits or []:
        says = f"at most {_bytes(pages.limit)} in huge pages of {pages.pageSize}"
        ending = "max" if v2 else "limit_in_bytes"
        for kind, need in (("", None), ("rsvd.", PRESENT)):  # rsvd counts what is reserved too: Linux 5.7
            limit = Limit("hugepages", "hugetlb", f"hugetlb.{pages.pageSize}.{kind}{ending}", str(pages.limit), says)
            limits.append(limit if need is None else _with_need(limit, need))
    for device, rdma in (resources.rdma or {}).items():
        parts = (("hca_handle", rdma.hcaHandles), ("hca_object", rdma.hcaObjects))
        value = " ".join([device, *(f"{name}={number}" for name, number in parts if number is not None)])
        limits.append(Limit("rdma", "rdma", "rdma.max", value, f"of RDMA: {value}"))
    return limits


def _with_need(limit: Limit, need: str) -> Limit:
    return Limit(limit.name, limit.controller, limit.file, limit.value, limit.says, need)


def _weights(block: BlockIO, *, v2: bool) -> list[Limit]:
    limits = []
    if block.weight:
        says = f"a share of {block.weight} when the disks are busy"
        limits.append(_weight("io-weight", "", block.weight, says, v2=v2))
    if block.leafWeight:
        limits.append(_leaf("", block.leafWeight, v2=v2))
    for device in block.weightDevice or []:
        where = f"{device.major}:{device.minor}"
        if device.weight:
            says = f"a share of {device.weight} when disk {where} is busy"
            limits.append(_weight("io-weight-device", where, device.weight, says, v2=v2))
        if device.leafWeight:
            limits.append(_leaf(where, device.leafWeight, v2=v2))
    return limits


def _weight(name: str, where: str, weight: int, says: str, *, v2: bool) -> Limit:
    """A weight of the group, or for the disk `where`; the BFQ scheduler, where it is in use, has its own file."""
    start, suffix = (f"{where} ", "_device") if where else ("", "")
    if v2:
        converted = f"{start}{io_weight_of(weight)}"
        return Limit(name, "blkio", "io.bfq.weight", f"{start}{weight}", says, instead=(("io.weight", converted),))
    value = f"{start}{weight}"
    return Limit(name, "blkio", f"blkio.weight{suffix}", value, says, instead=((f"blkio.bfq.weight{suffix}", value),))


def io_weight_of(weight: int) -> int:
    """io.weight (1 to 10000) for blkio.weight (10 to 1000), as runc and crun convert it."""
    return 1 + (weight - 10) * 9999 // 990


def _leaf(where: str, weight: int, *, v2: bool) -> Limit:
    """Of the CFQ scheduler, which Linux 5.0 has removed."""
    file, value = ("blkio.leaf_weight_device", f"{where} {weight}") if where else ("blkio.leaf_weight", str(weight))
    says = f"a share of {weight} against the groups below it"
    lacks = "cgroup v2 has no such limit" if v2 else ""
    return Limit("io-leaf-weight", "blkio", file, value, says, NEVER, lacks=lacks)


def _throttles(block: BlockIO, *, v2: bool) -> list[Limit]:
    limits = []
    throttles = (
        (block.throttleReadBpsDevice, "read_bps", "rbps"),
        (block.throttleWriteBpsDevice, "write_bps", "wbps"),
        (block.throttleReadIOPSDevice, "read_iops", "riops"),
        (block.throttleWriteIOPSDevice, "write_iops", "wiops"),
    )
    for devices, v1_name, v2_name in throttles:
        for device in devices or []:
            where = f"{device.major}:{device.minor}"
            says = f"disk {where}: at most {device.rate} {v2_name}" if device.rate else f"disk {where}: any {v2_name}"
            if v2:
                limits.append(Limit("io", "blkio", "io.max", f"{where} {v2_name}={device.rate or 'max'}", says))
            else:
                limits.append(Limit("io", "blkio", f"blkio.throttle.{v1_name}_device", f"{where} {device.rate}", says))
    return limits
