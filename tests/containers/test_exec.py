"""`cloche exec`: one more process in a running container, with everything that holds the container."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloche.linux.capabilities import names
from tests.integration.background import PATIENCE, gone, members, refused, running
from tests.integration.terminal import Emulator

if TYPE_CHECKING:
    from tests.conftest import Cli
    from tests.integration.background import Running

ALL = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
LIST = "for n in cgroup ipc mnt net pid user uts; do stat -L -c %i /proc/self/ns/$n; done"
STATUS = "grep -E '^(Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp|Seccomp_filters|Uid|Gid|Groups):' /proc/self/status"
MORE = "cat /proc/self/cgroup; cat /proc/self/oom_score_adj; umask; ulimit -n; id"
ROUNDS = int(os.environ.get("CLOCHE_SOAK", "100"))
CODES = (
    (("sh", "-c", "exit 7"), 7),
    (("true",), 0),
    (("no-such-command",), 127),
    (("/no/such/command",), 127),
    (("/etc/passwd",), 126),
    (("/etc",), 126),
    (("",), 127),
    (("sh", "-c", "kill -9 $$"), 137),
    (("sh", "-c", "kill -15 $$"), 143),
)


def records(cli: Cli) -> list[str]:
    """The names of the records of `exec`."""
    folder = Path(cli.state, "execs")
    return sorted(os.listdir(folder)) if folder.is_dir() else []


def said(done: subprocess.CompletedProcess[str], code: int, *words: str) -> bool:
    """Whether it failed with this code and one sentence that has these words; explains itself when not."""
    assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}{done.stderr}"
    assert done.stderr.startswith("cloche: "), done.stderr
    assert len(done.stderr.splitlines()) <= 2, done.stderr
    assert not done.stdout, done.stdout
    assert [word for word in words if word not in done.stderr] == [], done.stderr
    return True


def until(what: object, patience: float = PATIENCE) -> bool:
    """Whether a condition comes true in time."""
    assert callable(what)
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if what():
            return True
        time.sleep(0.01)
    return False


def test_it_is_in_every_namespace_of_the_container(anyone: Cli, rootfs: Path) -> None:
    script = "echo mine >/dev/shm/file"
    with running(anyone, "--hostname", "walnut", "--rootfs", str(rootfs), script=script) as inside:
        done = anyone("exec", inside.name, "sh", "-c", f"hostname; cat /dev/shm/file; cat /proc/1/comm; {LIST}")
        *names, inodes = done.stdout.split("\n", 3)
        assert names == ["walnut", "mine", "cat"], done.stderr
        assert list(map(int, inodes.split())) == [inside.namespace(kind) for kind in ALL]
        assert inside.answers()


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--cap-drop", "ALL"),
        ("--cap-add", "SYS_ADMIN"),
        ("--security-opt", "seccomp=unconfined"),
        ("--security-opt", "no-new-privileges=false"),
        ("--security-opt", "seccomp-log=off"),
        ("--user", "ann"),
        ("--user", "7:8"),
        ("--privileged",),
        ("--ulimit", "nofile=61:62", "--umask", "0027", "--oom-score-adj", "321"),
        ("--init",),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("kind", ["root", "subuid", "user"])
def test_it_has_the_powers_and_limits_of_the_container(
    root: Cli, rootfs: Path, kind: str, options: tuple[str, ...]
) -> None:
    if kind == "user" and "--user" in options:
        pytest.skip("only as an ordinary user with a range of ids")
    cli = type(root)(kind, root.source, root.python)
    look = f"{STATUS}; {MORE}"
    with running(cli, *options, "--rootfs", str(rootfs), script=look) as inside:
        done = cli("exec", inside.name, "sh", "-c", look)
        assert done.stdout.splitlines() == inside.said, done.stderr
    assert len(inside.said) > 12


def test_it_has_supplementary_groups_of_the_container(root: Cli, rootfs: Path) -> None:
    with running(root, "--group-add", "77", "--user", "ann", "--rootfs", str(rootfs)) as inside:
        assert root("exec", inside.name, "id", "-G").stdout == "1000 10 77\n"
        assert root("exec", "-u", "root", inside.name, "id", "-G").stdout == "0 77\n"


def test_it_has_the_containers_own_filter(root: Cli, rootfs: Path, place: Path) -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
    }
    (place / "profile.json").write_text(json.dumps(profile))
    with running(root, "--security-opt", f"seccomp={place}/profile.json", "--rootfs", str(rootfs)) as inside:
        done = root("exec", inside.name, "mkdir", "/tmp/b")
        assert (done.returncode, "not permitted" in done.stderr) == (1, True), done.stderr


def test_refusals_are_told_at_once(anyone: Cli, rootfs: Path) -> None:
    """Those of the container's first process go to a listener, which those of others have not."""
    with running(anyone, "--rootfs", str(rootfs)) as inside:
        done = anyone("exec", inside.name, "mount", "-t", "tmpfs", "none", "/tmp", timeout=20)
        assert (done.returncode, "not permitted" in done.stderr or "denied" in done.stderr) == (1, True), done.stderr


