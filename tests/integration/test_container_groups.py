"""What commands do to the groups of a container: limits, other limits, freezing, ending, counting, hearing of OOM."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloche.errors import ConflictError, NotFoundError, UnsupportedError
from cloche.runtime.cgroups import containers
from cloche.runtime.cgroups.freezing import freeze, is_frozen, thaw
from cloche.runtime.cgroups.oom import GONE, OOM, OomWatch
from cloche.runtime.cgroups.stats import stats
from cloche.runtime.cgroups.update import merged, update_limits
from cloche.runtime.host import probe_host
from cloche.spec.resources import CPU, DeviceRule, HugepageLimit, Memory, Pids, Resources
from cloche.stage.cleaning import kill_groups, pids_of, remove_groups
from tests.integration.grouped import Grouped, grouped, memory_limits, running, until

if TYPE_CHECKING:
    from collections.abc import Iterator

M = 1 << 20
V2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who may make groups everywhere")
FORKING = """
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
while True:
    try:
        if os.fork() == 0:
            time.sleep(0.1)
            os._exit(0)
    except BlockingIOError:
        continue  # as many as the group may hold
"""


@pytest.fixture
def group() -> Iterator[Grouped]:
    with grouped(Resources(memory=Memory(limit=64 * M, swap=96 * M), pids=Pids(limit=50))) as it:
        yield it


def test_limits_are_in_force(group: Grouped) -> None:
    assert memory_limits(group) == (64 * M, 96 * M)
    assert group.read("pids.max") == "50"


def test_the_group_is_in_every_hierarchy(group: Grouped) -> None:
    sleeper = group.start("sleep", "600")
    groups = probe_host().groups
    expected = {line.split(":")[1] for line in Path("/proc/self/cgroup").read_text().splitlines()}

    def entered() -> bool:
        lines = [line.split(":", 2) for line in Path(f"/proc/{sleeper.pid}/cgroup").read_text().splitlines()]
        return {names for _, names, path in lines if path.endswith("/it")} == expected

    assert (set(group.paths) - {""} == set(groups.own)) or V2
    until(entered, f"it is in each of {expected}")


def test_an_inner_cpuset_group_has_processors() -> None:
    with grouped(Resources(cpu=CPU(cpus="0"))) as it:
        sleeper = it.start("sleep", "600")
        until(lambda: os.sched_getaffinity(sleeper.pid) == {0}, "it may run on the first processor alone")


def test_huge_pages_are_limited_wherever_their_controller_is() -> None:
    top = next((t for t in ("/sys/fs/cgroup/hugetlb", *_unified()) if os.path.isdir(t)), None)
    if top is None or ("hugetlb" not in Path(f"{top}/cgroup.controllers").read_text() and "hugetlb" not in top):
        pytest.skip("needs the hugetlb controller")
    with grouped(Resources(hugepageLimits=[HugepageLimit(pageSize="2MB", limit=4 * M)])) as it:
        assert it.read("hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max") == str(4 * M)
        assert it.read("hugetlb.2MB.rsvd.limit_in_bytes", "hugetlb.2MB.rsvd.max") == str(4 * M)
        assert stats(it.paths)["hugetlb"]["2MB"]["failcnt"] == 0


def _unified() -> tuple[str, ...]:
    top = probe_host().groups.v2_mount
    return (top,) if top else ()


@pytest.mark.parametrize(("limit", "swap"), [(128, 256), (16, 24), (80, 96), (96, 96), (16, 200)])
def test_memory_is_raised_and_lowered_in_one_go(group: Grouped, limit: int, swap: int) -> None:
    assert update_limits(Resources(memory=Memory(limit=limit * M, swap=swap * M)), group.paths) == []
    assert memory_limits(group) == (limit * M, swap * M)


def test_a_quota_and_its_burst_are_raised_and_lowered() -> None:
    with grouped(Resources(cpu=CPU(quota=50_000, burst=40_000))) as it:
        for quota, burst in ((20_000, 10_000), (200_000, 150_000), (5_000, 0)):
            update_limits(Resources(cpu=CPU(quota=quota, burst=burst)), it.paths)
            assert it.read("cpu.cfs_quota_us", "cpu.max").split()[0] == str(quota)
            assert it.read("cpu.cfs_burst_us", "cpu.max.burst") == str(burst)


def test_other_limits_of_a_living_container(group: Grouped) -> None:
    sleeper = group.start("sleep", "600")
    asked = Resources(pids=Pids(limit=7), cpu=CPU(cpus="0", shares=512))
    update_limits(merged(Resources(memory=Memory(limit=64 * M, swap=96 * M)), asked), group.paths)
    assert group.read("pids.max") == "7"
    assert os.sched_getaffinity(sleeper.pid) == {0}
    assert group.read("cpu.shares", "cpu.weight") == ("59" if V2 else "512")
    assert memory_limits(group) == (64 * M, 96 * M)


def test_a_value_that_cannot_be_is_an_error_that_names_the_file(group: Grouped) -> None:
    with pytest.raises(OSError, match=r"cpuset\.cpus"):
        update_limits(Resources(cpu=CPU(cpus="4000")), group.paths)


def test_a_limit_below_what_is_used_can_be_refused_beforehand(group: Grouped) -> None:
    eater = group.start("python3", "-c", "x = bytearray(30 << 20); print(1, flush=True); input()")
    assert eater.stdout is not None
    assert eater.stdout.readline() == b"1\n"
    with pytest.raises(ConflictError, match="bytes of memory are not enough"):
        update_limits(Resources(memory=Memory(limit=8 * M, checkBeforeUpdate=True)), group.paths)
    assert memory_limits(group) == (64 * M, 96 * M)
    assert eater.poll() is None


def test_without_groups_there_is_nothing_to_change() -> None:
    with pytest.raises(NotFoundError, match="no control groups"):
        update_limits(Resources(pids=Pids(limit=7)), {})


@pytest.mark.skipif(V2, reason="needs a cgroup v1 host")
def test_files_of_v2_are_refused_where_the_controllers_are_on_v1(group: Grouped) -> None:
    with pytest.raises(UnsupportedError, match=r"memory\.high"):
        update_limits(Resources(unified={"memory.high": "1"}), group.paths)


def opens(group: Grouped, device: str) -> bool:
    """Whether a process in the groups may open a device."""
    done = group.start("sh", "-c", f": <{device} && echo yes || echo no")
    return done.communicate(timeout=20)[0] == b"yes\n"


def test_devices_are_those_listed_and_may_be_others_later() -> None:
    kmsg = os.stat("/dev/kmsg").st_rdev
    allowed = DeviceRule(allow=True, type="c", major=os.major(kmsg), minor=os.minor(kmsg), access="r")
    with grouped(Resources(devices=[DeviceRule(allow=False, access="rwm")])) as it:
        assert opens(it, "/dev/zero")
        assert not opens(it, "/dev/kmsg")
        update_limits(Resources(devices=[allowed]), it.paths)
        assert opens(it, "/dev/zero")
        assert opens(it, "/dev/kmsg")
        update_limits(Resources(devices=[]), it.paths)
        assert not opens(it, "/dev/kmsg")


def test_frozen_and_thawed(group: Grouped) -> None:
    assert not is_frozen(group.paths)
    ticker = group.start("sh", "-c", "while :; do echo; done")
    assert ticker.stdout is not None
    ticker.stdout.readline()
    freeze(group.paths)
    assert is_frozen(group.paths)
    before = Path(f"/proc/{ticker.pid}/stat").read_text().split()[13:15]
    os.set_blocking(ticker.stdout.fileno(), False)
    while ticker.stdout.read():  # make room, so that it could go on
        pass
    assert Path(f"/proc/{ticker.pid}/stat").read_text().split()[13:15] == before
    thaw(group.paths)
    assert not is_frozen(group.paths)
    until(lambda: ticker.stdout and ticker.stdout.read(), "it goes on")


def test_many_that_fork_are_frozen_too(group: Grouped) -> None:
    group.start("python3", "-c", FORKING)
    until(lambda: len(pids_of(group.plan.directories)) > 20, "they are many")
    freeze(group.paths)
    frozen = sorted(pids_of(group.plan.directories))
    assert sorted(pids_of(group.plan.directories)) == frozen
    assert is_frozen(group.paths)


def test_a_frozen_container_can_be_ended(group: Grouped) -> None:
    sleeper = group.start("sleep", "600")
    freeze(group.paths)
    kill_groups(group.plan.directories)
    assert sleeper.wait(10) == -signal.SIGKILL


def test_what_forks_without_end_is_ended(group: Grouped) -> None:
    bomb = group.start("python3", "-c", FORKING)
    until(lambda: len(pids_of(group.plan.directories)) > 20, "they are many")
    kill_groups(group.plan.directories)
    assert bomb.wait(10) == -signal.SIGKILL
    until(lambda: not running(pids_of(group.plan.directories)), "nothing is left")


def test_groups_made_inside_count_and_are_removed(group: Grouped) -> None:
    """What the container has made below its own groups, with a process in them, and one that is frozen."""
    top = group.paths.get("freezer") or group.paths[""]
    inner = Path(top) / "a/b"
    inner.mkdir(parents=True)
    sleeper = subprocess.Popen(["sleep", "600"])
    try:
        (inner / "cgroup.procs").write_text(str(sleeper.pid))
        assert pids_of((top,)) == [sleeper.pid]
        assert pids_of((top,), recursive=False) == []
        freeze({"": str(inner)} if V2 else {"freezer": str(inner)})
        kill_groups(group.plan.directories)
        assert sleeper.wait(10) == -signal.SIGKILL
    finally:
        sleeper.kill()
        sleeper.wait()
    assert remove_groups(group.plan.directories) == []
    assert not Path(top).exists()


def test_what_was_used_is_counted_as_runc_shows_it(group: Grouped) -> None:
    eater = group.start("python3", "-c", "x = bytearray(20 << 20); print(1, flush=True); input()")
    assert eater.stdout is not None
    assert eater.stdout.readline() == b"1\n"
    found = json.loads(json.dumps(stats(group.paths)))
    assert list(found) == "cpu cpuset memory pids blkio hugetlb intel_rdt network_interfaces".split()
    assert found["memory"]["usage"]["limit"] == 64 * M
    assert found["memory"]["swap"]["limit"] == 96 * M
    assert 20 * M < found["memory"]["usage"]["usage"] < 64 * M
    assert found["memory"]["raw"]
    assert found["pids"] == {"current": 1, "limit": 50}
    assert found["cpu"]["usage"]["total"] > 0
    assert found["intel_rdt"] == {}
    assert found["network_interfaces"] is None
    if not V2:
        assert found["cpuset"]["cpus"] == sorted(os.sched_getaffinity(0))
        assert sum(found["cpu"]["usage"]["percpu"]) > 0


def test_running_out_of_memory_is_heard(group: Grouped) -> None:
    eater = group.start("python3", "-c", "input(); x = bytearray(200 << 20)")
    first = group.start("sleep", "600")  # one that stays
    with OomWatch(group.paths, first.pid) as watch:
        assert watch.wait(0.01) == ""
        assert eater.stdin is not None
        eater.stdin.write(b"\n")
        eater.stdin.flush()
        assert watch.wait(20) == OOM
        assert eater.wait(10) == -signal.SIGKILL
        kill_groups(group.plan.directories)
        for process in group.started:
            process.wait(10)
        remove_groups(group.plan.directories)
        seen = {watch.wait(1) for _ in range(5)}
        assert GONE in seen


def test_a_group_in_use_is_nobody_elses(group: Grouped) -> None:
    group.start("sleep", "600")
    path = "/" + "/".join(group.plan.directories[0].split("/")[-2:])
    with pytest.raises(ConflictError, match="is not empty"):
        containers.plan_cgroups(None, probe_host().groups, path, name="x", rootless=False)


def test_another_process_goes_where_the_first_one_is() -> None:
    """Where a container has divided its group of v2, nothing can be at its top."""
    if not (tops := _unified()) or "hugetlb" not in Path(tops[0], "cgroup.controllers").read_text():
        pytest.skip("needs a tree of v2 with the hugetlb controller")
    with grouped(Resources(hugepageLimits=[HugepageLimit(pageSize="2MB", limit=4 * M)])) as it:
        groups, place = probe_host().groups, Path(it.paths[""])
        inner = place / "init.scope"
        inner.mkdir()
        first = it.start("sh", "-c", f"echo $$ >{inner}/cgroup.procs; echo; exec sleep 600")
        assert first.stdout is not None
        first.stdout.readline()
        assert containers.entry_of(it.paths, groups, first.pid) == it.paths
        (place / "cgroup.subtree_control").write_text("+hugetlb")
        assert containers.entry_of(it.paths, groups, first.pid) == {**it.paths, "": str(inner)}
        assert containers.entry_of(it.paths, groups, os.getpid()) == it.paths, "one that is elsewhere"


def test_an_empty_group_that_is_there_is_used_whatever_its_limits(group: Grouped) -> None:
    path = "/" + "/".join(group.plan.directories[0].split("/")[-2:])
    for limit, swap in ((16, 24), (128, 200)):
        asked = Resources(memory=Memory(limit=limit * M, swap=swap * M))
        again = containers.plan_cgroups(asked, probe_host().groups, path, name="x", rootless=False)
        assert again.paths == group.paths
        for step in again.create:
            step.execute(group.scene)
        assert memory_limits(group) == (limit * M, swap * M)
