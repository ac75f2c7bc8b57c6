"""What config.json says about a process beside its identity, and about its root and interfaces: seen from inside."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.runtime.conftest import SLEEP, Bundle, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.runtime.conftest import Json, MakeBundle, Runtime

SCHED_FIFO, SCHED_BATCH, SCHED_IDLE = 1, 3, 5  # linux/sched.h
LABEL = "system_u:object_r:container_file_t:s0"
BEFORE_1_1 = "its version is of before scheduler and ioPriority (runtime-spec 1.1 and 1.2)"
BEFORE_1_3 = "its version is of before 1.3 of the specification"
BEFORE_1_2 = "its version is of before execCPUAffinity (runtime-spec 1.2.1)"

two_processors = pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two processors")


def with_own_users(made: Bundle) -> Bundle:
    """In a user namespace, where nothing outside can be had by being root."""
    made.linux["namespaces"].append({"type": "user"})
    for kind in ("uidMappings", "gidMappings"):
        made.linux[kind] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    return made


def with_real_time(made: Bundle) -> Bundle:
    """With real-time runtime in its group, where groups are given that: a new one has none (sched(7))."""
    if Path("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists():
        made.linux["resources"]["cpu"] = {"realtimePeriod": 10**6, "realtimeRuntime": 10**4}
    return made


def scheduling(stat: str) -> tuple[int, int, int]:
    """(policy, real-time priority, nice) in proc_pid_stat(5)."""
    fields = stat.rpartition(")")[2].split()
    return int(fields[38]), int(fields[37]), int(fields[16])


def output(runtime: Runtime, made: Bundle) -> str:
    """What the command of a container prints; it has to succeed."""
    done = runtime.run(made)
    assert done.returncode == 0, done.stderr
    return done.stdout


# scheduler and disk


@pytest.mark.parametrize("own_users", [False, True])
@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        ({"policy": "SCHED_OTHER", "nice": -7}, (0, 0, -7)),
        ({"policy": "SCHED_BATCH", "nice": 4}, (SCHED_BATCH, 0, 4)),
        ({"policy": "SCHED_IDLE"}, (SCHED_IDLE, 0, 0)),
        ({"policy": "SCHED_FIFO", "priority": 3}, (SCHED_FIFO, 3, 0)),
    ],
)
def test_the_scheduler_is_the_one_asked_for(
    runtime: Runtime, bundle: MakeBundle, scheduler: Json, expected: tuple[int, int, int], own_users: bool
) -> None:
    runtime.not_like("runc", "crun", because=BEFORE_1_1)
    made = bundle("cat", "/proc/self/stat")
    made.process["scheduler"] = scheduler
    if "priority" in scheduler:
        with_real_time(made)
    if own_users:
        with_own_users(made)
    assert scheduling(output(runtime, made)) == expected


def test_a_scheduler_can_be_for_the_first_process_only(runtime: Runtime, bundle: MakeBundle) -> None:
    runtime.not_like("runc", "crun", because=BEFORE_1_1)
    made = with_real_time(bundle("sh", "-c", "cat /proc/1/stat; cat /proc/self/stat; true"))
    made.process["scheduler"] = {"policy": "SCHED_FIFO", "priority": 3, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}
    first, second = output(runtime, made).splitlines()
    assert (scheduling(first), scheduling(second)) == ((SCHED_FIFO, 3, 0), (0, 0, 0))


@two_processors
def test_a_scheduler_that_cannot_be_had_is_an_error(runtime: Runtime, bundle: MakeBundle) -> None:
    runtime.not_like("runc", "crun", because=BEFORE_1_1)
    runtime.prefix = ["taskset", "-c", "0", *runtime.prefix]  # sched(7): deadlines are for all processors or none
    made = bundle("true")
    made.process["scheduler"] = {"policy": "SCHED_DEADLINE", "runtime": 10**6, "deadline": 10**8, "period": 10**8}
    id = runtime.new_id()
    done = runtime.run(made, id=id)
    assert done.returncode != 0
    assert "schedul" in done.stderr
    assert runtime.status(id) == ""


@pytest.mark.parametrize("own_users", [False, True])
@pytest.mark.parametrize(
    ("name", "level", "expected"),
    [("IDLE", 0, "idle"), ("BE", 6, "best-effort: prio 6"), ("RT", 2, "realtime: prio 2")],
)
def test_disk_access_has_the_priority_asked_for(
    runtime: Runtime, bundle: MakeBundle, name: str, level: int, expected: str, own_users: bool
) -> None:
    runtime.not_like("runc", "crun", because=BEFORE_1_1)
    made = bundle("busybox", "ionice", "-p", "1")
    made.process["ioPriority"] = {"class": f"IOPRIO_CLASS_{name}", "priority": level}
    if own_users:
        with_own_users(made)
    assert output(runtime, made).strip() == expected


def test_exec_has_scheduler_and_disk_priority_of_its_container(runtime: Runtime, bundle: MakeBundle) -> None:
    runtime.not_like("runc", "crun", because=BEFORE_1_1)
    made = bundle(*SLEEP)
    made.process["scheduler"] = {"policy": "SCHED_BATCH", "nice": 4}
    made.process["ioPriority"] = {"class": "IOPRIO_CLASS_BE", "priority": 6}
    id = runtime.running(made)
    assert scheduling(runtime.exec(id, "cat", "/proc/self/stat").stdout) == (SCHED_BATCH, 0, 4)
    assert runtime.exec(id, "sh", "-c", "busybox ionice -p $$").stdout.strip() == "best-effort: prio 6"


def test_exec_with_a_document_of_its_own_has_what_that_leaves_out(runtime: Runtime, bundle: MakeBundle) -> None:
    runtime.not_like("runc", "crun", because=BEFORE_1_1)
    made = bundle(*SLEEP)
    made.process["scheduler"] = {"policy": "SCHED_BATCH", "nice": 4}
    id = runtime.running(made)
    document = runtime.top / "process.json"
    process: Json = {"args": ["/bin/cat", "/proc/self/stat"], "cwd": "/", "user": {"uid": 0, "gid": 0}}
    document.write_text(json.dumps(process))
    done = runtime.exec(id, flags=["--process", str(document)])
    assert done.returncode == 0, done.stderr
    assert scheduling(done.stdout) == (SCHED_BATCH, 0, 4)
    document.write_text(json.dumps({**process, "scheduler": {"policy": "SCHED_IDLE"}}))
    assert scheduling(runtime.exec(id, flags=["--process", str(document)]).stdout) == (SCHED_IDLE, 0, 0)


# processors


def allowed(runtime: Runtime, id: str) -> str:
    """The processors of a process made by `exec`."""
    done = runtime.exec(id, "grep", "Cpus_allowed_list", "/proc/self/status")
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[1]


@two_processors
def test_exec_ends_on_the_processors_asked_for(runtime: Runtime, bundle: MakeBundle) -> None:
    runtime.not_like("runc", "crun", because=BEFORE_1_2)
    made = bundle(*SLEEP)
    made.process["execCPUAffinity"] = {"initial": "0", "final": "1"}
    id = runtime.running(made)
    assert allowed(runtime, id) == "1"
    own = Path(f"/proc/{runtime.pid(id)}/status").read_text()
    assert "Cpus_allowed_list:\t1\n" not in own, "it is not for the first process"


@two_processors
def test_where_exec_begins_is_not_where_it_stays(runtime: Runtime, bundle: MakeBundle) -> None:
    runtime.not_like("runc", "crun", because=BEFORE_1_2)
    made = bundle(*SLEEP)
    id = runtime.running(made)
    everywhere = allowed(runtime, id)
    runtime.delete(id, "--force")
    made.process["execCPUAffinity"] = {"initial": "0"}
    id = runtime.running(made)
    assert allowed(runtime, id) == everywhere != "0"


@pytest.mark.parametrize("which", ["initial", "final"])
def test_processors_that_are_not_there_are_an_error(runtime: Runtime, bundle: MakeBundle, which: str) -> None:
    runtime.not_like("runc", "crun", because=BEFORE_1_2)
    made = bundle(*SLEEP)
    made.process["execCPUAffinity"] = {which: "4000"}
    id = runtime.running(made)
    done = runtime.exec(id, "true")
    assert done.returncode != 0
    assert "affinity" in done.stderr
    assert runtime.status(id) == "running"


# memory


@pytest.mark.skipif(not Path("/proc/self/numa_maps").exists(), reason="needs a kernel with NUMA")
@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}, "bind=static:0"),
        ({"mode": "MPOL_PREFERRED", "nodes": "0"}, "prefer:0"),
        ({"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"]}, "interleave=relative:0"),
        ({"mode": "MPOL_LOCAL"}, "local"),
    ],
)
def test_memory_comes_from_where_it_is_asked_for(
    runtime: Runtime, bundle: MakeBundle, policy: Json, expected: str
) -> None:
    runtime.not_like("runc", "crun", because=BEFORE_1_3)
    made = bundle(*SLEEP)
    made.linux["memoryPolicy"] = policy
    id = runtime.running(made)
    for words in (["cat", "/proc/1/numa_maps"], ["cat", "/proc/self/numa_maps"]):
        assert runtime.exec(id, *words).stdout.split()[1] == expected, "of the container, and of exec"


def test_memory_from_a_node_that_is_not_there_is_an_error(runtime: Runtime, bundle: MakeBundle) -> None:
    runtime.not_like("runc", "crun", because=BEFORE_1_3)
    made = bundle("true")
    made.linux["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "900"}
    done = runtime.run(made)
    assert done.returncode != 0
    assert "memory policy" in done.stderr


# personality

REFUSE_PERSONALITY: Json = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
    "syscalls": [{"names": ["personality"], "action": "SCMP_ACT_ERRNO"}],
}


@pytest.mark.parametrize("no_new_privileges", [False, True])
def test_a_32_bit_personality_is_seen_and_no_filter_is_in_its_way(
    runtime: Runtime, bundle: MakeBundle, no_new_privileges: bool
) -> None:
    runtime.not_like("runc", because="1.1 is of before personality, and 1.2 sets it when the filter is there already")
    runtime.not_like("crun", because="sets it when the filter is there already")
    made = bundle(*SLEEP)
    made.process["noNewPrivileges"] = no_new_privileges
    made.linux["personality"] = {"domain": "LINUX32"}
    made.linux["seccomp"] = REFUSE_PERSONALITY
    id = runtime.running(made)
    expected = {"x86_64": "i686", "aarch64": "armv8l"}[os.uname().machine]
    assert Path(f"/proc/{runtime.pid(id)}/personality").read_text() == "00000008\n"
    assert runtime.exec(id, "busybox", "uname", "-m").stdout.strip() == expected


def test_the_usual_personality_is_one_too(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle("busybox", "uname", "-m")
    made.linux["personality"] = {"domain": "LINUX"}
    assert output(runtime, made).strip() == os.uname().machine


# security modules


@pytest.mark.skipif(Path("/sys/module/apparmor").exists(), reason="needs a kernel without AppArmor")
def test_a_profile_without_apparmor_is_an_error(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle("true")
    made.process["apparmorProfile"] = "docker-default"
    id = runtime.new_id()
    done = runtime.run(made, id=id)
    assert done.returncode != 0
    assert "apparmor" in done.stderr.lower()
    assert runtime.status(id) == ""


@pytest.mark.skipif(Path("/sys/module/apparmor").exists(), reason="needs a kernel without AppArmor")
def test_unconfined_is_had_without_apparmor(runtime: Runtime, bundle: MakeBundle) -> None:
    runtime.not_like("runc", "crun", because="asks AppArmor to confine nothing, though there is none")
    made = bundle("echo", "fine")
    made.process["apparmorProfile"] = "unconfined"
    assert output(runtime, made) == "fine\n"


@pytest.mark.skipif(Path("/sys/module/apparmor").exists(), reason="needs a kernel without AppArmor")
def test_exec_is_not_confined_less_than_it_was_asked_to(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.running(bundle(*SLEEP))
    done = runtime.exec(id, "true", flags=["--apparmor", "docker-default"])
    assert done.returncode != 0
    assert "apparmor" in done.stderr.lower()


@pytest.mark.skipif("selinuxfs" in Path("/proc/filesystems").read_text(), reason="needs a kernel without SELinux")
@pytest.mark.parametrize("section", ["process", "linux"])
def test_a_label_without_selinux_is_an_error(runtime: Runtime, bundle: MakeBundle, section: str) -> None:
    if section == "linux":
        runtime.not_like("crun", because="leaves the label of mounts out where there is no SELinux")
    made = bundle("true")
    made.config[section] |= {"process": {"selinuxLabel": LABEL}, "linux": {"mountLabel": LABEL}}[section]
    id = runtime.new_id()
    assert runtime.run(made, id=id).returncode != 0
    assert runtime.status(id) == ""


@pytest.mark.skipif("resctrl" in Path("/proc/self/mounts").read_text(), reason="needs a machine without resctrl")
def test_a_share_of_the_cache_without_resctrl_is_an_error(runtime: Runtime, bundle: MakeBundle) -> None:
    runtime.not_like("crun", because="1.8 leaves it out (config-linux.md: an error)")
    made = bundle("true")
    made.linux["intelRdt"] = {"l3CacheSchema": "L3:0=f"}
    assert runtime.run(made).returncode != 0


# propagation of the root


def peers(mountinfo: str, place: str = "/") -> dict[str, str]:
    """The optional fields of a mount (proc_pid_mountinfo(5)): {"shared": "12", "master": "3", "unbindable": ""}."""
    line = next(line for line in mountinfo.splitlines() if line.split()[4] == place)
    fields = line.partition(" - ")[0].split()[6:]
    return {key: value for key, _, value in (field.partition(":") for field in fields)}


class OnSharedMount:
    """A bundle on a mount that is shared, in a mount namespace of the test's own, which the runtime is called in."""

    def __init__(self, runtime: Runtime, made: Bundle) -> None:
        self.runtime = runtime
        self.holder = subprocess.Popen(
            ["unshare", "-m", "--propagation", "private", "sleep", "1000"], stdin=subprocess.DEVNULL
        )
        self.enter = ["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt"]
        own = f"/proc/{self.holder.pid}/ns/mnt"
        wait_until(lambda: os.readlink(own) != os.readlink("/proc/self/ns/mnt"), "no namespace")
        self.rootfs = made.path / "rootfs"
        self.call("mount", "--bind", str(self.rootfs), str(self.rootfs))
        self.call("mount", "--make-shared", str(self.rootfs))
        runtime.prefix = [*self.enter, *runtime.prefix]

    def call(self, *words: str) -> str:
        """Run a command of the host's there."""
        return subprocess.run([*self.enter, *words], check=True, capture_output=True, text=True).stdout

    def peers(self) -> dict[str, str]:
        """The optional fields of the mount as the host has it."""
        return peers(self.call("cat", "/proc/self/mountinfo"), str(self.rootfs))

    def end(self) -> None:
        """Let go of it."""
        self.runtime.clean_up()
        self.runtime.ids.clear()
        self.runtime.prefix = self.runtime.prefix[len(self.enter) :]
        self.holder.kill()
        self.holder.wait()


