"""A store and a state directory of a test's own, in which things go wrong: who runs there, and what may not be left.

ground("ps")              a command, to its end
ground.kill("stage")      SIGKILL of the supervisor, the stage, or both, found by what they listen to
ground.left()             what is there although no container is: processes, groups, names, pins, pipes, locks
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import Cli, system_python
from tests.containers.boxes import write_box
from tests.images.forks import Forks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from subprocess import CompletedProcess

SOCKETS = {"supervisor": "supervisor.sock", "stage": "stage.sock"}
PLACES = ("store/containers", "store/unfinished", "store/pins", "store/uses", "state/run", "state/containers")
BAR = 2.0  # seconds, after which everything is to be as it should
VERBS = "create exec inspect kill logs pause ps rename restart rm start stop unpause wait".split()
PARTS = "containers exec keep logs looks run".split()
MODULES = (
    *(f"cloche.cli.containers.{verb}" for verb in VERBS),
    *(f"cloche.cli.options_{part}" for part in PARTS),
    *("cloche.cli.run", "cloche.cli.containers.run_kept", "cloche.engine.layers", "cloche.runtime.seccomp.compile"),
)
ROUNDS = int(os.environ.get("CLOCHE_SOAK") or 0)  # of each fault, by `make soak`


def patience() -> float:
    """The bar, and more of it where others want this machine's processors too."""
    return BAR * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


class Ground:
    """The command line with a store of its own, in which the image `box` is.

    Commands are forked from `forks`, which takes a fifth of the time, but for those with variables of their own.
    """

    def __init__(self, cli: Cli, top: Path, forks: Forks | None = None, *, image: bool = True) -> None:
        self.cli, self.top, self.forks = cli, top, forks
        self.store, self.state = top / "store", top / "state"
        self.mark = f"GROUND={uuid.uuid4().hex}"  # in the environment of all that runs in its containers
        self.env = {"CLOCHE_ROOT": str(self.store), "CLOCHE_STATE": str(self.state)}
        self.seen: set[str] = set()
        self.stages: set[tuple[int, str]] = set()
        self.holders: dict[Path, str] = {}  # of each socket's path, which descriptor was found that listens there
        if image:
            done = cli("import", "-", "box", input=write_box(top / "box.tar").read_bytes(), env=self.env)
            assert done.returncode == 0, done.stderr

    def __call__(self, *words: str, env: Mapping[str, str] | None = None) -> CompletedProcess[str]:
        """Run to the end; a traceback is never right."""
        try:
            if self.forks is None or env:
                done = self.cli(*words, env={**self.env, **(env or {})}, timeout=60)
            else:
                done = self.forks(*words, env=self.env)
        finally:
            self._look()
        assert "Traceback" not in done.stderr, (words, done.stderr)
        return done

    def well(self, *words: str, **env: str) -> str:
        """What a command prints that has to succeed."""
        done = self(*words, env=env)
        assert done.returncode == 0, (words, done.stdout, done.stderr, self.log())
        return done.stdout

    def begin(self, *words: str, **env: str) -> subprocess.Popen[bytes]:
        """Start a command, and return at once."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return self.cli.popen(*words, env={**self.env, **env}, **pipes)

    def supervise(self, **env: str) -> int:
        """Have a supervisor with these variables; returns its process."""
        self.kill("supervisor")
        code = f"import sys; sys.path.insert(0, {str(self.cli.source)!r}); "
        code += "from cloche.engine.supervisor.client import revive; revive()"
        subprocess.run([*self.cli.argv[:-1], code], env={**os.environ, **self.env, **env}, check=True, timeout=60)
        assert self.pid("supervisor")
        return self.pid("supervisor")

    def run(self, name: str, *more: str, command: tuple[str, ...] = ("sleep", "1000")) -> str:
        """Start a container that goes on; returns its id."""
        return self.well("run", "-d", "--name", name, "-e", self.mark, *more, "box", *command).strip()

    def create(self, name: str, *more: str, command: tuple[str, ...] = ("sleep", "1000"), **env: str) -> str:
        """Make one; returns its id."""
        return self.well("create", "--name", name, "-e", self.mark, *more, "box", *command, **env).strip()

    def truth(self) -> dict[str, tuple[str, int | None]]:
        """The status and exit code of each container, by its name, as `inspect` and `ps` agree on it.

        They are two commands: what changes in between is looked at again.
        """
        for _ in range(3):
            listed, found = self._listed()
            if all(found[name][0] == status for name, status in listed.items()):
                break
        assert {name: values[0] for name, values in found.items()} == listed
        for status, _, pid in found.values():
            assert bool(pid) == (status in {"running", "paused"}), found
        return {name: values[:2] for name, values in found.items()}

    def _listed(self) -> tuple[dict[str, str], dict[str, tuple[str, int | None, int]]]:
        form = "{{.Names}} {{.State}} {{.ID}}"
        lines = [line.split(" ") for line in self.well("ps", "-a", "--no-trunc", "--format", form).splitlines()]
        found: dict[str, tuple[str, int | None, int]] = {}
        if not lines:
            return {}, found
        for document in json.loads(self.well("inspect", *(words[2] for words in lines))):
            state = document["State"]
            found[document["Name"].removeprefix("/")] = (state["Status"], state["ExitCode"], state["Pid"])
        return {name: status for name, status, _ in lines}, found

    def of(self, name: str) -> dict[str, object]:
        """The first line of a container's state.json, which says where it stands."""
        folder = self.store / "containers" / os.readlink(self.store / "names" / name)
        found = json.loads((folder / "state.json").read_text().splitlines()[0])
        assert isinstance(found, dict)
        return found

    def until(self, name: str, *wanted: str) -> None:
        """Wait until a container stands like this."""
        deadline = time.monotonic() + 30
        while (found := self.well("inspect", "-f", "{{.State.Status}}", name).strip()) not in wanted:
            assert time.monotonic() < deadline, f"{name} is {found}"
            time.sleep(0.02)

    def log(self) -> str:
        """What the supervisor had to say."""
        path = self.state / "supervisor.log"
        return path.read_text() if path.exists() else ""

    # who runs

    def pid(self, who: str) -> int:
        """The process that listens: "supervisor" or "stage"; 0 for none."""
        return self._holder(self.state / SOCKETS[who])

    def _holder(self, path: Path) -> int:
        lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
        sockets = {f"socket:[{line[6]}]" for line in lines if line[-1] == str(path) and line[3] == "00010000"}
        if sockets and not _leads_to(self.holders.get(path, ""), sockets):
            self.holders[path] = next(_descriptors(sockets), "")
        held = self.holders.get(path, "") if sockets else ""
        return int(held.split("/")[2]) if held else 0

    def kill(self, *who: str) -> None:
        """SIGKILL at once, and wait until they are gone."""
        for pid in [pid for name in who if (pid := self.pid(name))]:
            end(pid)

    def until_gone(self, pid: int, why: str) -> None:
        """Wait until a process has ended that is about to be killed."""
        deadline = time.monotonic() + patience()
        while started(pid):
            assert time.monotonic() < deadline, why
            time.sleep(0.01)

    def _look(self) -> None:
        for place in (self.store / "containers", self.state / "run"):
            if place.exists():
                self.seen.update(os.listdir(place))
        if pid := self.pid("stage"):
            self.stages.add((pid, started(pid)))

    # what is left

    def orphans(self) -> list[str]:
        """Processes of containers, and stages, that are there."""
        found = [f"process {pid}: {words}" for pid, words in _living(self.mark.encode())]
        return found + self._stages()

    def _stages(self) -> list[str]:
        self.stages = {(pid, start) for pid, start in self.stages if start and started(pid) == start}
        return [f"stage {pid}" for pid, _ in self.stages]

    def left(self) -> list[str]:
        """Whatever is there although there is no container any more."""
        found = self.orphans()
        for place in PLACES:
            folder = self.top / place
            for name in os.listdir(folder) if folder.exists() else ():
                if not name.startswith(".") and not (place == "store/uses" and not _is_locked(folder / name)):
                    found.append(f"{place}/{name}")
        names = self.store / "names"
        found += [f"name {name}" for name in os.listdir(names) if name != ".lock"] if names.exists() else []
        found += [str(path) for path in (self.store / "volumes").glob("*/users/*") if _is_locked(path)]
        found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(self.top) in line]
        groups = {f"cloche-kept-{name[:32]}" for name in self.seen}
        found += [f"{top}/{name}" for top, names_, _ in os.walk("/sys/fs/cgroup") for name in names_ if name in groups]
        found += [f"lease: {line}" for path in (self.state / "ranges").glob("*") for line in _locks_of(path)]
        return found

    def settles(self) -> None:
        """With no container left, nothing is left within the bar, but for what goes by itself a second later."""
        deadline = time.monotonic() + patience() + 1
        while found := self._stages() or self.left():
            assert time.monotonic() < deadline, (found, self.log())
            time.sleep(0.05)

    def clear(self) -> None:
        """Remove all containers; then nothing is left."""
        ids = self.well("ps", "-aq", "--no-trunc").split()
        self.well("rm", "-f", "-v", "of-which-there-is-none", *ids)  # what was half made goes with it
        self.settles()


