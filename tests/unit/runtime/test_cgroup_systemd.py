"""What systemd is told of a container: names, places, properties, and which steps are left to us."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cloche.errors import SpecError
from cloche.runtime.cgroups.containers import plan_cgroups
from cloche.runtime.cgroups.systemd import (
    INFINITY,
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
USERS = Scope("docker-it.scope", "user.slice", "/user.slice/docker-it.scope", True)


def told(resources: Resources, *, v2: bool = True, version: int = 252) -> dict[str, Any]:
    """Properties by name, without the types that go over the bus."""
    return {name: value for name, (_, value) in limits_of_unit(resources, v2=v2, version=version)}


def annotated(**annotations: str) -> list[tuple[str, tuple[str, Any]]]:
    """What comes of org.systemd.property.NAME=TEXT."""
    given = {f"org.systemd.property.{name}": text for name, text in annotations.items()}
    plain = properties_of(None, SCOPE, "it", {}, v2=True)
    return [item for item in properties_of(None, SCOPE, "it", given, v2=True) if item not in plain]


def rule(allow: bool, kind: str, major: int, minor: int, access: str) -> DeviceRule:
    return DeviceRule(allow=allow, type=kind, major=major, minor=minor, access=access)  # type: ignore[arg-type]


class TestNames:
    """linux.cgroupsPath as runc reads it (docs/systemd.md)."""

    @pytest.mark.parametrize(
        ("path", "unit", "group"),
        [
            ("system.slice:docker:4af", "docker-4af.scope", "/system.slice/docker-4af.scope"),
            ("a-b-c.slice:cri:x", "cri-x.scope", "/a.slice/a-b.slice/a-b-c.slice/cri-x.scope"),
            ("machine.slice::libpod-1", "libpod-1.scope", "/machine.slice/libpod-1.scope"),
            (":docker:x", "docker-x.scope", "/system.slice/docker-x.scope"),
            ("-.slice:docker:x", "docker-x.scope", "/docker-x.scope"),
            ("", "cloche-mine.scope", "/system.slice/cloche-mine.scope"),
        ],
    )
    def test_what_a_path_names(self, path: str, unit: str, group: str) -> None:
        scope = scope_of(path, "mine", user=False)
        assert (scope.unit, scope.group) == (unit, group)

    def test_a_users_are_in_their_own_slice(self) -> None:
        assert scope_of("", "mine", user=True).group == "/user.slice/cloche-mine.scope"
        assert scope_of(":x:y", "mine", user=True).slice == "user.slice"

    @pytest.mark.parametrize(
        "path",
        ["/a/b", "a/b", "one", "a:b", "a:b:c:d", "a.slice:b:", "a.slice:../b:c", "system:b:c", "a.slice:b:" + 250 * "c"],
    )
    def test_what_is_no_place_is_told_with_its_pointer(self, path: str) -> None:
        with pytest.raises(SpecError) as raised:
            scope_of(path, "mine", user=False)
        assert raised.value.pointer == "/linux/cgroupsPath"

    @pytest.mark.parametrize("name", ["", ".slice", "a--b.slice", "-a.slice", "a-.slice", "a", "a/b.slice"])
    def test_what_is_no_slice(self, name: str) -> None:
        with pytest.raises(SpecError):
            expand(name)


class TestLimits:
    """systemd.resource-control(5)."""

    def test_all_of_v2(self) -> None:
        resources = Resources(
            memory=Memory(limit=64 * M, reservation=16 * M, swap=96 * M),
            cpu=CPU(shares=1024, quota=25_000, period=50_000, cpus="0-1,9", mems="0"),
            pids=Pids(limit=20),
            blockIO=BlockIO(weight=1000),
        )
        assert told(resources) == {
            "MemoryMax": 64 * M,
            "MemoryLow": 16 * M,
            "MemorySwapMax": 32 * M,
            "CPUWeight": 100,
            "CPUQuotaPeriodUSec": 50_000,
            "CPUQuotaPerSecUSec": 500_000,
            "AllowedCPUs": b"\x03\x02",
            "AllowedMemoryNodes": b"\x01",
            "TasksMax": 20,
            "IOWeight": 10_000,
        }

    def test_all_of_v1(self) -> None:
        resources = Resources(
            memory=Memory(limit=64 * M, reservation=16 * M, swap=96 * M),
            cpu=CPU(shares=512, quota=25_000, cpus="0"),
            pids=Pids(limit=20),
            blockIO=BlockIO(weight=300),
            unified={"memory.high": "5"},
        )
        assert told(resources, v2=False) == {
            "MemoryLimit": 64 * M,
            "CPUShares": 512,
            "CPUQuotaPerSecUSec": 250_000,
            "TasksMax": 20,
            "BlockIOWeight": 300,
        }

    def test_what_is_not_set_is_not_told(self) -> None:
        assert told(Resources()) == {}
        zeros = Resources(memory=Memory(limit=0, reservation=0, swap=0), cpu=CPU(shares=0, quota=0, period=0))
        assert told(zeros) == {}

    def test_no_limit_is_infinity(self) -> None:
        resources = Resources(memory=Memory(limit=-1, swap=-1), cpu=CPU(quota=-1), pids=Pids(limit=-1))
        names = ["MemoryMax", "MemorySwapMax", "CPUQuotaPerSecUSec", "TasksMax"]
        assert told(resources) == dict.fromkeys(names, INFINITY)

    def test_swap_is_told_beside_a_limit_on_memory_only(self) -> None:
        # what of it is swap is known by the difference alone
        assert told(Resources(memory=Memory(swap=M))) == {}

    def test_no_task_more_is_one_for_systemd_which_knows_no_zero(self) -> None:
        assert told(Resources(pids=Pids(limit=0))) == {"TasksMax": 1}
        assert told(Resources(unified={"pids.max": "0"})) == {"TasksMax": 1}

    @pytest.mark.parametrize(
        ("quota", "period", "expected"),
        [(50_000, 100_000, 500_000), (1000, 100_000, 10_000), (33_333, 100_000, 340_000), (200_000, 50_000, 4_000_000)],
    )
    def test_a_quota_is_rounded_up_to_what_systemd_counts_in(self, quota: int, period: int, expected: int) -> None:
        assert told(Resources(cpu=CPU(quota=quota, period=period)))["CPUQuotaPerSecUSec"] == expected

    def test_idle_is_a_weight_for_a_systemd_that_knows_it(self) -> None:
        idle = Resources(cpu=CPU(idle=1, shares=1024))
        assert told(idle) == {"CPUWeight": 0}
        assert told(idle, version=251) == {}
        assert told(idle, v2=False) == {}
        assert told(Resources(cpu=CPU(idle=0, shares=1024))) == {"CPUWeight": 100}

    def test_files_of_v2_that_systemd_knows(self) -> None:
        unified = {
            "memory.min": "1",
            "memory.low": "2",
            "memory.high": "3",
            "memory.max": "max",
            "memory.swap.max": "5",
            "pids.max": "max",
            "cpu.weight": "77",
            "cpu.max": "20000 40000",
            "cpuset.cpus": "0,2",
            "cpuset.mems": "0",
        }
        assert told(Resources(unified=unified)) == {
            "MemoryMin": 1,
            "MemoryLow": 2,
            "MemoryHigh": 3,
            "MemoryMax": INFINITY,
            "MemorySwapMax": 5,
            "TasksMax": INFINITY,
            "CPUWeight": 77,
            "CPUQuotaPeriodUSec": 40_000,
            "CPUQuotaPerSecUSec": 500_000,
            "AllowedCPUs": b"\x05",
            "AllowedMemoryNodes": b"\x01",
        }

    def test_files_that_it_does_not_know_are_for_the_kernel_to_judge(self) -> None:
        unknown = {"memory.oom.group": "1", "io.max": "8:0 rbps=1", "memory.max": "lots", "cpu.max": "x"}
        assert told(Resources(unified=unknown)) == {}

    @pytest.mark.parametrize(
        ("text", "expected"),
        [("0", b"\x01"), ("0-2,5", b"\x27"), ("8", b"\x00\x01"), (" 1 , 3 ", b"\x0a"), ("0-7", b"\xff")],
    )
    def test_lists_of_processors_are_bits(self, text: str, expected: bytes) -> None:
        assert bits(text) == expected

    @pytest.mark.parametrize("text", ["", "a", "1-", "-1", "3-1", "1,,2", "9999999"])
    def test_what_is_no_list(self, text: str) -> None:
        with pytest.raises(SpecError):
            bits(text)


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
        names = {name for name, _ in properties_of(None, USERS, "it", {}, v2=True)}
        assert not {"DevicePolicy", "DeviceAllow"} & names
        assert {"DevicePolicy", "DeviceAllow"} <= {name for name, _ in properties_of(None, SCOPE, "it", {}, v2=True)}


class TestAnnotations:
    """org.systemd.property.*: values in GVariant's text format, as runc takes them (docs/systemd.md)."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("'text'", ("s", "text")),
            ('"te,xt"', ("s", "te,xt")),
            ("true", ("b", True)),
            ("false", ("b", False)),
            ("5", ("i", 5)),
            ("-5", ("i", -5)),
            ("uint64 123456789", ("t", 123456789)),
            ("int16 -3", ("n", -3)),
            ("1.5", ("d", 1.5)),
            ("['a.service', 'b,c.service']", ("as", ["a.service", "b,c.service"])),
            ("[uint32 1, uint32 2]", ("au", [1, 2])),
            ("[]", ("as", [])),
        ],
    )
    def test_values(self, text: str, expected: tuple[str, Any]) -> None:
        assert annotated(Some=text) == [("Some", expected)]

    def test_a_time_in_seconds_is_told_in_microseconds(self) -> None:
        assert annotated(TimeoutStopSec="5") == [("TimeoutStopUSec", ("t", 5_000_000))]
        assert annotated(TimeoutStopSec="uint64 2") == [("TimeoutStopUSec", ("t", 2_000_000))]
        assert annotated(TimeoutStopUSec="uint64 7") == [("TimeoutStopUSec", ("t", 7))]
        assert annotated(TimeoutStopSec="'5'") == [("TimeoutStopSec", ("s", "5"))]

    @pytest.mark.parametrize("text", ["text", "", "'a' 'b'", "['a' 'b']", "['a', 5]", "['a'", "words 5", "uint64 x", "'"])
    def test_what_cannot_be_read_is_told_with_its_pointer(self, text: str) -> None:
        with pytest.raises(SpecError) as raised:
            annotated(Some=text)
        assert raised.value.pointer == "/annotations/org.systemd.property.Some"

    def test_other_annotations_are_not_for_systemd(self) -> None:
        other = properties_of(None, SCOPE, "it", {"org.example": "'x'"}, v2=True)
        assert other == properties_of(None, SCOPE, "it", {}, v2=True)

    def test_an_annotation_counts_more_than_what_we_say(self) -> None:
        given = {"org.systemd.property.Description": "'mine'"}
        values = [value for name, value in properties_of(None, SCOPE, "it", given, v2=True) if name == "Description"]
        assert values[-1] == ("s", "mine")


def test_a_scope_is_delegated_and_leaves_nothing_behind() -> None:
    found = dict(properties_of(None, SCOPE, "it", {}, v2=True))
    assert found["Slice"] == ("s", "system.slice")
    assert found["Delegate"] == ("b", True)
    assert found["CollectMode"] == ("s", "inactive-or-failed")


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
