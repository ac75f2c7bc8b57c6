"""What all tests share: the command line as three kinds of user, a small root file system, and the proof
that the whole run left nothing on the host.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.leftovers import Snapshot, compare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a shell's background job: commands are to be as in a terminal
    signal.signal(signal.SIGINT, signal.default_int_handler)

SOURCE = Path(__file__).resolve().parent.parent / "src"
ORDINARY = 1500  # a uid that no account has: one id, no /etc/subuid
LIBRARIES = ("urllib3", "isal", "backports.zstd", "rich", "pygments", "markdown_it", "mdurl", "pysequoia")
REGISTRIES, VARIABLE = "registries.conf", "CONTAINERS_REGISTRIES_CONF"
# what the installed command does (scripts/cloche)
BOOTSTRAP = (
    "import sys; sys.path.insert(0, {src!r}); from cloche.bundle import launch; first = ''.join(sys.argv[1:2]); "
    "own = {{'exec', 'ps', 'rm', 'stop', 'kill', 'start', 'logs', 'inspect'}}; names = {{verb: verb for verb in own}}; "
    "names |= dict(run='kept' if '-d' in sys.argv else 'run', shell='run'); "
    "launch({src!r} + '/cloche', 'cloche.cli.main', names.get(first, 'verbs'), at_once=first in own)"
)
# and what the first run of each does (cloche.cli.bundling): there is no test that is slower for being the first
BUNDLE = """
import os, sys
sys.path.insert(0, sys.argv[1])
from cloche.cli.bundling import compiled, write
from cloche.cli.main import BUNDLES
for folder, _, names in os.walk(sys.argv[1] + "/cloche"):
    for name in names:
        if name.endswith(".py"):
            compiled(folder + "/" + name)
for name, parts in BUNDLES.items():
    if not os.fork():
        write(sys.argv[1] + "/cloche", name, *parts)
        os._exit(0)
    os.wait()
"""
APPLETS = (
    "sh true false ls id hostname dnsdomainname mount umount cat ps sleep touch echo env pwd mkdir rm ln stat wc "
    "head tail grep sed chown chmod mknod kill ipcs ip ifconfig nc test dd stty tty date printenv seq sync"
).split()
# skips that are right on a machine where everything is there, as in CI
EXPECTED_SKIPS = (
    r"zsh|fish|mandoc",
    r"only as an ordinary user",
    r"aarch64",
    r"needs a cgroup v2 host",
    r"which this host has not",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The runtime tests judge any OCI runtime, so that others can judge the tests."""
    parser.addoption("--oci-runtime", default="", help="the OCI runtime to test instead of cloche-runtime, a path")


SHARED: list[Path] = []


