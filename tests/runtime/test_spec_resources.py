"""config.json: `linux.resources`, `cgroupsPath` and `netDevices`, as the kernel's own files tell."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.runtime.conftest import CRUN_ON_HYBRID, cgroups, groups_of
from tests.runtime.looking import (
    capable,
    namespace,
    only_cloche,
    private,
    python,
    refused,
    sh,
    since,
    told,
    user_namespace,
    waiting,
)

if TYPE_CHECKING:
    from tests.runtime.conftest import Bundle, MakeBundle, Runtime

V1 = pytest.mark.skipif(not os.path.isdir("/sys/fs/cgroup/memory"), reason="files of cgroup v1")
PAGE = 4096


def limited(made: Bundle, **resources: Any) -> Bundle:
    made.linux["resources"] |= resources
    return made


def files(runtime: Runtime, made: Bundle) -> dict[str, Path]:
    """The container's cgroup of every controller."""
    return cgroups(waiting(runtime, made))


@V1
@pytest.mark.parametrize(
    ("resources", "controller", "name", "expected"),
    [
        ({"memory": {"limit": 64 << 20}}, "memory", "memory.limit_in_bytes", str(64 << 20)),
        ({"memory": {"limit": -1}}, "memory", "memory.limit_in_bytes", "9223372036854771712"),
        ({"memory": {"reservation": 32 << 20}}, "memory", "memory.soft_limit_in_bytes", str(32 << 20)),
        ({"memory": {"limit": 64 << 20, "reservation": 8 << 20}}, "memory", "memory.soft_limit_in_bytes", str(8 << 20)),
        ({"memory": {"disableOOMKiller": True}}, "memory", "memory.oom_control", "oom_kill_disable 1"),
        ({"cpu": {"shares": 512}}, "cpu", "cpu.shares", "512"),
        ({"cpu": {"quota": 40000, "period": 80000}}, "cpu", "cpu.cfs_quota_us", "40000"),
        ({"cpu": {"quota": 40000, "period": 80000}}, "cpu", "cpu.cfs_period_us", "80000"),
        ({"cpu": {"quota": -1}}, "cpu", "cpu.cfs_quota_us", "-1"),
        ({"cpu": {"period": 50000}}, "cpu", "cpu.cfs_period_us", "50000"),
        ({"cpu": {"quota": 40000, "burst": 10000}}, "cpu", "cpu.cfs_burst_us", "10000"),
        ({"cpu": {"idle": 1}}, "cpu", "cpu.idle", "1"),
        ({"cpu": {"realtimeRuntime": 5000, "realtimePeriod": 1000000}}, "cpu", "cpu.rt_runtime_us", "5000"),
        ({"cpu": {"cpus": "0"}}, "cpuset", "cpuset.cpus", "0"),
        ({"cpu": {"mems": "0"}}, "cpuset", "cpuset.mems", "0"),
        ({"pids": {"limit": 37}}, "pids", "pids.max", "37"),
        ({"pids": {"limit": -1}}, "pids", "pids.max", "max"),
    ],
)
def test_files(
    runtime: Runtime, bundle: MakeBundle, resources: dict[str, Any], controller: str, name: str, expected: str
) -> None:
    if {"burst", "idle"} & set(resources.get("cpu", {})):
        since(runtime, runc="1.2", crun="1.9")
    if expected in ("-1", "max"):
        since(runtime, crun="1.9")
    path = files(runtime, limited(bundle(), **resources))[controller] / name
    if not path.exists():
        pytest.skip(f"this kernel has no {name}")
    assert path.read_text().splitlines()[0] == expected


@V1
def test_memory_and_swap(runtime: Runtime, bundle: MakeBundle) -> None:
    group = files(runtime, limited(bundle(), memory={"limit": 64 << 20, "swap": 96 << 20}))["memory"]
    if not (group / "memory.memsw.limit_in_bytes").exists():
        pytest.skip("this kernel does not account for swap")
    assert (group / "memory.limit_in_bytes").read_text() == f"{64 << 20}\n"
    assert (group / "memory.memsw.limit_in_bytes").read_text() == f"{96 << 20}\n"


