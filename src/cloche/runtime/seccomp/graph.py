"""A filter as a graph of questions, and its translation to classic BPF. Pure; knows no profile.

A question loads a 32-bit word of `struct seccomp_data`, masks it, compares it with a constant and
goes on to one of two targets; a target is another question or the answer, a SECCOMP_RET_* value.
Equal questions are one node, and a question whose two targets are the same is no node at all.

    struct seccomp_data { int nr; u32 arch; u64 instruction_pointer; u64 args[6]; }
    struct sock_filter  { u16 code; u8 jt; u8 jf; u32 k; }      # linux/filter.h

Targets are ints: a node's index, or `answer(value)`, which is negative. A node can only refer to
nodes that were made before it, so the order of making is a topological order, and the program is
written from its end to its beginning: every target's place is known when a jump to it is written.

Only loads, AND, JA, JEQ, JGT, JGE, JSET and RET are used: these are what the kernel can follow to
find out that a call is allowed whatever its arguments, and then skips the filter (Linux 5.11).
"""

from __future__ import annotations

from cloche.errors import SpecError

# linux/bpf_common.h and linux/filter.h
_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_AND = 0x54  # BPF_ALU | BPF_AND | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K
_JUMP = 0x05  # BPF_JMP | BPF_JA
JEQ, JGT, JGE, JSET = 0x15, 0x25, 0x35, 0x45  # BPF_JMP | ... | BPF_K
MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS
_REACH = 255  # jt and jf are one byte
FULL = 0xFFFFFFFF
NR, ARCH, ARGS = 0, 4, 16  # offsets in struct seccomp_data


def answer(value: int) -> int:
    """The target that ends the filter with a SECCOMP_RET_* value."""
    return -1 - value


class Graph:
    """Questions, each made after the targets it refers to."""

    __slots__ = ("_index", "_nodes")

    def __init__(self) -> None:
        self._nodes: list[tuple[int, int, int, int, int, int]] = []
        self._index: dict[tuple[int, int, int, int, int, int], int] = {}

    def ask(self, offset: int, mask: int, op: int, value: int, yes: int, no: int) -> int:
        """The target that compares (word at `offset` & `mask`) with `value` by `op`."""
        if yes == no:
            return yes
        node = (offset, mask, op, value, yes, no)
        index = self._index.get(node)
        if index is None:
            index = self._index[node] = len(self._nodes)
            self._nodes.append(node)
        return index

    def assemble(self, root: int) -> list[int]:
        """The program that starts at `root`: one int an instruction, its eight bytes little endian.

        Raises SpecError when it is longer than the kernel takes.
        """
        needs_load = self._entries(root)
        program: list[int] = []  # backwards
        place: dict[int, int] = {}  # answer, or node * 2 (+ 1: its word is loaded already) -> index

        def reachable(target: int) -> None:
            # One more instruction may come between this target and the jump that uses it.
            if target in place and len(program) - place[target] < _REACH:
                return
            if target < 0:
                program.append(_RETURN | (-1 - target) << 32)
            else:
                program.append(_JUMP | (len(program) - place[target] - 1) << 32)
            place[target] = len(program) - 1

        for index, (offset, mask, op, value, yes, no) in enumerate(self._nodes[: root + 1]):
            if index not in needs_load:
                continue
            there = []
            for target in (yes, no):
                entry = target
                if target >= 0:
                    entry = target * 2 + (self._nodes[target][:2] == (offset, mask))
                reachable(entry)
                there.append(entry)
            here = place[index * 2 + 1] = len(program)
            jumps = (here - place[there[0]] - 1) << 16 | (here - place[there[1]] - 1) << 24
            program.append(op | jumps | value << 32)
            if needs_load[index]:
                if mask != FULL:
                    program.append(_AND | mask << 32)
                place[index * 2] = len(program)
                program.append(_LOAD | offset << 32)
        if root < 0:
            reachable(root)
        if len(program) > MAX_INSTRUCTIONS:
            needs = f"{len(program)} instructions, and the kernel takes {MAX_INSTRUCTIONS}"
            raise SpecError(f"the seccomp profile is too long: {needs}", pointer="/linux/seccomp")
        program.reverse()
        return program

    def _entries(self, root: int) -> dict[int, bool]:
        """The nodes that `root` leads to, and whether one of their entries has to load the word."""
        entries: dict[int, bool] = {root: True} if root >= 0 else {}
        for index in range(root, -1, -1):
            if index in entries:
                node = self._nodes[index]
                for target in node[4:]:
                    if target >= 0:
                        load = self._nodes[target][:2] != node[:2]
                        entries[target] = entries.get(target, False) or load
        return entries
