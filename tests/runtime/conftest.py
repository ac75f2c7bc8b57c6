"""What the runtime tests share: bundles that cost nothing to make, an OCI runtime with a state directory of its
own, and the receiving end of a console socket.

    def test_...(runtime: Runtime, bundle: MakeBundle) -> None:
        made = bundle("sh", "-c", "echo hello")       # process.args; a rootfs of busybox; config.json as `runc spec`'s
        made.config["hostname"] = "other"             # any change; written when the runtime is called
        assert runtime.run(made).stdout == "hello\\n"

What does not belong here: what a runtime should do.
"""

from __future__ import annotations

import array
import contextlib
import copy
import ctypes
import fcntl
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from tests.conftest import APPLETS, ORDINARY, SOURCE, system_python

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

PATIENCE = 20.0
# crun refuses a host with both kinds of cgroups: it gets a mount namespace that shows one of them
CRUN_ON_HYBRID = ("unshare", "-m", "--propagation", "private", "sh", "-c", 'umount "$0"; exec "$@"')
UNIFIED = "/sys/fs/cgroup/unified"
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]

SLEEP = ("sleep", "1000")
PYTHON = ("/usr/bin/python3", "-I", "-S", "-c")  # in a bundle with_python
# says "ready", then ends with 3 when asked to; a loop, as a first process gets no signal that it does not handle
POLITE = ("sh", "-c", 'trap "exit 3" TERM; echo ready; while :; do sleep 0.05; done')

# how every name begins that a test run gives to containers and cgroups: nobody else has it, so what is in a cgroup
# of such a name is ours to end
OURS = f"cloche-t{os.getpid()}-"

Json = dict[str, Any]


def default_config() -> Json:
    """What `runc spec` writes, without a terminal."""
    plain = ["nosuid", "noexec", "nodev"]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {k: list(CAPABILITIES) for k in ("bounding", "effective", "permitted", "ambient")},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "inside",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {
                "destination": "/dev",
                "type": "tmpfs",
                "source": "tmpfs",
                "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
            },
            {
                "destination": "/dev/pts",
                "type": "devpts",
                "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
            },
            {
                "destination": "/dev/shm",
                "type": "tmpfs",
                "source": "shm",
                "options": [*plain, "mode=1777", "size=65536k"],
            },
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": list(plain)},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*plain, "ro"]},
            {
                "destination": "/sys/fs/cgroup",
                "type": "cgroup",
                "source": "cgroup",
                "options": [*plain, "relatime", "ro"],
            },
        ],
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")],
            "maskedPaths": [
                "/proc/acpi",
                "/proc/asound",
                "/proc/kcore",
                "/proc/keys",
                "/proc/latency_stats",
                "/proc/timer_list",
                "/proc/timer_stats",
                "/proc/sched_debug",
                "/sys/firmware",
                "/proc/scsi",
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    }


class Bundle:
    """A directory with a rootfs and a config.json; `config` is written whenever a runtime is called with it."""

    def __init__(self, path: Path, config: Json) -> None:
        self.path, self.config = path, config

    @property
    def rootfs(self) -> Path:
        """The root file system: this bundle's own, except for /bin/busybox, which is a hard link."""
        return self.path / "rootfs"

    @property
    def process(self) -> Json:
        """config["process"]."""
        process: Json = self.config["process"]
        return process

    @property
    def linux(self) -> Json:
        """config["linux"]."""
        linux: Json = self.config["linux"]
        return linux

    def command(self, *words: str) -> Bundle:
        """Another command to run."""
        self.process["args"] = list(words)
        return self

    def writable(self) -> Bundle:
        """With a root file system that the container may write to."""
        self.config["root"]["readonly"] = False
        return self

    def bind(self, source: Path | str, destination: str, *options: str) -> Bundle:
        """With a file or directory of the host's at `destination`, read-write unless "ro" is an option."""
        entry = {"destination": destination, "type": "bind", "source": str(source), "options": ["bind", *options]}
        self.config["mounts"].append(entry)
        return self

    def with_python(self) -> Bundle:
        """With the host's programs below /usr, for what busybox cannot do; see PYTHON."""
        (self.rootfs / "usr").mkdir()
        for name in ("lib", "lib64"):
            if os.path.isdir(f"/usr/{name}"):
                (self.rootfs / name).symlink_to(f"usr/{name}")
        return self.bind("/usr", "/usr", "ro")

    def without_namespace(self, *kinds: str) -> Bundle:
        """With the runtime's own namespaces of these kinds."""
        self.linux["namespaces"] = [n for n in self.linux["namespaces"] if n["type"] not in kinds]
        return self

    def write(self) -> Bundle:
        """Write config.json; the runtime's methods do it before they use a bundle, perhaps several at once."""
        made = self.path / f"config.json.{threading.get_ident()}"
        made.write_text(json.dumps(self.config))
        made.rename(self.path / "config.json")
        return self