@V1
def test_swappiness(runtime: Runtime, bundle: MakeBundle) -> None:
    group = files(runtime, limited(bundle(), memory={"swappiness": 13}))["memory"]
    assert (group / "memory.swappiness").read_text() == "13\n"


@V1
def test_a_limit_on_kernel_memory_holds_or_is_said_not_to(runtime: Runtime, bundle: MakeBundle) -> None:
    """ "kernel: NOT RECOMMENDED": kernels since 5.16 take the value, and do nothing with it."""
    only_cloche(runtime, "nothing is silently weaker")
    made = limited(bundle(), memory={"limit": 64 << 20, "kernel": 32 << 20, "kernelTCP": 16 << 20})
    group = files(runtime, made)["memory"]
    warned = runtime.errors(runtime.ids[-1])
    for name, file, limit in (
        ("memory-kernel is", "memory.kmem.limit_in_bytes", 32 << 20),
        ("memory-kernel-tcp is", "memory.kmem.tcp.limit_in_bytes", 16 << 20),
    ):
        holds = (group / file).exists() and (group / file).read_text() == f"{limit}\n"
        assert (f"{name} not in force" in warned) is not holds, (name, warned)


@pytest.mark.parametrize(
    ("resources", "what", "file"),
    [
        ({"rdma": {"mlx5_1": {"hcaHandles": 3}}}, "rdma controller", "rdma.max"),
        ({"network": {"classID": 0x100001}}, "net_cls controller", "net_cls.classid"),
        ({"network": {"priorities": [{"name": "lo", "priority": 5}]}}, "net_prio controller", "net_prio.ifpriomap"),
        ({"blockIO": {"weightDevice": [{"major": 7, "minor": 0, "weight": 300}]}}, "weight_device", "blkio.weight"),
    ],
)
def test_what_this_machine_does_not_have_is_refused(
    runtime: Runtime, bundle: MakeBundle, resources: dict[str, Any], what: str, file: str
) -> None:
    """ "The runtime MUST generate an error when" it cannot apply a section."""
    only_cloche(runtime, "what cannot be enforced is an error")
    if any(Path("/sys/fs/cgroup").glob(f"*/{file}")):
        pytest.skip(f"this machine has {file}")
    refused(runtime, limited(bundle("true"), **resources), "/linux/resources", what)


@pytest.mark.parametrize(("limit", "shown"), [(0, {"0", "max", "1"}), (1, {"1"})])
def test_no_more_processes(runtime: Runtime, bundle: MakeBundle, limit: int, shown: set[str]) -> None:
    """0 is a real limit of its own since runtime-spec 1.3: "specifies the maximum number of tasks in the cgroup"; older
    runtimes take it for none."""
    made = limited(bundle("sleep", "600"), pids={"limit": limit})
    if limit == 0:
        only_cloche(runtime, "older specifications have no word about zero")
    done = runtime.try_create(made)
    assert done.returncode == 0, done.stderr
    pid = runtime.pid(runtime.ids[-1])
    assert (cgroups(pid)["pids"] / "pids.max").read_text().strip() in shown - ({"max"} if limit == 0 else set())


def test_the_limit_of_processes_is_enforced(runtime: Runtime, bundle: MakeBundle) -> None:
    code = (
        "import os, time\nn = 0\ntry:\n    for _ in range(50):\n        if os.fork() == 0: time.sleep(5)\n"
        "        n += 1\nexcept OSError as e: print(n, e.errno)\n"
    )
    made = limited(python(bundle(), code), pids={"limit": 12})
    assert told(runtime, made).split() == ["11", "11"]


