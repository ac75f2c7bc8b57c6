"""SIGKILL of the front, the stage, both, or the new process, at any step and while running: nothing is left.

A container is found again from outside by what it leaves if anything: processes that sleep for a number of
seconds nobody else sleeps for, group directories with its id in their name, its record, a lock on a range of ids.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ORDINARY
from tests.integration.alive import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Cli

F_OFD_GETLK, F_WRLCK, F_UNLCK = 36, 1, 2
VICTIMS = ("front", "stage", "both")
# options that bring in steps a plain run does not have
RICH = (
    "-t",
    "--init",
    "--read-only",
    "--time-offset",
    "monotonic=5",
    "--ulimit",
    "nofile=99",
    "--oom-score-adj",
    "500",
)


class Trial:
    """One container that something bad happens to."""

    def __init__(self, cli: Cli) -> None:
        self.cli = cli
        self.seconds = str(random.randrange(30_000_000, 40_000_000))
        self.name = f"killed-{uuid.uuid4().hex}"
        self.cidfile = Path(cli.state) / f"{self.name}.cid"

    def words(self, *options: str, verb: str = "run", script: str = "exec sleep {}") -> list[str]:
        """A command line whose container has a name and tells its id."""
        command = ["sh", "-c", script.replace("{}", self.seconds)]
        return [verb, "--name", self.name, "--cidfile", str(self.cidfile), *options, *command]

    def sleepers(self) -> list[int]:
        """Living processes of the container."""
        wanted = f"sleep\0{self.seconds}\0".encode()
        return [pid for pid in pids() if command_line(pid) == wanted and state(pid) not in "ZX"]

    def processes(self) -> list[int]:
        """Living processes that have anything to do with it: front, stage, and those inside."""
        return [pid for pid in pids() if self.seconds.encode() in command_line(pid) and state(pid) not in "ZX"]

    def left(self) -> list[str]:
        """What there still is of it."""
        found = [f"process {pid}: {command_line(pid)!r}" for pid in self.processes()]
        container = self.cidfile.read_text() if self.cidfile.exists() else ""
        if container:
            found += [path for path in groups() if container[:24] in path]
            found += [str(path) for path in (Path(self.cli.state) / "containers").glob(f"{container}*")]
        found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if self.name in line]
        return found + taken_ranges(self.cli)

    def gone(self, patience: float = 6, but: str = "\0") -> None:
        """Nothing is left, or soon is not, `but` what has this word in it."""

        def left() -> list[str]:
            return [line for line in self.left() if but not in line]

        try:
            until(lambda: not left(), "everything is gone", patience)
        except AssertionError:
            pytest.fail(f"left behind: {left()}")
        self.cidfile.unlink(missing_ok=True)


def pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal() and int(name) != os.getpid()]


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def state(pid: int) -> str:
    """The letter of proc_pid_stat(5); X when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def groups() -> list[str]:
    return [f"{top}/{d}" for top, dirs, _ in os.walk("/sys/fs/cgroup") for d in dirs if d.startswith("cloche-")]


def taken_ranges(cli: Cli) -> list[str]:
    """Ranges of ids that are still leased."""
    question = F_WRLCK.to_bytes(2, "little") + bytes(30)
    found = []
    for path in Path(cli.state, "ranges").glob("*"):
        with open(path, "r+b") as file:
            answer = fcntl.fcntl(file, F_OFD_GETLK, question)
        if int.from_bytes(answer[:2], "little") != F_UNLCK:
            found.append(f"a range of ids is still leased: {path}")
    return found


def children(pid: int) -> list[int]:
    """Those of every thread."""
    try:
        return [
            int(word)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for word in (task / "children").read_text().split()
        ]
    except OSError:
        return []


def strike(front: subprocess.Popen[bytes], victim: str) -> None:
    """SIGKILL: stopped first, so that neither can do anything about the other's end."""
    stages = children(front.pid)
    chosen = {"front": [front.pid], "stage": stages, "both": [front.pid, *stages]}[victim]
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in chosen:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
    front.wait(20)


