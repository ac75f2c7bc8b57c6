"""From the `linux.seccomp` of a container's config.json to a BPF program. Pure.

    profile ─ _Rules ─▶ {number: answer or conditions} ─ _tree ─▶ graph of questions ─▶ bytes

What decides, in this order:

1. The architecture. A call by another one (i386 on x86_64, 32-bit ARM on aarch64) kills the process,
   also where the profile asks for it; then it is a warning. docker lets i386 in; its calls have
   other numbers and other argument splits, so that is a second kernel interface to keep closed, for
   programs that hardly anyone runs. x32 is x86_64 with bit 30 in the number: always ENOSYS.
2. A rule with the default action is no rule (runc and libseccomp drop it).
3. An unconditional rule, the first one, swallows the conditional ones of its call, wherever they stand.
4. Conditional rules are OR-ed; within one the arguments are AND-ed. A rule that names an argument
   twice becomes one rule for each condition (runc). Where rules overlap and disagree, libseccomp asks
   in an order of its own, not the profile's; `conditions.precedence` is that order.
5. The default action. Where that is an errno, numbers above the highest that the profile names get
   ENOSYS, as with runc: its author cannot have meant them, and C libraries fall back only on ENOSYS.
   (runc does it for kill and trap as well; here those stay what they say.)

What does not belong here: what is allowed (`default`), docker's own format (`docker`), loading.
"""

from __future__ import annotations

from cloche.errors import SpecError
from cloche.runtime.seccomp import syscalls
from cloche.runtime.seccomp.conditions import compare, parse, precedence
from cloche.runtime.seccomp.graph import ARCH, FULL, JEQ, JGE, NR, Graph, answer
from cloche.runtime.seccomp.vocabulary import (
    AUDIT_ARCH,
    ENOSYS,
    EPERM,
    ERRNO,
    FLAG_NEW_LISTENER,
    FLAG_WAIT_KILLABLE_RECV,
    HERE,
    KILL_PROCESS,
    USER_NOTIF,
    X32_BIT,
    action_value,
    architecture_warnings,
    filter_flags,
)  # fmt: skip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cloche.runtime.seccomp.conditions import Rule

_EXCEPTIONS = 3  # single numbers that one leaf of the tree may ask for one by one


class Filter:
    """A compiled profile: what seccomp(2) takes, and what people should hear about it.

    `program` is an array of struct sock_filter, `instructions` their number and `flags` the
    SECCOMP_FILTER_FLAG_* to load it with. `unknown` are names that no architecture has and that were
    left out; `warnings` are sentences. `refusals` is {number: errno} for calls that the supervisor is
    told about instead of their being refused at once; it must answer them with that errno.
    """

    __slots__ = ("flags", "instructions", "program", "refusals", "unknown", "warnings")

    def __init__(self, program: list[int], flags: int, rules: _Rules, warnings: list[str]) -> None:
        self.program = b"".join([instruction.to_bytes(8, "little") for instruction in program])
        self.instructions = len(program)
        self.flags = flags
        self.unknown = rules.unknown
        self.warnings = warnings
        self.refusals = rules.refusals

    @property
    def listener(self) -> bool:
        """Whether loading returns a descriptor that somebody has to serve."""
        return bool(self.flags & FLAG_NEW_LISTENER)


