"""config.json: `linux.seccomp`, tried with system calls from inside."""

from __future__ import annotations

import array
import contextlib
import ctypes
import errno
import fcntl
import json
import os
import signal
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.runtime.looking import capable, only_cloche, python, refused, since, status, told, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.runtime.conftest import Bundle, MakeBundle, Runtime

# linux/seccomp.h: SECCOMP_IOCTL_NOTIF_RECV, _SEND, for structs of 80 and 24 bytes
RECEIVE, SEND = 0xC0502100, 0xC0182101
# a call with harmless arguments, chosen as nothing else of a program's start or end makes it
CALL = (
    "import ctypes, sys; libc = ctypes.CDLL(None, use_errno=True); n = {number};"
    "r = libc.syscall(n, *[ctypes.c_ulong(int(a)) for a in {args}]); print(r, ctypes.get_errno())"
)
NUMBERS = {"getpriority": 140, "umask": 95, "sethostname": 170, "times": 100, "lookup_dcookie": 212}
if os.uname().machine == "aarch64":
    NUMBERS = {"getpriority": 141, "umask": 166, "sethostname": 161, "times": 153, "lookup_dcookie": 18}


def filtered(made: Bundle, *rules: dict[str, Any], default: str = "SCMP_ACT_ALLOW", **more: Any) -> Bundle:
    made.linux["seccomp"] = {"defaultAction": default, "syscalls": list(rules), **more}
    return made


def rule(action: str, *names: str, **more: Any) -> dict[str, Any]:
    return {"names": list(names), "action": action, **more}


def calling(made: Bundle, name: str, *args: int) -> Bundle:
    """Make one system call and print its result and errno."""
    return python(made, CALL.format(number=NUMBERS[name], args=list(args)))


def called(runtime: Runtime, made: Bundle, name: str, *args: int) -> list[int]:
    return [int(word) for word in told(runtime, calling(made, name, *args)).split()]


def test_a_filter_is_there(runtime: Runtime, bundle: MakeBundle) -> None:
    made = filtered(bundle(), rule("SCMP_ACT_ERRNO", "getpriority"))
    assert status(waiting(runtime, made))["Seccomp"] == "2"


def test_no_section_is_no_filter(runtime: Runtime, bundle: MakeBundle) -> None:
    assert status(waiting(runtime, bundle()))["Seccomp"] == "0"


@pytest.mark.parametrize(("ret", "expected"), [(None, errno.EPERM), (38, 38), (1, 1), (500, 500), (0, 0)])
def test_errno(runtime: Runtime, bundle: MakeBundle, ret: int | None, expected: int) -> None:
    """ "If not specified its default value is EPERM." """
    more = {} if ret is None else {"errnoRet": ret}
    found = called(runtime, filtered(bundle(), rule("SCMP_ACT_ERRNO", "getpriority", **more)), "getpriority", 0, 0)
    assert found == ([-1, expected] if expected else [0, 0])


def test_a_default_errno(runtime: Runtime, bundle: MakeBundle) -> None:
    """An allow-list as engines write it, with an errno for all else; what is allowed here is all that is needed."""
    more = {"defaultErrnoRet": 52}
    made = filtered(bundle(), rule("SCMP_ACT_ALLOW", *ALL), default="SCMP_ACT_ERRNO", **more)
    assert called(runtime, made, "getpriority", 0, 0) == [-1, 52]
    made = filtered(bundle(), rule("SCMP_ACT_ALLOW", "getpriority", *ALL), default="SCMP_ACT_ERRNO", **more)
    assert called(runtime, made, "getpriority", 0, 0)[1] == 0


@pytest.mark.parametrize(
    ("action", "code"),
    [("SCMP_ACT_KILL_PROCESS", 128 + 31), ("SCMP_ACT_TRAP", 128 + 31), ("SCMP_ACT_KILL", 128 + 31)],
)
def test_killing(runtime: Runtime, bundle: MakeBundle, action: str, code: int) -> None:
    done = runtime.run(calling(filtered(bundle(), rule(action, "getpriority")), "getpriority", 0, 0))
    assert done.stdout == ""
    assert done.returncode == code, done.stderr


