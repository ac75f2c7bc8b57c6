"""Conditions on arguments: from the `args` of a rule to questions on 32-bit halves. Pure.

Arguments are 64 bits wide and BPF looks at 32, so a comparison asks about the upper half first and
about the lower one only if that did not settle it. Both architectures are little endian: the lower
half comes first in memory. For a 32-bit ABI the lower halves are all there is, also of the values.

The kernel itself cuts many arguments to 32 bits (an ioctl's request, a socket's family). A rule that
*refuses* a value of such an argument has to compare with SCMP_CMP_MASKED_EQ and a mask of 32 ones,
or a bit in the upper half gets past it (CVE-2019-10063).
"""

from __future__ import annotations

from cloche.errors import SpecError
from cloche.runtime.seccomp.graph import ARGS, FULL, JEQ, JGE, JGT, JSET, Graph

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Condition = tuple[str, int, int, int]  # operator, argument, value, second value
    Rule = tuple[Condition, ...]  # all of them have to hold

OPERATORS = frozenset((
    "SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ",
))  # fmt: skip
_RANKS = {"SCMP_CMP_GT": 1, "SCMP_CMP_LE": 1, "SCMP_CMP_GE": 2, "SCMP_CMP_LT": 2}  # equality: 0


def parse(args: Any, pointer: str) -> list[Rule]:
    """The rules that one entry's `args` stand for: none, one, or one for each condition.

    `pointer` is the entry's place in the document. Raises SpecError.
    """
    if not args:
        return []
    if not isinstance(args, (list, tuple)):
        raise SpecError("not a list", pointer=f"{pointer}/args")
    conditions = []
    for place, arg in enumerate(args):
        here = f"{pointer}/args/{place}"
        if not isinstance(arg, dict):
            raise SpecError("not an object", pointer=here)
        operator = arg.get("op")
        if not isinstance(operator, str) or operator not in OPERATORS:
            raise SpecError(f"{operator!r} is not a comparison", pointer=f"{here}/op")
        index = _whole(arg, "index", 5, here)
        value = _whole(arg, "value", 2**64 - 1, here)
        second = _whole(arg, "valueTwo", 2**64 - 1, here)
        conditions.append((operator, index, value, second))
    if len({condition[1] for condition in conditions}) < len(conditions):
        return [(condition,) for condition in conditions]
    return [tuple(conditions)]


def _whole(arg: dict[str, Any], key: str, most: int, pointer: str) -> int:
    value = arg.get(key)
    if value is None and key != "index":
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise SpecError(f"{value!r} is not a number from 0 to {most}", pointer=f"{pointer}/{key}")
    return value


def narrowed(rule: Rule) -> Rule:
    """The rule on an ABI of 32 bits: nothing is left of the upper halves of its values."""
    return tuple([(operator, index, value & FULL, second & FULL) for operator, index, value, second in rule])


def precedence(rule: Rule, *, wide: bool = True) -> list[tuple[int, int, int, int]]:
    """The key that sorts the rules of one call into the order they are asked in, as in libseccomp.

    Condition by condition: higher arguments first; equality before order, GT before GE; wider masks
    first, then higher values. (libseccomp merges rules that share a half, and then may lose a match,
    invent one, or depend on the order they came in. Here a rule is what it says.)
    """
    key = []
    full = 1 - 2**64 if wide else -FULL
    for operator, index, value, second in rule:
        masked = operator == "SCMP_CMP_MASKED_EQ"
        rank = _RANKS.get(operator, 0)
        key.append((-index, rank, -value if masked else full, -(second & value) if masked else -value))
    return key


def compare(graph: Graph, condition: Condition, yes: int, no: int, *, wide: bool = True) -> int:
    """The target that asks for one condition and goes on to `yes` or `no`; without `wide` on 32 bits."""
    operator, index, value, second = condition
    low, high = ARGS + 8 * index, ARGS + 8 * index + 4
    value_low, value_high = value & FULL, value >> 32
    if not wide:
        return _narrow(graph, operator, low, value_low, second, yes, no)
    if operator == "SCMP_CMP_MASKED_EQ":
        # The upper half first, so it is built last. Bits outside the mask are not compared.
        lower = _masked(graph, low, value_low, second & value_low, yes, no)
        return _masked(graph, high, value_high, (second & value) >> 32, lower, no)
    if operator in ("SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE"):
        yes, no = no, yes  # and then EQ, GE, GT
    if operator in ("SCMP_CMP_EQ", "SCMP_CMP_NE"):
        lower = graph.ask(low, FULL, JEQ, value_low, yes, no)
        return graph.ask(high, FULL, JEQ, value_high, lower, no)
    if operator in ("SCMP_CMP_GE", "SCMP_CMP_LT"):
        if value_low == 0:
            return yes if value == 0 else graph.ask(high, FULL, JGE, value_high, yes, no)
        lower = graph.ask(low, FULL, JGE, value_low, yes, no)
    else:
        lower = graph.ask(low, FULL, JGT, value_low, yes, no)
    if value_high:
        lower = graph.ask(high, FULL, JEQ, value_high, lower, no)
    return graph.ask(high, FULL, JGT, value_high, yes, lower)


def _narrow(graph: Graph, operator: str, low: int, value: int, second: int, yes: int, no: int) -> int:
    if operator == "SCMP_CMP_MASKED_EQ":
        return _masked(graph, low, value, second & value, yes, no)
    if operator in ("SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE"):
        yes, no = no, yes
    if operator in ("SCMP_CMP_EQ", "SCMP_CMP_NE"):
        return graph.ask(low, FULL, JEQ, value, yes, no)
    if operator in ("SCMP_CMP_GE", "SCMP_CMP_LT"):
        return graph.ask(low, FULL, JGE, value, yes, no) if value else yes
    return graph.ask(low, FULL, JGT, value, yes, no)


def _masked(graph: Graph, offset: int, mask: int, value: int, yes: int, no: int) -> int:
    if mask == 0:
        return yes
    if value == 0:
        return graph.ask(offset, FULL, JSET, mask, no, yes)
    return graph.ask(offset, mask, JEQ, value, yes, no)
