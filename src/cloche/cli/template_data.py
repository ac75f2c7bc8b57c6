"""What templates are made with beside what JSON has: objects, maps, and what is nil, as Go tells them apart.

    Members     an object: what it lacks is an error, but some of what it has is not printed with the whole
    Map         any name can be asked for; one that is not there is NOTHING, and so is all that is asked of NOTHING
    NilMap, NilList     empty, and null in JSON

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


def said(value: Any) -> Any:
    """A value as JSON has it."""
    if value is NOTHING or isinstance(value, (NilMap, NilList)):
        return None
    if isinstance(value, dict):
        return {key: said(item) for key, item in value.items()}
    return [said(item) for item in value] if isinstance(value, (list, tuple)) else value
