"""What has to hold on a pure cgroup v2 tree and Linux 6.1: run as root by `vm.py`, within the guest.

A plain script, because everything takes fifty times as long in there. Each check is a function whose
name says what holds; they go through the command line and look from inside and from outside.
Usage: inside.py [WORD…] runs the checks whose names contain one of the words.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

SOURCE = os.environ["CLOCHE_SOURCE"]
sys.path[:0] = [SOURCE, str(Path(__file__).resolve().parents[2])]
PYTHON = "/usr/bin/python3"
# by bundles, as the launchers in scripts/ do: with a file for each module every run would take a second longer
LAUNCH = f"import sys; sys.path.insert(0, {SOURCE!r}); from cloche import bundle; bundle.launch('{SOURCE}/cloche', "
BOOTSTRAP = LAUNCH + "'cloche.cli.main', 'run', at_once=False)"
CLOCHE = [PYTHON, "-I", "-S", "-B", "-c", BOOTSTRAP]
WHICH = "'runtime' if {'create', 'run', 'exec'} & set(sys.argv) else 'small'"
RUNTIME = [*CLOCHE[:-1], f"{LAUNCH}'cloche.cli.runtime.main', {WHICH}, at_once=True)"]
USER = 1500
AS_USER = ["setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups"]
TOP = Path("/sys/fs/cgroup")
DELEGATED = TOP / "deleg"
LEAF = DELEGATED / "leaf"
DISK = Path("/mnt")
ROOTFS = DISK / "rootfs"
APPLETS = "sh true false ls id cat mkdir mknod rm rmdir touch stat dd sleep echo head env seq wc".split()
PATIENCE = 60  # seconds for one command
# asks for more than 64 MiB at once, so that 32 MiB of memory and as much swap are not enough
GREEDY = "dd if=/dev/zero of=/dev/null bs=96M count=1"


PROFILE = """profile cloche-check flags=(attach_disconnected,mediate_deleted) {
  file, capability, mount, signal, unix, network, umount, pivot_root,
  deny /denied w,
}"""
# checks that do not hold, and why; one that holds after all is a failure
KNOWN = {
    "check_a_removed_directory_can_be_made_again": "tmpfs has no user.* attributes before 6.6, so an overlay "
    "in a user namespace cannot mark its new directory as opaque: mkdir is EIO",
}


def cloche(*args: str, prefix: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run cloche to its end, as root or behind other words."""
    env = {"PATH": os.environ["PATH"], "HOME": "/", "CLOCHE_STATE": "/tmp/state-user" if prefix else "/tmp/state"}
    words = [*(prefix or []), *CLOCHE, *args]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=False, env=env, input="")
    assert "Traceback" not in done.stderr, done.stderr
    return done


def delegated(*args: str) -> subprocess.CompletedProcess[str]:
    """The same as an ordinary user who sits in a group that was delegated to them, beside a shell."""
    words = ["sh", "-c", f'echo $$ >{LEAF}/cgroup.procs && exec "$@"', "sh"]
    shell = ["sh", "-c", '"$@"; code=$?; cat /proc/self/cgroup >&2; exit $code', "sh"]
    return cloche(*args, prefix=[*words, *AS_USER, *shell])


def run(*args: str) -> tuple[int, str, str]:
    """`cloche run --rootfs` as root: exit code, stdout, stderr."""
    done = cloche("run", *args)
    return done.returncode, done.stdout, done.stderr


def in_rootfs(*words: str) -> list[str]:
    """The words for a command in the small root file system."""
    return ["--rootfs", str(ROOTFS), *words]


def runtime(*args: str) -> subprocess.CompletedProcess[str]:
    """Run cloche-runtime; its output goes through files, as a container it leaves behind has them open."""
    with open("/tmp/out", "w+") as out, open("/tmp/err", "w+") as err:
        words = [*RUNTIME, "--root", "/tmp/containers", *args]
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=out, stderr=err, timeout=PATIENCE, check=False)
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(words, done.returncode, out.read(), err.read())


def bundle_config(words: list[str], user: int, no_new_privileges: bool) -> dict[str, Any]:
    """What `cloche-runtime spec` writes, once, with a command and no terminal."""
    top = Path("/tmp/spec")
    if not top.exists():
        top.mkdir()
        assert runtime("spec", "--bundle", str(top)).returncode == 0
    config: dict[str, Any] = json.loads((top / "config.json").read_text())
    process = {"terminal": False, "args": words, "user": {"uid": user, "gid": user}}
    config["process"] |= {**process, "noNewPrivileges": no_new_privileges}
    config["root"] = {"path": str(ROOTFS), "readonly": False}
    return config


def bundle(config: dict[str, Any]) -> str:
    """The path of a bundle with this config."""
    top = Path("/tmp/bundle")
    top.mkdir(exist_ok=True)
    (top / "config.json").write_text(json.dumps(config))
    return str(top)


def groups() -> list[str]:
    """Every group of ours that there is."""
    return [str(Path(top) / name) for top, names, _ in os.walk(TOP) for name in names if name.startswith("cloche-")]


def check_this_is_the_host_we_want() -> None:
    assert os.uname().release.startswith("6.1."), os.uname().release
    assert "memory" in (TOP / "cgroup.controllers").read_text().split()
    assert Path("/proc/self/cgroup").read_text() == "0::/\n"


