"""What a container may not do, tried from inside it; and each protection tried once more without it."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import cloche
from tests.conftest import Cli, system_python
from tests.integration.alive import WAIT, alive

if TYPE_CHECKING:
    from collections.abc import Iterable

PYTHON = ("/usr/bin/python3", "-I", "-S", "-c")
LAST_CAP = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
# linux/capability.h
NUMBERS = {
    "CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "FSETID": 4, "KILL": 5, "SETGID": 6, "SETUID": 7, "SETPCAP": 8,
    "NET_BIND_SERVICE": 10, "NET_ADMIN": 12, "NET_RAW": 13, "SYS_CHROOT": 18, "SYS_ADMIN": 21, "SETFCAP": 31,
}  # fmt: skip
DEFAULT = {
    "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "NET_BIND_SERVICE",
    "SYS_CHROOT", "SETFCAP",
}  # fmt: skip
X86 = platform.machine() == "x86_64"
# (x86_64, aarch64): asm/unistd_64.h, asm-generic/unistd.h
CALLS = {
    "keyctl": (250, 219), "add_key": (248, 217), "unshare": (272, 97), "mount": (165, 40), "bpf": (321, 280),
    "userfaultfd": (323, 282), "io_uring_setup": (425, 425), "perf_event_open": (298, 241), "kexec_load": (246, 104),
    "open_by_handle_at": (304, 265), "socket": (41, 198), "personality": (135, 92), "ioctl": (16, 29),
    "clone3": (435, 435), "swapon": (167, 224), "pivot_root": (155, 41), "fsopen": (430, 430), "setns": (308, 268),
    "init_module": (175, 105), "reboot": (169, 142),
}  # fmt: skip
CALLER = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *args):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) for a in args])
    return ctypes.get_errno() if result == -1 else 0
"""
NEWUSER = 0x10000000


def numbers(calls: Iterable[tuple[str, tuple[int, ...]]]) -> str:
    """A program that makes these calls and prints the errno of each."""
    lines = [f"print(call({CALLS[name][0 if X86 else 1]}, *{args!r}))" for name, args in calls]
    return CALLER + "\n".join(lines)


def mask(names: Iterable[str]) -> str:
    """A capability set as /proc/PID/status has it."""
    return f"{sum(1 << NUMBERS[name] for name in names):016x}"


def sets(text: str) -> dict[str, str]:
    """The lines of /proc/PID/status."""
    return {line.partition(":")[0]: line.partition(":")[2].strip() for line in text.splitlines()}


def status(cli: Cli, rootfs: Path, *options: str) -> dict[str, str]:
    """/proc/self/status in a container with these options."""
    done = cli("run", *options, "--rootfs", str(rootfs), "cat", "/proc/self/status")
    assert done.returncode == 0, done.stderr
    return sets(done.stdout)


EVERY = f"{(1 << (LAST_CAP + 1)) - 1:016x}"
NONE = "0" * 16


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), mask(DEFAULT)),
        (("--cap-add", "NET_ADMIN"), mask({*DEFAULT, "NET_ADMIN"})),
        (("--cap-add", "cap_net_raw", "--cap-drop", "KILL"), mask({*DEFAULT, "NET_RAW"} - {"KILL"})),
        (("--cap-drop", "ALL"), NONE),
        (("--cap-drop", "all", "--cap-add", "CHOWN"), mask({"CHOWN"})),
        (("--cap-add", "ALL"), EVERY),
        (("--cap-add", "ALL", "--cap-drop", "SYS_ADMIN"), f"{int(EVERY, 16) & ~(1 << 21):016x}"),
    ],
)
def test_capability_sets_are_exact(anyone: Cli, rootfs: Path, options: tuple[str, ...], expected: str) -> None:
    found = status(anyone, rootfs, *options)
    assert (found["CapBnd"], found["CapPrm"], found["CapEff"]) == (expected,) * 3
    assert (found["CapInh"], found["CapAmb"]) == (NONE, NONE)


def test_capability_sets_are_exact_seen_from_outside(root: Cli, rootfs: Path) -> None:
    with alive(root, "--cap-drop", "ALL", "--cap-add", "KILL", "--rootfs", str(rootfs), "sh", "-c", WAIT) as it:
        assert it.status("CapBnd") == it.status("CapEff") == mask({"KILL"})
        assert (it.status("NoNewPrivs"), it.status("Seccomp")) == ("1", "2")


