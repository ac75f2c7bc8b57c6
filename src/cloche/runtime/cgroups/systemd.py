"""linux.cgroupsPath and linux.resources as a scope of systemd: its name, its place, its properties. Pure.

    cgroupsPath          SLICE:PREFIX:NAME, as runc has it    "system.slice:docker:4af…"
    unit                 PREFIX-NAME.scope                    docker-4af….scope
    group                below the manager's own group        /system.slice/docker-4af….scope

On v1 it gets the device rules, too: left without any it would allow everything when it makes the group anew.
systemd gets the limits it has words for, so that it does not undo them when it reloads (systemd.resource-control(5));
all of them are written into the group's files as well, which know more, by the same steps as without systemd.
"""

from __future__ import annotations

from cloche.errors import SpecError
from cloche.records import record
from cloche.runtime.cgroups.devices import ANY, Table, letters
from cloche.runtime.cgroups.limits import weight_of
from cloche.runtime.cgroups.plan import GroupPlan
from cloche.stage.operations.groups import MakeGroup
from cloche.stage.operations.scopes import StartScope

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from cloche.spec.resources import CPU, Memory, Resources
    from cloche.stage.units import Properties

POINTER = "/linux/cgroupsPath"
SECOND = 1_000_000  # in microseconds
GRAIN = 10_000  # systemd rounds a quota to 10 ms for each second
INFINITY = (1 << 64) - 1
NUMBERS = {"byte": "y", "int16": "n", "uint16": "q", "int32": "i", "uint32": "u", "int64": "x", "uint64": "t"}


@record
class Scope:
    """A scope: its unit, the slice it is in, and its group below the manager's own."""

    unit: str
    slice: str
    group: str
    user: bool


def scope_of(path: str, container_id: str, *, user: bool) -> Scope:
    """What linux.cgroupsPath names; "" is cloche-ID.scope in the usual slice. Raises SpecError."""
    default = "user.slice" if user else "system.slice"
    above, prefix, name = default, "cloche", container_id
    if path:
        parts = path.split(":")
        if len(parts) != 3 or "/" in path:
            raise SpecError(f"{path!r} is no place for systemd", pointer=POINTER, hint="SLICE:PREFIX:NAME")
        above, prefix, name = parts[0] or default, parts[1], parts[2]
    if not name or len(f"{prefix}-{name}.scope") > 255:
        raise SpecError(f"{path!r} names no scope", pointer=POINTER, hint="SLICE:PREFIX:NAME")
    unit = f"{prefix}-{name}.scope" if prefix else f"{name}.scope"
    return Scope(unit, above, f"{expand(above)}/{unit}", user)


def expand(name: str) -> str:
    """The group of a slice: a-b.slice is in a.slice (systemd.slice(5)). Raises SpecError."""
    stem = name.removesuffix(".slice")
    if stem == name or "/" in name or (stem != "-" and not all(stem.split("-"))):
        raise SpecError(f"{name!r} is no slice", pointer=POINTER, hint="such as system.slice")
    if stem == "-":
        return ""
    parts = stem.split("-")
    return "".join(f"/{'-'.join(parts[: end + 1])}.slice" for end in range(len(parts)))


def in_scope(plan: GroupPlan, scope: Scope, properties: Properties, systemds: set[str]) -> GroupPlan:
    """The groups `plan` makes, but `systemds` (directories) made by systemd, around a process that is there."""
    before, after = [], []
    for step in plan.create:
        place = vars(step).get("path") or vars(step).get("directory")
        if place not in systemds:
            before.append(step)
        elif not isinstance(step, MakeGroup):
            after.append(step)
    changed = {
        "create": tuple(before),
        "adopt": (StartScope(scope.unit, properties, scope.user), *after),
        "join": tuple(place for place in plan.join if place not in systemds),
        "born_in": "",
        "by_controller": tuple(plan.paths.items()),
    }
    return GroupPlan(**{**vars(plan), **changed})


def properties_of(
    resources: Resources | None, scope: Scope, container_id: str, annotations: dict[str, str], *, v2: bool
) -> Properties:
    """What systemd is told of a new scope. Raises SpecError for an annotation that cannot be read."""
    found: Properties = [
        ("Description", ("s", f"container {container_id}")),
        ("Slice", ("s", scope.slice)),
        ("Delegate", ("b", True)),
        ("DefaultDependencies", ("b", False)),
        ("CollectMode", ("s", "inactive-or-failed")),
        *((f"{kind}Accounting", ("b", True)) for kind in ("Memory", "CPU", "Tasks", "IO" if v2 else "BlockIO")),
        *limits_of_unit(resources, v2=v2),
    ]
    for name, text in annotations.items():
        if name.startswith("org.systemd.property."):
            found.append(_annotated(name, text))
    return found


def limits_of_unit(resources: Resources | None, *, v2: bool) -> Properties:
    """The limits that systemd has words for."""
    if resources is None:
        return []
    found = [*_memory(resources.memory, v2=v2), *_cpu(resources.cpu, v2=v2)]
    if resources.pids is not None and resources.pids.limit:
        found.append(("TasksMax", resources.pids.limit))
    if v2:
        found += _unified(resources.unified or {})
    return [
        (name, ("ay", value) if isinstance(value, bytes) else ("t", INFINITY if value < 0 else value))
        for name, value in found
    ]