def check_root_runs_this_machine_and_a_directory() -> None:
    code, out, err = run("host", "sh", "-c", "id -u; hostname; ls /root /home")
    assert (code, out.split()[0]) == (0, "0"), (out, err)
    assert "guest" not in out
    code, out, err = run(*in_rootfs("sh", "-c", "echo out; exit 7"))
    assert (code, out) == (7, "out\n"), err


def check_files_belong_to_the_containers_root_and_can_be_replaced() -> None:
    # id-mapped lower (5.19) under an overlay in a user namespace, whose upper tmpfs has no user.* attributes (6.6)
    script = "stat -c %u /d /d/f; echo new >/d/f && cat /d/f && rm -r /d/e && echo gone"
    code, out, err = run(*in_rootfs("sh", "-c", script))
    assert (code, out.split()) == (0, ["0", "0", "new", "gone"]), (out, err)
    assert (ROOTFS / "d/f").read_text() == "old\n"
    assert (ROOTFS / "d/e").is_dir()


def check_a_removed_directory_can_be_made_again() -> None:
    code, out, err = run(*in_rootfs("sh", "-c", "rm -r /d/e && mkdir /d/e && echo again"))
    assert (code, out) == (0, "again\n"), (out, err)


def check_a_directory_whose_owners_cannot_be_mapped_works_and_says_so() -> None:
    # tmpfs cannot map ids before 6.3
    done = cloche("run", "--explain", "--rootfs", "/tmp/rootfs", "sh", "-c", "stat -c %u /d; touch /new && echo made")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["65534", "made"], done.stdout
    assert "cannot map ids" in done.stderr, done.stderr


def check_root_without_a_user_namespace_runs_from_a_sealed_copy() -> None:
    # memfd without MFD_EXEC (6.3)
    code, out, err = run("--userns", "host", *in_rootfs("id", "-u"))
    assert (code, out) == (0, "0\n"), err


def check_limits_are_written() -> None:
    limits = "--memory 64m --memory-swap 80m --memory-reservation 32m --pids-limit 99 --cpus 0.5".split()
    limits += "--cpu-shares 2048 --cpuset-cpus 1".split()
    files = "memory.max memory.swap.max memory.low pids.max cpu.max cpu.weight cpuset.cpus.effective".split()
    code, out, err = run(*limits, *in_rootfs("sh", "-c", f"cd /sys/fs/cgroup && cat {' '.join(files)}"))
    assert code == 0, err
    assert out.splitlines() == ["67108864", "16777216", "33554432", "99", "50000 100000", "174", "1"], out


def check_io_limits_are_written() -> None:
    limits = ["--device-read-bps", "/dev/vda:1m", "--device-write-iops", "/dev/vda:100", "--io-weight", "200"]
    code, out, err = run(*limits, *in_rootfs("cat", "/sys/fs/cgroup/io.max", "/sys/fs/cgroup/io.weight"))
    assert code == 0, err
    device = os.stat("/dev/vda").st_rdev
    where = f"{os.major(device)}:{os.minor(device)}"
    assert out.splitlines() == [f"{where} rbps=1048576 wbps=max riops=max wiops=100", "default 200"], out


def check_memory_limit_bites_and_is_the_reason() -> None:
    code, _, err = run("--memory", "32m", "--memory-swap", "32m", *in_rootfs("sh", "-c", GREEDY))
    assert code == 137, (code, err)
    assert "out of memory" in err, err
    assert "32 MiB" in err, err
    code, _, err = run("--memory", "256m", *in_rootfs("sh", "-c", GREEDY))
    assert code == 0, err


def check_pids_limit_bites_and_is_the_reason() -> None:
    script = "for i in $(seq 20); do sleep 5 & done; wait"
    code, _, err = run("--pids-limit", "8", *in_rootfs("sh", "-c", script))
    assert code, err
    assert "the limit on processes was reached" in err, err


def check_cpuset_holds() -> None:
    code, out, err = run("--cpuset-cpus", "1", *in_rootfs("sh", "-c", "head -n 60 /proc/self/status"))
    assert code == 0, err
    assert "Cpus_allowed_list:\t1\n" in out, out


def check_an_impossible_value_is_refused_in_one_line() -> None:
    code, _, err = run("--cpuset-cpus", "77", *in_rootfs("true"))
    assert code == 125, (code, err)
    assert "cpuset" in err, err


def check_born_in_its_group_whose_view_is_its_own() -> None:
    script = "cat /proc/1/cgroup; head -n 1 /sys/fs/cgroup/cgroup.procs; mkdir /sys/fs/cgroup/x"
    done = cloche("run", "--explain", *in_rootfs("sh", "-c", script))
    assert done.stdout == "0::/\n1\n", done.stdout
    assert done.returncode == 1, "the view of the groups can be written"
    assert 'cgroup.procs", pid)' not in done.stderr, "it was moved instead of born there"


