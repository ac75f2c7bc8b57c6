"""cloche.runtime.seccomp.describe: sentences that agree with what the filter does."""

from __future__ import annotations

from cloche.runtime.seccomp.default import default_profile
from cloche.runtime.seccomp.describe import explain


def test_the_default_profile() -> None:
    allowed, refused, depends, rest = explain(default_profile(frozenset()))
    assert allowed.startswith("307 system calls are allowed: read, write, ")
    assert "refused with EPERM: io_uring_setup" in refused
    assert depends == "It depends on the arguments for clone, personality, ioctl, socket."
    assert rest == "Anything else is refused with ENOSYS."


def test_a_small_profile() -> None:
    rules = [
        {"names": ["mount", "mount", "socketcall", "no_such_call"], "action": "SCMP_ACT_ERRNO"},
        {"names": ["mount"], "action": "SCMP_ACT_KILL"},
        {"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY", "args": [{"index": 1, "op": "SCMP_CMP_EQ"}]},
        {"names": ["bpf", "acct"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4000},
    ]
    assert explain({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}) == [
        "1 system call is refused with EPERM: mount.",
        "2 system calls are refused with errno 4000: bpf, acct.",
        "It depends on the arguments for mkdir.",
        "Anything else is allowed.",
    ]
    both = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_ARM"]}
    assert explain(both) == [
        "Anything else is allowed.",
        "The same goes for 32-bit programs (i386, x32), by the numbers they have for these.",
    ]
    assert explain({"defaultAction": "SCMP_ACT_KILL_PROCESS"}) == ["Anything else is answered by killing the process."]
