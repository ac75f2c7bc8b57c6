"""config.json: `process`, from its environment to its scheduler; `linux.sysctl`, `personality`, `memoryPolicy`."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.runtime.conftest import wait_until
from tests.runtime.looking import (
    CAPABILITIES,
    SETS,
    any_device,
    capable,
    mount,
    namespace,
    only_cloche,
    python,
    refused,
    sh,
    since,
    status,
    told,
    user_namespace,
    waiting,
)

if TYPE_CHECKING:
    from tests.runtime.conftest import Bundle, Json, MakeBundle, Runtime

# environment, directory, arguments


def test_the_environment_is_what_it_says(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle("env")
    made.process["env"] = ["PATH=/bin", "A=1", "EMPTY=", "SPACES=a b  c", "EQ=x=y=z", "ÜMLAUT=ä", "HOME=/nowhere"]
    assert set(told(runtime, made).splitlines()) == set(made.process["env"])


def test_nothing_of_the_callers_environment_gets_in(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle("env")
    made.process["env"] = ["PATH=/bin"]
    done = runtime.run(made, env={"CALLER": "secret", "LD_PRELOAD": "", "_CONTAINERS_X": "1"})
    names = {line.partition("=")[0] for line in done.stdout.splitlines()}
    assert names <= {"PATH", "HOME"}


def test_home_comes_from_passwd_where_it_is_not_set(runtime: Runtime, bundle: MakeBundle) -> None:
    """What runc and crun do, and what images rely on."""
    made = bundle("env")
    made.process["user"] = {"uid": 1000, "gid": 1000}
    assert "HOME=/home/ann" in told(runtime, made).splitlines()


def test_the_last_of_two_variables_with_one_name_counts(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.process["env"] += ["X=first", "X=second"]
    since(runtime, runc="1.2", crun="never")
    assert sh(runtime, made, "echo $X").strip() == "second"


def test_a_large_environment(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle("env")
    made.process["env"] = ["PATH=/bin", *(f"V{i}={'x' * 1000}" for i in range(800))]
    assert len(told(runtime, made)) > 800_000


def test_arguments_arrive_as_they_are(runtime: Runtime, bundle: MakeBundle) -> None:
    words = ["a b", "", "*", "$PATH", "'\"\\", "ä€𝄞", "--flag", "\n"]
    made = bundle("sh", "-c", 'for a in "$@"; do printf "%s|" "$a"; done', "sh", *words)
    assert told(runtime, made) == "".join(f"{word}|" for word in words)


def test_the_first_argument_is_found_by_the_containers_path(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle("ours")
    (made.rootfs / "opt/bin").mkdir(parents=True)
    (made.rootfs / "opt/bin/ours").write_text("#!/bin/sh\necho found\n")
    (made.rootfs / "opt/bin/ours").chmod(0o755)
    made.process["env"] = ["PATH=/nowhere:/opt/bin"]
    assert told(runtime, made) == "found\n"


@pytest.mark.parametrize("name", ["nothing-by-this-name", "/bin/absent", "/etc/passwd", "/etc", ""])
def test_what_cannot_be_run_is_an_error(runtime: Runtime, bundle: MakeBundle, name: str) -> None:
    """Where the program is looked for at `create`, that fails; else `start` does. Nothing is left either way."""
    done = runtime.run(bundle(name))
    assert done.returncode not in (0, -11)
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr
    if name and runtime.name == "cloche-runtime":
        assert name in done.stderr


def test_no_arguments_are_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.process["args"] = []
    refused(runtime, made, "/process/args")


def test_the_working_directory(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle("pwd")
    made.process["cwd"] = "/var"
    assert told(runtime, made) == "/var\n"


def test_a_missing_working_directory_is_made(runtime: Runtime, bundle: MakeBundle) -> None:
    """What runc and crun both do, and what images rely on."""
    made = bundle("pwd").writable()
    made.process["cwd"] = "/new/deep"
    assert told(runtime, made) == "/new/deep\n"


def test_a_relative_working_directory_is_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    """ "This value MUST be an absolute path." """
    runtime.not_like("crun", because="takes it from the root, config.md: process.cwd")
    made = bundle("true")
    made.process["cwd"] = "var"
    refused(runtime, made, "/process/cwd")


def test_a_working_directory_that_only_its_user_may_enter(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle("pwd")
    (made.rootfs / "var/private").mkdir(mode=0o700)
    os.chown(made.rootfs / "var/private", 1000, 1000)
    made.process["cwd"], made.process["user"] = "/var/private", {"uid": 1000, "gid": 1000}
    assert told(runtime, made) == "/var/private\n"


def test_annotations_are_in_the_state(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle("sleep", "600")
    made.config["annotations"] = {"org.example.key": "välue", "empty": ""}
    found = runtime.state(runtime.create(made))["annotations"]
    assert {key: found[key] for key in made.config["annotations"]} == made.config["annotations"]


def test_descriptors_are_the_three(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    with open(place, "rb") if place.is_file() else (place / "f").open("w") as leaked:
        done = runtime.run(bundle("ls", "-l", "/proc/self/fd"), pass_fds=[leaked.fileno()])
    names = {line.split()[8] for line in done.stdout.splitlines() if " -> " in line}
    own = {line.split()[8] for line in done.stdout.splitlines() if line.endswith("/fd")}
    assert names - own == {"0", "1", "2"}


# user


@pytest.mark.parametrize(("uid", "gid", "more"), [(0, 0, []), (1000, 1001, [5, 6]), (65534, 65534, [0]), (7, 0, [7])])
def test_the_user(runtime: Runtime, bundle: MakeBundle, uid: int, gid: int, more: list[int]) -> None:
    made = bundle()
    made.process["user"] = {"uid": uid, "gid": gid, "additionalGids": more}
    found = status(waiting(runtime, made))
    assert found["Uid"].split() == [str(uid)] * 4
    assert found["Gid"].split() == [str(gid)] * 4
    assert found["Groups"].split() == [str(m) for m in more]


def test_groups_of_the_caller_do_not_get_in(runtime: Runtime, bundle: MakeBundle) -> None:
    runtime.prefix = ["setpriv", "--groups", "4321,4322", *runtime.prefix]
    found = status(waiting(runtime, bundle()))
    assert found["Groups"].split() == []


@pytest.mark.parametrize(("umask", "expected"), [(0o077, "0077"), (0o002, "0002"), (0, "0000"), (None, "0022")])
def test_the_umask(runtime: Runtime, bundle: MakeBundle, umask: int | None, expected: str) -> None:
    made = bundle()
    if umask is not None:
        made.process["user"]["umask"] = umask
    runtime.prefix = ["sh", "-c", 'umask 0055; exec "$@"', "sh", *runtime.prefix]
    assert status(waiting(runtime, made))["Umask"] == expected


# capabilities


def numbers(*names: str) -> int:
    return sum(1 << CAPABILITIES.index(name) for name in names)


def test_the_five_sets(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    sets = {
        "bounding": ["CHOWN", "KILL", "NET_RAW", "AUDIT_READ", "BPF"],
        "permitted": ["CHOWN", "KILL", "NET_RAW"],
        "effective": ["CHOWN", "NET_RAW"],
        "inheritable": ["NET_RAW", "KILL"],
        "ambient": ["NET_RAW"],
    }
    assert set(sets) == set(SETS)
    made.process["user"] = {"uid": 1000, "gid": 1000}
    made.process["capabilities"] = {kind: [f"CAP_{name}" for name in names] for kind, names in sets.items()}
    found = status(waiting(runtime, made))
    # exec by somebody who is not root keeps what is ambient, capabilities(7)
    assert int(found["CapBnd"], 16) == numbers(*sets["bounding"])
    assert int(found["CapInh"], 16) == numbers(*sets["inheritable"])
    assert int(found["CapAmb"], 16) == numbers("NET_RAW")
    assert int(found["CapPrm"], 16) == int(found["CapEff"], 16) == numbers("NET_RAW")


def test_root_gets_the_bounding_set(runtime: Runtime, bundle: MakeBundle) -> None:
    found = status(waiting(runtime, capable(bundle(), "CHOWN", "SYS_PTRACE")))
    for kind in ("CapBnd", "CapPrm", "CapEff"):
        assert int(found[kind], 16) == numbers("CHOWN", "SYS_PTRACE"), kind
    assert int(found["CapInh"], 16) == int(found["CapAmb"], 16) == 0


@pytest.mark.parametrize("value", [None, {}, {"bounding": []}])
def test_no_capabilities_are_none(runtime: Runtime, bundle: MakeBundle, value: object) -> None:
    made = bundle()
    if value is None:
        del made.process["capabilities"]
    else:
        made.process["capabilities"] = value
    if value is None:
        runtime.not_like("runc", "crun", because="differ where the section is absent, which config.md leaves open")
    found = status(waiting(runtime, made))
    assert {found[kind].strip("0") for kind in ("CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb")} == {""}


def test_a_capability_nobody_knows_is_a_warning(runtime: Runtime, bundle: MakeBundle) -> None:
    """ "Any value which cannot be mapped to a relevant kernel interface, or cannot be granted otherwise, MUST be logged
    as a warning by the runtime. Runtimes SHOULD NOT fail" """
    made = bundle("true")
    for names in made.process["capabilities"].values():
        names.append("CAP_OF_TOMORROW")
    done = runtime.run(made)
    assert done.returncode == 0, done.stderr
    if runtime.name != "crun":
        assert "CAP_OF_TOMORROW" in done.stderr


