"""Limits: what an engine asks for is in the cgroup, seen from outside and inside, and the kernel acts on it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from tests.engines.daemons import IMAGE, Engine, succeed

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1 << 20
# what holds a limit on cgroup v1 and v2
MEMORY = ("memory.limit_in_bytes", "memory.max")
PROCESSES = ("pids.max",)
PROCESSOR = ("cpu.cfs_quota_us", "cpu.max")
PROCESSORS = ("cpuset.cpus",)


def start(engine: Engine, name: str, *options: str) -> str:
    """A container that does nothing, with limits; its whole id."""
    return succeed(engine("run", "-d", "--name", name, *options, IMAGE, "sleep", "1000"))


def inside(engine: Engine, name: str, *files: str) -> str:
    """What the first of these files holds in the container's own view of its cgroup."""
    words = " ".join(f"/sys/fs/cgroup/*/{file} /sys/fs/cgroup/{file}" for file in files)
    script = f"for each in {words}; do [ -f $each ] && cat $each && exit; done; exit 1"
    return succeed(engine("exec", name, "sh", "-c", script))


def both(engine: Engine, name: str, *files: str) -> str:
    """What the limit is, which has to be the same from outside and inside."""
    outside = engine.room.limit(engine.identity(name), *files)
    assert inside(engine, name, *files) == outside
    return outside


def test_memory(rootful: Engine, name: str) -> None:
    start(rootful, name, "--memory", "64m")
    assert both(rootful, name, *MEMORY) == str(64 * MIB)


def test_memory_and_swap(rootful: Engine, name: str) -> None:
    start(rootful, name, "--memory", "64m", "--memory-swap", "96m", "--memory-reservation", "32m")
    identity = rootful.identity(name)
    assert rootful.room.limit(identity, *MEMORY) == str(64 * MIB)
    swap = int(rootful.room.limit(identity, "memory.memsw.limit_in_bytes", "memory.swap.max"))
    assert swap in {96 * MIB, 32 * MIB}  # with the memory on v1, without on v2
    assert rootful.room.limit(identity, "memory.soft_limit_in_bytes", "memory.low") == str(32 * MIB)


def test_too_much_memory_is_death(rootful: Engine, name: str) -> None:
    limits = ("--memory", "24m", "--memory-swap", "24m")
    script = "dd if=/dev/zero of=/dev/null bs=200M count=1"
    done = rootful("run", "--name", name, *limits, IMAGE, "sh", "-c", f"exec {script}")
    assert done.returncode == 137
    if rootful.kind == "docker":  # podman 4.3 does not say it on cgroup v1, with runc neither
        assert rootful.inspect(name, "{{.State.OOMKilled}}") == "true"


def test_enough_memory_is_not(rootful: Engine, name: str) -> None:
    succeed(rootful("run", "--name", name, "--memory", "24m", IMAGE, "true"))
    assert rootful.inspect(name, "{{.State.OOMKilled}}") == "false"


def test_processes(rootful: Engine, name: str) -> None:
    start(rootful, name, "--pids-limit", "7")
    assert both(rootful, name, *PROCESSES) == "7"
    done = rootful("exec", name, "sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done")
    assert "can't fork" in done.stderr


def test_processor_time(rootful: Engine, name: str) -> None:
    start(rootful, name, "--cpus", "0.2")
    assert both(rootful, name, *PROCESSOR) in {"20000", "20000 100000"}
    succeed(rootful("exec", "-d", name, "sh", "-c", "while :; do :; done"))
    identity = rootful.identity(name)
    deadline = time.monotonic() + 20
    while "nr_throttled 0\n" in (shown := rootful.room.limit(identity, "cpu.stat") + "\n"):
        assert time.monotonic() < deadline, shown
        time.sleep(0.1)
    assert "nr_throttled " in shown
    succeed(rootful("kill", name))


def test_processor_shares_and_places(rootful: Engine, name: str) -> None:
    start(rootful, name, "--cpu-shares", "512", "--cpuset-cpus", "0")
    assert both(rootful, name, *PROCESSORS) == "0"
    assert rootful.room.limit(rootful.identity(name), "cpu.shares", "cpu.weight") in {"512", "20"}
    assert succeed(rootful("exec", name, "nproc")) == "1"


def test_a_command_run_later_is_limited_too(rootful: Engine, name: str) -> None:
    start(rootful, name, "--memory", "24m", "--memory-swap", "24m")
    done = rootful("exec", name, "dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1")
    assert done.returncode == 137


