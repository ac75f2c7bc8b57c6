"""What an image says of its containers: as docker has it, case by case, and nothing that weakens a container."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cloche.images.platforms import parse_platform
from tests.conftest import Cli
from tests.engines.conftest import require
from tests.engines.daemons import Docker, Room, succeed
from tests.images.configured import write_archive
from tests.images.liar import digest_of, tar_of
from tests.integration.terminal import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator

PATH = "PATH=/bin"
SHOW = ("sh", "-c", "id; pwd; env | sort")
HERE = ("sh", "-c", "pwd; stat -c '%u:%g %a' . || echo closed")
DATA = ("sh", "-c", "mountpoint /data; stat -c '%n %u:%g %a' /data /data/* /fresh/vol; touch /data/w /fresh/vol/w /x")
CONFIGS: dict[str, dict[str, Any]] = {
    "plain": {"Env": [PATH]},
    "cmd": {"Env": [PATH], "Cmd": ["args", "a", "b c"]},
    "entry": {"Env": [PATH], "Entrypoint": ["args", "e"], "Cmd": ["c"]},
    "blank": {"Env": [PATH], "Entrypoint": [""], "Cmd": ["/bin/sh", "-c", "echo $0 $SHELL"], "Shell": ["/bin/zsh"]},
    "variables": {"Env": [PATH, "A=1", "B=x=y", "C=", "A=2", "E=two\nlines", "HOME=/h"]},
    "bare": {"Env": ["PATH=/bin", "D", "HOSTNAME"], "ArgsEscaped": True, "OnBuild": ["RUN false"]},
    "pathless": {"Env": ["X=1"]},
    "ann": {"Env": [PATH], "User": "ann", "WorkingDir": "/new/deep"},
    "group": {"Env": [PATH], "User": "ann:wheel", "WorkingDir": "/root"},
    "numbers": {"Env": [PATH], "User": "4000:5000", "WorkingDir": "/a/../link/x"},
    "number": {"Env": [PATH], "User": "1234"},
    "nobody": {"Env": [PATH], "User": "nobody"},
    "nogroup": {"Env": [PATH], "User": "ann:nogroup"},
    "minus": {"Env": [PATH], "User": "-1"},
    "large": {"Env": [PATH], "User": "4294967296"},
    "hex": {"Env": [PATH], "User": "0x0"},
    "relative": {"Env": [PATH], "WorkingDir": "../etc"},
    "file": {"Env": [PATH], "WorkingDir": "/etc/passwd"},
    "nameless": {"Env": [PATH, "=odd"]},
    "volumes": {"Env": [PATH], "Volumes": {"/data/": {}, "/fresh/vol": {}}},
    "nested": {"Env": [PATH], "Volumes": {"/data": {}, "/data/sub": {}}},
    "odd": {"Env": [PATH], "Volumes": {"../data": {}, "fresh/vol": {}}},
    "linked": {"Env": [PATH], "Volumes": {"/link": {}, "/fresh/vol": {}}},
    "groups": {"Env": [PATH], "Volumes": {"/sys/fs/cgroup": {}}},
    "over-file": {"Env": [PATH], "Volumes": {"/etc/passwd": {}}},
    "over-proc": {"Env": [PATH], "Volumes": {"/proc": {}}},
    "over-root": {"Env": [PATH], "Volumes": {"/": {}}},
    "to-proc": {"Env": [PATH], "Volumes": {"/toproc": {}}},
    "to-root": {"Env": [PATH], "Volumes": {"/toroot": {}}},
    "deep": {"Env": [PATH], "Volumes": {"/d" * 600: {}}},
    "many": {"Env": [PATH], "Volumes": {f"/v{number}": {} for number in range(1001)}},
    "sigzero": {"Env": [PATH], "StopSignal": "0"},
    "sigfoo": {"Env": [PATH], "StopSignal": "FOO"},
    "usr1": {"Env": [PATH], "StopSignal": "SIGUSR1"},
    "realtime": {"Env": [PATH], "StopSignal": "RTMIN+3"},
    "noted": {"Env": [PATH], "Labels": {"a": "image", "b": "image"}, "ExposedPorts": {"80/tcp": {}, "53/udp": {}}},
}
CASES: list[tuple[tuple[str, ...], str, tuple[str, ...]]] = [
    ((), "cmd", ()),
    ((), "cmd", ("echo", "x")),
    ((), "entry", ()),
    ((), "entry", ("x", "y")),
    (("--entrypoint", ""), "entry", ()),
    (("--entrypoint", ""), "entry", ("args", "z")),
    (("--entrypoint", "args"), "entry", ()),
    ((), "plain", ()),
    ((), "blank", ()),
    (("-e", "A=9", "-e", "B", "-e", "NOT_SET", "-h", "box"), "variables", SHOW),
    ((), "bare", ("/bin/sh", "-c", "env | /bin/sort")),
    (("-e", "D=1"), "bare", ("/bin/sh", "-c", "env | /bin/sort")),
    ((), "pathless", ("/bin/sh", "-c", "/bin/env | /bin/sort")),
    ((), "ann", SHOW),
    (("-u", "1000:55", "-w", "/else/../data"), "ann", SHOW),
    ((), "ann", HERE),
    ((), "group", SHOW),
    ((), "group", HERE),
    ((), "numbers", SHOW),
    ((), "number", SHOW),
    *(((), name, ("true",)) for name in ("nobody", "nogroup", "minus", "large", "hex", "relative", "file", "nameless")),
    ((), "volumes", DATA),
    (("--read-only",), "volumes", DATA),
    (("--read-only", "-v", "/usr:/data:ro"), "volumes", ("sh", "-c", "ls -d /data/bin /data/file; touch /data/x")),
    (("--read-only", "--tmpfs", "/data:mode=755"), "nested", ("sh", "-c", "ls -l /data; touch /data/sub/x /data/x")),
    (("--read-only",), "odd", DATA),
    (("--read-only",), "linked", DATA),
    *(((), name, ("true",)) for name in ("over-file", "over-proc", "over-root", "to-proc", "to-root")),
]


@pytest.fixture(scope="module")
def docker() -> list[subprocess.CompletedProcess[str]]:
    """What docker and runc make of each case."""
    require("dockerd", "docker", "runc")
    with Room("docker") as room, ThreadPoolExecutor(4) as pool:
        write_archive(room.folder / "images.tar", CONFIGS)
        made = Docker(room, {}, "runc")
        succeed(made("load", "-i", str(room.folder / "images.tar")))

        def run(case: tuple[tuple[str, ...], str, tuple[str, ...]]) -> subprocess.CompletedProcess[str]:
            options, name, command = case
            return made("run", "--rm", "--network", "none", *options, f"localhost/{name}:1", *command)

        return list(pool.map(run, CASES))


class Box(Cli):
    """The command line with a store that stays for all tests in here."""

    @property
    def root(self) -> str:
        return self._own("boxes")


@pytest.fixture(scope="module")
def box(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """cloche with the images."""
    path = tmp_path_factory.mktemp("archive") / "images.tar"
    write_archive(path, CONFIGS)
    made = Box(cli.kind, cli.source, cli.python)
    done = made("load", "-i", str(path))
    assert done.returncode == 0, done.stderr
    yield made
    shutil.rmtree(made.root)


def settled(text: str) -> list[str]:
    """What is the same in every container: no name made up for one, no time, no variable that says whose it is."""
    text = re.sub(r"(?m)^HOSTNAME=[0-9a-f]{12}$", "HOSTNAME=ID", text)
    lines = [re.sub(r"[A-Z][a-z]{2} [ \d]\d +(\d\d:\d\d|\d{4})", "DATE", line) for line in text.splitlines()]
    return [line for line in lines if line != "container=cloche"]


@pytest.mark.parametrize(
    "index", range(len(CASES)), ids=[f"{name}-{index}" for index, (_, name, _) in enumerate(CASES)]
)
def test_as_docker_has_it(box: Cli, docker: list[subprocess.CompletedProcess[str]], index: int) -> None:
    """The same output and exit code; where docker refuses, one line says why."""
    (options, name, command), theirs = CASES[index], docker[index]
    ours = box("run", "--rm", *options, f"localhost/{name}:1", *command)
    refused = theirs.returncode == 125 or "OCI runtime create failed" in theirs.stderr
    if refused:
        assert ours.returncode == 125, ours.stdout + theirs.stderr
        first, *rest = ours.stderr.splitlines()
        assert first.startswith("cloche: ")
        assert all(line.startswith("  hint: ") for line in rest)
    else:
        assert settled(ours.stdout) == settled(theirs.stdout), ours.stderr + theirs.stderr
        assert ours.returncode == theirs.returncode
        said = [line for line in ours.stderr.splitlines() if not line.startswith(("cloche: ", "  hint: "))]
        assert said == theirs.stderr.splitlines()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nameless", "the image localhost/nameless:1: a variable of its environment has no name: '=odd'"),
        ("relative", "the image localhost/relative:1: its working directory '../etc' is not absolute"),
        ("over-root", "the image localhost/over-root:1: '/' cannot be a volume"),
        ("over-proc", "the image localhost/over-proc:1: '/proc' cannot be a volume"),
        ("sigfoo", "the image localhost/sigfoo:1: its stop signal 'FOO' is not a signal"),
        ("sigzero", "the image localhost/sigzero:1: its stop signal '0' is not a signal"),
        ("deep", "is deeper than 512 directories"),
        ("many", "the image localhost/many:1: it has 1001 volumes; 1000 is the most"),
        ("nobody", "nobody: no such user in /etc/passwd of the container"),
        ("nogroup", "nogroup: no such group in /etc/group of the container"),
        ("large", "4294967296: is not an id between 0 and 4294967294"),
    ],
)
def test_what_is_refused_by_name(box: Cli, name: str, says: str) -> None:
    done = box("run", "--rm", f"localhost/{name}:1", "true")
    assert (done.returncode, done.stdout) == (125, "")
    assert says in done.stderr.splitlines()[0]


def test_an_option_stands_in_for_what_is_wrong(box: Cli) -> None:
    assert box("run", "--rm", "--stop-signal", "TERM", "localhost/sigfoo:1", "true").returncode == 0
    assert box("run", "--rm", "-w", "/", "localhost/relative:1", "true").returncode == 0
    assert box("run", "--rm", "-u", "0", "localhost/nobody:1", "true").returncode == 0


def test_groups_stay_the_containers_own(box: Cli) -> None:
    """Images that expect a service manager have them as a volume, which would be written to."""
    done = box("run", "--rm", "localhost/groups:1", "sh", "-c", "touch /sys/fs/cgroup/x")
    assert "Read-only file system" in done.stderr


def test_a_volume_is_thrown_away(anyone: Cli) -> None:
    """As every kind of user: the image's files are there, what is written can be read, and the next has none of it."""
    archive = anyone.source.parent / "volumes.tar"
    write_archive(archive, {"thrown": CONFIGS["volumes"]})
    assert anyone("load", "-i", str(archive)).returncode == 0
    words = ("run", "--rm", "--read-only", "localhost/thrown:1", "sh", "-c")
    script = "cat /data/file; echo new > /data/file; echo new > /fresh/vol/x; cat /data/file /fresh/vol/x; > /etc/x"
    for _ in range(2):
        done = anyone(*words, script)
        assert done.stdout == "x\nnew\nnew\n", done.stderr
        assert "/etc/x: Read-only file system" in done.stderr
    shutil.rmtree(anyone.root)
    archive.unlink()


