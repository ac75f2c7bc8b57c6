"""The options people know from docker, and the exit codes they rely on."""

from __future__ import annotations

import os
import platform
import signal
import struct
import subprocess
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import cloche
from cloche.sandbox import api
from tests.integration.alive import WAIT, alive, living, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Cli

SPIN = "trap 'echo got {0}; exit {1}' {0}; echo ready; while :; do sleep 0.02; done"


@pytest.fixture(scope="module", autouse=True)
def _no_stage_is_kept() -> Iterator[None]:
    """The stage of the tests' own process ends with this file, for those who look for leftovers."""
    yield
    api._end_stages()


def env(cli: Cli, rootfs: Path, *options: str, **outside: str) -> dict[str, str]:
    """The environment in a container with these options."""
    done = cli("run", *options, "--rootfs", str(rootfs), "env", env=outside)
    assert done.returncode == 0, done.stderr
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def test_variables(anyone: Cli, rootfs: Path) -> None:
    words = (
        "-e",
        "A=1",
        "--env",
        "B=x=y",
        "-e",
        "EMPTY=",
        "-e",
        "PASSED",
        "-e",
        "ABSENT",
        "-e",
        "A=2",
        "-e",
        "HOME=/h",
    )
    found = env(anyone, rootfs, *words, PASSED="on", NOT="this")
    assert found.items() >= {"A": "2", "B": "x=y", "EMPTY": "", "PASSED": "on", "HOME": "/h"}.items()
    assert not {"ABSENT", "NOT"} & set(found)


