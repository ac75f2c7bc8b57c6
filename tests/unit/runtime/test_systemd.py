"""cloche.runtime.cgroups.systemd: names of scopes, what systemd is told, and which steps are left to us."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.errors import SpecError
from cloche.runtime.cgroups.containers import plan_cgroups
from cloche.runtime.cgroups.systemd import (
    Scope,
    bits,
    devices_of_unit,
    expand,
    in_scope,
    limits_of_unit,
    properties_of,
    scope_of,
)
from cloche.runtime.host import Groups
from cloche.spec.resources import CPU, BlockIO, DeviceRule, Memory, Pids, Resources
from cloche.stage.operations.groups import GiveGroup, LimitDevices, MakeGroup, WriteLimits
from cloche.stage.operations.scopes import StartScope

if TYPE_CHECKING:
    from pathlib import Path

M = 1 << 20
SCOPE = Scope("docker-it.scope", "system.slice", "/system.slice/docker-it.scope", False)
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
    assert told() == told(memory=Memory(), cpu=CPU(), pids=Pids()) == {}


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


@pytest.mark.parametrize("text", ["a", "1-", "-1", "3-1", "1,,2", "99999999999", "1;2", "9" * 5000, "0-" + "9" * 5000])
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
        ("After", "['a.service', 'b,c.service']", ("After", ("as", ["a.service", "b,c.service"]))),
        ("Some", "[uint32 1, uint32 2]", ("Some", ("au", [1, 2]))),
        ("After", "[]", ("After", ("as", []))),
    ],
)
def test_properties_as_annotations(name: str, text: str, expected: object) -> None:
    scope = scope_of("", "me", user=False)
    found = properties_of(None, scope, "me", {f"org.systemd.property.{name}": text, "other": "x"}, v2=True)
    assert found[-1] == expected
    assert "other" not in dict(found)


@pytest.mark.parametrize(
    "text", ["", "words", "'open", "uint64", "uint64 x", "[1, 2", "'a' 'b'", "['a' 'b']", "['a', 5]", "'", "9" * 5000]
)
def test_annotations_that_cannot_be_read(text: str) -> None:
    with pytest.raises(SpecError) as refused:
        properties_of(None, scope_of("", "me", user=False), "me", {"org.systemd.property.A": text}, v2=True)
    assert refused.value.pointer == "/annotations/org.systemd.property.A"


def test_no_task_more_is_one_for_systemd_which_knows_no_zero() -> None:
    assert told(pids=Pids(limit=0)) == told(unified={"pids.max": "0"}) == {"TasksMax": 1}


def test_a_number_that_the_kernel_cannot_have_is_not_told() -> None:
    assert told(unified={"pids.max": "9" * 5000, "cpu.max": "9" * 5000}) == {}


def test_disk_weights() -> None:
    asked = Resources(blockIO=BlockIO(weight=1000))
    assert dict(limits_of_unit(asked, v2=True)) == {"IOWeight": ("t", 10_000)}
    assert dict(limits_of_unit(asked, v2=False)) == {"BlockIOWeight": ("t", 1000)}


def test_idle_is_a_weight_for_a_systemd_that_knows_it() -> None:
    idle = Resources(cpu=CPU(idle=1, shares=1024))
    assert dict(limits_of_unit(idle, v2=True)) == {"CPUWeight": ("t", 0)}
    assert limits_of_unit(idle, v2=True, version=251) == limits_of_unit(idle, v2=False) == []


def rule(allow: bool, kind: str, major: int, minor: int, access: str) -> DeviceRule:
    return DeviceRule(allow=allow, type=kind, major=major, minor=minor, access=access)  # type: ignore[arg-type]


class TestDevices:
    """DevicePolicy= and DeviceAllow=: never narrower than our own rules on v2, never wider on v1."""

    def test_nothing_asked_is_what_every_container_may(self) -> None:
        policy, emptied, (name, (kind, allowed)) = devices_of_unit(None, v2=True)
        assert policy == ("DevicePolicy", ("s", "strict"))
        assert emptied == ("DeviceAllow", ("a(ss)", []))
        assert (name, kind) == ("DeviceAllow", "a(ss)")
        assert ("/dev/char/1:3", "rwm") in allowed
        assert ("char-136", "rwm") in allowed
        assert ("char-*", "m") in allowed
        assert ("block-*", "m") in allowed
        assert not [node for node, access in allowed if node.startswith("block") and access != "m"]

    def test_a_device_that_is_allowed(self) -> None:
        rules = [DeviceRule(allow=False, access="rwm"), rule(True, "b", 8, 0, "r"), rule(True, "c", 10, -1, "rw")]
        *_, (_, (_, allowed)) = devices_of_unit(Resources(devices=rules), v2=True)
        assert ("/dev/block/8:0", "r") in allowed
        assert ("char-10", "rw") in allowed

    @pytest.mark.parametrize("v2", [True, False])
    def test_everything_allowed_is_no_policy(self, v2: bool) -> None:
        found = devices_of_unit(Resources(devices=[DeviceRule(allow=True)]), v2=v2)
        assert found == [("DevicePolicy", ("s", "auto")), ("DeviceAllow", ("a(ss)", []))]

    @pytest.mark.parametrize(
        "rules",
        [[DeviceRule(allow=True), rule(False, "c", 1, 11, "rwm")], [rule(True, "c", -1, 7, "rw")]],
    )
    def test_what_systemd_cannot_say(self, rules: list[DeviceRule]) -> None:
        resources = Resources(devices=rules)
        assert devices_of_unit(resources, v2=True)[0] == ("DevicePolicy", ("s", "auto")), "our program decides alone"
        policy, *_, (_, (_, allowed)) = devices_of_unit(resources, v2=False)
        assert policy == ("DevicePolicy", ("s", "strict")), "or a reload of systemd would allow everything"
        assert all(node for node, _ in allowed)

    def test_a_users_systemd_has_no_say(self) -> None:
        names = {name for name, _ in properties_of(None, scope_of("", "it", user=True), "it", {}, v2=True)}
        assert not {"DevicePolicy", "DeviceAllow"} & names
        assert {"DevicePolicy", "DeviceAllow"} <= {name for name, _ in properties_of(None, SCOPE, "it", {}, v2=True)}


class TestSteps:
    """What systemd makes, and what we do before and after that."""

    def plan(self, groups: Groups, systemds: set[str]) -> Any:
        whole = plan_cgroups(
            Resources(memory=Memory(limit=M), cpu=CPU(cpus="0")),
            groups,
            SCOPE.group,
            name="",
            rootless=False,
            owner=7,
        )
        return in_scope(whole, SCOPE, [], systemds)

    def test_on_v2_systemd_makes_the_group_and_we_write_into_it(self, tmp_path: Path) -> None:
        (tmp_path / "cgroup.controllers").write_text("memory cpu cpuset pids\n")
        place = f"{tmp_path}{SCOPE.group}"
        groups = Groups("v2", {}, {}, str(tmp_path), str(tmp_path))
        plan = self.plan(groups, {place})
        assert plan.create == ()
        assert isinstance(plan.adopt[0], StartScope)
        assert {type(step) for step in plan.adopt[1:]} == {WriteLimits, GiveGroup, LimitDevices}
        assert (plan.born_in, plan.join, plan.paths) == ("", (), {"": place})
        assert plan.directories == (place,)

    def test_on_v1_all_is_written_after_systemd_made_its_own(self, tmp_path: Path) -> None:
        # systemd writes "a" into devices.allow of a scope that it makes: our rules have to come after that
        names = ("memory", "cpu", "cpuset", "devices", "name=systemd")
        mounts = {name: f"{tmp_path}/{name}" for name in names}
        plan = self.plan(Groups("v1", mounts, mounts, "", ""), {f"{mounts['name=systemd']}{SCOPE.group}"})
        assert {type(step) for step in plan.create} == {MakeGroup}
        assert sorted(step.path for step in plan.create) == [
            f"{tmp_path}/{name}{SCOPE.group}" for name in ("cpu", "cpuset", "devices", "memory")
        ]
        assert isinstance(plan.adopt[0], StartScope)
        written = {step.path for step in plan.adopt[1:]}
        assert {f"{tmp_path}/{name}{SCOPE.group}" for name in ("memory", "cpuset", "devices")} <= written
        assert sorted(plan.join) == sorted(step.path for step in plan.create)
