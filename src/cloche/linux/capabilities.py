"""Capabilities: the five sets of a thread, and the bits that say how execve and setuid treat them.

A set is an int here, bit n for capability n, as the kernel has it.

    bounding ───limits──▶ permitted ◀── effective (a subset, what counts now)
                              ▲
    inheritable ──and──▶ ambient: kept over execve of an ordinary program

What does not belong here: which capabilities a container gets.
"""

from __future__ import annotations

import errno

from cloche.linux import kernel, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# linux/capability.h
NAMES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)
_BITS = {name: 1 << bit for bit, name in enumerate(NAMES)}
_VERSION_3 = 0x20080522

# linux/prctl.h
PR_GET_KEEPCAPS, PR_SET_KEEPCAPS = 7, 8
PR_CAPBSET_READ, PR_CAPBSET_DROP = 23, 24
PR_GET_SECUREBITS, PR_SET_SECUREBITS = 27, 28
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_IS_SET, PR_CAP_AMBIENT_RAISE = 1, 2
PR_CAP_AMBIENT_LOWER, PR_CAP_AMBIENT_CLEAR_ALL = 3, 4

# linux/securebits.h; each bit's lock is the next one up
SECBIT_NOROOT = 1 << 0
SECBIT_NO_SETUID_FIXUP = 1 << 2
SECBIT_KEEP_CAPS = 1 << 4
SECBIT_NO_CAP_AMBIENT_RAISE = 1 << 6


def mask(names: Iterable[str]) -> int:
    """The set with these names in it; ValueError for a name that is none."""
    result = 0
    for name in names:
        if name not in _BITS:
            raise ValueError(f"unknown capability {name!r}")
        result |= _BITS[name]
    return result


def names(mask: int) -> list[str]:
    """The names in a set, lowest first; a bit newer than this table is CAP_ and its number."""
    bits = (bit for bit in range(mask.bit_length()) if mask >> bit & 1)
    return [NAMES[bit] if bit < len(NAMES) else f"CAP_{bit}" for bit in bits]


def last_cap() -> int:
    """The highest capability the running kernel knows, asked with prctl(2): no proc needed."""
    bit = len(NAMES) - 1  # Linux 5.9 brought the last one in the table
    try:
        while process.prctl(PR_CAPBSET_READ, bit + 1) >= 0:
            bit += 1
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    return bit


def get() -> tuple[int, int, int]:
    """capget(2): the caller's (effective, permitted, inheritable) sets.

    struct __user_cap_header_struct { u32 version; int pid; }
    struct __user_cap_data_struct { u32 effective, permitted, inheritable; } [2], low half first
    """
    out = bytearray(24)
    kernel.call("capget", kernel.number(125, 90), _VERSION_3.to_bytes(8, "little"), kernel.buffer(out))
    words = memoryview(out).cast("I")
    return words[0] | words[3] << 32, words[1] | words[4] << 32, words[2] | words[5] << 32


def set_(effective: int, permitted: int, inheritable: int) -> None:
    """capset(2): change the caller's sets; EPERM when `permitted` would grow."""
    sets = (effective, permitted, inheritable)
    halves = [half >> shift & 0xFFFFFFFF for shift in (0, 32) for half in sets]
    data = b"".join(half.to_bytes(4, "little") for half in halves)
    kernel.call("capset", kernel.number(126, 91), _VERSION_3.to_bytes(8, "little"), data)


def bounding() -> int:
    """prctl(PR_CAPBSET_READ): the caller's bounding set."""
    return sum(process.prctl(PR_CAPBSET_READ, bit) << bit for bit in range(last_cap() + 1))


def drop_bounding(keep_mask: int) -> None:
    """prctl(PR_CAPBSET_DROP): take all but `keep_mask` out of the bounding set, for good.

    What is already out is not touched, so without CAP_SETPCAP this fails only if it must.
    """
    drop_from_bounding(bounding() & ~keep_mask)


def drop_from_bounding(mask: int) -> None:
    """prctl(PR_CAPBSET_DROP): take `mask` out of the bounding set, for good; needs CAP_SETPCAP."""
    for bit in range(mask.bit_length()):
        if mask >> bit & 1:
            process.prctl(PR_CAPBSET_DROP, bit)


def ambient() -> int:
    """prctl(PR_CAP_AMBIENT_IS_SET), Linux 4.3: the caller's ambient set."""
    bits = range(last_cap() + 1)
    return sum(process.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, bit) << bit for bit in bits)


def ambient_clear() -> None:
    """prctl(PR_CAP_AMBIENT_CLEAR_ALL), Linux 4.3: empty the ambient set."""
    process.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)


def ambient_raise(mask: int) -> None:
    """prctl(PR_CAP_AMBIENT_RAISE), Linux 4.3: add to the ambient set.

    EPERM for what is not both permitted and inheritable.
    """
    for bit in range(mask.bit_length()):
        if mask >> bit & 1:
            process.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, bit)


def keep_on_setuid(value: bool) -> None:
    """prctl(PR_SET_KEEPCAPS): keep the permitted set when all uids leave 0; execve resets this.

    The effective set is emptied all the same, and has to be set again.
    """
    process.prctl(PR_SET_KEEPCAPS, int(value))


def securebits() -> int:
    """prctl(PR_GET_SECUREBITS): the caller's SECBIT_* flags."""
    return process.prctl(PR_GET_SECUREBITS)


def set_securebits(bits: int) -> None:
    """prctl(PR_SET_SECUREBITS): set the SECBIT_* flags; needs CAP_SETPCAP."""
    process.prctl(PR_SET_SECUREBITS, bits)
