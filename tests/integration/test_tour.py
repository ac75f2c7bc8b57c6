"""docs/tour: each step does what it promises, seen from inside and from outside, as root and as anybody.

    the test                       a step of the tour            what it started
    running(step, "uname -n") ───▶ namespaces, mounts … ───────▶ sh: runs it, says "ready", waits
      reads what it printed ◀──────────────────────────────────── stdout
      looks at /proc/PID from outside
      closes its input ─────────────────────────────────────────▶ ends, and with it all the rest

Everything runs from a copy that an ordinary user can read. What does not belong here: cloche's own containers.
"""

from __future__ import annotations

import ast
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from cloche.linux import process

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((REPOSITORY / "docs/tour").glob("*.py"))
STEPS = range(1, 9)
README = (REPOSITORY / "docs/tour/README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
COMMANDS = [text.strip() for _, text in BLOCKS if text.startswith("python3 docs/tour/")]

PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
ORDINARY = 1500
PATIENCE = 10  # seconds; what takes longer is stuck
LIMIT = 64 << 20
NAMESPACES = {"user", "uts", "pid", "mnt", "net", "ipc", "cgroup", "time"}
FULL_MAP = ["0", "0", "4294967295"]

PROBE = """
import os, sys
from cloche.linux import mount, process
if process.clone3(process.CLONE_NEWUSER | process.CLONE_NEWPID | process.CLONE_NEWNS)[0]:
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
os.close(mount.new_filesystem("proc", {}))
"""


@dataclass(frozen=True, slots=True)
class Walker:
    """Somebody who takes the tour: by which id, with which Python, from which copy of it."""

    uid: int
    python: str
    copy: Path

    def start(self, command: list[str], **streams: int) -> subprocess.Popen[str]:
        ids = {"user": self.uid, "group": self.uid, "extra_groups": []} if self.uid != os.getuid() else {}
        env = {"PATH": PATH, "PYTHONPATH": str(self.copy / "src"), "LC_ALL": "C"}
        return subprocess.Popen(command, cwd=self.copy, env=env, text=True, start_new_session=True, **streams, **ids)  # type: ignore[call-overload,no-any-return]

    def run(self, command: list[str]) -> tuple[int, str]:
        """Run to the end without input; returns the exit status and all that was printed."""
        with self.start(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as started:
            try:
                output = started.communicate(timeout=PATIENCE)[0]
            except subprocess.TimeoutExpired:
                started.kill()
                raise
        return started.returncode, output

    def script(self, step: int, *options: str) -> list[str]:
        return [self.python, *options, str(self.copy / "docs/tour" / SCRIPTS[step - 1].name)]


@dataclass(frozen=True, slots=True)
class Running:
    """A step that holds still: its process, what that is called outside, and what was printed inside."""

    process: subprocess.Popen[str]
    pid: int
    output: str
    lines: list[str]  # of what the command inside printed

    @property
    def groups(self) -> list[Path]:
        return [Path(name) for name in re.findall(r"^together: (\S+)/", self.output, re.MULTILINE)]

    def proc(self, name: str) -> str:
        return Path(f"/proc/{self.pid}/{name}").read_text()

    def status(self, field: str) -> list[str]:
        found = re.search(rf"^{field}:(.*)$", self.proc("status"), re.MULTILINE)
        assert found, field
        return found[1].split()

    def mounts(self) -> dict[str, tuple[str, str, str]]:
        """The mount points: options, whether and how they propagate, file system type."""
        result = {}
        for line in self.proc("mountinfo").splitlines():
            before, after = line.split(" - ")
            words = before.split()
            result[words[4]] = words[5], " ".join(words[6:]), after.split()[0]
        return result


@contextmanager
def running(walker: Walker, step: int, inside: str = ":") -> Iterator[Running]:
    """Start a step with a shell that runs `inside` and then waits until the block ends."""
    command = [*walker.script(step), "sh", "-c", f"{inside}\necho ready\nread line"]
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with walker.start(command, **streams) as started:
        try:
            output = read_until_ready(started)
            number = re.search(r"^process (\d+) outside is process 1 inside\n", output, re.MULTILINE)
            own = output[number.end() :] if number else output.split("\n", 1)[1]
            yield Running(started, int(number[1]) if number else started.pid, output, own.splitlines()[:-1])
            assert started.stdin
            started.stdin.close()
            started.wait(PATIENCE)
        except BaseException:
            started.kill()  # what it started dies with it
            raise


def read_until_ready(started: subprocess.Popen[str]) -> str:
    assert started.stdout
    data, end = b"", time.monotonic() + PATIENCE
    while not data.endswith(b"ready\n"):
        assert select.select([started.stdout], [], [], max(0, end - time.monotonic()))[0], f"stuck after {data!r}"
        more = os.read(started.stdout.fileno(), 1 << 16)
        assert more, f"ended after {data!r}"
        data += more
    return data.decode()


@pytest.fixture(scope="module")
def copy() -> Iterator[Path]:
    """The package and the tour where everybody can read them; pytest's own directories are private."""
    with tempfile.TemporaryDirectory() as name:
        for part in ("src/cloche", "docs/tour"):
            shutil.copytree(REPOSITORY / part, Path(name, part), ignore=shutil.ignore_patterns("__pycache__"))
        subprocess.run(["chmod", "-R", "u=rwX,go=rX", name], check=True)
        yield Path(name)


@pytest.fixture(scope="module", params=["root", "ordinary"])
def walker(request: pytest.FixtureRequest, copy: Path) -> Walker:
    uid = os.getuid()
    if request.param == "root" and uid != 0:
        pytest.skip("needs root")
    if request.param == "ordinary" and uid == 0:
        if Path("/proc/self/uid_map").read_text().split() != FULL_MAP:
            pytest.skip("root of a user namespace cannot become somebody else")
        uid = ORDINARY
    walker = Walker(uid, find_python(uid, copy), copy)
    status, output = walker.run([walker.python, "-c", PROBE])
    if status:
        pytest.skip(f"no user namespace with a /proc of its own here: {output.strip().splitlines()[-1]}")
    return walker


def find_python(uid: int, copy: Path) -> str:
    """A Python that this user may start: ours can be in somebody's home."""
    found = [
        shutil.which(name, path=PATH) for name in ("python3", "python3.14", "python3.13", "python3.12", "python3.11")
    ]
    for candidate in (sys.executable, *filter(None, found)):
        walker = Walker(uid, candidate, copy)
        try:
            if walker.run([candidate, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"])[0] == 0:
                return candidate
        except PermissionError:
            pass
    pytest.skip(f"no Python 3.11 that user {uid} may start")


@contextmanager
def ends(pid: int) -> Iterator[None]:
    """Expect the block to end process `pid`; reaps it if it became an orphan, as not every process 1 does."""
    pidfd = os.pidfd_open(pid)
    process.prctl(process.PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
        assert select.select([pidfd], [], [], PATIENCE)[0]
        with suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    finally:
        process.prctl(process.PR_SET_CHILD_SUBREAPER, 0)
        os.close(pidfd)


# how the tour is written


def test_there_are_eight_steps() -> None:
    assert [int(script.name.split("_")[0]) for script in SCRIPTS] == list(STEPS)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_is_short_and_needs_only_cloche_linux(script: Path) -> None:
    text = script.read_text()
    assert len(text.splitlines()) <= 40
    tree = ast.parse(text)
    assert (ast.get_docstring(tree) or "").startswith(f"Step {script.name[0]}: ")
    imported = [name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names]
    imported += [node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert [name for name in imported if name.split(".")[0] not in sys.stdlib_module_names] == ["cloche.linux"]


def test_the_readme_shows_each_step() -> None:
    assert [COMMANDS.count(f"python3 docs/tour/{script.name}") for script in SCRIPTS] == [1] * 8


# what it does


@pytest.mark.parametrize("step", STEPS)
def test_what_was_built_stays_built(walker: Walker, step: int) -> None:
    outside = os.uname().nodename
    with running(walker, step, "uname -n; id -u; echo $$") as it:
        host_name, uid, pid = it.lines
        links = {name: os.readlink(f"/proc/{it.pid}/ns/{name}") for name in NAMESPACES}
        new = {name for name, link in links.items() if link != os.readlink(f"/proc/self/ns/{name}")}
        assert (host_name, os.uname().nodename) == ("greenhouse", outside)

        expected = {"user", "uts"}
        if step == 1:
            assert (uid, it.proc("uid_map")) == (Path("/proc/sys/kernel/overflowuid").read_text().strip(), "")
        else:
            assert (uid, it.proc("setgroups")) == ("0", "deny\n")
            assert it.proc("uid_map").split() == it.proc("gid_map").split() == ["0", str(walker.uid), "1"]
            assert set(it.status("Uid")) == {str(walker.uid)}
        if step >= 3:
            expected |= {"pid", "mnt"}
            assert pid == "1"
            assert it.status("NSpid")[-2:] == [str(it.pid), "1"]
        mounts = it.mounts()
        if step >= 4:
            assert {shared for _, shared, _ in mounts.values()} == {""}
        if step == 4:
            assert mounts["/tmp"][2] == "tmpfs"
        if step >= 5:
            assert {path.split("/")[1] for path in mounts} <= {"", "bin", "lib", "lib64", "proc", "usr"}
            writable = [path for path, (options, _, _) in mounts.items() if options.split(",")[0] != "ro"]
            assert (writable, mounts["/"][2]) == (["/"], "tmpfs")
        if step >= 6:
            expected |= {"net", "ipc"}
            assert re.findall(r"(\w+):", it.proc("net/dev")) == ["lo"]
        if step >= 7:
            assert [it.status(f"Cap{which}") for which in ("Inh", "Prm", "Eff", "Bnd", "Amb")] == [["0" * 16]] * 5
            assert (it.status("NoNewPrivs"), it.status("Seccomp")) == (["1"], ["2"])
        elif step >= 2:
            assert int(it.status("CapEff")[0], 16) & 1 << 21  # CAP_SYS_ADMIN
        assert new == expected


@pytest.mark.parametrize("step", STEPS)
def test_the_demonstration_ends_by_itself_and_leaves_nothing(walker: Walker, step: int) -> None:
    def mounts() -> list[str]:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        return [line for line in lines if line.split()[4] in {"/", "/tmp", "/proc", "/usr", "/bin", "/lib"}]

    before = mounts()
    status, output = walker.run(walker.script(step, "-X", "dev", "-W", "error"))
    assert status == 0, output
    assert "Warning" not in output
    assert mounts() == before
    assert [group for group in re.findall(r"^together: (\S+)/", output, re.MULTILINE) if os.path.exists(group)] == []


@pytest.mark.parametrize("step", [1, 3, 8])
def test_the_exit_status_comes_back(walker: Walker, step: int) -> None:
    assert walker.run([*walker.script(step), "sh", "-c", "exit 7"])[0] == 7


def test_step_1_without_a_map_execve_takes_the_power(walker: Walker) -> None:
    assert walker.run([*walker.script(1), "hostname", "shed"])[0] != 0
    status, output = walker.run([*walker.script(2), "sh", "-c", "hostname shed; uname -n"])
    assert (status, output.splitlines()[-1]) == (0, "shed")


def test_step_3_sees_its_own_processes_only(walker: Walker) -> None:
    with running(walker, 3, "echo /proc/[0-9]*; kill -9 $$; echo still here") as it:
        assert it.lines == ["/proc/1", "still here"]


@pytest.mark.parametrize("step", [3, 7, 8])
def test_the_end_of_the_script_is_the_end_of_all(walker: Walker, step: int) -> None:
    with running(walker, step) as it, ends(it.pid):
        os.kill(int(it.status("PPid")[0]), signal.SIGKILL)  # in step 8 this is step 7


def test_step_4_has_a_tmp_of_its_own(walker: Walker) -> None:
    name = f"/tmp/of-the-tour-{os.getpid()}"
    with running(walker, 4, f"echo hello > {name}; ls /tmp") as it:
        assert it.lines == [os.path.basename(name)]
        assert not os.path.exists(name)


def test_step_5_cannot_reach_the_old_root(walker: Walker) -> None:
    script = walker.script(5)[-1]
    with running(walker, 5, f"ls /; test -e {script} || echo gone; touch /usr/mine; touch /mine && echo mine") as it:
        assert {"bin", "lib", "proc", "usr"} <= set(it.lines)
        assert {"gone", "mine"} <= set(it.lines)
        assert any("Read-only file system" in line for line in it.lines)
        assert "etc" not in os.listdir(f"/proc/{it.pid}/root")
    assert not os.path.exists("/usr/mine")
    assert not os.path.exists("/mine")


def test_step_6_has_a_loopback_that_is_up(walker: Walker) -> None:
    with running(walker, 6) as it:
        assert "127.0.0.1" in it.proc("net/fib_trie")


def test_step_7_refuses_one_system_call(walker: Walker) -> None:
    if not shutil.which("unshare", path="/usr/bin:/bin"):
        pytest.skip("unshare(1) is not installed")
    command = ["unshare", "-U", "true"]
    assert walker.run([*walker.script(6), *command])[0] == 0
    status, output = walker.run([*walker.script(7), *command])
    assert status != 0
    assert "Operation not permitted" in output


def test_step_8_bounds_memory(walker: Walker) -> None:
    with running(walker, 8) as it:
        groups = it.groups
        if groups:
            bound = [group / name for group in groups for name in ("memory.max", "memory.limit_in_bytes")]
            assert [int(path.read_text()) for path in bound if path.exists()] == [LIMIT]
            assert f"tour-{it.process.pid}" in it.proc("cgroup")
        else:
            assert "no control group" in it.output
            assert re.search(rf"^Max address space +{LIMIT} +{LIMIT} ", it.proc("limits"), re.MULTILINE)
    assert not any(group.exists() for group in groups)
    output = walker.run(walker.script(8))[1]
    ended = re.search(r"100 million characters: ended with (\d+)", output)
    assert ended, output
    assert ended[1] == "137" if groups else ended[1] != "0"


def test_step_8_bounds_processes_or_says_that_it_does_not(walker: Walker) -> None:
    with running(walker, 8) as it:
        groups = it.groups
        bound = [group / "pids.max" for group in groups]
        assert [path.read_text() for path in bound if path.exists()] == (["16\n"] if groups else [])
    shell = "dash" if shutil.which("dash", path="/usr/bin:/bin") else "sh"  # bash would try again and again
    status, output = walker.run([*walker.script(8), shell, "-c", " | ".join(["sleep 0.2"] * 20)])
    assert ("any number of them" in output) == (not groups)
    assert ("fork" in output) == (status != 0) == bool(groups)


def test_step_8_takes_everything_away_when_interrupted(walker: Walker) -> None:
    with running(walker, 8) as it:
        groups = it.groups
        with ends(it.pid):
            os.killpg(it.process.pid, signal.SIGINT)  # what ctrl-C does
            it.process.wait(PATIENCE)
    assert not any(group.exists() for group in groups)


# what the walk through it shows


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_of_the_readme(walker: Walker, command: str) -> None:
    assert command.startswith("python3 ")
    status, output = walker.run(["sh", "-c", f"{walker.python}{command.removeprefix('python3')}"])
    assert status == 0, output


@pytest.mark.parametrize("step", STEPS)
def test_looking_from_outside_as_the_readme_says(walker: Walker, step: int) -> None:
    section = README.split("\n## ")[step]
    looks = re.findall(r"^\$ (.*)$", section, re.MULTILINE)
    assert section.startswith(f"{step}. ")
    assert looks
    missing = {look.split()[0] for look in looks if not shutil.which(look.split()[0], path=PATH)}
    with running(walker, step) as it:
        for look in looks:
            if look.split()[0] in missing or ("GROUP" in look and not it.groups):
                continue
            command = look.replace("GROUP", str(it.groups[-1]) if it.groups else "").replace("PID", str(it.pid))
            status, output = walker.run(["sh", "-c", command])
            assert status == 0, f"{command}: {output}"
            assert output.strip() or "/tmp" in look
    if missing:
        pytest.skip(f"not installed: {', '.join(sorted(missing))}")