@V1
def test_the_limit_of_memory_is_enforced(runtime: Runtime, bundle: MakeBundle) -> None:
    made = limited(
        python(bundle(), "x = b'x' * (80 << 20); print('lived')"), memory={"limit": 32 << 20, "swap": 32 << 20}
    )
    done = runtime.run(made)
    assert (done.returncode, done.stdout) == (137, "")


def test_a_limit_of_memory_in_which_nothing_can_begin_is_named(runtime: Runtime, bundle: MakeBundle) -> None:
    runtime.not_like("runc", "crun", because="their own words")
    done = runtime.run(limited(bundle(), memory={"limit": 4096}))
    assert done.returncode == 1
    assert "killed for lack of memory" in done.stderr


@V1
@pytest.mark.parametrize(
    ("key", "name", "line"),
    [
        ("throttleReadBpsDevice", "blkio.throttle.read_bps_device", "7:0 1048576"),
        ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "7:0 1048576"),
        ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "7:0 1048576"),
        ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "7:0 1048576"),
    ],
)
def test_block_devices(runtime: Runtime, bundle: MakeBundle, key: str, name: str, line: str) -> None:
    if not os.path.exists("/sys/dev/block/7:0"):
        pytest.skip("no loop device")
    made = limited(bundle(), blockIO={key: [{"major": 7, "minor": 0, "rate": 1 << 20}]})
    group = files(runtime, made)["blkio"]
    assert (group / name).read_text().split("\n")[0] == line


def test_a_weight_is_set_or_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    only_cloche(runtime, "what cannot be enforced is an error")
    made = limited(bundle("sleep", "600"), blockIO={"weight": 200})
    done = runtime.try_create(made)
    if done.returncode == 0:
        group = cgroups(runtime.pid(runtime.ids[-1]))
        texts = [p.read_text() for g in group.values() for p in g.glob("*weight") if p.is_file()]
        assert any("200" in text for text in texts)
    else:
        assert "weight" in done.stderr


HUGE = sorted(p.name.removeprefix("hugepages-").removesuffix("kB") for p in Path("/sys/kernel/mm/hugepages").glob("*"))


@pytest.mark.skipif("2048" not in HUGE, reason="no huge pages of 2 MB")
def test_huge_pages(runtime: Runtime, bundle: MakeBundle) -> None:
    """On the tree that has the controller: v1, or the unified one of a hybrid host."""
    only_cloche(runtime, "on a hybrid host runc and crun look at v1 alone")
    made = limited(bundle(), hugepageLimits=[{"pageSize": "2MB", "limit": 4 << 20}])
    group = files(runtime, made)
    names = [path for g in group.values() for path in g.glob("hugetlb.2MB*")]
    texts = [path.read_text().strip() for path in names if path.name.endswith(("max", "limit_in_bytes"))]
    assert str(4 << 20) in texts


@pytest.mark.parametrize("size", ["3MB", "2 MB", "", "2mb"])
def test_a_page_size_nobody_has_is_refused(runtime: Runtime, bundle: MakeBundle, size: str) -> None:
    only_cloche(runtime, "what cannot be enforced is an error")
    refused(runtime, limited(bundle("true"), hugepageLimits=[{"pageSize": size, "limit": 1}]))


UNIFIED = Path("/sys/fs/cgroup/unified")


@pytest.mark.skipif(not UNIFIED.is_dir(), reason="of a hybrid host")
def test_unified_on_a_hybrid_host(runtime: Runtime, bundle: MakeBundle) -> None:
    """ "Each key in the map refers to a file in the cgroup unified hierarchy. … Configuration unknown to the runtime
    MUST still be written to the relevant file." """
    only_cloche(runtime, "runc and crun refuse or ignore it where there is v1")
    made = limited(bundle(), unified={"hugetlb.2MB.max": str(6 << 20), "cgroup.max.depth": "5"})
    group = files(runtime, made)[""]
    assert (group / "hugetlb.2MB.max").read_text().strip() == str(6 << 20)
    assert (group / "cgroup.max.depth").read_text().strip() == "5"