def test_writing_is_walled_as_in_the_container(root: Cli) -> None:
    with running(root, "host") as inside:
        done = root(
            "exec", inside.name, "sh", "-c", "touch /tmp/x && echo yes; touch /usr/lib/x 2>&1; grep Cap /dev/null"
        )
        assert done.stdout.startswith("yes\n"), done.stderr


def test_privileged_has_all_capabilities_and_no_filter(anyone: Cli, rootfs: Path) -> None:
    with running(anyone, "--cap-drop", "ALL", "--rootfs", str(rootfs)) as inside:
        done = anyone(
            "exec", "--privileged", inside.name, "sh", "-c", f"{STATUS}; mount -t tmpfs none /tmp && echo yes"
        )
        every = inside_capabilities()
        assert f"CapEff:\t{every}" in done.stdout, done.stderr
        assert "Seccomp:\t0" in done.stdout
        assert done.stdout.endswith("yes\n"), done.stderr


def test_privileged_gives_what_there_is_to_give(root: Cli, rootfs: Path) -> None:
    """Without a user namespace that is what the caller has: root's own may be fewer, in a container or a sandbox."""
    fewer = ["setpriv", "--bounding-set", "-sys_boot", "--inh-caps", "-sys_boot"]
    with running(root, "--userns", "host", "--rootfs", str(rootfs)) as inside:
        words = [*fewer, *root.argv, "exec", "--privileged", inside.name, "sh", "-c", STATUS]
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=root._environment, timeout=60)
        found = re.search(r"CapEff:\t(\w+)", done.stdout)
        assert found, done.stderr
        assert "CAP_SYS_ADMIN" in names(int(found[1], 16))
        assert "CAP_SYS_BOOT" not in names(int(found[1], 16))


def inside_capabilities() -> str:
    """All that there are, as /proc/PID/status has them."""
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    return f"{(1 << (last + 1)) - 1:016x}"


def test_the_limit_on_processes_counts_it(root: Cli, rootfs: Path) -> None:
    with running(root, "--pids-limit", "2", "--rootfs", str(rootfs)) as inside:
        done = root("exec", inside.name, "sh", "-c", "true; (true); echo went on")
        assert "went on" not in done.stdout
        assert "fork" in done.stderr
        assert Path(f"/proc/{inside.pid}/cgroup").read_text().count("cloche-") > 0


def test_a_container_without_room_for_one_more_process_says_so(root: Cli, rootfs: Path) -> None:
    with running(root, "--pids-limit", "1", "--rootfs", str(rootfs)) as inside:
        assert root("exec", inside.name, "true").returncode in {0, 126}
        assert inside.answers()