def test_another_user_inside_has_no_capabilities(root: Cli, rootfs: Path) -> None:
    found = status(root, rootfs, "-u", "1000")
    assert (found["CapEff"], found["CapPrm"], found["CapAmb"]) == (NONE, NONE, NONE)
    assert found["CapBnd"] == mask(DEFAULT)


@pytest.mark.parametrize("option", ["--cap-add", "--cap-drop"])
def test_an_unknown_capability(cli: Cli, rootfs: Path, option: str) -> None:
    done = cli("run", option, "FLY", "--rootfs", str(rootfs), "true")
    assert done.returncode == 125
    assert done.stderr.startswith("cloche: 'FLY' is not a capability\n  hint: ")


def test_a_dropped_capability_is_missed(anyone: Cli, rootfs: Path) -> None:
    words = ("--rootfs", str(rootfs), "sh", "-c", "echo read >/dev/shm/x && chmod 0 /dev/shm/x && cat /dev/shm/x")
    assert anyone("run", *words).stdout == "read\n"
    done = anyone("run", "--cap-drop", "DAC_OVERRIDE", *words)
    assert "Permission denied" in done.stderr
    assert done.stdout == ""


def test_set_uid_programs_give_nothing(root: Cli) -> None:
    program = (
        "cp /usr/bin/id /usr/local/bin/become && chmod 4755 /usr/local/bin/become && "
        "setpriv --reuid 1000 --regid 1000 --clear-groups /usr/local/bin/become -u"
    )
    words = ("host", "sh", "-c", program)
    assert root("run", *words).stdout == "1000\n"
    assert root("run", "--security-opt", "no-new-privileges", *words).stdout == "1000\n"
    assert root("run", "--security-opt", "no-new-privileges=false", *words).stdout == "0\n"


REFUSED = [
    ("keyctl", (0, -3, 0)), ("add_key", (0, 0, 0, 0, 0)), ("unshare", (NEWUSER,)), ("mount", (0, 0, 0, 0, 0)),
    ("bpf", (99, 0, 0)), ("userfaultfd", (1,)), ("io_uring_setup", (0, 0)), ("perf_event_open", (0, 0, 0, 0, 0)),
    ("open_by_handle_at", (0, 0, 0)), ("socket", (38, 5, 0)), ("socket", (40, 1, 0)), ("personality", (0x40000,)),
    ("fsopen", (0, 0)), ("setns", (-1, 0)),
]  # fmt: skip


def test_system_calls_that_are_refused(anyone: Cli) -> None:
    program = numbers(REFUSED)
    done = anyone("run", "host", *PYTHON, program)
    assert done.stdout.split() == [str(errno.EPERM)] * len(REFUSED), done.stderr
    # the kernel itself would have said something else to most of them
    done = anyone("run", "--security-opt", "seccomp=unconfined", "host", *PYTHON, program)
    answers = dict(zip([name for name, _ in REFUSED], done.stdout.split(), strict=True))
    others = [name for name, answer in answers.items() if answer != str(errno.EPERM)]
    assert {"keyctl", "add_key", "unshare", "personality", "socket", "setns"} <= set(others)


def test_system_calls_that_the_kernel_would_refuse_as_well(anyone: Cli) -> None:
    calls = [("kexec_load", (0, 0, 0, 0)), ("swapon", (0, 0)), ("pivot_root", (0, 0)), ("init_module", (0, 0, 0)),
             ("reboot", (0, 0, 0, 0))]  # fmt: skip
    done = anyone("run", "host", *PYTHON, numbers(calls))
    assert done.stdout.split() == [str(errno.EPERM)] * len(calls)


def test_a_capability_opens_the_calls_behind_it(root: Cli) -> None:
    program = numbers([("unshare", (NEWUSER,)), ("mount", (0, 0, 0, 0, 0)), ("keyctl", (0, -3, 0))])
    done = root("run", "--cap-add", "SYS_ADMIN", "host", *PYTHON, program)
    assert done.stdout.split() == ["0", str(errno.EFAULT), str(errno.EPERM)]


def test_system_calls_nobody_knows_do_not_exist(anyone: Cli) -> None:
    program = numbers([("clone3", (0, 0))]) + "\nprint(call(999)); print(call(100000))"
    if X86:
        program += f"\nprint(call({0x40000000 | 39}))"  # x32's getpid
    done = anyone("run", "host", *PYTHON, program)
    assert set(done.stdout.split()) == {str(errno.ENOSYS)}
    done = anyone("run", "--security-opt", "seccomp=unconfined", "host", *PYTHON, numbers([("clone3", (0, 0))]))
    assert done.stdout.split() == [str(errno.EINVAL)]


