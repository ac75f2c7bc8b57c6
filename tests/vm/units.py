"""What has to hold where systemd owns the control groups: run by `vm.py --systemd`, as a service of the guest.

A plain script for the same reason as `inside.py`, whose ways to run things it uses.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.vm import inside
from tests.vm.inside import AS_USER, TOP, USER, bundle, bundle_config, runtime

RUNTIME_DIR = f"/run/user/{USER}"
SLEEP = ["sh", "-c", "echo ready; exec sleep 1000"]
MIB = 1 << 20


def show(unit: str, *names: str, user: bool = False) -> dict[str, str]:
    """Properties of a unit."""
    words = ["systemctl", "show", unit, *(f"--property={name}" for name in names)]
    if user:
        words = [*AS_USER, "env", f"XDG_RUNTIME_DIR={RUNTIME_DIR}", words[0], "--user", *words[1:]]
    lines = subprocess.check_output(words, text=True).splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def reload() -> None:
    """Let systemd look at all again, and write into groups what it knows."""
    subprocess.run(["systemctl", "daemon-reload"], check=True)


def config(path: str, *words: str, **resources: Any) -> dict[str, Any]:
    """A config.json with these limits."""
    made = bundle_config(list(words or SLEEP), 0, True)
    made["linux"] |= {"cgroupsPath": path, "resources": resources}
    return made


def scoped(*args: str) -> subprocess.CompletedProcess[str]:
    """cloche-runtime with systemd's groups."""
    done: subprocess.CompletedProcess[str] = runtime("--systemd-cgroup", *args)
    return done


def ok(*args: str) -> str:
    """The same, which has to succeed."""
    done = scoped(*args)
    assert done.returncode == 0, f"{args}: {done.returncode} {done.stdout}{done.stderr}"
    return done.stdout


def started(made: dict[str, Any], name: str) -> int:
    """Run it detached; returns its pid."""
    ok("run", "--detach", "--bundle", bundle(made), name)
    return int(json.loads(ok("state", name))["pid"])


def group_of(pid: int) -> Path:
    """The control group a process is in."""
    return Path(TOP, Path(f"/proc/{pid}/cgroup").read_text().strip().removeprefix("0::/"))


def gone(unit: str) -> bool:
    """Whether systemd has forgotten a unit, within a while."""
    for _ in range(100):
        if show(unit, "LoadState", "ActiveState")["ActiveState"] == "inactive":
            return True
        time.sleep(0.1)
    return False


def check_this_is_a_machine_of_systemd() -> None:
    assert os.readlink("/proc/1/exe").endswith("systemd"), os.readlink("/proc/1/exe")
    assert os.path.isdir("/run/systemd/system")


def check_a_container_is_a_scope_with_its_limits() -> None:
    unit = "docker-first.scope"
    made = config(
        "system.slice:docker:first",
        memory={"limit": 64 * MIB, "reservation": 16 * MIB, "swap": 96 * MIB},
        cpu={"shares": 2048, "quota": 25_000, "period": 50_000, "cpus": "0"},
        pids={"limit": 20},
        unified={"memory.high": str(48 * MIB)},
    )
    pid = started(made, "first")
    try:
        place = group_of(pid)
        assert place == TOP / "system.slice" / unit, place
        found = show(
            unit, "ActiveState", "Slice", "Delegate", "MemoryMax", "MemoryLow", "MemoryHigh", "MemorySwapMax",
            "TasksMax", "CPUQuotaPerSecUSec", "CPUQuotaPeriodUSec", "AllowedCPUs", "Description",
        )  # fmt: skip
        assert found == {
            "ActiveState": "active",
            "Slice": "system.slice",
            "Delegate": "yes",
            "MemoryMax": str(64 * MIB),
            "MemoryLow": str(16 * MIB),
            "MemoryHigh": str(48 * MIB),
            "MemorySwapMax": str(32 * MIB),
            "TasksMax": "20",
            "CPUQuotaPerSecUSec": "500ms",
            "CPUQuotaPeriodUSec": "50ms",
            "AllowedCPUs": "0",
            "Description": "container first",
        }, found
        for file, value in (
            ("memory.max", str(64 * MIB)), ("memory.swap.max", str(32 * MIB)), ("memory.high", str(48 * MIB)),
            ("pids.max", "20"), ("cpu.max", "25000 50000"), ("cpuset.cpus", "0"),
        ):  # fmt: skip
            assert (place / file).read_text().strip() == value, (file, (place / file).read_text())
        # and it stays so when systemd looks again
        reload()
        assert (place / "memory.max").read_text().strip() == str(64 * MIB)
        assert (place / "cpu.max").read_text().strip() == "25000 50000"
    finally:
        ok("delete", "--force", "first")
    assert gone(unit)
    assert not place.exists()