def build_rootfs(top: Path, busybox: Path) -> None:
    """A small root file system of one hard link and symbolic links."""
    for name in ("bin", "dev", "etc", "proc", "root", "sys", "tmp", "var", "mnt"):
        (top / name).mkdir(parents=True)
    (top / "tmp").chmod(0o1777)
    os.link(busybox, top / "bin/busybox")
    for applet in APPLETS:
        (top / "bin" / applet).symlink_to("busybox")
    (top / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000:Ann:/home/ann:/bin/sh\n")
    (top / "etc/group").write_text("root:x:0:\nann:x:1000:\nwheel:x:10:ann\n")


class MakeBundle:
    """`bundle(*args)`: a new bundle for every call, of one test; `config` replaces the default one."""

    def __init__(self, top: Path, busybox: Path) -> None:
        self.top, self.busybox, self.count = top, busybox, 0

    def __call__(self, *args: str, config: Json | None = None) -> Bundle:
        path = self.top / f"bundle{self.count}"
        self.count += 1
        build_rootfs(path / "rootfs", self.busybox)
        made = Bundle(path, copy.deepcopy(config) if config is not None else default_config())
        return made.command(*args) if args else made


class Console:
    """The receiving end of --console-socket, and the terminal that came through it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(str(path))
        self.socket.listen(1)
        self.fd = -1
        self.message = b""
        self.seen = b""

    def receive(self) -> Console:
        """Take the connection and the one descriptor that comes with its message."""
        self.socket.settimeout(PATIENCE)
        peer, _ = self.socket.accept()
        with peer:
            peer.settimeout(PATIENCE)
            self.message, control, _, _ = peer.recvmsg(4096, socket.CMSG_SPACE(16))
            fds = array.array("i")
            for level, kind, data in control:
                assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
                fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
            assert len(fds) == 1, f"{len(fds)} descriptors came"
            self.fd = fds[0]
        return self

    def size(self) -> tuple[int, int]:
        """(rows, columns)."""
        rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(self.fd, termios.TIOCGWINSZ, bytes(8)))
        return rows, columns

    def resize(self, rows: int, columns: int) -> None:
        """Another window size."""
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        """Send keys."""
        os.write(self.fd, text.encode())

    def until(self, text: str) -> str:
        """Read until `text` has appeared; returns all up to its end, and forgets it."""
        deadline = time.monotonic() + PATIENCE
        while text.encode() not in self.seen:
            left = max(0.0, deadline - time.monotonic())
            part = b""
            if select.select([self.fd], [], [], left)[0]:
                with contextlib.suppress(OSError):  # EIO: nobody has the other side open any more
                    part = os.read(self.fd, 65536)
            assert part, f"{text!r} did not appear, but {self.seen[-1000:]!r}"
            self.seen = (self.seen + part).replace(b"\r\n", b"\n")
        end = self.seen.index(text.encode()) + len(text.encode())
        taken, self.seen = self.seen[:end], self.seen[end:]
        return taken.decode(errors="replace")

    def rest(self) -> str:
        """Read until the other side is closed by everybody."""
        deadline = time.monotonic() + PATIENCE
        while select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
            part = b""
            with contextlib.suppress(OSError):
                part = os.read(self.fd, 65536)
            if not part:
                return self.seen.decode(errors="replace").replace("\r\n", "\n")
            self.seen += part
        raise AssertionError(f"the terminal stays open; seen: {self.seen[-1000:]!r}")

    def close(self) -> None:
        """Hang up."""
        self.socket.close()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Runtime:
    """An OCI runtime, as one user, with a state directory and containers of one test.

    Methods that make containers keep their ids; at the end of the test every one of them is deleted by force.
    What they print goes to files, as the container holds its output open for as long as it lives.
    """

    count = 0
    waited_for: ClassVar[list[subprocess.Popen[bytes]]] = []

    def __init__(
        self, command: Sequence[str], top: Path, *, prefix: Sequence[str] = (), env: Mapping[str, str]
    ) -> None:
        self.command, self.prefix, self.top = list(command), list(prefix), top
        self.name = Path(self.command[-1]).name  # "cloche-runtime", "runc", "crun"
        self.root = top / "state"
        self.env = dict(env)
        self.ids: list[str] = []
        self.consoles: list[Console] = []
        self.children: list[subprocess.Popen[bytes]] = []

    # what is called

    def argv(self, *words: str) -> list[str]:
        """The whole command, with the state directory."""
        return [*self.prefix, *self.command, "--root", str(self.root), *words]

    def __call__(
        self, *words: str, input: bytes | str = b"", timeout: float = 60, env: Mapping[str, str] = {}, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run it to the end of its output; not for what leaves a process with that output behind: see detached."""
        data = input.encode() if isinstance(input, str) else input
        whole = {**self.env, **env}
        done = subprocess.run(
            self.argv(*words), input=data, capture_output=True, timeout=timeout, check=False, env=whole, **more
        )
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        )

    def detached(
        self, *words: str, name: str, timeout: float = 60, env: Mapping[str, str] = {}, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run it until it exits, with NAME.out and NAME.err as its output; returns what is in them then."""
        out, err = self.top / f"{name}.out", self.top / f"{name}.err"
        with out.open("ab") as stdout, err.open("ab") as stderr:
            more = {"stdin": subprocess.DEVNULL, "stdout": stdout, "stderr": stderr, **more}
            child = subprocess.Popen(self.argv(*words), env={**self.env, **env}, **more)
            try:
                code = child.wait(timeout)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
                raise
        return subprocess.CompletedProcess(child.args, code, out.read_text(), err.read_text())

    def popen(self, *words: str, env: Mapping[str, str] = {}, **more: Any) -> subprocess.Popen[bytes]:
        """Start it and return at once; killed at the end of the test if it is still there."""
        more = {"stdin": subprocess.DEVNULL, **more}
        child = subprocess.Popen(self.argv(*words), env={**self.env, **env}, **more)
        self.children.append(child)
        Runtime.waited_for.append(child)
        return child

    def ok(self, *words: str, **more: Any) -> str:
        """Run it, expect success, return its output."""
        done = self(*words, **more)
        assert done.returncode == 0, f"{' '.join(words)}: exit code {done.returncode}\n{done.stderr}"
        return done.stdout

    # containers

    def new_id(self) -> str:
        """An id nobody has, deleted at the end of the test."""
        Runtime.count += 1
        return self.keep(f"{OURS}{Runtime.count}")

    def keep(self, id: str) -> str:
        """An id to delete at the end of the test."""
        self.ids.append(id)
        return id

    def run(self, bundle: Bundle, *flags: str, id: str = "", **more: Any) -> subprocess.CompletedProcess[str]:
        """`run` in the foreground, to its end."""
        bundle.write()
        return self("run", *flags, "--bundle", str(bundle.path), id or self.new_id(), **more)

    def try_create(
        self, bundle: Bundle, *flags: str, id: str = "", verb: str = "create", **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """`create`, whatever comes of it; the container's output is in output(id) and errors(id)."""
        bundle.write()
        id = id or self.new_id()
        return self.detached(verb, *flags, "--bundle", str(bundle.path), id, name=id.replace("/", "_"), **more)

    def create(self, bundle: Bundle, *flags: str, id: str = "", **more: Any) -> str:
        """`create`, expecting success; returns the id."""
        id = id or self.new_id()
        done = self.try_create(bundle, *flags, id=id, **more)
        assert done.returncode == 0, done.stderr
        return id

    def start(self, id: str) -> None:
        """`start`, expecting success."""
        self.ok("start", id)

    def running(self, bundle: Bundle, *flags: str, id: str = "", **more: Any) -> str:
        """`create` and `start`, expecting success; returns the id."""
        id = self.create(bundle, *flags, id=id, **more)
        self.start(id)
        return id

    def state(self, id: str) -> Json:
        """What `state` prints."""
        state: Json = json.loads(self.ok("state", id))
        return state

    def status(self, id: str) -> str:
        """The status that `state` tells; "" if there is no such container."""
        done = self("state", id)
        return str(json.loads(done.stdout)["status"]) if done.returncode == 0 else ""

    def pid(self, id: str) -> int:
        """The init process as the host sees it."""
        pid = self.state(id)["pid"]
        assert isinstance(pid, int)
        return pid

    def wait(self, id: str, status: str = "stopped") -> None:
        """Until `state` tells this status."""

        def reached() -> bool:
            reap()
            return self.status(id) == status

        wait_until(reached, f"{id} is not {status}")

    def finish(self, id: str) -> str:
        """Wait until it has stopped; returns its standard output."""
        self.wait(id)
        return self.output(id)

    def output(self, id: str) -> str:
        """What a container made by create or running has written until now."""
        return (self.top / f"{id}.out").read_text()

    def errors(self, id: str) -> str:
        """The same of its standard error, and of the runtime's."""
        return (self.top / f"{id}.err").read_text()

    def kill(self, id: str, signal: str = "KILL", *flags: str) -> None:
        """`kill`, expecting success."""
        self.ok("kill", *flags, id, signal)

    def stop(self, id: str) -> None:
        """SIGKILL, and wait until it has stopped."""
        self.kill(id)
        self.wait(id)

    def delete(self, id: str, *flags: str) -> None:
        """`delete`, expecting success."""
        self.ok("delete", *flags, id)

    def exec(self, id: str, *words: str, flags: Sequence[str] = (), **more: Any) -> subprocess.CompletedProcess[str]:
        """`exec` in the foreground."""
        return self("exec", *flags, id, *words, **more)

    def console(self) -> Console:
        """A console socket, listening; its path is for --console-socket."""
        self.consoles.append(Console(self.top / f"console{len(self.consoles)}"))
        if os.geteuid() == 0:
            stat = self.top.stat()
            os.chown(self.consoles[-1].path, stat.st_uid, stat.st_gid)
        return self.consoles[-1]

    def not_like(self, *names: str, because: str) -> None:
        """Skip with the runtimes that do otherwise, for a reason that names the document they deviate from."""
        if self.name in names:
            pytest.skip(f"{self.name}: {because}")

    # the end

    def clean_up(self) -> None:
        """Delete every container by force; what is still there then is killed, and is an error."""
        for child in self.children:
            if child.poll() is None:
                child.kill()
            child.wait()
            for stream in (child.stdin, child.stdout, child.stderr):
                if stream:
                    stream.close()
            Runtime.waited_for.remove(child)
        for console in self.consoles:
            console.close()
        failures = []
        for id in dict.fromkeys(self.ids):
            done = self("delete", "--force", id)
            if done.returncode != 0:
                failures.append(f"delete --force {id}: {done.stderr}")
        for id in dict.fromkeys(id for id in self.ids if id.startswith(OURS)):
            with contextlib.suppress(AssertionError):
                wait_until(lambda id=id: not processes_of(id), "", patience=3)  # type: ignore[misc]
            reap()
            for pid in processes_of(id):
                failures.append(f"{id} leaves process {pid}: {command_line(pid)}")
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if failures:
            pytest.fail("\n".join(failures), pytrace=False)


def wait_until(condition: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Poll until it is true; AssertionError after `patience` seconds."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def reap() -> None:
    """Collect orphans that became our children and have ended, but no child that somebody waits for."""
    started = {child.pid for child in Runtime.waited_for}
    for pid in map(int, Path("/proc/thread-self/children").read_text().split()):
        if pid not in started:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        words = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return words[0] not in (b"Z", b"X")


def command_line(pid: int) -> str:
    """The words of a process, for messages."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return "(gone)"


def cgroups(pid: int) -> dict[str, Path]:
    """Where a process is, by controller ("" for the unified tree), as directories that exist."""
    found = {}
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            name = controller.removeprefix("name=")
            top = Path("/sys/fs/cgroup") / (name or ("unified" if os.path.isdir(UNIFIED) else ""))
            if (top / path.lstrip("/")).is_dir():
                found[name] = top / path.lstrip("/")
    return found


def groups_of(id: str) -> list[str]:
    """Every cgroup directory named after a container: ID or, where a runtime puts something before it, SOMETHING-ID.

    The id must be one that only these tests give (new_id, OURS).
    """
    assert id.startswith(OURS), f"{id!r} may be somebody else's"
    walk = os.walk("/sys/fs/cgroup")
    return [os.path.join(top, d) for top, dirs, _ in walk for d in dirs if d == id or d.endswith(f"-{id}")]


def processes_of(id: str) -> list[int]:
    """Every living process in the cgroups named after a container, and below them."""
    found: set[int] = set()
    for group in groups_of(id):
        for top, _, _ in os.walk(group):
            with contextlib.suppress(OSError):
                found.update(int(pid) for pid in Path(top, "cgroup.procs").read_text().split())
    return sorted(pid for pid in found if alive(pid))


@pytest.fixture(scope="session")
def oci_command(request: pytest.FixtureRequest, shared_dir: Path) -> list[str]:
    """The words that call the runtime: cloche-runtime as it gets installed, or --oci-runtime."""
    path = str(request.config.getoption("--oci-runtime"))
    if path:
        found = shutil.which(path)
        assert found, f"--oci-runtime {path}: not found"
        if Path(found).name == "crun" and os.path.ismount(UNIFIED):
            return [*CRUN_ON_HYBRID, UNIFIED, found]
        return [found]
    prefix = shared_dir / "prefix"
    library = prefix / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    library.mkdir(parents=True)
    (library / "cloche.pth").write_text(f"{shared_dir / 'src'}\n")
    (prefix / "bin").mkdir()
    (prefix / "bin/python3").symlink_to(system_python())
    script = prefix / "bin/cloche-runtime"
    shutil.copy(SOURCE.parent / "scripts/cloche-runtime", script)
    return [str(script)]


@pytest.fixture(scope="session")
def busybox(shared_dir: Path) -> Path:
    """The file that every bundle links to."""
    found = shutil.which("busybox")
    if found is None:
        pytest.skip("needs busybox-static")
    return Path(shutil.copy(found, shared_dir / "busybox"))


@pytest.fixture
def place(shared_dir: Path) -> Iterator[Path]:
    """A directory of this test's own, with a short name (for sockets), that everybody may look into."""
    Runtime.count += 1
    top = shared_dir / f"t{Runtime.count}"
    top.mkdir()
    yield top
    shutil.rmtree(top)


class Reaper:
    """A thread that collects orphans from other pid namespaces as soon as they end, as an engine's monitor does.

    A namespace's first process cannot go before the last of the others is collected, wherever its parent is.
    """

    def __init__(self) -> None:
        self.main = threading.get_native_id()
        self.resting = threading.Lock()
        self.end = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        children = Path(f"/proc/self/task/{self.main}/children")
        while not self.end.wait(0.02):
            with self.resting:
                for pid in map(int, children.read_text().split()):
                    if is_orphan_of_another_namespace(pid):
                        with contextlib.suppress(ChildProcessError):
                            os.waitpid(pid, os.WNOHANG)


def is_orphan_of_another_namespace(pid: int) -> bool:
    """Whether it is a zombie that had a pid in some namespace below ours: no child that subprocess waits for."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return False
    words = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    return words["State"].startswith("Z") and len(words["NSpid"].split()) > 1


@pytest.fixture(scope="session")
def only_reaper() -> Iterator[Reaper]:
    """The one thread that collects orphans; it rests but during tests that ask for it."""
    made = Reaper()
    made.resting.acquire()
    made.thread.start()
    yield made
    made.end.set()
    made.resting.release()
    made.thread.join()


@pytest.fixture
def reaper(only_reaper: Reaper) -> Iterator[Reaper]:
    """Be the parent of orphans, as an engine's monitor is: where init is slow at it nothing would end for long.

    For each test anew, as other tests are it for a while, and then no more.
    """
    call = ctypes.CDLL(None, use_errno=True).prctl
    assert call(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    only_reaper.resting.release()
    yield only_reaper
    only_reaper.resting.acquire()
    assert call(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) == 0


@pytest.fixture
def runtime(oci_command: list[str], place: Path, reaper: Reaper) -> Iterator[Runtime]:
    """The OCI runtime as root."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    made = Runtime(oci_command, place, env={"PATH": os.environ["PATH"], "HOME": "/"})
    assert reaper.thread.is_alive()
    yield made
    made.clean_up()


@pytest.fixture
def bundle(place: Path, busybox: Path) -> MakeBundle:
    """`bundle("sh", "-c", "…")` makes a bundle."""
    return MakeBundle(place, busybox)


@pytest.fixture
def rootless(oci_command: list[str], place: Path, reaper: Reaper) -> Iterator[Runtime]:
    """The OCI runtime as an ordinary user with one id; its directory is in `rootless.top`."""
    assert reaper.thread.is_alive()
    top = place / "user"
    top.mkdir()
    prefix: list[str] = []
    if os.geteuid() == 0:
        os.chown(top, ORDINARY, ORDINARY)
        prefix = ["setpriv", "--reuid", str(ORDINARY), "--regid", str(ORDINARY), "--clear-groups"]
    command = oci_command
    if command[0] == "unshare":  # the view that crun needs is root's to make
        prefix, command = [*command[:-1], *prefix], command[-1:]
    env = {"PATH": os.environ["PATH"], "HOME": str(top), "XDG_RUNTIME_DIR": str(top)}
    made = Runtime(command, top, prefix=prefix, env=env)
    yield made
    made.clean_up()