def test_nothing_can_be_typed_into_the_callers_terminal(anyone: Cli) -> None:
    # TIOCSTI and TIOCLINUX; the kernel looks at the low half of the argument only
    requests = (0x5412, 0x1_0000_5412, 0x7777_0000_5412, 0x541C, 0xFFFF_0000_541C)
    program = numbers([*(("ioctl", (0, request, 0)) for request in requests), ("ioctl", (0, 0x5413, 0))])
    answers = anyone("run", "host", *PYTHON, program).stdout.split()
    assert answers == [str(errno.EPERM)] * len(requests) + [str(errno.ENOTTY)]
    done = anyone("run", "--security-opt", "seccomp=unconfined", "host", *PYTHON, program)
    assert done.stdout.split() == [str(errno.ENOTTY)] * 6


def test_what_the_filter_refused_is_named(anyone: Cli) -> None:
    program = numbers([("keyctl", (0, -3, 0)), ("userfaultfd", (1,))]) + "\nsys.exit(3)"
    done = anyone("run", "host", *PYTHON, program)
    assert done.returncode == 3
    line, hint, _ = done.stderr.split("\n")
    assert line == "cloche: exited with 3, after the seccomp filter refused keyctl"
    assert "--security-opt seccomp=FILE" in hint


def test_refusals_need_not_be_watched(anyone: Cli) -> None:
    program = numbers([("keyctl", (0, -3, 0))]) + "\nsys.exit(3)"
    done = anyone("run", "--security-opt", "seccomp-log=off", "host", *PYTHON, program)
    assert (done.returncode, done.stdout, done.stderr) == (3, "1\n", "")


def profile(folder: Path, document: object) -> str:
    """A file every user can read."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{hashlib.sha256(repr(document).encode()).hexdigest()[:12]}.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    path.chmod(0o644)
    return str(path)


MKDIR = "import os\ntry: os.mkdir('/tmp/x'); print(0)\nexcept OSError as e: print(e.errno)"


def test_a_profile_of_ones_own(anyone: Cli, shared_dir: Path) -> None:
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSPC}
    path = profile(shared_dir / "profiles", {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})
    words = ("host", *PYTHON, MKDIR)
    done = anyone("run", "--security-opt", f"seccomp={path}", *words)
    assert done.stdout == f"{errno.ENOSPC}\n", done.stderr
    assert anyone("run", *words).stdout == "0\n"


def test_an_agent_for_system_calls_is_refused_not_dropped(anyone: Cli, shared_dir: Path) -> None:
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}
    document = {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/nowhere.sock", "syscalls": [rule]}
    done = anyone("run", "--security-opt", f"seccomp={profile(shared_dir / 'profiles', document)}", "host", "true")
    assert done.returncode == 125
    assert "listenerPath is for bundles" in done.stderr


def test_a_profile_in_dockers_form(anyone: Cli, shared_dir: Path) -> None:
    arches = [{"architecture": f"SCMP_ARCH_{platform.machine().upper()}", "subArchitectures": []}]
    refuse = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSPC}
    document = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "archMap": arches,
        "syscalls": [{**refuse, "includes": {"caps": ["CAP_SYS_PTRACE"]}, "excludes": {"minKernel": "99.0"}}],
    }
    option = f"seccomp={profile(shared_dir / 'profiles', document)}"
    assert anyone("run", "--security-opt", option, "host", *PYTHON, MKDIR).stdout == "0\n"
    done = anyone("run", "--security-opt", option, "--cap-add", "SYS_PTRACE", "host", *PYTHON, MKDIR)
    assert done.stdout == f"{errno.ENOSPC}\n"


def test_a_profile_that_kills(root: Cli, shared_dir: Path) -> None:
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"}
    path = profile(shared_dir / "profiles", {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})
    done = root("run", "--security-opt", f"seccomp={path}", "host", *PYTHON, MKDIR)
    assert done.returncode == 128 + 31
    assert "killed by the seccomp filter" in done.stderr


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("{", "the JSON text is wrong"),
        ("", "the JSON text is wrong"),
        ("[]", "not a JSON object"),
        ({"defaultAction": "SCMP_ACT_DANCE"}, "/defaultAction"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": 3}, "/syscalls"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [], "action": 1}]}, "/syscalls/0"),
        ({}, "/defaultAction"),
    ],
)
def test_a_profile_that_is_wrong(cli: Cli, rootfs: Path, shared_dir: Path, document: object, says: str) -> None:
    path = profile(shared_dir / "profiles", document)
    done = cli("run", "--security-opt", f"seccomp={path}", "--rootfs", str(rootfs), "echo", "never")
    assert (done.returncode, done.stdout) == (125, "")
    assert f"the seccomp profile {path}: " in done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_profile_that_is_not_there(cli: Cli, rootfs: Path) -> None:
    done = cli("run", "--security-opt", "seccomp=/no/such/file", "--rootfs", str(rootfs), "true")
    assert done.returncode == 125
    assert "/no/such/file cannot be read: No such file" in done.stderr


@pytest.mark.parametrize("word", ["seccomp", "dance=on", "no-new-privileges=maybe", "landlock", "", "label=enable"])
def test_a_security_option_nobody_knows(cli: Cli, rootfs: Path, word: str) -> None:
    done = cli("run", "--security-opt", word, "--rootfs", str(rootfs), "true")
    assert done.returncode == 125
    assert "--security-opt" in done.stderr


LOOK = """
import os
for path in ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/interrupts"):
    try: print(path, len(open(path, "rb").read(100)))
    except FileNotFoundError: print(path, 0)
    except OSError as e: print(path, "error", e.errno)