def test_variables_from_a_file(cli: Cli, rootfs: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("# a comment\n\n  A=from file\nB=1\nQUOTED='kept as it is'\nPASSED\n")
    second.write_text("B=2\nC=3")
    words = ("--env-file", str(first), "--env-file", str(second), "-e", "C=4")
    found = env(cli, rootfs, *words, PASSED="on")
    expected = {"A": "from file", "B": "2", "C": "4", "QUOTED": "'kept as it is'", "PASSED": "on"}
    assert found.items() >= expected.items()


def test_only_a_line_feed_ends_a_line_of_a_file_of_variables(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "variables"
    file.write_bytes("\ufeffA=1\r\nB=x\u2028y\u0085\x0b\x0cC=z\n\r\nD=a\rb\r\n".encode())
    python = "import os; print([os.environ[n] for n in 'ABD'], 'C' in os.environ)"
    expected = ["1", "x\u2028y\u0085\x0b\x0cC=z", "a\rb"]
    done = cli("run", "--env-file", str(file), "host", "/usr/bin/python3", "-X", "utf8", "-c", python)
    assert done.stdout == f"{expected} False\n", done.stderr


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"=x\n", "line 1: '' is not a variable's name"),
        (b"A=1\nB C=2\n", "line 2: 'B C' is not a variable's name"),
        (b"A=\xff\xfe\n", "is not UTF-8 text"),
        (b"A=1\0\n", "NUL byte"),
    ],
)
def test_a_malformed_file_of_variables(cli: Cli, rootfs: Path, tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "variables"
    file.write_bytes(content)
    done = cli("run", "--env-file", str(file), "--rootfs", str(rootfs), "echo", "never")
    assert (done.returncode, done.stdout) == (125, "")
    assert says in done.stderr


def test_a_file_of_variables_that_is_not_there(cli: Cli, rootfs: Path) -> None:
    done = cli("run", "--env-file", "/no/such/file", "--rootfs", str(rootfs), "true")
    assert done.returncode == 125
    assert "--env-file /no/such/file cannot be read: No such file" in done.stderr


def test_the_working_directory_is_made(anyone: Cli, rootfs: Path) -> None:
    # an ordinary user with one id can make nothing in a directory of somebody who is not there inside
    path = "/var/new/deep" if anyone.kind == "root" else "/tmp/new/deep"
    done = anyone("run", "-w", path, "--rootfs", str(rootfs), "sh", "-c", "pwd; stat -c %a .")
    assert done.stdout.split() == [path, "755"], done.stderr
    assert not (rootfs / path[1:]).exists()
    assert anyone("run", "--rootfs", str(rootfs), "pwd").stdout == "/\n"


@pytest.mark.parametrize(("path", "says"), [("here", "is not absolute"), ("/etc/passwd", "/etc/passwd")])
def test_a_working_directory_that_cannot_be(cli: Cli, rootfs: Path, path: str, says: str) -> None:
    done = cli("run", "-w", path, "--rootfs", str(rootfs), "echo", "never")
    assert (done.returncode, done.stdout) == (125, "")
    assert says in done.stderr


def test_the_entry_point(anyone: Cli, rootfs: Path) -> None:
    done = anyone("run", "--entrypoint", "echo", "--rootfs", str(rootfs), "a", "b")
    assert done.stdout == "a b\n"
    assert anyone("run", "--entrypoint", "/bin/pwd", "--rootfs", str(rootfs)).stdout == "/\n"


def test_limits_of_each_process(anyone: Cli, rootfs: Path) -> None:
    words = ("--ulimit", "nofile=100:200", "--ulimit", "core=0", "--ulimit", "cpu=77")
    done = anyone("run", *words, "--rootfs", str(rootfs), "cat", "/proc/self/limits")
    rows = {line[:26].strip(): line[26:].split()[:2] for line in done.stdout.splitlines()}
    assert rows["Max open files"] == ["100", "200"]
    assert rows["Max core file size"] == ["0", "0"]
    assert rows["Max cpu time"] == ["77", "77"]


def test_a_limit_of_each_process_bites(anyone: Cli) -> None:
    program = "import os\ntry:\n    while True: n = os.dup(0)\nexcept OSError as error: print(n, error.errno)"
    words = ("host", "/usr/bin/python3", "-I", "-S", "-c", program)
    assert anyone("run", "--ulimit", "nofile=64", *words).stdout == "63 24\n"
    assert anyone("run", "--ulimit", "nofile=70:80", *words).stdout == "69 24\n"


@pytest.mark.parametrize("limit", ["nofile=4", "fsize=0"])
def test_a_limit_of_each_process_is_the_commands_alone(root: Cli, rootfs: Path, limit: str) -> None:
    done = root("run", "--ulimit", limit, "--rootfs", str(rootfs), "cat", "/etc/group")
    assert (done.returncode, done.stdout[:5]) == (0, "root:"), done.stderr


@pytest.mark.parametrize("text", ["nofile", "nofile=", "nofile=x", "nofile=2:1", "nofiles=3", "nofile=-2", "=3", ""])
def test_a_malformed_limit_of_each_process(cli: Cli, rootfs: Path, text: str) -> None:
    done = cli("run", "--ulimit", text, "--rootfs", str(rootfs), "true")
    assert done.returncode == 125
    assert "--ulimit" in done.stderr


def test_a_limit_an_ordinary_user_may_not_raise(user: Cli, rootfs: Path) -> None:
    done = user("run", "--ulimit", "nofile=99999999:99999999", "--rootfs", str(rootfs), "echo", "never")
    assert (done.returncode, done.stdout) == (125, "")
    assert "nofile" in done.stderr.lower()


def test_devices(root: Cli, rootfs: Path) -> None:
    words = ("--device", "/dev/zero:/dev/mine", "--device", "/dev/full", "--device", "/dev/null:/dev/some/where:r")
    program = "stat -c '%n %t %T' /dev/mine /dev/some/where; head -c 4 /dev/mine | wc -c"
    done = root("run", *words[:2], *words[4:], "--rootfs", str(rootfs), "sh", "-c", program)
    assert done.stdout.split() == ["/dev/mine", "1", "5", "/dev/some/where", "1", "3", "4"], done.stderr
    assert list((rootfs / "dev").iterdir()) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("/dev/none", "/dev/none cannot be used"),
        ("/etc/passwd:/dev/mine", "is not a device"),
        ("/dev/null:/etc/mine", "--device"),
        ("/dev/null:/dev/x:q", "is not DEVICE"),
        ("/dev/null:x", "is not DEVICE"),
        ("/dev/null:/dev/x:r:w", "is not DEVICE"),
        ("", "--device"),
    ],
)
def test_devices_that_cannot_be(cli: Cli, rootfs: Path, text: str, says: str) -> None:
    done = cli("run", "--device", text, "--rootfs", str(rootfs), "true")
    assert done.returncode == 125
    assert says in done.stderr


