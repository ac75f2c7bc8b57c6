"""What templates are made with beside what JSON has: objects, maps, and what is nil, as Go tells them apart.

    Members     an object: what it lacks is an error, but some of what it has is not printed with the whole
    Map         any name can be asked for; one that is not there is NOTHING, and so is all that is asked of NOTHING
    NilMap, NilList     empty, and null in JSON
    Duration    nanoseconds, a number in JSON, printed as 1m30s

Pure. What docker's objects have is in `shapes`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    Object = dict[str, Any]
    List = list[Any]
else:
    Object, List = dict, list


SECOND = 1_000_000_000


class _Nothing:
    """What a map has for a name that it does not have; not true."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "<no value>"  # as Go prints it


NOTHING = _Nothing()


class Members(Object):
    """An object; `unsaid` are members that can be asked for by name alone, such as those that are nil."""

    def __init__(self, said: Mapping[str, Any], unsaid: Mapping[str, Any]) -> None:
        super().__init__(said)
        self.unsaid = unsaid

    def __missing__(self, name: str) -> Any:
        return self.unsaid[name]


class Map(Object):
    """Labels and the like."""

    def __missing__(self, name: str) -> _Nothing:
        return NOTHING


class NilMap(Map):
    """A map that nobody has made."""


class NilList(List):
    """A list that nobody has made."""


class Duration(int):
    """Nanoseconds (Go's time.Duration)."""

    def __str__(self) -> str:
        sign, left = "-" if self < 0 else "", abs(int(self))
        for unit, name in ((1, "ns"), (1000, "µs"), (1_000_000, "ms")):
            if left < 1000 * unit:
                return f"{sign}{_decimal(left, unit)}{name}" if left else "0s"
        minutes, seconds = divmod(left, 60 * SECOND)
        hours, minutes = divmod(minutes, 60)
        above = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
        return f"{sign}{above}{_decimal(seconds, SECOND)}s"


def _decimal(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    digits = str(rest).zfill(len(str(unit)) - 1).rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)


def said(value: Any) -> Any:
    """A value as JSON has it."""
    if value is NOTHING or isinstance(value, (NilMap, NilList)):
        return None
    if isinstance(value, dict):
        return {key: said(item) for key, item in value.items()}
    return [said(item) for item in value] if isinstance(value, (list, tuple)) else value
