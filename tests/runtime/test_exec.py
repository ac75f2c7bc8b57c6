"""`exec`: another process in a container that is there."""

from __future__ import annotations

import array
import json
import os
import select
import signal
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.runtime.conftest import OURS, POLITE, PYTHON, SLEEP, alive, cgroups, processes_of, wait_until
from tests.runtime.looking import only_cloche, user_namespace

if TYPE_CHECKING:
    from tests.runtime.conftest import Bundle, MakeBundle, Reaper, Runtime


@pytest.fixture
def id(runtime: Runtime, bundle: MakeBundle) -> str:
    """A running container."""
    return runtime.running(bundle(*SLEEP))


def test_its_output_and_exit_code_are_passed_on(runtime: Runtime, id: str) -> None:
    done = runtime.exec(id, "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")


@pytest.mark.parametrize("code", [0, 1, 126, 127, 254, 255])
def test_every_exit_code(runtime: Runtime, id: str, code: int) -> None:
    assert runtime.exec(id, "sh", "-c", f"exit {code}").returncode == code


def test_ended_by_a_signal(runtime: Runtime, id: str) -> None:
    assert runtime.exec(id, "sh", "-c", "kill -TERM $$").returncode == 128 + 15


def test_standard_input(runtime: Runtime, id: str) -> None:
    data = os.urandom(1 << 19).hex()
    assert runtime.exec(id, "cat", input=data).stdout == data


def test_options_of_the_command_are_its_own(runtime: Runtime, id: str) -> None:
    assert runtime.exec(id, "echo", "-e", "--cwd", "--", "-u").stdout == "--cwd -- -u\n"
    assert runtime("exec", "--", id, "echo", "-u").stdout == "-u\n"


def test_the_command_may_be_set_off(runtime: Runtime, id: str) -> None:
    # runc-exec(8): "runc exec [option ...] container-id [--] command [arg ...]"
    runtime.not_like("runc", "crun", because="takes -- for the command, runc against its manual")
    assert runtime.exec(id, "--", "echo", "one").stdout == "one\n"


