"""The seccomp profile (config-linux.md "Seccomp"): which system calls do what.

Names are libseccomp's. Compiling a profile into a filter happens elsewhere.
"""

from __future__ import annotations

from cloche.spec.document import Document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal, TypeAlias

    from cloche.spec.shape import u32, u64

SeccompAction: TypeAlias = """Literal[
    "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP", "SCMP_ACT_ERRNO",
    "SCMP_ACT_TRACE", "SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY",
]"""
SeccompArch: TypeAlias = """Literal[
    "SCMP_ARCH_X86", "SCMP_ARCH_X86_64", "SCMP_ARCH_X32", "SCMP_ARCH_ARM", "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_MIPS", "SCMP_ARCH_MIPS64", "SCMP_ARCH_MIPS64N32", "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64", "SCMP_ARCH_MIPSEL64N32", "SCMP_ARCH_PPC", "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE", "SCMP_ARCH_S390", "SCMP_ARCH_S390X", "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64", "SCMP_ARCH_RISCV64", "SCMP_ARCH_LOONGARCH64", "SCMP_ARCH_M68K",
    "SCMP_ARCH_SH", "SCMP_ARCH_SHEB",
]"""
SeccompFlag: TypeAlias = """Literal[
    "SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
]"""
SeccompOperator: TypeAlias = """Literal[
    "SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ",
]"""


class SeccompArg(Document):
    """A condition on argument `index` (0 to 5); for MASKED_EQ `value` is the mask, `valueTwo` the datum."""

    index: u32
    value: u64
    op: SeccompOperator
    valueTwo: u64 = 0


class Syscall(Document):
    """What happens to some system calls, where all of `args` hold."""

    names: list[str]
    action: SeccompAction
    errnoRet: u32 | None = None
    args: list[SeccompArg] | None = None


class Seccomp(Document):
    """A whole profile; calls that no rule names get `defaultAction`."""

    defaultAction: SeccompAction
    defaultErrnoRet: u32 | None = None
    architectures: list[SeccompArch] | None = None
    flags: list[SeccompFlag] | None = None
    listenerPath: str | None = None
    listenerMetadata: str | None = None
    syscalls: list[Syscall] | None = None