for path in ("/sys/firmware", "/proc/acpi", "/proc/scsi"):
    try: print(path, len(os.listdir(path)))
    except FileNotFoundError: print(path, 0)
for path in ("/proc/sysrq-trigger", "/proc/sys/kernel/hostname", "/proc/sys/net/ipv4/ip_forward",
             "/proc/irq/default_smp_affinity", "/sys/power/state",
             "/sys/kernel/uevent_helper"):
    try: os.close(os.open(path, os.O_WRONLY)); print(path, "opened")
    except OSError as e: print(path, e.errno)
"""


@pytest.mark.parametrize("more", [(), ("--userns", "host"), ("--cap-add", "ALL")])
def test_masked_and_read_only_paths(root: Cli, more: tuple[str, ...]) -> None:
    done = root("run", *more, "host", *PYTHON, LOOK)
    lines = [line.rpartition(" ") for line in done.stdout.splitlines()]
    found = {path: answer for path, _, answer in lines}
    assert {found[path] for path in ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/interrupts")} == {"0"}
    assert {found[path] for path in ("/sys/firmware", "/proc/acpi", "/proc/scsi")} == {"0"}
    assert "opened" not in found.values()
    if more:
        # with this much power nothing but the read-only mount keeps it
        assert found["/proc/sys/net/ipv4/ip_forward"] == str(errno.EROFS)
    if more == ("--userns", "host"):
        assert found["/proc/sys/kernel/hostname"] == str(errno.EROFS)


def test_masks_can_be_taken_off(root: Cli) -> None:
    done = root("run", "--security-opt", "systempaths=unconfined", "--userns", "host", "host", *PYTHON, LOOK)
    assert "/proc/sys/kernel/hostname opened" in done.stdout
    assert "/proc/interrupts 100" in done.stdout


NODES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
LINKS = {"fd", "stdin", "stdout", "stderr", "ptmx"}


def test_devices_are_these_and_no_others(anyone: Cli) -> None:
    program = (
        "import os, stat\n"
        "for n in sorted(os.listdir('/dev')):\n"
        "    s = os.lstat('/dev/' + n)\n"
        "    kind = 'node' if stat.S_ISCHR(s.st_mode) or stat.S_ISBLK(s.st_mode) else 'other'\n"
        "    print(n, kind, os.major(s.st_rdev), os.minor(s.st_rdev), oct(s.st_mode & 0o777))\n"
    )
    done = anyone("run", "host", *PYTHON, program)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert {line[0] for line in lines} == {*NODES, *LINKS, "pts", "shm", "mqueue"}
    assert {line[0]: (int(line[2]), int(line[3])) for line in lines if line[1] == "node"} == NODES


def test_devices_can_be_used(anyone: Cli, rootfs: Path) -> None:
    program = (
        "head -c 5 /dev/zero | wc -c; head -c 5 /dev/urandom | wc -c; echo x >/dev/null && echo sunk; "
        "(echo x >/dev/full) 2>&1 | grep -c 'No space'"
    )
    done = anyone("run", "--rootfs", str(rootfs), "sh", "-c", program)
    assert done.stdout.split() == ["5", "5", "sunk", "1"], done.stderr


def test_devices_cannot_be_made(anyone: Cli, rootfs: Path) -> None:
    done = anyone("run", "--rootfs", str(rootfs), "mknod", "/dev/mine", "c", "1", "3")
    assert done.returncode == 1
    assert "Operation not permitted" in done.stderr


def test_a_device_that_was_made_cannot_be_opened(root: Cli, rootfs: Path) -> None:
    program = "mknod /dev/mine c 10 235 && dd if=/dev/mine of=/dev/null count=0; echo $?"  # /dev/autofs
    done = root("run", "--userns", "host", "--cap-add", "MKNOD", "--rootfs", str(rootfs), "sh", "-c", program)
    assert done.stdout == "1\n"


def test_a_device_that_was_asked_for(root: Cli, rootfs: Path) -> None:
    program = "ls -l /dev/mine; head -c 3 /dev/mine | wc -c"
    done = root("run", "--device", "/dev/zero:/dev/mine:r", "--rootfs", str(rootfs), "sh", "-c", program)
    assert done.stdout.startswith("cr--r--r--")
    assert done.stdout.endswith("\n3\n")


def test_a_device_for_reading_cannot_be_written_even_by_root(root: Cli, rootfs: Path) -> None:
    # one that no container has by itself: the rules are about the device, whatever its nodes are called
    program = "exec 3</dev/mine && echo read; exec 4>/dev/mine && echo written"
    done = root("run", "--device", "/dev/fuse:/dev/mine:r", "--rootfs", str(rootfs), "sh", "-c", program)
    assert done.stdout == "read\n"
    assert "not permitted" in done.stderr


def test_descriptors_that_the_caller_leaks_do_not_arrive(anyone: Cli, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    program = (
        "import fcntl\nfound = []\nfor fd in range(1024):\n"
        "    try: fcntl.fcntl(fd, fcntl.F_GETFD); found.append(fd)\n    except OSError: pass\nprint(found)"
    )
    fds = [os.open(secret, os.O_RDONLY) for _ in range(3)]
    high = os.dup2(fds[0], 777)
    try:
        done = anyone("run", "host", *PYTHON, program, pass_fds=(*fds, high))
        plain = subprocess.run(["/usr/bin/python3", "-c", program], pass_fds=(*fds, high), stdout=-1, check=True)
    finally:
        for fd in (*fds, high):
            os.close(fd)
    assert done.stdout == "[0, 1, 2]\n"
    assert b"777" in plain.stdout


def test_the_environment_is_exactly_this(anyone: Cli, rootfs: Path) -> None:
    more = {"SECRET": "x", "LD_PRELOAD": "", "PYTHONPATH": "/x", "LANG": "C.UTF-8", "LC_ALL": "C"}
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    done = anyone("run", "--rootfs", str(rootfs), "env", env=more)
    assert sorted(done.stdout.splitlines()) == ["HOME=/root", path, "container=cloche"]
    done = anyone("run", "host", "/usr/bin/env", env=more)
    lines = [line for line in sorted(done.stdout.splitlines()) if not line.startswith("PATH=")]
    assert lines == ["HOME=/root", "LANG=C.UTF-8", "LC_ALL=C", "container=cloche"]


KEYS = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
number, add = NUMBERS
if sys.argv[1:2] == ["set"]:
    libc.syscall(number, 1, None, 0, 0, 0)  # KEYCTL_JOIN_SESSION_KEYRING
    assert libc.syscall(add, b"user", b"cloche-secret", b"x", 1, -3) > 0
    os.execv(sys.argv[2], sys.argv[2:])
print(libc.syscall(number, 10, -3, b"user", b"cloche-secret", 0) > 0)  # KEYCTL_SEARCH
""".replace("NUMBERS", f"{CALLS['keyctl'][0 if X86 else 1]}, {CALLS['add_key'][0 if X86 else 1]}")