def test_the_limit_on_memory_counts_it(root: Cli, rootfs: Path) -> None:
    with running(root, "-m", "16m", "--memory-swap", "16m", "--rootfs", str(rootfs)) as inside:
        done = root("exec", inside.name, "sh", "-c", "dd if=/dev/zero of=/dev/null bs=64M count=1; echo $?")
        assert done.stdout in {"137\n", ""}, done.stderr
        assert done.stdout or done.returncode == 137
        assert inside.answers()


@pytest.mark.parametrize("way", [(), ("-t",), ("-i",)])
def test_exit_codes_are_passed_on(cli: Cli, rootfs: Path, way: tuple[str, ...]) -> None:
    with running(cli, "--rootfs", str(rootfs)) as inside:
        for command, code in CODES:
            done = cli("exec", *way, inside.name, *command)
            assert done.returncode == code, (command, done.stderr)
        assert inside.answers()
    assert records(cli) == []


def test_variables_and_directory(anyone: Cli, rootfs: Path, place: Path) -> None:
    (place / "file").write_text("# comment\nA=file\nB=file\nHERE\nABSENT\n")
    with running(anyone, "-e", "A=container", "-e", "Z=z", "-w", "/tmp", "--rootfs", str(rootfs)) as inside:
        show = ("sh", "-c", 'echo "$A,$B,$Z,$HERE,$ABSENT,$HOME,$TERM"; pwd')
        assert anyone("exec", inside.name, *show).stdout == "container,,z,,,/root,\n/tmp\n"
        words = ("--env-file", str(place / "file"), "-e", "B=option", "-e", "Z")
        done = anyone("exec", *words, inside.name, *show, env={"HERE": "mine"})
        assert done.stdout == "file,option,,mine,,/root,\n/tmp\n", done.stderr
        assert anyone("exec", "-t", "-w", "/etc", inside.name, *show).stdout == "container,,z,,,/root,xterm\r\n/etc\r\n"
        assert said(anyone("exec", "-e", "=x", inside.name, "true"), 125, "has no name")
        assert said(anyone("exec", "--env-file", "/no/such", inside.name, "true"), 1, "/no/such")
        assert said(anyone("exec", "-w", "/absent", inside.name, "true"), 126, "/absent")
        assert said(anyone("exec", "-w", "/etc/passwd", inside.name, "true"), 126, "/etc/passwd")


@pytest.mark.parametrize(
    ("user", "ids"),
    [
        ("ann", "uid=1000(ann) gid=1000(ann) groups=10(wheel),1000(ann)"),
        ("1000", "uid=1000(ann) gid=1000(ann) groups=10(wheel),1000(ann)"),
        ("ann:wheel", "uid=1000(ann) gid=10(wheel) groups=10(wheel)"),
        ("5:6", "uid=5 gid=6 groups=6"),
        ("5000", "uid=5000 gid=0(root) groups=0(root)"),
        ("0", "uid=0(root) gid=0(root) groups=0(root)"),
        ("root:10", "uid=0(root) gid=10(wheel) groups=10(wheel)"),
    ],
)
@pytest.mark.parametrize("kind", ["root", "subuid"])
def test_users_are_those_of_the_container(root: Cli, rootfs: Path, kind: str, user: str, ids: str) -> None:
    cli = type(root)(kind, root.source, root.python)
    with running(cli, "--rootfs", str(rootfs)) as inside:
        done = cli("exec", "-u", user, inside.name, "sh", "-c", "id; echo $HOME; cat /proc/self/status")
        assert done.stdout.splitlines()[0] == ids, done.stderr
        home = {"0": "/root", "root": "/root", "1000": "/home/ann", "ann": "/home/ann"}.get(user.partition(":")[0], "/")
        assert done.stdout.splitlines()[1] == home
        if not user.startswith(("0", "root")):
            assert "CapEff:\t0000000000000000" in done.stdout