def test_kernel_parameters(anyone: Cli, rootfs: Path) -> None:
    words = ("--sysctl", "net.ipv4.ip_forward=1", "--sysctl", "kernel.msgmax=4096", "--rootfs", str(rootfs))
    outside = Path("/proc/sys/kernel/msgmax").read_text()
    paths = "/proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_unprivileged_port_start"
    done = anyone("run", *words, "sh", "-c", f"cat {paths}")
    assert done.stdout.split() == ["1", "4096", "0"], done.stderr
    assert Path("/proc/sys/kernel/msgmax").read_text() == outside != "4096\n"


@pytest.mark.parametrize(
    "text",
    [
        "kernel.panic=0",
        "vm.swappiness=1",
        "kernel.core_pattern=|/x",
        "net.ipv4.ip_forward",
        "=1",
        "net./../kernel.x=1",
    ],
)
def test_kernel_parameters_of_the_machine_are_refused(root: Cli, rootfs: Path, text: str) -> None:
    done = root("run", "--sysctl", text, "--rootfs", str(rootfs), "echo", "never")
    assert (done.returncode, done.stdout) == (125, "")
    assert len(done.stderr.splitlines()) <= 2


def test_kernel_parameters_of_the_machine_are_refused_without_a_user_namespace(root: Cli, rootfs: Path) -> None:
    before = Path("/proc/sys/kernel/panic").read_text()
    words = ("--userns", "host", "--sysctl", "kernel.panic=77", "--rootfs", str(rootfs))
    done = root("run", *words, "cat", "/proc/sys/kernel/panic")
    assert (done.returncode, done.stdout) == (125, "")
    assert "'kernel.panic' does not belong to a namespace of the container" in done.stderr
    assert Path("/proc/sys/kernel/panic").read_text() == before


def test_the_domain_name_is_a_kernel_parameter(root: Cli, rootfs: Path) -> None:
    words = ("--sysctl", "kernel.domainname=here", "--rootfs", str(rootfs), "cat", "/proc/sys/kernel/domainname")
    done = root("run", "--userns", "host", *words)
    assert done.stdout == "here\n", done.stderr
    assert "hint: --hostname and --domainname" in root("run", *words).stderr


@pytest.mark.parametrize(
    ("text", "sharing"),
    [("kernel.domainname=x", "--uts"), ("net.ipv4.ip_forward=1", "--network"), ("kernel.msgmax=4096", "--ipc")],
)
def test_kernel_parameters_of_a_shared_namespace_are_refused(root: Cli, rootfs: Path, text: str, sharing: str) -> None:
    done = root("run", sharing, "host", "--sysctl", text, "--rootfs", str(rootfs), "echo", "never")
    assert (done.returncode, done.stdout) == (125, "")
    assert "would change the host" in done.stderr


def state_file(cli: Cli, name: str) -> Path:
    """A path in a directory this kind of user may write in."""
    return Path(cli.state) / f"{name}-{uuid.uuid4().hex}"


