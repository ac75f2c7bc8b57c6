"""What a filter decides, found in two ways that share no code with the compiler or each other.

`run` executes a program as the kernel would; `verdict` reads a profile as its specification says,
rule by rule, with numbers of 64 bits. Both return a SECCOMP_RET_* value. Stands alone, so that the
tests that need a kernel can load it too.
"""

from __future__ import annotations

import struct
from typing import Any

from cloche.runtime.seccomp import syscalls

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
I386 = 0x40000003
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


def holds(condition: Profile, args: tuple[int, ...]) -> bool:
    """Whether one condition of a rule is true of these arguments."""
    index = condition["index"]
    have = args[index] if index < len(args) else 0
    value, second = condition.get("value", 0), condition.get("valueTwo", 0)
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


def place(rule: Profile) -> list[tuple[int, ...]]:
    """Where libseccomp asks for a rule: by argument from the last, kind of comparison, mask, value."""
    places: list[tuple[int, ...]] = []
    for condition in rule["args"]:
        op, value = condition["op"].removeprefix("SCMP_CMP_"), condition.get("value", 0)
        kind = next(at for at, ops in enumerate(("EQ NE MASKED_EQ", "GT LE", "GE LT")) if op in ops.split())
        mask = value if op == "MASKED_EQ" else 2**64 - 1
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
    profile: Profile, nr: int, args: tuple[int, ...] = (), arch: str = "x86_64", audit_arch: int | None = None
) -> int:
    """What `profile` decides about one system call on `arch`, made through the ABI `audit_arch`."""
    if audit_arch not in (None, AUDIT_ARCH[arch]):
        return KILL_PROCESS
    if arch == "x86_64" and nr & WORD >= 0x40000000:
        return ERRNO | ENOSYS
    default = action(profile, "defaultAction", "defaultErrnoRet")
    numbers = syscalls.numbers(arch)
    named = {numbers.get(name, -1) for rule in profile.get("syscalls", ()) for name in rule["names"]}
    if default & 0x7FFF0000 == ERRNO and nr & WORD > max(named, default=-1) >= 0:
        return ERRNO | ENOSYS
    rules = [
        rule
        for rule in profile.get("syscalls", ())
        if action(rule) != default and nr in {numbers.get(name) for name in rule["names"]} and nr >= 0
    ]
    for rule in rules:
        if not rule.get("args"):
            return action(rule)
    parts = [part for rule in rules for part in split(rule)]
    for part in sorted(parts, key=place):
        if all(holds(condition, args) for condition in part["args"]):
            return action(part)
    return default
