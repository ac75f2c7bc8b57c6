"""cloche.runtime.cgroups.systemd: names of scopes, and what systemd is told of limits."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.errors import SpecError
from cloche.runtime.cgroups.systemd import bits, expand, limits_of_unit, properties_of, scope_of
from cloche.spec.resources import CPU, Memory, Pids, Resources

INFINITY = (1 << 64) - 1


@pytest.mark.parametrize(
    ("path", "unit", "group"),
    [
        ("", "cloche-me.scope", "/system.slice/cloche-me.scope"),
        ("system.slice:docker:4af", "docker-4af.scope", "/system.slice/docker-4af.scope"),
        (":libpod:4af", "libpod-4af.scope", "/system.slice/libpod-4af.scope"),
        ("a-b-c.slice:x:y", "x-y.scope", "/a.slice/a-b.slice/a-b-c.slice/x-y.scope"),
        ("-.slice:x:y", "x-y.scope", "/x-y.scope"),
        ("pods-p1.slice:cri:y", "cri-y.scope", "/pods.slice/pods-p1.slice/cri-y.scope"),
        ("system.slice::alone", "alone.scope", "/system.slice/alone.scope"),
    ],
)
def test_the_name_and_place_of_a_scope(path: str, unit: str, group: str) -> None:
    scope = scope_of(path, "me", user=False)
    assert (scope.unit, scope.group) == (unit, group)


def test_an_ordinary_users_scope_is_in_their_own_slice() -> None:
    assert scope_of("", "me", user=True).group == "/user.slice/cloche-me.scope"


@pytest.mark.parametrize(
    "path",
    ["/docker/4af", "docker", "a:b", "a.slice:b:c:d", "a:b:c", "a.slice/b.slice:c:d", "a--b.slice:c:d", "-a.slice:c:d",
     "a-.slice:c:d", ".slice:c:d", "a.slice:c:", f"a.slice:c:{'d' * 300}", "../a.slice:b:c"],
)  # fmt: skip
def test_what_is_no_place_is_refused_with_its_place_in_the_document(path: str) -> None:
    with pytest.raises(SpecError) as refused:
        scope_of(path, "me", user=False)
    assert refused.value.pointer == "/linux/cgroupsPath"


@given(st.lists(st.text(alphabet="abc019_", min_size=1, max_size=4), min_size=1, max_size=5))
def test_each_slice_is_in_the_one_it_is_named_after(parts: list[str]) -> None:
    steps = expand("-".join(parts) + ".slice").split("/")[1:]
    assert len(steps) == len(parts)
    assert all(below.startswith(above.removesuffix(".slice") + "-") for above, below in pairwise(steps))


def told(**sections: Any) -> dict[str, object]:
    return {name: value for name, (_, value) in limits_of_unit(Resources(**sections), v2=True)}


def test_limits_on_v2() -> None:
    assert told(
        memory=Memory(limit=64, reservation=16, swap=96), pids=Pids(limit=5),
        cpu=CPU(shares=1024, quota=25_000, period=50_000, cpus="0-2,9", mems="0"),
    ) == {
        "MemoryMax": 64, "MemoryLow": 16, "MemorySwapMax": 32, "TasksMax": 5, "CPUWeight": 100,
        "CPUQuotaPeriodUSec": 50_000, "CPUQuotaPerSecUSec": 500_000,
        "AllowedCPUs": b"\x07\x02", "AllowedMemoryNodes": b"\x01",
    }  # fmt: skip


def test_no_limit_is_infinity() -> None:
    asked = told(memory=Memory(limit=-1, swap=-1), pids=Pids(limit=-1), cpu=CPU(quota=-1))
    assert asked == dict.fromkeys(["MemoryMax", "MemorySwapMax", "TasksMax", "CPUQuotaPerSecUSec"], INFINITY)


def test_nothing_is_told_of_what_is_not_asked() -> None:
    assert told() == told(memory=Memory(), cpu=CPU(), pids=Pids(limit=0)) == {}


def test_a_quota_is_never_smaller_than_asked() -> None:
    assert told(cpu=CPU(quota=33_333))["CPUQuotaPerSecUSec"] == 340_000


def test_words_of_v2() -> None:
    files = {"memory.high": "77", "pids.max": "max", "cpu.max": "10000 20000", "cpuset.cpus": "1", "io.max": "8:0 x=1"}
    assert told(unified=files) == {
        "MemoryHigh": 77, "TasksMax": INFINITY, "CPUQuotaPeriodUSec": 20_000, "CPUQuotaPerSecUSec": 500_000,
        "AllowedCPUs": b"\x02",
    }  # fmt: skip


def test_v1_has_other_words() -> None:
    asked = Resources(memory=Memory(limit=64, reservation=8), cpu=CPU(shares=7))
    assert dict(limits_of_unit(asked, v2=False)) == {"MemoryLimit": ("t", 64), "CPUShares": ("t", 7)}


@given(st.sets(st.integers(0, 300), min_size=1))
def test_bits_are_the_numbers_of_a_list(numbers: set[int]) -> None:
    mask = int.from_bytes(bits(",".join(map(str, sorted(numbers)))), "little")
    assert {n for n in range(301) if mask >> n & 1} == numbers


@pytest.mark.parametrize("text", ["a", "1-", "-1", "3-1", "1,,2", "99999999999", "1;2"])
def test_lists_that_are_none(text: str) -> None:
    with pytest.raises(SpecError):
        bits(text)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("Description", "'two words'", ("Description", ("s", "two words"))),
        ("SendSIGHUP", "true", ("SendSIGHUP", ("b", True))),
        ("OOMScoreAdjust", "-5", ("OOMScoreAdjust", ("i", -5))),
        ("MemoryMin", "uint64 4096", ("MemoryMin", ("t", 4096))),
        ("TimeoutStopSec", "uint64 3", ("TimeoutStopUSec", ("t", 3_000_000))),
        ("TimeoutStopUSec", "uint64 3", ("TimeoutStopUSec", ("t", 3))),
        ("RuntimeMaxSec", "1.5", ("RuntimeMaxUSec", ("t", 1_500_000))),
    ],
)
def test_properties_as_annotations(name: str, text: str, expected: object) -> None:
    scope = scope_of("", "me", user=False)
    found = properties_of(None, scope, "me", {f"org.systemd.property.{name}": text, "other": "x"}, v2=True)
    assert found[-1] == expected
    assert "other" not in dict(found)


@pytest.mark.parametrize("text", ["", "words", "'open", "uint64", "uint64 x", "[1, 2]"])
def test_annotations_that_cannot_be_read(text: str) -> None:
    with pytest.raises(SpecError) as refused:
        properties_of(None, scope_of("", "me", user=False), "me", {"org.systemd.property.A": text}, v2=True)
    assert refused.value.pointer == "/annotations/org.systemd.property.A"
