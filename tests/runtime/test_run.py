"""`run`: create, start, wait and delete in one."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.runtime.conftest import POLITE, PYTHON, SLEEP, alive, groups_of, processes_of, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runtime.conftest import MakeBundle, Runtime


def test_the_command_runs_and_its_exit_code_is_passed_on(runtime: Runtime, bundle: MakeBundle) -> None:
    done = runtime.run(bundle("sh", "-c", "echo out; echo err >&2; exit 7"))
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")


@pytest.mark.parametrize("code", [0, 1, 125, 126, 127, 128, 255])
def test_every_exit_code_is_passed_on(runtime: Runtime, bundle: MakeBundle, code: int) -> None:
    assert runtime.run(bundle("sh", "-c", f"exit {code}")).returncode == code


def test_nothing_is_kept_after_it(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.new_id()
    assert runtime.run(bundle("true"), id=id).returncode == 0
    assert runtime.status(id) == ""
    assert not (runtime.root / id).exists()
    assert groups_of(id) == []


def test_standard_input_is_the_containers(runtime: Runtime, bundle: MakeBundle) -> None:
    data = os.urandom(1 << 20).hex()
    assert runtime.run(bundle("cat"), input=data).stdout == data


def test_what_another_user_may_write_to_its_own_standard_output(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle("sh", "-c", "id -u; echo again >/proc/self/fd/1")
    made.process["user"] = {"uid": 1000, "gid": 1000}
    done = runtime.run(made)
    assert (done.stdout, done.returncode) == ("1000\nagain\n", 0), done.stderr


def running(runtime: Runtime, made_id: str, child: subprocess.Popen[bytes]) -> None:
    """Wait until the command says that it is ready."""
    assert child.stdout
    assert child.stdout.readline() == b"ready\n"
    assert runtime.status(made_id) == "running"


def test_a_command_that_was_killed_gives_128_and_the_signal(runtime: Runtime, bundle: MakeBundle) -> None:
    made, id = bundle(*POLITE).write(), runtime.new_id()
    child = runtime.popen("run", "-b", str(made.path), id, stdout=subprocess.PIPE)
    running(runtime, id, child)
    runtime.kill(id)
    assert child.wait(20) == 128 + 9


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_signals_are_handed_on(runtime: Runtime, bundle: MakeBundle, number: int) -> None:
    if number == signal.SIGTERM:
        made = bundle(*POLITE).write()
    else:
        made = bundle("sh", "-c", f'trap "exit 3" {number}; echo ready; while :; do sleep 0.05; done').write()
    id = runtime.new_id()
    child = runtime.popen("run", "-b", str(made.path), id, stdout=subprocess.PIPE)
    running(runtime, id, child)
    child.send_signal(number)
    assert child.wait(20) == 3
    assert runtime.status(id) == ""


def test_a_signal_that_comes_at_once_is_handed_on(runtime: Runtime, bundle: MakeBundle) -> None:
    made, id = bundle(*POLITE).write(), runtime.new_id()
    env = {"CLOCHE_FAILPOINT": "released:sleep"}
    child = runtime.popen("run", "-b", str(made.path), id, stdout=subprocess.PIPE, env=env)
    assert child.stdout
    assert child.stdout.readline() == b"ready\n"
    child.send_signal(signal.SIGTERM)
    assert child.wait(20) == 3
    assert runtime.status(id) == ""


def test_the_container_is_deleted_with_what_still_runs_in_it(runtime: Runtime, bundle: MakeBundle) -> None:
    made, id = bundle("sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo done").without_namespace("pid"), runtime.new_id()
    runtime.not_like("crun", because="leaves what runs in the host's pid namespace")
    done = runtime.run(made, id=id)
    assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr
    wait_until(lambda: not processes_of(id), "sleep goes on")
    assert groups_of(id) == []


def test_detached_it_returns_while_the_container_runs(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    id = runtime.new_id()
    pid_file = place / "pid"
    done = runtime.try_create(bundle(*POLITE), "-d", "--pid-file", str(pid_file), id=id, verb="run")
    assert done.returncode == 0, done.stderr
    assert runtime.status(id) == "running"
    assert pid_file.read_text() == str(runtime.pid(id))
    wait_until(lambda: runtime.output(id) == "ready\n", "it is not ready")
    runtime.kill(id, "TERM")
    runtime.wait(id)
    runtime.delete(id)


def test_detached_it_stays_as_stopped(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.new_id()
    assert runtime.try_create(bundle("true"), "--detach", id=id, verb="run").returncode == 0
    runtime.wait(id, "stopped")


def test_it_can_be_kept_as_stopped(runtime: Runtime, bundle: MakeBundle) -> None:
    runtime.not_like("crun", because="1.8 does not know --keep")
    id = runtime.new_id()
    assert runtime.run(bundle("sh", "-c", "exit 4"), "--keep", id=id).returncode == 4
    assert runtime.status(id) == "stopped"
    assert groups_of(id)
    runtime.delete(id)
    assert groups_of(id) == []


def test_it_can_do_without_being_a_subreaper(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle("sh", "-c", "(sleep 0.2; echo late) & echo early")
    done = runtime.run(made, "--no-subreaper")
    assert (done.returncode, done.stdout) == (0, "early\n")


def test_the_pid_file_in_the_foreground(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    runtime.not_like("crun", because="1.8 goes to the bundle first")
    made, id = bundle(*POLITE).write(), runtime.new_id()
    words = ("run", "--pid-file", "pid", "-b", str(made.path), id)
    child = runtime.popen(*words, stdout=subprocess.PIPE, cwd=place)
    running(runtime, id, child)
    pid = int((place / "pid").read_text())
    assert pid == runtime.pid(id)
    assert alive(pid)
    child.send_signal(signal.SIGTERM)
    assert child.wait(20) == 3


def test_an_id_that_is_taken_is_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.running(bundle(*SLEEP))
    done = runtime.run(bundle("echo", "second"), id=id)
    assert done.returncode != 0
    assert (done.stdout, bool(done.stderr)) == ("", True)
    assert runtime.status(id) == "running"


def test_a_command_that_is_not_there(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.new_id()
    done = runtime.run(bundle("nosuchprogram"), id=id)
    assert done.returncode != 0
    assert "nosuchprogram" in done.stderr
    assert runtime.status(id) == ""
    assert groups_of(id) == []


@pytest.mark.parametrize(
    ("uid", "env", "home"),
    [
        (0, [], "/root"),
        (1000, [], "/home/ann"),
        (4242, [], "/"),
        (0, ["HOME=/elsewhere"], "/elsewhere"),
        (0, ["HOME="], "/root"),
        (1000, ["HOME=/elsewhere", "HOME="], "/home/ann"),
    ],
)
def test_home_is_taken_from_passwd_unless_given(
    runtime: Runtime, bundle: MakeBundle, uid: int, env: list[str], home: str
) -> None:
    # what runc has always done, and what images rely on
    if uid == 4242 or "HOME=" in env:
        runtime.not_like("crun", because="leaves it out for a user that passwd does not have, or empty")
    made = bundle("sh", "-c", "echo $HOME")
    made.process["user"] = {"uid": uid, "gid": 0}
    made.process["env"] += env
    assert runtime.run(made).stdout == f"{home}\n"


def test_the_environment_is_the_configurations_alone(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle("env")
    made.process["env"] = ["PATH=/bin", "A=1", "EMPTY=", "SPACE=a b", "EQUALS=x=y"]
    text = runtime.run(made, env={"SECRET": "of the host", "LISTEN_PID": "1"}).stdout
    assert sorted(text.splitlines()) == ["A=1", "EMPTY=", "EQUALS=x=y", "HOME=/root", "PATH=/bin", "SPACE=a b"]


def test_the_program_is_looked_up_in_the_containers_path(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle("mine")
    (made.rootfs / "opt").mkdir()
    (made.rootfs / "opt/mine").symlink_to("/bin/hostname")
    (made.rootfs / "opt/mine").unlink()
    (made.rootfs / "opt/mine").write_text("#!/bin/sh\necho mine\n")
    (made.rootfs / "opt/mine").chmod(0o755)
    made.process["env"] = ["PATH=/bin:/opt"]
    assert runtime.run(made).stdout == "mine\n"


def test_the_ready_message_goes_to_the_callers_socket(runtime: Runtime, bundle: MakeBundle) -> None:
    # sd_notify(3); runc's docs/systemd.md and crun: the container finds a NOTIFY_SOCKET that leads to the caller's
    script = "import os, socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); "
    script += "s.sendto(b'READY=1', os.environ['NOTIFY_SOCKET']); import time; time.sleep(1000)"
    made, id, path = bundle(*PYTHON, script).with_python().write(), runtime.new_id(), runtime.top / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(20)
        child = runtime.popen("run", "-b", str(made.path), id, env={"NOTIFY_SOCKET": str(path)})
        received = b""
        while b"READY=1" not in received.split(b"\n"):
            received += listener.recv(4096) + b"\n"
        runtime.kill(id)
        if runtime.name != "crun":  # 1.8 goes on listening
            assert child.wait(20) == 128 + 9


def test_signals_are_as_new(runtime: Runtime, bundle: MakeBundle) -> None:
    # the C library's posix_spawn, with which make starts its commands, ignores the two signals it has for itself
    runtime.not_like("runc", "crun", because="pass on that 32 and 33 are ignored")
    spawn = "pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)"
    start = f"import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); {spawn}; os.waitpid(pid, 0)"
    runtime.prefix = [sys.executable, "-c", start, shutil.which("env") or "env"]
    done = runtime.run(bundle("grep", "-E", "^Sig(Blk|Ign|Cgt)", "/proc/self/status"))
    runtime.prefix = []
    assert done.stdout.split()[1::2] == ["0" * 16] * 3, done
