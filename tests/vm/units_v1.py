"""What has to hold where systemd has its controllers on cgroup v1 and a v2 tree beside: run by `vm.py --systemd --v1`.

The group of a scope is in many places here, and systemd writes some of them itself, with its own idea of devices.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.vm import inside
from tests.vm.inside import TOP, bundle, runtime
from tests.vm.units import MIB, config, gone, ok, reload, scoped, show, started

CONTROLLERS = "memory cpu,cpuacct cpuset pids devices freezer blkio systemd unified".split()
KMSG = "mknod /tmp/kmsg c 1 11 2>/dev/null; head -c 1 </dev/zero | wc -c; cat /tmp/kmsg"


def places(unit: str) -> dict[str, Path]:
    """The group of a scope in each hierarchy where it is."""
    found = {name: TOP / name / "system.slice" / unit for name in CONTROLLERS}
    return {name: place for name, place in found.items() if place.is_dir()}


def check_this_is_a_machine_with_v1() -> None:
    assert (TOP / "memory/memory.use_hierarchy").exists()
    assert (TOP / "unified/cgroup.procs").exists()


def check_a_container_is_a_scope_in_every_hierarchy() -> None:
    unit = "cloche-first.scope"
    made = config(
        "system.slice:cloche:first",
        memory={"limit": 64 * MIB},
        cpu={"shares": 512, "quota": 25_000, "period": 50_000, "cpus": "0"},
        pids={"limit": 20},
    )
    pid = started(made, "first")
    where: dict[str, Path] = {}
    try:
        where = places(unit)
        assert set(where) == set(CONTROLLERS), where
        for again in (False, True):
            if again:
                reload()
            for name, place in where.items():
                assert (place / "cgroup.procs").read_text().split() == [str(pid)], name
            for name, file, value in (
                ("memory", "memory.limit_in_bytes", 64 * MIB), ("cpu,cpuacct", "cpu.shares", 512),
                ("cpu,cpuacct", "cpu.cfs_quota_us", 25_000), ("cpu,cpuacct", "cpu.cfs_period_us", 50_000),
                ("cpuset", "cpuset.cpus", 0), ("pids", "pids.max", 20),
            ):  # fmt: skip
                assert (where[name] / file).read_text().strip() == str(value), (file, (where[name] / file).read_text())
        assert show(unit, "MemoryLimit", "CPUShares", "TasksMax", "ControlGroup") == {
            "MemoryLimit": str(64 * MIB),
            "CPUShares": "512",
            "TasksMax": "20",
            "ControlGroup": f"/system.slice/{unit}",
        }
        ok("exec", "--detach", "first", "sleep", "2000")
        for name, place in where.items():
            assert len((place / "cgroup.procs").read_text().split()) == 2, name
        ok("update", "--memory", str(80 * MIB), "first")
        assert (where["memory"] / "memory.limit_in_bytes").read_text().strip() == str(80 * MIB)
        assert show(unit, "MemoryLimit") == {"MemoryLimit": str(80 * MIB)}
        ok("pause", "first")
        assert json.loads(ok("state", "first"))["status"] == "paused"
        ok("resume", "first")
    finally:
        ok("delete", "--force", "first")
    assert gone(unit)
    assert not [place for place in where.values() if place.exists()]


def check_devices_are_refused_also_after_a_reload() -> None:
    made = config("system.slice:cloche:second", devices=[{"allow": False, "access": "rwm"}])
    started(made, "second")
    try:
        for again in (False, True):
            if again:  # what makes systemd write the group of a unit anew
                words = ["systemctl", "set-property", "--runtime", "cloche-second.scope", "TasksMax=50"]
                subprocess.run(words, check=True)
                reload()
            lines = (places("cloche-second.scope")["devices"] / "devices.list").read_text().split("\n")
            assert "a *:* rwm" not in lines, lines
            assert "c 1:3 rwm" in lines, lines
            done = scoped("exec", "--cap", "CAP_MKNOD", "second", "sh", "-c", KMSG)
            assert done.stdout.split() == ["1"], (done.stdout, done.stderr)
            assert done.returncode != 0
    finally:
        ok("delete", "--force", "second")


def check_what_only_v1_has_for_networks_and_what_this_machine_has_not() -> None:
    made = config(
        "/cloche-net",
        network={"classID": 0x100001, "priorities": [{"name": "lo", "priority": 5}]},
        hugepageLimits=[{"pageSize": "2MB", "limit": 4 * MIB}],
        rdma={},
    )
    done = runtime("run", "--detach", "--bundle", bundle(made), "net")
    try:
        assert done.returncode == 0, done.stderr
        found = {
            path.name: path.read_text() for path in TOP.glob("*/cloche-net/*") if path.name.startswith(("net_", "huge"))
        }
        assert found["net_cls.classid"] == f"{0x100001}\n", found
        assert "lo 5\n" in found["net_prio.ifpriomap"], found
        assert found["hugetlb.2MB.limit_in_bytes"] == f"{4 * MIB}\n", found
    finally:
        runtime("delete", "--force", "net")
    assert not list(TOP.glob("*/cloche-net"))
    made["linux"]["resources"] = {"rdma": {"mlx5_1": {"hcaHandles": 3}}}
    done = runtime("run", "--bundle", bundle(made), "net")
    assert (done.returncode, "rdma" in done.stderr) == (1, True), done
    assert not list(TOP.glob("*/cloche-net"))


if __name__ == "__main__":
    inside.prepare_disk()
    shutil.rmtree("/tmp/containers", ignore_errors=True)
    sys.exit(inside.main(globals()))
