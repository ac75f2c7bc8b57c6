"""Limits of a config as what is written into cgroup files, v1 and v2."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.errors import SpecError
from cloche.runtime.cgroups.limits import ALWAYS, NEVER, PRESENT, limits_of, weight_of
from cloche.spec.resources import (
    CPU,
    BlockIO,
    HugepageLimit,
    InterfacePriority,
    Memory,
    NetworkResources,
    Pids,
    Rdma,
    Resources,
    ThrottleDevice,
    WeightDevice,
)

M = 1 << 20


def written(resources: Resources, *, v2: bool) -> dict[str, str]:
    return {limit.file: limit.value for limit in limits_of(resources, v2=v2)}


def test_nothing_asked_is_nothing_written() -> None:
    assert limits_of(None, v2=True) == limits_of(Resources(), v2=False) == []


def test_memory() -> None:
    asked = Resources(memory=Memory(limit=64 * M, swap=96 * M, reservation=32 * M))
    assert written(asked, v2=True) == {
        "memory.max": str(64 * M),
        "memory.swap.max": str(32 * M),
        "memory.low": str(32 * M),
    }
    assert list(written(asked, v2=False).items()) == [
        ("memory.limit_in_bytes", str(64 * M)),
        ("memory.memsw.limit_in_bytes", str(96 * M)),
        ("memory.soft_limit_in_bytes", str(32 * M)),
    ]


def test_no_limit_has_the_kernels_word() -> None:
    asked = Resources(memory=Memory(limit=-1, swap=-1), pids=Pids(limit=-1), cpu=CPU(quota=-1))
    assert written(asked, v2=True) == {
        "memory.max": "max",
        "memory.swap.max": "max",
        "pids.max": "max",
        "cpu.max": "max 100000",
    }
    assert written(asked, v2=False)["memory.limit_in_bytes"] == "-1"


def test_swap_equal_to_memory_is_no_swap_at_all() -> None:
    assert written(Resources(memory=Memory(limit=M, swap=M)), v2=True)["memory.swap.max"] == "0"


def test_processors() -> None:
    asked = Resources(cpu=CPU(quota=50_000, period=200_000, shares=1024, cpus="0-1", mems="0"))
    assert written(asked, v2=True) == {
        "cpu.max": "50000 200000",
        "cpu.weight": "100",
        "cpuset.cpus": "0-1",
        "cpuset.mems": "0",
    }
    v1 = list(written(asked, v2=False).items())
    assert v1[:2] == [("cpu.cfs_period_us", "200000"), ("cpu.cfs_quota_us", "50000")], "the period goes first"
    assert dict(v1)["cpu.shares"] == "1024"


def test_a_limit_of_no_processes_is_a_limit() -> None:
    """Of the first process alone: nothing can be born in a group that may hold none."""
    assert written(Resources(pids=Pids(limit=0)), v2=True) == {"pids.max": "1"}


def test_disks() -> None:
    block = BlockIO(
        weight=500,
        weightDevice=[WeightDevice(major=8, minor=16, weight=20, leafWeight=30)],
        leafWeight=300,
        throttleReadBpsDevice=[ThrottleDevice(major=8, minor=0, rate=M)],
        throttleWriteIOPSDevice=[ThrottleDevice(major=8, minor=0, rate=0)],
    )
    v2 = limits_of(Resources(blockIO=block), v2=True)
    assert [(limit.file, limit.value) for limit in v2 if not limit.lacks] == [
        ("io.bfq.weight", "500"),
        ("io.bfq.weight", "8:16 20"),
        ("io.max", f"8:0 rbps={M}"),
        ("io.max", "8:0 wiops=max"),
    ]
    assert [limit.instead for limit in v2[:3] if limit.instead] == [
        (("io.weight", "4950"),),
        (("io.weight", "8:16 102"),),
    ]
    assert [limit.name for limit in v2 if limit.lacks] == ["io-leaf-weight"] * 2
    v1 = limits_of(Resources(blockIO=block), v2=False)
    assert {limit.file: (limit.value, limit.instead) for limit in v1} == {
        "blkio.weight": ("500", (("blkio.bfq.weight", "500"),)),
        "blkio.leaf_weight": ("300", ()),
        "blkio.weight_device": ("8:16 20", (("blkio.bfq.weight_device", "8:16 20"),)),
        "blkio.leaf_weight_device": ("8:16 30", ()),
        "blkio.throttle.read_bps_device": (f"8:0 {M}", ()),
        "blkio.throttle.write_iops_device": ("8:0 0", ()),
    }


def test_huge_pages() -> None:
    asked = Resources(hugepageLimits=[HugepageLimit(pageSize="2MB", limit=4 * M)])
    assert written(asked, v2=True) == {"hugetlb.2MB.max": str(4 * M), "hugetlb.2MB.rsvd.max": str(4 * M)}
    v1 = limits_of(asked, v2=False)
    assert [(limit.file, limit.need) for limit in v1] == [
        ("hugetlb.2MB.limit_in_bytes", ALWAYS),
        ("hugetlb.2MB.rsvd.limit_in_bytes", PRESENT),
    ]


@pytest.mark.parametrize("v2", [False, True])
def test_rdma(v2: bool) -> None:
    asked = Resources(rdma={"mlx5_1": Rdma(hcaHandles=3, hcaObjects=10000), "mlx4_0": Rdma(hcaObjects=0)})
    assert [(limit.file, limit.value) for limit in limits_of(asked, v2=v2)] == [
        ("rdma.max", "mlx5_1 hca_handle=3 hca_object=10000"),
        ("rdma.max", "mlx4_0 hca_object=0"),
    ]


def test_traffic_is_marked_on_v1_only() -> None:
    priorities = [InterfacePriority(name="eth0", priority=5)]
    asked = Resources(network=NetworkResources(classID=0x100001, priorities=priorities))
    assert written(asked, v2=False) == {"net_cls.classid": "1048577", "net_prio.ifpriomap": "eth0 5"}
    assert all(limit.lacks and limit.need == ALWAYS for limit in limits_of(asked, v2=True))


def test_what_only_v1_has_of_memory_is_said_and_refused_nowhere() -> None:
    asked = Resources(memory=Memory(swappiness=10, kernel=M, kernelTCP=2 * M, disableOOMKiller=True))
    assert written(asked, v2=False) == {
        "memory.swappiness": "10",
        "memory.kmem.limit_in_bytes": str(M),
        "memory.kmem.tcp.limit_in_bytes": str(2 * M),
        "memory.oom_control": "1",
    }
    assert [limit.need for limit in limits_of(asked, v2=False)] == [ALWAYS, NEVER, NEVER, ALWAYS]
    assert all(limit.lacks and limit.need == NEVER for limit in limits_of(asked, v2=True))


def test_memory_without_a_limit_has_swap_without_one() -> None:
    asked = Resources(memory=Memory(limit=-1))
    assert written(asked, v2=True) == {"memory.max": "max", "memory.swap.max": "max"}
    v1 = limits_of(asked, v2=False)
    assert [(limit.file, limit.need) for limit in v1] == [
        ("memory.limit_in_bytes", ALWAYS),
        ("memory.memsw.limit_in_bytes", PRESENT),
    ]


def test_swap_alone_cannot_be_limited_on_v2() -> None:
    with pytest.raises(SpecError, match="where memory is not"):
        limits_of(Resources(memory=Memory(swap=M)), v2=True)
    assert written(Resources(memory=Memory(swap=M)), v2=False) == {"memory.memsw.limit_in_bytes": str(M)}


@pytest.mark.parametrize(
    "nothing",
    [
        Resources(memory=Memory(limit=0, swap=0, reservation=0, kernel=0, disableOOMKiller=False)),
        Resources(cpu=CPU(shares=0, quota=0, period=0, realtimeRuntime=0, realtimePeriod=0, cpus="", mems="")),
        Resources(blockIO=BlockIO(weight=0, leafWeight=0)),
        Resources(network=NetworkResources(classID=0)),
    ],
)
@pytest.mark.parametrize("v2", [False, True])
def test_what_an_engine_leaves_at_0_is_not_asked(nothing: Resources, v2: bool) -> None:
    assert limits_of(nothing, v2=v2) == []


def test_a_period_alone_limits_nothing_yet() -> None:
    assert written(Resources(cpu=CPU(period=50_000)), v2=True) == {"cpu.max": "max 50000"}
    assert written(Resources(cpu=CPU(period=50_000)), v2=False) == {"cpu.cfs_period_us": "50000"}


def test_a_burst_comes_after_the_quota_it_is_measured_by() -> None:
    asked = Resources(cpu=CPU(quota=50_000, burst=20_000))
    assert list(written(asked, v2=True).items()) == [("cpu.max", "50000 100000"), ("cpu.max.burst", "20000")]
    assert list(written(asked, v2=False)) == ["cpu.cfs_period_us", "cpu.cfs_quota_us", "cpu.cfs_burst_us"]


@pytest.mark.parametrize("v2", [False, True])
def test_an_idle_group_has_no_share(v2: bool) -> None:
    assert written(Resources(cpu=CPU(idle=1, shares=512)), v2=v2) == {"cpu.idle": "1"}
    assert next(iter(written(Resources(cpu=CPU(idle=0, shares=512)), v2=v2))) == "cpu.idle"


def test_real_time_scheduling_is_limited_on_v1_only() -> None:
    asked = Resources(cpu=CPU(realtimePeriod=1_000_000, realtimeRuntime=950_000))
    assert list(written(asked, v2=False).items()) == [
        ("cpu.rt_period_us", "1000000"),
        ("cpu.rt_runtime_us", "950000"),
    ]
    assert all(limit.lacks and limit.need == ALWAYS for limit in limits_of(asked, v2=True))


def test_what_is_unified_is_written_as_it_is_and_last() -> None:
    asked = Resources(unified={"io.weight": "50", "no.such": "1"}, pids=Pids(limit=7))
    limits = limits_of(asked, v2=True)
    assert [(limit.file, limit.value, limit.controller) for limit in limits] == [
        ("pids.max", "7", "pids"),
        ("io.weight", "50", "blkio"),
        ("no.such", "1", "no"),
    ]
    assert all(limit.lacks for limit in limits_of(Resources(unified={"io.weight": "50"}), v2=False))


def test_what_is_unified_is_written_line_by_line() -> None:
    limits = limits_of(Resources(unified={"io.max": "8:0 rbps=1\n8:16 rbps=2\n"}), v2=True)
    assert [limit.value for limit in limits] == ["8:0 rbps=1", "8:16 rbps=2"]


SHARES = {0: 0, 1: 1, 2: 1, 512: 59, 1024: 100, 2048: 174, 262144: 10000, 10**9: 10000}


@pytest.mark.parametrize(("shares", "weight"), SHARES.items())
def test_shares_as_a_weight(shares: int, weight: int) -> None:
    assert weight_of(shares) == weight


@given(st.integers(2, 262144), st.integers(2, 262144))
def test_more_shares_are_never_less_weight(one: int, other: int) -> None:
    assert (one <= other) <= (weight_of(one) <= weight_of(other))
    assert 1 <= weight_of(one) <= 10000


@given(st.integers(10, 1000))
def test_every_weight_of_v1_is_one_of_v2(weight: int) -> None:
    (limit,) = limits_of(Resources(blockIO=BlockIO(weight=weight)), v2=True)
    assert 1 <= int(dict(limit.instead)["io.weight"]) <= 10000