@pytest.mark.parametrize(
    ("name", "options", "number"),
    [("usr1", (), 10), ("realtime", (), 37), ("usr1", ("--stop-signal", "SIGTERM"), 15)],
)
def test_which_signal_stops_it(box: Cli, name: str, options: tuple[str, ...], number: int) -> None:
    """That of the image, unless another is asked for, though it be the usual one."""
    traps = "".join(f"trap 'echo {each}; exit' {each}; " for each in (10, 15, 37))
    script = traps + "echo up; while :; do :; done"
    child = box.popen("run", "--rm", "--timeout", "20", *options, f"localhost/{name}:1", "sh", "-c", script, stdout=-1)
    assert child.stdout
    with child.stdout:
        assert child.stdout.readline() == b"up\n"
        child.send_signal(signal.SIGTERM)
        assert child.stdout.read() == f"{number}\n".encode()
    assert child.wait(30) == 0


def _records_of(cli: Cli, name: str) -> list[dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in Path(cli.state, "containers").glob("*.json")]
    return [each for each in found if each["name"] == name]


def test_labels_and_ports_are_written_down(box: Cli, tmp_path: Path) -> None:
    """Those of the image under those asked for, where others find the container."""
    (tmp_path / "labels").write_text("# mine\nc=file\n\nb=file\n")
    words = ("run", "--rm", "-i", "--name", "noted", "-l", "b=mine", "--label-file", str(tmp_path / "labels"))
    child = box.popen(*words, "--expose", "9000", "localhost/noted:1", "sh", "-c", "echo up; cat", stdin=-1, stdout=-1)
    assert child.stdout
    assert child.stdout.readline() == b"up\n"
    deadline = time.monotonic() + 20
    while not (found := _records_of(box, "noted")):  # it may speak before that is written down
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.communicate(b"")
    (record,) = found
    assert sorted(record["labels"]) == ["a=image", "b=mine", "c=file"]
    assert sorted(record["exposed"]) == ["53/udp", "80/tcp", "9000"]
    missing = box("run", "--rm", "--label-file", "/nowhere", "localhost/noted:1", "true")
    assert "--label-file /nowhere cannot be read" in missing.stderr


