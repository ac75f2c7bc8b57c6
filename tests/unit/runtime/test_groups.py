"""Limits of a config as what is written into cgroup files, v1 and v2."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.runtime.groups import limits_of, weight_of
from cloche.spec.resources import CPU, BlockIO, Memory, Pids, Resources, ThrottleDevice

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
        "cpu.weight": "39",
        "cpuset.cpus": "0-1",
        "cpuset.mems": "0",
    }
    v1 = list(written(asked, v2=False).items())
    assert v1[:2] == [("cpu.cfs_period_us", "200000"), ("cpu.cfs_quota_us", "50000")], "the period goes first"
    assert dict(v1)["cpu.shares"] == "1024"


def test_a_limit_of_no_processes_is_a_limit() -> None:
    assert written(Resources(pids=Pids(limit=0)), v2=True) == {"pids.max": "0"}


def test_disks() -> None:
    block = BlockIO(weight=500, throttleReadBpsDevice=[ThrottleDevice(major=8, minor=0, rate=M)])
    assert written(Resources(blockIO=block), v2=True) == {"io.weight": "4950", "io.max": f"8:0 rbps={M}"}
    assert written(Resources(blockIO=block), v2=False) == {
        "blkio.weight": "500",
        "blkio.throttle.read_bps_device": f"8:0 {M}",
    }


def test_what_is_unified_is_written_as_it_is() -> None:
    (limit,) = limits_of(Resources(unified={"io.weight": "50"}), v2=True)
    assert (limit.file, limit.value, limit.controller) == ("io.weight", "50", "blkio")


@pytest.mark.parametrize(("shares", "weight"), [(0, 0), (2, 1), (1024, 39), (262144, 10000), (1, 1), (10**9, 10000)])
def test_shares_as_a_weight(shares: int, weight: int) -> None:
    assert weight_of(shares) == weight


@given(st.integers(2, 262144), st.integers(2, 262144))
def test_more_shares_are_never_less_weight(one: int, other: int) -> None:
    assert (one <= other) <= (weight_of(one) <= weight_of(other))
    assert 1 <= weight_of(one) <= 10000


@given(st.integers(10, 1000))
def test_every_weight_of_v1_is_one_of_v2(weight: int) -> None:
    value = int(written(Resources(blockIO=BlockIO(weight=weight)), v2=True)["io.weight"])
    assert 1 <= value <= 10000
