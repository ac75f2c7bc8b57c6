"""What two samples of a container say, and docker's words for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.engine import stats
from cloche.engine.stats import SECOND, Sample

amounts = st.integers(0, 2**63)


@pytest.mark.parametrize(
    ("before", "now", "percent"),
    [
        (None, Sample(when=SECOND, cpu=5), None),
        (Sample(when=0, cpu=0), Sample(when=SECOND, cpu=SECOND // 2), 50.0),
        (Sample(when=0, cpu=0), Sample(when=2 * SECOND, cpu=8 * SECOND), 400.0),
        (Sample(when=5, cpu=9), Sample(when=5, cpu=10), 0.0),
        (Sample(when=0, cpu=10), Sample(when=SECOND, cpu=0), 0.0),  # another container of that name
        (Sample(when=0, cpu=None), Sample(when=SECOND, cpu=0), None),
        (Sample(when=0, cpu=0), Sample(when=SECOND, cpu=None), None),
    ],
)
def test_the_use_of_the_processor(before: Sample | None, now: Sample, percent: float | None) -> None:
    assert stats.use(now, before) == percent


@given(amounts, amounts, amounts, amounts)
def test_it_is_never_less_than_nothing(then: int, when: int, had: int, has: int) -> None:
    found = stats.use(Sample(when=when, cpu=has), Sample(when=then, cpu=had))
    assert found is not None
    assert found >= 0


# by docker 28: go-units, BytesSize and HumanSizeWithPrecision(…, 3)
@pytest.mark.parametrize(
    ("count", "binary", "decimal"),
    [
        (0, "0B", "0B"),
        (999, "999B", "999B"),
        (1000, "1000B", "1kB"),
        (1024, "1KiB", "1.02kB"),
        (708608, "692KiB", "709kB"),
        (25276055552, "23.54GiB", "25.3GB"),
        (1 << 40, "1TiB", "1.1TB"),
    ],
)
def test_sizes_are_written_as_docker_has_them(count: int, binary: str, decimal: str) -> None:
    assert (stats.binary(count), stats.decimal(count)) == (binary, decimal)


def test_a_row_has_dockers_members() -> None:
    now = Sample(when=1, cpu=1, memory=1 << 20, limit=4 << 20, network=(656, 1000), disk=(0, 2048), pids=3)
    assert stats.shown("web", "0123", "we", now, 12.346) == {
        "BlockIO": "0B / 2.05kB",
        "CPUPerc": "12.35%",
        "Container": "we",
        "ID": "0123",
        "MemPerc": "25.00%",
        "MemUsage": "1MiB / 4MiB",
        "Name": "web",
        "NetIO": "656B / 1kB",
        "PIDs": "3",
    }


def test_what_is_not_known_is_said_so() -> None:
    nothing = Sample(when=1, cpu=None, memory=None, network=None, disk=None, pids=None)
    row = stats.shown("web", "0123", "web", nothing, None)
    assert {value for key, value in row.items() if key not in {"Name", "ID", "Container"}} == {"--", "-- / --"}
    assert stats.uncounted(nothing) == ["memory", "disk"]
    assert stats.shown("web", "0", "web", Sample(), 0.0)["MemUsage"] == "0B / 0B"


def test_groups_are_told_apart_by_their_files(tmp_path: Path) -> None:
    files = {
        "m": ["memory.usage_in_bytes"],
        "c": ["cpu.shares", "cpuacct.usage"],
        "u": ["cgroup.controllers", "memory.current", "pids.current"],
        "p": ["pids.current"],
        "s": ["cgroup.procs"],
    }
    for group, names in files.items():
        (tmp_path / group).mkdir()
        for name in names:
            (tmp_path / group / name).write_text("")
    groups = [str(tmp_path / group) for group in (*files, "gone")]
    found = {name: Path(path).name for name, path in stats.places(groups).items()}
    assert found == {"memory": "m", "cpu": "c", "cpuacct": "c", "": "u", "pids": "p"}
