"""From the `linux.seccomp` of a container's config.json to a BPF program. Pure.

    profile ─ rules.read ─▶ [entry] ─ Rules ─▶ ranges of numbers ─ _tree ─▶ graph of questions ─▶ bytes
                              one Rules for each ABI that is let in

What decides, in this order:

1. The architecture. The machine's own is always in. The ABIs of 32-bit programs (i386 and x32 on
   x86_64, ARM EABI on aarch64) are in if `architectures` lists them, each with its own numbers. A
   call through one that is not kills the process (libseccomp's SCMP_FLTATR_ACT_BADARCH kills the
   thread, which would leave half a program). x32 is x86_64 with bit 30 in the number; -1 has that
   bit too, but means that a tracer skips the call, so it gets the default action.
2. A rule with the default action is no rule (runc and libseccomp drop it).
3. An unconditional rule, the first one, swallows the conditional ones of its call, wherever they stand.
4. Conditional rules are OR-ed; within one the arguments are AND-ed. A rule that names an argument
   twice becomes one rule for each condition (runc). Where rules overlap and disagree, libseccomp asks
   in an order of its own, not the profile's; `conditions.precedence` is that order.
5. The default action. Where that is not to allow, log or trace, numbers above the highest that the
   profile names get ENOSYS, as with runc: its author cannot have meant them, and C libraries fall
   back only on ENOSYS. That is counted for each ABI.

What does not belong here: what is allowed (`default`), docker's own format (`docker`), loading.
"""

from __future__ import annotations

from cloche.errors import SpecError
from cloche.runtime.seccomp import syscalls
from cloche.runtime.seccomp.graph import ARCH, FULL, JEQ, JGE, NR, Graph, answer
from cloche.runtime.seccomp.rules import Rules, read
from cloche.runtime.seccomp.vocabulary import (
    AUDIT_ARCH,
    COMPAT_AUDIT_ARCH,
    ENOSYS,
    ERRNO,
    FLAG_NEW_LISTENER,
    FLAG_WAIT_KILLABLE_RECV,
    HERE,
    KILL_PROCESS,
    USER_NOTIF,
    X32_BIT,
    action_value,
    compat_abis,
    filter_flags,
)  # fmt: skip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cloche.runtime.seccomp.rules import Entry

_EXCEPTIONS = 3  # single numbers that one leaf of the tree may ask for one by one


class Filter:
    """A compiled profile: what seccomp(2) takes, and what people should hear about it.

    `program` is an array of struct sock_filter, `instructions` their number and `flags` the
    SECCOMP_FILTER_FLAG_* to load it with. `unknown` are names that no architecture has and that were
    left out; `warnings` are sentences. `refusals` is {number: errno} for calls that the supervisor is
    told about instead of their being refused at once; it must answer them with that errno. With
    `by_number` the process under the filter cannot send the profile's own listener to the runtime, which
    has to fetch it (`cloche.stage.seccomp_agent`).
    """

    __slots__ = ("by_number", "flags", "instructions", "program", "refusals", "unknown", "warnings")

    def __init__(
        self, program: list[int], flags: int, unknown: list[str], warnings: list[str], refusals: dict[int, int]
    ) -> None:
        self.program = b"".join([instruction.to_bytes(8, "little") for instruction in program])
        self.instructions = len(program)
        self.flags = flags
        self.unknown = unknown
        self.warnings = warnings
        self.refusals = refusals
        self.by_number = False

    @property
    def listener(self) -> bool:
        """Whether loading returns a descriptor that somebody has to serve."""
        return bool(self.flags & FLAG_NEW_LISTENER)


