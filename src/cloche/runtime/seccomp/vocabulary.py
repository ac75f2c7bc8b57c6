"""The words of a seccomp profile and what they are to the kernel: actions, flags, architectures. Pure."""

from __future__ import annotations

from cloche.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

# linux/seccomp.h, repeated here because `cloche.linux` loads the C library and this needs no kernel
KILL_PROCESS = 0x80000000
KILL_THREAD = 0x00000000
TRAP = 0x00030000
ERRNO = 0x00050000
USER_NOTIF = 0x7FC00000
TRACE = 0x7FF00000
LOG = 0x7FFC0000
ALLOW = 0x7FFF0000
FLAG_NEW_LISTENER = 0x08
FLAG_WAIT_KILLABLE_RECV = 0x20
EPERM, ENOSYS = 1, 38
ACTION = 0xFFFF0000  # the bits of a SECCOMP_RET_* value that say what, without its errno or data
X32_BIT = 0x40000000

_MOST = {ERRNO: 4095, TRACE: 0xFFFF}  # what an action can carry: MAX_ERRNO, SECCOMP_RET_DATA
ACTIONS = {
    "SCMP_ACT_KILL": KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": KILL_PROCESS,
    "SCMP_ACT_KILL_THREAD": KILL_THREAD,
    "SCMP_ACT_TRAP": TRAP,
    "SCMP_ACT_ERRNO": ERRNO,
    "SCMP_ACT_NOTIFY": USER_NOTIF,
    "SCMP_ACT_TRACE": TRACE,
    "SCMP_ACT_LOG": LOG,
    "SCMP_ACT_ALLOW": ALLOW,
}
# TSYNC does nothing here: a filter is loaded by a process with one thread, before it becomes the
# container's. Without `flags` in the profile SPEC_ALLOW is set, as runc does: before Linux 5.16 a
# filter without it turned speculative store bypass off, which slowed the whole container down.
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 0,
    "SECCOMP_FILTER_FLAG_LOG": 0x02,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 0x04,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": FLAG_WAIT_KILLABLE_RECV,
}
_DEFAULT_FLAGS = 0x04
# linux/audit.h: AUDIT_ARCH_*, and the ABIs of 32-bit programs on each architecture; x32 has its sibling's
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
COMPAT_AUDIT_ARCH = {"i386": 0x40000003, "arm": 0x40000028}
COMPAT = {"x86_64": {"SCMP_ARCH_X86": "i386", "SCMP_ARCH_X32": "x32"}, "aarch64": {"SCMP_ARCH_ARM": "arm"}}
ARCHITECTURES = frozenset((
    "SCMP_ARCH_X86", "SCMP_ARCH_X86_64", "SCMP_ARCH_X32", "SCMP_ARCH_ARM", "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_LOONGARCH64", "SCMP_ARCH_M68K", "SCMP_ARCH_MIPS", "SCMP_ARCH_MIPS64", "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL", "SCMP_ARCH_MIPSEL64", "SCMP_ARCH_MIPSEL64N32", "SCMP_ARCH_PPC", "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE", "SCMP_ARCH_RISCV64", "SCMP_ARCH_S390", "SCMP_ARCH_S390X", "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB", "SCMP_ARCH_PARISC", "SCMP_ARCH_PARISC64",
))  # fmt: skip
HERE = "/linux/seccomp"


def action_value(entry: Mapping[str, Any], key: str, errno_key: str, pointer: str) -> int:
    """An action and its errno as a SECCOMP_RET_* value; the errno is EPERM where none is given."""
    name = entry.get(key)
    action = ACTIONS.get(name) if isinstance(name, str) else None
    if action is None:
        raise SpecError(f"{name!r} is not an action", pointer=f"{pointer}/{key}")
    errno = entry.get(errno_key)
    most = _MOST.get(action)
    if most is None:
        if errno is not None:
            raise SpecError(f"{name} does not take an errno", pointer=f"{pointer}/{errno_key}")
        return action
    if errno is None:
        return action | EPERM
    if not isinstance(errno, int) or isinstance(errno, bool) or not 0 <= errno <= most:
        raise SpecError(f"{errno!r} is not an errno (0 to {most})", pointer=f"{pointer}/{errno_key}")
    return action | errno


def _strings(profile: Mapping[str, Any], key: str) -> list[str]:
    values = profile.get(key) or []
    if not isinstance(values, (list, tuple)) or not all(isinstance(value, str) for value in values):
        raise SpecError("not a list of strings", pointer=f"{HERE}/{key}")
    return list(values)


def compat_abis(profile: Mapping[str, Any], arch: str) -> list[str]:
    """Check `architectures`; the ABIs of 32-bit programs that it lets in on `arch`.

    `arch` itself is always in, as with runc; what this machine cannot run is no mistake.
    """
    found = []
    for name in _strings(profile, "architectures"):
        if name not in ARCHITECTURES:
            raise SpecError(f"{name!r} is not an architecture", pointer=f"{HERE}/architectures")
        if name in COMPAT[arch]:
            found.append(COMPAT[arch][name])
    return list(dict.fromkeys(found))


def filter_flags(profile: Mapping[str, Any]) -> int:
    """The profile's `flags` as SECCOMP_FILTER_FLAG_* bits."""
    if profile.get("flags") is None:
        return _DEFAULT_FLAGS
    flags = 0
    for name in _strings(profile, "flags"):
        if name not in FLAGS:
            raise SpecError(f"{name!r} is not a flag", pointer=f"{HERE}/flags")
        flags |= FLAGS[name]
    return flags