def check_group_is_seen_from_outside_and_killed_with_all_in_it() -> None:
    env = {"PATH": os.environ["PATH"], "HOME": "/", "CLOCHE_STATE": "/tmp/state"}
    # no pid namespace of its own: only cgroup.kill can find what has left its session
    script = "sh -c 'sleep 77 & sleep 78 & wait' & echo up; wait"
    words = [*CLOCHE, "run", "--pid", "host", *in_rootfs("sh", "-c", script)]
    front = subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    try:
        assert front.stdout is not None
        assert front.stdout.readline() == b"up\n"
        found = groups()
        assert len(found) == 1, found
        deadline = time.monotonic() + 20
        while len(members := (Path(found[0]) / "cgroup.procs").read_text().split()) < 4:
            assert time.monotonic() < deadline, members
            time.sleep(0.2)
    finally:
        front.send_signal(signal.SIGKILL)
        front.wait()
    deadline = time.monotonic() + 20
    while groups() or any(alive(int(pid)) for pid in members):
        assert time.monotonic() < deadline, (groups(), members)
        time.sleep(0.2)


def alive(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


def check_exec_is_born_in_the_group_and_stats_count_it() -> None:
    env = {"PATH": os.environ["PATH"], "HOME": "/", "CLOCHE_STATE": "/tmp/state"}
    limits = ("--memory", "64m", "--memory-swap", "64m", "--pids-limit", "2")
    words = [*CLOCHE, "run", "-i", "--name", "watched", *limits, *in_rootfs("sh", "-c", "echo up; exec cat")]
    front = subprocess.Popen(words, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert front.stdout is not None
        assert front.stdin is not None
        assert front.stdout.readline() == b"up\n"
        done = cloche("exec", "watched", "cat", "/proc/self/cgroup")
        assert (done.returncode, done.stdout) == (0, "0::/\n"), done.stderr
        done = cloche("exec", "watched", "sh", "-c", "true; (true); echo went on")
        assert "went on" not in done.stdout, "the limit on processes does not count it"
        done = cloche("exec", "watched", "sh", "-c", f"exec {GREEDY}")
        assert done.returncode == 137, (done.returncode, done.stderr)
        assert cloche("exec", "-d", "watched", "sh", "-c", "while :; do :; done").returncode == 0
        members = {pid for path in groups() for pid in (Path(path) / "cgroup.procs").read_text().split()}
        assert len(members) == 2, members
        table = cloche("top", "watched", "-o", "pid,args").stdout.splitlines()
        assert {line.split()[0] for line in table[1:]} == members, table
        form = "{{.CPUPerc}} {{.MemUsage}} {{.PIDs}} {{.BlockIO}}"
        percent, used, _, limit, pids, *disk = cloche(
            "stats", "--no-stream", "--format", form, "watched"
        ).stdout.split()
        assert float(percent.removesuffix("%")) > 5, percent
        assert (used.endswith("iB"), limit, pids) == (True, "64MiB", "2"), (used, limit, pids)
        counted = "io" in (Path(groups()[0]) / "cgroup.controllers").read_text().split()
        assert ("--" in disk) != counted, disk
        (Path(groups()[0]) / "cgroup.freeze").write_text("1")
        done = cloche("exec", "watched", "true")
        assert (done.returncode, "is paused" in done.stderr) == (1, True), done.stderr
        (Path(groups()[0]) / "cgroup.freeze").write_text("0")
        front.stdin.close()
        assert front.wait(60) == 0
    finally:
        front.kill()
        front.wait()
    assert not groups(), groups()


def check_a_user_without_delegation_is_told() -> None:
    done = cloche("run", "--memory", "32m", *in_rootfs("true"), prefix=AS_USER)
    assert done.returncode == 125, done.stderr
    assert "not delegated to you" in done.stderr, done.stderr
    assert "systemd-run --user --scope -p Delegate=yes" in done.stderr, done.stderr
    done = cloche("run", "--allow-unenforced", "--memory", "32m", *in_rootfs("id", "-u"), prefix=AS_USER)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


def check_a_user_with_a_delegated_group_has_limits() -> None:
    script = "cat /proc/self/cgroup /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max"
    done = delegated("run", "--memory", "64m", "--pids-limit", "50", *in_rootfs("sh", "-c", script))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0::/", "67108864", "50"], done.stdout
    # the shell it was started from is back where it was
    assert "0::/deleg/leaf\n" in done.stderr, done.stderr
    assert (LEAF / "cgroup.subtree_control").read_text().split() == []


def check_limits_bite_in_a_delegated_group() -> None:
    done = delegated("run", "--memory", "32m", "--memory-swap", "32m", *in_rootfs("sh", "-c", GREEDY))
    assert done.returncode == 137, done.stderr
    assert "out of memory" in done.stderr, done.stderr


def check_two_at_once_in_a_delegated_group() -> None:
    inner = " ".join(f"'{word}'" for word in [*CLOCHE[:-1]]) + f' "{BOOTSTRAP}"'
    one = f"{inner} run --memory 64m --rootfs {ROOTFS} sh -c 'cat /sys/fs/cgroup/memory.max'"
    words = ["sh", "-c", f'echo $$ >{LEAF}/cgroup.procs && exec "$@"', "sh", *AS_USER]
    script = f"({one}; echo first $?) & ({one}; echo second $?) & wait"
    env = {"PATH": os.environ["PATH"], "HOME": "/", "CLOCHE_STATE": "/tmp/state-user"}
    done = subprocess.run(
        [*words, "sh", "-c", script], capture_output=True, text=True, timeout=PATIENCE, check=False, env=env
    )
    assert sorted(done.stdout.split("\n")) == ["", "67108864", "67108864", "first 0", "second 0"], (
        done.stdout,
        done.stderr,
    )
    assert (LEAF / "cgroup.subtree_control").read_text().split() == []


def check_root_has_its_device_rules_enforced_in_a_sandbox() -> None:
    script = "head -c 1 /dev/z | wc -c; (: >>/dev/z) || echo refused"
    done = cloche("run", "--explain", "--device", "/dev/vda:/dev/z:r", *in_rootfs("sh", "-c", script))
    assert done.stdout.split() == ["1", "refused"], (done.stdout, done.stderr)
    assert "BPF_PROG_ATTACH" in done.stderr, done.stderr


def check_a_containers_groups_take_every_limit() -> None:
    from tests.integration.grouped import grouped

    from cloche.spec.resources import Resources

    device = os.stat("/dev/vda").st_rdev
    where = {"major": os.major(device), "minor": os.minor(device)}
    asked: dict[str, object] = {
        "memory": {"limit": 64 << 20, "swap": 80 << 20, "reservation": 32 << 20, "kernel": 1 << 20, "swappiness": 5},
        "cpu": {"quota": 50000, "period": 200000, "burst": 10000, "shares": 2048, "cpus": "1", "mems": "0"},
        "pids": {"limit": 99},
        "blockIO": {"weight": 500, "throttleReadBpsDevice": [{**where, "rate": 1 << 20}]},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}],
        "unified": {"memory.high": "50000000", "cgroup.max.depth": "3"},
    }
    files = {
        "memory.max": "67108864",
        "memory.swap.max": "16777216",
        "memory.low": "33554432",
        "memory.high": "49999872",
        "cpu.max": "50000 200000",
        "cpu.max.burst": "10000",
        "cpu.weight": "174",
        "cpuset.cpus": "1",
        "cpuset.mems": "0",
        "pids.max": "99",
        "io.max": f"{where['major']}:{where['minor']} rbps=1048576 wbps=max riops=max wiops=max",
        "hugetlb.2MB.max": "4194304",
        "hugetlb.2MB.rsvd.max": "4194304",
        "cgroup.max.depth": "3",
    }
    with grouped(Resources.parse(asked)) as group:
        assert {name: group.read(name) for name in files} == files
        assert group.read("io.bfq.weight", "io.weight") in {"default 500", "default 4950"}
        missing = [layer.name for layer in group.receipt if not layer.enforced]
        assert missing == ["memory-swappiness", "memory-kernel"], missing
    with grouped(Resources.parse({"cpu": {"idle": 1, "shares": 2048}})) as group:
        assert (group.read("cpu.idle"), group.read("cpu.weight")) == ("1", "0")


