"""Counters read from files as the kernel writes them, in the shape runc shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloche.runtime.cgroups.stats import stats

if TYPE_CHECKING:
    from pathlib import Path

PRESSURE = "some avg10=1.50 avg60=0.20 avg300=0.00 total=1234\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=9\n"


def test_a_group_of_v2(tmp_path: Path) -> None:
    files = {
        "cpu.stat": "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 4\nnr_throttled 2\nthrottled_usec 7\n",
        "cpu.pressure": PRESSURE,
        "memory.stat": "anon 100\nfile 50\n",
        "memory.current": "200\n",
        "memory.max": "1000\n",
        "memory.peak": "300\n",
        "memory.swap.current": "20\n",
        "memory.swap.max": "500\n",
        "pids.current": "3\n",
        "pids.max": "max\n",
        "io.stat": "8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert stats({"": str(tmp_path)}) == {
        "cpu": {
            "usage": {"total": 30_000, "kernel": 10_000, "user": 20_000},
            "throttling": {"periods": 4, "throttledPeriods": 2, "throttledTime": 7000},
            "psi": {
                "some": {"avg10": 1.5, "avg60": 0.2, "avg300": 0.0, "total": 1234},
                "full": {"avg10": 0.0, "avg60": 0.0, "avg300": 0.0, "total": 9},
            },
        },
        "cpuset": dict.fromkeys(
            "cpu_exclusive mem_hardwall mem_exclusive memory_migrate memory_spread_page memory_spread_slab"
            " memory_pressure sched_load_balance sched_relax_domain_level".split(),
            0,
        ),
        "memory": {
            "cache": 50,
            "usage": {"limit": 1000, "usage": 200, "max": 300, "failcnt": 0},
            "swap": {"limit": 1500, "usage": 220, "failcnt": 0},
            "kernel": {"limit": 0, "failcnt": 0},
            "kernelTCP": {"limit": 0, "failcnt": 0},
            "raw": {"anon": 100, "file": 50},
        },
        "pids": {"current": 3},
        "blkio": {
            "ioServiceBytesRecursive": [
                {"major": 8, "op": "Read", "value": 4096},
                {"major": 8, "op": "Write"},
            ],
            "ioServicedRecursive": [{"major": 8, "op": "Read", "value": 1}, {"major": 8, "op": "Write"}],
        },
        "hugetlb": {},
        "intel_rdt": {},
        "network_interfaces": None,
    }


def test_disks_on_v1_are_counted_by_the_scheduler_in_use(tmp_path: Path) -> None:
    (tmp_path / "blkio.bfq.io_service_bytes_recursive").write_text("Total 0\n")
    (tmp_path / "blkio.throttle.io_service_bytes_recursive").write_text("8:16 Read 10\n8:16 Total 10\nTotal 10\n")
    (tmp_path / "blkio.throttle.io_serviced_recursive").write_text("8:16 Read 1\n8:16 Total 1\nTotal 1\n")
    found = stats({"blkio": str(tmp_path)})["blkio"]
    assert found["ioServiceBytesRecursive"] == [
        {"major": 8, "minor": 16, "op": "Read", "value": 10},
        {"major": 8, "minor": 16, "op": "Total", "value": 10},
    ]
    assert [entry["value"] for entry in found["ioServicedRecursive"]] == [1, 1]


def test_processors_on_v1(tmp_path: Path) -> None:
    (tmp_path / "cpuset.cpus").write_text("0-2,7\n")
    (tmp_path / "cpuset.sched_relax_domain_level").write_text("-1\n")
    found = stats({"cpuset": str(tmp_path)})["cpuset"]
    assert found["cpus"] == [0, 1, 2, 7]
    assert found["sched_relax_domain_level"] == -1
    assert "mems" not in found


def test_no_groups_count_nothing() -> None:
    found = stats({})
    assert found["pids"] == {}
    assert found["memory"]["usage"] == {"limit": 0, "failcnt": 0}