def devices_of_unit(table: Table, names: dict[tuple[str, int], str]) -> Properties:
    """Device rules in systemd's words; `names` are those of the majors ("c" or "b", number) in /proc/devices.

    What it has no words for it refuses: exceptions for a major without a driver, or for a minor of every major.
    """
    if table.allow:
        return []
    allowed = []
    for (kind, major, minor), access in table.exceptions.items():
        word = {"c": "char", "b": "block"}[kind]
        if ANY not in {minor, major}:
            allowed.append((f"/dev/{word}/{major}:{minor}", letters(access)))
        elif minor == ANY and (major == ANY or (kind, major) in names):
            allowed.append((f"{word}-{names[kind, major] if major != ANY else '*'}", letters(access)))
    return [("DevicePolicy", ("s", "strict")), ("DeviceAllow", ("a(ss)", allowed))]


def _memory(memory: Memory | None, *, v2: bool) -> Iterator[tuple[str, int]]:
    if memory is None:
        return
    if memory.limit:
        yield ("MemoryMax" if v2 else "MemoryLimit"), memory.limit
    if memory.reservation and v2:
        yield "MemoryLow", memory.reservation
    if memory.swap and v2:
        if memory.swap < 0:
            yield "MemorySwapMax", -1
        elif memory.limit and memory.limit > 0:
            yield "MemorySwapMax", memory.swap - memory.limit


def _cpu(cpu: CPU | None, *, v2: bool) -> Iterator[tuple[str, Any]]:
    if cpu is None:
        return
    if cpu.shares and cpu.idle != 1:
        yield ("CPUWeight", weight_of(cpu.shares)) if v2 else ("CPUShares", cpu.shares)
    if cpu.period:
        yield "CPUQuotaPeriodUSec", cpu.period
    if cpu.quota:
        yield "CPUQuotaPerSecUSec", _quota(cpu.quota, cpu.period or 100_000)
    if v2 and cpu.cpus:
        yield "AllowedCPUs", bits(cpu.cpus)
    if v2 and cpu.mems:
        yield "AllowedMemoryNodes", bits(cpu.mems)


def _quota(quota: int, period: int) -> int:
    if quota < 0:
        return -1
    return -(-quota * SECOND // period // GRAIN) * GRAIN


UNIFIED = {
    "memory.min": "MemoryMin",
    "memory.low": "MemoryLow",
    "memory.high": "MemoryHigh",
    "memory.max": "MemoryMax",
    "memory.swap.max": "MemorySwapMax",
    "pids.max": "TasksMax",
    "cpu.weight": "CPUWeight",
}


def _unified(files: dict[str, str]) -> Iterator[tuple[str, Any]]:
    for file, text in files.items():
        words = text.split()
        if file in UNIFIED and len(words) == 1 and (words[0] == "max" or words[0].isdecimal()):
            yield UNIFIED[file], -1 if words[0] == "max" else int(words[0])
        elif file == "cpu.max" and words and (words[0] == "max" or words[0].isdecimal()):
            period = int(words[1]) if len(words) > 1 and words[1].isdecimal() and int(words[1]) else 100_000
            yield "CPUQuotaPeriodUSec", period
            yield "CPUQuotaPerSecUSec", -1 if words[0] == "max" else _quota(int(words[0]), period)
        elif file in {"cpuset.cpus", "cpuset.mems"} and text:
            yield ("AllowedCPUs" if file == "cpuset.cpus" else "AllowedMemoryNodes"), bits(text)


def bits(text: str) -> bytes:
    """A list such as 0-2,5 as systemd takes it: bit n of byte n/8 for each number. Raises SpecError."""
    mask = 0
    for part in text.replace(" ", "").split(","):
        first, dash, last = part.partition("-")
        last = last if dash else first
        if not (first.isdecimal() and last.isdecimal()) or int(last) < int(first) or int(last) > 8191:
            raise SpecError(f"{text!r} is no list of processors or nodes", pointer="/linux/resources/cpu")
        mask |= (1 << int(last) + 1) - (1 << int(first))
    return mask.to_bytes((mask.bit_length() + 7) // 8, "little")


def _annotated(annotation: str, text: str) -> tuple[str, tuple[str, Any]]:
    """A property given as an annotation, its value in GVariant's text format: 'words', true, 5, uint64 5."""
    name = annotation.removeprefix("org.systemd.property.")
    value = _variant(text.strip())
    if not name.isalnum() or value is None:
        raise SpecError(
            f"{text!r} is no value for a property of systemd",
            pointer=f"/annotations/{annotation}",
            hint="'text', true, 5 or uint64 5",
        )
    if name.endswith("Sec") and not name.endswith("USec") and value[0] in {*NUMBERS.values(), "d"}:
        return f"{name.removesuffix('Sec')}USec", ("t", round(value[1] * SECOND))
    return name, value


def _variant(text: str) -> tuple[str, Any] | None:
    if len(text) > 1 and text[0] in "'\"" and text[-1] == text[0]:
        return "s", text[1:-1]
    if text in {"true", "false"}:
        return "b", text == "true"
    kind, space, number = text.rpartition(" ")
    kind = kind.strip() if space else "int32"
    if kind == "double" or (not space and "." in text):
        try:
            return "d", float(number)
        except ValueError:
            return None
    if kind in NUMBERS and number.removeprefix("-").isdecimal() and number.isascii():
        return NUMBERS[kind], int(number)
    return None
