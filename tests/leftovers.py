"""What a test run may not leave behind, as a snapshot of the host to compare with."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Snapshot:
    """The host as seen from this process."""

    mounts: frozenset[str]
    groups: frozenset[str]
    namespaces: frozenset[str]
    processes: frozenset[int]
    links: frozenset[str]
    records: frozenset[str]

    @staticmethod
    def take() -> Snapshot:
        """Look at the host now."""
        processes = {pid for pid in _pids() if _is_ours(pid)}
        return Snapshot(
            mounts=frozenset(line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()),
            groups=frozenset(str(p) for p in _groups()),
            namespaces=frozenset(_namespaces()),
            processes=frozenset(processes),
            links=frozenset(os.listdir("/sys/class/net")),
            records=frozenset(str(path) for path in Path("/run/cloche/containers").glob("*.json")),
        )


def compare(before: Snapshot, patience: float = 5.0) -> list[str]:
    """What is there now that was not there before; waits a little for what is just ending."""
    deadline = time.monotonic() + patience
    while True:
        now = Snapshot.take()
        found = [
            f"{kind}: {item}"
            for kind in ("mounts", "groups", "namespaces", "processes", "links", "records")
            for item in sorted(map(str, getattr(now, kind) - getattr(before, kind)))
        ]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _is_ours(pid: int) -> bool:
    """A living process of cloche's or of a container's: by command line, never a zombie."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except OSError:
        return False
    return state != b"Z" and (b"cloche.stage" in words or b"cloche.cli" in words)


def _groups() -> list[Path]:
    return [Path(top) / d for top, dirs, _ in os.walk("/sys/fs/cgroup") for d in dirs if d.startswith("cloche-")]


def _namespaces() -> set[str]:
    """Every namespace some process is in: a leaked one is an inode that was not there before."""
    found = set()
    for pid in _pids():
        for kind in ("mnt", "net", "pid", "uts", "ipc", "user"):
            try:
                found.add(os.readlink(f"/proc/{pid}/ns/{kind}"))
            except OSError:
                continue
    return found