class Cli:
    """`cloche` as one kind of user: "root", "user" (one id) or "subuid" (a range from /etc/subuid)."""

    def __init__(self, kind: str, source: Path, python: str) -> None:
        self.kind, self.source, self.python = kind, source, python

    @property
    def argv(self) -> list[str]:
        """The words before cloche's own."""
        command = [self.python, "-I", "-S", "-B", "-c", BOOTSTRAP.format(src=str(self.source))]
        ids = ["--reuid", str(ORDINARY), "--regid", str(ORDINARY), "--clear-groups"]
        if os.geteuid() != 0 or self.kind == "root":
            return command
        if self.kind == "user":
            return ["setpriv", *ids, *command]
        script = (
            "mount --bind $0/subids /etc/subuid && mount --bind $0/subids /etc/subgid && "
            'mount --bind $0/passwd /etc/passwd && exec setpriv --reuid 1500 --regid 1500 --clear-groups "$@"'
        )
        return ["unshare", "-m", "sh", "-c", script, str(self.source.parent), *command]

    def __call__(
        self, *args: str, input: bytes | str | None = None, timeout: float = 60, **more: object
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end; stdout and stderr are text, stdin is empty unless given."""
        feed = input.encode() if isinstance(input, str) else input
        env = self._environment | more.pop("env", {})  # type: ignore[operator]
        done = subprocess.run(
            [*self.argv, *args], input=feed or b"", capture_output=True, timeout=timeout, check=False, env=env, **more
        )  # type: ignore[call-overload]
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        )

    def popen(self, *args: str, **more: object) -> subprocess.Popen[bytes]:
        """Start it and return at once."""
        env = self._environment | more.pop("env", {})  # type: ignore[operator]
        return subprocess.Popen([*self.argv, *args], env=env, **more)  # type: ignore[call-overload, no-any-return]

    @property
    def state(self) -> str:
        """A state directory of this kind of user's own."""
        return self._own("state")

    @property
    def root(self) -> str:
        """A store of this kind of user's own."""
        return self._own("store")

    @property
    def _environment(self) -> dict[str, str]:
        own = {"CLOCHE_STATE": self.state, "CLOCHE_ROOT": self.root, VARIABLE: str(self.source.parent / REGISTRIES)}
        return {"PATH": os.environ["PATH"], "HOME": "/", **own}

    def _own(self, what: str) -> str:
        path = self.source.parent / f"{what}-{self.kind}"
        if not path.exists():
            path.mkdir(mode=0o700)
            if os.geteuid() == 0 and self.kind != "root":
                os.chown(path, ORDINARY, ORDINARY)
        return str(path)


@pytest.fixture(scope="module", autouse=True)
def _stores_are_new() -> Iterator[None]:
    """What a file's tests leave in the stores that all of them share is not there for the next one."""
    yield
    for top in SHARED:
        for store in top.glob("store-*"):
            shutil.rmtree(store, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_dir() -> Iterator[Path]:
    """A directory every user may read, with a copy of the package in it."""
    top = Path(subprocess.check_output(["mktemp", "-d", "/tmp/cloche-tests-XXXXXX"], text=True).strip())
    top.chmod(0o755)
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(SOURCE, top / "src", ignore=ignore)
    for name in LIBRARIES:
        copy_library(name, top / "src", ignore)
    # what a user with a range of ids has in the place of these files
    (top / "subids").write_text(f"{ORDINARY}:300000:65536\n")
    (top / "passwd").write_text(f"{Path('/etc/passwd').read_text()}keeper:x:{ORDINARY}:{ORDINARY}::/:\n")
    for name in ("/etc/subuid", "/etc/subgid") if os.geteuid() == 0 else ():
        Path(name).touch()
    # nothing here is to ask a registry beyond this machine
    (top / REGISTRIES).write_text('[[registry]]\nprefix = "docker.io"\nblocked = true\n')
    os.environ[VARIABLE] = str(top / REGISTRIES)
    subprocess.run([system_python(), "-m", "compileall", "-q", str(top / "src")], check=True)
    subprocess.run(["chmod", "-R", "a+rX", str(top)], check=True)
    subprocess.run([system_python(), "-I", "-S", "-c", BUNDLE, str(top / "src")], check=True)
    SHARED.append(top)
    yield top
    SHARED.clear()
    del os.environ[VARIABLE]
    shutil.rmtree(top)


def copy_library(name: str, place: Path, ignore: Callable[[str, list[str]], set[str]]) -> None:
    """Put a library of ours beside the copy of the package, for an interpreter that has none."""
    found = importlib.util.find_spec(name)
    assert found is not None, name
    assert found.submodule_search_locations, name
    shutil.copytree(found.submodule_search_locations[0], place / name.replace(".", "/"), ignore=ignore)


def system_python() -> str:
    """An interpreter that belongs to root and that every user may run."""
    for path in ("/usr/bin/python3", sys.executable):
        if os.path.exists(path) and sys.version_info[:2] >= (3, 11):
            return path
    return sys.executable


@pytest.fixture(scope="session")
def cli(shared_dir: Path) -> Cli:
    """The command line as whoever runs the tests."""
    return Cli("root" if os.geteuid() == 0 else "user", shared_dir / "src", system_python())


@pytest.fixture(params=["root", "user", "subuid"])
def anyone(request: pytest.FixtureRequest, shared_dir: Path) -> Cli:
    """The command line as root, as a user with one id, as a user with a range of ids: three tests."""
    if os.geteuid() != 0 and request.param != "user":
        pytest.skip("needs root to become other users")
    return Cli(request.param, shared_dir / "src", system_python())


@pytest.fixture
def user(shared_dir: Path) -> Cli:
    """The command line as an ordinary user with one id."""
    return Cli("user", shared_dir / "src", system_python())


@pytest.fixture
def root(shared_dir: Path) -> Cli:
    """The command line as root."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    return Cli("root", shared_dir / "src", system_python())


@pytest.fixture(scope="session")
def rootfs(shared_dir: Path) -> Path:
    """A root file system of busybox and a few files, owned by whoever runs the tests. Do not change it."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("needs busybox-static")
    top = shared_dir / "rootfs"
    for name in ("bin", "dev", "etc", "proc", "root", "sys", "tmp", "var"):
        (top / name).mkdir(parents=True)
    (top / "tmp").chmod(0o1777)
    shutil.copy(busybox, top / "bin/busybox")
    for applet in APPLETS:
        (top / "bin" / applet).symlink_to("busybox")
    (top / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000:Ann:/home/ann:/bin/sh\n")
    (top / "etc/group").write_text("root:x:0:\nann:x:1000:\nwheel:x:10:ann\n")
    return top


BEFORE = pytest.StashKey[Snapshot]()


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """The host before the whole run; of several workers, whoever gives them work looks."""
    if not hasattr(session.config, "workerinput"):
        session.stash[BEFORE] = Snapshot.take()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """The host after it: mounts, cgroups, processes, namespaces, links, state; and skips nobody expects, in CI."""
    if BEFORE not in session.stash:
        return
    _nothing_is_left(session)
    _nothing_is_skipped(session)


def _nothing_is_left(session: pytest.Session) -> None:
    differences = compare(session.stash[BEFORE])
    if differences:
        print("\nleft on this machine by the tests:\n" + "\n".join(f"  {line}" for line in differences))
        session.exitstatus = 1


def _nothing_is_skipped(session: pytest.Session) -> None:
    if os.environ.get("CI") != "true":
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    reasons = [(r.nodeid, r.longrepr[2] if isinstance(r.longrepr, tuple) else str(r.longrepr)) for r in skipped]
    bad = [(n, why) for n, why in reasons if not any(re.search(pattern, why) for pattern in EXPECTED_SKIPS)]
    if bad:
        lines = "\n".join(f"  {node}: {why}" for node, why in bad)
        print(f"\nunexpected skips, which count as failures here:\n{lines}")
        session.exitstatus = 1