def check_the_limits_are_in_force() -> None:
    made = config(
        "a-b.slice::greedy", "sh", "-c", inside.GREEDY, memory={"limit": 32 * MIB, "swap": 32 * MIB}, pids={"limit": 9}
    )
    done = scoped("run", "--bundle", bundle(made), "greedy")
    assert done.returncode == 128 + signal.SIGKILL, (done.returncode, done.stderr)
    assert gone("greedy.scope")


def check_exec_pause_and_kill_work_in_it() -> None:
    unit, name = "cloche-second.scope", "second"
    pid = started(config(""), name)
    try:
        place = group_of(pid)
        assert place.name == unit, place
        ok("exec", "--detach", name, "sleep", "2000")
        pids = {int(line) for line in (place / "cgroup.procs").read_text().split()}
        assert len(pids) == 2, pids
        assert sorted(map(int, ok("ps", "--format", "json", name).strip("[]\n").split(","))) == sorted(pids)
        ok("pause", name)
        assert json.loads(ok("state", name))["status"] == "paused"
        assert "frozen 1" in (place / "cgroup.events").read_text()
        ok("resume", name)
        stats = json.loads(ok("events", "--stats", name))
        assert stats["data"]["pids"]["current"] == 2, stats
        ok("kill", "--all", name, "KILL")
    finally:
        ok("delete", "--force", name)
    assert gone(unit)


def check_update_tells_systemd_too() -> None:
    pid = started(config("system.slice:cloche:third", memory={"limit": 64 * MIB}), "third")
    try:
        ok("update", "--memory", str(80 * MIB), "--pids-limit", "33", "third")
        found = show("cloche-third.scope", "MemoryMax", "TasksMax")
        assert found == {"MemoryMax": str(80 * MIB), "TasksMax": "33"}, found
        reload()
        assert (group_of(pid) / "memory.max").read_text().strip() == str(80 * MIB)
        assert (group_of(pid) / "pids.max").read_text().strip() == "33"
    finally:
        ok("delete", "--force", "third")


def check_devices_are_refused_also_after_a_reload() -> None:
    made = config("system.slice:cloche:fourth", devices=[{"allow": False, "access": "rwm"}])
    pid = started(made, "fourth")
    try:
        probe = "mknod /tmp/kmsg c 1 11 2>/dev/null; head -c 1 </dev/zero | wc -c; cat /tmp/kmsg"
        words = ["systemctl", "show", "cloche-fourth.scope", "--property=DevicePolicy", "--property=DeviceAllow"]
        told = subprocess.check_output(words, text=True).splitlines()
        assert {"DevicePolicy=strict", "DeviceAllow=/dev/char/1:3 rwm", "DeviceAllow=char-136 rwm"} <= set(told), told
        for again in (False, True):
            if again:
                reload()
            done = scoped("exec", "--cap", "CAP_MKNOD", "fourth", "sh", "-c", probe)
            assert done.stdout.split() == ["1"], (done.stdout, done.stderr)
            assert done.returncode != 0
        assert group_of(pid).name == "cloche-fourth.scope"
    finally:
        ok("delete", "--force", "fourth")


def check_properties_by_annotation() -> None:
    made = config("system.slice:cloche:fifth")
    made["annotations"] = {
        "org.systemd.property.TimeoutStopUSec": "uint64 7000000",
        "org.systemd.property.Description": "'another one'",
        "org.systemd.property.SendSIGHUP": "true",
    }
    started(made, "fifth")
    try:
        found = show("cloche-fifth.scope", "TimeoutStopUSec", "Description", "SendSIGHUP")
        assert found == {"TimeoutStopUSec": "7s", "Description": "another one", "SendSIGHUP": "yes"}, found
    finally:
        ok("delete", "--force", "fifth")