def test_keys_of_the_callers_session_are_out_of_reach(cli: Cli) -> None:
    look = [*PYTHON, KEYS]
    with_key = [*PYTHON, KEYS, "set"]
    found = subprocess.run([*with_key, *look], stdout=subprocess.PIPE, text=True, check=True)
    assert found.stdout == "True\n"
    words = [*cli.argv, "run", "--security-opt", "seccomp=unconfined", "host", *look]
    env = {"PATH": os.environ["PATH"], "CLOCHE_STATE": cli.state}
    inside = subprocess.run([*with_key, "/usr/bin/env", *words], stdout=subprocess.PIPE, text=True, check=True, env=env)
    assert inside.stdout == "False\n"


def test_landlock_holds_where_modes_would_not(anyone: Cli) -> None:
    program = (
        "import os\n"
        "for path in ('/elsewhere', '/tmp/x', '/usr/x', '/etc/x', '/root/x', '/run/x'):\n"
        "    try: os.mkdir(path); print(path, 0)\n    except OSError as e: print(path, e.errno)\n"
    )
    done = anyone("run", "--explain", "host", *PYTHON, program)
    if "this kernel has no Landlock" in done.stderr:
        pytest.skip("needs Landlock")
    found = dict(line.split() for line in done.stdout.splitlines())
    assert found.pop("/elsewhere") == str(errno.EACCES)
    done = anyone("run", "--security-opt", "landlock=off", "host", *PYTHON, program)
    without = dict(line.split() for line in done.stdout.splitlines())
    assert without.pop("/elsewhere") == "0"
    assert found == without
    assert {found[path] for path in ("/tmp/x", "/root/x", "/run/x")} == {"0"}


