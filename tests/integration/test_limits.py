"""Limits bite, can be read from inside and outside, and where they cannot be enforced, that is said."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.alive import WAIT, alive, group_of, until
from tests.integration.grouped import running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Cli

V2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
EAT = "x = bytearray({} << 20); print(len(x) >> 20)"
PYTHON = ("host", "/usr/bin/python3", "-I", "-S", "-c")


def value(directory: Path, v1: str, v2: str) -> str:
    """The content of a limit's file, whichever of the two the machine has."""
    return (directory / (v2 if V2 else v1)).read_text().strip()


def a_disk() -> tuple[str, str]:
    """A block device of this machine: its path, and MAJOR:MINOR."""
    for name in sorted(os.listdir("/dev")):
        status = os.lstat(f"/dev/{name}")
        if stat.S_ISBLK(status.st_mode):
            return f"/dev/{name}", f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    pytest.skip("needs a block device in /dev")


def test_too_much_memory_kills_the_command_and_says_so(root: Cli) -> None:
    done = root("run", "-m", "40m", *PYTHON, EAT.format(100))
    assert (done.returncode, done.stdout) == (137, "")
    assert "out of memory, the limit of 40 MiB was reached" in done.stderr
    assert "hint: give it more: --memory" in done.stderr
    assert root("run", "-m", "400m", *PYTHON, EAT.format(100)).stdout == "100\n"


def test_a_child_that_takes_too_much_dies_and_the_command_goes_on(root: Cli) -> None:
    program = f"/usr/bin/python3 -I -S -c '{EAT.format(100)}'; echo $?; exit 5"
    done = root("run", "-m", "40m", "host", "sh", "-c", program)
    assert done.returncode == 5
    assert done.stdout.splitlines()[-1] == "137"
    assert "out of memory" in done.stderr


def test_memory_in_a_tmpfs_counts(root: Cli, rootfs: Path) -> None:
    words = ("--tmpfs", "/t", "--rootfs", str(rootfs), "dd", "if=/dev/zero", "of=/t/x", "bs=1M", "count=60")
    assert root("run", "-m", "20m", "--memory-swap", "20m", *words).returncode == 137
    assert root("run", "-m", "200m", *words).returncode == 0


def test_memory_limits_can_be_read_from_inside_and_outside(root: Cli, rootfs: Path) -> None:
    limits = ("-m", "64m", "--memory-swap", "96m", "--memory-reservation", "32m")
    with alive(root, *limits, "--rootfs", str(rootfs), "sh", "-c", WAIT) as it:
        group = it.group("memory")
        assert group.name.startswith("cloche-")
        assert value(group, "memory.limit_in_bytes", "memory.max") == str(64 << 20)
        assert value(group, "memory.memsw.limit_in_bytes", "memory.swap.max") == str((32 if V2 else 96) << 20)
        assert value(group, "memory.soft_limit_in_bytes", "memory.low") == str(32 << 20)
        inside = Path(f"/proc/{it.pid}/root/sys/fs/cgroup") / ("" if V2 else "memory")
        assert value(inside, "memory.limit_in_bytes", "memory.max") == str(64 << 20)
    assert not group.exists()


def test_unlimited_swap(root: Cli, rootfs: Path) -> None:
    with alive(root, "-m", "64m", "--memory-swap", "-1", "--rootfs", str(rootfs), "sh", "-c", WAIT) as it:
        found = value(it.group("memory"), "memory.memsw.limit_in_bytes", "memory.swap.max")
        assert found == "max" if V2 else int(found) > 1 << 60


def test_cpus_holds_the_command_back(root: Cli) -> None:
    program = "import time\nwhile time.process_time() < 0.15: pass\nprint('ready', flush=True)\ninput()"
    with alive(root, "--cpus", "0.2", *PYTHON, program) as it:
        group = it.group("cpu")
        if V2:
            assert (group / "cpu.max").read_text() == "20000 100000\n"
        else:
            assert (group / "cpu.cfs_quota_us").read_text() == "20000\n"
            assert (group / "cpu.cfs_period_us").read_text() == "100000\n"
        counts = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
        # 150 ms in portions of 20: the scheduler has to have stopped it
        assert int(counts["nr_throttled"]) >= 3