def check_what_systemd_refuses_leaves_nothing() -> None:
    made = config("system.slice:cloche:sixth")
    made["annotations"] = {"org.systemd.property.NoSuchProperty": "true"}
    done = scoped("create", "--bundle", bundle(made), "sixth")
    assert done.returncode == 1, done
    assert "NoSuchProperty" in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert json.loads(ok("list", "--format", "json")) is None
    assert gone("cloche-sixth.scope")


def check_a_unit_of_somebody_else_is_left_alone() -> None:
    # in another slice, so that nothing is seen of it where the container's group would be
    words = ["systemd-run", "--scope", "--quiet", "--slice=other.slice", "--unit=precious", "sleep", "1000"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as other:
        try:
            while show("precious.scope", "ActiveState")["ActiveState"] != "active":
                time.sleep(0.1)
            done = scoped("create", "--bundle", bundle(config("system.slice::precious")), "thief")
            assert done.returncode == 1, done
            assert "precious.scope" in done.stderr, done.stderr
            assert show("precious.scope", "ActiveState", "Slice") == {"ActiveState": "active", "Slice": "other.slice"}
            assert other.poll() is None
        finally:
            other.kill()
    assert gone("precious.scope")


def check_what_is_idle_stays_idle_after_a_reload() -> None:
    pid = started(config("system.slice:cloche:idle", cpu={"idle": 1}), "idle")
    try:
        assert (group_of(pid) / "cpu.idle").read_text().strip() == "1"
        reload()
        assert (group_of(pid) / "cpu.idle").read_text().strip() == "1"
    finally:
        ok("delete", "--force", "idle")


def check_a_container_is_deleted_where_systemd_cannot_be_told() -> None:
    pid = started(config("system.slice:cloche:alone"), "alone")
    place = group_of(pid)
    os.rename("/run/systemd/private", "/run/systemd/private.hidden")
    try:
        done = scoped("delete", "--force", "alone")
        assert done.returncode == 0, done
        assert "cloche-alone.scope could not be stopped" in done.stderr, done.stderr
        assert not place.exists()
        assert json.loads(ok("list", "--format", "json")) is None
    finally:
        os.rename("/run/systemd/private.hidden", "/run/systemd/private")
    assert gone("cloche-alone.scope"), "systemd sees for itself that nobody is in it"


def check_a_container_whose_state_is_damaged_is_deleted_with_its_scope() -> None:
    place = group_of(started(config("a-b.slice:cloche:broken"), "broken"))
    Path("/tmp/containers/broken/state.json").write_text("{")
    ok("delete", "--force", "broken")
    assert gone("cloche-broken.scope")
    assert not place.exists()


def check_a_container_that_was_made_is_gone_with_create() -> None:
    made = config("system.slice:cloche:seventh", "/no/such/command")
    done = scoped("create", "--bundle", bundle(made), "seventh")
    assert done.returncode == 1, done
    assert gone("cloche-seventh.scope")


def check_a_bus_serves_where_the_private_socket_is_out_of_reach() -> None:
    Path("/run/dbus").mkdir(exist_ok=True)
    subprocess.run(["systemctl", "start", "--job-mode=ignore-dependencies", "dbus.socket", "dbus.service"], check=True)
    made = config("system.slice:cloche:eighth", memory={"limit": 64 * MIB})
    os.rename("/run/systemd/private", "/run/systemd/private.hidden")
    try:
        started(made, "eighth")
        assert show("cloche-eighth.scope", "MemoryMax") == {"MemoryMax": str(64 * MIB)}
        ok("delete", "--force", "eighth")
    finally:
        os.rename("/run/systemd/private.hidden", "/run/systemd/private")


def check_a_pod_is_in_the_slice_that_a_kubelet_names() -> None:
    """Of containerd, by the calls of a kubelet whose driver is systemd."""
    from tests.engines import cri
    from tests.vm import pods

    above = "kubepods-burstable-podone.slice"
    place = TOP / "kubepods.slice/kubepods-burstable.slice" / above
    pod = cri.pod("one", f"/{place.relative_to(TOP)}")
    with pods.kubelet() as kubelet:
        sandbox = kubelet.text("RunPodSandbox", (1, pod), (2, "cloche"))
        limits = (
            *((cri.MEMORY, 64 * MIB), (cri.CPU_PERIOD, 50_000), (cri.CPU_QUOTA, 25_000), (cri.CPU_SHARES, 2048)),
            (cri.UNIFIED, cri.encode((1, "pids.max"), (2, "20"))),
        )
        made = cri.container("box", pods.IMAGE, "sh", "-c", "trap 'exit 5' TERM; sleep 1000 & wait", limits=limits)
        identity = kubelet.text("CreateContainer", (1, sandbox), (2, made), (3, pod))
        kubelet.ask("StartContainer", (1, identity))
        units = [f"cri-containerd-{each}.scope" for each in (sandbox, identity)]
        scope = place / units[1]
        assert sorted(path.name for path in place.iterdir() if path.is_dir()) == sorted(units)
        assert show(units[0], "ActiveState", "Slice") == {"ActiveState": "active", "Slice": above}

        def have(memory: int, quota: int) -> None:
            found = show(units[1], "ActiveState", "Slice", "MemoryMax", "TasksMax", "CPUQuotaPerSecUSec", "CPUWeight")
            assert found == {
                "ActiveState": "active",
                "Slice": above,
                "MemoryMax": str(memory),
                "TasksMax": "20",
                "CPUQuotaPerSecUSec": f"{quota // 50}ms",
                "CPUWeight": "174",
            }, found
            files = {"memory.max": f"{memory}", "pids.max": "20", "cpu.max": f"{quota} 50000", "cpu.weight": "174"}
            written = {name: (scope / name).read_text().strip() for name in files}
            assert written == files, written

        have(64 * MIB, 25_000)
        script = "cat /proc/self/cgroup /proc/self/attr/current; cd /sys/fs/cgroup; cat memory.max; "
        script += "grep -cx $$ cgroup.procs; exit 3"
        answer = kubelet.ask("ExecSync", (1, identity), (2, "sh"), (2, "-c"), (2, script), (3, 60))
        seen = f"0::/\ncri-containerd.apparmor.d (enforce)\n{64 * MIB}\n1\n"
        assert answer == {1: [seen.encode()], 3: [3]}, answer
        asked = cri.encode((cri.MEMORY, 80 * MIB), (cri.CPU_PERIOD, 50_000), (cri.CPU_QUOTA, 40_000))
        kubelet.ask("UpdateContainerResources", (1, identity), (2, asked))
        have(80 * MIB, 40_000)
        kubelet.ask("StopContainer", (1, identity), (2, 60))
        assert kubelet.state(identity) == (cri.EXITED, 5)
        kubelet.ask("RemoveContainer", (1, identity))
        kubelet.ask("StopPodSandbox", (1, sandbox))
        kubelet.ask("RemovePodSandbox", (1, sandbox))
        assert [unit for unit in units if not gone(unit)] == []
        assert [path for path in place.iterdir() if path.is_dir()] == []
        assert os.listdir("/run/containerd/runc/k8s.io") == []
    # where the shims were, which a stop of containerd leaves alone
    assert not (TOP / "system.slice/containerd.service").exists()


def user_manager() -> str:
    """A service manager of the ordinary user, as user@.service is one, until the guest ends; its group below TOP."""
    own = "system.slice/checks-user.service"
    private = Path(f"{RUNTIME_DIR}/systemd/private")
    if private.exists():
        return own
    with open("/etc/passwd", "a") as passwd:
        passwd.write(f"checks:x:{USER}:{USER}::/tmp:/bin/sh\n")
    os.makedirs(RUNTIME_DIR)
    os.chown(RUNTIME_DIR, USER, USER)
    unit = Path("/run/systemd/system/checks-user.service")
    unit.write_text(
        f"[Unit]\nDefaultDependencies=no\n[Service]\nUser={USER}\nDelegate=yes\n"
        f"Environment=XDG_RUNTIME_DIR={RUNTIME_DIR} HOME=/tmp\n"
        "ExecStart=/lib/systemd/systemd --user --unit=default.target\n"
    )
    reload()
    subprocess.run(["systemctl", "start", "checks-user.service"], check=True)
    for _ in range(300):
        if private.exists():
            break
        time.sleep(0.1)
    return own


def as_user(*args: str, group: str = "") -> str:
    """The user's own runtime, from below a group or else from where we are, which is not the user's."""
    moved = ["sh", "-c", f'echo $$ >{TOP}/{group}/cgroup.procs && exec "$@"', "sh"] if group else []
    env = [*moved, *AS_USER, "env", f"XDG_RUNTIME_DIR={RUNTIME_DIR}", "HOME=/tmp"]
    command = [*inside.RUNTIME, "--root", "/tmp/user-containers", "--systemd-cgroup"]
    with open("/tmp/user.out", "w+") as out:
        done = subprocess.run([*env, *command, *args], stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False)
        out.seek(0)
        text = out.read()
    assert done.returncode == 0, (args, text)
    return text


def users_bundle() -> str:
    """A bundle that an ordinary user can run, with limits."""
    made = config("user.slice:cloche:mine", memory={"limit": 48 * MIB}, pids={"limit": 30})
    ids = [{"containerID": 0, "hostID": USER, "size": 1}]
    made["linux"] |= {"uidMappings": ids, "gidMappings": ids}
    made["linux"]["namespaces"].append({"type": "user"})
    rootfs = Path("/tmp/user-rootfs")
    if not rootfs.exists():
        inside.make_rootfs(rootfs)
    made["root"]["path"] = str(rootfs)
    made["mounts"] = [item for item in made["mounts"] if item["type"] not in {"cgroup", "devpts"}]
    return bundle(made)


def check_an_ordinary_user_has_scopes_of_their_own() -> None:
    own = user_manager()
    there = f"{own}/init.scope"  # as a process that the user's manager has started
    as_user("run", "--detach", "--bundle", users_bundle(), "mine", group=there)
    pid = int(json.loads(as_user("state", "mine", group=there))["pid"])
    place = group_of(pid)
    assert str(place).endswith("/checks-user.service/user.slice/cloche-mine.scope"), place
    assert (place / "memory.max").read_text().strip() == str(48 * MIB)
    assert (place / "pids.max").read_text().strip() == "30"
    assert show("cloche-mine.scope", "MemoryMax", user=True)["MemoryMax"] == str(48 * MIB)
    as_user("exec", "--detach", "mine", "sleep", "2000", group=there)
    assert len((place / "cgroup.procs").read_text().split()) == 2
    as_user("delete", "--force", "mine", group=there)
    assert not place.exists()


def check_an_ordinary_user_may_come_from_a_group_that_is_not_theirs() -> None:
    # as a shell of a login session does (session-1.scope), from which only the system's manager moves processes
    Path("/run/dbus").mkdir(exist_ok=True)
    subprocess.run(["systemctl", "start", "--job-mode=ignore-dependencies", "dbus.socket", "dbus.service"], check=True)
    user_manager()
    as_user("run", "--detach", "--bundle", users_bundle(), "mine")
    place = group_of(int(json.loads(as_user("state", "mine"))["pid"]))
    as_user("exec", "--detach", "mine", "sleep", "2000")
    assert len((place / "cgroup.procs").read_text().split()) == 2
    as_user("update", "--memory", str(64 * MIB), "--pids-limit", "40", "mine")
    assert (place / "memory.max").read_text().strip() == str(64 * MIB)
    found = show("cloche-mine.scope", "MemoryMax", "TasksMax", user=True)
    assert found == {"MemoryMax": str(64 * MIB), "TasksMax": "40"}, found
    as_user("pause", "mine")
    assert "frozen 1" in (place / "cgroup.events").read_text()
    as_user("resume", "mine")
    as_user("delete", "--force", "mine")
    assert not place.exists()
    found = show("cloche-mine.scope", "ActiveState", user=True)
    assert found == {"ActiveState": "inactive"}, found


if __name__ == "__main__":
    inside.prepare_disk()
    shutil.rmtree("/tmp/containers", ignore_errors=True)
    sys.exit(inside.main(globals()))
