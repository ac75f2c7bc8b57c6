"""Whatever is wrong with what was asked: one line of ours, a hint, exit code 125, and nothing left."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cloche
from cloche.cli.main import main
from cloche.cli.options_run import RUN
from cloche.cli.table import FLAG
from cloche.sandbox import api

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Cli


@pytest.fixture(scope="module", autouse=True)
def _no_stage_is_kept() -> Iterator[None]:
    """The stage of the tests' own process ends with this file, for those who look for leftovers."""
    yield
    api._end_stages()


def assert_one_error(done: subprocess.CompletedProcess[str], *, hint: bool = True, code: int = 125) -> None:
    """Nothing of the command's, one line that says what, and one that says what to do."""
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    lines = done.stderr.splitlines()
    assert lines, "nothing was said"
    assert re.fullmatch(r"cloche: \S.*[^.\s]", lines[0]), done.stderr
    assert len(lines) <= 2, done.stderr
    assert all(line.startswith("  hint: ") for line in lines[1:])
    assert len(lines) == 2 or not hint


ROOTFS = "ROOTFS"  # stands for the directory
WRONG: dict[str, tuple[str, ...]] = {
    "unknown image": ("--pull", "never", "alpine", "true"),
    "image with a tag": ("--pull=never", "docker.io/library/alpine:3", "true"),
    "no image": (),
    "missing directory": ("--rootfs", "/no/such/dir", "true"),
    "file as a directory": ("--rootfs", "/etc/passwd", "true"),
    "empty directory name": ("--rootfs", "", "true"),
    "unknown option": ("--frobnicate", "host", "true"),
    "option without its value": ("--memory",),
    "flag with a value": ("--read-only=perhaps", "host", "true"),
    "empty command": ("host", ""),
    "memory of nothing": ("-m", "0", "host", "true"),
    "memory below zero": ("-m", "-5m", "host", "true"),
    "memory too small": ("-m", "1k", "host", "true"),
    "memory in words": ("-m", "lots", "host", "true"),
    "memory without a number": ("-m", "m", "host", "true"),
    "memory of all the world": ("-m", "99999999999g", "host", "true"),
    "memory that is not a number": ("-m", "nan", "host", "true"),
    "infinite memory": ("-m", "inf", "host", "true"),
    "swap alone": ("--memory-swap", "1g", "host", "true"),
    "swap below memory": ("-m", "1g", "--memory-swap", "1m", "host", "true"),
    "reservation above memory": ("-m", "1g", "--memory-reservation", "2g", "host", "true"),
    "no processors": ("--cpus", "-1", "host", "true"),
    "processors in words": ("--cpus", "two", "host", "true"),
    "more processors than there are": ("--cpus", "8000", "host", "true"),
    "cpus and quota": ("--cpus", "1", "--cpu-quota", "5000", "host", "true"),
    "period alone": ("--cpu-period", "5000", "host", "true"),
    "tiny quota": ("--cpu-quota", "5", "host", "true"),
    "shares": ("-c", "many", "host", "true"),
    "cpuset": ("--cpuset-cpus", "1-", "host", "true"),
    "cpuset backwards": ("--cpuset-cpus", "3-1", "host", "true"),
    "pids": ("--pids-limit", "-2", "host", "true"),
    "pids in words": ("--pids-limit", "x", "host", "true"),
    "shared memory": ("--shm-size", "0", "host", "true"),
    "weight": ("--blkio-weight", "5000", "host", "true"),
    "throttle": ("--device-read-bps", "/dev/null", "host", "true"),
    "throttle of no disk": ("--device-read-bps", "/dev/null:1m", "host", "true"),
    "oom score": ("--oom-score-adj", "5000", "host", "true"),
    "umask": ("--umask", "999", "host", "true"),
    "volume": ("-v", "x", "host", "true"),
    "volume without a target": ("-v", "/tmp:", "host", "true"),
    "volume to nowhere absolute": ("-v", "/tmp:x", "host", "true"),
    "volume upwards": ("-v", "/tmp:/a/../../b", "host", "true"),
    "volume over the root": ("-v", "/tmp:/", "host", "true"),
    "volume that is missing": ("-v", "/no/such:/x", "host", "true"),
    "volume with an option": ("-v", "/tmp:/x:fast", "host", "true"),
    "mount": ("--mount", "what=ever", "host", "true"),
    "mount type": ("--mount", "type=nfs,dst=/x", "host", "true"),
    "mount without a source": ("--mount", "type=bind,dst=/x", "host", "true"),
    "mount twice": ("--tmpfs", "/x", "--tmpfs", "/x", "host", "true"),
    "tmpfs": ("--tmpfs", "x", "host", "true"),
    "tmpfs size": ("--tmpfs", "/x:size=huge", "host", "true"),
    "network": ("--network", "bridge", "host", "true"),
    "network nobody knows": ("--network", "wifi", "host", "true"),
    "network of a missing file": ("--network", "ns:/no/such", "host", "true"),
    "network of a missing container": ("--network", "container:nobody", "host", "true"),
    "host name": ("--hostname", "a b", "host", "true"),
    "long host name": ("--hostname", "x" * 65, "host", "true"),
    "long domain name": ("--domainname", "x" * 65, "host", "true"),
    "added host": ("--add-host", "name", "host", "true"),
    "name server": ("--dns", "not-an-address", "host", "true"),
    "user map": ("--uidmap", "0:x:1", "host", "true"),
    "user map of none": ("--uidmap", "0:0:0", "host", "true"),
    "user map beyond": ("--uidmap", "0:0:99999999999", "host", "true"),
    "map and host": ("--userns", "host", "--uidmap", "0:0:1", "host", "true"),
    "user namespace": ("--userns", "mars", "host", "true"),
    "pid namespace": ("--pid", "mars", "host", "true"),
    "time": ("--time-offset", "5", "host", "true"),
    "time of no clock": ("--time-offset", "realtime=5", "host", "true"),
    "annotation": ("--annotation", "x", "host", "true"),
    "format": ("--format", "xml", "host", "true"),
    "terminal": ("-it", "host", "true"),
    "keys": ("--step", "host", "true"),
    "image and directory": ("--rootfs", ROOTFS, "--entrypoint", "", "--cap-add", "NOTHING"),
    "unknown user": ("-u", "nobody-here", "--rootfs", ROOTFS, "true"),
    "malformed user": ("-u", "a:b:c", "--rootfs", ROOTFS, "true"),
    "user beyond the map": ("-u", "4000000", "--rootfs", ROOTFS, "true"),
    "user below zero": ("-u", "-1", "--rootfs", ROOTFS, "true"),
    "unknown group": ("--group-add", "nobody-here", "--rootfs", ROOTFS, "true"),
    "published": ("-p", "80:80", "host", "true"),
}