@pytest.fixture
def shared(runtime: Runtime, bundle: MakeBundle) -> Iterator[tuple[OnSharedMount, Bundle]]:
    """A container's root on a shared mount."""
    if runtime.name == "crun":
        pytest.skip("crun: on a host with both kinds of cgroups it is called in a mount namespace of its own")
    made = bundle("sh", "-c", "cat /proc/self/mountinfo; echo ready; exec sleep 1000")
    place = OnSharedMount(runtime, made)
    yield place, made
    place.end()


@pytest.mark.parametrize("asked", ["", "slave", "rslave"])
def test_mounts_of_the_host_appear_below_a_root_that_is_a_slave(
    shared: tuple[OnSharedMount, Bundle], asked: str
) -> None:
    host, made = shared
    if asked == "slave":
        host.runtime.not_like("runc", because="makes the mount that the root is on private first, unless it is a slave")
    if asked:
        made.linux["rootfsPropagation"] = asked
    id = host.runtime.running(made)
    wait_until(lambda: "ready" in host.runtime.output(id), "it does not run")
    assert peers(host.runtime.output(id)) == {"master": host.peers()["shared"]}
    host.call("mount", "-t", "tmpfs", "later", str(host.rootfs / "mnt"))
    assert "later" in host.runtime.exec(id, "cat", "/proc/self/mounts").stdout