def test_the_id_is_written_to_a_file(anyone: Cli, rootfs: Path) -> None:
    file = state_file(anyone, "cid")
    assert anyone("run", "--cidfile", str(file), "--rootfs", str(rootfs), "true").returncode == 0
    text = file.read_text()
    assert len(text) == 64
    assert set(text) <= set("0123456789abcdef")
    done = anyone("run", "--cidfile", str(file), "--rootfs", str(rootfs), "echo", "never")
    assert (done.returncode, done.stdout) == (125, "")
    assert f"container ID file found, make sure the other container isn't running or delete {file}" in done.stderr
    assert file.read_text() == text
    file.unlink()


@pytest.mark.parametrize("option", ["--cidfile", "--pidfile"])
def test_a_file_that_cannot_be_written(cli: Cli, rootfs: Path, option: str) -> None:
    done = cli("run", option, "/proc/nowhere/x", "--rootfs", str(rootfs), "sleep", "0.1")
    assert done.returncode == 125
    assert f"{option} /proc/nowhere/x cannot be written: " in done.stderr


def test_the_pid_is_that_of_the_host(anyone: Cli, rootfs: Path) -> None:
    mark = uuid.uuid4().hex
    with alive(anyone, "--rootfs", str(rootfs), "sh", "-c", WAIT, mark) as it:
        assert mark in Path(f"/proc/{it.pid}/cmdline").read_text()
        assert it.status("NSpid").split() == [str(it.pid), "1"]
    assert living(mark) == []


def test_a_name_is_one_containers_only(anyone: Cli, rootfs: Path) -> None:
    name = f"n{uuid.uuid4().hex[:8]}"
    with alive(anyone, "--name", name, "--rootfs", str(rootfs), "sh", "-c", WAIT):
        # the record of the name is written by the front, just after the start
        until(lambda: list(Path(anyone.state, "containers").glob("*.json")), "the record is written")
        done = anyone("run", "--name", name, "--rootfs", str(rootfs), "echo", "never")
        assert (done.returncode, done.stdout) == (125, "")
        assert f'The container name "/{name}" is already in use by container' in done.stderr
    assert anyone("run", "--name", name, "--rootfs", str(rootfs), "echo", "now").stdout == "now\n"
    assert list(Path(anyone.state, "containers").glob("*.json")) == []


@pytest.mark.parametrize("name", ["", "-x", "a", "a b", "a/b", "é" * 3, "x" * 300, ".."])
def test_a_malformed_name(cli: Cli, rootfs: Path, name: str) -> None:
    done = cli("run", f"--name={name}", "--rootfs", str(rootfs), "true")
    if not name:
        assert done.returncode in {0, 125}
        return
    assert done.returncode == 125
    assert f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed" in done.stderr


def test_a_timeout_ends_everything_inside(anyone: Cli, rootfs: Path) -> None:
    mark = f"30.{uuid.uuid4().int}"
    program = f"trap '' TERM INT HUP; sleep {mark} & sleep {mark} & echo here; sleep {mark}"
    done = anyone("run", "--timeout", "300ms", "--rootfs", str(rootfs), "sh", "-c", program)
    assert (done.returncode, done.stdout) == (124, "here\n")
    assert (
        done.stderr
        == "cloche: timed out after 0.3 s; everything inside was killed\n  hint: give it more time: --timeout\n"
    )
    assert living(mark) == []
    assert anyone("run", "--timeout", "1m", "--rootfs", str(rootfs), "sh", "-c", "exit 9").returncode == 9


@pytest.mark.parametrize("text", ["x", "-1", "1x", "1h1", "", "nan", "1e99", "--"])
def test_a_malformed_timeout(cli: Cli, rootfs: Path, text: str) -> None:
    done = cli("run", f"--timeout={text}", "--rootfs", str(rootfs), "true")
    assert done.returncode == 125, done.stderr
    assert "--timeout" in done.stderr


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "USR1", "USR2", "QUIT", "ALRM"])
def test_signals_are_passed_on(cli: Cli, rootfs: Path, name: str) -> None:
    with alive(cli, "--rootfs", str(rootfs), "sh", "-c", SPIN.format(name, 42)) as it:
        it.front.send_signal(getattr(signal, f"SIG{name}"))
        assert it.front.wait(20) == 42
        assert it.front.stdout is not None
        assert it.front.stdout.read() == f"got {name}\n".encode()


