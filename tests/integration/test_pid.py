"""Process numbers of its own: the command, or a small init, is process 1."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.background import gone, members, refused, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Cli


@pytest.fixture
def canary() -> Iterator[int]:
    """A process of the host."""
    process = subprocess.Popen(["sleep", "600"])
    yield process.pid
    process.kill()
    process.wait()


def test_the_command_is_process_1_and_sees_nobody_else(anyone: Cli, rootfs: Path) -> None:
    script = "echo $$; ps -o pid,ppid,args; echo /proc/[0-9]*"
    done = anyone("run", "--rootfs", str(rootfs), "sh", "-c", script)
    first, _, shell, ps, proc = done.stdout.splitlines()
    assert first == "1"
    assert shell.split()[:3] == ["1", "0", "sh"]
    assert ps.split()[:2] == ["2", "1"]
    assert proc == "/proc/1"  # the shell's own word: ps has ended


def test_from_outside_it_is_an_ordinary_process(anyone: Cli, rootfs: Path) -> None:
    with running(anyone, "--rootfs", str(rootfs)) as inside:
        assert inside.status("NSpid").split() == [str(inside.pid), "1"]
        assert inside.namespace("pid") != os.stat("/proc/self/ns/pid").st_ino
        assert members(inside.namespace("pid")) == {inside.pid}


def test_the_pidfile_names_it(anyone: Cli, rootfs: Path, place: Path) -> None:
    with running(anyone, "--pidfile", str(place / "pid"), "--rootfs", str(rootfs)) as inside:
        assert int((place / "pid").read_text()) == inside.pid


def test_processes_of_the_host_cannot_be_reached(anyone: Cli, rootfs: Path, canary: int) -> None:
    script = f"kill -0 {canary} 2>&1; ls -d /proc/{canary} 2>&1"
    done = anyone("run", "--rootfs", str(rootfs), "sh", "-c", script)
    assert done.stdout.count("No such") == 2, done.stdout
    shared = anyone("run", "--pid", "host", "--rootfs", str(rootfs), "ls", "-d", f"/proc/{canary}")
    assert shared.stdout == f"/proc/{canary}\n", shared.stderr


@pytest.mark.parametrize("init", [(), ("--init",)])
def test_when_process_1_is_killed_all_end(anyone: Cli, rootfs: Path, init: tuple[str, ...]) -> None:
    script = "for i in 1 2 3; do (sleep 600 </dev/null >/dev/null 2>&1 &); done"
    with running(anyone, *init, "--rootfs", str(rootfs), script=script) as inside:
        everybody = members(inside.namespace("pid")) | {inside.pid}  # a small init lets no user look
        assert len(everybody) == 4 + len(init)
        os.kill(inside.pid, signal.SIGKILL)
        assert inside.front.wait(20) == 128 + signal.SIGKILL
        assert all(gone(pid) for pid in everybody)


@pytest.mark.parametrize("init", [(), ("--init",)])
def test_when_the_command_ends_so_do_its_children(anyone: Cli, rootfs: Path, init: tuple[str, ...]) -> None:
    script = "(sleep 600 </dev/null >/dev/null 2>&1 &)"
    with running(anyone, *init, "--rootfs", str(rootfs), script=script) as inside:
        everybody = members(inside.namespace("pid")) | {inside.pid}  # a small init lets no user look
        assert len(everybody) == 2 + len(init)
        assert inside.front.stdin is not None
        inside.front.stdin.close()
        assert inside.front.wait(20) == 0
        assert all(gone(pid) for pid in everybody)


def test_init_is_process_1_and_passes_on_how_the_command_ended(anyone: Cli, rootfs: Path) -> None:
    script = "echo $$ $PPID; exit 7"
    done = anyone("run", "--init", "--rootfs", str(rootfs), "sh", "-c", script)
    assert (done.returncode, done.stdout) == (7, "2 1\n")
    killed = anyone("run", "--init", "--rootfs", str(rootfs), "sh", "-c", "kill -9 $$")
    assert killed.returncode == 137
    missing = anyone("run", "--init", "--rootfs", str(rootfs), "no-such-command")
    assert missing.returncode == 127


def test_init_passes_signals_on(anyone: Cli, rootfs: Path) -> None:
    script = "trap 'exit 3' TERM; echo set; while :; do sleep 0.05; done"
    front = anyone.popen("run", "--init", "--rootfs", str(rootfs), "sh", "-c", script, stdout=subprocess.PIPE)
    assert front.stdout is not None
    with front.stdout:
        assert front.stdout.readline() == b"set\n"
        front.terminate()
        assert front.wait(20) == 3


def test_init_reaps_ten_thousand_orphans(cli: Cli) -> None:
    """A hundred children leave a hundred orphans each, more than the limit on processes; nothing may be left."""
    program = """
import os, time
for _ in range(100):
    child = os.fork()
    if child == 0:
        for _ in range(100):
            if os.fork() == 0:
                os._exit(0)
        os._exit(0)
    os.waitpid(child, 0)
def processes():
    return sorted(filter(str.isdecimal, os.listdir("/proc")))
deadline = time.monotonic() + 20
while len(processes()) > 2 and time.monotonic() < deadline:
    time.sleep(0.01)
print(os.getpid(), os.getppid(), processes())
"""
    done = cli("run", "--init", "host", "/usr/bin/python3", "-I", "-S", "-c", program)
    assert (done.stdout, done.stderr) == ("2 1 ['1', '2']\n", "")


def test_nonsense_is_refused(cli: Cli, rootfs: Path) -> None:
    assert refused(cli("run", "--pid", "sometimes", "--rootfs", str(rootfs), "true"), "--pid=sometimes")