@pytest.mark.parametrize("asked", ["private", "rprivate"])
def test_no_mount_of_the_host_appears_below_a_private_root(shared: tuple[OnSharedMount, Bundle], asked: str) -> None:
    host, made = shared
    made.linux["rootfsPropagation"] = asked
    id = host.runtime.running(made)
    wait_until(lambda: "ready" in host.runtime.output(id), "it does not run")
    assert peers(host.runtime.output(id)) == {}
    host.call("mount", "-t", "tmpfs", "later", str(host.rootfs / "mnt"))
    assert "later" not in host.runtime.exec(id, "cat", "/proc/self/mounts").stdout


@pytest.mark.parametrize(("asked", "below"), [("shared", False), ("rshared", True)])
def test_a_shared_root_has_a_peer_group_of_its_own(
    shared: tuple[OnSharedMount, Bundle], asked: str, below: bool
) -> None:
    host, made = shared
    host.runtime.not_like("runc", because="makes the old root shared, and the new one private (before 1.3)")
    made.linux["rootfsPropagation"] = asked
    id = host.runtime.running(made)
    wait_until(lambda: "ready" in host.runtime.output(id), "it does not run")
    found = peers(host.runtime.output(id))
    assert list(found) == ["shared"]
    assert found["shared"] != host.peers()["shared"], "not shared with the host"
    assert ("shared" in peers(host.runtime.output(id), "/proc")) == below