def test_signals_are_passed_on_for_an_ordinary_user(user: Cli, rootfs: Path) -> None:
    with alive(user, "--rootfs", str(rootfs), "sh", "-c", SPIN.format("TERM", 43)) as it:
        it.front.terminate()
        assert it.front.wait(20) == 43


def test_signals_are_passed_on_by_the_small_init(cli: Cli, rootfs: Path) -> None:
    with alive(cli, "--init", "--rootfs", str(rootfs), "sh", "-c", SPIN.format("USR1", 44)) as it:
        it.front.send_signal(signal.SIGUSR1)
        assert it.front.wait(20) == 44


@pytest.mark.parametrize("name", ["TERM", "SIGUSR1", "15", "rtmin+3"])
def test_the_stop_signal_is_a_signal(cli: Cli, rootfs: Path, name: str) -> None:
    assert cli("run", "--stop-signal", name, "--rootfs", str(rootfs), "true").returncode == 0


@pytest.mark.parametrize("name", ["NONE", "0", "65", "-9", "", "SIG"])
def test_a_stop_signal_nobody_knows(cli: Cli, rootfs: Path, name: str) -> None:
    done = cli("run", f"--stop-signal={name}", "--rootfs", str(rootfs), "echo", "never")
    assert (done.returncode, done.stdout) == (125, "")
    assert "Invalid signal: " in done.stderr or "out of range" in done.stderr


def test_a_sigterm_becomes_the_stop_signal(cli: Cli, rootfs: Path) -> None:
    words = ("--stop-signal", "USR2", "--rootfs", str(rootfs), "sh", "-c", SPIN.format("USR2", 45))
    with alive(cli, *words) as it:
        it.front.terminate()
        assert it.front.wait(20) == 45


def test_killing_the_front_leaves_nothing(anyone: Cli, rootfs: Path) -> None:
    mark = uuid.uuid4().hex
    with alive(anyone, "--rootfs", str(rootfs), "sh", "-c", f"trap '' TERM HUP; {WAIT}", mark) as it:
        group = it.group("pids")
        subprocess.run(["kill", "-9", str(it.front.pid)], check=True)
        it.front.wait(20)
        until(lambda: not living(mark), "everything inside has ended")
        if group.name.startswith("cloche-"):
            until(lambda: not group.exists(), "the control group is gone")


@pytest.mark.parametrize("code", [0, 1, 2, 64, 100, 124, 125, 126, 127, 128, 137, 254, 255])
def test_the_exit_code_is_the_commands_own(cli: Cli, rootfs: Path, code: int) -> None:
    done = cli("run", "--rootfs", str(rootfs), "sh", "-c", f"exit {code}")
    assert (done.returncode, done.stderr) == (code, "")


def test_exit_codes_up_to_the_last(rootfs: Path) -> None:
    # through the other door, in one process, which is quicker
    codes = [cloche.run(["sh", "-c", f"exit {n}"], rootfs=rootfs).exit_code for n in range(0, 256, 15)]
    assert codes == list(range(0, 256, 15))


@pytest.mark.parametrize("number", [1, 2, 6, 9, 11, 15])
def test_killed_by_a_signal(anyone: Cli, rootfs: Path, number: int) -> None:
    program = f"sh -c 'kill -{number} $$'; echo $?"
    assert anyone("run", "--rootfs", str(rootfs), "sh", "-c", program).stdout.split()[-1] == str(128 + number)
    with alive(anyone, "--rootfs", str(rootfs), "sh", "-c", WAIT) as it:
        os.kill(it.pid, 9)
        assert it.front.wait(20) == 137


