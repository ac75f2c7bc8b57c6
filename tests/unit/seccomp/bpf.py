"""What a filter decides, found in two ways that share no code with the compiler or each other.

`run` executes a program as the kernel would; `verdict` reads a profile as its specification says,
rule by rule, with numbers of 64 bits. Both return a SECCOMP_RET_* value. Stands alone, so that the
tests that need a kernel can load it too.
"""

from __future__ import annotations

import ctypes
import struct
from typing import Any

from cloche.runtime.seccomp import compat, syscalls

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
I386, ARM = 0x40000003, 0x40000028
X32_BIT = 0x40000000
ABIS = {"SCMP_ARCH_X86": ("i386", I386), "SCMP_ARCH_X32": ("x32", 0xC000003E), "SCMP_ARCH_ARM": ("arm", ARM)}
# What i386 does through socketcall(2) and ipc(2), by the first argument; of ipc's only 16 bits are looked at.
MULTIPLEXED: dict[int, dict[int, str]] = {
    102: dict(enumerate(
        ("socket bind connect listen accept getsockname getpeername socketpair send recv sendto recvfrom shutdown"
         " setsockopt getsockopt sendmsg recvmsg accept4 recvmmsg sendmmsg").split(), 1)),
    117: {1: "semop", 2: "semget", 3: "semctl", 4: "semtimedop", 11: "msgsnd", 12: "msgrcv", 13: "msgget",
          14: "msgctl", 21: "shmat", 22: "shmdt", 23: "shmget", 24: "shmctl"},
}  # fmt: skip
WORD = 0xFFFFFFFF
KILL_PROCESS, ERRNO, TRACE = 0x80000000, 0x00050000, 0x7FF00000
ENOSYS = 38
# Where the halves of 64-bit arguments, and the signs of 32-bit ones, meet.
EDGES = (0, 1, 2, 3, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF, 1 << 32, (1 << 32) + 1, (1 << 64) - 1)

Instruction = tuple[int, int, int, int]
Profile = dict[str, Any]


def decode(program: bytes) -> list[Instruction]:
    """The instructions of a program, (code, jt, jf, k), checked as the kernel checks them."""
    code = list(struct.iter_unpack("<HBBI", program))
    assert 0 < len(code) <= 4096
    for at, (op, yes, no, k) in enumerate(code):
        assert op in (0x20, 0x54, 0x06, 0x05, 0x15, 0x25, 0x35, 0x45), hex(op)
        if op == 0x20:
            assert k % 4 == 0
            assert k < 64
        jumps = (k,) if op == 0x05 else (yes, no) if op & 0x07 == 0x05 else ()
        assert all(at + 1 + jump < len(code) for jump in jumps)
    assert code[-1][0] == 0x06
    return [(op, yes, no, k) for op, yes, no, k in code]


