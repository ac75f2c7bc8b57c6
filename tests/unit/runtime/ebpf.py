"""What a device program has to decide, and a small interpreter of eBPF that says what it does decide."""

from __future__ import annotations

import struct

from cloche.runtime.cgroups.devices import ANY, Table

MASK = (1 << 32) - 1


def decide(code: bytes, context: tuple[int, int, int]) -> bool:
    """Run a device program on a struct bpf_cgroup_dev_ctx; True when it allows the access."""
    program = list(struct.iter_unpack("<BBhi", code))
    registers: dict[int, object] = {1: context}
    at = 0
    for _ in range(10_000):
        operation, both, offset, immediate = program[at]
        target, source = both & 15, both >> 4
        at += 1
        value, other = registers.get(target), immediate & MASK
        if operation == 0x61:  # a word from the context
            assert registers[source] is context
            assert offset in {0, 4, 8}
            registers[target] = context[offset // 4] & MASK
        elif operation == 0xBC:
            registers[target] = registers[source]
        elif operation == 0xB4:
            registers[target] = other
        elif operation == 0x95:
            assert registers[0] in {0, 1}
            return registers[0] == 1
        else:
            assert isinstance(value, int), "the verifier would refuse arithmetic on a pointer"
            if operation == 0x54:
                registers[target] = value & other
            elif operation == 0x74:
                registers[target] = value >> other
            elif operation == 0x56:
                at += offset if value != other else 0
            elif operation == 0x16:
                at += offset if value == other else 0
            else:
                raise AssertionError(f"instruction {operation:#x} is not known")
    raise AssertionError("it does not end")


def allowed(table: Table, kind: str, major: int, minor: int, access: int) -> bool:
    """As security/device_cgroup.c decides with these exceptions."""
    hits = [bits for (k, *numbers), bits in table.exceptions.items() if k == kind and _match(numbers, [major, minor])]
    if table.allow:
        return not any(bits & access for bits in hits)
    return any(bits & access == access for bits in hits)


def _match(numbers: list[int], asked: list[int]) -> bool:
    return all(number in {ANY, other} for number, other in zip(numbers, asked, strict=True))