@pytest.mark.parametrize(
    "user", ["nobody-here", "root:nobody-here", "4294967295", "-1", "99999999999", "root:-1", "1e3"]
)
def test_users_that_are_none(root: Cli, rootfs: Path, user: str) -> None:
    with running(root, "--rootfs", str(rootfs)) as inside:
        assert said(root("exec", f"--user={user}", inside.name, "true"), 126, user.removeprefix("root:"))


@pytest.mark.parametrize(
    "spoil",
    [
        "rm /etc/passwd; mkfifo /etc/passwd",
        "rm /etc/passwd; ln -s /proc/self/environ /etc/passwd",
        "rm /etc/passwd; ln -s /dev/zero /etc/passwd",
        "rm /etc/passwd; ln -s passwd /etc/passwd",
        "rm /etc/passwd; mkdir /etc/passwd",
        "head -c 2000000 /dev/zero | sed 's/./:/g' >/etc/passwd",
        "printf 'x:x:0:0\\n:::\\nann\\n\\377\\376:x:1:1:::\\nann:x:-5:99999999999::\\n' >/etc/passwd",
    ],
)
def test_a_hostile_list_of_users_harms_nobody(root: Cli, own_rootfs: Path, spoil: str) -> None:
    (own_rootfs / "bin/mkfifo").symlink_to("busybox")
    with running(root, "--rootfs", f"{own_rootfs}", script=spoil) as inside:
        done = root("exec", "-u", "ann", inside.name, "id", timeout=20)
        assert said(done, 126)
        assert root("exec", inside.name, "true", timeout=20).returncode in {0, 126}