@pytest.mark.parametrize("key", ["weather.max", "memory.no_such_file", "../cgroup.procs", "cgroup.procs/x", ""])
def test_unified_files_that_are_not_there_are_refused(runtime: Runtime, bundle: MakeBundle, key: str) -> None:
    """ "The runtime MUST generate an error when the configuration refers to a cgroup controller that is not present or
    that cannot be enabled." """
    only_cloche(runtime, "runc and crun refuse or ignore all of it where there is v1")
    refused(runtime, limited(bundle("true"), unified={key: "1"}), key.rpartition("/")[2] or "unified")


@pytest.mark.parametrize(
    "resources",
    [
        {"cpu": {"quota": 1}},
        {"cpu": {"cpus": "900"}},
        {"cpu": {"cpus": "x-y"}},
        {"memory": {"limit": 64 << 20, "swap": 32 << 20}},
    ],
)
def test_what_the_kernel_refuses_is_an_error(runtime: Runtime, bundle: MakeBundle, resources: dict[str, Any]) -> None:
    if "memory" in resources and not os.path.exists("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes"):
        only_cloche(runtime, "no accounting of swap here: the others do not look at it")
    runtime.not_like("crun", because="leaves the cgroup it made")
    refused(runtime, limited(bundle("true"), **resources))


@V1
@pytest.mark.skipif(not UNIFIED.is_dir(), reason="of a hybrid host")
def test_a_host_without_a_unified_tree(runtime: Runtime, bundle: MakeBundle) -> None:
    """What a hybrid host is to who does not see its tree of v2: one of v1 alone."""
    if runtime.name != "crun":  # which is called so anyway
        runtime.prefix = [*CRUN_ON_HYBRID, str(UNIFIED)]
    made = limited(bundle("sleep", "600"), memory={"limit": 64 << 20}, pids={"limit": 9})
    id = runtime.running(made)
    groups = cgroups(runtime.pid(id))
    assert (groups["memory"] / "memory.limit_in_bytes").read_text() == f"{64 << 20}\n"
    assert (groups["pids"] / "pids.max").read_text() == "9\n"
    assert id not in str(groups[""])
    view = runtime.exec(id, "sh", "-c", "ls /sys/fs/cgroup; cat /sys/fs/cgroup/pids/pids.max").stdout.split()
    assert "unified" not in view
    assert view[-1] == "9"
    runtime.ok("update", "--pids-limit", "10", id)
    assert (groups["pids"] / "pids.max").read_text() == "10\n"
    runtime.ok("pause", id)
    assert runtime.status(id) == "paused"
    assert (groups["freezer"] / "freezer.state").read_text() == "FROZEN\n"
    runtime.delete(id, "--force")
    assert not groups_of(id)
    if runtime.name == "cloche-runtime":
        refused(runtime, limited(bundle("true"), unified={"memory.high": "1"}), "memory.high")


# cgroupsPath


@V1
def test_an_absolute_path(runtime: Runtime, bundle: MakeBundle) -> None:
    """ "the runtime MUST take the path to be relative to the cgroups mount point" """
    made = bundle()
    made.linux["cgroupsPath"] = f"/cloche-spec-{os.getpid()}/deep/er"
    groups = files(runtime, made)
    for controller in ("memory", "pids", "cpu", "devices", "freezer"):
        assert groups[controller] == Path("/sys/fs/cgroup") / controller / made.linux["cgroupsPath"].lstrip("/")
    runtime.clean_up()
    assert not any(Path("/sys/fs/cgroup", c, f"cloche-spec-{os.getpid()}/deep/er").exists() for c in groups)
    for controller in os.listdir("/sys/fs/cgroup"):  # whether parents stay is the runtime's choice
        for name in ("deep", "."):
            path = Path("/sys/fs/cgroup", controller, f"cloche-spec-{os.getpid()}", name)
            if path.is_dir():
                path.rmdir()