def elf(machine: int, interpreter: str = "") -> bytes:
    """A 64-bit little-endian ELF program of one or two headers and no code; see elf(5)."""
    text = interpreter.encode() + b"\0"
    count = 2 if interpreter else 1
    start = 64 + 56 * count
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0x400000 + start, 64, 0, 0, 64, 56, count, 0, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, 0x1000, 0x1000, 0x1000)
    path = struct.pack("<IIQQQQQQ", 3, 4, start, 0x400000 + start, 0, len(text), len(text), 1) if interpreter else b""
    return (head + path + load + text).ljust(0x1000, b"\0")


X86_64, AARCH64 = 62, 183
OWN, OTHER = (X86_64, AARCH64) if platform.machine() == "x86_64" else (AARCH64, X86_64)


@pytest.mark.parametrize(
    ("name", "content", "mode", "code", "says"),
    [
        ("absent", None, 0, 127, "/it/absent: no such file in the container"),
        ("folder", "", 0, 126, "/it/folder: is a directory"),
        ("plain", b"#!/bin/sh\n", 0o644, 126, "/it/plain: is not executable"),
        ("script", b"#!/no/interpreter -x\n", 0o755, 127, "its interpreter /no/interpreter is missing"),
        ("dos", b"#!/bin/sh\r\necho x\r\n", 0o755, 127, "its interpreter /bin/sh"),
        ("loader", elf(OWN, "/lib/ld-none.so.1"), 0o755, 127, "its loader /lib/ld-none.so.1 is missing"),
        ("foreign", elf(OTHER), 0o755, 126, "is a program for "),
        ("text", b"just text\n", 0o755, 126, "is neither a program nor a script with #!"),
        ("empty", b"", 0o755, 126, "is neither a program nor a script with #!"),
        ("cut", b"\x7fELF\x02\x01\x01", 0o755, 126, "/it/cut: "),
    ],
)
def test_what_cannot_be_executed(
    cli: Cli, rootfs: Path, shared_dir: Path, name: str, content: bytes | str | None, mode: int, code: int, says: str
) -> None:
    folder = shared_dir / "not-executed"
    folder.mkdir(exist_ok=True)
    path = folder / name
    if content == "":
        path.mkdir(exist_ok=True)
    elif isinstance(content, bytes):
        path.write_bytes(content)
        path.chmod(mode)
    done = cli("run", "-v", f"{folder}:/it:ro", "--rootfs", str(rootfs), f"/it/{name}")
    assert done.returncode == code
    assert says in done.stderr
    assert done.stderr.startswith(f"cloche: /it/{name}: ")
    assert len(done.stderr.splitlines()) <= 2
    # the same below the small init, and found by PATH
    words = ("--init", "-e", "PATH=/it", "-v", f"{folder}:/it:ro", "--rootfs", str(rootfs), name)
    done = cli("run", *words)
    assert done.returncode == (127 if name in {"absent", "folder"} and done.returncode == 127 else code)


def test_a_command_that_is_not_on_the_path(anyone: Cli, rootfs: Path) -> None:
    done = anyone("run", "--rootfs", str(rootfs), "no-such-command")
    assert done.returncode == 127
    assert done.stderr.startswith("cloche: no-such-command: command not found in the container\n  hint: ")
    assert anyone("run", "-e", "PATH=/nowhere", "--rootfs", str(rootfs), "sh").returncode == 127


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_process_1_would_not_notice_ends_it(anyone: Cli, rootfs: Path, number: int) -> None:
    with alive(anyone, "--rootfs", str(rootfs), "sh", "-c", "echo ready; exec sleep 1000") as it:
        until(lambda: Path(f"/proc/{it.pid}/comm").read_text() == "sleep\n", "the shell has become sleep")
        it.front.send_signal(number)
        assert it.front.wait(20) == 128 + number
