"""Where a container's groups are, and what is asked of them, on machines that exist only on paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cloche.errors import ConflictError, ForbiddenError, UnsupportedError
from cloche.runtime.cgroups import containers
from cloche.runtime.cgroups.containers import find_places, plan_cgroups
from cloche.runtime.host import Groups
from cloche.runtime.receipt import Receipt
from cloche.spec.resources import CPU, DeviceRule, HugepageLimit, Memory, NetworkResources, Pids, Resources
from cloche.stage.operations.groups import GiveGroup, LimitDevices, MakeGroup, WriteLimits

if TYPE_CHECKING:
    from pathlib import Path

    from cloche.runtime.cgroups.plan import GroupPlan

V1 = ("memory", "pids", "cpu", "cpuacct", "cpuset", "devices", "freezer", "name=systemd")


def v1(top: Path) -> Groups:
    """cpu and cpuacct together, the named hierarchy in its usual place, our own group in a/b."""
    own, mounts = {}, {}
    for name in V1:
        place = top / {"cpu": "cpu,cpuacct", "cpuacct": "cpu,cpuacct", "name=systemd": "systemd"}.get(name, name)
        (place / "a/b").mkdir(parents=True, exist_ok=True)
        own[name], mounts[name] = str(place / "a/b"), str(place)
    return Groups("v1", own, mounts, "", "")


def hybrid(top: Path) -> Groups:
    """The same with a tree of v2 beside it, where huge pages are."""
    groups = v1(top)
    place = top / "unified"
    (place / "a/b").mkdir(parents=True)
    (place / "cgroup.controllers").write_text("hugetlb misc\n")
    return Groups("hybrid", groups.own, groups.mounts, str(place / "a/b"), str(place))


def v2(top: Path) -> Groups:
    """One tree, our own group in a/b."""
    (top / "a/b").mkdir(parents=True)
    (top / "cgroup.controllers").write_text("cpuset cpu io memory hugetlb pids rdma misc\n")
    names = ("memory", "pids", "cpu", "cpuset", "blkio")
    return Groups(
        "v2", dict.fromkeys(names, str(top / "a/b")), dict.fromkeys(names, str(top)), str(top / "a/b"), str(top)
    )


def planned(groups: Groups, resources: Resources | None = None, path: str = "/x/y", **more: object) -> GroupPlan:
    options: dict[str, object] = {"name": "it", "rootless": False, **more}
    return plan_cgroups(resources, groups, path, **options)  # type: ignore[arg-type]


def writes(plan: GroupPlan) -> dict[str, str]:
    """The limits of a plan but for device rules, by the path they are written to."""
    steps = [op for op in plan.create if isinstance(op, WriteLimits)]
    return {f"{op.path}/{w[0]}": w[1] for op in steps for w in op.writes if not w[0].startswith("devices.")}


def test_a_path_from_the_top_is_below_every_hierarchy(tmp_path: Path) -> None:
    plan = planned(hybrid(tmp_path))
    assert plan.paths == {
        **{name: f"{tmp_path}/{name}/x/y" for name in V1},
        "cpu": f"{tmp_path}/cpu,cpuacct/x/y",
        "cpuacct": f"{tmp_path}/cpu,cpuacct/x/y",
        "name=systemd": f"{tmp_path}/systemd/x/y",
        "": f"{tmp_path}/unified/x/y",
    }
    assert plan.born_in == f"{tmp_path}/unified/x/y"
    assert sorted(plan.join) == sorted(set(plan.paths.values()) - {plan.born_in})
    assert sorted(plan.directories) == sorted(set(plan.paths.values()))


def test_another_path_is_below_our_own_group_on_v1_and_beside_it_on_v2(tmp_path: Path) -> None:
    assert find_places(v1(tmp_path / "1"), "x/y", "it")["memory"] == f"{tmp_path}/1/memory/a/b/x/y"
    assert find_places(v1(tmp_path / "1"), "", "it")["memory"] == f"{tmp_path}/1/memory/a/b/it"
    assert find_places(v2(tmp_path / "2"), "x/y", "it") == {"": f"{tmp_path}/2/a/x/y"}
    assert find_places(v2(tmp_path / "3"), "", "it") == {"": f"{tmp_path}/3/a/it"}
    assert find_places(hybrid(tmp_path / "4"), "", "it")[""] == f"{tmp_path}/4/unified/a/b/it"


def test_a_process_at_the_top_has_its_containers_there(tmp_path: Path) -> None:
    groups = v2(tmp_path)
    top = Groups("v2", groups.own, groups.mounts, groups.v2_mount, groups.v2_mount)
    assert find_places(top, "", "it") == {"": f"{tmp_path}/it"}


def test_limits_go_where_their_controller_is(tmp_path: Path) -> None:
    asked = Resources(
        memory=Memory(limit=1 << 20), pids=Pids(limit=9), hugepageLimits=[HugepageLimit(pageSize="2MB", limit=0)]
    )
    unified = f"{tmp_path}/unified/x/y"
    assert writes(planned(hybrid(tmp_path), asked)) == {
        f"{tmp_path}/memory/x/y/memory.limit_in_bytes": str(1 << 20),
        f"{tmp_path}/pids/x/y/pids.max": "9",
        f"{unified}/hugetlb.2MB.max": "0",
        f"{unified}/hugetlb.2MB.rsvd.max": "0",
    }


def test_beside_v1_only_what_is_needed_is_handed_down(tmp_path: Path) -> None:
    def handed_down(groups: Groups, asked: Resources | None) -> tuple[str, ...]:
        (step,) = [s for s in planned(groups, asked).create if isinstance(s, MakeGroup) and s.top == groups.v2_mount]
        return step.controllers

    pages = Resources(hugepageLimits=[HugepageLimit(pageSize="2MB", limit=0)])
    assert handed_down(hybrid(tmp_path / "1"), None) == ()
    assert handed_down(hybrid(tmp_path / "2"), pages) == ("hugetlb",)
    assert len(handed_down(v2(tmp_path / "3"), None)) == 8


def test_every_cpuset_group_on_the_way_gets_its_processors(tmp_path: Path) -> None:
    steps = [op for op in planned(v1(tmp_path)).create if isinstance(op, MakeGroup)]
    assert [op.path for op in steps if op.cpuset] == [f"{tmp_path}/cpuset/x/y"]


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        (Resources(unified={"memory.high": "1"}), v1),
        (Resources(hugepageLimits=[HugepageLimit(pageSize="2MB", limit=0)]), v1),
        (Resources(network=NetworkResources(classID=1)), v2),
        (Resources(network=NetworkResources(classID=1)), v1),
        (Resources(cpu=CPU(realtimeRuntime=1)), v2),
    ],
)
def test_what_cannot_be_limited_here_is_refused_by_name(tmp_path: Path, asked: Resources, kind) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UnsupportedError, match=r"/linux/resources: (memory.high|hugepages|network-class|cpu-realtime)"):
        planned(kind(tmp_path), asked)


def test_a_file_of_v2_that_nobody_knows_is_for_the_kernel_to_refuse(tmp_path: Path) -> None:
    assert writes(planned(v2(tmp_path), Resources(unified={"no.such": "1"}))) == {f"{tmp_path}/x/y/no.such": "1"}


def test_words_of_v2_are_for_the_tree_of_v2_where_it_has_controllers(tmp_path: Path) -> None:
    found = writes(planned(hybrid(tmp_path), Resources(unified={"hugetlb.2MB.max": "0"})))
    assert list(found.values()) == ["0"]
    assert next(iter(found)).endswith("/unified/x/y/hugetlb.2MB.max"), found


def test_what_v2_does_not_have_and_engines_send_is_in_the_receipt(tmp_path: Path) -> None:
    receipt = Receipt()
    asked = Resources(memory=Memory(swappiness=0, limit=1 << 20))
    planned(v2(tmp_path), asked, receipt=receipt)
    assert (receipt["memory-swappiness"].enforced, receipt["memory"].enforced) == (False, True)


def test_a_group_in_use_is_refused(tmp_path: Path) -> None:
    groups = v2(tmp_path)
    inner = tmp_path / "x/y/inner"
    inner.mkdir(parents=True)
    planned(groups)
    (inner / "cgroup.procs").write_text("77\n78\n")
    with pytest.raises(ConflictError, match=r"x/y is not empty: 2 process\(es\) found"):
        planned(groups)


@pytest.mark.parametrize("kind", [v1, v2])
def test_a_frozen_group_is_refused(tmp_path: Path, kind) -> None:  # type: ignore[no-untyped-def]
    groups = kind(tmp_path)
    place = find_places(groups, "/x/y", "it").get("freezer") or f"{tmp_path}/x/y"
    for name, text in (("freezer.state", "FROZEN"), ("freezer.self_freezing", "1"), ("cgroup.freeze", "1")):
        file = tmp_path / place / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    with pytest.raises(ConflictError, match="is frozen"):
        planned(groups)


def test_devices_are_lines_on_v1_and_a_program_on_v2(tmp_path: Path) -> None:
    lines = [op for op in planned(hybrid(tmp_path / "1")).create if isinstance(op, WriteLimits)]
    assert [(op.path, op.writes[0][:2]) for op in lines] == [(f"{tmp_path}/1/devices/x/y", ("devices.deny", "a"))]
    programs = [op for op in planned(v2(tmp_path / "2")).create if isinstance(op, LimitDevices)]
    assert [(op.path, op.required) for op in programs] == [(f"{tmp_path}/2/x/y", True)]
    everything = Resources(devices=[DeviceRule(allow=True, access="rwm")])
    assert not any(isinstance(op, LimitDevices) for op in planned(v2(tmp_path / "3"), everything).create)


def test_a_group_may_be_given_away_on_v2_alone(tmp_path: Path) -> None:
    given = [op for op in planned(hybrid(tmp_path), owner=1234).create if isinstance(op, GiveGroup)]
    assert [(op.path, op.uid) for op in given] == [(f"{tmp_path}/unified/x/y", 1234)]


def test_what_the_container_sees_is_named_as_on_the_host(tmp_path: Path) -> None:
    names = [name for name, _ in planned(hybrid(tmp_path / "1")).views]
    assert names == ["cpu,cpuacct", "cpuset", "devices", "freezer", "memory", "pids", "systemd", "unified"]
    assert planned(v2(tmp_path / "2")).views == (("", f"{tmp_path}/2/x/y"),)


@pytest.mark.parametrize("kind", [v1, hybrid, v2])
class TestWithoutPermission:
    """An ordinary user, for whom every group is somebody else's."""

    @pytest.fixture(autouse=True)
    def _denied(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(containers.os, "access", lambda *_: False)  # type: ignore[attr-defined]

    def test_nothing_asked_is_no_group(self, kind, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
        receipt = Receipt()
        plan = planned(kind(tmp_path), path="", rootless=True, receipt=receipt)
        assert (plan.paths, plan.create, plan.controllers) == ({}, (), ())
        assert not receipt["cgroup"].enforced

    def test_a_path_is_an_error_that_says_what_to_do(self, kind, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
        with pytest.raises(ForbiddenError, match=r"x/y cannot be made: .* belongs to somebody else") as caught:
            planned(kind(tmp_path), rootless=True)
        assert ("Delegate=yes" if kind is v2 else "run as root") in caught.value.hint

    def test_a_limit_is_an_error_too(self, kind, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
        asked = Resources(memory=Memory(limit=1 << 20))
        with pytest.raises(ForbiddenError, match=r"^/linux/resources: the limits \(memory\) are not possible"):
            planned(kind(tmp_path), asked, path="", rootless=True)
        swappiness = Resources(memory=Memory(kernel=1 << 20), devices=[DeviceRule(allow=False)])
        assert planned(kind(tmp_path / "2"), swappiness, path="", rootless=True).paths == {}