@contextlib.contextmanager
def laid_out(shared_dir: Path) -> Iterator[Ground]:
    """One of root's; at the end nothing is left, and the supervisor has met no defect of ours."""
    if os.geteuid() != 0:
        pytest.skip("needs root to see who listens")
    top = Path(tempfile.mkdtemp(dir="/tmp"))
    cli = Cli("root", shared_dir / "src", system_python())
    try:
        with Forks(cli, modules=MODULES) as forks:
            made = Ground(cli, top, forks)
            yield made
            made.clear()
            assert "Traceback" not in made.log(), made.log()
    finally:
        shutil.rmtree(top)


def end(pid: int) -> None:
    """SIGKILL, and until it is gone."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return  # by itself, just now
    try:
        signal.pidfd_send_signal(fd, signal.SIGKILL)
        deadline = time.monotonic() + 5
        while started(pid):
            assert time.monotonic() < deadline
            time.sleep(0.002)
    except ProcessLookupError:
        pass
    finally:
        os.close(fd)


def started(pid: int) -> str:
    """When a process began, in clock ticks; "" for a zombie or none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in {b"Z", b"X"} else fields[19].decode()


def _descriptors(sockets: set[str]) -> Iterator[str]:
    """Descriptors of our processes that lead to one of these."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if b"cloche" in Path(f"/proc/{pid}/cmdline").read_bytes():
                paths = [f"/proc/{pid}/fd/{fd}" for fd in os.listdir(f"/proc/{pid}/fd")]
                yield from (path for path in paths if _leads_to(path, sockets))


def _leads_to(path: str, sockets: set[str]) -> bool:
    try:
        return os.readlink(path) in sockets
    except OSError:
        return False


def _living(mark: bytes) -> list[tuple[int, str]]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if mark not in Path(f"/proc/{pid}/environ").read_bytes():
                continue
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
            if b"cloche.cli" not in words and started(int(pid)):
                found.append((int(pid), words.replace(b"\0", b" ").decode(errors="replace")))
    return found


def _is_locked(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False


def _locks_of(path: Path) -> list[str]:
    status = os.stat(path)
    where = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    return [line for line in Path("/proc/locks").read_text().splitlines() if where in line]