def run(code: list[Instruction], nr: int, args: tuple[int, ...] = (), arch: int = AUDIT_ARCH["x86_64"]) -> int:
    """Execute a decoded program on one system call."""
    padded = [*args, 0, 0, 0, 0, 0, 0][:6]
    words = struct.unpack("<16I", struct.pack("<IIQ6Q", nr & WORD, arch, 0, *padded))
    word = at = 0
    while True:
        op, yes, no, k = code[at]
        at += 1
        if op == 0x06:
            return k
        if op == 0x20:
            word = words[k // 4]
        elif op == 0x54:
            word &= k
        elif op == 0x05:
            at += k
        else:
            held = {0x15: word == k, 0x25: word > k, 0x35: word >= k, 0x45: bool(word & k)}[op]
            at += yes if held else no


def unreached(code: list[Instruction]) -> list[int]:
    """Instructions that no path leads to."""
    reached = {0}
    for at, (op, yes, no, k) in enumerate(code):
        if at in reached and op != 0x06:
            steps = (k,) if op == 0x05 else (yes, no) if op & 0x07 == 0x05 else (0,)
            reached.update(at + 1 + step for step in steps)
    return [at for at in range(len(code)) if at not in reached]


def action(entry: Profile, key: str = "action", errno_key: str = "errnoRet") -> int:
    """The SECCOMP_RET_* value of a rule or, with other keys, of a profile's default."""
    value = {
        "SCMP_ACT_KILL": 0,
        "SCMP_ACT_KILL_THREAD": 0,
        "SCMP_ACT_KILL_PROCESS": KILL_PROCESS,
        "SCMP_ACT_TRAP": 0x00030000,
        "SCMP_ACT_ERRNO": ERRNO,
        "SCMP_ACT_NOTIFY": 0x7FC00000,
        "SCMP_ACT_TRACE": TRACE,
        "SCMP_ACT_LOG": 0x7FFC0000,
        "SCMP_ACT_ALLOW": 0x7FFF0000,
    }[entry[key]]
    return int(value | entry.get(errno_key, 1) if value in (ERRNO, TRACE) else value)


def holds(condition: Profile, args: tuple[int, ...], most: int = 2**64 - 1) -> bool:
    """Whether one condition of a rule is true of these arguments; `most` is what a register holds."""
    index = condition["index"]
    have = (args[index] if index < len(args) else 0) & most
    value, second = condition.get("value", 0) & most, condition.get("valueTwo", 0) & most
    results: dict[str, bool] = {
        "SCMP_CMP_NE": have != value,
        "SCMP_CMP_LT": have < value,
        "SCMP_CMP_LE": have <= value,
        "SCMP_CMP_EQ": have == value,
        "SCMP_CMP_GE": have >= value,
        "SCMP_CMP_GT": have > value,
        "SCMP_CMP_MASKED_EQ": have & value == second & value,
    }
    return results[condition["op"]]


def place(rule: Profile, most: int = 2**64 - 1) -> list[tuple[int, ...]]:
    """Where libseccomp asks for a rule: by argument from the last, kind of comparison, mask, value."""
    places: list[tuple[int, ...]] = []
    for condition in rule["args"]:
        op, value = condition["op"].removeprefix("SCMP_CMP_"), condition.get("value", 0) & most
        kind = next(at for at, ops in enumerate(("EQ NE MASKED_EQ", "GT LE", "GE LT")) if op in ops.split())
        mask = value if op == "MASKED_EQ" else most
        wanted = condition.get("valueTwo", 0) & mask if op == "MASKED_EQ" else value
        places.append((5 - condition["index"], kind, 2**64 - mask, 2**64 - wanted))
    return places


def split(rule: Profile) -> list[Profile]:
    """A rule that names one argument twice is a rule for each of its conditions."""
    conditions = rule["args"]
    if len({condition["index"] for condition in conditions}) == len(conditions):
        return [rule]
    return [{**rule, "args": [condition]} for condition in conditions]


def verdict(
    profile: Profile,
    nr: int,
    args: tuple[int, ...] = (),
    arch: str = "x86_64",
    audit_arch: int | None = None,
    *,
    hide_x32: bool = False,
) -> int:
    """What `profile` decides about one system call on `arch`, made through the ABI `audit_arch`."""
    audit_arch = AUDIT_ARCH[arch] if audit_arch is None else audit_arch
    nr &= WORD
    default = action(profile, "defaultAction", "defaultErrnoRet")
    listed = dict(ABIS[name] for name in profile.get("architectures", ()) if name in ABIS)
    if audit_arch == AUDIT_ARCH[arch] and not (arch == "x86_64" and nr >= X32_BIT):
        numbers, most = syscalls.numbers(arch), 2**64 - 1
    elif audit_arch == AUDIT_ARCH[arch]:
        if "x32" not in listed:
            return ERRNO | ENOSYS if hide_x32 else default if nr == WORD else KILL_PROCESS
        numbers, most = compat.numbers("x32"), WORD
    else:
        abi = next((abi for abi, its in listed.items() if its == audit_arch and abi != "x32"), None)
        if abi is None or (abi == "arm") != (arch == "aarch64"):
            return KILL_PROCESS
        numbers, most = compat.numbers(abi), WORD
    entries = profile.get("syscalls", ())
    named = {numbers.get(name, -1) for rule in entries for name in rule["names"]}
    if audit_arch == I386:
        names = {name for rule in entries for name in rule["names"]}
        named |= {number for number, calls in MULTIPLEXED.items() if names & set(calls.values())}
    top = max((number for number in named if number < 0xF0000 or number >= X32_BIT), default=-1)
    if top < 0 or default & 0xFFFF0000 in (0x7FFC0000, 0x7FFF0000, TRACE):
        beyond = default
    else:
        beyond = ERRNO | ENOSYS
    entries = [rule for rule in entries if action(rule) != default]
    rules = [rule for rule in entries if nr in {numbers.get(name) for name in rule["names"]}]
    for rule in rules:
        if not rule.get("args"):
            return action(rule)
    parts = [part for rule in rules for part in split(rule)]
    if audit_arch == I386 and nr in MULTIPLEXED:
        parts += through(entries, nr)
    for part in sorted(parts, key=lambda part: place(part, most)):
        if all(holds(condition, args, most) for condition in part["args"]):
            return action(part)
    return beyond if nr > top and nr not in named else default


def through(entries: list[Profile], nr: int) -> list[Profile]:
    """What rules about calls that are made through another one mean there, the stricter one of two alike."""
    found: dict[str, Profile] = {}
    for call, name in MULTIPLEXED[nr].items():
        which = {"index": 0, "op": "SCMP_CMP_EQ", "value": call}
        if nr == 117:
            which = {"index": 0, "op": "SCMP_CMP_MASKED_EQ", "value": 0xFFFF, "valueTwo": call}
        for rule in entries:
            for part in split({**rule, "args": rule.get("args") or []}) if name in rule["names"] else ():
                rest = [condition for condition in part["args"] if condition["index"]]
                made = {**part, "args": [which, *rest]}
                before = found.setdefault(repr(made["args"]), made)
                if ctypes.c_int(action(made)).value < ctypes.c_int(action(before)).value:
                    found[repr(made["args"])] = made
    return list(found.values())