FRONTS: list[subprocess.Popen[bytes]] = []


def quiet(cli: Cli, *words: str, **env: str) -> subprocess.Popen[bytes]:
    null = subprocess.DEVNULL
    front = cli.popen(*words, stdin=null, stdout=null, stderr=null, env=env)
    FRONTS.append(front)
    return front


@pytest.fixture(autouse=True)
def _no_front_stays() -> Iterator[None]:
    """A test that fails half way leaves no running container."""
    yield
    while FRONTS:
        front = FRONTS.pop()
        front.kill()
        front.wait()
        if front.stdout is not None:
            front.stdout.close()


def works(cli: Cli, image: tuple[str, ...]) -> None:
    done = cli("run", *image, "echo", "fine")
    assert (done.returncode, done.stdout, done.stderr) == (0, "fine\n", "")


@pytest.fixture(params=["host", "rootfs"])
def image(request: pytest.FixtureRequest, rootfs: Path) -> tuple[str, ...]:
    """The words that name the image."""
    return ("host",) if request.param == "host" else ("--rootfs", str(rootfs))


def points(trial: Trial, *options: str) -> list[str]:
    """Every kind of step that this command line would take, in order."""
    done = trial.cli(*trial.words("--format", "json", *options, verb="explain"))
    assert done.returncode == 0, done.stderr
    return list(dict.fromkeys(step["operation"] for step in json.loads(done.stdout)["steps"]))


def spelled(operation: str) -> str:
    """CreateGroup as "create group"."""
    return "".join(f" {c.lower()}" if c.isupper() else c for c in operation).strip()


@pytest.mark.parametrize("action", ["kill", "errno"])
def test_a_failure_at_any_step_is_told_and_leaves_nothing(
    anyone: Cli, image: tuple[str, ...], action: str, rootfs: Path
) -> None:
    rich = (*RICH, "--rootfs", str(rootfs))
    options = image if image[0] == "host" else rich
    names = points(Trial(anyone), *options)
    assert {"Clone", "Release", "AwaitRelease", "PivotRoot", "SetUser", "Execute"} <= set(names)
    if image[0] == "host":
        others = points(Trial(anyone), *rich)
        names = [name for name in names if name not in others]
        assert {"NewRoot", "Landlock"} <= set(names)
    elif anyone.kind == "subuid":  # what follows is as for any other user
        names = names[: names.index("Release") + 1]

    def attempt(name: str) -> list[str]:
        trial = Trial(anyone)
        done = anyone(*trial.words(*options), env={"CLOCHE_FAILPOINT": f"{name}:{action}"})
        wrong = [f"exit code {done.returncode}"] if done.returncode != 125 else []
        lines = done.stderr.splitlines()
        expected = f"cloche: {spelled(name)}: failpoint {name}" if action == "errno" else "cloche: "
        if not lines or not lines[0].startswith(expected) or len(lines) > 2:
            wrong.append(f"said {done.stderr!r}")
        wrong += [line for line in trial.left() if "leased" not in line]
        trial.cidfile.unlink(missing_ok=True)
        return [f"{name}: {what}" for what in wrong]

    with ThreadPoolExecutor(3) as pool:
        wrong = [what for found in pool.map(attempt, names) for what in found]
    assert not wrong, "\n".join(wrong)
    assert taken_ranges(anyone) == []
    works(anyone, image)


