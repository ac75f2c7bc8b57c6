"""Other limits for a living container.

merged(what it has, what is asked) ─▶ update_limits ─▶ its groups
"""

from __future__ import annotations

from cloche.errors import ConflictError, NotFoundError, UnsupportedError
from cloche.linux.reading import read
from cloche.runtime.cgroups import devices
from cloche.runtime.cgroups.containers import controllers_of_v2, limits_in, tell_devices, tell_limits
from cloche.runtime.cgroups.limits import ALWAYS, UNLIMITED
from cloche.spec.resources import Memory, Resources
from cloche.stage.deciding import attach_devices
from cloche.stage.limits import write_limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.runtime.receipt import Receipt
    from cloche.spec.document import Document
    from cloche.stage.limits import Write

EINVAL, ERANGE = 22, 34
# members whose 0 is a value; elsewhere it is "not set", and leaves what is there
ZERO_COUNTS = {"burst", "idle", "swappiness", "limit of pids"}


def merged(have: Resources | None, asked: Resources) -> Resources:
    """The limits a container has once `asked` was applied to `have`: what is not set stays, lists are replaced.

    Where memory becomes unlimited and swap is not spoken of, swap does too.
    """
    result = Resources(**vars(have)) if have is not None else Resources()
    for name, section in vars(asked).items():
        if section is None:
            continue
        before = getattr(result, name)
        if name in {"memory", "cpu", "pids", "blockIO", "network"} and before is not None:
            setattr(result, name, _merged_section(before, section, name))
        elif isinstance(section, dict) and before is not None:
            setattr(result, name, {**before, **section})
        else:
            setattr(result, name, section)
    memory = asked.memory
    if memory is not None and memory.limit == UNLIMITED and not memory.swap and result.memory is not None:
        result.memory = Memory(**{**vars(result.memory), "swap": UNLIMITED})
    return result


def _merged_section(before: Document, asked: Document, section: str) -> Document:
    given = {
        name: value
        for name, value in vars(asked).items()
        if value is not None and (value != 0 or name in ZERO_COUNTS or f"{name} of {section}" in ZERO_COUNTS)
    }
    return type(before)(**{**vars(before), **given})


def update_limits(resources: Resources, paths: dict[str, str], receipt: Receipt | None = None) -> list[tuple[str, str]]:
    """Write these limits into the groups of a container; returns notes (name, what is not enforced and why).

    `receipt` says afterwards what is enforced.

    `resources` are all it shall have (`merged`): limits depend on each other. They are written in whatever
    order the kernel takes from where they stand. Device rules are changed only if there are any in it, without
    a moment in which what stays allowed is refused, or what stays refused allowed.

    Raises NotFoundError without groups, ConflictError when more memory is in use and `checkBeforeUpdate` was
    asked, UnsupportedError and SpecError for what cannot be had here, OSError with the file when the kernel
    refuses a value; what was written before that stays.
    """
    if not paths:
        raise NotFoundError("the container has no control groups", hint="it was made without the right to have any")
    _check_usage(resources, paths)
    notes: list[tuple[str, str]] = []
    writes: dict[str, list[Write]] = {}
    limits = limits_in(_with_known_memory(resources, paths), paths, controllers_of_v2(paths.get("", "")))
    for key, limit in limits:
        if limit.lacks and limit.need == ALWAYS:
            raise UnsupportedError(limit.name, needs=limit.lacks, hint="leave it out")
        if limit.lacks or key not in paths:
            notes.append((limit.name, limit.lacks))
            continue
        write = (limit.file, limit.value, limit.name, limit.need, limit.instead)
        writes.setdefault(paths[key], []).append(write)
    for place, several in writes.items():
        try:
            notes += write_limits(place, tuple(several))
        except OSError as error:
            if error.errno in {EINVAL, ERANGE}:
                error.add_note("the kernel does not take this value here")
            raise
    table = devices.table_of(resources.devices) if resources.devices is not None else None
    if table is not None:
        _update_devices(table, paths)
    if receipt is not None:
        tell_limits(limits, paths, receipt)
        if table is not None:
            tell_devices(table, receipt)
        for name, why in notes:
            receipt.add(name, False, why)
    return notes


def _with_known_memory(resources: Resources, paths: dict[str, str]) -> Resources:
    """On v2 a limit on swap is what it is above the one on memory: where that is not given, the present one."""
    memory = resources.memory
    if "memory" in paths or memory is None or memory.limit or (memory.swap or 0) <= 0:
        return resources
    present = read(f"{paths['']}/memory.max").strip()
    if not present.isdigit():
        return resources
    return Resources(**{**vars(resources), "memory": Memory(**{**vars(memory), "limit": int(present)})})


def _check_usage(resources: Resources, paths: dict[str, str]) -> None:
    """On v2 a limit below what is in use would end processes; this is what `checkBeforeUpdate` is for."""
    memory = resources.memory
    if memory is None or not memory.checkBeforeUpdate:
        return
    files = (("memory", "memory.usage_in_bytes"), ("", "memory.current"))
    usage = next((read(f"{paths[key]}/{file}").strip() for key, file in files if key in paths), "")
    for name, limit in (("memory and swap", memory.swap), ("memory", memory.limit)):
        if usage.isdigit() and limit is not None and 0 < limit <= int(usage):
            raise ConflictError(
                f"{limit} bytes of {name} are not enough: {usage} are in use",
                hint="leave out checkBeforeUpdate to have processes ended instead",
            )


def _update_devices(table: devices.Table, paths: dict[str, str]) -> None:
    if "devices" in paths:
        lines = devices.transition(read(f"{paths['devices']}/devices.list"), table)
        write_limits(paths["devices"], tuple((file, line, "devices", ALWAYS, ()) for file, line in lines))
    elif "" in paths:
        attach_devices(paths[""], devices.program_of(table))
