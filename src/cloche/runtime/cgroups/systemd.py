"""linux.cgroupsPath and linux.resources as a scope of systemd: its name, its place, its properties. Pure.

    cgroupsPath          SLICE:PREFIX:NAME, as runc has it    "system.slice:docker:4af…"
    unit                 PREFIX-NAME.scope                    docker-4af….scope
    group                below the manager's own group        /system.slice/docker-4af….scope

systemd gets the limits it has words for, so that it does not undo them when it reloads (systemd.resource-control(5));
all of them are written into the group's files as well, which know more, by the same steps as without systemd.
Of devices, too: left without any rule it would allow all of them when it writes a group of v1 anew.
"""

from __future__ import annotations

from cloche.errors import SpecError
from cloche.records import record
from cloche.runtime.cgroups import devices
from cloche.runtime.cgroups.blocks import io_weight_of
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
IDLE_IS_A_WEIGHT = 252  # the version in which a CPUWeight of 0 became the idle class
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
    """The groups `plan` makes, but `systemds` (directories) made by systemd, around a process that is there.

    systemd makes the scope in hierarchies of v1 as well, with its own idea of limits and devices: what is written
    comes after that, in every one of them. The other groups are there before, as the process enters them itself.
    """
    before = [step for step in plan.create if isinstance(step, MakeGroup) and step.path not in systemds]
    after = [step for step in plan.create if not isinstance(step, MakeGroup)]
    changed = {
        "create": tuple(before),
        "adopt": (StartScope(scope.unit, properties, scope.user), *after),
        "join": tuple(place for place in plan.join if place not in systemds),
        "born_in": "",
        "by_controller": tuple(plan.paths.items()),
    }
    return GroupPlan(**{**vars(plan), **changed})


def properties_of(
    resources: Resources | None,
    scope: Scope,
    container_id: str,
    annotations: dict[str, str],
    *,
    v2: bool,
    version: int = IDLE_IS_A_WEIGHT,
) -> Properties:
    """What systemd is told of a new scope. Raises SpecError for an annotation that cannot be read."""
    found: Properties = [
        ("Description", ("s", f"container {container_id}")),
        ("Slice", ("s", scope.slice)),
        ("Delegate", ("b", True)),
        ("DefaultDependencies", ("b", False)),
        ("CollectMode", ("s", "inactive-or-failed")),
        *((f"{kind}Accounting", ("b", True)) for kind in ("Memory", "CPU", "Tasks", "IO" if v2 else "BlockIO")),
        *limits_of_unit(resources, v2=v2, version=version),
        *([] if scope.user else devices_of_unit(resources, v2=v2)),  # a user's own has no say about devices
    ]
    for name, text in annotations.items():
        if name.startswith("org.systemd.property."):
            found.append(_annotated(name, text))
    return found


def limits_of_unit(resources: Resources | None, *, v2: bool, version: int = IDLE_IS_A_WEIGHT) -> Properties:
    """The limits that systemd, of that version, has words for."""
    if resources is None:
        return []
    found = [*_memory(resources.memory, v2=v2), *_cpu(resources.cpu, v2=v2, version=version)]
    if resources.pids is not None and resources.pids.limit is not None:
        found.append(("TasksMax", _tasks(resources.pids.limit)))
    if resources.blockIO is not None and (weight := resources.blockIO.weight):
        found.append(("IOWeight", io_weight_of(weight)) if v2 else ("BlockIOWeight", weight))
    if v2:
        found += _unified(resources.unified or {})
    return [
        (name, ("ay", value) if isinstance(value, bytes) else ("t", INFINITY if value < 0 else value))
        for name, value in found
    ]


def devices_of_unit(resources: Resources | None, *, v2: bool) -> Properties:
    """The devices that systemd lets it use: the list replaces what the scope had.

    systemd can name one device, those of a major number, and all. What else a table says only our own rules say.
    On v2 systemd's program refuses beside ours, so there it keeps out of what it cannot say in full. On v1 there is
    one list, which systemd writes anew when it reloads: what it cannot say is refused from then on.
    """
    table = devices.table_of(resources.devices if resources is not None else None)
    listed = [] if table.allow else [(_node(key), access) for key, access in table.exceptions.items()]
    if table.is_open or (v2 and (table.allow or not all(node for node, _ in listed))):
        return [("DevicePolicy", ("s", "auto")), ("DeviceAllow", ("a(ss)", []))]
    allowed = [(node, devices.letters(access)) for node, access in listed if node]
    return [("DevicePolicy", ("s", "strict")), ("DeviceAllow", ("a(ss)", [])), ("DeviceAllow", ("a(ss)", allowed))]