def test_quota_and_period_are_the_long_way_to_say_it(root: Cli, rootfs: Path) -> None:
    words = ("--cpu-quota", "25000", "--cpu-period", "50000", "--rootfs", str(rootfs), "sh", "-c", WAIT)
    with alive(root, *words) as it:
        group = it.group("cpu")
        found = (group / "cpu.max").read_text().split() if V2 else []
        found = found or [(group / f"cpu.cfs_{word}_us").read_text().strip() for word in ("quota", "period")]
        assert found == ["25000", "50000"]


def test_cpu_shares_can_be_read_from_inside_and_outside(root: Cli, rootfs: Path) -> None:
    expected = "59" if V2 else "512"
    with alive(root, "-c", "512", "--rootfs", str(rootfs), "sh", "-c", WAIT) as it:
        assert value(it.group("cpu"), "cpu.shares", "cpu.weight") == expected
        inside = Path(f"/proc/{it.pid}/root/sys/fs/cgroup") / ("" if V2 else "cpu")
        assert value(inside, "cpu.shares", "cpu.weight") == expected


def test_cpuset_leaves_these_processors_only(root: Cli, rootfs: Path) -> None:
    ours = sorted(os.sched_getaffinity(0))
    if len(ours) < 2:
        pytest.skip("needs two processors")
    chosen = str(ours[-1])
    with alive(root, "--cpuset-cpus", chosen, "--rootfs", str(rootfs), "sh", "-c", WAIT) as it:
        assert it.status("Cpus_allowed_list") == chosen
        assert value(it.group("cpuset"), "cpuset.cpus", "cpuset.cpus") == chosen
        assert os.sched_getaffinity(it.pid) == {ours[-1]}
    words = ("--cpuset-cpus", chosen, "--cpuset-mems", "0", "--rootfs", str(rootfs))
    done = root("run", *words, "grep", "allowed_list", "/proc/self/status")
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["Cpus_allowed_list:", chosen],
        ["Mems_allowed_list:", "0"],
    ]


def test_a_processor_that_is_not_there(root: Cli, rootfs: Path) -> None:
    done = root("run", "--cpuset-cpus", "4000", "--rootfs", str(rootfs), "true")
    assert done.returncode == 125
    assert done.stderr.count("\n") == 2
    assert "--cpuset-cpus 4000" in done.stderr


def test_the_limit_on_processes_bites(root: Cli, rootfs: Path) -> None:
    crowd = "for i in 1 2 3 4 5 6 7 8; do sleep 0.1 & done; wait"
    done = root("run", "--pids-limit", "5", "--rootfs", str(rootfs), "sh", "-c", crowd)
    assert done.returncode != 0
    assert "the limit on processes was reached" in done.stderr
    assert "hint: allow more: --pids-limit" in done.stderr
    assert root("run", "--pids-limit", "50", "--rootfs", str(rootfs), "sh", "-c", crowd).returncode == 0


def test_the_limit_on_processes_counts_threads(root: Cli) -> None:
    program = (
        "import _thread, time\nn = 0\ntry:\n  for i in range(50): _thread.start_new_thread(time.sleep, (9,)); n += 1\n"
        "except RuntimeError: pass\nprint(n, flush=True)\nimport os; os._exit(0)"
    )
    assert root("run", "--pids-limit", "10", *PYTHON, program).stdout == "9\n"
    assert root("run", *PYTHON, program).stdout == "50\n"


@pytest.mark.parametrize(
    ("asked", "found"), [((), "2048"), (("--pids-limit", "-1"), "max"), (("--pids-limit", "9"), "9")]
)
def test_processes_are_limited_even_if_nobody_asks(root: Cli, rootfs: Path, asked: tuple[str, ...], found: str) -> None:
    with alive(root, *asked, "--rootfs", str(rootfs), "sh", "-c", WAIT) as it:
        assert (it.group("pids") / "pids.max").read_text().strip() == found


@pytest.mark.parametrize(
    ("option", "amount", "file", "written"),
    [
        ("--device-read-bps", "1m", "read_bps", "1048576"),
        ("--device-write-bps", "2m", "write_bps", "2097152"),
        ("--device-read-iops", "100", "read_iops", "100"),
        ("--device-write-iops", "200", "write_iops", "200"),
    ],
)
def test_disks_are_throttled(root: Cli, rootfs: Path, option: str, amount: str, file: str, written: str) -> None:
    path, numbers = a_disk()
    with alive(root, option, f"{path}:{amount}", "--rootfs", str(rootfs), "sh", "-c", WAIT) as it:
        group = it.group("blkio")
        if V2:
            word = {"read_bps": "rbps", "write_bps": "wbps", "read_iops": "riops", "write_iops": "wiops"}[file]
            assert f"{word}={written}" in (group / "io.max").read_text()
        else:
            assert (group / f"blkio.throttle.{file}_device").read_text() == f"{numbers} {written}\n"