def test_all_capabilities_in_a_user_namespace(runtime: Runtime, bundle: MakeBundle) -> None:
    made = capable(user_namespace(bundle()))
    made.process["capabilities"] = {
        kind: [f"CAP_{name}" for name in CAPABILITIES] for kind in ("bounding", "effective", "permitted")
    }
    kernel = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    ours = int(status("self")["CapBnd"], 16)
    found = int(status(waiting(runtime, made))["CapEff"], 16)
    assert found in (ours & (2 << kernel) - 1, (2 << kernel) - 1)


# limits and privileges

LIMITS = {
    "RLIMIT_NOFILE": resource.RLIMIT_NOFILE,
    "RLIMIT_NPROC": resource.RLIMIT_NPROC,
    "RLIMIT_CORE": resource.RLIMIT_CORE,
    "RLIMIT_MEMLOCK": resource.RLIMIT_MEMLOCK,
    "RLIMIT_STACK": resource.RLIMIT_STACK,
    "RLIMIT_CPU": resource.RLIMIT_CPU,
    "RLIMIT_FSIZE": resource.RLIMIT_FSIZE,
    "RLIMIT_DATA": resource.RLIMIT_DATA,
    "RLIMIT_RSS": resource.RLIMIT_RSS,
    "RLIMIT_AS": resource.RLIMIT_AS,
    "RLIMIT_MSGQUEUE": resource.RLIMIT_MSGQUEUE,
    "RLIMIT_SIGPENDING": resource.RLIMIT_SIGPENDING,
    "RLIMIT_NICE": resource.RLIMIT_NICE,
    "RLIMIT_RTPRIO": resource.RLIMIT_RTPRIO,
    "RLIMIT_RTTIME": resource.RLIMIT_RTTIME,
    "RLIMIT_LOCKS": 10,
}