def check_a_file_nobody_knows_is_the_kernels_error() -> None:
    from tests.integration.grouped import grouped

    from cloche.spec.resources import Resources

    refused = ""
    try:
        with grouped(Resources(unified={"memory.no_such": "1"})):
            pass
    except FileNotFoundError as error:
        refused = str(error.filename)
    assert refused.endswith("/it/memory.no_such"), refused


def check_a_process_is_born_in_a_group_for_one() -> None:
    from tests.integration.grouped import grouped

    from cloche.linux import process
    from cloche.linux.files import Fd
    from cloche.spec.resources import Pids, Resources

    with grouped(Resources(pids=Pids(limit=0))) as group:
        with Fd(os.open(group.plan.born_in, os.O_RDONLY)) as directory:
            pid, pidfd = process.clone3(0, cgroup=directory.number)
        if pid == 0:
            try:
                os.fork()
            except BlockingIOError:
                os._exit(7)
            os._exit(0)
        ended = process.wait_pidfd(pidfd)
        os.close(pidfd)
        assert ended is not None
        assert ended.status == 7, ended


def check_limits_of_a_living_container_are_raised_and_lowered() -> None:
    from tests.integration.grouped import grouped, memory_limits

    from cloche.errors import ConflictError
    from cloche.runtime.cgroups.update import merged, update_limits
    from cloche.spec.resources import CPU, Memory, Pids, Resources

    have = Resources(memory=Memory(limit=64 << 20, swap=96 << 20), cpu=CPU(quota=50000, burst=40000))
    with grouped(have) as group:
        for limit, swap in ((128, 256), (16, 24), (80, 96)):
            have = merged(have, Resources(memory=Memory(limit=limit << 20, swap=swap << 20)))
            update_limits(have, group.paths)
            assert memory_limits(group) == (limit << 20, swap << 20)
        have = merged(have, Resources(memory=Memory(limit=70 << 20), pids=Pids(limit=7)))
        update_limits(have, group.paths)
        assert memory_limits(group) == (70 << 20, 96 << 20), "the sum stays"
        for quota, burst in ((20000, 10000), (200000, 150000), (5000, 0)):
            have = merged(have, Resources(cpu=CPU(quota=quota, burst=burst)))
            update_limits(have, group.paths)
            assert (group.read("cpu.max"), group.read("cpu.max.burst")) == (f"{quota} 100000", str(burst))
        assert group.read("pids.max") == "7"
        update_limits(Resources(memory=Memory(limit=-1)), group.paths)
        assert (group.read("memory.max"), group.read("memory.swap.max")) == ("max", "max")
        group.start("sleep", "600")
        for _ in range(100):
            if int(group.read("memory.current")) > 4096:
                break
            time.sleep(0.05)  # what a process has is counted in batches, or not touched yet
        refused = ""
        try:
            update_limits(Resources(memory=Memory(limit=4096, checkBeforeUpdate=True)), group.paths)
        except ConflictError as error:
            refused = str(error)
        assert "are in use" in refused, "it would have been ended"