@pytest.mark.parametrize("name", WRONG)
def test_one_error(cli: Cli, rootfs: Path, name: str) -> None:
    words = [str(rootfs) if word == ROOTFS else word for word in WRONG[name]]
    done = cli("run", *words)
    assert_one_error(done, hint=False, code=1 if name == "no image" else 125)


@pytest.mark.parametrize("name", ["unknown image", "missing directory", "memory in words", "cpus and quota", "volume"])
def test_explain_says_the_same(anyone: Cli, name: str) -> None:
    run, explain = anyone("run", *WRONG[name]), anyone("explain", *WRONG[name])
    assert_one_error(explain)
    assert explain.stderr == run.stderr


BEFORE = {("frobnicate",): 1, ("--frobnicate",): 125, ("runn", "host"): 1, ("enter",): 1, ("--root",): 125}


@pytest.mark.parametrize("words", BEFORE)
def test_the_words_before_the_verb(cli: Cli, words: tuple[str, ...]) -> None:
    assert_one_error(cli(*words), hint=False, code=BEFORE[words])


def test_a_directory_that_cannot_be_read(user: Cli, shared_dir: Path) -> None:
    folder = shared_dir / "unreadable"
    folder.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() != 0:
        folder.chmod(0)
    try:
        done = user("run", "--rootfs", str(folder), "true")
    finally:
        folder.chmod(0o700)  # or nobody could remove it
    assert_one_error(done)
    assert f"the root file system {folder} cannot be read by you" in done.stderr


