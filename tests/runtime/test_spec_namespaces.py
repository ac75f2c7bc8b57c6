"""config.json: `linux.namespaces`, the id maps of a user namespace, the offsets of a time namespace."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.runtime.conftest import wait_until
from tests.runtime.looking import (
    capable,
    mount,
    mounts,
    namespace,
    ns,
    only_cloche,
    private,
    python,
    refused,
    sh,
    since,
    status,
    told,
    unmasked,
    user_namespace,
    waiting,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.runtime.conftest import MakeBundle, Runtime

# the specification's name of each kind, and the kernel's
KINDS = {
    "pid": "pid",
    "network": "net",
    "mount": "mnt",
    "ipc": "ipc",
    "uts": "uts",
    "user": "user",
    "cgroup": "cgroup",
    "time": "time",
}
FLAGS = {
    "pid": "-pf",
    "network": "-n",
    "mount": "-m",
    "ipc": "-i",
    "uts": "-u",
    "user": "-U",
    "cgroup": "-C",
    "time": "-T",
}


@contextlib.contextmanager
def held(kind: str) -> Iterator[int]:
    """A process in a new namespace of one kind; its pid."""
    words = ["--map-root-user"] if kind == "user" else []
    if kind == "mount":
        words = ["--propagation", "private"]
    child = subprocess.Popen(
        ["unshare", FLAGS[kind], *words, "--kill-child", "sh", "-c", "echo ready; exec sleep 600"],
        stdout=subprocess.PIPE,
    )
    try:
        assert child.stdout
        assert child.stdout.readline() == b"ready\n"
        inner = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
        yield int(inner[0])
    finally:
        child.kill()
        child.wait()
        if child.stdout:
            child.stdout.close()


def test_every_kind_is_made(runtime: Runtime, bundle: MakeBundle) -> None:
    since(runtime, runc="1.2", crun="1.8")  # time namespaces
    made = user_namespace(bundle())
    for kind in ("cgroup", "time"):
        namespace(made, kind)
    pid = waiting(runtime, made)
    same = {kind for kind, name in KINDS.items() if ns(pid, name) == ns("self", name)}
    assert same == set()


@pytest.mark.parametrize("kind", ["network", "ipc", "uts", "pid", "cgroup", "user", "time"])
def test_what_is_not_named_is_the_runtimes_own(runtime: Runtime, bundle: MakeBundle, kind: str) -> None:
    """ "If a namespace type is not specified in the namespaces array, the container MUST inherit the runtime namespace
    of that type." """
    made = bundle()
    made.without_namespace(kind)
    if kind == "uts":
        del made.config["hostname"]
    if kind == "network":  # sysfs belongs to a network namespace
        made.bind("/sys", "/sys", "ro", "rbind")
    if kind == "ipc":
        made.config["mounts"] = [m for m in made.config["mounts"] if m["type"] != "mqueue"]
    pid = waiting(runtime, made)
    assert ns(pid, KINDS[kind]) == ns("self", KINDS[kind])


@pytest.mark.parametrize("kind", ["network", "ipc", "uts", "pid", "cgroup", "time"])
def test_a_path_is_joined(runtime: Runtime, bundle: MakeBundle, kind: str) -> None:
    """ "The runtime MUST place the container process in the namespace associated with that path." """
    if kind == "time":
        since(runtime, runc="1.2", crun="never")
    made = bundle()
    if kind == "uts":
        del made.config["hostname"]
    with held(kind) as holder:
        namespace(made, kind, f"/proc/{holder}/ns/{KINDS[kind]}")
        pid = waiting(runtime, made)
        assert ns(pid, KINDS[kind]) == ns(holder, KINDS[kind])
        assert ns(pid, KINDS[kind]) != ns("self", KINDS[kind])
        assert ns(pid, "mnt") not in (ns(holder, "mnt"), ns("self", "mnt"))
        runtime.clean_up()


