"""cloche.runtime.seccomp.docker: docker's and podman's format, resolved for a container and a machine."""

from __future__ import annotations

from typing import Any

import pytest

from cloche.errors import SpecError
from cloche.runtime.seccomp.compile import compile_filter
from cloche.runtime.seccomp.docker import resolve_docker_profile

from .bpf import I386, decode, run

RAW: dict[str, Any] = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 1,
    "archMap": [
        {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
        {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": None},
    ],
    "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
        {"names": ["oldptrace"], "action": "SCMP_ACT_ALLOW", "excludes": {"minKernel": "4.8"}},
        {"names": ["arch_prctl"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd64", "x32"]}},
        {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["both"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_BPF", "CAP_SYS_ADMIN"]}},
        {
            "names": ["clone"],
            "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": 0x7E020000, "op": "SCMP_CMP_MASKED_EQ"}],
            "excludes": {"caps": ["CAP_SYS_ADMIN"], "arches": ["s390", "s390x"]},
        },
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38, "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
    ],
}


def names(profile: dict[str, Any]) -> list[str]:
    return [rule["names"][0] for rule in profile["syscalls"]]


def resolve(raw: dict[str, Any], *capabilities: str, arch: str = "x86_64", kernel: tuple[int, int] = (6, 1)) -> Any:
    return resolve_docker_profile(raw, frozenset(capabilities), arch, kernel)


def test_by_capability_architecture_and_kernel() -> None:
    plain = resolve(RAW)
    assert names(plain) == ["read", "ptrace", "arch_prctl", "clone", "clone3"]
    assert plain["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    admin = resolve(RAW, "CAP_SYS_ADMIN", arch="aarch64", kernel=(4, 7))
    assert names(admin) == ["read", "oldptrace", "mount"]
    assert admin["architectures"] == ["SCMP_ARCH_AARCH64"]
    assert "both" in names(resolve(RAW, "CAP_SYS_ADMIN", "CAP_BPF"))
    assert names(resolve(RAW, kernel=(4, 10)))[1] == "ptrace"


def test_what_comes_out_compiles() -> None:
    compiled = compile_filter(resolve(RAW))
    code = decode(compiled.program)
    assert not compiled.warnings
    assert run(code, 3, (), I386) == 0x7FFF0000
    allow, eperm, enosys = 0x7FFF0000, 0x50001, 0x50026
    assert [run(code, nr) for nr in (0, 1, 56, 165, 435, 436)] == [allow, eperm, allow, eperm, enosys, enosys]
    assert run(code, 56, (0x10000000,)) == eperm


def test_podmans_names_of_errnos_and_dockers_old_single_names() -> None:
    raw = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrno": "ENOSYS",
        "defaultErrnoRet": 1,
        "syscalls": [{"name": "mount", "action": "SCMP_ACT_ERRNO", "errno": "EINVAL", "args": [], "errnoRet": 1}],
    }
    resolved = resolve(raw)
    assert resolved["defaultErrnoRet"] == 38
    assert resolved["syscalls"] == [{"names": ["mount"], "action": "SCMP_ACT_ERRNO", "args": [], "errnoRet": 22}]


def test_an_oci_profile_stays_as_it_is() -> None:
    raw = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64"],
        "flags": [],
        "listenerPath": "/run/s",
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
    }
    assert resolve(raw) == raw


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"architectures": ["SCMP_ARCH_X86"]}, "/archMap"),
        ({"archMap": "x"}, "/archMap"),
        ({"syscalls": [1]}, "/syscalls"),
        ({"defaultErrno": "EWHAT"}, "/defaultErrno"),
        ({"syscalls": [{"name": "a", "names": ["b"]}]}, "/syscalls/0/name"),
        ({"syscalls": [{"names": ["b"], "includes": []}, {"names": ["b"], "includes": 1}]}, "/syscalls/1/includes"),
        ({"syscalls": [{"names": ["b"], "includes": {"caps": "x"}}]}, "/syscalls/0/includes/caps"),
        ({"syscalls": [{"names": ["b"], "excludes": {"minKernel": "new"}}]}, "/syscalls/0/excludes/minKernel"),
        ({"syscalls": [{"names": ["b"], "excludes": {"minKernel": 5}}]}, "/syscalls/0/excludes/minKernel"),
        ({"syscalls": [{"names": ["b"], "errno": "errorcode"}]}, "/syscalls/0/errno"),
    ],
)
def test_what_is_refused(change: dict[str, Any], pointer: str) -> None:
    with pytest.raises(SpecError) as caught:
        resolve(RAW | change)
    assert caught.value.pointer == pointer