def test_a_weight_of_disks_is_set_or_refused_but_never_forgotten(root: Cli, rootfs: Path) -> None:
    words = ("--blkio-weight", "500", "--rootfs", str(rootfs))
    weights = ("io.bfq.weight", "io.weight", "blkio.weight", "blkio.bfq.weight")
    with alive(root, "--device-read-bps", f"{a_disk()[0]}:1m", "--rootfs", str(rootfs), "sh", "-c", WAIT) as it:
        there = [name for name in weights if (it.group("blkio") / name).exists()]
    if there:
        with alive(root, *words, "sh", "-c", WAIT) as it:
            assert (it.group("blkio") / there[0]).read_text().split()[-1] in {"500", "4950"}
        return
    done = root("run", *words, "echo", "never")
    assert (done.returncode, done.stdout) == (125, "")
    assert "weight" in done.stderr
    assert "--allow-unenforced" in done.stderr
    done = root("run", "--allow-unenforced", "--explain", *words, "true")
    assert done.returncode == 0
    assert receipt(done.stderr)["io-weight"] == "NO"


@pytest.mark.skipif(V2, reason="needs a cgroup v1 host")
@pytest.mark.parametrize("words", [("--io-weight", "100"), ("--io-max", "8:0 rbps=1048576")])
def test_limits_of_v2_alone_are_refused_on_v1(root: Cli, rootfs: Path, words: tuple[str, str]) -> None:
    done = root("run", *words, "--rootfs", str(rootfs), "echo", "never")
    assert (done.returncode, done.stdout) == (125, "")
    assert "--allow-unenforced" in done.stderr
    assert root("run", "--allow-unenforced", *words, "--rootfs", str(rootfs), "true").returncode == 0


@contextmanager
def parent_group(*controllers: str) -> Iterator[tuple[str, list[Path]]]:
    """A control group of our own in these hierarchies: its name, and its directories."""
    if V2:
        pytest.skip("needs a cgroup v1 host")
    name = f"cloche-parent-{uuid.uuid4().hex[:8]}"
    paths = [Path(f"/sys/fs/cgroup/{controller}/{name}") for controller in controllers]
    made = []
    try:
        for path in paths:
            path.mkdir()
            made.append(path)
        yield name, paths
    finally:
        for path in made:
            path.rmdir()


def test_a_group_below_another_parent_goes_after_both_were_killed(root: Cli, rootfs: Path) -> None:
    with parent_group("memory", "pids") as (name, paths):
        words = ("--cgroup-parent", name, "--rootfs", str(rootfs))
        front = root.popen("run", *words, "sleep", "600", stdin=subprocess.DEVNULL)
        until(lambda: list(Path(root.state).glob("containers/*.json")), "it runs")
        (record,) = Path(root.state).glob("containers/*.json")
        first = json.loads(record.read_text())["pid"]
        stage = int(Path(f"/proc/{front.pid}/task/{front.pid}/children").read_text())
        for pid in (front.pid, stage):
            os.kill(pid, signal.SIGSTOP)
        for pid in (front.pid, stage):
            os.kill(pid, signal.SIGKILL)
        front.wait()
        until(lambda: not running([first]), "it ends with its stage")
        assert all(list(path.glob("cloche-*")) for path in paths)
        assert root("run", "--rootfs", str(rootfs), "true").returncode == 0
        assert not any(list(path.glob("cloche-*")) for path in paths)


def test_a_parent_groups_limits_count_too(root: Cli) -> None:
    with parent_group("memory", "pids") as (name, (memory, pids)):
        (memory / "memory.limit_in_bytes").write_text(str(40 << 20))
        (pids / "pids.max").write_text("30")
        done = root("run", "--cgroup-parent", name, "-m", "400m", *PYTHON, EAT.format(100))
        assert done.returncode == 137
        with alive(root, "--cgroup-parent", f"/{name}", "host", "sh", "-c", WAIT) as it:
            assert it.group("memory").parent == memory
            assert it.group("pids").parent == pids
            until(lambda: (pids / "pids.current").read_text() == "2\n", "the shell and cat are counted")