def tree(pid: int) -> list[str]:
    """Where something is mounted in the mount namespace of a process, as it sees it."""
    return [entry.path for entry in mounts(Path(f"/proc/{pid}/mountinfo").read_text())]


def test_a_mount_namespace_is_joined(runtime: Runtime, bundle: MakeBundle) -> None:
    """It becomes the container's: its root is the container's root for all who are in it, as with runc and crun."""
    made = unmasked(mount(bundle(), "/mnt", "tmpfs", "size=64k"))  # runc masks nothing there
    with held("mount") as holder:
        namespace(made, "mount", f"/proc/{holder}/ns/mnt")
        id = runtime.running(made.command("sleep", "600"))
        pid = runtime.pid(id)
        assert ns(pid, "mnt") == ns(holder, "mnt") != ns("self", "mnt")
        assert ns(pid, "pid") not in (ns(holder, "pid"), ns("self", "pid"))
        assert set(os.listdir(f"/proc/{pid}/root")) == {entry.name for entry in made.rootfs.iterdir()}
        assert runtime.exec(id, "sh", "-c", "echo seen >/mnt/file; hostname").stdout == "inside\n"
        assert Path(f"/proc/{holder}/root/mnt/file").read_text() == "seen\n"
        assert tree(holder) == tree(pid)
        runtime.clean_up()


@pytest.mark.parametrize("why", ["mount", "hook"])
def test_a_failed_create_gives_a_joined_mount_namespace_back(runtime: Runtime, bundle: MakeBundle, why: str) -> None:
    only_cloche(runtime, "runc and crun leave their mounts there")
    made = mount(bundle("true"), "/mnt", "tmpfs", "size=64k")
    if why == "mount":
        mount(made, "/tmp", "fogfs")
    else:
        made.config["hooks"] = {"createContainer": [{"path": "/bin/false"}]}
    with held("mount") as holder:
        before = tree(holder)
        refused(runtime, namespace(made, "mount", f"/proc/{holder}/ns/mnt"), "/tmp" if why == "mount" else "/bin/false")
        assert tree(holder) == before


@pytest.mark.parametrize("path", [None, "/proc/self/ns/mnt", "/proc/1/ns/mnt"])
def test_the_hosts_own_mount_namespace_is_refused(runtime: Runtime, bundle: MakeBundle, path: str | None) -> None:
    """Its root would become the container's. Within a host of the test's own: one mount namespace is that of its first
    process, another one is the runtime's."""
    only_cloche(runtime, "runc and crun change the host's mounts")
    made = bundle("true").without_namespace("mount")
    if path:
        namespace(made, "mount", path)
    look = "cut -d' ' -f5 /proc/1/mountinfo >$0"
    script = f'{look}.before; unshare -m "$@"; code=$?; {look}.after; exit $code'
    runtime.prefix = ["unshare", "-mpf", "--mount-proc", "sh", "-c", script, str(runtime.top / "seen")]
    refused(runtime, made, "/linux/namespaces")
    assert (runtime.top / "seen.before").read_text() == (runtime.top / "seen.after").read_text() != ""


def test_a_user_namespace_is_joined_with_its_maps(runtime: Runtime, bundle: MakeBundle) -> None:
    since(runtime, runc="1.2")  # maps had to be there
    first = waiting(runtime, user_namespace(bundle(), 300000, 2000))
    made = namespace(bundle(), "user", f"/proc/{first}/ns/user")
    pid = waiting(runtime, made)
    assert ns(pid, "user") == ns(first, "user")
    assert ns(pid, "net") != ns(first, "net")
    assert Path(f"/proc/{pid}/uid_map").read_text().split() == ["0", "300000", "2000"]
    assert status(pid)["Uid"].split() == ["300000"] * 4


