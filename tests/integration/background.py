"""A container that runs while a test looks at it, and command lines on a machine with other mounts."""

from __future__ import annotations

import json
import os
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.conftest import Cli

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 20.0


@dataclass
class Running:
    """A container in the background: its name, and its first process as seen from outside."""

    name: str
    pid: int
    front: subprocess.Popen[bytes]
    said: list[str]  # what its script printed

    def namespace(self, kind: str) -> int:
        """The inode of one of its namespaces."""
        try:
            return os.stat(f"/proc/{self.pid}/ns/{kind}").st_ino
        except PermissionError:  # our own small init lets nobody of its user look; what it runs does
            child = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()[0]
            return os.stat(f"/proc/{child}/ns/{kind}").st_ino

    def status(self, field: str) -> str:
        """A line of its first process' /proc/PID/status."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith(field + ":"))

    def answers(self) -> bool:
        """Whether its command, a cat, still does what it is there for."""
        assert self.front.stdin is not None
        assert self.front.stdout is not None
        self.front.stdin.write(b"there?\n")
        self.front.stdin.flush()
        return self.front.stdout.readline() == b"there?\n"


@contextmanager
def running(cli: Cli, *words: str, script: str = "") -> Iterator[Running]:
    """Start `cloche run WORDS sh -c SCRIPT`, which then waits; it ends with the context."""
    name = f"t-{os.urandom(4).hex()}"
    command = f"{script}\necho ready\nexec cat"
    front = cli.popen(
        *("run", "-i", "--name", name, *words, "sh", "-c", command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert front.stdin is not None
    assert front.stdout is not None
    assert front.stderr is not None
    try:
        said = []
        while (line := front.stdout.readline().decode()) != "ready\n":
            assert line, f"it ended early: {front.stderr.read().decode()}"
            said.append(line.rstrip("\n"))
        yield Running(name, _pid_of(cli, name), front, said)
    finally:
        try:
            front.stdin.close()
        except BrokenPipeError:
            pass  # it was ended on purpose
        try:
            front.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            front.kill()
            front.wait()
        front.stdout.close()
        front.stderr.close()


def _pid_of(cli: Cli, name: str) -> int:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for path in Path(cli.state, "containers").glob("*.json"):
            try:
                record = json.loads(path.read_text())
            except FileNotFoundError:
                continue
            if record["name"] == name:
                return int(record["pid"])
        time.sleep(0.01)
    raise AssertionError(f"{name} has no record")


class Elsewhere(Cli):
    """A command line in a mount namespace of its own, after `script` has changed what is mounted there."""

    def __init__(self, cli: Cli, script: str) -> None:
        super().__init__(cli.kind, cli.source, cli.python)
        self.script = script

    @property
    def argv(self) -> list[str]:
        """The words before cloche's own."""
        prepare = f'mount --make-rprivate / && {{ {self.script}; }} && exec "$@"'
        return ["unshare", "-m", "sh", "-e", "-c", prepare, "sh", *super().argv]


def uid_of(cli: Cli) -> int:
    """Who this kind of user is outside."""
    if os.geteuid() != 0:
        return os.geteuid()
    return 0 if cli.kind == "root" else 1500


def refused(done: subprocess.CompletedProcess[str], *words: str) -> bool:
    """Whether cloche itself said no, in one message that holds `words`; explains itself when not."""
    assert done.returncode == 125, f"exit code {done.returncode}\n{done.stdout}{done.stderr}"
    assert done.stderr.startswith("cloche: "), done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) <= 2, done.stderr
    assert not done.stdout, done.stdout
    for word in words:
        assert word in done.stderr, done.stderr
    return True


def members(namespace: int) -> set[int]:
    """The processes in a pid namespace, zombies left out."""
    found = set()
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            if os.stat(f"/proc/{name}/ns/pid").st_ino == namespace:
                found.add(int(name))
        except OSError:
            continue
    return found


def gone(pid: int, patience: float = PATIENCE) -> bool:
    """Whether a process has ended, or ends soon; a zombie counts as ended."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state in {b"Z", b"X"}:
            return True
        time.sleep(0.01)
    return False
