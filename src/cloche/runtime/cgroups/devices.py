"""Device rules: what they come to together, as lines for cgroup v1 and as a program for cgroup v2. Pure.

    linux.resources.devices ─▶ table_of ─▶ Table ─┬─▶ lines_of, transition   devices.allow, devices.deny
                                                  └─▶ program_of             a BPF_PROG_TYPE_CGROUP_DEVICE program

A table is what the kernel's own controller keeps: everything is refused (or allowed), with exceptions. Both
versions decide alike, because both are made from the same table:

- all refused: an access is allowed when one exception covers all of it (r, w, m asked for together)
- all allowed: an access is refused when one exception covers any of it

A rule takes away or adds to what the rules before it left. One that would cut a hole into a wider exception
cannot be expressed on v1, and is an error rather than ignored as the kernel would (runc does the same).
"""

from __future__ import annotations

from cloche.errors import SpecError
from cloche.records import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from cloche.spec.resources import DeviceRule

    Key = tuple[str, int, int]  # "b" or "c", major, minor; ANY for all

ANY = -1
MKNOD, READ, WRITE = 1, 2, 4  # linux/bpf.h BPF_DEVCG_ACC_*
ALL = MKNOD | READ | WRITE
LETTERS = (("r", READ), ("w", WRITE), ("m", MKNOD))
KINDS = {"b": 1, "c": 2}  # linux/bpf.h BPF_DEVCG_DEV_*

# What every runtime lets a container do (config-linux.md "Default Devices", and the rules of runc):
# make any node, which is no use without the next line, and open those that hold nothing of the host's.
DEFAULT: tuple[tuple[Key, int], ...] = (
    (("c", ANY, ANY), MKNOD),
    (("b", ANY, ANY), MKNOD),
    *((("c", 1, minor), ALL) for minor in (3, 5, 7, 8, 9)),  # null, zero, full, random, urandom
    (("c", 5, 0), ALL),  # tty
    (("c", 5, 1), ALL),  # console
    (("c", 5, 2), ALL),  # ptmx
    (("c", 136, ANY), ALL),  # pts/*
)


@record
class Table:
    """What device rules come to: `allow` everything or nothing, but for the exceptions."""

    allow: bool
    exceptions: dict[Key, int]

    @property
    def is_open(self) -> bool:
        """Whether it refuses nothing at all."""
        return self.allow and not self.exceptions


def table_of(rules: Iterable[DeviceRule] | None, *, defaults: bool = True) -> Table:
    """The table for rules in their order, starting from nothing allowed, with the DEFAULT ones added last.

    Raises SpecError for a rule that would cut a hole into a wider one.
    """
    table = Table(False, {})
    for index, rule in enumerate(rules or ()):
        major, minor = (ANY if number is None or number < 0 else number for number in (rule.major, rule.minor))
        access = bits_of(rule.access)
        everything = rule.type in {None, "a"} and major == minor == ANY
        if everything and (access == ALL or not rule.allow):
            # "no device for writing" would leave what an earlier rule gave for reading: refuse it, as v1 does
            table = Table(bool(rule.allow), {})
            continue
        for kind in "bc" if rule.type in {None, "a"} else str(rule.type):
            _apply(table, (kind, major, minor), access, f"/linux/resources/devices/{index}", allow=rule.allow)
    for key, access in DEFAULT if defaults else ():
        if not table.allow:
            table.exceptions[key] = table.exceptions.get(key, 0) | access
    return table


def bits_of(access: str | None) -> int:
    """ "rw" as READ | WRITE; nothing said is everything."""
    return sum(bit for letter, bit in LETTERS if letter in access) if access else ALL


def _apply(table: Table, key: Key, access: int, pointer: str, *, allow: bool) -> None:
    exceptions = table.exceptions
    if allow != table.allow:
        exceptions[key] = exceptions.get(key, 0) | access
        return
    kind, major, minor = key
    for wider in ((kind, ANY, minor), (kind, major, ANY), (kind, ANY, ANY)):
        if wider != key and exceptions.get(wider, 0) & access:
            verb = "allowed" if table.allow else "refused"
            raise SpecError(
                f"{_shown(key, access)} cannot be {verb} within {_shown(wider, exceptions[wider])}, which came before",
                pointer=pointer,
                hint="name the devices one by one instead of all at once",
            )
    left = exceptions.pop(key, 0) & ~access
    if left:
        exceptions[key] = left


def _shown(key: Key, access: int) -> str:
    kind, *numbers = key
    major, minor = ("*" if number == ANY else str(number) for number in numbers)
    return f"{kind} {major}:{minor} {letters(access)}"