def test_an_empty_directory_as_the_root(anyone: Cli, shared_dir: Path) -> None:
    folder = shared_dir / "empty"
    folder.mkdir(exist_ok=True)
    done = anyone("run", "--rootfs", str(folder), "sh")
    assert (done.returncode, done.stdout) == (127, "")
    assert "sh: command not found in the container" in done.stderr
    assert list(folder.iterdir()) == []


def test_escape_codes_stay_out_of_the_terminal(cli: Cli) -> None:
    done = cli("run", "evil\x1b[31m\nimage", "true")
    assert_one_error(done)
    assert "evil\\x1b[31m\\nimage" in done.stderr


@pytest.mark.parametrize(
    "call",
    [
        lambda: cloche.run(["true\0false"]),
        lambda: cloche.run(["true"], hostname="a\0b"),
        lambda: cloche.run(["true"], env={"A": "x\0y"}),
        lambda: cloche.run(["true"], env={"A\0": "x"}),
        lambda: cloche.run(["true"], volumes=["/tmp:/x\0"]),
        lambda: cloche.run(["true"], rootfs="/tmp\0"),
        lambda: cloche.run(["true"], "host\0"),
        lambda: cloche.run(["true"], name="ab\0c"),
        lambda: cloche.run(["true"], workdir="/\0"),
    ],
)
def test_nul_bytes(call: object) -> None:
    with pytest.raises(cloche.SpecError, match=r"NUL|zero byte|Invalid container name|in its name"):
        call()  # type: ignore[operator]


def test_long_arguments(anyone: Cli, rootfs: Path) -> None:
    words = ("--rootfs", str(rootfs), "sh", "-c", "echo ${#0} ${#}")
    assert anyone("run", *words, "x" * 100_000).stdout == "100000 0\n"
    many = ["y" * 100] * 9000  # 900 KB in all
    assert anyone("run", *words, *many).stdout == "100 8999\n"


def test_arguments_too_long_for_the_kernel(rootfs: Path) -> None:
    # a command line cannot even carry this, but a program can
    with pytest.raises(cloche.ClocheError) as caught:
        cloche.run(["echo", "x" * 1_000_000], rootfs=rootfs, check=True)
    assert "rgument list too long" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
    with pytest.raises(cloche.ClocheError, match="rgument list too long"):
        cloche.run(["echo"], rootfs=rootfs, env={"A": "x" * 1_000_000}, check=True)
    assert cloche.run(["echo", "x" * 100_000], rootfs=rootfs).stdout == "x" * 100_000 + "\n"


def test_names_that_are_not_utf_8(anyone: Cli, rootfs: Path) -> None:
    word = os.fsdecode(b"caf\xe9")
    done = anyone("run", "--rootfs", str(rootfs), "sh", "-c", 'echo -n "$0" | wc -c', word)
    assert done.stdout.strip() == "4", done.stderr
    done = anyone("run", "--rootfs", f"/{word}", "true")
    assert_one_error(done)
    assert "/caf\\xe9 is not there" in done.stderr


def in_namespace(cli: Cli, script: str, *words: str) -> subprocess.CompletedProcess[str]:
    """`cloche WORDS` as root in a private mount namespace, prepared by a shell script."""
    command = ["unshare", "-m", "--propagation", "private", "sh", "-ec", script + '\nexec "$@"', "sh", *cli.argv]
    env = {"PATH": os.environ["PATH"], "CLOCHE_STATE": f"{cli.state}/full"}
    return subprocess.run([*command, *words], capture_output=True, text=True, timeout=60, check=False, env=env)


FULL = 'mkdir -p "$CLOCHE_STATE"; mount -t tmpfs -o size=8k,nr_inodes={} full "$CLOCHE_STATE"; {}'
FILL = 'chmod 700 "$CLOCHE_STATE"; dd if=/dev/zero of="$CLOCHE_STATE/fill" 2>/dev/null || true'


def test_a_full_disk(root: Cli, rootfs: Path) -> None:
    words = ("run", "--name", "full-disk", "--rootfs", str(rootfs), "sleep", "0.05")
    done = in_namespace(root, FULL.format(100, FILL), *words)
    assert_one_error(done, hint=False)
    assert "No space left on device" in done.stderr


