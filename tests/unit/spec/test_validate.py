"""Sense: one change to a good config, and what is said about it."""

from __future__ import annotations

import pytest

from cloche.errors import SpecError
from cloche.spec.checks import parse_cpu_list, sysctl_path
from cloche.spec.config import Config
from cloche.spec.process import CAPABILITIES
from cloche.spec.validate import validate

from .examples import DELETE, MINIMAL, change, full

SHARED = [  # the sections of config.md
    ("/ociVersion", "1.0", "semantic version"),
    ("/ociVersion", "01.0.0", "semantic version"),
    ("/ociVersion", "1.0.0-", "semantic version"),
    ("/ociVersion", "1.0.0-rc.01", "semantic version"),
    ("/ociVersion", "1.0.0+", "semantic version"),
    ("/ociVersion", "١.0.0", "semantic version"),
    ("/ociVersion", "0.5.0-dev", "must be 1.x"),
    ("/ociVersion", "2.0.0", "must be 1.x"),
    ("/root", DELETE, "is required"),
    ("/root/path", "", "must not be empty"),
    ("/process/cwd", "tmp", "absolute"),
    ("/process/env/0", "=x", "has no name"),
    ("/process/env/0", "", "has no name"),
    ("/process/user/uid", 2**32 - 1, "at most 4294967294"),
    ("/process/user/gid", 2**32 - 1, "at most 4294967294"),
    ("/process/user/additionalGids/0", 2**32 - 1, "at most 4294967294"),
    ("/mounts/0/destination", "/", "the root itself"),
    ("/mounts/0/destination", "//./", "the root itself"),
    ("/process/cwd", "", "absolute"),
    ("/process/args", [], "at least the program"),
    ("/process/args", DELETE, "at least the program"),
    ("/process/args/0", "", "the program to run"),
    ("/process/consoleSize/width", 65536, "larger than a terminal"),
    ("/process/rlimits/1/type", "RLIMIT_CORE", "there twice"),
    ("/process/rlimits/0/soft", 1025, "above the hard one"),
    ("/process/oomScoreAdj", 1001, "from -1000 to 1000"),
    ("/process/oomScoreAdj", -1001, "from -1000 to 1000"),
    ("/process/scheduler/policy", "SCHED_ISO", "no kernel implements"),
    ("/process/scheduler/nice", 20, "from -20 to 19"),
    ("/process/scheduler/nice", -21, "from -20 to 19"),
    ("/process/scheduler/priority", 1, "has no priority"),
    ("/process/scheduler/runtime", 6_000_000, "runtime <= deadline"),
    ("/process/scheduler/runtime", 1023, "1024 ns"),
    ("/process/scheduler/period", 4_000_000, "deadline <= period"),
    ("/process/scheduler", {"policy": "SCHED_OTHER", "runtime": 1}, "SCHED_DEADLINE"),
    ("/process/scheduler", {"policy": "SCHED_FIFO"}, "priority from 1 to 99"),
    ("/process/scheduler", {"policy": "SCHED_RR", "priority": 100}, "priority from 1 to 99"),
    ("/process/ioPriority/priority", 8, "from 0 to 7"),
    ("/process/ioPriority/priority", -1, "from 0 to 7"),
    ("/process/execCPUAffinity/initial", "0-", "a list such as"),
    ("/process/execCPUAffinity/final", "3-1", "backwards"),
    ("/hostname", "a" * 65, "64 bytes"),
    ("/mounts/0/destination", "", "must not be empty"),
    ("/mounts/3/gidMappings", DELETE, "needs gidMappings as well"),
    ("/mounts/3/uidMappings/1/containerID", 0, "overlaps with entry 0"),
    ("/mounts/3/uidMappings/0/size", 0, "more than 0"),
    ("/hooks/poststart/0/path", "notify", "absolute"),
    ("/hooks/poststart/0/timeout", 0, "more than 0"),
    ("/hooks/prestart/0/timeout", -1, "more than 0"),
    ("/annotations/", "x", "must not be empty"),
]
LINUX = [  # the sections of config-linux.md
    ("/namespaces/8", {"type": "pid"}, "there twice"),
    ("/namespaces/1/path", "run/netns/a", "absolute"),
    ("/uidMappings/0/size", 0, "more than 0"),
    ("/uidMappings/0/hostID", 4294967295, "beyond the last id"),
    ("/gidMappings/0/size", 4294967295, "beyond the last id"),
    ("/gidMappings/1", {"containerID": 65536, "hostID": 165535, "size": 1}, "overlaps with entry 0"),
    ("/uidMappings", [{"containerID": n, "hostID": n, "size": 1} for n in range(341)], "341 entries"),
    ("/namespaces/5/type", "mount", "there twice"),
    ("/timeOffsets/realtime", {}, "only the clocks"),
    ("/timeOffsets/boottime/nanosecs", 1_000_000_000, "less than a second"),
    ("/namespaces/7/path", "/run/timens", "joined time namespace"),
    ("/devices/0/path", "fuse", "absolute"),
    ("/devices/0/major", DELETE, "needs a major number"),
    ("/devices/0/minor", -1, "from 0 to"),
    ("/devices/1/type", "b", "needs a major number"),
    ("/netDevices/ens4", {"name": "container_eth0"}, "as eth0 is"),
    ("/netDevices/eth0/name", "a/b", "name of a network interface"),
    ("/netDevices/eth0/name", "sixteen-letters!", "name of a network interface"),
    ("/netDevices/eth0/name", "eth%d", "name of a network interface"),
    ("/netDevices/..", {}, "name of a network interface"),
    ("/cgroupsPath", "/a/../../b", "upwards"),
    ("/intelRdt/closID", "../x", "plain file name"),
    ("/intelRdt/closID", "", "plain file name"),
    ("/intelRdt/memBwSchema", "L3:0=1", "starts with MB:"),
    ("/intelRdt/schemata/0", "L2:0=f\nL3:0=f", "one line"),
    ("/memoryPolicy/nodes", "0--1", "a list such as"),
    ("/memoryPolicy/nodes", "", "needs nodes"),
    ("/memoryPolicy/nodes", DELETE, "needs nodes"),
    ("/memoryPolicy/mode", "MPOL_LOCAL", "takes no nodes"),
    ("/memoryPolicy/flags/1", "MPOL_F_RELATIVE_NODES", "either static or relative"),
    ("/memoryPolicy/flags/0", "MPOL_F_NUMA_BALANCING", "cannot be balanced"),
    ("/sysctl/kernel.panic", "1", "belongs to no namespace"),
    ("/sysctl/net.ipv4..x", "1", "not the name of a sysctl"),
    ("/sysctl/net", "1", "not the name of a sysctl"),
    ("/sysctl/net~1..~1kernel~1panic", "1", "not the name of a sysctl"),
    ("/sysctl/net.~1~1.kernel.panic", "1", "not the name of a sysctl"),
    ("/seccomp/defaultAction", "SCMP_ACT_ALLOW", "returns no errno"),
    ("/seccomp/defaultErrnoRet", 4096, "from 0 to 4095"),
    ("/seccomp/syscalls/0/errnoRet", 1, "SCMP_ACT_ALLOW returns no errno"),
    ("/seccomp/syscalls/0/names", [], "at least one"),
    ("/seccomp/syscalls/1/args/0/index", 6, "arguments 0 to 5"),
    ("/seccomp/listenerPath", DELETE, "needs a listenerPath"),
    ("/maskedPaths/0", "proc/kcore", "absolute"),
    ("/readonlyPaths/1", "", "absolute"),
    ("/personality/flags", ["ADDR_NO_RANDOMIZE"], "defines no flags"),
    ("/resources/devices/0/access", "rwx", "made of r, w and m"),
    ("/resources/devices/0/access", "", "made of r, w and m"),
    ("/resources/devices/1/major", -2, "device number"),
    ("/resources/memory/limit", -2, "-1 for no limit"),
    ("/resources/memory/swap", 1, "at least the limit"),
    ("/resources/memory/limit", -1, "where memory is not"),
    ("/resources/memory/swappiness", 101, "from 0 to 100"),
    ("/resources/cpu/cpus", "0-3,", "a list such as"),
    ("/resources/cpu/mems", "x", "a list such as"),
    ("/resources/cpu/mems", "99999", "beyond any machine"),
    ("/resources/cpu/quota", -2, "-1 for no limit"),
    ("/resources/cpu/burst", 1_000_001, "above the quota"),
    ("/resources/cpu/idle", 2, "0 or 1"),
    ("/resources/pids/limit", -2, "-1 for no limit"),
    ("/resources/blockIO/weightDevice/1/weight", DELETE, "needs a weight"),
    ("/resources/blockIO/throttleReadIOPSDevice/0/minor", -1, "device number"),
    ("/resources/hugepageLimits/0/pageSize", "2M", "a page size such as 2MB"),
    ("/resources/hugepageLimits/0/pageSize", "MB", "a page size such as 2MB"),
    ("/resources/hugepageLimits/0/pageSize", "64KB", "there twice"),
    ("/resources/network/priorities/0/name", "", "must not be empty"),
    ("/resources/rdma/mlx5_1", {}, "needs hcaHandles or hcaObjects"),
    ("/resources/unified/..~1..~1memory.high", "1", "cgroup file"),
    ("/resources/unified/memory", "1", "cgroup file"),
]


