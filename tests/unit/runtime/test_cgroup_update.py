"""What a container's limits are once others were asked for."""

from __future__ import annotations

from cloche.runtime.cgroups.update import merged
from cloche.spec.resources import CPU, BlockIO, Memory, Pids, Resources, ThrottleDevice

M = 1 << 20


def plain(resources: Resources) -> object:
    return resources.to_dict()


def test_what_is_not_spoken_of_stays() -> None:
    have = Resources(memory=Memory(limit=M, swap=2 * M), cpu=CPU(shares=512, cpus="0"), pids=Pids(limit=9))
    result = merged(have, Resources(cpu=CPU(quota=50_000), pids=Pids(limit=0)))
    assert plain(result) == {
        "memory": {"limit": M, "swap": 2 * M},
        "cpu": {"shares": 512, "cpus": "0", "quota": 50_000},
        "pids": {"limit": 0},
    }
    assert plain(have) == {
        "memory": {"limit": M, "swap": 2 * M},
        "cpu": {"shares": 512, "cpus": "0"},
        "pids": {"limit": 9},
    }, "and what there was is not touched"


def test_zeros_of_an_engine_that_fills_in_every_member_change_nothing() -> None:
    have = Resources(memory=Memory(limit=M, swappiness=60), cpu=CPU(shares=512, burst=5, idle=1))
    asked = Resources(memory=Memory(limit=0, swap=0, swappiness=0), cpu=CPU(shares=0, burst=0, idle=0))
    assert plain(merged(have, asked)) == {
        "memory": {"limit": M, "swappiness": 0},
        "cpu": {"shares": 512, "burst": 0, "idle": 0},
    }


def test_memory_without_a_limit_has_no_limit_with_swap() -> None:
    have = Resources(memory=Memory(limit=M, swap=2 * M))
    assert plain(merged(have, Resources(memory=Memory(limit=-1)))) == {"memory": {"limit": -1, "swap": -1}}
    asked = Resources(memory=Memory(limit=4 * M, swap=8 * M))
    assert plain(merged(have, asked)) == {"memory": {"limit": 4 * M, "swap": 8 * M}}


def test_lists_are_replaced_and_names_added() -> None:
    one, other = ThrottleDevice(major=8, minor=0, rate=1), ThrottleDevice(major=8, minor=16, rate=2)
    have = Resources(blockIO=BlockIO(throttleReadBpsDevice=[one]), unified={"memory.high": "1"})
    asked = Resources(blockIO=BlockIO(throttleReadBpsDevice=[other]), unified={"pids.max": "2"})
    assert plain(merged(have, asked)) == {
        "blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 16, "rate": 2}]},
        "unified": {"memory.high": "1", "pids.max": "2"},
    }


def test_nothing_there_before() -> None:
    assert plain(merged(None, Resources(pids=Pids(limit=3)))) == {"pids": {"limit": 3}}