def compile_filter(profile: Mapping[str, Any], arch: str = "x86_64", *, notify_denied: bool = False) -> Filter:
    """Compile an OCI seccomp profile (`linux.seccomp`, as JSON gives it) for "x86_64" or "aarch64".

    With `notify_denied` calls that the profile refuses with EPERM wait for the supervisor, which
    reports and refuses them; if it is gone they fail with ENOSYS. A profile with a listener of its
    own cannot have that (a process has one), which is a warning.
    Raises SpecError for anything invalid, and for a program of more than 4096 instructions.
    """
    if arch not in AUDIT_ARCH:
        raise SpecError(f"seccomp knows {' and '.join(AUDIT_ARCH)}, not {arch!r}", pointer=HERE)
    if "archMap" in profile:
        raise SpecError("a profile in docker's format has to be resolved first", pointer=f"{HERE}/archMap")
    warnings = architecture_warnings(profile, arch)
    rules = _Rules(profile, arch)
    if profile.get("listenerMetadata") and not profile.get("listenerPath"):
        raise SpecError("listenerMetadata needs a listenerPath", pointer=f"{HERE}/listenerMetadata")
    flags = filter_flags(profile)
    if rules.own_listener:
        _check_listener(profile, rules)
        if notify_denied:
            warnings.append("refused calls are not reported: the seccomp profile has its own listener")
    graph = Graph()
    numbers = rules.targets(graph, notify=notify_denied and not rules.own_listener)
    root = graph.ask(ARCH, FULL, JEQ, AUDIT_ARCH[arch], _tree(graph, numbers), answer(KILL_PROCESS))
    if rules.own_listener or rules.refusals:
        flags |= FLAG_NEW_LISTENER
    else:
        flags &= ~FLAG_WAIT_KILLABLE_RECV  # EINVAL without a listener
    return Filter(graph.assemble(root), flags, rules, warnings)


class _Rules:
    """What a profile says about each number, sorted out but not yet turned into questions."""

    def __init__(self, profile: Mapping[str, Any], arch: str) -> None:
        self.arch = arch
        self.known = syscalls.numbers(arch)
        self.default = action_value(profile, "defaultAction", "defaultErrnoRet", HERE)
        if self.default == USER_NOTIF:
            raise SpecError("SCMP_ACT_NOTIFY cannot be the default", pointer=f"{HERE}/defaultAction")
        self.fixed: dict[int, int] = {}
        self.conditional: dict[int, list[tuple[Rule, int]]] = {}
        self.highest = -1
        self.unknown: list[str] = []
        self.refusals: dict[int, int] = {}
        self.own_listener = False
        entries = profile.get("syscalls") or ()
        if not isinstance(entries, (list, tuple)):
            raise SpecError("not a list", pointer=f"{HERE}/syscalls")
        for index, entry in enumerate(entries):
            self._add(entry, f"{HERE}/syscalls/{index}")

    def _add(self, entry: Any, pointer: str) -> None:
        if not isinstance(entry, dict):
            raise SpecError("not an object", pointer=pointer)
        if entry.get("includes") or entry.get("excludes"):
            raise SpecError("a profile in docker's format has to be resolved first", pointer=pointer)
        action = action_value(entry, "action", "errnoRet", pointer)
        names = entry.get("names")
        if not isinstance(names, (list, tuple)) or not names:
            raise SpecError("a list of system calls is missing", pointer=f"{pointer}/names")
        choices = parse(entry.get("args"), pointer)
        self.own_listener = self.own_listener or action == USER_NOTIF
        if not all(isinstance(name, str) and name for name in names):
            raise SpecError("not the name of a system call", pointer=f"{pointer}/names")
        numbers = list(map(self.known.get, names))
        present = [nr for nr in numbers if nr is not None and nr >= 0]
        if len(present) < len(names):  # the others belong to other architectures, or to none
            self.unknown += [name for name, nr in zip(names, numbers, strict=True) if nr is None]
        self.highest = max([self.highest, *present])
        if action == self.default:
            return
        for nr in present:
            if choices:
                self.conditional.setdefault(nr, []).extend((choice, action) for choice in choices)
            else:
                self.fixed.setdefault(nr, action)

    def targets(self, graph: Graph, *, notify: bool) -> list[tuple[int, int]]:
        """Where each range of numbers leads: [(first number, target)], from 0, the last one open."""
        numbers = set(self.fixed) | set(self.conditional)
        if notify:  # only calls that exist are worth a report
            numbers.update(nr for nr in self.known.values() if 0 <= nr <= self.highest)
        default = beyond = answer(self.default)
        if self.default & 0x7FFF0000 == ERRNO and self.highest >= 0:
            beyond = answer(ERRNO | ENOSYS)
        ranges: list[tuple[int, int]] = []
        following, last = 0, None
        for nr in sorted(numbers):
            if nr > following and last != default:
                ranges.append((following, default))
                last = default
            fixed = self.fixed.get(nr)
            if fixed is None:
                target = self._conditions(graph, nr, notify=notify)
            else:
                target = self._answer(nr, fixed, notify=notify)
            if last != target:
                ranges.append((nr, target))
                last = target
            following = nr + 1
        end = [(following, default)] if following <= self.highest else []
        end.append((max(following, self.highest + 1), beyond))
        if self.arch == "x86_64":
            end.append((X32_BIT, answer(ERRNO | ENOSYS)))
        for first, target in end:
            if last != target:
                ranges.append((first, target))
                last = target
        return ranges

    def _conditions(self, graph: Graph, nr: int, *, notify: bool) -> int:
        target = self._answer(nr, self.default, notify=notify)
        rules = sorted(self.conditional.get(nr, ()), key=lambda rule: precedence(rule[0]))
        for conditions, action in reversed(rules):
            matched = self._answer(nr, action, notify=notify)
            for condition in reversed(conditions):
                matched = compare(graph, condition, matched, target)
            target = matched
        return target

    def _answer(self, nr: int, action: int, *, notify: bool) -> int:
        if notify and action == ERRNO | EPERM:
            self.refusals[nr] = EPERM
            return answer(USER_NOTIF)
        return answer(action)


