"""What a profile says about each number of one ABI: sorted out, and turned into ranges. Pure.

    profile ─ read ─▶ [entry] ─ Rules, one for each ABI ─▶ {number: answer or conditions} ─ ranges ─▶

Names are what a profile has; each ABI has its own numbers for them, and a name that it does not have
means nothing there. On an ABI of 32 bits (`wide=False`) conditions compare the lower halves of
arguments and of values, as libseccomp has it. On i386 a rule about a socket or about System V's IPC
counts for the call that does all of these as well, where the first argument says which is wanted and
the others cannot be seen: what was said about the first one is left out there.

What does not belong here: which ABIs there are (`compile`), and the search for a range (`compile`).
"""

from __future__ import annotations

from cloche.errors import SpecError
from cloche.runtime.seccomp.conditions import compare, narrowed, parse, precedence
from cloche.runtime.seccomp.graph import answer
from cloche.runtime.seccomp.vocabulary import (
    ACTION,
    ALLOW,
    ENOSYS,
    EPERM,
    ERRNO,
    HERE,
    LOG,
    TRACE,
    USER_NOTIF,
    action_value,
)  # fmt: skip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from cloche.runtime.seccomp.conditions import Rule
    from cloche.runtime.seccomp.graph import Graph

    Entry = tuple[Sequence[str], int, list[Rule]]  # names, action, alternatives (none: always)

_PERMISSIVE = (ALLOW, LOG, TRACE)
_IPC_CALL = 0xFFFF  # linux/ipc.h: the upper half of ipc(2)'s first argument is a version


def read(profile: Mapping[str, Any]) -> list[Entry]:
    """The entries of `syscalls`, checked. Raises SpecError."""
    entries = profile.get("syscalls") or ()
    if not isinstance(entries, (list, tuple)):
        raise SpecError("not a list", pointer=f"{HERE}/syscalls")
    return [_read(entry, f"{HERE}/syscalls/{index}") for index, entry in enumerate(entries)]


def _read(entry: Any, pointer: str) -> Entry:
    if not isinstance(entry, dict):
        raise SpecError("not an object", pointer=pointer)
    if entry.get("includes") or entry.get("excludes"):
        raise SpecError("a profile in docker's format has to be resolved first", pointer=pointer)
    action = action_value(entry, "action", "errnoRet", pointer)
    names = entry.get("names")
    if not isinstance(names, (list, tuple)) or not names:
        raise SpecError("a list of system calls is missing", pointer=f"{pointer}/names")
    choices = parse(entry.get("args"), pointer)
    if not all(isinstance(name, str) and name for name in names):
        raise SpecError("not the name of a system call", pointer=f"{pointer}/names")
    return names, action, choices