def check_a_program_decides_about_devices_and_gives_way_to_another() -> None:
    from tests.integration.grouped import grouped

    from cloche.linux import bpf
    from cloche.runtime.cgroups.update import update_limits
    from cloche.spec.resources import DeviceRule, Resources

    def may(group: Any) -> str:
        script = "for d in zero kmsg; do (: </dev/$d) && echo $d; done; mknod /mnt/n c 1 11 && rm /mnt/n && echo made"
        return " ".join(group.start("sh", "-c", f"{script}; true").communicate(timeout=PATIENCE)[0].decode().split())

    everything = DeviceRule(allow=True, access="rwm")
    kmsg = DeviceRule(allow=True, type="c", major=1, minor=11, access="r")
    with grouped(Resources(devices=[DeviceRule(allow=False, access="rwm")])) as group:
        assert may(group) == "zero made"
        for rules, expected in (([kmsg], "zero kmsg made"), ([], "zero made"), ([everything], "zero kmsg made")):
            update_limits(Resources(devices=rules), group.paths)
            assert may(group) == expected, (expected, rules)
        fd = os.open(group.plan.born_in, os.O_RDONLY)
        assert len(bpf.attached(fd)) == 1
        os.close(fd)


def check_the_kernel_makes_nodes_as_the_rules_say() -> None:
    from tests.integration.grouped import grouped

    from cloche.runtime.cgroups.devices import Table, program_of
    from cloche.stage.deciding import attach_devices

    with grouped() as group:
        attach_devices(group.plan.born_in, program_of(Table(False, {("c", 1, 3): 1, ("b", 7, -1): 3})))
        numbers = ("c 1 3", "c 1 5", "b 1 3", "b 7 9", "b 8 0")
        script = "; ".join(f"mknod /mnt/n {which} && rm /mnt/n && echo {which}" for which in numbers)
        made = group.start("sh", "-c", f"{script}; true").communicate(timeout=PATIENCE)[0].decode().splitlines()
        assert made == ["c 1 3", "b 7 9"], made


def check_a_container_is_frozen_thawed_and_ended_while_frozen() -> None:
    from tests.integration.grouped import grouped, until

    from cloche.runtime.cgroups.freezing import freeze, is_frozen, thaw
    from cloche.stage.cleaning import kill_groups, pids_of

    with grouped() as group:
        bomb = group.start("sh", "-c", "while :; do sleep 0.2 & done")
        until(lambda: len(pids_of(group.plan.directories)) > 5, "they are some")
        freeze(group.paths)
        assert is_frozen(group.paths)
        assert "frozen 1" in group.read("cgroup.events")
        thaw(group.paths)
        assert not is_frozen(group.paths)
        freeze(group.paths)
        kill_groups(group.plan.directories)
        assert bomb.wait(PATIENCE) == -signal.SIGKILL


def check_running_out_of_memory_is_heard() -> None:
    from tests.integration.grouped import grouped

    from cloche.runtime.cgroups.oom import GONE, OOM, OomWatch
    from cloche.spec.resources import Memory, Resources
    from cloche.stage.cleaning import kill_groups

    with grouped(Resources(memory=Memory(limit=32 << 20, swap=32 << 20))) as group:
        first = group.start("sleep", "600")
        with OomWatch(group.paths, first.pid) as watch:
            group.start("sh", "-c", GREEDY)
            assert watch.wait(PATIENCE) == OOM
            kill_groups(group.plan.directories)
            deadline = time.monotonic() + 20
            while watch.wait(0.5) != GONE:
                assert time.monotonic() < deadline, "the end was not heard"


def check_what_was_used_is_counted() -> None:
    from tests.integration.grouped import grouped

    from cloche.runtime.cgroups.stats import stats
    from cloche.spec.resources import Memory, Pids, Resources

    with grouped(Resources(memory=Memory(limit=64 << 20), pids=Pids(limit=9))) as group:
        group.start("sleep", "600")
        found = stats(group.paths)
        assert found["pids"] == {"current": 1, "limit": 9}, found["pids"]
        assert found["memory"]["usage"]["limit"] == 64 << 20
        assert found["memory"]["swap"]["limit"] == 2**64 - 1
        assert 0 < found["memory"]["usage"]["usage"] < 64 << 20
        assert found["memory"]["raw"]["anon"] > 0
        assert found["cpu"]["usage"]["total"] > 0
        assert found["hugetlb"]["2MB"] == {"failcnt": 0}, found["hugetlb"]


def check_a_group_that_was_given_away_can_be_divided() -> None:
    from tests.integration.grouped import grouped

    from cloche.stage.cleaning import with_nested

    with grouped(owner=USER) as group:
        place = group.plan.born_in
        owned = sorted(name for name in os.listdir(place) if os.stat(f"{place}/{name}").st_uid == USER)
        listed = Path("/sys/kernel/cgroup/delegate").read_text().split()
        assert owned == sorted(name for name in listed if os.path.exists(f"{place}/{name}")), owned
        words = ["sh", "-c", f"mkdir {place}/inner && echo +pids >{place}/cgroup.subtree_control"]
        assert subprocess.run([*AS_USER, *words], timeout=PATIENCE, check=False).returncode == 0
        assert with_nested(place) == [place, f"{place}/inner"]