def test_several_are_joined_at_once(runtime: Runtime, bundle: MakeBundle) -> None:
    """As a pod does: the second container in the user, network, ipc and uts namespaces of the first."""
    since(runtime, runc="1.2")
    first = waiting(runtime, user_namespace(bundle()))
    made = bundle()
    del made.config["hostname"]
    for kind in ("user", "network", "ipc", "uts"):
        namespace(made, kind, f"/proc/{first}/ns/{KINDS[kind]}")
    pid = waiting(runtime, made)
    shared = {kind for kind, name in KINDS.items() if ns(pid, name) == ns(first, name)}
    assert shared >= {"user", "network", "ipc", "uts"}
    assert not shared & {"mount", "pid"}


def test_a_bind_mounted_file_is_a_path_too(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    """`ip netns add` makes such files. Mounted in a namespace of the test's own."""
    (place / "netns").touch()
    script = f"mount --make-rprivate /; unshare --net={place}/netns true; stat -Lc %i {place}/netns >{place}/inode"
    pid = waiting(private(runtime, script), namespace(bundle(), "network", f"{place}/netns"))
    assert ns(pid, "net") == f"net:[{(place / 'inode').read_text().strip()}]"


@pytest.mark.parametrize("kind", KINDS)
def test_a_path_of_another_type_is_refused(runtime: Runtime, bundle: MakeBundle, kind: str) -> None:
    """ "The runtime MUST generate an error if path is not associated with a namespace of type type." """
    other = "uts" if kind != "uts" else "ipc"
    since(runtime, runc="1.2" if kind == "time" else "0")
    refused(runtime, namespace(bundle(), kind, f"/proc/self/ns/{other}"))


@pytest.mark.parametrize("path", ["/etc/passwd", "/does/not/exist", "proc/self/ns/net", "/proc/self/ns", "/dev/null"])
def test_a_path_that_is_no_namespace_is_refused(runtime: Runtime, bundle: MakeBundle, path: str) -> None:
    """ "This value MUST be an absolute path in the runtime mount namespace." """
    refused(runtime, namespace(bundle(), "network", path), path)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_kind_twice_is_refused(runtime: Runtime, bundle: MakeBundle, kind: str) -> None:
    """ "If a namespaces field contains duplicated namespaces with same type, the runtime MUST generate an error." """
    runtime.not_like("crun", because="takes the last one, config-linux.md: namespaces")
    since(runtime, runc="1.2")
    made = user_namespace(bundle()) if kind == "user" else namespace(bundle(), kind)
    made.linux["namespaces"].append({"type": kind})
    refused(runtime, made, "/linux/namespaces")


def test_an_unknown_kind_is_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.linux["namespaces"].append({"type": "weather"})
    refused(runtime, made, "/linux/namespaces/5", "weather")


def test_a_user_namespace_maps_what_it_says(runtime: Runtime, bundle: MakeBundle) -> None:
    made = user_namespace(bundle("sleep", "600"))
    made.linux["uidMappings"] = [
        {"containerID": 0, "hostID": 300000, "size": 10},
        {"containerID": 10, "hostID": 500000, "size": 1},
        {"containerID": 1000, "hostID": 400000, "size": 2000},
    ]
    made.linux["gidMappings"] = [{"containerID": 0, "hostID": 310000, "size": 3000}]
    made.process["user"] = {"uid": 1001, "gid": 1002, "additionalGids": [5]}
    pid = waiting(runtime, made)
    lines = Path(f"/proc/{pid}/uid_map").read_text().splitlines()
    assert [tuple(map(int, line.split())) for line in lines] == [(0, 300000, 10), (10, 500000, 1), (1000, 400000, 2000)]
    assert Path(f"/proc/{pid}/gid_map").read_text().split() == ["0", "310000", "3000"]
    assert status(pid)["Uid"].split() == ["400001"] * 4
    assert status(pid)["Gid"].split() == ["311002"] * 4
    assert "310005" in status(pid)["Groups"].split()


def test_the_root_file_system_keeps_its_owner(runtime: Runtime, bundle: MakeBundle) -> None:
    """ "The runtime SHOULD NOT modify the ownership of referenced filesystems to realize the mapping." """
    made = user_namespace(bundle()).writable()
    os.chown(made.rootfs / "root", 300000, 300000)
    before = {p: (p.lstat().st_uid, p.lstat().st_gid, p.lstat().st_mode) for p in made.rootfs.rglob("*")}
    assert sh(runtime, made, "stat -c %u /etc/passwd; stat -c %u /root; touch /root/new; id -u").split() == [
        "65534",
        "0",
        "0",
    ]
    assert (made.rootfs / "root/new").stat().st_uid == 300000
    after = {p: (p.lstat().st_uid, p.lstat().st_gid, p.lstat().st_mode) for p in before}
    assert after == before


def test_an_unmapped_user_is_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    made = user_namespace(bundle("true"), 300000, 100)
    made.process["user"] = {"uid": 100, "gid": 0}
    refused(runtime, made, "user")


def test_maps_without_a_user_namespace_are_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    only_cloche(runtime, "what asks for ids of its own and gets the host's is not weakened in silence")
    refused(runtime, user_namespace(bundle("true")).without_namespace("user"), "/linux/uidMappings")


@pytest.mark.parametrize("kind", ["uidMappings", "gidMappings"])
def test_a_new_user_namespace_needs_maps(runtime: Runtime, bundle: MakeBundle, kind: str) -> None:
    runtime.not_like("crun", because="maps what it thinks fit")
    made = user_namespace(bundle("true"))
    del made.linux[kind]
    assert "warning" not in refused(runtime, made, f"/linux/{kind}: ", "--rootless")


def test_overlapping_maps_are_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    made = user_namespace(bundle("true"))
    made.linux["uidMappings"].append({"containerID": 5, "hostID": 900000, "size": 3})
    refused(runtime, made, "uidMappings")


def test_setgroups_stays_allowed_where_root_maps(runtime: Runtime, bundle: MakeBundle) -> None:
    pid = waiting(runtime, user_namespace(bundle()))
    assert Path(f"/proc/{pid}/setgroups").read_text() == "allow\n"


CLOCKS = "import time; print(time.clock_gettime(time.CLOCK_MONOTONIC), time.clock_gettime(time.CLOCK_BOOTTIME))"


def test_clocks_are_offset(runtime: Runtime, bundle: MakeBundle) -> None:
    """time_namespaces(7): "the value of timens_offsets"; the first process inside already sees them."""
    import time

    since(runtime, runc="1.2", crun="1.9")
    made = python(namespace(bundle(), "time"), CLOCKS)
    made.linux["timeOffsets"] = {
        "monotonic": {"secs": 172800, "nanosecs": 500},
        "boottime": {"secs": 604800},
    }
    monotonic, boottime = map(float, told(runtime, made).split())
    assert 172800 <= monotonic - time.clock_gettime(time.CLOCK_MONOTONIC) + 100 < 172900 + 1
    assert 604800 <= boottime - time.clock_gettime(time.CLOCK_BOOTTIME) + 100 < 604900 + 1


def test_offsets_are_written_to_the_nanosecond(runtime: Runtime, bundle: MakeBundle) -> None:
    since(runtime, runc="1.2", crun="1.9")
    made = namespace(bundle(), "time")
    made.linux["timeOffsets"] = {"monotonic": {"secs": 5, "nanosecs": 999999999}, "boottime": {"secs": -1}}
    pid = waiting(runtime, made)
    lines = [line.split() for line in Path(f"/proc/{pid}/timens_offsets").read_text().splitlines()]
    assert lines == [["monotonic", "5", "999999999"], ["boottime", "-1", "0"]]


def test_offsets_without_a_time_namespace_are_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    since(runtime, runc="1.2", crun="1.9")
    made = bundle("true")
    made.linux["timeOffsets"] = {"monotonic": {"secs": 5}}
    refused(runtime, made, "/linux/timeOffsets")


def test_an_unknown_clock_is_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    since(runtime, runc="1.2", crun="never")
    made = namespace(bundle("true"), "time")
    made.linux["timeOffsets"] = {"realtime": {"secs": 5}}
    refused(runtime, made, "/linux/timeOffsets")


def test_the_host_name_and_domain_name(runtime: Runtime, bundle: MakeBundle) -> None:
    since(runtime, runc="1.2", crun="1.8")
    made = bundle()
    made.config["hostname"], made.config["domainname"] = "glass", "bell.example"
    assert sh(runtime, made, "cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname").split() == [
        "glass",
        "bell.example",
    ]
    assert os.uname().nodename != "glass"


@pytest.mark.parametrize("key", ["hostname", "domainname"])
def test_a_name_without_a_uts_namespace_is_refused(runtime: Runtime, bundle: MakeBundle, key: str) -> None:
    if key == "domainname":
        since(runtime, runc="1.2", crun="1.8")
    made = bundle("true").without_namespace("uts")
    made.config.pop("hostname", None)
    made.config[key] = "elsewhere"
    before = Path("/proc/sys/kernel/domainname").read_text(), os.uname().nodename
    refused(runtime, made, f"/{key}")
    assert (Path("/proc/sys/kernel/domainname").read_text(), os.uname().nodename) == before


def test_a_cgroup_namespace_begins_at_the_containers_group(runtime: Runtime, bundle: MakeBundle) -> None:
    out = sh(runtime, namespace(bundle(), "cgroup"), "cat /proc/self/cgroup")
    paths = {
        line.split(":", 2)[2] for line in out.splitlines() if line.split(":", 2)[1] in ("pids", "memory", "cpu", "")
    }
    assert paths == {"/"}


def test_without_a_cgroup_namespace_the_path_is_the_hosts(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.linux["cgroupsPath"] = f"/cloche-spec-{os.getpid()}"
    out = sh(runtime, made, "cat /proc/self/cgroup")
    found = [line.split(":", 2)[2] for line in out.splitlines() if line.split(":", 2)[1] == "pids"]
    assert found
    assert found[0].startswith(made.linux["cgroupsPath"])


def test_a_network_namespace_has_its_loopback_up(runtime: Runtime, bundle: MakeBundle) -> None:
    """What runc and crun both do, and what engines rely on."""
    out = sh(runtime, bundle(), "cat /sys/class/net/lo/flags; ls /sys/class/net").split()
    assert int(out[0], 16) & 1
    assert "eth0" not in out


def test_the_process_is_the_first_of_its_pid_namespace(runtime: Runtime, bundle: MakeBundle) -> None:
    assert sh(runtime, bundle(), "echo $$; ls /proc | grep -c '^[0-9]'").split()[0] == "1"


def test_ipc_is_apart(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.linux["sysctl"] = {"kernel.msgmax": "9000"}
    before = Path("/proc/sys/kernel/msgmax").read_text()
    assert sh(runtime, made, "cat /proc/sys/kernel/msgmax").strip() == "9000"
    assert Path("/proc/sys/kernel/msgmax").read_text() == before


def test_a_container_with_everything_ends_with_its_namespaces(runtime: Runtime, bundle: MakeBundle) -> None:
    since(runtime, runc="1.2", crun="1.8")
    made = capable(user_namespace(bundle("sleep", "600")))
    for kind in ("cgroup", "time"):
        namespace(made, kind)
    mount(made, "/mnt", "tmpfs")
    id = runtime.running(made)
    inodes = {ns(runtime.pid(id), name) for name in KINDS.values()}
    runtime.stop(id)
    runtime.delete(id)

    def left() -> set[str]:
        found = set()
        for pid in filter(str.isdecimal, os.listdir("/proc")):
            for name in KINDS.values():
                with contextlib.suppress(OSError):
                    found.add(ns(pid, name))
        return found & inodes

    wait_until(lambda: not left(), "a namespace outlives its container")
