"""Which steps the attributes of a config need, in which order, and on whose side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cloche.errors import UnsupportedError
from cloche.linux import mount
from cloche.runtime import attributes
from cloche.spec.config import Config
from cloche.stage.operation import INSIDE, OUTSIDE
from cloche.stage.operations.processes import Clone

if TYPE_CHECKING:
    from cloche.spec.process import Process
    from cloche.stage.operation import Operation
    from cloche.stage.operations.attributes import EnterResctrl


def config_of(process: dict[str, Any], **linux: Any) -> Config:
    """A config with these members."""
    whole = {"args": ["true"], "cwd": "/", "user": {"uid": 0, "gid": 0}, **process}
    return Config.parse({"ociVersion": "1.3.0", "root": {"path": "rootfs"}, "process": whole, "linux": linux})


def process_of(**process: Any) -> Process:
    """A process with these members."""
    made = config_of(process).process
    assert made is not None
    return made


def named(steps: list[Operation]) -> list[tuple[str, str]]:
    """The steps' names and sides."""
    return [(type(step).__name__, step.side) for step in steps]


def test_power_over_the_machine_is_used_from_outside_where_there_are_own_users() -> None:
    process = process_of(scheduler={"policy": "SCHED_BATCH"}, ioPriority={"class": "IOPRIO_CLASS_BE", "priority": 1})
    assert named(attributes.inside_steps(None, process, own_users=False)) == [
        ("Schedule", INSIDE),
        ("PrioritizeIo", INSIDE),
    ]
    assert attributes.inside_steps(None, process, own_users=True) == []
    assert named(attributes.exec_steps(Clone(()), process, own_users=True)) == [
        ("Clone", OUTSIDE),
        ("Schedule", OUTSIDE),
        ("PrioritizeIo", OUTSIDE),
    ]


@pytest.mark.parametrize(
    ("affinity", "expected"),
    [
        ({}, ["clone3"]),
        ({"initial": "0"}, ["sched_setaffinity({0})", "clone3", "sched_setaffinity({all})"]),
        ({"final": "1-2"}, ["clone3", "sched_setaffinity({1, 2})"]),
        ({"initial": "0,3", "final": "1"}, ["sched_setaffinity({0, 3})", "clone3", "sched_setaffinity({1})"]),
    ],
)
def test_processors_before_and_after_the_change_of_groups(affinity: dict[str, str], expected: list[str]) -> None:
    steps = attributes.exec_steps(Clone(()), process_of(execCPUAffinity=affinity), own_users=False)
    calls = [step.calls()[0] for step in steps]
    assert [call.partition("({")[0] if call.startswith("clone3") else call for call in calls] == expected


def test_exec_has_what_its_container_has_unless_it_is_told() -> None:
    above = process_of(apparmorProfile="its own", selinuxLabel="a:b:c", scheduler={"policy": "SCHED_IDLE"})
    process = process_of(apparmorProfile="other")
    attributes.inherit(process, above)
    assert (process.apparmorProfile, process.selinuxLabel) == ("other", "a:b:c")
    assert process.scheduler is above.scheduler


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (None, []),
        ("rslave", []),
        ("private", []),
        ("shared", [(mount.MS_SHARED, False)]),
        ("rshared", [(mount.MS_SHARED, True)]),
        ("unbindable", [(mount.MS_UNBINDABLE, False)]),
    ],
)
def test_what_a_root_passes_on_is_said_after_the_pivot(name: str | None, expected: list[tuple[int, bool]]) -> None:
    linux = config_of({}, **({"rootfsPropagation": name} if name else {})).linux
    found = attributes.root_steps(linux)
    assert [(step.propagation, step.recursive) for step in found] == expected  # type: ignore[attr-defined]


def test_a_profile_goes_to_the_file_of_its_module(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "enabled").write_text("Y\n")
    monkeypatch.setattr(attributes, "APPARMOR", str(tmp_path / "enabled"))
    (step,) = attributes.inside_steps(None, process_of(apparmorProfile="p"), own_users=False)
    assert step.calls() == ['write("/proc/thread-self/attr/apparmor/exec", "exec p")']
    (tmp_path / "enabled").write_text("N\n")
    with pytest.raises(UnsupportedError, match="AppArmor"):
        attributes.inside_steps(None, process_of(apparmorProfile="p"), own_users=False)
    assert attributes.inside_steps(None, process_of(apparmorProfile="unconfined"), own_users=False) == []


@pytest.mark.parametrize("asked", [{}, {"enableMonitoring": False, "schemata": []}])
def test_a_share_of_caches_in_which_nothing_is_asked_needs_nothing(asked: dict[str, Any]) -> None:
    assert attributes.resctrl_directories(config_of({}, intelRdt=asked), "some") == []


def resctrl(**asked: Any) -> tuple[EnterResctrl, list[str]]:
    """The step for a container `some`, and what is removed with it."""
    linux = config_of({}, intelRdt=asked).linux
    assert linux is not None
    assert linux.intelRdt is not None
    step = attributes.plan_resctrl(linux.intelRdt, "some", "/resctrl")
    return step, attributes.plan_removal(linux.intelRdt, step)


def test_a_class_of_its_own_is_removed_and_a_named_one_stays() -> None:
    step, removed = resctrl(l3CacheSchema="L3:0=f\nL2:0=3", memBwSchema="MB:0=20", schemata=["L3:1=f"])
    assert (step.path, step.make, removed) == ("/resctrl/some", True, ["/resctrl/some"])
    assert step.schemata == ("L3:0=f", "L2:0=3", "MB:0=20", "L3:1=f")
    step, removed = resctrl(closID="gold", enableMonitoring=True)
    assert (step.path, step.make) == ("/resctrl/gold", False)
    assert removed == [step.monitoring] == ["/resctrl/gold/mon_groups/some"]