def test_it_is_in_every_namespace_of_the_container(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle(*SLEEP)
    made.linux["namespaces"].append({"type": "cgroup"})
    id = runtime.running(made)
    kinds = ("pid", "net", "ipc", "uts", "mnt", "cgroup", "user")
    inside = runtime.exec(id, "sh", "-c", "".join(f"readlink /proc/self/ns/{kind};" for kind in kinds)).stdout.split()
    assert inside == [os.readlink(f"/proc/{runtime.pid(id)}/ns/{kind}") for kind in kinds]


def test_it_is_in_the_cgroups_of_the_container(runtime: Runtime, id: str) -> None:
    runtime.detached("exec", "-d", "--pid-file", str(runtime.top / "pid"), id, *SLEEP, name="exec")
    pid = int((runtime.top / "pid").read_text())
    assert cgroups(pid) == cgroups(runtime.pid(id))


def test_it_is_as_confined_as_the_container(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle(*SLEEP)
    made.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
    }
    made.process["oomScoreAdj"] = 321
    id = runtime.running(made)
    script = "cat /proc/self/status /proc/self/oom_score_adj; ulimit -n; mkdir /tmp/a"
    done = runtime.exec(id, "sh", "-c", script)
    words = dict(line.split(":\t", 1) for line in done.stdout.splitlines() if ":\t" in line)
    assert words["Seccomp"] == "2"
    if runtime.name != "crun":  # 1.8 does this and the last of all for the first process only
        assert words["NoNewPrivs"] == "1"
    assert {words[name] for name in ("CapPrm", "CapEff", "CapBnd")} == {"0000000020000420"}
    assert "not permitted" in done.stderr
    if runtime.name != "crun":
        assert done.stdout.splitlines()[-2:] == ["321", "1024"]


@pytest.mark.parametrize("flag", ["--env", "-e"])
def test_the_environment_is_the_containers_and_more(runtime: Runtime, bundle: MakeBundle, flag: str) -> None:
    runtime.not_like("crun", because="1.8 takes the configuration's variables only if none is given")
    made = bundle(*SLEEP)
    made.process["env"] = ["PATH=/bin:/opt", "KEPT=1", "CHANGED=1"]
    id = runtime.running(made)
    flags = (flag, "CHANGED=2", flag, "ADDED=a b=c", flag, "LAST=")
    lines = runtime.exec(id, "env", flags=flags, env={"SECRET": "x"}).stdout.splitlines()
    expected = {"PATH=/bin:/opt", "KEPT=1", "CHANGED=2", "ADDED=a b=c", "LAST=", "HOME=/root"}
    assert set(lines) == expected
    assert len(lines) == len(expected)


def test_the_program_is_looked_up_in_the_path(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle(*SLEEP)
    (made.rootfs / "opt").mkdir()
    (made.rootfs / "opt/mine").write_text("#!/bin/sh\necho mine\n")
    (made.rootfs / "opt/mine").chmod(0o755)
    made.process["env"] = ["PATH=/bin:/opt"]
    assert runtime.exec(runtime.running(made), "mine").stdout == "mine\n"


@pytest.mark.parametrize("flag", ["--user", "-u"])
@pytest.mark.parametrize(("word", "expected"), [("1000", "1000 0"), ("1000:1001", "1000 1001"), ("0:0", "0 0")])
def test_another_user(runtime: Runtime, id: str, flag: str, word: str, expected: str) -> None:
    assert runtime.exec(id, "sh", "-c", "echo $(id -u) $(id -g)", flags=(flag, word)).stdout == f"{expected}\n"


def test_another_user_keeps_what_is_not_named(runtime: Runtime, bundle: MakeBundle) -> None:
    runtime.not_like("crun", because="1.8 gives it the group 0 and no others")
    made = bundle(*SLEEP)
    made.process["user"] = {"uid": 0, "gid": 5, "additionalGids": [7, 8], "umask": 0o77}
    id = runtime.running(made)
    assert runtime.exec(id, "id", "-G", flags=("-u", "1000")).stdout == "5 7 8\n"
    assert runtime.exec(id, "id", "-G", flags=("-u", "1000:6")).stdout == "6 7 8\n"
    assert runtime.exec(id, "id", "-G", flags=("-u", "1000:6", "-g", "9")).stdout == "6 7 8 9\n"
    runtime.not_like("runc", because="1.1 keeps no umask either way")
    assert runtime.exec(id, "sh", "-c", "umask", flags=("-u", "1000")).stdout == "0077\n"


def test_a_user_that_the_container_has_not(runtime: Runtime, bundle: MakeBundle) -> None:
    made = user_namespace(bundle(*SLEEP), size=10)
    id = runtime.running(made)
    for word, name in (("1000", "uid"), ("0:1000", "gid")):
        done = runtime.exec(id, "true", flags=("-u", word))
        assert done.returncode != 0
        if runtime.name == "cloche-runtime":
            assert done.stderr == f"cloche-runtime: /process/user/{name}: 1000 is not in /linux/{name}Mappings\n"


def test_home_is_that_of_the_user(runtime: Runtime, id: str) -> None:
    assert runtime.exec(id, "sh", "-c", "echo $HOME", flags=("-u", "1000")).stdout == "/home/ann\n"


def test_home_is_that_of_the_user_where_it_is_empty_or_the_document_has_no_environment(
    runtime: Runtime, id: str, place: Path
) -> None:
    runtime.not_like("crun", because="leaves it empty, or out")
    assert runtime.exec(id, "sh", "-c", "echo $HOME", flags=("-e", "HOME=")).stdout == "/root\n"
    (place / "process").write_text(json.dumps({"args": ["/bin/sh", "-c", "echo $HOME"], "cwd": "/"}))
    assert runtime.ok("exec", "-p", str(place / "process"), id) == "/root\n"


@pytest.mark.parametrize("word", ["ann", "-1", "1000:x", "1:2:3", "4294967296"])
def test_a_user_that_is_no_number_is_refused(runtime: Runtime, id: str, word: str) -> None:
    if word in {"1:2:3", "1000:x", "4294967296", "-1"}:
        runtime.not_like("crun", "runc", because="does not look at all of it")
    done = runtime.exec(id, "true", flags=(f"--user={word}",))
    assert done.returncode != 0
    assert done.stderr


@pytest.mark.parametrize("flag", ["--additional-gids", "-g"])
def test_more_groups(runtime: Runtime, id: str, flag: str) -> None:
    runtime.not_like("crun", because="1.8 does not know --additional-gids")
    done = runtime.exec(id, "id", "-G", flags=(flag, "10", flag, "4242"))
    assert done.stdout.split() == ["0", "10", "4242"], done.stderr


@pytest.mark.parametrize("path", ["/tmp", "/etc"])
def test_another_directory(runtime: Runtime, id: str, path: str) -> None:
    assert runtime.exec(id, "pwd", flags=("--cwd", path)).stdout == f"{path}\n"


def test_the_directory_is_the_containers_unless_told(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle(*SLEEP)
    runtime.not_like("crun", because="1.8 begins in /")
    made.process["cwd"] = "/var"
    assert runtime.exec(runtime.running(made), "pwd").stdout == "/var\n"


def capabilities(text: str) -> dict[str, int]:
    return {line.split()[0][:-1]: int(line.split()[1], 16) for line in text.splitlines() if line.startswith("Cap")}


@pytest.mark.parametrize("flag", ["--cap", "-c"])
def test_another_capability(runtime: Runtime, id: str, flag: str) -> None:
    plain = capabilities(runtime.exec(id, "cat", "/proc/self/status").stdout)
    more = capabilities(runtime.exec(id, "cat", "/proc/self/status", flags=(flag, "CAP_NET_ADMIN")).stdout)
    bit = 1 << 12
    assert {name: plain[name] & bit for name in plain} == dict.fromkeys(plain, 0)
    assert {name for name in more if more[name] & bit} >= {"CapBnd", "CapEff", "CapPrm"}
    runtime.not_like("crun", because="1.8 replaces the others")
    assert more["CapEff"] == plain["CapEff"] | bit


def test_a_capability_that_nobody_knows(runtime: Runtime, id: str) -> None:
    # runc and crun warn; config.md, capabilities: "Any value which cannot be mapped ... MUST be logged as a warning"
    runtime.not_like("crun", because="says nothing")
    done = runtime.exec(id, "true", flags=("--cap", "CAP_NOWHERE"))
    assert "CAP_NOWHERE" in done.stderr


def test_no_new_privileges(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle(*SLEEP)
    made.process["noNewPrivileges"] = False
    id = runtime.running(made)
    assert runtime.exec(id, "grep", "NoNewPrivs", "/proc/self/status").stdout.split() == ["NoNewPrivs:", "0"]
    done = runtime.exec(id, "grep", "NoNewPrivs", "/proc/self/status", flags=("--no-new-privs",))
    assert done.stdout.split() == ["NoNewPrivs:", "1"]


def process(bundle: Bundle, *args: str, **more: Any) -> str:
    path = bundle.path / "process.json"
    path.write_text(json.dumps({"args": list(args), "cwd": "/", "user": {"uid": 0, "gid": 0}, **more}))
    return str(path)


@pytest.mark.parametrize("flag", ["--process", "-p"])
def test_a_process_from_a_file(runtime: Runtime, bundle: MakeBundle, flag: str) -> None:
    made = bundle(*SLEEP)
    id = runtime.running(made)
    path = process(
        made,
        "sh",
        "-c",
        "env | sort; id -u; id -g; id -G; pwd; ulimit -n; grep -E 'CapEff|NoNew' /proc/self/status",
        env=["PATH=/bin", "ONLY=1"],
        cwd="/etc",
        user={"uid": 1000, "gid": 1001, "additionalGids": [10]},
        rlimits=[{"type": "RLIMIT_NOFILE", "hard": 77, "soft": 66}],
        noNewPrivileges=True,
    )
    done = runtime("exec", flag, path, id)
    lines = [line for line in done.stdout.splitlines() if not line.startswith(("SHLVL", "PWD", "OLDPWD"))]
    expected = ["HOME=/home/ann", "ONLY=1", "PATH=/bin", "1000", "1001", "1001 10", "/etc", "66"]
    assert lines == [*expected, "CapEff:\t0000000000000000", "NoNewPrivs:\t1"], done.stderr


def test_the_mask_of_a_process_from_a_file(runtime: Runtime, bundle: MakeBundle) -> None:
    # config.md, User: "umask (int, OPTIONAL) specifies the umask of the user"
    runtime.not_like("runc", because="1.1 does so for the first process only")
    made = bundle(*SLEEP)
    id = runtime.running(made)
    path = process(made, "sh", "-c", "umask", env=["PATH=/bin"], user={"uid": 0, "gid": 0, "umask": 0o27})
    assert runtime("exec", "-p", path, id).stdout == "0027\n"


def test_a_process_file_that_is_not_there(runtime: Runtime, id: str) -> None:
    done = runtime("exec", "--process", "/nowhere/process.json", id)
    assert done.returncode != 0
    assert "/nowhere/process.json" in done.stderr


def test_detached(runtime: Runtime, id: str) -> None:
    pid_file = runtime.top / "pid"
    done = runtime.detached("exec", "-d", "--pid-file", str(pid_file), id, *POLITE, name="exec")
    assert done.returncode == 0, done.stderr
    pid = int(pid_file.read_text())
    assert alive(pid)
    assert os.readlink(f"/proc/{pid}/ns/mnt") == os.readlink(f"/proc/{runtime.pid(id)}/ns/mnt")
    wait_until(lambda: (runtime.top / "exec.out").read_text() == "ready\n", "it is not ready")
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not alive(pid), "it goes on")


def test_a_detached_process_becomes_the_subreapers(runtime: Runtime, id: str, reaper: Reaper) -> None:
    # what conmon and containerd's shim need, who are subreapers: they wait for the exit code themselves
    pid_file = runtime.top / "pid"
    words = ("exec", "-d", "--pid-file", str(pid_file), id, "sh", "-c", "sleep 0.2; exit 9")
    with reaper.resting:
        done = runtime.detached(*words, name="exec")
        assert done.returncode == 0, done.stderr
        _, status = os.waitpid(int(pid_file.read_text()), 0)
    assert os.waitstatus_to_exitcode(status) == 9


def test_the_pid_file_is_relative_to_the_caller(runtime: Runtime, id: str, place: Path) -> None:
    (place / "there").mkdir()
    done = runtime.exec(id, "true", flags=("--pid-file", "pid"), cwd=place / "there")
    assert done.returncode == 0, done.stderr
    assert (place / "there/pid").read_text().isdecimal()


def test_descriptors_are_handed_down(runtime: Runtime, id: str, place: Path) -> None:
    (place / "file").write_text("content\n")
    runtime.prefix = ["sh", "-c", f'exec "$@" 3<{place}/file 4<{place}/file', "sh"]
    done = runtime.exec(id, "sh", "-c", "cat <&3; ls /proc/self/fd", flags=("--preserve-fds", "1"))
    runtime.prefix = []
    assert done.stdout.split() == ["content", "0", "1", "2", "3", "4"], done.stderr  # 4: what ls opens


def test_no_descriptor_is_handed_down_unasked(runtime: Runtime, id: str, place: Path) -> None:
    (place / "file").write_text("content\n")
    runtime.prefix = ["sh", "-c", f'exec "$@" 3<{place}/file 7<{place}/file', "sh"]
    done = runtime.exec(id, "sh", "-c", "ls /proc/self/fd")
    runtime.prefix = []
    assert done.stdout.split() == ["0", "1", "2", "3"], done.stderr


def test_nobody_is_255(runtime: Runtime) -> None:
    # runc-exec(8): "Exits with a status of command (unless -d is used), or 255 if an error occurred."
    done = runtime.exec("nobody", "true")
    assert done.returncode == (1 if runtime.name == "crun" else 255)
    assert done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["--bogus", "ID", "true"],
        ["--cwd"],
        [],
        ["ID", "--bogus"],
        ["--user", "ann", "ID", "true"],
        ["--user", "9" * 5000, "ID", "true"],
        ["--process", "/nowhere/file", "ID"],
        ["--env", "=", "ID", "true"],
        ["--additional-gids", "x", "ID", "true"],
        ["--preserve-fds", "x", "ID", "true"],
        ["--preserve-fds", "99", "ID", "true"],
        ["--pid-file", "/nowhere/pid", "ID", "true"],
        ["--pidfd-socket", "/nowhere/socket", "ID", "true"],
        ["--tty", "--detach", "ID", "true"],
        ["--cwd", "relative", "ID", "true"],
        ["--cwd", "/etc/passwd", "ID", "true"],
        ["--apparmor", "some", "ID", "true"],
    ],
)
def test_every_error_of_its_own_is_255(runtime: Runtime, id: str, place: Path, words: list[str]) -> None:
    only_cloche(runtime, "one line for every error")
    before = processes_of(id)
    done = runtime("exec", *[id if word == "ID" else word for word in words])
    assert (done.returncode, done.stdout) == (255, ""), done.stderr
    assert done.stderr.count("\n") == 1
    wait_until(lambda: processes_of(id) == before, "a process goes on")
    assert list(place.glob("*pid*")) == []


def test_a_process_that_is_none_is_255(runtime: Runtime, id: str, place: Path) -> None:
    only_cloche(runtime, "one line for every error")
    before = processes_of(id)
    for text in ("", "{", "[]", '{"args": ["true"]}', '{"args": [1], "cwd": "/"}'):
        (place / "FILE").write_text(text)
        done = runtime("exec", "--process", str(place / "FILE"), id)
        assert (done.returncode, done.stdout) == (255, ""), (text, done.stderr)
        assert done.stderr.count("\n") == 1
        assert "--process" in done.stderr
    wait_until(lambda: processes_of(id) == before, "a process goes on")


def test_a_command_that_is_not_there(runtime: Runtime, id: str) -> None:
    done = runtime.exec(id, "nosuchprogram")
    assert done.returncode == 255
    assert "nosuchprogram" in done.stderr
    # what docker looks for to make it exit code 127
    assert "executable file" in done.stderr
    assert "not found" in done.stderr
    assert "in $PATH" in done.stderr


def test_a_command_that_is_not_executable(runtime: Runtime, id: str) -> None:
    done = runtime.exec(id, "/etc/passwd")
    assert done.returncode == 255
    # what docker looks for to make it exit code 126
    assert "permission denied" in done.stderr.lower()


def test_a_directory_that_is_not_there(runtime: Runtime, id: str) -> None:
    done = runtime.exec(id, "pwd", flags=("--cwd", "/nowhere"))
    assert done.returncode == 255
    assert "/nowhere" in done.stderr


def test_no_command(runtime: Runtime, id: str) -> None:
    done = runtime.exec(id)
    assert done.returncode != 0
    assert done.stderr


def test_a_created_container_can_be_looked_into(runtime: Runtime, bundle: MakeBundle) -> None:
    # runc and crun both allow it
    id = runtime.create(bundle("true"))
    assert runtime.exec(id, "hostname").stdout == "inside\n"
    assert runtime.status(id) == "created"


def test_a_stopped_container_cannot(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.running(bundle("true"))
    runtime.wait(id)
    done = runtime.exec(id, "true")
    assert done.returncode == (1 if runtime.name == "crun" else 255)
    assert done.stderr


def test_a_paused_container_is_refused_at_once(runtime: Runtime, id: str) -> None:
    runtime.ok("pause", id)
    done = runtime.exec(id, "true", timeout=10)
    assert done.returncode == (1 if runtime.name == "crun" else 255)
    assert "paused" in done.stderr


def test_a_paused_container_can_be_waited_for(runtime: Runtime, id: str) -> None:
    # runc-exec(8): "A paused container needs to be resumed for the exec to complete."
    runtime.not_like("crun", because="does not know --ignore-paused")
    runtime.ok("pause", id)
    child = runtime.popen("exec", "--ignore-paused", id, "echo", "late", stdout=subprocess.PIPE)
    assert child.stdout
    assert not select.select([child.stdout], [], [], 0.3)[0]
    runtime.ok("resume", id)
    assert child.stdout.read() == b"late\n"
    assert child.wait(20) == 0


def test_a_cgroup_below_the_containers(runtime: Runtime, id: str) -> None:
    tops = {name: path for name, path in cgroups(runtime.pid(id)).items() if OURS in path.name}
    for path in set(tops.values()):
        (path / "below").mkdir()
        for name in ("cpuset.cpus", "cpuset.mems"):  # without which nobody can be in a cpuset of v1
            if (path / name).exists() and not (path / "cgroup.controllers").exists():
                (path / "below" / name).write_text((path / name).read_text())
    pid_file = runtime.top / "pid"
    words = ("exec", "--cgroup", "below", "-d", "--pid-file", str(pid_file), id, *SLEEP)
    done = runtime.detached(*words, name="exec")
    assert done.returncode == 0, done.stderr
    inside = cgroups(int(pid_file.read_text()))
    assert {inside[name] for name in tops if name} == {tops[name] / "below" for name in tops if name}


def test_a_cgroup_below_for_some_controllers(runtime: Runtime, id: str) -> None:
    # runc-exec(8): "--cgroup [controller:]path", for "a few controllers" with commas, and more than once
    runtime.not_like("crun", because="knows no controllers there")
    tops = {name: path for name, path in cgroups(runtime.pid(id)).items() if OURS in path.name}
    if not {"pids", "devices", "freezer"} <= tops.keys():
        pytest.skip("needs controllers of v1")
    for name in ("pids", "devices", "freezer"):
        (tops[name] / "below").mkdir()
    pid_file = runtime.top / "pid"
    words = ("--cgroup", "pids,freezer:/below", "--cgroup", "devices:below", "-d", "--pid-file", str(pid_file))
    done = runtime.detached("exec", *words, id, *SLEEP, name="exec")
    assert done.returncode == 0, done.stderr
    inside = cgroups(int(pid_file.read_text()))
    assert {name for name, path in inside.items() if path.name == "below"} == {"pids", "devices", "freezer"}
    assert inside["cpu"] == tops["cpu"]


@pytest.mark.parametrize(
    "words",
    [("nobody:/",), (":/",), ("pids:/", "pids:/"), ("pids:/", "/"), ("pids:../..",), ("pids,:/",), ("pids:nowhere",)],
)
def test_cgroups_by_controller_that_cannot_be(runtime: Runtime, id: str, words: tuple[str, ...]) -> None:
    runtime.not_like("crun", because="1.8 does not look")
    if words in {("nobody:/",), (":/",), ("pids:/", "pids:/"), ("pids,:/",)}:
        runtime.not_like("runc", because="1.1.5 does not look at the names")
    done = runtime.exec(id, "true", flags=tuple(word for item in words for word in ("--cgroup", item)))
    assert done.returncode == 255
    assert done.stderr
    if runtime.name == "cloche-runtime":
        assert "--cgroup" in done.stderr


def test_a_cgroup_that_is_not_there(runtime: Runtime, id: str) -> None:
    # runc-exec(8): "If the specified cgroup does not exist, an error is returned."
    runtime.not_like("crun", because="1.8 makes it")
    done = runtime.exec(id, "true", flags=("--cgroup", "nowhere"))
    assert done.returncode != 0
    assert done.stderr


@pytest.mark.parametrize("path", ["../..", "/../..", "below/../../.."])
def test_a_cgroup_outside_of_the_containers(runtime: Runtime, id: str, path: str) -> None:
    runtime.not_like("crun", because="1.8 does not look")
    before = cgroups(runtime.pid(id))
    pid_file = runtime.top / "pid"
    done = runtime.detached("exec", "--cgroup", path, "-d", "--pid-file", str(pid_file), id, *SLEEP, name="exec")
    if done.returncode == 0:  # as good as refusing it: the path ends at the container's own
        assert cgroups(int(pid_file.read_text())) == before


def test_a_pidfd_for_the_caller(runtime: Runtime, id: str) -> None:
    # runc-exec(8) of 1.2: "--pidfd-socket path: Path to an AF_UNIX socket which will receive a file descriptor
    # referencing the exec process."
    runtime.not_like("runc", "crun", because="the versions that are common do not know --pidfd-socket")
    path = runtime.top / "pidfd"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(1)
        listener.settimeout(20)
        child = runtime.popen("exec", "--pidfd-socket", str(path), id, *POLITE, stdout=subprocess.PIPE)
        peer, _ = listener.accept()
        with peer:
            _, control, _, _ = peer.recvmsg(4096, socket.CMSG_SPACE(16))
    fds = array.array("i", control[0][2][:4])
    assert child.stdout
    assert child.stdout.readline() == b"ready\n"
    signal.pidfd_send_signal(fds[0], signal.SIGTERM)
    os.close(fds[0])
    assert child.wait(20) == 3


def test_profiles_of_modules_that_the_host_has_not(runtime: Runtime, id: str) -> None:
    # config.md: apparmorProfile and selinuxLabel; what cannot be enforced must not be taken silently
    if os.path.isdir("/sys/fs/selinux") or os.path.exists("/sys/module/apparmor/parameters/enabled"):
        pytest.skip("needs a host without AppArmor and SELinux")
    runtime.not_like("runc", "crun", because="takes the label and does nothing")
    assert runtime.exec(id, "true", flags=("--apparmor", "some-profile")).returncode != 0
    assert runtime.exec(id, "true", flags=("--process-label", "system_u:system_r:x_t:s0")).returncode != 0


def test_signals_are_handed_on(runtime: Runtime, id: str) -> None:
    child = runtime.popen("exec", id, *POLITE, stdout=subprocess.PIPE)
    assert child.stdout
    assert child.stdout.readline() == b"ready\n"
    child.send_signal(signal.SIGTERM)
    assert child.wait(20) == 3


def test_a_signal_that_comes_at_once_is_handed_on(runtime: Runtime, id: str) -> None:
    child = runtime.popen("exec", id, *POLITE, stdout=subprocess.PIPE, env={"CLOCHE_FAILPOINT": "kept:sleep"})
    assert child.stdout
    assert child.stdout.readline() == b"ready\n"
    child.send_signal(signal.SIGTERM)
    assert child.wait(20) == 3


def test_it_ends_with_the_container(runtime: Runtime, id: str) -> None:
    child = runtime.popen("exec", id, *POLITE, stdout=subprocess.PIPE)
    assert child.stdout
    assert child.stdout.readline() == b"ready\n"
    runtime.kill(id)
    assert child.wait(20) == 128 + 9


def test_the_runtime_cannot_be_reached_through_its_own_process(runtime: Runtime, bundle: MakeBundle) -> None:
    # CVE-2019-5736: what /proc/PID/exe of the entering process leads to must not be a file the container may write
    id = runtime.running(bundle(*PYTHON, "import time; time.sleep(1000)").with_python())
    script = """
import os, glob
for pid in filter(str.isdecimal, os.listdir("/proc")):
    try: fd = os.open(f"/proc/{pid}/exe", os.O_WRONLY)
    except OSError: continue
    print(os.readlink(f"/proc/{pid}/exe"))
"""
    watcher = runtime.popen("exec", id, *PYTHON, f"import time\nwhile True:\n  exec({script!r})\n  time.sleep(.0005)",
                            stdout=subprocess.PIPE)  # fmt: skip
    for _ in range(5):
        runtime.exec(id, "true")
    watcher.kill()
    assert watcher.stdout
    runtime.stop(id)
    assert watcher.stdout.read() == b""