def _node(key: tuple[str, int, int]) -> str:
    """How systemd names devices (systemd.resource-control(5), DeviceAllow=); "" for those it cannot name."""
    kind, major, minor = key
    name = "block" if kind == "b" else "char"
    if major == devices.ANY:
        return f"{name}-*" if minor == devices.ANY else ""
    return f"{name}-{major}" if minor == devices.ANY else f"/dev/{name}/{major}:{minor}"


def _tasks(limit: int) -> int:
    """0 is no number for systemd, and one task that is there already may make no other with 1 either."""
    return limit or 1


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


def _cpu(cpu: CPU | None, *, v2: bool, version: int) -> Iterator[tuple[str, Any]]:
    if cpu is None:
        return
    if cpu.idle == 1 and v2 and version >= IDLE_IS_A_WEIGHT:
        yield "CPUWeight", 0
    elif cpu.shares and cpu.idle != 1:
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


def _is_number(word: str) -> bool:
    """Whether it is a whole number that 64 bits may have."""
    return word.isascii() and word.isdecimal() and len(word) < 21


def _unified(files: dict[str, str]) -> Iterator[tuple[str, Any]]:
    for file, text in files.items():
        words = text.split()
        if file in UNIFIED and len(words) == 1 and (words[0] == "max" or _is_number(words[0])):
            number = -1 if words[0] == "max" else int(words[0])
            yield UNIFIED[file], _tasks(number) if file == "pids.max" else number
        elif file == "cpu.max" and words and (words[0] == "max" or _is_number(words[0])):
            period = int(words[1]) if len(words) > 1 and _is_number(words[1]) and int(words[1]) else 100_000
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
        if not (_is_number(first) and _is_number(last)) or int(last) < int(first) or int(last) > 8191:
            raise SpecError(f"{text!r} is no list of processors or nodes", pointer="/linux/resources/cpu")
        mask |= (1 << int(last) + 1) - (1 << int(first))
    return mask.to_bytes((mask.bit_length() + 7) // 8, "little")


def _annotated(annotation: str, text: str) -> tuple[str, tuple[str, Any]]:
    """A property given as an annotation, in GVariant's text format: 'words', true, 5, uint64 5, ['a', 'b']."""
    name = annotation.removeprefix("org.systemd.property.")
    value = _variant(text.strip())
    if not name.isalnum() or value is None:
        raise SpecError(
            f"{text!r} is no value for a property of systemd",
            pointer=f"/annotations/{annotation}",
            hint="'text', true, 5, uint64 5 or ['a', 'b']",
        )
    if name.endswith("Sec") and not name.endswith("USec") and value[0] in {*NUMBERS.values(), "d"}:
        return f"{name.removesuffix('Sec')}USec", ("t", round(value[1] * SECOND))
    return name, value


def _variant(text: str) -> tuple[str, Any] | None:
    if len(text) > 1 and text[0] in "'\"" and text.find(text[0], 1) == len(text) - 1:
        return "s", text[1:-1]
    if text.startswith("[") and text.endswith("]"):
        return _array(text[1:-1].strip())
    if text in {"true", "false"}:
        return "b", text == "true"
    kind, space, number = text.rpartition(" ")
    kind = kind.strip() if space else "int32"
    if kind == "double" or (not space and "." in text):
        try:
            return "d", float(number)
        except ValueError:
            return None
    if kind in NUMBERS and _is_number(number.removeprefix("-")):
        return NUMBERS[kind], int(number)
    return None


def _array(text: str) -> tuple[str, list[Any]] | None:
    """Values of one kind between commas; none at all are words."""
    found: list[tuple[str, Any]] = []
    while text:
        end = text.find(text[0], 1) + 1 if text[0] in "'\"" else (text + ",").index(",")
        value = _variant(text[:end].strip())
        text = text[end:].strip()
        if value is None or (text and not text.startswith(",")):
            return None
        found.append(value)
        text = text[1:].strip()
    kinds = {kind for kind, _ in found} or {"s"}
    return (f"a{kinds.pop()}", [value for _, value in found]) if len(kinds) == 1 else None