def letters(access: int) -> str:
    """READ | WRITE as "rw"."""
    return "".join(letter for letter, bit in LETTERS if access & bit)


def lines_of(table: Table) -> list[tuple[str, str]]:
    """(file, line) to write into a group of v1 to have this table, whatever was there."""
    first = ("devices.allow" if table.allow else "devices.deny", "a")
    file = "devices.deny" if table.allow else "devices.allow"
    return [first, *((file, _shown(key, access)) for key, access in table.exceptions.items())]


def transition(listed: str, table: Table) -> list[tuple[str, str]]:
    """The same for a group whose devices.list reads `listed`, without refusing in between what stays allowed."""
    now = _listed(listed)
    if now is None or table.allow:  # what an open group refuses is not listed
        return lines_of(table)
    lines = []
    for key in {**now, **table.exceptions}:
        have, want = now.get(key, 0), table.exceptions.get(key, 0)
        if want & ~have:
            lines.append(("devices.allow", _shown(key, want & ~have)))
        if have & ~want:
            lines.append(("devices.deny", _shown(key, have & ~want)))
    return sorted(lines)  # first allow, then deny


def _listed(text: str) -> dict[Key, int] | None:
    """The exceptions in devices.list; None for a group where everything is allowed."""
    found: dict[Key, int] = {}
    for line in text.splitlines():
        kind, numbers, access = line.split()
        if kind == "a":
            return None
        major, minor = (ANY if number == "*" else int(number) for number in numbers.split(":"))
        found[(kind, major, minor)] = bits_of(access)
    return found


# linux/bpf_common.h, linux/bpf.h: class | size or operation | source
_LOAD_WORD = 0x61  # BPF_LDX | BPF_MEM | BPF_W
_AND, _SHIFT_RIGHT, _SET, _COPY = 0x54, 0x74, 0xB4, 0xBC  # of BPF_ALU, 32 bits; _COPY is from a register
_UNLESS_EQUAL, _IF_EQUAL = 0x56, 0x16  # BPF_JMP32 (Linux 5.1): numbers above 2³¹ compare as they are
_EXIT = 0x95
_R0, _R1, _TYPE, _ACCESS, _MAJOR, _MINOR = range(6)


def program_of(table: Table) -> bytes:
    """The program for a table: struct bpf_insn after struct bpf_insn, 8 bytes each.

    It is called with a struct bpf_cgroup_dev_ctx { u32 access_type /* access << 16 | type */; u32 major; u32
    minor; } and returns 1 to allow, 0 to refuse.
    struct bpf_insn { u8 code; u8 dst_reg:4, src_reg:4; s16 off; s32 imm; }
    """
    code = [
        _insn(_LOAD_WORD, _TYPE, _R1),
        _insn(_COPY, _ACCESS, _TYPE),
        _insn(_AND, _TYPE, immediate=0xFFFF),
        _insn(_SHIFT_RIGHT, _ACCESS, immediate=16),
        _insn(_LOAD_WORD, _MAJOR, _R1, offset=4),
        _insn(_LOAD_WORD, _MINOR, _R1, offset=8),
    ]
    for (kind, major, minor), access in table.exceptions.items():
        tests = [(_UNLESS_EQUAL, _TYPE, KINDS[kind])]
        tests += [(_UNLESS_EQUAL, _MAJOR, major)] if major != ANY else []
        tests += [(_UNLESS_EQUAL, _MINOR, minor)] if minor != ANY else []
        if table.allow:
            # refused when it asks for any of these
            prepare = [_insn(_COPY, _R0, _ACCESS), _insn(_AND, _R0, immediate=access)]
            last = (_IF_EQUAL, _R0, 0)
        else:
            # allowed when it asks for nothing but these
            prepare = [_insn(_COPY, _R0, _ACCESS), _insn(_AND, _R0, immediate=ALL & ~access)]
            last = (_UNLESS_EQUAL, _R0, 0)
        left = len(tests) + len(prepare) + 3  # instructions of this block, from its first
        for jump, register, value in tests:
            left -= 1
            code.append(_insn(jump, register, offset=left, immediate=value))
        code += [*prepare, _insn(last[0], last[1], offset=2, immediate=last[2])]
        code += [_insn(_SET, _R0, immediate=int(not table.allow)), _insn(_EXIT)]
    code += [_insn(_SET, _R0, immediate=int(table.allow)), _insn(_EXIT)]
    return b"".join(code)


def _insn(code: int, register: int = 0, source: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    head = bytes((code, register | source << 4)) + offset.to_bytes(2, "little", signed=True)
    return head + (immediate & 0xFFFFFFFF).to_bytes(4, "little")