@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.parametrize("point", ["Clone", "Release", "AwaitRelease", "PivotRoot", "Execute"])
def test_killed_in_the_middle_of_setting_up(anyone: Cli, rootfs: Path, point: str, victim: str) -> None:
    trial = Trial(anyone)
    front = quiet(anyone, *trial.words("--rootfs", str(rootfs)), CLOCHE_FAILPOINT=f"{point}:sleep")
    until(lambda: trial.cidfile.exists() and children(front.pid), "the stage is there")
    if point != "Clone":
        until(lambda: any(map(children, children(front.pid))), "the new process is there")
        time.sleep(0.05)  # it sleeps at the point for longer than it takes to get there
    assert trial.sleepers() == []
    strike(front, victim)
    until(lambda: not trial.processes(), "all of it has died", 6)  # what still dies the next command would leave
    works(anyone, ("--rootfs", str(rootfs)))
    trial.gone()


def test_killed_at_any_moment(anyone: Cli, image: tuple[str, ...]) -> None:
    assert Path(anyone.state).is_dir()
    rounds = int(os.environ.get("SOAK_SECONDS", "0")) * 2 or 9

    def attempt(number: int) -> None:
        trial = Trial(anyone)
        front = quiet(anyone, *trial.words(*image))
        time.sleep(random.uniform(0.03, 0.15))
        victim = VICTIMS[number % 3]
        if victim == "stage":  # before there is one, nothing can happen to it
            until(lambda: trial.cidfile.exists() and children(front.pid), "the stage is there")
            time.sleep(random.uniform(0, 0.03))
        strike(front, victim)
        works(anyone, image)
        trial.gone(20, but="leased")

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(attempt, range(rounds)))
    assert taken_ranges(anyone) == []


STUBBORN = """trap "" TERM INT HUP QUIT
setsid sleep {} &
(setsid sh -c "trap '' TERM HUP; sleep {} & exit" &)
sleep {} & wait"""


@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.parametrize("how", ["plain", "--init", "--pid=host"])
def test_killed_while_stubborn_children_run(anyone: Cli, rootfs: Path, how: str, victim: str) -> None:
    trial = Trial(anyone)
    options = [] if how == "plain" else [how]
    front = quiet(anyone, *trial.words(*options, "--rootfs", str(rootfs), script=STUBBORN))
    try:
        until(lambda: len(trial.sleepers()) == 3, "three processes sleep inside")
        strike(front, victim)
        assert front.returncode == (125 if victim == "stage" else -9)
        works(anyone, ("--rootfs", str(rootfs)))
        trial.gone(6)
    finally:
        for pid in trial.sleepers():
            os.kill(pid, signal.SIGKILL)
        trial.cidfile.unlink(missing_ok=True)