def test_update(rootful: Engine, name: str) -> None:
    start(rootful, name, "--memory", "64m", "--memory-swap", "64m", "--cpus", "0.5")
    if rootful.kind != "docker" and rootful("update", "--help").returncode:
        assert "unrecognized command" in rootful("update").stderr  # podman has it since 4.4
        return
    succeed(rootful("update", "--memory", "48m", "--memory-swap", "48m", "--cpus", "0.25", name))
    assert both(rootful, name, *MEMORY) == str(48 * MIB)
    assert both(rootful, name, *PROCESSOR) in {"25000", "25000 100000"}


def test_update_of_processes_and_shares(rootful: Engine, name: str) -> None:
    if rootful.kind != "docker":
        return
    start(rootful, name, "--pids-limit", "100", "--cpu-shares", "512")
    succeed(rootful("update", "--pids-limit", "9", "--cpu-shares", "256", name))
    assert both(rootful, name, *PROCESSES) == "9"
    assert rootful.room.limit(rootful.identity(name), "cpu.shares", "cpu.weight") in {"256", "10"}


def test_statistics(rootful: Engine, name: str) -> None:
    start(rootful, name, "--memory", "64m")
    row = json.loads(succeed(rootful("stats", "--no-stream", "--format", "{{json .}}", name)))
    row = row[0] if isinstance(row, list) else row  # podman says a list
    usage = str(row.get("MemUsage") or row.get("mem_usage"))
    assert usage.endswith(("/ 64MiB", "/ 67.11MB"))
    pids = str(row.get("PIDs") or row.get("pids"))
    assert pids == "1"


def test_statistics_are_of_what_it_uses(rootful: Engine, name: str) -> None:
    script = "{ head -c 20m /dev/zero; sleep 1000; } | tail -c 20m & while :; do :; done"
    limits = ("--memory", "64m", "--cpus", "0.5")
    succeed(rootful("run", "-d", "--name", name, *limits, IMAGE, "sh", "-c", script))
    wanted = "{{.MemPerc}} {{.CPUPerc}} {{.PIDs}}"
    deadline = time.monotonic() + 20
    while True:
        memory, processor, processes = succeed(rootful("stats", "--no-stream", "--format", wanted, name)).split()
        if float(memory.strip("%")) > 30 and 10 < float(processor.strip("%")) < 80:
            break
        assert time.monotonic() < deadline, (memory, processor)
    assert int(processes) >= 3  # two shells and tail; one of them may have become sleep
    succeed(rootful("kill", name))


def test_devices_are_limited(rootful: Engine) -> None:
    script = "mknod /tmp/kmsg c 1 11; head -c1 /tmp/kmsg; echo $?"
    done = rootful.run("--cap-add", "MKNOD", "--tmpfs", "/tmp:dev", IMAGE, "sh", "-c", script)
    assert "Operation not permitted" in done.stderr
    assert done.stdout.endswith("1\n")


def test_a_device_that_is_given_can_be_used_as_given(rootful: Engine) -> None:
    assert rootful.sh("stat -c %t:%T /dev/mine; echo lost >/dev/mine", "--device", "/dev/null:/dev/mine") == "1:3"
    # of devices that no container has of itself
    script = ": </dev/mine && echo read; : >/dev/mine && echo written"
    done = rootful.run("--device", "/dev/fuse:/dev/mine:r", IMAGE, "sh", "-c", script)
    assert done.stdout == "read\n"
    assert "Operation not permitted" in done.stderr


def test_file_limits(engine: Engine) -> None:
    assert engine.sh("ulimit -n; ulimit -Hn", "--ulimit", "nofile=100:200", "--ulimit", "nproc=900:900").split() == [
        "100",
        "200",
    ]


def test_out_of_memory_order(engine: Engine) -> None:
    assert engine.sh("cat /proc/self/oom_score_adj", "--oom-score-adj", "500") == "500"


def test_shared_memory(engine: Engine) -> None:
    assert engine.sh("df -k /dev/shm | tail -1", "--shm-size", "3m").split()[1] == "3072"


def test_its_cgroup_is_the_root_of_what_it_sees(rootful: Engine, unless_runc: Callable[[str], None]) -> None:
    del unless_runc
    shown = rootful.sh("cat /proc/self/cgroup", "--cgroupns", "private").splitlines()
    assert {line.rpartition(":")[2] for line in shown} == {"/"}