@pytest.mark.parametrize("asked", ["unbindable", "runbindable"])
def test_an_unbindable_root(runtime: Runtime, bundle: MakeBundle, asked: str) -> None:
    runtime.not_like("runc", because="binds the root file system after it has made it unbindable")
    if asked == "runbindable":
        runtime.not_like("crun", because="binds its cgroups after it has made all unbindable")
    made = bundle("cat", "/proc/self/mountinfo")
    made.linux["rootfsPropagation"] = asked
    found = output(runtime, made)
    assert peers(found) == {"unbindable": ""}
    assert ("unbindable" in peers(found, "/proc")) == (asked == "runbindable")


# interfaces


class Links:
    """A network namespace with a pair of interfaces, which the runtime is called in as if it were the host's."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.holder = subprocess.Popen(["unshare", "-n", "sleep", "1000"], stdin=subprocess.DEVNULL)
        own = f"/proc/{self.holder.pid}/ns/net"
        wait_until(lambda: os.readlink(own) != os.readlink("/proc/self/ns/net"), "no namespace")
        self.enter = ["nsenter", f"--net={own}"]
        self.call("ip link add dev0 type veth peer name dev1")
        self.call("ip link set dev0 mtu 1400 address 02:00:00:00:00:07 up")
        self.call("ip link set dev1 up")
        for address in ("10.9.8.7/24 broadcast 10.9.8.255", "10.9.8.6/24", "fd09::7/64", "169.254.1.1/16 scope link"):
            self.call(f"ip address add {address} dev dev0")
        runtime.prefix = [*self.enter, *runtime.prefix]

    def call(self, words: str) -> str:
        """Run a command there."""
        return subprocess.run([*self.enter, *words.split()], check=True, capture_output=True, text=True).stdout

    def end(self) -> None:
        """Let go of it."""
        self.runtime.clean_up()
        self.runtime.ids.clear()
        self.runtime.prefix = self.runtime.prefix[len(self.enter) :]
        self.holder.kill()
        self.holder.wait()


@pytest.fixture
def links(runtime: Runtime) -> Iterator[Links]:
    """Interfaces to move."""
    runtime.not_like("runc", "crun", because=BEFORE_1_3)
    made = Links(runtime)
    yield made
    made.end()


@pytest.mark.parametrize("own_users", [False, True])
@pytest.mark.parametrize("name", ["", "eth7"])
def test_an_interface_is_moved_inside_with_all_it_has(
    links: Links, bundle: MakeBundle, name: str, own_users: bool
) -> None:
    made = bundle(*SLEEP)
    made.linux["netDevices"] = {"dev0": {"name": name} if name else {}}
    if own_users:
        with_own_users(made)
    id = links.runtime.running(made)
    inside = links.runtime.exec(id, "ip", "address", "show", "dev", name or "dev0").stdout
    assert "mtu 1400" in inside
    assert "link/ether 02:00:00:00:00:07" in inside
    assert "UP" in inside.splitlines()[0]
    kept = [line.split()[1] for line in inside.splitlines() if "scope global" in line]
    assert kept == ["10.9.8.7/24", "10.9.8.6/24", "fd09::7/64"]
    assert "brd 10.9.8.255" in inside
    assert "169.254.1.1" not in inside, "only addresses of global scope are for the container"
    assert "dev0" not in links.call("ip link").replace("dev1@dev0", "")


def test_what_was_down_is_up_inside(links: Links, bundle: MakeBundle) -> None:
    links.call("ip link set dev0 down")
    made = bundle("ip", "link", "show", "dev", "dev0")
    made.linux["netDevices"] = {"dev0": {}}
    assert ",UP" in output(links.runtime, made)


def test_an_interface_goes_into_a_namespace_that_is_joined(links: Links, bundle: MakeBundle) -> None:
    other = subprocess.Popen(["unshare", "-n", "sleep", "1000"], stdin=subprocess.DEVNULL)
    try:
        path = f"/proc/{other.pid}/ns/net"
        wait_until(lambda: os.readlink(path) != os.readlink("/proc/self/ns/net"), "no namespace")
        made = bundle("ip", "address", "show", "dev", "eth7").without_namespace("network")
        made.linux["namespaces"].append({"type": "network", "path": path})
        made.linux["netDevices"] = {"dev0": {"name": "eth7"}}
        assert "10.9.8.7/24" in output(links.runtime, made)
        left = subprocess.run(["nsenter", f"--net={path}", "ip", "link"], capture_output=True, text=True, check=True)
        assert "eth7" in left.stdout, "who made the namespace decides what becomes of it"
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize(
    ("devices", "culprit"),
    [
        ({"dev0": {}, "nosuch": {}}, "nosuch"),
        ({"dev0": {"name": "lo"}}, "dev0"),
        ({"dev0": {}, "lo": {"name": "eth7"}}, "lo"),
    ],
)
def test_one_that_cannot_be_moved_is_an_error_and_the_others_come_back(
    links: Links, bundle: MakeBundle, devices: Json, culprit: str
) -> None:
    before = addresses(links)
    made = bundle("true")
    made.linux["netDevices"] = devices
    done = links.runtime.run(made)
    assert done.returncode != 0
    assert f"interfaces {culprit}" in done.stderr
    assert addresses(links) == before


@pytest.mark.parametrize("verb", ["create", "run"])
def test_a_create_that_fails_later_gives_them_back(links: Links, bundle: MakeBundle, verb: str) -> None:
    before = addresses(links)
    made = bundle("nosuch")
    made.linux["netDevices"] = {"dev0": {"name": "eth7"}}
    assert links.runtime.try_create(made, verb=verb).returncode != 0
    assert addresses(links) == before


def test_a_console_that_nobody_takes_gives_them_back(links: Links, bundle: MakeBundle) -> None:
    before = addresses(links)
    made = bundle("true")
    made.process["terminal"] = True
    made.linux["netDevices"] = {"dev0": {"name": "eth7"}}
    assert links.runtime.try_create(made, "--console-socket", "/nowhere/socket").returncode != 0
    assert addresses(links) == before


def addresses(links: Links) -> list[str]:
    """What of the interface's has to come back: name, mtu, state, addresses of global scope."""
    lines = links.call("ip address show dev dev0").splitlines()
    first = lines[0].split()
    kept = [line.split("scope")[0].strip() for line in lines[1:] if "scope global" in line]
    return ["UP" if "UP" in first[2] else "down", *first[3:5], *kept]