def test_a_full_disk_of_inodes(root: Cli, rootfs: Path) -> None:
    done = in_namespace(root, FULL.format(1, 'chmod 700 "$CLOCHE_STATE"'), "run", "--rootfs", str(rootfs), "true")
    assert_one_error(done, hint=False)
    assert "No space left on device" in done.stderr


def test_a_state_directory_of_somebody_else(root: Cli, rootfs: Path, tmp_path: Path) -> None:
    os.chown(tmp_path, 1, 1)
    done = root("--state-dir", str(tmp_path), "run", "--name", "other", "--rootfs", str(rootfs), "true")
    assert_one_error(done)
    assert f"{tmp_path} belongs to somebody else" in done.stderr


def test_a_state_directory_that_is_a_file(cli: Cli, rootfs: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file/below"):
        done = cli("--state-dir", str(path), "run", "--name", "other", "--rootfs", str(rootfs), "true")
        assert_one_error(done, hint=False)
        assert str(path) in done.stderr


# a user namespace with every id in it, in which, and below which, no further one can be made
FORBID = """
import ctypes, os, sys
(child_waits, go), (parent_waits, ready) = os.pipe(), os.pipe()
pid = os.fork()
if pid == 0:
    assert ctypes.CDLL(None).unshare(0x10000000) == 0
    os.write(ready, b"x")
    os.read(child_waits, 1)
    with open("/proc/sys/user/max_user_namespaces", "w") as file:
        file.write("0")
    os.execvp(sys.argv[1], sys.argv[1:])
os.read(parent_waits, 1)
for kind in ("uid", "gid"):
    with open(f"/proc/{pid}/{kind}_map", "w") as file:
        file.write("0 0 4294967295")
os.write(go, b"x")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


@pytest.mark.parametrize("kind", ["root", "user"])
def test_a_machine_that_forbids_user_namespaces(kind: str, request: pytest.FixtureRequest, rootfs: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to forbid it in a namespace of its own")
    cli: Cli = request.getfixturevalue(kind)
    words = ["/usr/bin/python3", "-I", "-S", "-c", FORBID, *cli.argv, "run", "--rootfs", str(rootfs), "echo", "never"]
    env = {"PATH": os.environ["PATH"], "CLOCHE_STATE": cli.state}
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, env=env)
    assert_one_error(done)
    assert "user" in done.stderr.splitlines()[1]


OPTIONS = RUN.options
MEANINGFUL = """
 0 -1 1 64m 1.5 host none private /tmp /tmp:/x /tmp:/x:ro /dev/null ALL KEY=VALUE type=tmpfs,dst=/x auto keep-id
type=bind,src=/,dst=/y nofile=10:20 0:0:1 monotonic=5 json seccomp=unconfined landlock=off net.ipv4.ip_forward=1
/x:size=1m name:1.2.3.4 1e400 container:x ns:/proc/self/ns/net NET_ADMIN 0-1 /dev/null:/dev/x:r 127.0.0.1 inf nan
"""
WORDS = st.one_of(
    st.sampled_from(["", "9" * 400, "9" * 5000, "8:0 rbps=1", *MEANINGFUL.split()]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    st.text("0123456789.:,=-/kmg", max_size=12),
)


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """Words after `cloche explain`: a few options, mostly well-formed, and what is to be run."""
    words = []
    for option in draw(st.lists(st.sampled_from(OPTIONS), max_size=5)):
        if option.kind == FLAG:
            words.append(option.names[0])
        else:
            words += [option.names[-1], draw(WORDS)]
    return [*words, *draw(st.sampled_from([[], ["host"], ["host", "true"], ["host", ""], ["x", "y"]]))]


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(command_lines())
def test_no_combination_of_options_raises(words: list[str]) -> None:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["explain", *words])
    assert code in {0, 1, 125}, err.getvalue()
    if code:
        lines = err.getvalue().splitlines()
        assert lines[0].startswith("cloche: ")
        assert len(lines) <= 2
    else:
        assert out.getvalue()


def test_the_same_in_a_process_of_its_own() -> None:
    # one of the above through the installed door: what `main` returns is what the shell sees
    program = "import sys; from cloche.cli.main import entry; sys.argv = ['cloche', 'explain', 'mars']; entry()"
    env = {**os.environ, "PYTHONPATH": str(Path(cloche.__file__).parent.parent)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=env)
    assert_one_error(done)
