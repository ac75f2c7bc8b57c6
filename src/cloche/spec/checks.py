"""Small checks and grammars that several sections share. Each fails with the pointer it was given."""

from __future__ import annotations

from cloche.errors import SpecError
from cloche.spec.shape import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from cloche.spec.mounts import IDMapping

MAX_ID = (1 << 32) - 1  # as an id it is -1, "no change", to the kernel: never mapped
MAX_MAPPINGS = 340  # user_namespaces(7), since Linux 4.15
MAX_CPU = 65535  # far above any kernel's NR_CPUS or MAX_NUMNODES; keeps a list's expansion small


def fail(pointer: str, message: str, hint: str = "") -> NoReturn:
    """Raise the SpecError that says so."""
    raise SpecError(message, pointer=pointer, hint=hint)


def check_absolute(path: str, pointer: str) -> None:
    """Fail unless `path` begins at the root."""
    if path[:1] != "/":
        fail(pointer, f"must be an absolute path, not {shown(path)}")


def check_id_mappings(mappings: list[IDMapping], pointer: str) -> None:
    """The kernel's rules for /proc/pid/uid_map: sizes, ends, and no overlap on either side."""
    if len(mappings) > MAX_MAPPINGS:
        fail(pointer, f"has {len(mappings)} entries; the kernel takes {MAX_MAPPINGS}")
    for i, mapping in enumerate(mappings):
        if mapping.size == 0:
            fail(f"{pointer}/{i}/size", "must be more than 0")
        if max(mapping.containerID, mapping.hostID) + mapping.size > MAX_ID:
            fail(f"{pointer}/{i}", f"reaches beyond the last id, {MAX_ID - 1}")
    for side in ("containerID", "hostID"):
        ordered = sorted((getattr(mapping, side), i) for i, mapping in enumerate(mappings))
        for k in range(1, len(ordered)):
            (start, first), (next_start, second) = ordered[k - 1], ordered[k]
            if start + mappings[first].size > next_start:
                fail(f"{pointer}/{second}/{side}", f"overlaps with entry {first}")


def parse_cpu_list(text: str, pointer: str = "") -> list[int]:
    """The numbers in a list such as `0-3,7` (cpuset(7), "List format"), sorted; empty for ''."""
    numbers: set[int] = set()
    for first, last in _ranges(text, pointer):
        numbers.update(range(first, last + 1))
    return sorted(numbers)


def check_cpu_list(text: str | None, pointer: str) -> None:
    """Fail unless `text` is None or something that `parse_cpu_list` can read."""
    if text is not None:
        _ranges(text, pointer)


def _ranges(text: str, pointer: str) -> list[tuple[int, int]]:
    result = []
    for item in text.split(",") if text.strip() else ():
        first, dash, last = item.strip().partition("-")
        bounds = (first, last) if dash else (first, first)
        if not all(bound.isascii() and bound.isdigit() and len(bound) <= 5 for bound in bounds):
            fail(pointer, f"must be a list such as 0-3,7, not {shown(text)}")
        low, high = int(bounds[0]), int(bounds[1])
        if low > high:
            fail(pointer, f"the range {item.strip()} runs backwards")
        if high > MAX_CPU:
            fail(pointer, f"{high} is beyond any machine ({MAX_CPU})")
        result.append((low, high))
    return result


def sysctl_path(key: str) -> str:
    """The path below /proc/sys for a sysctl's name, in either spelling of sysctl(8).

    Whichever of `.` and `/` comes first separates; the other then stands for the first inside a
    part: `net.ipv4.conf.eth0/1.rp_filter` and `net/ipv4/conf/eth0.1/rp_filter` are the same.
    """
    dot, slash = key.find("."), key.find("/")
    if dot == -1 or -1 < slash < dot:
        return key
    return key.translate({ord("."): "/", ord("/"): "."})
