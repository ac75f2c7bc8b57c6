"""What a command costs besides time: CPU seconds, and the most memory that its processes have at once.

CPU is what the kernel has counted for the command and all its descendants that have ended (wait4), and for those of a
daemon that does the work (proc_pid_stat: utime, stime, cutime, cstime). Memory is PSS, looked at ten times a second:
what several processes share counts once.
"""

from __future__ import annotations

import os
import resource
import subprocess
import threading
import time
from pathlib import Path
from typing import NamedTuple

OFTEN = 0.1
TICKS = os.sysconf("SC_CLK_TCK")


class Cost(NamedTuple):
    """Seconds from start to exit, seconds of CPU, and bytes of memory at the most."""

    wall: float
    cpu: float
    memory: int


def watched(words: list[str], env: dict[str, str] | None = None, daemon: int = 0) -> Cost:
    """Run a command, which has to succeed; `daemon` is a process whose work is the command's, with its descendants."""
    before = own_cpu() + sum(cpu_of(pid) for pid in family(daemon))
    start = time.perf_counter()
    with subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        peak = Peak(process.pid, daemon)
        said = process.communicate()[0]
        wall = time.perf_counter() - start
        memory = peak.end()
    if process.returncode:
        raise RuntimeError(f"{words}: {said}")
    return Cost(wall, own_cpu() + sum(cpu_of(pid) for pid in family(daemon)) - before, memory)


def in_turn(*costs: Cost) -> Cost:
    """That of commands one after the other."""
    return Cost(sum(cost.wall for cost in costs), sum(cost.cpu for cost in costs), max(cost.memory for cost in costs))


class Peak:
    """Looks at the memory of processes and their descendants until the end."""

    def __init__(self, *pids: int) -> None:
        self._pids = [pid for pid in pids if pid]
        self._most = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while not self._stop.wait(OFTEN):
            now = sum(memory_of(pid) for first in self._pids for pid in family(first))
            self._most = max(self._most, now)

    def end(self) -> int:
        """The most there was."""
        self._stop.set()
        self._thread.join()
        return self._most


def own_cpu() -> float:
    """Seconds of CPU of all our children that have ended, with theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def family(pid: int) -> list[int]:
    """A process and its descendants; none for 0."""
    found = [pid] if pid else []
    for each in found:
        try:
            for thread in Path(f"/proc/{each}/task").iterdir():
                found += [int(word) for word in (thread / "children").read_text().split()]
        except OSError:
            continue
    return found


def cpu_of(pid: int) -> float:
    """Seconds of CPU of a process that is there, with those of its children that have ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(field) for field in fields[11:15]) / TICKS


def memory_of(pid: int) -> int:
    """Bytes of a process' memory, its part of what is shared (proc_pid_smaps_rollup)."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return 0
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