def check(document: object) -> list[str]:
    return validate(Config.parse(document))


@pytest.mark.parametrize(
    ("pointer", "value", "message"), SHARED + [(f"/linux{pointer}", *rest) for pointer, *rest in LINUX]
)
def test_what_is_forbidden(pointer: str, value: object, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        check(change(full(), pointer, value))
    assert message in str(caught.value)
    # usually the very place; a rule between two members points at the other, or at what holds both
    assert caught.value.pointer.rsplit("/", 2)[0] in pointer or "timeOffsets" in caught.value.pointer


NEEDED = [
    ("uts", "/hostname"),
    ("network", "/linux/netDevices"),
    ("user", "/linux/uidMappings"),
    ("ipc", "/linux/sysctl/kernel.shmmax"),
    ("time", "/linux/timeOffsets"),
]


@pytest.mark.parametrize(("namespace", "pointer"), NEEDED)
def test_what_needs_a_namespace(namespace: str, pointer: str) -> None:
    document = full()
    linux = document["linux"]
    linux["namespaces"] = [entry for entry in linux["namespaces"] if entry["type"] != namespace]
    if namespace == "network":
        linux["sysctl"] = {}
    with pytest.raises(SpecError, match="needs") as caught:
        check(document)
    assert caught.value.pointer == pointer


@pytest.mark.parametrize("key", ["net.core.somaxconn", "kernel.msgmax", "fs.mqueue.queues_max", "kernel.domainname"])
def test_sysctls_need_their_namespace(key: str) -> None:
    document = {**MINIMAL, "linux": {"namespaces": [{"type": "mount"}], "sysctl": {key: "1"}}}
    with pytest.raises(SpecError, match=f"/linux/sysctl/{key}: needs"):
        check(document)


def test_an_idmap_option_needs_a_mapping_from_somewhere() -> None:
    mount = {"destination": "/d", "source": "/s", "options": ["rbind", "idmap"]}
    with pytest.raises(SpecError, match="/mounts/0/options/1: idmap needs mappings"):
        check({**MINIMAL, "mounts": [mount]})
    user = {"namespaces": [{"type": "user"}]}
    check({**MINIMAL, "mounts": [mount], "linux": user})


def test_notify_cannot_be_the_default() -> None:
    seccomp = {"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/run/agent"}
    with pytest.raises(SpecError, match=r"/linux/seccomp/defaultAction: .* cannot be the default"):
        check({**MINIMAL, "linux": {"seccomp": seccomp}})


def test_metadata_needs_a_listener() -> None:
    seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"}
    with pytest.raises(SpecError, match="/linux/seccomp/listenerMetadata: needs"):
        check({**MINIMAL, "linux": {"seccomp": seccomp}})


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/ociVersion", "1.99.0-rc.1+build.01"),
        ("/process", DELETE),
        ("/linux", {}),
        ("/process/consoleSize/width", 65535),
        ("/process/scheduler", {"policy": "SCHED_FIFO", "priority": 99}),
        ("/process/scheduler", {"policy": "SCHED_DEADLINE", "runtime": 1024, "deadline": 1024}),
        ("/process/execCPUAffinity/initial", "0-3, 7"),
        ("/linux/namespaces/0/path", ""),
        ("/linux/uidMappings/0/size", 4294867295),
        ("/linux/devices/0/fileMode", 0o20666),
        ("/linux/resources/memory/swap", -1),
        ("/linux/resources/cpu/quota", -1),
        ("/linux/resources/cpu/cpus", ""),
        ("/linux/resources/pids", {}),
        ("/linux/resources/devices/1/minor", -1),
        ("/linux/memoryPolicy", {"mode": "MPOL_PREFERRED"}),
        ("/linux/memoryPolicy", {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"]}),
        ("/linux/sysctl/net.ipv4.conf.eth0~11.rp_filter", "1"),
        ("/linux/rootfsPropagation", "rprivate"),
        ("/hooks", {}),
    ],
)
def test_what_is_allowed(pointer: str, value: object) -> None:
    document = change(full(), pointer, value)
    if pointer == "/linux":
        del document["hostname"], document["domainname"]
    check(document)


@pytest.mark.parametrize(
    ("pointer", "value", "warning"),
    [
        ("/process/env/0", "PATH", "/process/env/0: 'PATH' is not of the form"),
        ("/hooks/prestart/0/env/0", "x", "/hooks/prestart/0/env/0: "),
        ("/process/capabilities/bounding/1", "CAP_FLY", "/process/capabilities/bounding/1: 'CAP_FLY'"),
        ("/process/capabilities/ambient/0", "CAP_KILL", "/process/capabilities/ambient: not both"),
        ("/process/scheduler", {"policy": "SCHED_IDLE", "nice": 1}, "/process/scheduler/nice: "),
        ("/mounts/0/destination", "proc", "/mounts/0/destination: 'proc' is not absolute"),
        ("/linux/uidMappings", DELETE, "/linux/uidMappings: "),
        ("/linux/namespaces/5/path", "/run/userns", "/linux/uidMappings: a joined"),
        ("/linux/devices/1/path", "/dev/fuse", "/linux/devices/1/path: /dev/fuse is there already"),
        ("/linux/seccomp/syscalls/2/action", "SCMP_ACT_LOG", "/linux/seccomp/flags: WAIT_KILLABLE_RECV"),
    ],
)
def test_what_is_odd(pointer: str, value: object, warning: str) -> None:
    before = check(full())
    after = check(change(full(), pointer, value))
    assert [line for line in after if line not in before and line.startswith(warning)]


def test_good_configs_are_not_odd() -> None:
    assert check(MINIMAL) == []
    assert check(full()) == ["/vm: is for runtimes that start virtual machines and is not looked at"]


@pytest.mark.parametrize(
    ("text", "numbers"), [("", []), ("0", [0]), ("0-2,7", [0, 1, 2, 7]), (" 3 , 1-1", [1, 3]), ("5,5,4-6", [4, 5, 6])]
)
def test_cpu_lists(text: str, numbers: list[int]) -> None:
    assert parse_cpu_list(text) == numbers


@pytest.mark.parametrize("text", [",", "0,", "-1", "1-2-3", "a", "0-١", "1-0", "65536", "0-31:2/4"])
def test_wrong_cpu_lists(text: str) -> None:
    with pytest.raises(SpecError):
        parse_cpu_list(text, "/x")


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
        ("net.ipv4.conf.eth0/1.rp_filter", "net/ipv4/conf/eth0.1/rp_filter"),
        ("net/ipv4/conf/eth0.1/rp_filter", "net/ipv4/conf/eth0.1/rp_filter"),
        ("plain", "plain"),
    ],
)
def test_sysctl_paths(key: str, path: str) -> None:
    assert sysctl_path(key) == path


def test_capabilities_are_in_the_kernel_s_order() -> None:
    assert CAPABILITIES[21] == "CAP_SYS_ADMIN"
    assert CAPABILITIES.index("CAP_CHECKPOINT_RESTORE") == 40 == len(CAPABILITIES) - 1
