"""Real engines, each started from nothing in a room of its own, with the OCI runtime under test as its default.

    Room                 namespaces, cgroups, a folder; ended by its keeper whatever happens (keeper.py)
      ├─ Docker          dockerd (which starts its own containerd) and the docker command line
      ├─ Containerd      containerd and ctr
      └─ Podman          podman as root, or as an ordinary user with a range of ids

Used by the tests and by benchmarks/engines.py. What does not belong here: what is expected of an engine.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Self

KEEPER = Path(__file__).resolve().parent / "keeper.py"
PATIENCE = 60.0
NUMBERS = count(1)
IMAGE = "localhost/box:1"
USER = 1500  # the account that keeper.py adds in its room, with the ids from 300000
JOIN = (
    'for each in /sys/fs/cgroup/first /sys/fs/cgroup/*/first; do [ -d "$each" ] && echo 0 >"$each/cgroup.procs"; done; '
    'exec "$@"'
)
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Room:
    """A small world for engines. Everything in it ends with `close`, or with the death of whoever made it."""

    def __init__(self, kind: str) -> None:
        self.name = f"cloche-engines-{kind}-{os.getpid()}-{next(NUMBERS)}"
        self.folder = Path(tempfile.mkdtemp(prefix="cloche-room-", dir="/tmp"))
        self.folder.chmod(0o755)
        (self.folder / "home").mkdir()
        self.env = {"PATH": PATH, "HOME": str(self.folder / "home"), "TMPDIR": str(self.folder), "LC_ALL": "C.UTF-8"}
        self._daemons: list[Daemon] = []
        self._keeper = subprocess.Popen(
            [sys.executable, "-I", str(KEEPER), str(self.folder), self.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PATH": PATH},
            process_group=0,
        )
        assert self._keeper.stdout is not None
        words = self._keeper.stdout.readline().split()
        if words[:1] != ["ready"]:
            self.close()
            raise RuntimeError("the room for the engine could not be made; its keeper's words are above")
        self.init = int(words[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End everything in the room, and wait until nothing of it is left."""
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper.stdin.close()
        status = self._keeper.wait(PATIENCE)
        for daemon in self._daemons:
            daemon.process.wait(PATIENCE)
        self._keeper.stdout.close()
        if status:
            raise RuntimeError(f"the keeper of {self.name} ended with {status}")

    def inside(self, *words: str) -> list[str]:
        """The words that run a command in the room, and in the group of the room's first processes."""
        enter = ["nsenter", f"--target={self.init}", "--mount", "--net", "--pid", "--cgroup", "--"]
        return [*enter, "sh", "-c", JOIN, "join", *words]

    def run(
        self, *words: str, input: bytes | str = b"", timeout: float = PATIENCE, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the room to its end."""
        return run(self.inside(*words), env={**self.env, **(env or {})}, input=input, timeout=timeout)

    def start(self, log: str, *words: str) -> Daemon:
        """Start a command in the room that stays; what it says goes to a file in the room's folder."""
        daemon = Daemon(self, self.folder / log, list(words))
        self._daemons.append(daemon)
        return daemon

    def groups(self, part: str) -> list[Path]:
        """The cgroups in this room, as seen from outside it, with `part` (not empty) in their last name."""
        if not part:
            raise ValueError("an empty name would be that of every group")
        found = []
        for place in (Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").iterdir()):
            for top, names, _ in os.walk(place / self.name):
                found += [Path(top) / name for name in names if part in name]
        # on a hybrid machine the limits are in the hierarchies of v1
        return sorted(found, key=lambda path: path.is_relative_to("/sys/fs/cgroup/unified"))

    def limit(self, part: str, *files: str) -> str:
        """What the first of these files that exists holds, in the cgroups named after `part`."""
        for file in files:
            for group in self.groups(part):
                if (group / file).exists():
                    return (group / file).read_text().strip()
        raise FileNotFoundError(f"none of {files} in the groups named after {part} of {self.name}")


class Daemon:
    """A process in the room that stays until the room ends."""

    def __init__(self, room: Room, log: Path, words: list[str]) -> None:
        self.log = log
        with log.open("ab") as file:
            # the end of nsenter, or of this program, is the end of the daemon itself
            self.process = subprocess.Popen(
                room.inside("setpriv", "--pdeathsig", "KILL", "--", *words),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=room.env,
                process_group=0,
            )

    def await_file(self, path: Path) -> None:
        """Wait until a file (a socket) is there."""
        deadline = time.monotonic() + PATIENCE
        while not path.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{path} did not appear; the log ends in:\n{self.said()}")
            time.sleep(0.02)

    def said(self, lines: int = 20) -> str:
        """The end of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Engine:
    """What the command lines of docker and podman have in common. Calling it runs one command to its end."""

    kind: str
    room: Room

    @property
    def env(self) -> dict[str, str]:
        """What the command line needs, and nothing of the host's own settings."""
        return self.room.env

    def words(self, *words: str) -> list[str]:
        """The whole command."""
        raise NotImplementedError

    def __call__(
        self, *words: str, input: bytes | str = b"", timeout: float = PATIENCE
    ) -> subprocess.CompletedProcess[str]:
        return run(self.words(*words), env=self.env, input=input, timeout=timeout)

    def run(self, *words: str, input: bytes | str = b"") -> subprocess.CompletedProcess[str]:
        """`run --rm -i` of words that hold the image's name."""
        return self("run", "--rm", "-i", *words, input=input)

    def sh(self, script: str, *options: str) -> str:
        """What a shell script prints in a new container, which must end with 0."""
        return succeed(self.run(*options, IMAGE, "sh", "-c", script))

    def load(self, archive: Path) -> None:
        """Take the image of `make_image`."""
        succeed(self("load", "-i", str(archive)))

    def inspect(self, name: str, template: str) -> str:
        """One thing about a container, as a Go template."""
        return succeed(self("inspect", "--format", template, name))

    def identity(self, name: str) -> str:
        """The whole id of a container."""
        return self.inspect(name, "{{.Id}}")

    def until(self, name: str, template: str, wanted: str, patience: float = PATIENCE) -> None:
        """Wait until `inspect` prints what is wanted."""
        deadline = time.monotonic() + patience
        while (found := self.inspect(name, template)) != wanted:
            if time.monotonic() > deadline:
                raise AssertionError(f"{template} of {name} is {found!r} and does not become {wanted!r}")
            time.sleep(0.05)


class Docker(Engine):
    """dockerd in a room."""

    kind = "docker"

    def __init__(self, room: Room, runtimes: dict[str, str], default: str, config: str = "{}") -> None:
        self.room = room
        self.socket = room.folder / "docker.sock"
        adds = [word for name, path in runtimes.items() for word in ("--add-runtime", f"{name}={path}")]
        (room.folder / "daemon.json").write_text(config)
        state = ["--data-root", f"{room.folder}/data", "--exec-root", f"{room.folder}/exec"]
        self.daemon = room.start(
            "dockerd.log",
            *("dockerd", *state, "--pidfile", f"{room.folder}/dockerd.pid", "-H", f"unix://{self.socket}"),
            *("--userland-proxy=false", "--config-file", f"{room.folder}/daemon.json"),
            *(*adds, "--default-runtime", default),
        )
        self.daemon.await_file(self.socket)
        deadline = time.monotonic() + PATIENCE
        while self("version", timeout=PATIENCE).returncode:
            if time.monotonic() > deadline:
                raise RuntimeError(f"dockerd does not answer; its log ends in:\n{self.daemon.said()}")
            time.sleep(0.05)

    @property
    def env(self) -> dict[str, str]:
        """What the command line needs to find the daemon and nothing of the host's own settings."""
        return {**self.room.env, "DOCKER_HOST": f"unix://{self.socket}", "TERM": "xterm"}

    def words(self, *words: str) -> list[str]:
        """The docker command line; it needs nothing of the room but the socket."""
        return [shutil.which("docker", path=PATH) or "docker", *words]


class Containerd:
    """containerd in a room. Calling it runs ctr, in one of containerd's namespaces.

    `more` is added to its configuration; without it there is no CRI service.
    """

    def __init__(self, room: Room, runtime: str, more: str = "", namespace: str = "test") -> None:
        self.room, self.runtime, self.namespace = room, runtime, namespace
        self.socket = room.folder / "containerd.sock"
        self.config = room.folder / "containerd.toml"
        less = "" if more else 'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
        self.config.write_text(
            f'version = 2\nroot = "{room.folder}/root"\nstate = "{room.folder}/state"\n{less}'
            f'[grpc]\naddress = "{self.socket}"\n[ttrpc]\naddress = "{self.socket}.ttrpc"\n{more}'
        )
        self.daemon = room.start("containerd.log", "containerd", "--config", str(self.config), "--log-level", "info")
        self.daemon.await_file(self.socket)
        deadline = time.monotonic() + PATIENCE
        while self("version").returncode:
            if time.monotonic() > deadline:
                raise RuntimeError(f"containerd does not answer; its log ends in:\n{self.daemon.said()}")
            time.sleep(0.05)

    @property
    def env(self) -> dict[str, str]:
        """As `Docker.env`."""
        return self.room.env

    def words(self, *words: str) -> list[str]:
        """The ctr command line, in the room: it mounts the image and makes the pipes itself."""
        return self.room.inside("ctr", "-a", str(self.socket), "-n", self.namespace, *words)

    def __call__(
        self, *words: str, input: bytes | str = b"", timeout: float = PATIENCE
    ) -> subprocess.CompletedProcess[str]:
        return run(self.words(*words), env=self.env, input=input, timeout=timeout)

    def run_words(self, *words: str) -> list[str]:
        """`run` with the runtime under test, through the shim that containerd has for runc."""
        return ["run", "--runtime", "io.containerd.runc.v2", "--runc-binary", self.runtime, *words]

    def load(self, archive: Path) -> None:
        """Take the image of `make_image`."""
        succeed(self("image", "import", str(archive)))


class Podman(Engine):
    """podman in a room, as root or as the ordinary user of the room.

    Containers have no network unless a test asks for one; the limits are those that a machine without
    CAP_SYS_RESOURCE can give, too. `more` is added to its configuration; an empty runtime is the one named there.
    """

    def __init__(self, room: Room, runtime: str, *, rootless: bool = False, more: str = "") -> None:
        self.room, self.runtime, self.rootless = room, runtime, rootless
        self.kind = "rootless" if rootless else "podman"
        self.folder = room.folder / self.kind
        self.folder.mkdir()
        self.config = room.folder / f"{self.kind}.conf"
        self.config.write_text(
            '[containers]\nnetns = "none"\ndefault_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]\n' + more
        )
        if rootless:
            os.chown(self.folder, USER, USER)
            os.chown(room.folder / "home", USER, USER)

    @property
    def env(self) -> dict[str, str]:
        """A run-time directory and a configuration of its own."""
        return {
            **self.room.env,
            "XDG_RUNTIME_DIR": str(self.folder / "xdg"),
            "CONTAINERS_CONF": str(self.config),
            "TMPDIR": str(self.folder),
            "TERM": "xterm",
        }

    def words(self, *words: str) -> list[str]:
        """podman in the room, with its stores and the runtime under test."""
        become = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"] if self.rootless else []
        return self.room.inside(
            *(*become, "sh", "-c", 'cd / && mkdir -pm 700 "$XDG_RUNTIME_DIR" && exec "$@"', "podman", "podman"),
            *("--root", f"{self.folder}/root", "--runroot", f"{self.folder}/run", "--tmpdir", f"{self.folder}/tmp"),
            *("--storage-driver", "overlay", "--cgroup-manager", "cgroupfs", "--events-backend", "file"),
            *(["--runtime", self.runtime] if self.runtime else []),
            *words,
        )


def run(
    words: list[str], *, env: dict[str, str], input: bytes | str = b"", timeout: float = PATIENCE
) -> subprocess.CompletedProcess[str]:
    """Run to the end, in a process group of its own which ends with it; text as it came, broken letters replaced."""
    feed = input.encode() if isinstance(input, str) else input
    process = subprocess.Popen(
        words, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0
    )
    try:
        out, err = process.communicate(feed, timeout)
    except subprocess.TimeoutExpired as error:
        os.killpg(process.pid, signal.SIGKILL)
        try:
            out, err = process.communicate(timeout=5)
        except subprocess.TimeoutExpired as left:  # something in the room still holds the pipe
            out, err = left.stdout or b"", left.stderr or b""
            for pipe in (process.stdout, process.stderr):
                if pipe:
                    pipe.close()
        said = (out + err).decode(errors="replace")
        raise AssertionError(f"still running after {timeout} s: {' '.join(words)}\n{said}") from error
    return subprocess.CompletedProcess(
        words, process.returncode, out.decode(errors="replace"), err.decode(errors="replace")
    )


def succeed(done: subprocess.CompletedProcess[str]) -> str:
    """What it printed, without the space around it; an error with all it said if it failed."""
    if done.returncode:
        words = done.args[done.args.index("join") + 1 :] if "join" in done.args else done.args
        raise AssertionError(f"exit status {done.returncode}: {' '.join(words)}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def make_image(archive: Path, busybox: str, name: str = IMAGE, command: tuple[str, ...] = ("sh",)) -> None:
    """Write an image of busybox as the archive of `docker save`, which docker, podman and ctr all read."""
    layer = io.BytesIO()
    applets = subprocess.check_output([busybox, "--list"], text=True).split()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for folder in ("bin", "dev", "etc", "proc", "root", "sys", "tmp", "var", "t"):
            _add(tar, folder, type=tarfile.DIRTYPE, mode=0o1777 if folder == "tmp" else 0o755)
        tar.add(busybox, "bin/busybox", filter=_owned_by_root)
        for applet in applets:
            if applet != "busybox":
                _add(tar, f"bin/{applet}", type=tarfile.SYMTYPE, linkname="busybox")
        _add(tar, "etc/passwd", data=b"root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000:Ann:/tmp:/bin/sh\n")
        _add(tar, "etc/group", data=b"root:x:0:\nann:x:1000:\nwheel:x:10:ann\n")
        _add(tar, "etc/plain", data=b"not a program\n")
    blob = layer.getvalue()
    config = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine),
        "os": "linux",
        "config": {"Env": [f"PATH={PATH}"], "Cmd": list(command)},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(blob).hexdigest()}"]},
        "history": [{"created_by": "busybox"}],
    }
    document = json.dumps(config).encode()
    file = f"{sha256(document).hexdigest()}.json"
    listing = [{"Config": file, "RepoTags": [name], "Layers": ["layer.tar"]}]
    with tarfile.open(archive, "w") as tar:
        _add(tar, file, data=document)
        _add(tar, "layer.tar", data=blob)
        _add(tar, "manifest.json", data=json.dumps(listing).encode())
    archive.chmod(0o644)


def _add(
    tar: tarfile.TarFile,
    name: str,
    *,
    data: bytes = b"",
    type: bytes = tarfile.REGTYPE,
    mode: int = 0o644,
    linkname: str = "",
) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname, info.size = type, mode, linkname, len(data)
    tar.addfile(info, io.BytesIO(data))


def _owned_by_root(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info