def test_the_receipt_names_the_image(box: Cli) -> None:
    """What it is, and what came from its config and not from the command line."""
    ids = box("images", "-q", "--no-trunc").stdout.split()
    told = box("explain", "--format", "json", "-u", "0", "localhost/ann:1", "true")
    receipt = json.loads(told.stdout)["receipt"]
    assert receipt["image"]["detail"].startswith("localhost/ann:1, ID sha256:")
    assert any(f"ID {each}, digest sha256:" in receipt["image"]["detail"] for each in ids)
    assert receipt["image config"]["detail"] == (
        "workdir /new/deep, variables PATH taken from it; labels and annotations steer nothing"
    )
    volumes = box("explain", "localhost/volumes:1", "true").stdout
    assert "volumes /data /fresh/vol taken from it" in volumes
    assert "/data can be written even where the root cannot" in volumes
    ports = box("explain", "localhost/noted:1", "true").stdout
    assert "ports 80/tcp 53/udp, which are published nowhere" in ports
    assert "image config" not in box("explain", "host", "true").stdout


def test_a_shell_is_a_shell(box: Cli) -> None:
    """Whatever an image starts with."""
    with Emulator.of(box, "shell", "localhost/entry:1", CLOCHE_ROOT=box.root) as terminal:
        terminal.type("echo $((6*7))\r")
        terminal.until("42")
        terminal.type("exit 5\r")
        assert terminal.ended() == 5


def test_what_an_upper_layer_hides_is_hidden_in_a_container(fresh: Cli) -> None:
    """An opaque directory and a whiteout, seen by who runs it, not by who unpacked it."""
    box = tar_of(**{"bin/busybox": Path(shutil.which("busybox") or "").read_bytes(), "o/old": b"", "d/old": b""})
    upper = tar_of(**{"o/.wh..wh..opq": b"", "o/new": b"", "d/.wh.old": b"", "d/new": b""})
    config = {
        "architecture": parse_platform("").architecture,
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [digest_of(box), digest_of(upper)]},
    }
    listed = [{"Config": "config.json", "RepoTags": ["hidden:1"], "Layers": ["0.tar", "1.tar"]}]
    parts = {"config.json": json.dumps(config).encode(), "manifest.json": json.dumps(listed).encode()}
    done = fresh("load", input=tar_of(**parts, **{"0.tar": box, "1.tar": upper}))
    assert done.returncode == 0, done.stderr
    for options in ((), ("--userns", "host")) if fresh.kind == "root" else ((),):
        done = fresh("run", "--rm", *options, "hidden:1", "/bin/busybox", "ls", "/o", "/d")
        assert done.stdout == "/d:\nnew\n\n/o:\nnew\n", done.stderr
