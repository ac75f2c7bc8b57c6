"""A container that waits, for looking at it from outside while it runs.

The command says that it is ready on its standard output and ends when its standard input does. What does
not belong here: what is looked at.
"""

from __future__ import annotations

import os
import subprocess
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Cli

WAIT = "echo ready; cat >/dev/null; exit 0"


@dataclass
class Alive:
    """A running container: the front's process, and the command's pid as the host counts."""

    front: subprocess.Popen[bytes]
    pid: int

    def tell(self, line: str) -> str:
        """Send one line to the command and take one line of its answer."""
        assert self.front.stdin is not None
        assert self.front.stdout is not None
        self.front.stdin.write(line.encode() + b"\n")
        self.front.stdin.flush()
        return self.front.stdout.readline().decode().rstrip("\n")

    def status(self, field: str) -> str:
        """A field of /proc/PID/status."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith(field + ":"))

    def group(self, controller: str) -> Path:
        """The directory of its control group for one controller, as the host sees it."""
        return group_of(self.pid, controller)


@contextmanager
def alive(cli: Cli, *words: str) -> Iterator[Alive]:
    """`cloche run -i WORDS`, whose command must print a line when it is ready; ended on the way out."""
    pidfile = Path(cli.state) / f"pid-{uuid.uuid4().hex}"
    pipe = subprocess.PIPE
    front = cli.popen("run", "-i", "--pidfile", str(pidfile), *words, stdin=pipe, stdout=pipe, stderr=pipe)
    assert front.stdin is not None
    assert front.stdout is not None
    assert front.stderr is not None
    try:
        line = front.stdout.readline()
        assert line, front.stderr.read().decode()
        until(lambda: pidfile.exists() and pidfile.read_text() != "", "the pid file is written")
        yield Alive(front, int(pidfile.read_text()))
    finally:
        try:
            front.stdin.close()
            front.wait(20)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            front.kill()
            front.wait()
        front.stdout.close()
        front.stderr.close()
        pidfile.unlink(missing_ok=True)


def until(condition: Callable[[], object], what: str, patience: float = 20) -> None:
    """Wait for something that is on its way; fail when it does not come."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {patience} s"
        time.sleep(0.005)


def group_of(pid: int, controller: str) -> Path:
    """Where process `pid` is in the hierarchy of `controller`, on v1, v2 or both."""
    paths = {}
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        paths.update(dict.fromkeys(names.split(","), path))
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split(" ")
        kind, options = fields[fields.index("-") + 1], fields[-1].split(",")
        if kind == "cgroup" and controller in options and controller in paths:
            return Path(fields[4] + paths[controller])
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split(" ")
        if fields[fields.index("-") + 1] == "cgroup2":
            return Path(fields[4] + paths[""])
    raise AssertionError("no control groups are mounted")


def living(mark: str) -> list[int]:
    """Processes of the host, zombies left out, that have `mark` in their command line."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdecimal() or int(name) == os.getpid():
            continue
        try:
            words = Path(f"/proc/{name}/cmdline").read_bytes()
            state = Path(f"/proc/{name}/stat").read_bytes().rpartition(b")")[2].split()[0]
        except OSError:
            continue
        if mark.encode() in words and state != b"Z":
            found.append(int(name))
    return found