THREADS = (
    "import ctypes, threading; libc = ctypes.CDLL(None);"
    "t = threading.Thread(target=lambda: libc.syscall({number}, 0, 0), daemon=True); t.start();"
    "t.join(1.0); import os; os.write(1, b'others live'); os._exit(0)"
)


@pytest.mark.parametrize(("action", "lives"), [("SCMP_ACT_KILL_THREAD", True), ("SCMP_ACT_KILL_PROCESS", False)])
def test_killing_a_thread(runtime: Runtime, bundle: MakeBundle, action: str, lives: bool) -> None:
    made = filtered(bundle(), rule(action, "getpriority"))
    done = runtime.run(python(made, THREADS.format(number=NUMBERS["getpriority"])))
    assert ("others live" in done.stdout) is lives


@pytest.mark.parametrize("action", ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG"])
def test_letting_through(runtime: Runtime, bundle: MakeBundle, action: str) -> None:
    default = "SCMP_ACT_LOG" if action == "SCMP_ACT_ALLOW" else "SCMP_ACT_ALLOW"
    made = filtered(bundle(), rule(action, "getpriority"), default=default)
    assert called(runtime, made, "getpriority", 0, 0)[1] == 0


PTRACE_GETEVENTMSG, PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH = 0x4201, 0x4206, 0x4207, 17  # linux/ptrace.h
PTRACE_GET_FILTER, PTRACE_GET_METADATA = 0x420C, 0x420D
TRACE_SECCOMP, EVENT_SECCOMP = 0x80, 7
WALL = 0x40000000


def ptrace(request: int, pid: int, address: int = 0, data: object = 0) -> int:
    """ptrace(2)."""
    call = ctypes.CDLL(None, use_errno=True).ptrace
    call.restype = ctypes.c_long
    call.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    done = int(call(request, pid, address, data))
    assert done >= 0, os.strerror(ctypes.get_errno())
    return done


def loaded(pid: int) -> tuple[set[int], int]:
    """What the filter of a process may return, and its flags, as far as the kernel tells: LOG is 2."""
    ptrace(PTRACE_SEIZE, pid)
    try:
        ptrace(PTRACE_INTERRUPT, pid)
        os.waitpid(pid, WALL)
        program = ctypes.create_string_buffer(8 * ptrace(PTRACE_GET_FILTER, pid))
        ptrace(PTRACE_GET_FILTER, pid, data=program)
        metadata = ctypes.create_string_buffer(16)  # struct seccomp_metadata { __u64 filter_off, flags; }
        ptrace(PTRACE_GET_METADATA, pid, 16, metadata)
    finally:
        ptrace(PTRACE_DETACH, pid)
    # struct sock_filter { __u16 code; __u8 jt, jf; __u32 k; }: 6 is BPF_RET|BPF_K
    returned = {k for code, _, _, k in struct.iter_unpack("HBBI", program.raw) if code == 6}
    return returned, struct.unpack("QQ", metadata.raw)[1]


@pytest.mark.parametrize(
    ("action", "more", "returned"),
    [
        ("SCMP_ACT_LOG", {}, 0x7FFC0000),
        ("SCMP_ACT_TRACE", {"errnoRet": 5}, 0x7FF00005),
        ("SCMP_ACT_ERRNO", {"errnoRet": 5}, 0x00050005),
        ("SCMP_ACT_TRAP", {}, 0x00030000),
    ],
)
def test_the_filter_as_the_kernel_has_it(
    runtime: Runtime, bundle: MakeBundle, action: str, more: dict[str, Any], returned: int
) -> None:
    """What an action returns to the kernel (linux/seccomp.h), for those that look like another one from inside."""
    made = filtered(bundle(), rule(action, "getpriority", **more))
    assert returned in loaded(waiting(runtime, made))[0]


@pytest.mark.parametrize("flags", [[], ["SECCOMP_FILTER_FLAG_LOG"]])
def test_the_log_flag_as_the_kernel_has_it(runtime: Runtime, bundle: MakeBundle, flags: list[str]) -> None:
    since(runtime, runc="1.2", crun="1.8")
    made = filtered(bundle(), rule("SCMP_ACT_ERRNO", "getpriority"), flags=flags)
    assert loaded(waiting(runtime, made))[1] == (2 if flags else 0)


def test_tracing_with_a_tracer(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    """The tracer gets the errno as its message, and the call is carried out."""
    (place / "source").mkdir()
    code = "import os, time\nwhile not os.path.exists('/mnt/go'): time.sleep(0.02)\n"
    code += CALL.format(number=NUMBERS["getpriority"], args=[0, 0])
    made = filtered(bundle(), rule("SCMP_ACT_TRACE", "getpriority", errnoRet=5)).bind(place / "source", "/mnt")
    id = runtime.running(python(made, code))
    pid = runtime.pid(id)
    ptrace(PTRACE_SEIZE, pid, data=TRACE_SECCOMP)
    (place / "source/go").touch()
    _, stopped = os.waitpid(pid, WALL)
    assert stopped >> 8 == signal.SIGTRAP | EVENT_SECCOMP << 8
    message = ctypes.c_ulong()
    ptrace(PTRACE_GETEVENTMSG, pid, data=ctypes.addressof(message))
    ptrace(PTRACE_DETACH, pid)
    assert message.value == 5
    assert runtime.finish(id).split() == ["20", "0"]


def test_tracing_without_a_tracer(runtime: Runtime, bundle: MakeBundle) -> None:
    """seccomp(2): without a tracer the call fails with ENOSYS."""
    made = filtered(bundle(), rule("SCMP_ACT_TRACE", "getpriority", errnoRet=5))
    assert called(runtime, made, "getpriority", 0, 0) == [-1, errno.ENOSYS]


BIG = 1 << 40


@pytest.mark.parametrize(
    ("op", "value", "two", "hits", "misses"),
    [
        ("SCMP_CMP_EQ", 7, 0, [7], [6, 8, 7 + BIG]),
        ("SCMP_CMP_NE", 7, 0, [6, 8, 7 + BIG], [7]),
        ("SCMP_CMP_LT", 7, 0, [0, 6], [7, 8, BIG]),
        ("SCMP_CMP_LE", 7, 0, [6, 7], [8, BIG]),
        ("SCMP_CMP_GE", 7, 0, [7, 8, BIG], [6]),
        ("SCMP_CMP_GT", 7, 0, [8, BIG], [6, 7]),
        ("SCMP_CMP_MASKED_EQ", 0xF0, 0x30, [0x30, 0x3F, 0xF30], [0x20, 0]),
        ("SCMP_CMP_EQ", BIG + 7, 0, [BIG + 7], [7, BIG, 2 * BIG + 7]),
        ("SCMP_CMP_GT", BIG, 0, [BIG + 1, 2 * BIG], [BIG, 7]),
        ("SCMP_CMP_LE", BIG, 0, [BIG, 0], [BIG + 1]),
        ("SCMP_CMP_MASKED_EQ", BIG, BIG, [BIG, BIG + 3], [0, 3]),
        ("SCMP_CMP_GE", (1 << 64) - 1, 0, [(1 << 64) - 1], [(1 << 64) - 2, 0]),
    ],
)
def test_operators(
    runtime: Runtime, bundle: MakeBundle, op: str, value: int, two: int, hits: list[int], misses: list[int]
) -> None:
    """All 64 bits of an argument count."""
    args = [{"index": 2, "value": value, "valueTwo": two, "op": op}]
    made = filtered(bundle(), rule("SCMP_ACT_ERRNO", "getpriority", errnoRet=71, args=args))
    code = (
        "import ctypes; libc = ctypes.CDLL(None, use_errno=True)\n"
        f"for v in {hits + misses}:\n"
        "    ctypes.set_errno(0)\n"
        f"    libc.syscall({NUMBERS['getpriority']}, 0, 0, ctypes.c_ulong(v)); print(ctypes.get_errno())"
    )
    found = [int(word) for word in told(runtime, python(made, code)).split()]
    assert found == [71] * len(hits) + [0] * len(misses)


def test_every_argument_of_a_rule_has_to_match(runtime: Runtime, bundle: MakeBundle) -> None:
    args = [{"index": i, "value": v, "op": "SCMP_CMP_EQ"} for i, v in ((2, 5), (3, 6))]
    made = filtered(bundle(), rule("SCMP_ACT_ERRNO", "getpriority", errnoRet=71, args=args))
    assert called(runtime, made, "getpriority", 0, 0, 5, 6)[1] == 71
    assert called(runtime, made, "getpriority", 0, 0, 5, 7)[1] == 0


def test_one_of_several_rules_is_enough(runtime: Runtime, bundle: MakeBundle) -> None:
    """Rules of one call and one action: any of them. The same argument twice in one rule as well, as engines know it
    from libseccomp, which takes each for a rule of its own."""
    one, two = ([{"index": 2, "value": value, "op": "SCMP_CMP_EQ"}] for value in (5, 6))
    rules = [rule("SCMP_ACT_ERRNO", "getpriority", errnoRet=71, args=args) for args in (one, two)]
    for value, expected in ((5, 71), (6, 71), (7, 0)):
        assert called(runtime, filtered(bundle(), *rules), "getpriority", 0, 0, value)[1] == expected
    both = rule("SCMP_ACT_ERRNO", "getpriority", errnoRet=71, args=one + two)
    assert called(runtime, filtered(bundle(), both), "getpriority", 0, 0, 6)[1] == 71


def test_several_names_in_one_rule(runtime: Runtime, bundle: MakeBundle) -> None:
    made = filtered(bundle(), rule("SCMP_ACT_ERRNO", "getpriority", "sethostname", errnoRet=71))
    assert called(runtime, made, "getpriority", 0, 0)[1] == 71
    assert called(runtime, capable(made), "sethostname", 0, 0)[1] == 71


def test_names_this_kernel_does_not_have_are_left_out(runtime: Runtime, bundle: MakeBundle) -> None:
    """Profiles name calls of every architecture and of kernels to come."""
    made = filtered(bundle(), rule("SCMP_ACT_ERRNO", "arm_sync_file_range", "call_of_tomorrow", "getpriority"))
    assert called(runtime, made, "getpriority", 0, 0) == [-1, 1]


@pytest.mark.parametrize("flag", ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"])
def test_flags(runtime: Runtime, bundle: MakeBundle, flag: str) -> None:
    since(runtime, runc="1.2", crun="1.8")
    made = filtered(bundle(), rule("SCMP_ACT_ERRNO", "getpriority"), flags=[flag])
    pid = waiting(runtime, made)
    assert status(pid)["Seccomp"] == "2"
    if flag.endswith("SPEC_ALLOW") and "Speculation_Store_Bypass" in status(pid):
        ours = status("self")["Speculation_Store_Bypass"]
        assert status(pid)["Speculation_Store_Bypass"] in (ours, "vulnerable", "thread vulnerable")


def test_architectures(runtime: Runtime, bundle: MakeBundle) -> None:
    """Calls of the machine's own architecture are filtered when others are named beside it; a 32-bit call by a program
    where only the 64-bit architecture is named does not get past the filter."""
    native = "SCMP_ARCH_X86_64" if os.uname().machine == "x86_64" else "SCMP_ARCH_AARCH64"
    other = "SCMP_ARCH_X86" if os.uname().machine == "x86_64" else "SCMP_ARCH_ARM"
    made = filtered(bundle(), rule("SCMP_ACT_ERRNO", "getpriority"), architectures=[native, other])
    assert called(runtime, made, "getpriority", 0, 0) == [-1, 1]
    made = filtered(bundle(), rule("SCMP_ACT_ERRNO", "getpriority"), architectures=[native])
    assert called(runtime, made, "getpriority", 0, 0) == [-1, 1]


# int $0x80 with eax = 96 (getpriority of i386): mov eax, 96; xor ebx, ebx; xor ecx, ecx; int 0x80; ret; rbx is kept
COMPAT = (
    "import ctypes, mmap; m = mmap.mmap(-1, 4096, prot=7);"
    "m.write(bytes.fromhex('53b86000000031db31c9cd80{cdq}5bc3'));"
    "f = ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(m))); print(f())"
)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="another test would be needed on aarch64")
def test_calls_of_another_architecture(runtime: Runtime, bundle: MakeBundle) -> None:
    """Named: filtered as well. Not named: killed, never let through."""
    code = COMPAT.format(cdq="4898")
    plain = runtime.run(python(bundle(), code))
    if plain.returncode != 0:
        pytest.skip("this kernel runs no 32-bit calls")
    both = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    made = filtered(bundle(), rule("SCMP_ACT_ERRNO", "getpriority", errnoRet=71), architectures=both)
    assert told(runtime, python(made, code)).strip() == "-71"
    made = filtered(bundle(), rule("SCMP_ACT_ERRNO", "getpriority", errnoRet=71), architectures=both[:1])
    done = runtime.run(python(made, code))
    assert done.returncode != 0 or done.stdout.strip() == "-71"


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="x32 is of x86-64")
def test_x32_is_no_way_round(runtime: Runtime, bundle: MakeBundle) -> None:
    made = filtered(bundle(), rule("SCMP_ACT_ERRNO", "getpriority", errnoRet=71), architectures=["SCMP_ARCH_X86_64"])
    code = CALL.format(number=0x40000000 + 140, args=[0, 0])
    done = runtime.run(python(made, code))
    assert done.returncode != 0 or done.stdout.split()[0] == "-1"


def test_the_filter_holds_for_exec_too(runtime: Runtime, bundle: MakeBundle) -> None:
    made = filtered(python(bundle(), ""), rule("SCMP_ACT_ERRNO", "getpriority", errnoRet=71)).command("sleep", "600")
    id = runtime.running(made)
    code = CALL.format(number=NUMBERS["getpriority"], args=[0, 0])
    done = runtime.exec(id, "/usr/bin/python3", "-I", "-S", "-c", code)
    assert done.stdout.split() == ["-1", "71"], done.stderr


def test_the_filter_with_and_without_no_new_privileges(runtime: Runtime, bundle: MakeBundle) -> None:
    for value in (True, False):
        made = filtered(bundle(), rule("SCMP_ACT_ERRNO", "getpriority", errnoRet=71))
        made.process["noNewPrivileges"] = value
        made.process["user"] = {"uid": 1000, "gid": 1000}
        assert called(runtime, made, "getpriority", 0, 0)[1] == 71


def test_a_filter_may_deny_what_the_runtime_itself_needs(runtime: Runtime, bundle: MakeBundle) -> None:
    """It is loaded last: nothing of the set-up is under it."""
    names = ["mount", "pivot_root", "setns", "unshare", "open_tree", "move_mount", "capset", "sethostname", "chroot"]
    names += ["mount_setattr", "fsopen", "fsmount", "umount2", "setresuid", "setuid", "setgid", "setgroups", "mknod"]
    made = filtered(bundle("true"), rule("SCMP_ACT_KILL_PROCESS", *names))
    told(runtime, made)


@pytest.mark.parametrize("action", ["SCMP_ACT_ALLOW", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_LOG", "SCMP_ACT_TRAP"])
@pytest.mark.parametrize("where", ["rule", "default"])
def test_an_errno_for_an_action_that_has_none_is_refused(
    runtime: Runtime, bundle: MakeBundle, action: str, where: str
) -> None:
    """ "When the action doesn't support an errno, the runtime MUST print and error and fail." """
    runtime.not_like("runc", "crun", because="config-linux.md, seccomp: ignore it")
    if where == "rule":
        made = filtered(bundle("true"), rule(action, "getpriority", errnoRet=5))
        refused(runtime, made, "/linux/seccomp/syscalls/0/errnoRet")
    else:
        made = filtered(bundle("true"), default=action, defaultErrnoRet=5)
        refused(runtime, made, "/linux/seccomp/defaultErrnoRet")


@pytest.mark.parametrize(
    ("section", "pointer"),
    [
        ({"defaultAction": "SCMP_ACT_DANCE"}, "/defaultAction"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_Z80"]}, "/architectures/0"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["umask"], "action": "X"}]}, "/syscalls/0/action"),
        (
            {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [rule("SCMP_ACT_ERRNO", "umask", args=[{"index": 0, "value": 0, "op": "SCMP_CMP_LIKE"}])],
            },
            "/syscalls/0/args/0/op",
        ),
        (
            {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [rule("SCMP_ACT_ERRNO", "umask", args=[{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}])],
            },
            "/syscalls/0/args/0/index",
        ),
        ({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_FLY"], "syscalls": []}, "/flags/0"),
    ],
)
def test_a_section_that_means_nothing_is_refused(
    runtime: Runtime, bundle: MakeBundle, section: dict[str, Any], pointer: str
) -> None:
    if pointer in ("/flags/0", "/defaultAction"):
        only_cloche(runtime, "some versions of runc and crun do not look at what has no effect")
    section.setdefault("syscalls", [rule("SCMP_ACT_ERRNO", "getpriority")])
    made = bundle("true")
    made.linux["seccomp"] = section
    refused(runtime, made, f"/linux/seccomp{pointer}")


# SCMP_ACT_NOTIFY


class Agent:
    """A seccomp agent: takes one container process state, then answers calls."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(str(path))
        self.socket.listen(4)
        self.socket.settimeout(20)
        self.states: list[dict[str, Any]] = []
        self.first: list[int] = []  # how many descriptors came with the first message, of each connection
        self.closed: list[bool] = []  # "it MUST be closed after sending a seccomp state"
        self.fds: list[int] = []
        self.numbers: list[int] = []

    def take(self) -> None:
        """One connection to its end."""
        peer, _ = self.socket.accept()
        with peer:
            peer.settimeout(20)
            data, control, _, _ = peer.recvmsg(65536, socket.CMSG_SPACE(16 * 4))
            fds = array.array("i")
            for level, kind, body in control:
                assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
                fds.frombytes(body[: len(body) - len(body) % 4])
            self.first.append(len(fds))
            self.fds += fds
            while not data.rstrip().endswith(b"}") or data.count(b"{") != data.count(b"}"):
                data += peer.recv(65536)
            self.states.append(json.loads(data))
            peer.settimeout(0.5)
            try:
                self.closed.append(peer.recv(1) == b"")
            except TimeoutError:
                self.closed.append(False)

    def answer(self, error: int = 0, value: int = 0) -> None:
        """Answer one call with an errno or a value."""
        request = bytearray(80)
        fcntl.ioctl(self.fds[-1], RECEIVE, request)
        self.numbers.append(struct.unpack_from("i", request, 16)[0])
        fcntl.ioctl(self.fds[-1], SEND, struct.pack("QqiI", *struct.unpack_from("Q", request), value, -error, 0))

    def serve(self, error: int = 0, value: int = 0) -> None:
        """One connection, one answer."""
        self.take()
        self.answer(error, value)

    def close(self) -> None:
        self.socket.close()
        for fd in self.fds:
            os.close(fd)


@pytest.fixture
def agent(place: Path) -> Iterator[Agent]:
    made = Agent(place / "agent")
    yield made
    made.close()


def test_an_agent_gets_the_state_and_answers(runtime: Runtime, bundle: MakeBundle, agent: Agent) -> None:
    """ "The container runtime MUST send the container process state over the UNIX socket as regular payload serialized
    in JSON and file descriptors MUST be sent using SCM_RIGHTS." """
    made = filtered(
        bundle(),
        rule("SCMP_ACT_NOTIFY", "getpriority"),
        listenerPath=str(agent.path),
        listenerMetadata='MKNOD=/dev/null\n"quoted" ä',
    )
    made.config["annotations"] = {"key": "value"}
    calling(made, "getpriority", 0, 0)
    threading.Thread(target=agent.serve, kwargs={"error": 95}, daemon=True).start()
    id = runtime.create(made)
    pid = runtime.pid(id)
    runtime.start(id)
    assert runtime.finish(id).split() == ["-1", "95"]
    state = agent.states[0]
    assert agent.first == [1]
    assert state["fds"] == ["seccompFd"]
    assert state["pid"] == pid
    assert state["metadata"] == 'MKNOD=/dev/null\n"quoted" ä'
    if runtime.name != "crun":  # writes 0.2.0
        assert state["ociVersion"].startswith("1.")
    inner = state["state"]
    assert (inner["id"], inner["pid"], inner["status"]) == (id, pid, "creating")
    assert inner["bundle"] == str(made.path)
    assert inner["annotations"]["key"] == "value"
    assert agent.numbers == [NUMBERS["getpriority"]]


def test_an_agent_decides_with_no_metadata(runtime: Runtime, bundle: MakeBundle, agent: Agent) -> None:
    made = filtered(bundle(), rule("SCMP_ACT_NOTIFY", "getpriority"), listenerPath=str(agent.path))
    calling(made, "getpriority", 0, 0)
    threading.Thread(target=agent.serve, kwargs={"value": 12}, daemon=True).start()
    assert told(runtime, made).split() == ["12", "0"]
    assert agent.states[0].get("metadata", "") == ""
    if runtime.name == "cloche-runtime":  # the others hold it for as long as they run
        assert agent.closed == [True]


@pytest.mark.parametrize("flags", [[], ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]])
def test_who_waits_for_an_agent_is_interrupted_unless_asked_not_to_be(
    runtime: Runtime, bundle: MakeBundle, agent: Agent, flags: list[str]
) -> None:
    """seccomp_unotify(2): once the agent has the call, a signal that does not kill leaves it waiting."""
    since(runtime, runc="1.2", crun="1.8" if not flags else "never")
    made = filtered(bundle(), rule("SCMP_ACT_NOTIFY", "getpriority"), listenerPath=str(agent.path), flags=flags)
    code = "import signal; signal.signal(signal.SIGUSR1, lambda *_: print('heard', flush=True))\n"
    taker = threading.Thread(target=agent.take, daemon=True)
    taker.start()
    id = runtime.running(python(made, code + CALL.format(number=NUMBERS["getpriority"], args=[0, 0])))
    taker.join(20)
    request = bytearray(80)
    fcntl.ioctl(agent.fds[-1], RECEIVE, request)
    os.kill(runtime.pid(id), signal.SIGUSR1)
    if not flags:
        assert runtime.finish(id).split() == ["heard", "-1", str(errno.EINTR)]
        return
    time.sleep(0.3)  # nothing is to happen
    assert runtime.output(id) == ""
    fcntl.ioctl(agent.fds[-1], SEND, struct.pack("QqiI", *struct.unpack_from("Q", request), 12, 0, 0))
    assert runtime.finish(id).split() == ["heard", "12", "0"]


def test_exec_sends_a_state_of_its_own(runtime: Runtime, bundle: MakeBundle, agent: Agent) -> None:
    """ "The runtime MUST send exactly one container process state per connection." """
    runtime.not_like("crun", because="leaves the pid of the container out of its state")
    made = filtered(
        python(bundle(), "").command("sleep", "600"),
        rule("SCMP_ACT_NOTIFY", "getpriority"),
        listenerPath=str(agent.path),
    )
    first = threading.Thread(target=agent.take, daemon=True)
    first.start()
    id = runtime.running(made)
    first.join(20)
    threading.Thread(target=agent.serve, kwargs={"error": 95}, daemon=True).start()
    code = CALL.format(number=NUMBERS["getpriority"], args=[0, 0])
    done = runtime.exec(id, "/usr/bin/python3", "-I", "-S", "-c", code)
    assert done.stdout.split() == ["-1", "95"], done.stderr
    assert agent.first == [1, 1]
    assert agent.states[1]["pid"] != agent.states[0]["pid"]
    assert agent.states[1]["state"]["pid"] == agent.states[0]["pid"]
    assert agent.states[1]["state"]["status"] == "running"


@pytest.mark.parametrize("there", [False, True])
def test_nobody_who_listens_is_an_error(runtime: Runtime, bundle: MakeBundle, place: Path, there: bool) -> None:
    """ "If sending to this socket fails, the runtime MUST generate an error." """
    path = place / "nobody"
    if there:
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as bound:
            bound.bind(str(path))
    made = filtered(bundle("true"), rule("SCMP_ACT_NOTIFY", "getpriority"), listenerPath=str(path))
    done = runtime.run(made)  # by `create` or by `start`
    assert done.returncode != 0
    assert str(path) in done.stderr or runtime.name != "cloche-runtime"
    assert "Traceback" not in done.stderr


def test_a_listener_nobody_needs_is_ignored(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    """ "If the SCMP_ACT_NOTIFY action is not used this value is ignored." """
    since(runtime, crun="never")
    made = filtered(bundle("true"), rule("SCMP_ACT_ERRNO", "getpriority"), listenerPath=str(place / "nobody"))
    told(runtime, made)


def test_notify_without_a_listener_is_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    since(runtime, crun="never")
    refused(runtime, filtered(bundle("true"), rule("SCMP_ACT_NOTIFY", "getpriority")), "/linux/seccomp")


def test_metadata_without_a_listener_is_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    """ "This field MUST NOT be set if listenerPath is not set." """
    only_cloche(runtime, "runc and crun ignore it")
    made = filtered(bundle("true"), rule("SCMP_ACT_ERRNO", "getpriority"), listenerMetadata="x")
    refused(runtime, made, "/linux/seccomp/listenerMetadata")


# what python and busybox need to start, print and end
ALL = (
    "access arch_prctl brk clock_gettime close dup dup2 dup3 execve exit exit_group fcntl fstat fstatfs futex "
    "getcwd getdents64 getegid geteuid getgid getpid getppid getrandom getrlimit gettid getuid ioctl lseek lstat "
    "madvise mmap mprotect mremap munmap newfstatat open openat openat2 poll ppoll pread64 prctl prlimit64 read "
    "readlink readlinkat readv rseq rt_sigaction rt_sigprocmask rt_sigreturn sched_yield set_robust_list "
    "set_tid_address "
    "sigaltstack stat statx sysinfo uname write writev faccessat faccessat2 nanosleep clock_nanosleep wait4 kill "
    "capget capset chdir fchdir setgid setgroups setuid setresuid setresgid sendmsg recvmsg sendto recvfrom connect "
    "socket close_range memfd_create epoll_create1 epoll_ctl epoll_pwait epoll_wait pipe2 tgkill fchown statfs "
    "sched_getaffinity clone clone3 eventfd2 seccomp setpgid umask pwrite64 mlock unlinkat getsockopt setsockopt"
).split()