def test_input_and_output_are_passed_whole(anyone: Cli, rootfs: Path) -> None:
    data = os.urandom(3 << 20)
    with running(anyone, "--rootfs", str(rootfs)) as inside:
        child = anyone.popen("exec", "-i", inside.name, "cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert child.communicate(data, 60)[0] == data
        assert child.returncode == 0
        assert anyone("exec", inside.name, "cat", input="not for it").stdout == ""
        done = anyone("exec", inside.name, "sh", "-c", "echo out; echo err >&2")
        assert (done.stdout, done.stderr) == ("out\n", "err\n")


def test_signals_are_passed_on(anyone: Cli, rootfs: Path) -> None:
    with running(anyone, "--rootfs", str(rootfs)) as inside:
        script = "trap 'echo caught; exit 9' TERM; echo ready; while :; do sleep 0.05; done"
        child = anyone.popen("exec", inside.name, "sh", "-c", script, stdout=subprocess.PIPE)
        assert child.stdout
        with child.stdout:
            assert child.stdout.readline() == b"ready\n"
            child.terminate()
            assert child.stdout.readline() == b"caught\n"
            assert child.wait(20) == 9


def processes(inside: Running) -> set[int]:
    """The processes of a container beside its first."""
    return members(inside.namespace("pid")) - {inside.pid}


def test_what_it_runs_ends_with_the_command(anyone: Cli, rootfs: Path) -> None:
    with running(anyone, "--rootfs", str(rootfs)) as inside:
        child = anyone.popen("exec", inside.name, "sleep", "600")
        assert until(lambda: len(processes(inside)) == 1)
        child.kill()
        child.wait(20)
        assert until(lambda: not processes(inside))
        assert inside.answers()
        assert anyone("exec", inside.name, "true").returncode == 0
    assert records(anyone) == []


def test_it_ends_with_the_container(anyone: Cli, rootfs: Path) -> None:
    with running(anyone, "--rootfs", str(rootfs)) as inside:
        entered = anyone.popen("exec", inside.name, "sh", "-c", "echo in; sleep 600", stdout=subprocess.PIPE)
        assert entered.stdout is not None
        with entered.stdout:
            assert entered.stdout.readline() == b"in\n"
            assert inside.front.stdin is not None
            inside.front.stdin.close()
            assert inside.front.wait(20) == 0
            assert entered.wait(20) == 137
    assert records(anyone) == []


def test_what_does_not_run_is_not_entered(anyone: Cli, rootfs: Path) -> None:
    assert said(anyone("exec", "nobody-here", "true"), 1, "No such container: nobody-here")
    with running(anyone, "--rootfs", str(rootfs)) as inside:
        record = next(Path(anyone.state, "containers").glob("*.json"))
        id = json.loads(record.read_text())["id"]
        assert anyone("exec", id[:10], "true").returncode == 0
        assert anyone("exec", id, "true").returncode == 0
    assert said(anyone("exec", inside.name, "true"), 1, f"No such container: {inside.name}")
    assert refused(anyone("--no-such", "exec", inside.name, "true"), "--no-such")
    assert anyone("exec", inside.name).returncode != 0


def test_detached_it_goes_on(anyone: Cli, rootfs: Path) -> None:
    with running(anyone, "--rootfs", str(rootfs)) as inside:
        script = "sleep 0.3; echo done >/dev/shm/file; exec sleep 600"
        done = anyone("exec", "-d", inside.name, "sh", "-c", script)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert until(lambda: anyone("exec", inside.name, "cat", "/dev/shm/file").stdout == "done\n")
        assert len(records(anyone)) == 1
        pid = processes(inside).pop()
        keeper = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        open_there = {os.readlink(path) for path in Path(f"/proc/{keeper}/fd").iterdir()}
        assert {path.partition(":")[0] for path in open_there} <= {"/dev/null", "anon_inode", "socket"}, open_there
        os.kill(pid, signal.SIGKILL)
        assert until(lambda: not os.path.exists(f"/proc/{pid}")), "nobody has waited for it"
        assert until(lambda: records(anyone) == [])
        assert inside.answers()


def test_detached_it_ends_with_the_container(anyone: Cli, rootfs: Path) -> None:
    with running(anyone, "--rootfs", str(rootfs)) as inside:
        assert anyone("exec", "-dt", inside.name, "sleep", "600").returncode == 0
        pid = processes(inside).pop()
    assert gone(pid)
    assert until(lambda: records(anyone) == [])


@pytest.mark.parametrize(("command", "code"), [("no-such-command", 127), ("/etc/passwd", 126)])
def test_detached_what_cannot_be_started_is_said(cli: Cli, rootfs: Path, command: str, code: int) -> None:
    with running(cli, "--rootfs", str(rootfs)) as inside:
        assert said(cli("exec", "-d", inside.name, command), code, command)
        assert said(cli("exec", "-d", "-w", "/absent", inside.name, "true"), 126, "/absent")
        assert said(cli("exec", "-d", "-u", "nobody-here", inside.name, "true"), 126, "nobody-here")
    assert until(lambda: records(cli) == [])


def test_detached_it_outlives_its_keeper(cli: Cli, rootfs: Path) -> None:
    with running(cli, "--rootfs", str(rootfs)) as inside:
        assert cli("exec", "-d", inside.name, "sleep", "600").returncode == 0
        pid = processes(inside).pop()
        keeper = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        assert Path(f"/proc/{keeper}/comm").read_text() == "cloche exec\n"
        os.kill(keeper, signal.SIGKILL)
        assert gone(keeper)
        assert cli("exec", inside.name, "kill", "-0", "1").returncode == 0
        assert os.path.exists(f"/proc/{pid}")
        assert len(records(cli)) == 1
    assert gone(pid)
    with running(cli, "--rootfs", str(rootfs)) as inside:
        assert cli("exec", inside.name, "true").returncode == 0
    assert records(cli) == []


@pytest.mark.parametrize("point", ["exec recorded", "Clone", "FindUser", "SetCapabilities", "Outlive", "Execute"])
@pytest.mark.parametrize("way", [(), ("-d",)])
def test_killed_on_the_way_it_leaves_nothing(cli: Cli, rootfs: Path, point: str, way: tuple[str, ...]) -> None:
    with running(cli, "--rootfs", str(rootfs)) as inside:
        cli("exec", *way, inside.name, "sleep", "0.1", env={"CLOCHE_FAILPOINT": f"{point}:kill"}, timeout=20)
        assert until(lambda: not processes(inside)), point
        assert cli("exec", inside.name, "true").returncode == 0
        assert records(cli) == []
        assert inside.answers()


def test_a_terminal_of_its_own(anyone: Cli, rootfs: Path) -> None:
    with (
        running(anyone, "--rootfs", str(rootfs)) as inside,
        Emulator.of(anyone, "exec", "-it", inside.name, "sh", size=(31, 91), PS1="$ ") as screen,
    ):
        screen.type("stty size; tty; ps | grep -c sh\r")
        screen.until("31 91")
        screen.until("/dev/pts/")
        assert screen.raw()
        screen.resize(40, 100)
        screen.type("\rstty size\r")
        screen.until("40 100")
        screen.type("exit 5\r")
        assert screen.ended() == 5
        assert screen.attributes() == screen.before


def test_a_terminal_that_is_none(anyone: Cli, rootfs: Path) -> None:
    with running(anyone, "--rootfs", str(rootfs)) as inside:
        assert said(anyone("exec", "-it", inside.name, "true"), 1, "the input device is not a TTY")
        assert anyone("exec", "-t", inside.name, "tty").stdout.startswith("/dev/pts/")


@pytest.mark.parametrize(("option", "typed"), [((), "\x10\x11"), (("--detach-keys", "ctrl-x,q"), "\x18q")])
def test_keys_leave_it_running(cli: Cli, rootfs: Path, option: tuple[str, ...], typed: str) -> None:
    with running(cli, "--rootfs", str(rootfs)) as inside:
        script = "echo ready; read line; echo got $line; while :; do echo filling; done | head -c 300000; "
        script += "touch /tmp/end; sleep 600"
        with Emulator.of(cli, "exec", "-it", *option, inside.name, "sh", "-c", script) as screen:
            screen.until("ready")
            screen.type("\x10abc\r")
            screen.until("got")
            screen.type(typed)
            assert screen.ended() == 0
            assert screen.attributes() == screen.before
        assert until(lambda: cli("exec", inside.name, "ls", "/tmp/end").returncode == 0), "its output was not taken"
        assert len(records(cli)) == 1
        assert inside.answers()
    assert until(lambda: records(cli) == [])


def test_keys_that_are_none(cli: Cli, rootfs: Path) -> None:
    with running(cli, "--rootfs", str(rootfs)) as inside:
        assert said(cli("exec", "--detach-keys", "foo", inside.name, "true"), 1, "foo", "is not a key")


def test_a_killed_command_gives_the_terminal_back_and_hangs_up(cli: Cli, rootfs: Path) -> None:
    with running(cli, "--rootfs", str(rootfs)) as inside:
        with Emulator.of(cli, "exec", "-it", inside.name, "sh", "-c", "echo ready; sleep 600") as screen:
            screen.until("ready")
            assert screen.raw()
            os.kill(screen.pid, signal.SIGKILL)
            screen.ended()
            assert until(lambda: screen.attributes() == screen.before)
        assert until(lambda: not processes(inside))
    assert until(lambda: records(cli) == [])


@pytest.mark.parametrize(
    ("options", "where"),
    [
        (("--userns", "host"), "/run/cloche/interpreters/."),
        (("--userns", "host", "--cap-add", "LINUX_IMMUTABLE"), "/memfd:cloche-stage"),
        ((), "/usr/bin/python3"),  # of a user who is nobody in there
    ],
)
@pytest.mark.parametrize("way", [(), ("-d",)])
def test_who_has_the_hosts_users_cannot_write_the_interpreter(
    root: Cli, rootfs: Path, options: tuple[str, ...], where: str, way: tuple[str, ...]
) -> None:
    """CVE-2019-5736: what /proc/PID/exe of the entering process leads to."""
    with running(root, *options, "--rootfs", str(rootfs)) as inside:
        slow = {"CLOCHE_FAILPOINT": "FindUser:sleep"}
        child = root.popen("exec", *way, inside.name, "true", env=slow)
        assert until(lambda: len(processes(inside)) == 1)
        path = os.readlink(f"/proc/{processes(inside).pop()}/exe")
        assert child.wait(20) == 0
    assert path.startswith(os.path.realpath(where) if where.startswith("/usr") else where)


def test_many_in_a_row_leave_nothing(cli: Cli, rootfs: Path) -> None:
    """A hundred, or as many as CLOCHE_SOAK says: no process, zombie, record, descriptor or group."""
    with running(cli, "--rootfs", str(rootfs)) as inside:
        assert cli("exec", inside.name, "true").returncode == 0
        before = _left(inside)
        for round in range(ROUNDS):
            way = (("exec",), ("exec", "-d"), ("exec", "-t"))[round % 3]
            assert cli(*way, inside.name, "true").returncode == 0
        assert until(lambda: _left(inside) == before), (_left(inside), before)
        assert until(lambda: records(cli) == [])
        assert inside.answers()


def _left(inside: Running) -> dict[str, object]:
    groups = [line.split(":", 2)[2] for line in Path(f"/proc/{inside.pid}/cgroup").read_text().splitlines()]
    return {
        "processes": sorted(members(inside.namespace("pid"))),
        "descriptors": len(os.listdir(f"/proc/{inside.pid}/fd")),
        "groups": groups,
        "zombies": [pid for pid in filter(str.isdecimal, os.listdir("/proc")) if _is_ours_and_dead(int(pid))],
    }


def _is_ours_and_dead(pid: int) -> bool:
    try:
        name, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    except OSError:
        return False
    state, parent = rest.split()[:2]
    return "cloche exec" in name and state == "Z" and parent != "1"  # the machine's first process may be slow


def test_a_kept_container_is_entered_as_long_as_it_runs(anyone: Cli, rootfs: Path) -> None:
    """One of the supervisor's: its pid, pauses, and its end."""
    name = f"k-{os.urandom(4).hex()}"
    done = anyone("run", "-d", "--name", name, "-e", "A=b", "--rootfs", str(rootfs), "sleep", "600")
    assert done.returncode == 0, done.stderr
    try:
        done = anyone("exec", name, "sh", "-c", "echo $A; cat /proc/1/comm")
        assert done.stdout == "b\nsleep\n", done.stderr
        id = anyone("ps", "-q", "--no-trunc", "--filter", f"name={name}").stdout.strip()
        assert anyone("exec", id[:9], "true").returncode == 0
        assert anyone("exec", "-d", name, "sleep", "600").returncode == 0
        ids = json.loads(anyone("inspect", "-f", "{{json .ExecIDs}}", name).stdout)
        assert [f"{id}.{ids[0]}" for id in [anyone("inspect", "-f", "{{.Id}}", name).stdout.strip()]] == records(anyone)
        assert anyone("stop", "-t", "0", name).returncode == 0
        assert until(lambda: records(anyone) == [])
        assert said(anyone("exec", name, "true"), 1, "is not running", "cloche start")
        assert anyone("start", name).returncode == 0
        assert anyone("exec", name, "true").returncode == 0
    finally:
        anyone("rm", "-f", name)
    assert said(anyone("exec", name, "true"), 1, "No such container")


def test_a_paused_container_is_not_entered(root: Cli, rootfs: Path) -> None:
    name = f"k-{os.urandom(4).hex()}"
    assert root("run", "-d", "--name", name, "--rootfs", str(rootfs), "sleep", "600").returncode == 0
    try:
        assert root("pause", name).returncode == 0
        done = root("exec", name, "true", timeout=20)
        assert said(done, 1, f"container {name} is paused, unpause the container before exec")
        assert root("unpause", name).returncode == 0
        assert root("exec", name, "true", timeout=20).returncode == 0
    finally:
        root("rm", "-f", name)