@V1
def test_a_relative_path_is_the_same_each_time(runtime: Runtime, bundle: MakeBundle) -> None:
    """ "the runtime MUST consistently attach to the same place in the cgroups hierarchy given the same value" """
    places = []
    for _ in range(2):
        made = bundle()
        made.linux["cgroupsPath"] = f"cloche-spec-{os.getpid()}-r"
        groups = files(runtime, made)
        places.append(groups["pids"])
        runtime.stop(runtime.ids[-1])
        runtime.delete(runtime.ids[-1])
    assert places[0] == places[1]
    assert places[0].name == f"cloche-spec-{os.getpid()}-r"
    assert not places[0].exists()


@pytest.mark.parametrize("path", ["/../../etc", "a/../../b", "/a/../.."])
def test_a_path_never_leads_out(runtime: Runtime, bundle: MakeBundle, path: str) -> None:
    """SECURITY: `..` is refused; the others clean it to something inside."""
    only_cloche(runtime, "runc and crun clean the path")
    made = bundle("true")
    made.linux["cgroupsPath"] = path
    refused(runtime, made, "/linux/cgroupsPath")


def test_no_path_is_one_of_the_runtimes_choice(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.running(bundle("sleep", "600"))
    assert groups_of(id)
    runtime.stop(id)
    runtime.delete(id)
    assert not groups_of(id)


# network devices


def in_network(runtime: Runtime, script: str) -> Runtime:
    """The runtime in a network namespace of the test's own, with what a script makes there; a keeper watches it."""
    return private(runtime, script, "-n")


@pytest.mark.parametrize("new", ["", "inside0"])
def test_a_network_device_is_moved(runtime: Runtime, bundle: MakeBundle, new: str) -> None:
    """ "netDevices … the runtime MUST move" it with its addresses, under the name that is asked for."""
    since(runtime, runc="1.4", crun="1.22")
    wrapped = in_network(
        runtime,
        "ip link add test0 type veth peer name other0; ip address add 192.0.2.7/24 dev test0;"
        "ip link set test0 mtu 1400 up",
    )
    made = bundle()
    made.linux["netDevices"] = {"test0": {"name": new} if new else {}}
    out = sh(wrapped, made, "ip address show")
    assert f"{new or 'test0'}" in out
    assert "192.0.2.7/24" in out
    assert "mtu 1400" in out


@pytest.mark.parametrize("apart", [False, True])
def test_a_missing_network_device_is_refused(runtime: Runtime, bundle: MakeBundle, apart: bool) -> None:
    since(runtime, runc="1.4", crun="1.22")
    made = user_namespace(bundle("true")) if apart else bundle("true")
    made.linux["netDevices"] = {"absent0": {}}
    refused(in_network(runtime, ":"), made, "absent0")


def test_network_devices_need_a_network_namespace(runtime: Runtime, bundle: MakeBundle) -> None:
    since(runtime, runc="1.4", crun="never")
    made = bundle("true").without_namespace("network")
    made.linux["netDevices"] = {"lo": {}}
    refused(in_network(runtime, ":"), made, "/linux/netDevices")


def test_a_name_that_is_taken_is_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    since(runtime, runc="1.4", crun="1.22")
    made = bundle("true")
    made.linux["netDevices"] = {"test0": {"name": "lo"}}
    refused(in_network(runtime, "ip link add test0 type veth peer name other0"), made, "test0")


def test_a_network_device_into_a_joined_namespace(runtime: Runtime, bundle: MakeBundle) -> None:
    since(runtime, runc="1.4", crun="1.22")
    with subprocess.Popen(["unshare", "-n", "sh", "-c", "echo; exec sleep 600"], stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        holder.stdout.readline()
        try:
            made = namespace(capable(bundle()), "network", f"/proc/{holder.pid}/ns/net")
            made.linux["netDevices"] = {"test0": {}}
            assert "test0" in sh(
                in_network(runtime, "ip link add test0 type veth peer name other0"), made, "ip link show"
            )
        finally:
            holder.kill()