def test_the_interpreter_is_gone_once_the_command_runs(anyone: Cli) -> None:
    python = os.stat(os.path.realpath(anyone.python))
    program = "import os; s = os.stat('/proc/1/exe'); print(s.st_dev, s.st_ino); print(os.readlink('/proc/1/exe'))"
    done = anyone("run", "host", *PYTHON, program)
    numbers_, link = done.stdout.splitlines()
    assert numbers_ != f"{python.st_dev} {python.st_ino}"
    assert link == os.path.realpath("/usr/bin/python3")  # the container's own, above the throwaway layer


@pytest.mark.parametrize("more", [(), ("--userns", "host")])
def test_a_small_init_cannot_be_reached(root: Cli, rootfs: Path, more: tuple[str, ...]) -> None:
    program = "cat /proc/1/exe >/dev/null; cat /proc/1/mem; ls -l /proc/1/cwd; cat /proc/1/environ; echo done"
    done = root("run", "--init", *more, "--rootfs", str(rootfs), "sh", "-c", program)
    assert done.stderr.count("ermission denied") == 4
    assert done.stdout.endswith("done\n")
    assert "->" not in done.stdout


OVERWRITE = """#!/proc/self/exe
import os
fd = os.open("/proc/self/exe", os.O_RDONLY)
os.set_inheritable(fd, True)
print("interpreter reached", flush=True)
program = f"readlink /proc/self/fd/{fd}; (echo overwritten >>/proc/self/fd/{fd}) 2>/dev/null || echo refused"
os.execv("/bin/sh", ["sh", "-c", program])
"""


def test_an_entry_point_cannot_overwrite_the_interpreter(root: Cli, shared_dir: Path) -> None:
    folder = shared_dir / "overwrite"
    folder.mkdir()
    # a copy of the interpreter, so that no harm is done should this ever succeed
    python = folder / "python3"
    shutil.copy(os.path.realpath(root.python), python)
    before = python.read_bytes()
    evil = folder / "evil"
    evil.write_text(OVERWRITE)
    evil.chmod(0o755)
    cli = Cli("root", root.source, str(python))
    words = ("--security-opt", "landlock=off", "-v", f"{evil}:/evil:ro", "host", "/evil")
    done = cli("run", "--userns", "host", *words)
    assert done.stdout.startswith("interpreter reached\n/memfd:"), done.stderr
    assert done.stdout.endswith("refused\n")
    assert python.read_bytes() == before
    # with ids of its own, the container has nobody who may write that file
    done = cli("run", *words)
    assert "overwritten" not in done.stdout
    assert python.read_bytes() == before


def test_privileged_takes_most_of_it_away(root: Cli, rootfs: Path) -> None:
    found = status(root, rootfs, "--privileged")
    assert (found["CapBnd"], found["CapEff"]) == (EVERY, EVERY)
    assert (found["NoNewPrivs"], found["Seccomp"]) == ("0", "0")
    program = "mount -t tmpfs x /tmp && echo mounted; echo 0 >/proc/sys/net/ipv4/ip_forward && echo set; ls /dev"
    done = root("run", "--privileged", "--rootfs", str(rootfs), "sh", "-c", program)
    words = done.stdout.split()
    assert words[:2] == ["mounted", "set"]
    nodes = {n for n in os.listdir("/dev") if stat.S_ISCHR(os.lstat(f"/dev/{n}").st_mode)} - {"console", "ptmx"}
    assert nodes <= set(words)
    program = program.replace("ls /dev", "true")
    assert root("run", "--rootfs", str(rootfs), "sh", "-c", program).stdout == ""
    done = root("run", "--privileged", "--explain", "--rootfs", str(rootfs), "true")
    assert "switched off: every system call of the kernel can be reached" in done.stderr