def check_a_user_gets_no_group_unless_it_was_handed_one() -> None:
    program = """
import sys
sys.path.insert(0, sys.argv[1])
from cloche.errors import ForbiddenError
from cloche.runtime.cgroups.containers import plan_cgroups
from cloche.runtime.host import probe_host
from cloche.spec.resources import Pids, Resources
limit = Resources(pids=Pids(limit=9))
for path, resources in (("", None), ("", limit), ("/x", None), (sys.argv[2], limit)):
    try:
        plan = plan_cgroups(resources, probe_host().groups, path, name="it", rootless=True)
        print(plan.born_in or "none")
    except ForbiddenError as error:
        print(type(error).__name__, "Delegate=yes" in error.hint)
"""
    words = [PYTHON, "-I", "-S", "-B", "-c", program, SOURCE, "/deleg/leaf/it"]
    inside = ["sh", "-c", f'echo $$ >{LEAF}/cgroup.procs && exec "$@"', "sh"]
    done = subprocess.run([*AS_USER, *words], capture_output=True, text=True, timeout=PATIENCE, check=False)
    refused = ["ForbiddenError True"] * 2
    assert done.stdout.splitlines() == ["none", *refused, refused[0]], (done.stdout, done.stderr)
    done = subprocess.run([*inside, *AS_USER, *words], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.stdout.splitlines() == ["none", *refused, f"{LEAF}/it"], (done.stdout, done.stderr)


def check_what_is_not_handed_down_is_refused_by_name() -> None:
    done = delegated("run", "--cpuset-cpus", "1", *in_rootfs("true"))
    assert done.returncode == 125, done.stderr
    assert "the cpuset controller is not available" in done.stderr, done.stderr


def check_an_apparmor_profile_confines_what_a_bundle_and_exec_start() -> None:
    """The kernel next door has no AppArmor; this one has, and that is all a profile needs."""
    subprocess.run(["apparmor_parser", "-Kr"], input=PROFILE, text=True, check=True)
    look = ["sh", "-c", "cat /proc/self/attr/current; echo x >/denied && echo written"]
    own = {"type": "user"}, [{"containerID": 0, "hostID": 100000, "size": 65536}]
    for user, no_new_privileges, own_users in ((0, True, False), (1000, False, False), (0, True, True)):
        config = bundle_config(look, user, no_new_privileges)
        config["process"]["apparmorProfile"] = "cloche-check"
        if own_users:
            config["linux"]["namespaces"].append(own[0])
            config["linux"]["uidMappings"] = config["linux"]["gidMappings"] = own[1]
        done = runtime("run", "--bundle", bundle(config), "confined")
        assert done.stdout == "cloche-check (enforce)\n", (done.stdout, done.stderr)
        assert "Permission denied" in done.stderr, done.stderr
    config["process"] |= {"apparmorProfile": "nosuch"}
    done = runtime("run", "--bundle", bundle(config), "confined")
    assert done.returncode != 0
    assert "load it first" in done.stderr, done.stderr
    config = bundle_config(["sleep", "1000"], 0, True)
    config["process"]["apparmorProfile"] = "cloche-check"
    try:
        assert runtime("create", "--bundle", bundle(config), "confined").returncode == 0
        assert runtime("start", "confined").returncode == 0
        assert runtime("exec", "confined", "cat", "/proc/self/attr/current").stdout == "cloche-check (enforce)\n"
        words = ["--apparmor", "unconfined", "confined", "cat", "/proc/self/attr/current"]
        assert runtime("exec", *words).stdout == "unconfined\n"
    finally:
        assert runtime("delete", "--force", "confined").returncode == 0


def check_doctor_says_what_works() -> None:
    import json

    join = ["sh", "-c", f'echo $$ >{LEAF}/cgroup.procs && exec "$@"', "sh", *AS_USER]
    for prefix, expected in ((None, "ok"), (AS_USER, "missing"), (join, "limited")):
        done = cloche("doctor", "--json", prefix=prefix)
        assert done.returncode == 0, (done.stdout, done.stderr)
        found = [item for item in walk(json.loads(done.stdout)) if item.get("name") == "cgroup"]
        assert [item["status"].lower() for item in found] == [expected], found
        assert "cgroup v2" in found[0]["detail"], found
        if expected == "missing":
            assert "Delegate=yes" in found[0]["fix"], found
        if expected == "limited":
            assert found[0]["meaning"] == "limits work, but for cpuset, blkio", found
    assert (LEAF / "cgroup.subtree_control").read_text().split() == []


def walk(value: object) -> list[dict[str, str]]:
    """Every object within a JSON document."""
    if isinstance(value, dict):
        return [value, *(item for part in value.values() for item in walk(part))]
    return [item for part in value for item in walk(part)] if isinstance(value, list) else []


def check_a_limit_that_is_left_out_is_said() -> None:
    config = bundle_config(["true"], 0, True)
    config["linux"]["resources"] = {"memory": {"swappiness": 5}}
    done = runtime("run", "--bundle", bundle(config), "said")
    assert done.returncode == 0, done.stderr
    assert "memory-swappiness is not in force" in done.stderr, done.stderr


def ok(*args: str) -> str:
    """What cloche-runtime prints; it has to succeed."""
    done = runtime(*args)
    assert done.returncode == 0, (args, done.stderr)
    return done.stdout


def config_of_the_cgroupfs_driver(*words: str, **resources: Any) -> dict[str, Any]:
    """What an engine without --systemd-cgroup gives."""
    config = bundle_config([*words], 0, True)
    config["linux"]["cgroupsPath"] = "/cloche-whole"
    if "cgroup" not in {item["type"] for item in config["linux"]["namespaces"]}:
        config["linux"]["namespaces"].append({"type": "cgroup"})
    config["linux"]["resources"] = resources
    return config


def check_a_bundle_of_the_cgroupfs_driver_through_its_life() -> None:
    """By the command line alone: made, changed, counted, frozen, and deleted as it is."""
    config = config_of_the_cgroupfs_driver(
        *("sleep", "1000"),
        memory={"limit": 64 << 20, "swap": 96 << 20, "reservation": 16 << 20},
        cpu={"shares": 512, "quota": 25000, "period": 50000, "cpus": "0"},
        pids={"limit": 20},
        unified={"memory.high": str(48 << 20), "cgroup.max.depth": "3"},
    )
    asked = {
        "memory.max": 64 << 20, "memory.swap.max": 32 << 20, "memory.low": 16 << 20, "memory.high": 48 << 20,
        "cpu.weight": 59, "cpu.max": "25000 50000", "cpuset.cpus": 0, "pids.max": 20, "cgroup.max.depth": 3,
    }  # fmt: skip
    place = TOP / "cloche-whole"

    def have(**values: object) -> None:
        found = {name: (place / name).read_text().strip() for name in values}
        assert found == {name: str(value) for name, value in values.items()}, found

    try:
        ok("run", "--detach", "--bundle", bundle(config), "whole")
        pid = json.loads(ok("state", "whole"))["pid"]
        assert Path(f"/proc/{pid}/cgroup").read_text() == "0::/cloche-whole\n"
        have(**asked)
        view = ok("exec", "whole", "sh", "-c", "cat /proc/self/cgroup; cd /sys/fs/cgroup; cat memory.max pids.max")
        assert view.split() == ["0::/", str(64 << 20), "20"], view
        ok("update", "--memory", str(80 << 20), "--memory-swap", str(96 << 20), "--pids-limit", "33", "whole")
        ok("update", "--cpu-share", "2048", "--cpu-quota", "40000", "whole")
        changed = {"memory.max": 80 << 20, "memory.swap.max": 16 << 20, "pids.max": 33}
        have(**{**asked, **changed, "cpu.weight": 174, "cpu.max": "40000 50000"})
        data = json.loads(ok("events", "--stats", "whole"))["data"]
        assert (data["pids"], data["memory"]["usage"]["limit"]) == ({"current": 1, "limit": 33}, 80 << 20), data
        ok("pause", "whole")
        assert json.loads(ok("state", "whole"))["status"] == "paused"
        assert "frozen 1\n" in (place / "cgroup.events").read_text()
        done = runtime("exec", "whole", "true")
        assert (done.returncode, "paused" in done.stderr) == (255, True), done
        ok("resume", "whole")
        assert "frozen 0\n" in (place / "cgroup.events").read_text()
        ok("pause", "whole")
    finally:
        ok("delete", "--force", "whole")
    assert not place.exists()


def check_device_rules_of_a_bundle() -> None:
    """Of the disk, which may be read, and of the kernel's log, which anybody could write to."""
    disk = os.stat("/dev/vda").st_rdev
    numbers = {"type": "b", "major": os.major(disk), "minor": os.minor(disk)}
    rules = [{"allow": False, "access": "rwm"}, {"allow": True, **numbers, "access": "r"}]
    script = (
        f"cd /d; mknod v b {os.major(disk)} {os.minor(disk)}; mknod k c 1 11; (: <v) && echo reads; "
        "(: >>v) || echo writes not; (: >>k) || echo logs not; head -c 1 /dev/zero | wc -c; rm v k"
    )
    for devices, expected in ((rules, ["reads", "writes not", "logs not", "1"]), (rules[:1], ["writes not"])):
        config = config_of_the_cgroupfs_driver("sh", "-c", script, devices=devices)
        for names in config["process"]["capabilities"].values():
            names.append("CAP_MKNOD")
        done = runtime("run", "--bundle", bundle(config), "rules")
        assert done.stdout.splitlines()[: len(expected)] == expected, (done.stdout, done.stderr)


def check_limits_of_a_bundle_bite_or_are_refused() -> None:
    limits = {"limit": 32 << 20, "swap": 32 << 20}
    config = config_of_the_cgroupfs_driver("sh", "-c", f"exec {GREEDY}", memory=limits)
    assert runtime("run", "--bundle", bundle(config), "greedy").returncode == 128 + signal.SIGKILL
    for unified in ({"memory.no_such": "1"}, {"weather.max": "1"}):
        config = config_of_the_cgroupfs_driver("true", unified=unified)
        done = runtime("run", "--bundle", bundle(config), "refused")
        assert (done.returncode, [key in done.stderr for key in unified]) == (1, [True]), done


def check_an_ordinary_users_bundle_has_limits_where_a_group_was_delegated() -> None:
    """The runtime in one group below the delegated one, as a user's engine is, the container beside it."""
    caller, place = LEAF / "caller", LEAF / "it"
    config = bundle_config(["sleep", "1000"], 0, True)
    ids = [{"containerID": 0, "hostID": USER, "size": 1}]
    config["linux"] |= {"uidMappings": ids, "gidMappings": ids, "cgroupsPath": "/deleg/leaf/it"}
    config["linux"]["namespaces"].append({"type": "user"})
    config["linux"]["resources"] = {"memory": {"limit": 48 << 20}, "pids": {"limit": 30}, "cpu": {"quota": 20000}}
    config["root"]["path"] = "/tmp/rootfs"
    config["mounts"] = [item for item in config["mounts"] if item["type"] not in {"cgroup", "devpts"}]
    where = bundle(config)

    def as_user(*args: str) -> str:
        move = ["sh", "-c", f'echo $$ >{caller}/cgroup.procs && exec "$@"', "sh"]
        words = [*move, *AS_USER, *RUNTIME, "--root", "/tmp/state-user/oci", *args]
        with open("/tmp/user.out", "w+") as out:
            done = subprocess.run(
                words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False, timeout=PATIENCE
            )
            out.seek(0)
            text = out.read()
        assert done.returncode == 0, (args, text)
        return text

    try:
        subprocess.run([*AS_USER, "mkdir", str(caller)], check=True)
        as_user("run", "--detach", "--bundle", where, "it")
        pid = json.loads(as_user("state", "it"))["pid"]
        assert Path(f"/proc/{pid}/cgroup").read_text() == "0::/deleg/leaf/it\n"
        assert [(place / name).read_text().strip() for name in ("memory.max", "pids.max", "cpu.max")] == [
            str(48 << 20),
            "30",
            "20000 100000",
        ]
        as_user("exec", "--detach", "it", "sleep", "2000")
        assert len((place / "cgroup.procs").read_text().split()) == 2
        as_user("update", "--pids-limit", "40", "it")
        assert (place / "pids.max").read_text() == "40\n"
        as_user("pause", "it")
        assert "frozen 1\n" in (place / "cgroup.events").read_text()
        as_user("delete", "--force", "it")
        assert not place.exists()
    finally:
        (place / "cgroup.kill").write_text("1") if place.exists() else None
        for group in (place, caller):
            for _ in range(100):
                try:
                    group.rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.1)
        (LEAF / "cgroup.subtree_control").write_text("-memory -pids -cpu")