def test_a_parent_group_that_is_not_there_is_an_error(root: Cli, rootfs: Path) -> None:
    done = root("run", "--cgroup-parent", "no-such-group", "--rootfs", str(rootfs), "echo", "never")
    assert (done.returncode, done.stdout) == (125, "")
    assert "no-such-group" in done.stderr


def test_a_parent_group_cannot_lead_out_of_the_hierarchy(root: Cli, rootfs: Path, tmp_path: Path) -> None:
    done = root("run", "--cgroup-parent", f"../../../..{tmp_path}", "--rootfs", str(rootfs), "echo", "never")
    assert (done.returncode, done.stdout) == (125, "")
    assert "--cgroup-parent" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_it_sees_its_own_groups_and_nothing_above(root: Cli, rootfs: Path) -> None:
    done = root("run", "-m", "64m", "--rootfs", str(rootfs), "cat", "/proc/self/cgroup")
    places = {line.split(":", 2)[1]: line.split(":", 2)[2] for line in done.stdout.splitlines()}
    assert places["" if V2 else "memory"] == "/"
    assert not any("cloche-" in place for place in places.values())
    done = root("run", "-m", "64m", "--cgroupns", "host", "--rootfs", str(rootfs), "cat", "/proc/self/cgroup")
    assert "/cloche-" in done.stdout


def test_its_own_limits_cannot_be_lifted_from_inside(root: Cli, rootfs: Path) -> None:
    file = "/sys/fs/cgroup/memory.max" if V2 else "/sys/fs/cgroup/memory/memory.limit_in_bytes"
    for more in ((), ("--userns", "host")):
        program = f"cat {file}; echo 1000000000 >{file}; mkdir $(dirname {file})/x; cat {file}"
        words = ("-m", "64m", *more, "--rootfs", str(rootfs))
        done = root("run", *words, "sh", "-c", program.replace("$(dirname " + file + ")", str(Path(file).parent)))
        assert done.stdout.split() == [str(64 << 20)] * 2
        assert done.stderr.count("Read-only file system") == 2


def test_a_group_ends_with_its_container(root: Cli, rootfs: Path) -> None:
    with alive(root, "-m", "64m", "--cpus", "1", "--rootfs", str(rootfs), "sh", "-c", WAIT) as it:
        groups = [group_of(it.pid, name) for name in ("memory", "cpu", "pids")]
        assert all(group.exists() for group in groups)
        assert all(group.name.startswith("cloche-") for group in groups)
        assert str(it.pid) in (groups[0] / "cgroup.procs").read_text().split()
    assert not any(group.exists() for group in groups)


@pytest.mark.parametrize("words", [("-m", "64m"), ("--cpus", "1"), ("--pids-limit", "10"), ("--cpuset-cpus", "0")])
def test_an_ordinary_user_is_told_which_limit_cannot_be_kept(user: Cli, rootfs: Path, words: tuple[str, ...]) -> None:
    layer = {"-m": "memory", "--cpus": "cpu", "--pids-limit": "pids", "--cpuset-cpus": "cpuset"}[words[0]]
    done = user("run", *words, "--rootfs", str(rootfs), "echo", "never")
    if done.returncode == 0:
        pytest.skip("needs control groups that are not delegated to ordinary users")
    assert (done.returncode, done.stdout) == (125, "")
    assert f"{layer} is not possible here: " in done.stderr
    assert "--allow-unenforced" in done.stderr
    done = user("run", "--allow-unenforced", "--explain", *words, "--rootfs", str(rootfs), "echo", "after all")
    assert (done.returncode, done.stdout) == (0, "after all\n")
    assert receipt(done.stderr)[layer] == "NO"
    assert user("explain", *words, "--rootfs", str(rootfs), "true").returncode == 125


def test_limits_nobody_asked_for_do_not_stop_an_ordinary_user(user: Cli, rootfs: Path) -> None:
    done = user("run", "--explain", "--rootfs", str(rootfs), "true")
    assert done.returncode == 0
    assert receipt(done.stderr)["pids"] == "NO"


def receipt(text: str) -> dict[str, str]:
    """The receipt in what `run --explain` printed: "yes" or "NO" by layer."""
    lines = text.partition("\nreceipt:\n")[2].splitlines()
    return {line[2:].split("  ")[0].strip(): "NO" if "  NO  " in line else "yes" for line in lines}