@pytest.mark.parametrize("closed", [">&-", "<&- >&-", "<&- >&- 2>&-", "2>&-"])
def test_a_closed_standard_descriptor_is_nothing_of_ours(anyone: Cli, rootfs: Path, closed: str) -> None:
    # a file or socket of our own would have its number else, and be handed to the command as its output
    folder = Path(anyone.state) / "descriptors"
    folder.mkdir(mode=0o777, exist_ok=True)
    folder.chmod(0o777)
    script = "for fd in 0 1 2; do readlink /proc/self/fd/$fd; done >/out/found"
    words = [*anyone.argv, "run", "-i", "-v", f"{folder}:/out", "--rootfs", str(rootfs), "sh", "-c", script]
    env = {"PATH": os.environ["PATH"], "HOME": "/", "CLOCHE_STATE": anyone.state}
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh", *words]
    done = subprocess.run(shell, stdin=subprocess.DEVNULL, capture_output=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    found = (folder / "found").read_text().splitlines()
    shutil.rmtree(folder)
    allowed = ("/dev/null", "pipe:", "/out/found")
    assert all(line.startswith(allowed) for line in found), found


def install(home: Path, command: str) -> Path:
    """The command as pip would install it below `home`; returns it. Nothing has been run from there yet."""
    source = Path(__file__).resolve().parents[2]
    library = home / "lib" / f"python3.{sys.version_info[1]}" / "site-packages"
    library.mkdir(parents=True)
    (home / "bin").mkdir()
    (home / "bin/python3").symlink_to(sys.executable)
    shutil.copy(source / "scripts" / command, home / "bin" / command)
    shutil.copytree(source / "src/cloche", library / "cloche", ignore=shutil.ignore_patterns("__pycache__"))
    return home / "bin" / command


@pytest.mark.parametrize("way", ["absolute", "relative", "here", "found", "link", "dots", "slashes"])
def test_the_bundle_is_used_however_the_command_is_called(tmp_path: Path, way: str) -> None:
    command = install(tmp_path / "home", "cloche-runtime")
    folder = command.parent
    (folder / "other").symlink_to("cloche-runtime")
    ways: dict[str, tuple[str, Path | str]] = {
        "absolute": (str(command), "/"),
        "relative": ("bin/cloche-runtime", tmp_path / "home"),
        "here": ("./cloche-runtime", folder),
        "found": ("cloche-runtime", "/"),
        "link": ("bin/other", tmp_path / "home"),
        "dots": (f"../{folder.name}/./cloche-runtime", folder),
        "slashes": (f"{folder}//cloche-runtime", "/"),
    }
    word, place = ways[way]

    def run(*words: str) -> str:
        env = {"PATH": f"{folder}:{os.environ['PATH']}"}
        return subprocess.run([word, *words], cwd=place, env=env, stdout=subprocess.PIPE, text=True, check=True).stdout

    run("--root", str(tmp_path / "state"), "list")
    (package,) = (tmp_path / "home").glob("lib/*/site-packages/cloche")
    assert list((package / "__pycache__").glob("small-*.bundle"))
    # other code by the same time and size is not noticed, so the old answer is the bundle's
    for cached in (package / "__pycache__").glob("__init__.*.pyc"):
        cached.unlink()
    module = package / "__init__.py"
    before = module.stat()
    module.write_text(re.sub(r'__version__ = "[0-9]', '__version__ = "x', module.read_text()))
    os.utime(module, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert run("--version").startswith(f"cloche-runtime version {cloche.__version__}\n")


@pytest.mark.parametrize(("words", "name"), [("run --rm", "run"), ("run --detach", "run"), ("run -d", "kept")])
def test_any_run_makes_its_bundle(tmp_path: Path, words: str, name: str) -> None:
    command = install(tmp_path / "home", "cloche")
    env = {"CLOCHE_STATE": str(tmp_path / "state"), "CLOCHE_ROOT": str(tmp_path / "store"), "PATH": os.environ["PATH"]}
    for line in (f"{words} host true", "container prune -f"):
        subprocess.run([command, *line.split()], stdout=subprocess.DEVNULL, env=env, check=True)
    made = tmp_path.glob("home/lib/*/site-packages/cloche/__pycache__/*.bundle")
    assert {path.name.partition("-")[0] for path in made} == {name, "verbs"}


def test_the_command_of_a_checkout_finds_the_package_there_and_nowhere_above(tmp_path: Path) -> None:
    source, checkout = Path(__file__).resolve().parents[2], tmp_path / "bin/checkout"
    shutil.copytree(source / "scripts", checkout / "scripts")
    shutil.copytree(source / "src", checkout / "src", ignore=shutil.ignore_patterns("__pycache__"))
    trap = tmp_path / f"lib/python3.{sys.version_info[1]}/site-packages/cloche"
    trap.mkdir(parents=True)
    (trap / "__init__.py").touch()
    (trap / "bundle.py").write_text("raise SystemExit('somebody else is in charge')\n")
    for name in ("cloche", "cloche-runtime"):
        words = [system_python(), "-I", "-S", str(checkout / "scripts" / name), "--version"]
        done = subprocess.run(words, cwd="/", capture_output=True, text=True, check=False)
        assert (done.stderr, done.stdout.partition(".")[0][:6]) == ("", "cloche")


@pytest.mark.parametrize("name", ["cloche", "cloche-runtime"])
def test_what_was_compiled_is_run_only_where_an_import_would_do_so(tmp_path: Path, name: str) -> None:
    command = install(tmp_path / "home", name)

    def version() -> tuple[str, str]:
        done = subprocess.run([command, "--version"], capture_output=True, text=True, check=False)
        return done.stderr, done.stdout.partition(".")[0][:6]

    assert version() == ("", "cloche")
    (package,) = (tmp_path / "home").glob("lib/*/site-packages/cloche")
    (compiled,) = package.glob("__pycache__/bundle.*.pyc")
    whole = compiled.read_bytes()
    for other in (b"", whole[:10], b"\0\0\r\n" + whole[4:16] + b"of another interpreter"):
        compiled.write_bytes(other)
        assert version() == ("", "cloche")
    for moment in (-5, 2**32 + 5):
        os.utime(package / "bundle.py", (moment, moment))
        assert version() == ("", "cloche")


def test_the_bundle_is_used_where_its_owner_has_no_id(tmp_path: Path) -> None:
    """As in the user namespace of an ordinary user's podman; but not where it is known to be somebody else's."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with tempfile.TemporaryDirectory() as top:
        os.chmod(top, 0o755)
        command = install(Path(top) / "home", "cloche-runtime")
        subprocess.run([command, "--root", str(tmp_path), "list"], check=True)
        (package,) = Path(top).glob("home/lib/*/site-packages/cloche")
        (bundle,) = package.glob("__pycache__/small-*.bundle")
        stranger = ["setpriv", "--reuid", "4321", "--clear-groups", "unshare", "-Ur"]

        def modules(*prefix: str) -> int:
            words = [*prefix, "strace", "-e", "openat", str(command), "--root", "/nowhere", "list"]
            done = subprocess.run(words, capture_output=True, text=True, check=True)
            return len(re.findall(r'site-packages/cloche/(?!__pycache__/bundle\.).*\.pyc?"', done.stderr))

        assert modules(*stranger) == 0
        os.chown(bundle, 4322, -1)
        assert modules() > 5


def test_the_bundle_is_code_of_this_installation_alone(tmp_path: Path) -> None:
    env = {"CLOCHE_STATE": str(tmp_path / "state"), "PATH": os.environ["PATH"]}

    def run(home: Path) -> str:
        words = [str(home / "bin/cloche"), "run", "--cpus", "1", "--allow-unenforced", "host", "true"]
        return subprocess.run(words, stdout=subprocess.PIPE, text=True, env=env, umask=0, check=False).stdout

    first = tmp_path / "first"
    install(first, "cloche")
    assert run(first) == ""
    (bundle,) = first.glob("lib/*/site-packages/cloche/__pycache__/*.bundle")
    assert bundle.stat().st_mode & 0o777 == 0o644
    copy = tmp_path / "copy"
    shutil.copytree(first, copy, symlinks=True)
    (values,) = copy.glob("lib/*/site-packages/cloche/sandbox/values.py")
    values.write_text(values.read_text() + "\n\ndef processors(text): raise SystemExit(print('changed'))\n")
    assert run(copy) == "changed\n"
    assert run(first) == ""
