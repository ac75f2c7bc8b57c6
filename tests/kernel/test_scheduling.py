"""cloche.linux.scheduling: limits, priorities and CPUs as the kernel gives them back."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import cloche.linux
from cloche.linux import capabilities, scheduling
from cloche.linux.scheduling import IO_CLASSES, POLICIES, RLIM_INFINITY, RLIMITS

from .forked import clone, ended, enter_namespaces, fails, in_child

NOFILE = RLIMITS["RLIMIT_NOFILE"]


def test_the_table_is_the_kernel_s() -> None:
    assert sorted(RLIMITS.values()) == list(range(16))
    for name, number in RLIMITS.items():
        if hasattr(resource, name):
            assert getattr(resource, name) == number
            soft, hard = resource.getrlimit(number)
            assert scheduling.get_rlimit(number) == (soft & RLIM_INFINITY, hard & RLIM_INFINITY)


def test_a_limit_is_set_and_holds() -> None:
    def child() -> tuple[tuple[int, int], int]:
        scheduling.set_rlimit(NOFILE, 20, 30)
        try:
            while True:
                os.open("/", os.O_PATH)
        except OSError as error:
            return scheduling.get_rlimit(NOFILE), error.errno or 0

    assert in_child(child) == ((20, 30), errno.EMFILE)


def test_unlimited_is_minus_one_too() -> None:
    def child() -> tuple[int, int]:
        core = RLIMITS["RLIMIT_CORE"]
        hard = scheduling.get_rlimit(core)[1]
        scheduling.set_rlimit(core, 0, -1 if hard == RLIM_INFINITY else hard)
        return hard, scheduling.get_rlimit(core)[1]

    before, after = in_child(child)
    assert before == after


def test_limits_of_another_process() -> None:
    def parent() -> tuple[int, int]:
        hold, release = os.pipe()
        pid, pidfd = clone(0, lambda: len(os.read(hold, 1)))
        scheduling.set_rlimit(NOFILE, 21, 22, pid=pid)
        found = scheduling.get_rlimit(NOFILE, pid=pid)
        os.write(release, b".")
        ended(pidfd)
        return found

    assert in_child(parent) == (21, 22)


def test_limits_are_refused() -> None:
    def child() -> None:
        enter_namespaces()  # CAP_SYS_RESOURCE counts outside of any user namespace only
        scheduling.set_rlimit(NOFILE, 20, 30)
        with fails(errno.EPERM, "prlimit64(2)"):
            scheduling.set_rlimit(NOFILE, 20, 31)
        with fails(errno.EINVAL, "prlimit64(2)"):
            scheduling.set_rlimit(NOFILE, 20, 10)
        with fails(errno.EINVAL, "prlimit64(2)"):
            scheduling.get_rlimit(16)
        with fails(errno.ESRCH, "prlimit64(2)"):
            scheduling.get_rlimit(NOFILE, pid=2**22 - 1)

    in_child(child)


def test_oom_score() -> None:
    def child() -> str:
        scheduling.set_oom_score_adj(900)
        with fails(errno.EINVAL, "write(2)"):
            scheduling.set_oom_score_adj(1001)
        return Path("/proc/self/oom_score_adj").read_text().strip()

    assert in_child(child) == "900"


def test_affinity() -> None:
    cpus = os.sched_getaffinity(0)

    def child() -> set[int]:
        scheduling.set_affinity({min(cpus)})
        with fails(errno.EINVAL, "sched_setaffinity(2)"):
            scheduling.set_affinity(())
        with fails(errno.EINVAL, "sched_setaffinity(2)"):
            scheduling.set_affinity({4095})
        return os.sched_getaffinity(0)

    assert in_child(child) == {min(cpus)}


@pytest.mark.parametrize(("policy", "nice"), [("SCHED_OTHER", 9), ("SCHED_BATCH", 5), ("SCHED_IDLE", 0)])
def test_scheduler_policies(policy: str, nice: int) -> None:
    def child() -> tuple[int, int]:
        scheduling.sched_setattr(POLICIES[policy], nice)
        return os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)

    assert in_child(child) == (POLICIES[policy], nice)


def test_scheduler_refusals() -> None:
    def child() -> None:
        enter_namespaces()
        capabilities.set_(0, 0, 0)
        scheduling.set_rlimit(RLIMITS["RLIMIT_RTPRIO"], 0, 0)
        with fails(errno.EPERM, "sched_setattr(2)"):
            scheduling.sched_setattr(POLICIES["SCHED_FIFO"], priority=5)
        with fails(errno.EINVAL, "sched_setattr(2)"):
            scheduling.sched_setattr(POLICIES["SCHED_ISO"])
        with fails(errno.EINVAL, "sched_setattr(2)"):
            scheduling.sched_setattr(0, flags=1 << 40)
        with fails(errno.EINVAL, "sched_setattr(2)"):  # the runtime does not fit into the period
            scheduling.sched_setattr(POLICIES["SCHED_DEADLINE"], 0, 0, 0, 20_000_000, 10_000_000, 10_000_000)

    in_child(child)


def test_io_priority() -> None:
    def child() -> tuple[int, int]:
        scheduling.set_io_priority(IO_CLASSES["IOPRIO_CLASS_BE"], 6)
        with fails(errno.EINVAL, "ioprio_set(2)"):
            scheduling.set_io_priority(5, 0)
        return scheduling.get_io_priority()

    assert in_child(child) == (IO_CLASSES["IOPRIO_CLASS_BE"], 6)


def test_personality_and_importing_under_it() -> None:
    source = str(Path(next(iter(cloche.linux.__path__))).parents[1])
    code = (
        f"import sys; sys.path.insert(0, {source!r}); from cloche.linux import scheduling as s; print(s.personality())"
    )

    def child() -> tuple[int, int, bytes]:
        before = scheduling.personality(scheduling.PER_LINUX32 | scheduling.ADDR_NO_RANDOMIZE)
        command = [sys.executable, "-I", "-S", "-c", code]
        output = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
        return before, scheduling.personality(), output.strip()

    expected = scheduling.PER_LINUX32 | scheduling.ADDR_NO_RANDOMIZE
    assert in_child(child)[1:] == (expected, str(expected).encode())


@pytest.mark.skipif(not Path("/proc/self/numa_maps").exists(), reason="needs a kernel with NUMA")
def test_memory_policy() -> None:
    modes, flags = scheduling.MEMORY_MODES, scheduling.MEMORY_FLAGS

    def child() -> list[tuple[int, list[int]]]:
        found = []
        for mode, nodes in (
            (modes["MPOL_BIND"] | flags["MPOL_F_STATIC_NODES"], [0]),
            (modes["MPOL_PREFERRED"], [0, 63, 64, 900]),  # the first that is there counts
            (modes["MPOL_LOCAL"], []),
            (modes["MPOL_DEFAULT"], []),
        ):
            scheduling.set_memory_policy(mode, nodes)
            policy, there = scheduling.get_memory_policy()
            found.append((policy, sorted(there)))
        for mode, nodes in ((modes["MPOL_BIND"], [900]), (modes["MPOL_BIND"], []), (99, [0])):
            with fails(errno.EINVAL, "set_mempolicy(2)"):
                scheduling.set_memory_policy(mode, nodes)
        return found

    static = modes["MPOL_BIND"] | flags["MPOL_F_STATIC_NODES"]
    expected = [(static, [0]), (modes["MPOL_PREFERRED"], [0]), (modes["MPOL_LOCAL"], []), (0, [])]
    assert in_child(child) == expected
