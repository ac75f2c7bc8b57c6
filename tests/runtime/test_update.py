"""`update`: other limits for a container that is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.runtime.conftest import SLEEP, cgroups

if TYPE_CHECKING:
    from tests.runtime.conftest import MakeBundle, Runtime

MEBIBYTE = 1 << 20
# flag, its value, controller, file of v1 and what it has then, file of v2 and what it has then
CASES = [
    ("--memory", str(64 * MEBIBYTE), "memory", "memory.limit_in_bytes", "67108864", "memory.max", "67108864"),
    ("--memory-reservation", "33554432", "memory", "memory.soft_limit_in_bytes", "33554432", "memory.low", "33554432"),
    ("--cpu-share", "512", "cpu", "cpu.shares", "512", "cpu.weight", "20"),
    ("--cpu-quota", "50000", "cpu", "cpu.cfs_quota_us", "50000", "cpu.max", "50000 100000"),
    ("--cpuset-cpus", "0", "cpuset", "cpuset.cpus", "0", "cpuset.cpus", "0"),
    ("--cpuset-mems", "0", "cpuset", "cpuset.mems", "0", "cpuset.mems", "0"),
    ("--pids-limit", "17", "pids", "pids.max", "17", "pids.max", "17"),
]


def limited(runtime: Runtime, bundle: MakeBundle) -> str:
    made = bundle(*SLEEP)
    made.linux["resources"] |= {
        "memory": {"limit": 128 * MEBIBYTE, "reservation": 100 * MEBIBYTE},
        "cpu": {"shares": 100, "quota": 20000, "period": 100000, "cpus": "0", "mems": "0"},
        "pids": {"limit": 20},
    }
    return runtime.running(made)


def value(runtime: Runtime, id: str, controller: str, one: str, two: str) -> tuple[bool, str]:
    """(whether it is v1, what the file has)."""
    groups = cgroups(runtime.pid(id))
    if controller in groups:
        return True, (groups[controller] / one).read_text().strip()
    return False, (groups[""] / two).read_text().strip()


@pytest.mark.parametrize(("flag", "word", "controller", "one", "had1", "two", "had2"), CASES)
def test_by_an_option(
    runtime: Runtime,
    bundle: MakeBundle,
    flag: str,
    word: str,
    controller: str,
    one: str,
    had1: str,
    two: str,
    had2: str,
) -> None:
    id = limited(runtime, bundle)
    runtime.ok("update", flag, word, id)
    is_v1, text = value(runtime, id, controller, one, two)
    assert text == (had1 if is_v1 else had2)


def test_the_others_stay(runtime: Runtime, bundle: MakeBundle) -> None:
    id = limited(runtime, bundle)
    before = [value(runtime, id, c[2], c[3], c[5]) for c in CASES if c[0] != "--pids-limit"]
    runtime.ok("update", "--pids-limit", "19", id)
    assert [value(runtime, id, c[2], c[3], c[5]) for c in CASES if c[0] != "--pids-limit"] == before


RESOURCES = {"memory": {"limit": 50331648}, "cpu": {"shares": 256}, "pids": {"limit": 18}}


@pytest.mark.parametrize("way", ["--resources", "-r", "stdin"])
def test_by_a_document(runtime: Runtime, bundle: MakeBundle, way: str) -> None:
    if way == "stdin":
        runtime.not_like("crun", because="reads it by that name as a file of its own")
    id = limited(runtime, bundle)
    path = runtime.top / "resources.json"
    path.write_text(json.dumps(RESOURCES))
    if way == "stdin":
        runtime.ok("update", "-r", "-", id, input=json.dumps(RESOURCES))
    else:
        runtime.ok("update", way, str(path), id)
    assert value(runtime, id, "memory", "memory.limit_in_bytes", "memory.max")[1] == "50331648"
    assert value(runtime, id, "cpu", "cpu.shares", "cpu.weight")[1] in ("256", "10")
    assert value(runtime, id, "pids", "pids.max", "pids.max")[1] == "18"


def test_without_limit_again(runtime: Runtime, bundle: MakeBundle) -> None:
    id = limited(runtime, bundle)
    runtime.not_like("crun", because="takes no negative numbers")
    runtime.ok("update", "--cpu-quota", "-1", id)
    assert value(runtime, id, "cpu", "cpu.cfs_quota_us", "cpu.max")[1] in ("-1", "max 100000")
    runtime.ok("update", "--pids-limit", "-1", id)
    assert value(runtime, id, "pids", "pids.max", "pids.max")[1] == "max"


def test_the_period_with_the_quota(runtime: Runtime, bundle: MakeBundle) -> None:
    id = limited(runtime, bundle)
    runtime.ok("update", "--cpu-period", "50000", "--cpu-quota", "40000", id)
    assert value(runtime, id, "cpu", "cpu.cfs_quota_us", "cpu.max")[1] in ("40000", "40000 50000")
    is_v1, text = value(runtime, id, "cpu", "cpu.cfs_period_us", "cpu.max")
    assert text == ("50000" if is_v1 else "40000 50000")


def test_a_created_container(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle(*SLEEP)
    made.linux["resources"]["pids"] = {"limit": 20}
    id = runtime.create(made)
    runtime.ok("update", "--pids-limit", "21", id)
    assert value(runtime, id, "pids", "pids.max", "pids.max")[1] == "21"


def test_a_value_that_cannot_be_is_an_error_and_changes_nothing(runtime: Runtime, bundle: MakeBundle) -> None:
    id = limited(runtime, bundle)
    done = runtime("update", "--cpuset-cpus", "4000", id)
    assert done.returncode != 0
    assert done.stderr
    assert value(runtime, id, "cpuset", "cpuset.cpus", "cpuset.cpus")[1] == "0"
    if runtime.name == "cloche-runtime":
        assert "cpuset.cpus" in done.stderr
        assert "the kernel does not take this value here" in done.stderr


@pytest.mark.parametrize(
    ("word", "bytes"), [("64m", 64 << 20), ("64MiB", 64 << 20), ("65536kb", 64 << 20), ("0.0625g", 64 << 20)]
)
def test_bytes_with_a_unit(runtime: Runtime, bundle: MakeBundle, word: str, bytes: int) -> None:
    # as docker writes them (go-units, RAMInBytes)
    runtime.not_like("crun", because="knows no units")
    id = limited(runtime, bundle)
    runtime.ok("update", "--memory", word, id)
    assert value(runtime, id, "memory", "memory.limit_in_bytes", "memory.max")[1] == str(bytes)


def test_a_word_that_is_no_number(runtime: Runtime, bundle: MakeBundle) -> None:
    id = limited(runtime, bundle)
    done = runtime("update", "--memory", "much", id)
    assert done.returncode != 0
    assert done.stderr


@pytest.mark.parametrize(
    "words", [("--memory", "1.g"), ("--memory", ".5g"), ("--memory", "1.2.3g"), ("--pids-limit", "1.5")]
)
def test_a_fraction_that_cannot_be(runtime: Runtime, bundle: MakeBundle, words: tuple[str, str]) -> None:
    runtime.not_like("runc", "crun", because="takes some of them")
    done = runtime("update", *words, limited(runtime, bundle))
    assert done.returncode == 1
    assert "a number is needed" in done.stderr


def test_a_stopped_container(runtime: Runtime, bundle: MakeBundle) -> None:
    runtime.not_like("crun", because="1.8 does not look")
    id = runtime.running(bundle("true"))
    runtime.wait(id)
    done = runtime("update", "--pids-limit", "10", id)
    assert done.returncode != 0
    assert done.stderr


def test_nobody(runtime: Runtime) -> None:
    done = runtime("update", "--pids-limit", "10", "nobody")
    assert done.returncode != 0
    assert done.stderr


EVERY = [
    ("--blkio-weight", "100"),
    ("--cpu-period", "100000"),
    ("--cpu-quota", "50000"),
    ("--cpu-burst", "0"),
    ("--cpu-share", "512"),
    ("--cpu-idle", "0"),
    ("--cpuset-cpus", "0"),
    ("--cpuset-mems", "0"),
    ("--kernel-memory", "0"),
    ("--kernel-memory-tcp", "67108864"),
    ("--memory", "67108864"),
    ("--memory-reservation", "33554432"),
    ("--memory-swap", "67108864"),
    ("--pids-limit", "17"),
]


@pytest.mark.parametrize("order", ["before", "after", "equals", "around"])
def test_options_before_and_after_the_id(runtime: Runtime, bundle: MakeBundle, order: str) -> None:
    runtime.not_like("runc", "crun", because="takes none after the id, or not every one")
    id = limited(runtime, bundle)
    words = {
        "before": [*(w for pair in EVERY for w in pair), id],
        "after": [id, *(w for pair in EVERY for w in pair)],
        "equals": [id, *(f"{name}={value}" for name, value in EVERY)],
        "around": [*EVERY[0], id, *(w for pair in EVERY[1:] for w in pair)],
    }[order]
    done = runtime("update", *words)
    assert done.returncode == 0, done.stderr
    for flag, word, controller, one, had1, two, had2 in CASES:
        if (flag, word) in EVERY:
            is_v1, text = value(runtime, id, controller, one, two)
            assert text == (had1 if is_v1 else had2), flag


@pytest.mark.parametrize("flag", ["--l3-cache-schema", "--mem-bw-schema"])
def test_a_share_of_caches_without_resctrl(runtime: Runtime, bundle: MakeBundle, flag: str) -> None:
    if "resctrl" in Path("/proc/self/mounts").read_text():
        pytest.skip("needs a machine without resctrl")
    id = limited(runtime, bundle)
    done = runtime("update", "--pids-limit", "19", flag, "L3:0=f" if "l3" in flag else "MB:0=20", id)
    assert done.returncode != 0
    if runtime.name == "cloche-runtime":
        assert "/linux/intelRdt" in done.stderr
        assert value(runtime, id, "pids", "pids.max", "pids.max")[1] == "20"  # nothing is changed


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"pids": 1}', '{"pids": {"limit": "x"}}', '{"cpu": {"cpus": "x"}}', "[" * 5000]
)
def test_a_document_that_is_wrong(runtime: Runtime, bundle: MakeBundle, text: str) -> None:
    runtime.not_like("runc", "crun", because="takes some of them")
    id = limited(runtime, bundle)
    done = runtime("update", "-r", "-", id, input=text)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "--resources" in done.stderr
    assert value(runtime, id, "pids", "pids.max", "pids.max")[1] == "20"


def test_what_was_updated_counts_for_the_next_update(runtime: Runtime, bundle: MakeBundle) -> None:
    id = limited(runtime, bundle)
    runtime.ok("update", "--memory", str(64 * MEBIBYTE), id)
    runtime.ok("update", "--pids-limit", "21", id)
    assert value(runtime, id, "memory", "memory.limit_in_bytes", "memory.max")[1] == str(64 * MEBIBYTE)


def test_what_is_in_force_afterwards_is_written_down(runtime: Runtime, bundle: MakeBundle) -> None:
    runtime.not_like("runc", "crun", because="keeps no receipt")
    made = bundle(*SLEEP)
    made.linux["resources"] |= {"pids": {"limit": 20}}
    id = runtime.running(made)
    file = runtime.root / id / "receipt.json"
    before = json.loads(file.read_text())
    assert "memory" not in before
    runtime.ok("update", "--memory", str(64 * MEBIBYTE), "--pids-limit", "17", id)
    after = json.loads(file.read_text())
    assert (after["memory"]["enforced"], after["pids"]["enforced"]) == (True, True)
    assert "64" in after["memory"]["detail"]
    assert "17" in after["pids"]["detail"]
    assert {name: layer for name, layer in after.items() if name not in {"memory", "pids"}} == {
        name: layer for name, layer in before.items() if name != "pids"
    }
    runtime.ok("update", "--pids-limit", "-1", id)
    assert json.loads(file.read_text())["pids"]["enforced"] is False
