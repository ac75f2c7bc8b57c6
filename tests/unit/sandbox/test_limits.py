"""Limits from options: the resources section, which of them were asked for, and what makes no sense."""

from __future__ import annotations

import pytest

from cloche.errors import ClocheError
from cloche.sandbox.limits import resources
from cloche.sandbox.options import Options


def test_processes_are_limited_without_being_asked() -> None:
    found, asked = resources(Options())
    assert found.pids is not None
    assert (found.pids.limit, found.memory, found.cpu, found.blockIO, asked) == (2048, None, None, None, ())


@pytest.mark.parametrize(
    ("options", "path", "value", "name"),
    [
        ({"memory": "64m"}, ("memory", "limit"), 64 << 20, "memory"),
        ({"memory": "64m", "memory_swap": "-1"}, ("memory", "swap"), -1, "memory-swap"),
        ({"memory_reservation": "1m"}, ("memory", "reservation"), 1 << 20, "memory-reservation"),
        ({"cpus": 0.5}, ("cpu", "quota"), 50_000, "cpu"),
        ({"cpu_quota": 5000}, ("cpu", "period"), 100_000, "cpu"),
        ({"cpu_shares": "512"}, ("cpu", "shares"), 512, "cpu-shares"),
        ({"cpuset_cpus": "0"}, ("cpu", "cpus"), "0", "cpuset"),
        ({"cpuset_mems": "0"}, ("cpu", "mems"), "0", "cpuset-mems"),
        ({"pids_limit": 5}, ("pids", "limit"), 5, "pids"),
        ({"pids_limit": 0}, ("pids", "limit"), -1, "pids"),
        ({"blkio_weight": 10}, ("blockIO", "weight"), 10, "io-weight"),
    ],
)
def test_what_is_asked(options: dict[str, object], path: tuple[str, str], value: object, name: str) -> None:
    found, asked = resources(Options(**options))  # type: ignore[arg-type]
    assert getattr(getattr(found, path[0]), path[1]) == value
    assert name in asked


@pytest.mark.parametrize(
    "options",
    [
        {"memory": "1k"},
        {"memory": "-1"},
        {"memory": "many"},
        {"memory_swap": "1g"},
        {"memory": "64m", "memory_swap": "32m"},
        {"memory": "64m", "memory_reservation": "65m"},
        {"cpus": 0},
        {"cpus": "many"},
        {"cpus": 8000},
        {"cpu_quota": 10},
        {"cpu_period": 100000},
        {"cpu_shares": -1},
        {"cpuset_cpus": "3-1"},
        {"pids_limit": -2},
        {"pids_limit": "1.5"},
        {"blkio_weight": 9},
        {"io_weight": 0},
        {"device_read_bps": ("/dev/null:1m",)},
        {"device_read_bps": ("/dev/none:1m",)},
        {"device_read_bps": ("1m",)},
    ],
)
def test_what_makes_no_sense(options: dict[str, object]) -> None:
    with pytest.raises(ClocheError) as caught:
        resources(Options(**options))  # type: ignore[arg-type]
    assert caught.value.args[0].startswith("--")