@pytest.mark.parametrize("pid", ["private", "host"])
def test_a_command_that_takes_back_the_order_to_die(anyone: Cli, pid: str) -> None:
    # prctl(PR_SET_PDEATHSIG, 0); a change of user does the same
    trial = Trial(anyone)
    code = f"import ctypes, time; ctypes.CDLL(None).prctl(1, 0); print(1, flush=True); time.sleep({trial.seconds})"
    words = ["run", "--pid", pid, "host", "/usr/bin/python3", "-S", "-c", code]
    front = anyone.popen(*words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert front.stdout is not None
    assert front.stdout.readline() == b"1\n"
    strike(front, "both")
    front.stdout.close()
    trial.gone()


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_set_uid_command_cannot_stay_behind(root: Cli, rootfs: Path, tmp_path: Path, victim: str) -> None:
    # execve of a set-uid program takes back the order to die with the stage: prctl(2), PR_SET_PDEATHSIG
    tmp_path.chmod(0o755)
    program = tmp_path / "sleep"
    program.write_bytes((rootfs / "bin/busybox").read_bytes())
    program.chmod(0o4755)
    trial = Trial(root)
    words = trial.words("--rootfs", str(rootfs), "-u", "1000", "--security-opt", "no-new-privileges=false")
    front = quiet(root, *words[:-3], "-v", f"{tmp_path}:/mnt", "/mnt/sleep", trial.seconds)
    until(lambda: any(command_line(pid).startswith(b"/mnt/sleep") for pid in trial.processes()), "it runs")
    inside = next(pid for pid in trial.processes() if command_line(pid).startswith(b"/mnt/sleep"))
    assert "Uid:\t525288\t" not in Path(f"/proc/{inside}/status").read_text()
    strike(front, victim)
    works(root, ("--rootfs", str(rootfs)))
    trial.gone()


def test_the_front_says_that_its_stage_was_killed(anyone: Cli, rootfs: Path) -> None:
    trial = Trial(anyone)
    pipe = subprocess.PIPE
    words = trial.words("--rootfs", str(rootfs))
    front = anyone.popen(*words, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe)
    until(lambda: len(trial.sleepers()) == 1, "it runs")
    os.kill(children(front.pid)[0], signal.SIGKILL)
    out, err = front.communicate(timeout=20)
    assert (front.returncode, out) == (125, b"")
    lines = err.decode().splitlines()
    assert lines[0].startswith("cloche: the stage was killed")
    assert lines[1].startswith("  hint: ")
    assert len(lines) == 2
    trial.gone()


PROGRAM = """
import sys, threading
sys.path.insert(0, sys.argv[1])
import cloche
def one():
    try:
        cloche.run(["sleep", sys.argv[3]], rootfs=sys.argv[2])
    except cloche.ClocheError as error:
        print(error, flush=True)
threads = [threading.Thread(target=one) for _ in range(2)]
[t.start() for t in threads]
[t.join() for t in threads]
print(cloche.run("echo again", rootfs=sys.argv[2]).stdout, end="", flush=True)
"""


@pytest.fixture(params=["root", "user"])
def program(request: pytest.FixtureRequest, shared_dir: Path) -> tuple[list[str], dict[str, str]]:
    """The words that start PROGRAM as one kind of user, and its environment."""
    become: list[str] = []
    path = shared_dir / f"state-library-{request.param}"
    path.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() == 0 and request.param == "user":
        os.chown(path, ORDINARY, ORDINARY)
        become = ["setpriv", "--reuid", str(ORDINARY), "--regid", str(ORDINARY), "--clear-groups"]
    elif os.geteuid() != 0 and request.param == "root":
        pytest.skip("needs root")
    python = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
    return [*become, python, "-I", "-B", "-c", PROGRAM], {"PATH": os.environ["PATH"], "CLOCHE_STATE": str(path)}


def groups_of(pids: list[int]) -> set[str]:
    """Names of the groups that processes are in."""
    text = "".join(Path(f"/proc/{pid}/cgroup").read_text() for pid in pids)
    return {word for line in text.splitlines() for word in line.split("/") if word.startswith("cloche-")}


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_program_that_uses_the_library_is_killed(
    program: tuple[list[str], dict[str, str]], cli: Cli, rootfs: Path, shared_dir: Path, victim: str
) -> None:
    words, env = program
    trial = Trial(cli)
    null, pipe = subprocess.DEVNULL, subprocess.PIPE
    argv = [*words, str(shared_dir / "src"), str(rootfs), trial.seconds]
    front = subprocess.Popen(argv, env=env, stdin=null, stdout=pipe)
    FRONTS.append(front)
    until(lambda: len(trial.sleepers()) == 2, "two containers run")
    stages = children(front.pid)
    assert len(stages) == 1
    names = groups_of(trial.sleepers())
    assert len(names) in {0, 2}
    if victim == "stage":
        os.kill(stages[0], signal.SIGKILL)
        out = front.communicate(timeout=20)[0].decode().splitlines()
        assert len(out) == 3
        assert out[0] == out[1]
        assert "the stage was killed" in out[0]
        assert (out[2], front.returncode) == ("again", 0)
    else:
        strike(front, victim)
        assert front.stdout is not None
        front.stdout.close()
        works(cli, ("--rootfs", str(rootfs)))
    trial.gone()
    until(lambda: not [path for path in groups() if path.rpartition("/")[2] in names], "the groups are gone")
    assert stages[0] not in [pid for pid in pids() if state(pid) not in "ZX"]
