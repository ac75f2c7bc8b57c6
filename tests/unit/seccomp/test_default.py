"""cloche.runtime.seccomp.default: what a container may call, by capability and by argument."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import pytest

from cloche.runtime.seccomp import default, syscalls
from cloche.runtime.seccomp.compile import compile_filter
from cloche.runtime.seccomp.default import default_filter, default_profile, default_program

from .bpf import AUDIT_ARCH, EDGES, ERRNO, I386, KILL_PROCESS, decode, run, verdict

ALLOW = 0x7FFF0000
EPERM, EINVAL, ENOSYS = ERRNO | 1, ERRNO | 22, ERRNO | 38
NONE: frozenset[str] = frozenset()
PODMAN = frozenset(
    "CAP_" + name
    for name in ("CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "SETGID", "SETUID", "SETFCAP", "SETPCAP",
                 "NET_BIND_SERVICE", "SYS_CHROOT", "KILL")
)  # fmt: skip
ADMIN = PODMAN | {"CAP_SYS_ADMIN"}
ALL = frozenset(name for name, _ in default.GRANTS) | {"CAP_AUDIT_WRITE"}
HIGH = 1 << 32


def decide(capabilities: frozenset[str], name: str, *args: int, arch: str = "x86_64") -> int:
    code = decode(default_filter(capabilities, arch).program)
    return run(code, syscalls.number(name, arch), args, AUDIT_ARCH[arch])


@pytest.mark.parametrize("arch", syscalls.ARCHITECTURES)
@pytest.mark.parametrize("capabilities", [NONE, PODMAN, ADMIN, ALL], ids=["none", "podman", "admin", "all"])
def test_the_program_is_the_profile(arch: str, capabilities: frozenset[str]) -> None:
    document = default_profile(capabilities, arch)
    compiled = default_filter(capabilities, arch)
    code = decode(compiled.program)
    assert (compiled.unknown, compiled.warnings, compiled.refusals) == ([], [], {})
    assert compiled.instructions < 128
    near = (*EDGES, 9, 16, 38, 40, 0x5412, 0x541C, 0x20008, 0x10000000, HIGH + 38, HIGH + 0x5412)
    lists = [(first, second, third) for first in near for second in near for third in (0, 9, HIGH + 9)]
    conditional = {syscalls.number(name, arch) for name in default.CONDITIONAL}
    for nr in (*range(600), 0x40000000, 0x40000010, -1):
        for args in lists if nr in conditional else [(0, 0, 0), (HIGH, 1, 2)]:
            assert run(code, nr, args, AUDIT_ARCH[arch]) == verdict(document, nr, args, arch, hide_x32=True), (nr, args)
    assert run(code, 0, (), I386) == KILL_PROCESS


# The programs every sandbox runs under, so that they change, and grow, on purpose only: instructions, SHA-256.
GOLDEN = {
    ("x86_64", "none"): (78, "bb07ec1d42963ce7"),
    ("x86_64", "podman"): (77, "6bde7e763c3ad565"),
    ("x86_64", "admin"): (62, "a9f1e9a6a10ecf4f"),
    ("x86_64", "all"): (48, "000d2fb7a3c4d5d1"),
    ("aarch64", "none"): (79, "8b0acb5949df1556"),
    ("aarch64", "podman"): (78, "48f1e09e9df5a57a"),
    ("aarch64", "admin"): (59, "4639b9f0cd9b29d6"),
    ("aarch64", "all"): (41, "426b916e636cb7de"),
}


@pytest.mark.parametrize(("arch", "who"), GOLDEN)
def test_the_program_is_as_short_as_it_was(arch: str, who: str) -> None:
    compiled = default_filter({"none": NONE, "podman": PODMAN, "admin": ADMIN, "all": ALL}[who], arch)
    assert (compiled.instructions, hashlib.sha256(compiled.program).hexdigest()[:16]) == GOLDEN[arch, who]


def test_every_call_has_one_place() -> None:
    granted = " ".join(names for _, names in default.GRANTS).split()
    allowed = f"{default.ALLOWED} {default.ALLOWED_TRACING} {default.ALLOWED_PROBES}".split()
    refused = " ".join(default.REFUSED).split()
    placed = [*allowed, *dict.fromkeys(granted), *refused, *default.CONDITIONAL]
    existing = {name for arch in syscalls.ARCHITECTURES for name, nr in syscalls.numbers(arch).items() if nr >= 0}
    assert len(placed) == len(set(placed))
    assert set(placed) == existing


def test_the_profile_for_nobody_in_particular() -> None:
    allowed = "read openat execve mmap futex ptrace vmsplice seccomp landlock_restrict_self statx mseal accept4"
    refused = (
        "mount unshare setns bpf perf_event_open io_uring_setup userfaultfd keyctl add_key request_key kexec_load"
        " init_module reboot swapon pivot_root open_by_handle_at syslog acct settimeofday mbind kcmp fsopen"
    )
    assert {decide(PODMAN, name) for name in allowed.split()} == {ALLOW}
    assert {decide(PODMAN, name) for name in refused.split()} == {EPERM}
    assert decide(PODMAN, "clone3") == ENOSYS
    assert run(decode(default_filter(PODMAN).program), 470) == ENOSYS


@pytest.mark.parametrize(("capability", "names"), default.GRANTS)
def test_a_capability_opens_its_calls(capability: str, names: str) -> None:
    for name in names.split():
        if syscalls.number(name, "x86_64") >= 0:
            assert decide(NONE, name) == EPERM
            assert decide(frozenset({capability}), name) == ALLOW
    assert decide(ALL, "io_uring_setup") == decide(ALL, "keyctl") == EPERM


def test_clone_makes_no_namespaces_without_sys_admin() -> None:
    threads = 0x3D0F00
    flags = (0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
    assert decide(PODMAN, "clone", threads) == decide(PODMAN, "clone", 17) == ALLOW
    assert {decide(PODMAN, "clone", threads | flag) for flag in flags} == {EPERM}
    assert {decide(ADMIN, "clone", threads | flag) for flag in flags} == {ALLOW}
    assert decide(ADMIN, "clone3") == ALLOW


def test_terminal_injection_is_refused_whatever_the_upper_half_says() -> None:
    for request in (0x5412, 0x541C):
        for upper in (0, HIGH, 0xFFFFFFFF00000000):
            assert decide(ALL, "ioctl", 0, request + upper) == EPERM
    assert decide(PODMAN, "ioctl", 0, 0x5413) == decide(PODMAN, "ioctl", 0, HIGH) == ALLOW
    assert decide(PODMAN, "ioctl", 0x5412, 0) == ALLOW


def test_sockets() -> None:
    for family in (38, 40):
        assert decide(ALL, "socket", family) == decide(ALL, "socket", family + HIGH) == EPERM
    assert {decide(PODMAN, "socket", family) for family in (1, 2, 10, 16, 17, 39, 41)} == {ALLOW}
    assert decide(PODMAN, "socket", 16, 3, 9) == decide(PODMAN, "socket", HIGH + 16, 3, HIGH + 9) == EINVAL
    assert decide(PODMAN, "socket", 2, 3, 9) == decide(PODMAN, "socket", 16, 3, 15) == ALLOW
    assert decide(ALL, "socket", 16, 3, 9) == ALLOW


def test_personalities() -> None:
    allowed = (0, 8, 0x20000, 0x20008, 0xFFFFFFFF)
    assert {decide(PODMAN, "personality", value) for value in allowed} == {ALLOW}
    assert {decide(PODMAN, "personality", value) for value in (1, 0x40000, 0x0100000)} == {EPERM}


def test_refusals_for_the_supervisor() -> None:
    compiled = default_filter(PODMAN, notify_denied=True)
    code = decode(compiled.program)
    assert compiled.listener
    assert set(compiled.refusals.values()) == {1}
    plain = decode(default_filter(PODMAN).program)
    for nr in range(600):
        before, after = run(plain, nr), run(code, nr)
        assert after == (0x7FC00000 if before == EPERM else before)
        assert before != EPERM or nr in compiled.refusals


def test_one_compilation_for_the_capabilities_that_matter() -> None:
    made = default_program(PODMAN, "x86_64")
    assert made is default_program(frozenset({"CAP_SYS_CHROOT", "CAP_NET_RAW"}), "x86_64")
    assert made[0] == default_filter(PODMAN).program
    assert made != default_program(ADMIN, "x86_64")
    assert made != default_program(PODMAN, "aarch64")


def test_it_survives_being_written_as_json() -> None:
    import json

    document = json.loads(json.dumps(default_profile(PODMAN)))
    assert compile_filter(document, hide_x32=True).program == default_filter(PODMAN).program


def test_importing_loads_nothing_heavy() -> None:
    heavy = ("re", "json", "enum", "dataclasses", "typing", "struct", "ctypes", "_ctypes", "collections", "errno")
    code = f"""import sys; sys.path.insert(0, {os.path.dirname(os.path.dirname(default.__file__))!r} + "/../..")
before = set(sys.modules)
import cloche.runtime.seccomp.default
print(*sorted((set(sys.modules) - before) & set({heavy!r})))"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