class Rules:
    """What the entries say about the numbers of one ABI.

    `fixed` is {number: action}, `conditional` {number: [(conditions, action)]}, `highest` the highest
    number that an entry names, whatever it says about it, or -1. `refusals` is {number: errno} for
    what `ranges` handed to the supervisor.
    """

    __slots__ = ("_apart", "_first", "_known", "_wide", "conditional", "default", "fixed", "highest", "refusals")

    def __init__(
        self,
        entries: Sequence[Entry],
        default: int,
        known: Mapping[str, int],
        *,
        wide: bool = True,
        first: int = 0,
        private: int = 1 << 32,
    ) -> None:
        """`known` are the ABI's numbers by name; they begin at `first`, and those of others are -1.

        Numbers from `private` on are apart: naming one says nothing about those below.
        """
        self.default = default
        self.fixed: dict[int, int] = {}
        self.conditional: dict[int, list[tuple[Rule, int]]] = {}
        self.highest = -1
        self.refusals: dict[int, int] = {}
        self._known, self._wide, self._first = known, wide, first
        self._apart: set[int] = set()
        for names, action, choices in entries:
            present = [nr for nr in map(known.get, names) if nr is not None and nr >= 0]
            self.highest = max([self.highest, *[nr for nr in present if nr < private]])
            self._apart.update([nr for nr in present if nr >= private])
            if action == default:
                continue
            for nr in present:
                if choices:
                    self.conditional.setdefault(nr, []).extend((choice, action) for choice in choices)
                else:
                    self.fixed.setdefault(nr, action)

    def multiplex(self, entries: Sequence[Entry], through: Mapping[str, tuple[int, int]]) -> list[str]:
        """Let the entries count for socketcall(2) and ipc(2) as well; returns the names that lost conditions.

        `through` is {name: (number of the call it is made through, first argument)}. Where two
        entries that differ in their conditions alone meet there, the stricter one counts.
        """
        made: dict[tuple[int, Rule], int] = {}
        lost = []
        for names, action, choices in entries:
            for name in names:
                if name not in through:
                    continue
                nr, wanted = through[name]
                self.highest = max(self.highest, nr)
                if action == self.default:
                    continue
                which = ("SCMP_CMP_EQ", 0, wanted, 0)
                if nr == self._known["ipc"]:
                    which = ("SCMP_CMP_MASKED_EQ", 0, _IPC_CALL, wanted)
                if choices and nr not in self.fixed:
                    lost.append(name)
                for choice in choices or [()]:
                    key = nr, (which, *[condition for condition in choice if condition[1] != 0])
                    made[key] = min(made.get(key, action), action, key=_severity)
        for (nr, conditions), action in made.items():
            self.conditional.setdefault(nr, []).append((conditions, action))
        return list(dict.fromkeys(lost))

    def free(self, name: str) -> bool:
        """Whether a call is made whatever its arguments, and without anybody being asked."""
        nr = self._known[name]
        if nr in self.conditional and nr not in self.fixed:
            return False
        return self.fixed.get(nr, self.default) in (ALLOW, LOG)

    def ranges(self, graph: Graph, *, notify: bool = False) -> list[tuple[int, int]]:
        """Where each range of numbers leads: [(first number, target)], the last one open.

        With `notify` what is refused with EPERM goes to the supervisor.
        """
        numbers = set(self.fixed) | set(self.conditional) | self._apart
        if notify:  # only calls that exist are worth a report
            numbers.update(nr for nr in self._known.values() if 0 <= nr <= self.highest)
        default = beyond = answer(self.default)
        if self.highest >= 0 and self.default & ACTION not in _PERMISSIVE:
            beyond = answer(ERRNO | ENOSYS)
        found: list[tuple[int, int]] = []
        following, last = self._first, None
        for nr in [*sorted(numbers), 1 << 32]:
            gaps = [(following, default)] if following < min(nr, self.highest + 1) else []
            if nr > max(following, self.highest + 1):
                gaps.append((max(following, self.highest + 1), beyond))
            for first, target in gaps:
                if last != target:
                    found.append((first, target))
                    last = target
            if nr >> 32:
                break
            target = self._target(graph, nr, notify=notify)
            if last != target:
                found.append((nr, target))
                last = target
            following = nr + 1
        return found

    def _target(self, graph: Graph, nr: int, *, notify: bool) -> int:
        fixed = self.fixed.get(nr)
        if fixed is not None:
            return self._answer(nr, fixed, notify=notify)
        target = self._answer(nr, self.default, notify=notify)
        rules = self.conditional.get(nr, [])
        if not self._wide:
            rules = [(narrowed(conditions), action) for conditions, action in rules]
        rules = sorted(rules, key=lambda rule: precedence(rule[0], wide=self._wide))
        for conditions, action in reversed(rules):
            matched = self._answer(nr, action, notify=notify)
            for condition in reversed(conditions):
                matched = compare(graph, condition, matched, target, wide=self._wide)
            target = matched
        return target

    def _answer(self, nr: int, action: int, *, notify: bool) -> int:
        if notify and action == ERRNO | EPERM:
            self.refusals[nr] = EPERM
            return answer(USER_NOTIF)
        return answer(action)


def _severity(action: int) -> int:
    """The kernel's order of actions, the strictest first: as signed numbers (linux/seccomp.h)."""
    return action - (1 << 32) if action >> 31 else action