def make_rootfs(top: Path) -> None:
    """A small root file system of busybox."""
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp", "d/e"):
        (top / name).mkdir(parents=True)
    busybox = shutil.which("busybox")
    assert busybox is not None
    shutil.copy(busybox, top / "bin/busybox")
    for applet in APPLETS:
        (top / "bin" / applet).symlink_to("busybox")
    (top / "d/f").write_text("old\n")


def prepare_disk() -> None:
    """The disk, with a root file system."""
    subprocess.run(["mount", "-t", "ext4", "/dev/vda", str(DISK)], check=True)
    make_rootfs(ROOTFS)


def prepare() -> None:
    """The disk, another root file system, and a group delegated to the user as systemd would."""
    prepare_disk()
    make_rootfs(Path("/tmp/rootfs"))
    for path in ("/tmp/state", "/tmp/state-user"):
        os.mkdir(path, 0o700)
    os.chown("/tmp/state-user", USER, USER)
    (TOP / "cgroup.subtree_control").write_text("+memory +pids +cpu")
    DELEGATED.mkdir()
    (DELEGATED / "cgroup.subtree_control").write_text("+memory +pids +cpu")
    LEAF.mkdir()
    for name in ("", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"):
        os.chown(LEAF / name, USER, USER)
    subprocess.run(["mount", "-t", "securityfs", "security", "/sys/kernel/security"], check=True)


def main(found: dict[str, Any]) -> int:
    """Run the checks of a script; 1 when one failed or something was left."""
    mounts = Path("/proc/self/mountinfo").read_text()
    checks = [(name, check) for name, check in found.items() if name.startswith("check_")]
    chosen = [(name, check) for name, check in checks if not sys.argv[1:] or any(w in name for w in sys.argv[1:])]
    failed = 0
    for name, check in chosen:
        started = time.monotonic()
        try:
            check()
            left = groups()
            assert not left, f"groups were left: {left}"
            failed += name in KNOWN
            outcome = "ok, and was not expected to be" if name in KNOWN else "ok"
        except Exception:
            failed += name not in KNOWN
            why = f" ({KNOWN[name]})" if name in KNOWN else f"\n{traceback.format_exc()}"
            outcome = f"{'as expected, does not hold' if name in KNOWN else 'FAILED'}{why}"
        print(f"{name[6:].replace('_', ' ')}: {outcome} ({time.monotonic() - started:.0f} s)", flush=True)
    now = Path("/proc/self/mountinfo").read_text()
    if now != mounts:
        failed += 1
        changed = set(now.splitlines()) ^ set(mounts.splitlines())
        print("mounts were left, or are others now:", *sorted(changed), sep="\n")
    print(f"{len(chosen)} checks, {failed} failed")
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    from tests.vm import kept, layered

    prepare()
    sys.exit(main(globals() | vars(layered) | vars(kept)))