def _tree(graph: Graph, ranges: list[tuple[int, int]]) -> int:
    """The question that finds the range a number is in, by halving.

    Single numbers inside a stretch of one target (`A x A y A`) would be two ranges each; a leaf asks
    for up to three of them by JEQ instead, which takes a third less instructions.
    """
    leaves: list[tuple[int, int]] = []
    count = len(ranges)
    at = 0
    while at < count:
        end, base = max(_leaf(ranges, at, at), _leaf(ranges, at, at + 1) if at + 1 < count else (0, 0))
        target = base
        for first, other in reversed(ranges[at:end]):
            if other != base:
                target = graph.ask(NR, FULL, JEQ, first, other, target)
        leaves.append((ranges[at][0], target))
        at = end

    def halve(low: int, high: int) -> int:
        if high - low == 1:
            return leaves[low][1]
        middle = (low + high) // 2
        above = halve(middle, high)
        return graph.ask(NR, FULL, JGE, leaves[middle][0], above, halve(low, middle))

    return halve(0, len(leaves))


def _leaf(ranges: list[tuple[int, int]], start: int, chosen: int) -> tuple[int, int]:
    """How far a leaf from `start` reaches if its base is the target of range `chosen`: (end, base)."""
    base = ranges[chosen][1]
    exceptions = 0
    for index in range(start, len(ranges)):
        if ranges[index][1] != base:
            alone = index + 1 < len(ranges) and ranges[index + 1][0] == ranges[index][0] + 1
            exceptions += 1
            if not alone or exceptions > _EXCEPTIONS:
                return index, base
    return len(ranges), base


def _check_listener(profile: Mapping[str, Any], rules: _Rules) -> None:
    """SCMP_ACT_NOTIFY needs somebody to send the listener to, and write(2) to send it with."""
    if not profile.get("listenerPath"):
        raise SpecError("SCMP_ACT_NOTIFY needs a listenerPath", pointer=f"{HERE}/listenerPath")
    write = rules.known["write"]
    if rules.fixed.get(write) == USER_NOTIF or any(
        action == USER_NOTIF for _, action in rules.conditional.get(write, ())
    ):
        raise SpecError("SCMP_ACT_NOTIFY cannot be used for write", pointer=f"{HERE}/syscalls")