def test_every_rlimit(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle("sleep", "600")
    wanted = {}
    for kind, number in LIMITS.items():
        ours = resource.getrlimit(number)[1]
        hard = 1 << 34 if ours == resource.RLIM_INFINITY else ours  # no more than may be given
        wanted[kind] = (hard // 2, hard)
    wanted |= {"RLIMIT_NOFILE": (512, 1000), "RLIMIT_CORE": (0, 0)}
    made.process["rlimits"] = [{"type": kind, "soft": low, "hard": high} for kind, (low, high) in wanted.items()]
    pid = waiting(runtime, made)
    assert {kind: resource.prlimit(pid, number) for kind, number in LIMITS.items()} == wanted


def test_no_limit(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle("sleep", "600")
    unlimited = (1 << 64) - 1
    made.process["rlimits"] = [{"type": "RLIMIT_CORE", "soft": unlimited, "hard": unlimited}]
    pid = waiting(runtime, made)
    assert resource.prlimit(pid, resource.RLIMIT_CORE) == (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


def raised(runtime: Runtime, made: Bundle, *words: str) -> int | None:
    """The process of a container that asks for more than its caller has, or None where that had to be refused."""
    if int(status("self")["CapEff"], 16) & numbers("SYS_RESOURCE"):
        return waiting(runtime, made)
    refused(runtime, made.command("true"), *words)
    return None


@pytest.mark.parametrize("apart", [False, True])
def test_a_limit_above_the_callers_own(runtime: Runtime, bundle: MakeBundle, apart: bool) -> None:
    """Set while it may still be done, which is before a user namespace is entered; an error where it never may."""
    made = user_namespace(bundle("sleep", "600")) if apart else bundle("sleep", "600")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1] + 1000
    made.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": hard, "hard": hard}]
    pid = raised(runtime, made, "RLIMIT_NOFILE")
    assert pid is None or resource.prlimit(pid, resource.RLIMIT_NOFILE) == (hard, hard)


def test_an_rlimit_twice_is_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    """ "If rlimits contains duplicated entries with same type, the runtime MUST generate an error." """
    runtime.not_like("runc", "crun", because="take the last one, config.md: rlimits")
    made = bundle("true")
    made.process["rlimits"] *= 2
    refused(runtime, made, "/process/rlimits/1")


@pytest.mark.parametrize("entry", [("RLIMIT_NOFILE", 100, 10), ("RLIMIT_WEATHER", 1, 1), ("NOFILE", 1, 1)])
def test_an_impossible_rlimit_is_refused(runtime: Runtime, bundle: MakeBundle, entry: tuple[str, int, int]) -> None:
    """ "The runtime MUST generate an error for any values which cannot be mapped to a relevant kernel interface." """
    made = bundle("true")
    made.process["rlimits"] = [dict(zip(("type", "soft", "hard"), entry, strict=True))]
    refused(runtime, made, "/process/rlimits/0")


@pytest.mark.parametrize("value", [-1000, -1, 0, 500, 1000])
def test_the_oom_score(runtime: Runtime, bundle: MakeBundle, value: int) -> None:
    made = bundle()
    made.process["oomScoreAdj"] = value
    lower = value < int(Path("/proc/self/oom_score_adj").read_text())
    pid = raised(runtime, made, "oom") if lower else waiting(runtime, made)
    assert pid is None or int(Path(f"/proc/{pid}/oom_score_adj").read_text()) == value


def test_no_oom_score_is_the_callers(runtime: Runtime, bundle: MakeBundle) -> None:
    """ "If oomScoreAdj is not set, the runtime MUST NOT change the value of oom_score_adj." """
    runtime.prefix = ["sh", "-c", 'echo 77 >/proc/self/oom_score_adj; exec "$@"', "sh", *runtime.prefix]
    assert Path(f"/proc/{waiting(runtime, bundle())}/oom_score_adj").read_text() == "77\n"


@pytest.mark.parametrize(("value", "expected"), [(True, "1"), (False, "0"), (None, "0")])
def test_no_new_privileges(runtime: Runtime, bundle: MakeBundle, value: bool | None, expected: str) -> None:
    made = bundle()
    del made.process["noNewPrivileges"]
    if value is not None:
        made.process["noNewPrivileges"] = value
    assert status(waiting(runtime, made))["NoNewPrivs"] == expected


@pytest.mark.parametrize(("key", "value"), [("apparmorProfile", "acme_profile"), ("selinuxLabel", "u:r:t:s0")])
def test_a_label_that_cannot_be_applied_is_refused(runtime: Runtime, bundle: MakeBundle, key: str, value: str) -> None:
    """Nothing is silently weaker: where the kernel has no such module, a profile is an error."""
    if os.path.isdir("/sys/kernel/security/apparmor") or os.path.isdir("/sys/fs/selinux/policy"):
        pytest.skip("this machine has such a module")
    runtime.not_like("runc", "crun", because="ignore one or the other")
    made = bundle("true")
    made.process[key] = value
    refused(runtime, made, f"/process/{key}")


def test_a_mount_label_that_cannot_be_applied_is_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    only_cloche(runtime, "nothing is silently weaker")
    if os.path.isdir("/sys/fs/selinux/policy"):
        pytest.skip("this machine has SELinux")
    made = bundle("true")
    made.linux["mountLabel"] = "system_u:object_r:svirt_sandbox_file_t:s0"
    refused(runtime, made, "/linux/mountLabel")


# terminal


def test_a_terminal_and_its_size(runtime: Runtime, bundle: MakeBundle) -> None:
    console = runtime.console()
    made = bundle(
        "sh",
        "-c",
        "tty; stty size; test -t 0 && test -t 1 && test -t 2 && echo all;"
        "test -c /dev/console && echo console; echo the end",
    )
    made.process["terminal"], made.process["consoleSize"] = True, {"height": 31, "width": 97}
    id = runtime.create(made, "--console-socket", str(console.path))
    console.receive()
    assert console.size() == (31, 97)
    runtime.start(id)
    out = console.until("the end").splitlines()
    assert out[0].startswith("/dev/")
    assert out[1:4] == ["31 97", "all", "console"]
    console.close()


def test_the_terminal_controls_its_session(runtime: Runtime, bundle: MakeBundle) -> None:
    console = runtime.console()
    made = bundle("sh", "-c", "trap 'echo interrupted; exit 3' INT; echo ready; while :; do sleep 0.1; done")
    made.process["terminal"] = True
    id = runtime.create(made, "--console-socket", str(console.path))
    console.receive()
    runtime.start(id)
    console.until("ready")
    console.type("\x03")
    console.until("interrupted")
    runtime.wait(id)


def test_a_terminal_belongs_to_its_user(runtime: Runtime, bundle: MakeBundle) -> None:
    console = runtime.console()
    made = bundle("sh", "-c", "stat -Lc '%u' /proc/self/fd/0; echo x >/proc/self/fd/1; echo end")
    made.process["terminal"], made.process["user"] = True, {"uid": 1000, "gid": 1000}
    id = runtime.create(made, "--console-socket", str(console.path))
    console.receive()
    runtime.start(id)
    assert console.until("end").split() == ["1000", "x", "end"]


# scheduling

SCHED = "import os; p = os.sched_getscheduler(0); print(p, os.sched_getparam(0).sched_priority, os.nice(0))"


def realtime(made: Bundle) -> Bundle:
    """With time for real-time policies, where groups have none of their own."""
    if os.path.exists("/sys/fs/cgroup/cpu/cpu.rt_runtime_us"):
        made.linux["resources"]["cpu"] = {"realtimeRuntime": 10_000, "realtimePeriod": 1_000_000}
    return made


@pytest.mark.parametrize(
    ("scheduler", "policy", "priority", "nice"),
    [
        ({"policy": "SCHED_OTHER", "nice": 5}, os.SCHED_OTHER, 0, 5),
        ({"policy": "SCHED_BATCH", "nice": -3}, os.SCHED_BATCH, 0, -3),
        ({"policy": "SCHED_IDLE"}, os.SCHED_IDLE, 0, 0),
        ({"policy": "SCHED_FIFO", "priority": 7}, os.SCHED_FIFO, 7, 0),
        ({"policy": "SCHED_RR", "priority": 8}, os.SCHED_RR, 8, 0),
    ],
)
def test_the_scheduler(
    runtime: Runtime, bundle: MakeBundle, scheduler: dict[str, object], policy: int, priority: int, nice: int
) -> None:
    since(runtime, runc="1.2", crun="1.9")
    made = realtime(bundle())
    made.process["scheduler"] = scheduler
    pid = waiting(runtime, made)
    assert os.sched_getscheduler(pid) & ~0x40000000 == policy
    assert os.sched_getparam(pid).sched_priority == priority
    assert os.getpriority(os.PRIO_PROCESS, pid) == nice


def test_reset_on_fork(runtime: Runtime, bundle: MakeBundle) -> None:
    since(runtime, runc="1.2", crun="1.9")
    made = realtime(bundle())
    made.process["scheduler"] = {"policy": "SCHED_FIFO", "priority": 3, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}
    assert os.sched_getscheduler(waiting(runtime, made)) == os.SCHED_FIFO | 0x40000000


def test_a_deadline(runtime: Runtime, bundle: MakeBundle) -> None:
    since(runtime, runc="1.2", crun="1.9")
    made = bundle("sleep", "1000")  # one that may not fork (sched(7))
    times = {"runtime": 10_000_000, "deadline": 50_000_000, "period": 100_000_000}
    made.process["scheduler"] = {"policy": "SCHED_DEADLINE", **times}
    done = runtime.try_create(made)
    if done.returncode != 0:  # sched(7): needs a cpuset of all processors, and room among other deadlines
        assert "denied" in done.stderr.lower() or "permitted" in done.stderr.lower() or "busy" in done.stderr.lower()
        return
    pid = runtime.pid(runtime.ids[-1])
    runtime.start(runtime.ids[-1])
    wait_until(lambda: os.sched_getscheduler(pid) == 6, "no SCHED_DEADLINE")


def attributes(pid: int) -> tuple[int, int, int]:
    """(policy, flags, nice) in sched_getattr(2)."""
    call = 315 if os.uname().machine == "x86_64" else 275
    buffer = ctypes.create_string_buffer(48)
    assert ctypes.CDLL(None).syscall(call, pid, buffer, 48, 0) == 0
    _, policy, flags, nice = struct.unpack_from("IIQi", buffer.raw)
    return policy, flags, nice


DEADLINE = {"policy": "SCHED_DEADLINE", "runtime": 10_000_000, "deadline": 50_000_000, "period": 100_000_000}


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        ({"policy": "SCHED_BATCH", "nice": 3, "flags": ["SCHED_FLAG_KEEP_POLICY"]}, (0, 0, 3)),
        ({"policy": "SCHED_OTHER", "nice": 3, "flags": ["SCHED_FLAG_KEEP_PARAMS"]}, (0, 0, 7)),
        ({**DEADLINE, "flags": ["SCHED_FLAG_RECLAIM", "SCHED_FLAG_DL_OVERRUN"]}, (6, 6, 0)),
    ],
)
def test_flags_of_the_scheduler(
    runtime: Runtime, bundle: MakeBundle, scheduler: dict[str, object], expected: tuple[int, int, int]
) -> None:
    """linux/sched.h: RECLAIM is 2, DL_OVERRUN 4; the others say what is to stay."""
    since(runtime, runc="1.2", crun="1.9")
    made = bundle("sleep", "600")
    made.process["scheduler"] = scheduler
    if scheduler["policy"] == "SCHED_OTHER":
        runtime.prefix = ["nice", "-n", "7", *runtime.prefix]
    id = runtime.create(made)
    assert attributes(runtime.pid(id)) == expected


@pytest.mark.parametrize("scheduler", [{"policy": "SCHED_WEATHER"}, {"policy": "SCHED_FIFO", "priority": 200}])
def test_an_impossible_scheduler_is_refused(runtime: Runtime, bundle: MakeBundle, scheduler: dict[str, object]) -> None:
    since(runtime, runc="1.2", crun="1.9")
    made = bundle("true")
    made.process["scheduler"] = scheduler
    refused(runtime, made, "/process/scheduler")


IOPRIO = "import ctypes; v = ctypes.CDLL(None).syscall({n}, 1, 0); print(v >> 13, v & 7)"  # ioprio_get(2)


@pytest.mark.parametrize(
    ("name", "number", "level"), [("IOPRIO_CLASS_RT", 1, 4), ("IOPRIO_CLASS_BE", 2, 7), ("IOPRIO_CLASS_IDLE", 3, 0)]
)
def test_the_io_priority(runtime: Runtime, bundle: MakeBundle, name: str, number: int, level: int) -> None:
    since(runtime, runc="1.2", crun="1.9")
    call = 252 if os.uname().machine == "x86_64" else 31
    made = python(bundle(), IOPRIO.format(n=call))
    made.process["ioPriority"] = {"class": name, "priority": level}
    assert told(runtime, made).split()[:2] == [str(number), str(level)]


def test_the_processors_of_exec(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    """execCPUAffinity: "final: … the CPU affinity the process runs with", of `exec` alone."""
    since(runtime, runc="1.3", crun="1.20")
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two processors")
    made = bundle("sleep", "600")
    id = runtime.running(made)
    process = {**made.process, "args": ["grep", "Cpus_allowed_list", "/proc/self/status"]}
    for final in ("0", "1"):
        process["execCPUAffinity"] = {"initial": "0", "final": final}
        (place / "process.json").write_text(json.dumps(process))
        assert runtime.ok("exec", "--process", str(place / "process.json"), id).split()[-1] == final
    assert status(runtime.pid(id))["Cpus_allowed_list"] != "1"


@pytest.mark.parametrize(("domain", "machine"), [("LINUX32", "i686"), ("LINUX", "x86_64")])
def test_the_personality(runtime: Runtime, bundle: MakeBundle, domain: str, machine: str) -> None:
    since(runtime, runc="1.2")
    if os.uname().machine != "x86_64":
        pytest.skip("names of x86-64; another test would be needed on aarch64")
    made = python(bundle(), "import os; print(os.uname().machine)")
    made.linux["personality"] = {"domain": domain}
    assert told(runtime, made).strip() == machine


@pytest.mark.parametrize("value", [{"domain": "HURD"}, {"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}])
def test_an_unknown_personality_is_refused(runtime: Runtime, bundle: MakeBundle, value: dict[str, object]) -> None:
    since(runtime, runc="1.2")
    if "flags" in value:
        only_cloche(runtime, "the others ignore flags")
    made = bundle("true")
    made.linux["personality"] = value
    refused(runtime, made, "/linux/personality")


# memory policy and resource director

POLICY = (
    "import ctypes; mode = ctypes.c_int(); nodes = (ctypes.c_ulong * 16)();"
    "r = ctypes.CDLL(None).syscall({n}, ctypes.byref(mode), nodes, 1024, None, 0); print(r, mode.value, nodes[0])"
)


@pytest.mark.parametrize(
    ("policy", "mode", "nodes"),
    [
        ({"mode": "MPOL_BIND", "nodes": "0"}, 2, 1),
        ({"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}, 3 | 1 << 15, 1),
        ({"mode": "MPOL_PREFERRED", "nodes": "0"}, 1, 1),
        ({"mode": "MPOL_PREFERRED_MANY", "nodes": "0"}, 5, 1),
        ({"mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "0"}, 6, 1),
        ({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"]}, 2 | 1 << 13, 1),
        ({"mode": "MPOL_LOCAL"}, 4, 0),
        ({"mode": "MPOL_DEFAULT"}, 0, 0),
    ],
)
def test_the_memory_policy(
    runtime: Runtime, bundle: MakeBundle, policy: dict[str, object], mode: int, nodes: int
) -> None:
    """set_mempolicy(2), kept across exec."""
    since(runtime, runc="1.4", crun="1.25")
    made = python(bundle(), POLICY.format(n=239 if os.uname().machine == "x86_64" else 236))
    made.linux["memoryPolicy"] = policy
    assert told(runtime, made).split() == ["0", str(mode), str(nodes)]


@pytest.mark.parametrize(
    "policy", [{"mode": "MPOL_WEATHER"}, {"mode": "MPOL_BIND"}, {"mode": "MPOL_BIND", "nodes": "x"}]
)
def test_an_impossible_memory_policy_is_refused(
    runtime: Runtime, bundle: MakeBundle, policy: dict[str, object]
) -> None:
    since(runtime, runc="1.4", crun="1.25")
    made = bundle("true")
    made.linux["memoryPolicy"] = policy
    refused(runtime, made, "/linux/memoryPolicy")


def test_a_memory_policy_without_such_a_node_is_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    since(runtime, runc="1.4", crun="1.25")
    made = bundle("true")
    made.linux["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "900"}
    refused(runtime, made, "memory policy")


def test_the_resource_director_where_there_is_none_is_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    """ "If no mounted resctrl pseudo-filesystem is available in the runtime mount namespace, the runtime MUST generate
    an error." """
    if os.path.ismount("/sys/fs/resctrl"):
        pytest.skip("resctrl is mounted")
    since(runtime, crun="1.9")
    made = bundle("true")
    made.linux["intelRdt"] = {"closID": "cloche-test", "l3CacheSchema": "L3:0=f"}
    refused(runtime, made, "/linux/intelRdt")


# sysctl


def test_sysctls(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.linux["sysctl"] = {
        "net.ipv4.ip_forward": "1",
        "net/core/somaxconn": "300",
        "kernel.shmmni": "1234",
        "fs.mqueue.msg_max": "20",
        "net.ipv4.ping_group_range": "0 5",
    }
    before = Path("/proc/sys/net/core/somaxconn").read_text()
    names = "net/ipv4/ip_forward net/core/somaxconn kernel/shmmni fs/mqueue/msg_max net/ipv4/ping_group_range"
    out = sh(runtime, made, f"cd /proc/sys; cat {names}")
    assert out.split() == ["1", "300", "1234", "20", "0", "5"]
    assert Path("/proc/sys/net/core/somaxconn").read_text() == before


def test_sysctls_are_set_with_a_read_only_proc_sys_and_in_a_user_namespace(
    runtime: Runtime, bundle: MakeBundle
) -> None:
    made = user_namespace(bundle())
    made.linux["sysctl"] = {"net.ipv4.ip_forward": "1"}
    made.linux["readonlyPaths"] = ["/proc/sys"]
    assert sh(runtime, made, "cat /proc/sys/net/ipv4/ip_forward").strip() == "1"


@pytest.mark.parametrize(
    ("key", "kind"),
    [("net.ipv4.ip_forward", "network"), ("kernel.msgmax", "ipc"), ("fs.mqueue.msg_max", "ipc")],
)
def test_a_sysctl_of_the_hosts_namespace_is_refused(runtime: Runtime, bundle: MakeBundle, key: str, kind: str) -> None:
    made = bundle("true").without_namespace(kind)
    made.config["mounts"] = [m for m in made.config["mounts"] if m["type"] not in ("mqueue", "sysfs", "cgroup")]
    path = Path("/proc/sys") / key.replace(".", "/")
    before = path.read_text()
    made.linux["sysctl"] = {key: before.strip()}
    refused(runtime, made, f"/linux/sysctl/{key}")
    assert path.read_text() == before


@pytest.mark.parametrize(
    "key",
    ["kernel.core_pattern", "vm.swappiness", "net.ipv4.no_such_thing", "net.../../kernel.core_pattern", "net", ""],
)
def test_a_sysctl_that_is_not_the_containers_is_refused(runtime: Runtime, bundle: MakeBundle, key: str) -> None:
    before = Path("/proc/sys/kernel/core_pattern").read_text(), Path("/proc/sys/vm/swappiness").read_text()
    made = bundle("true")
    made.linux["sysctl"] = {key: "|/tmp/x"}
    refused(runtime, made, "sysctl")
    assert (Path("/proc/sys/kernel/core_pattern").read_text(), Path("/proc/sys/vm/swappiness").read_text()) == before


# what the specification leaves alone


def test_unknown_properties_are_ignored(runtime: Runtime, bundle: MakeBundle) -> None:
    """ "Implementations that are reading or processing this configuration file MUST NOT generate an error if they
    encounter an unknown property." """
    made = bundle("true")
    made.config["weather"] = {"rain": [1, 2]}
    made.process["weather"] = made.linux["weather"] = made.config["mounts"][0]["weather"] = "rain"
    told(runtime, made)


def test_null_is_as_good_as_absent(runtime: Runtime, bundle: MakeBundle) -> None:
    """What Go's encoder writes for an empty slice or pointer."""
    made = bundle("true")
    made.config |= {"hooks": None, "annotations": None}
    process: Json = made.process
    process |= {"rlimits": None, "oomScoreAdj": None, "consoleSize": None, "scheduler": None}
    linux: Json = made.linux
    linux |= {"devices": None, "sysctl": None, "maskedPaths": None, "seccomp": None, "uidMappings": None}
    made.config["mounts"][0]["options"] = None
    told(runtime, made)


@pytest.mark.parametrize("value", ["1.0.0", "1.0.2-dev", "1.1.0+build", "1.2.1", "1.3.0", "1.99.0"])
def test_any_minor_version(runtime: Runtime, bundle: MakeBundle, value: str) -> None:
    since(runtime, crun="1.9")
    made = bundle("true")
    made.config["ociVersion"] = value
    told(runtime, made)


@pytest.mark.parametrize("value", ["2.0.0", "0.9", "1", "", "one", "1.0.2.3", "01.0.0"])
def test_other_versions_are_refused(runtime: Runtime, bundle: MakeBundle, value: str) -> None:
    """ "ociVersion (string, REQUIRED) MUST be in SemVer v2.0.0 format" """
    only_cloche(runtime, "runc and crun look at it hardly or not at all")
    made = bundle("true")
    made.config["ociVersion"] = value
    refused(runtime, made, "/ociVersion")


def test_everything_at_once(runtime: Runtime, bundle: MakeBundle) -> None:
    """No part undoes another: a full container of a user namespace."""
    made = any_device(user_namespace(namespace(bundle(), "cgroup")))
    made.process["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [5], "umask": 0o027}
    made.process["oomScoreAdj"] = 100
    made.linux["sysctl"] = {"net.core.somaxconn": "99"}
    made.linux["resources"]["pids"] = {"limit": 50}
    mount(made, "/mnt", "tmpfs", "nosuid", "nodev")
    out = sh(runtime, made, "id -u; umask; cat /proc/sys/net/core/somaxconn /proc/self/oom_score_adj; ls /mnt")
    assert out.split() == ["1000", "0027", "99", "100"]