def compile_filter(
    profile: Mapping[str, Any], arch: str = "x86_64", *, notify_denied: bool = False, hide_x32: bool = False
) -> Filter:
    """Compile an OCI seccomp profile (`linux.seccomp`, as JSON gives it) for "x86_64" or "aarch64".

    With `notify_denied` calls that the profile refuses with EPERM wait for the supervisor, which
    reports and refuses them; if it is gone they fail with ENOSYS. That is for calls of `arch` itself;
    those of 32-bit programs are refused at once. A profile with a listener of its own cannot have
    that (a process has one), which is a warning. With `hide_x32` calls of x32, unless the profile
    lets it in, do not exist (ENOSYS) instead of killing.
    Raises SpecError for anything invalid, and for a program of more than 4096 instructions.
    """
    if arch not in AUDIT_ARCH:
        raise SpecError(f"seccomp knows {' and '.join(AUDIT_ARCH)}, not {arch!r}", pointer=HERE)
    if "archMap" in profile:
        raise SpecError("a profile in docker's format has to be resolved first", pointer=f"{HERE}/archMap")
    abis = compat_abis(profile, arch)
    default = action_value(profile, "defaultAction", "defaultErrnoRet", HERE)
    if default == USER_NOTIF:
        raise SpecError("SCMP_ACT_NOTIFY cannot be the default", pointer=f"{HERE}/defaultAction")
    entries = read(profile)
    if profile.get("listenerMetadata") and not profile.get("listenerPath"):
        raise SpecError("listenerMetadata needs a listenerPath", pointer=f"{HERE}/listenerMetadata")
    flags = filter_flags(profile)
    warnings: list[str] = []
    known = syscalls.numbers(arch)
    rules = Rules(entries, default, known)
    own_listener = any(action == USER_NOTIF for _, action, _ in entries)
    if own_listener:
        _check_listener(profile, entries, rules)
        if notify_denied:
            warnings.append("refused calls are not reported: the seccomp profile has its own listener")
    graph = Graph()
    root = _others(graph, entries, default, abis, warnings)
    ranges = rules.ranges(graph, notify=notify_denied and not own_listener)
    if arch == "x86_64":
        _append(ranges, _x32(graph, entries, default, listed="x32" in abis, hidden=hide_x32))
    root = graph.ask(ARCH, FULL, JEQ, AUDIT_ARCH[arch], _tree(graph, ranges), root)
    if own_listener or rules.refusals:
        flags |= FLAG_NEW_LISTENER
    else:
        flags &= ~FLAG_WAIT_KILLABLE_RECV  # EINVAL without a listener
    unknown = [name for names, _, _ in entries for name in names if name not in known]
    made = Filter(graph.assemble(root), flags, unknown, warnings, rules.refusals)
    made.by_number = own_listener and not rules.free("sendmsg")
    return made


def _others(graph: Graph, entries: list[Entry], default: int, abis: list[str], warnings: list[str]) -> int:
    """The question about the ABIs with an AUDIT_ARCH of their own, or the answer if none is let in."""
    root = answer(KILL_PROCESS)
    for abi in abis:
        if abi == "x32":
            continue
        from cloche.runtime.seccomp import compat

        private = compat.ARM_PRIVATE if abi == "arm" else 1 << 32
        rules = Rules(entries, default, compat.numbers(abi), wide=False, private=private)
        if abi == "i386":
            for name in rules.multiplex(entries, compat.multiplexed()):
                through = "ipc" if name[:3] in {"sem", "shm", "msg"} else "socketcall"
                warnings.append(
                    f"the seccomp profile's conditions for {name} do not hold for 32-bit programs that call it "
                    f"through {through}, where its arguments cannot be seen"
                )
        root = graph.ask(ARCH, FULL, JEQ, COMPAT_AUDIT_ARCH[abi], _tree(graph, rules.ranges(graph)), root)
    return root


def _x32(graph: Graph, entries: list[Entry], default: int, *, listed: bool, hidden: bool) -> list[tuple[int, int]]:
    """The ranges of x86_64's numbers from bit 30 on."""
    if listed:
        from cloche.runtime.seccomp import compat

        return Rules(entries, default, compat.numbers("x32"), wide=False, first=X32_BIT).ranges(graph)
    if hidden:
        return [(X32_BIT, answer(ERRNO | ENOSYS))]
    return [(X32_BIT, answer(KILL_PROCESS)), (FULL, answer(default))]


def _append(ranges: list[tuple[int, int]], more: list[tuple[int, int]]) -> None:
    for first, target in more:
        if ranges[-1][1] != target:
            ranges.append((first, target))


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


def _check_listener(profile: Mapping[str, Any], entries: list[Entry], rules: Rules) -> None:
    """SCMP_ACT_NOTIFY needs somebody to send the listener to, and write(2) to send it with (runc)."""
    if not profile.get("listenerPath"):
        raise SpecError("SCMP_ACT_NOTIFY needs a listenerPath", pointer=f"{HERE}/listenerPath")
    if any(action == USER_NOTIF and "write" in names for names, action, _ in entries):
        raise SpecError("SCMP_ACT_NOTIFY cannot be used for write", pointer=f"{HERE}/syscalls")
    if not rules.free("write") and not rules.free("sendmsg"):
        text = "SCMP_ACT_NOTIFY needs write or sendmsg to be allowed, or the listener could not be handed over"
        raise SpecError(text, pointer=f"{HERE}/syscalls")
