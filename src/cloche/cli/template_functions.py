"""The functions of templates, those of Go's text/template and those docker adds; what values print and have."""

from __future__ import annotations

import json
from urllib.parse import quote_plus

from cloche.cli.template_data import NOTHING, said
from cloche.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MOST_WIDTH = 10_000  # columns that are filled with spaces or zeros


def printed(value: Any) -> str:
    """A value as Go prints it."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(printed(item) for item in value) + "]"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{printed(item)}" for key, item in sorted(value.items())) + "]"
    return str(value)


def is_true(value: Any) -> bool:
    """Go's truth: nothing that is empty or zero."""
    return bool(value)


def member(value: Any, name: str) -> Any:
    """What `.name` is of a value. Raises SpecError, which names what there is."""
    if value is NOTHING:
        return NOTHING
    if not isinstance(value, dict):
        raise SpecError(f".{name} is asked of {printed(value)[:40]!r}, which has no fields")
    try:
        return value[name]
    except KeyError:
        pass
    methods: dict[str, Any] = getattr(value, "methods", {})
    if name in methods:
        return methods[name]
    there = ", ".join(sorted({*map(str, value), *getattr(value, "unsaid", ())})) or "nothing"
    raise SpecError(f"there is no .{name}", hint=f"there is {there}")


def _json(value: Any) -> str:
    return json.dumps(said(value), ensure_ascii=False, separators=(",", ":"))


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, dict):
            value = value.get(str(key), "")  # as Go's maps have it
        elif isinstance(value, (list, tuple, str)) and isinstance(key, int):
            if not 0 <= key < len(value):
                raise IndexError(f"there are {len(value)}, and {key} is asked for")
            value = value[key]
        else:
            raise TypeError(f"{printed(value)[:40]!r} has no {key!r}")
    return value


def _slice(value: Any, *ends: int) -> Any:
    return value[slice(*ends) if ends else slice(None)] if len(ends) != 1 else value[ends[0] :]


def _format(text: str, *values: Any) -> str:
    """Go's printf, as far as Python's `%` is the same, with %v and %q."""
    import re

    given = iter(values)

    def one(match: re.Match[str]) -> str:
        flags, verb = match[1], match[2]
        if verb == "%":
            return "%"
        _check_width(*(int(number) for number in flags.lstrip("-+ 0#").split(".") if number))
        try:
            value = next(given)
        except StopIteration:
            raise ValueError(f"there is nothing for {match[0]}") from None
        if verb == "c" and isinstance(value, int) and 0xD800 <= value < 0xE000:
            raise ValueError(f"{value} is no character")
        if verb in "vs":
            return f"%{flags}s" % printed(value)
        return f"%{flags}s" % _json(value) if verb == "q" else f"%{flags}{verb}" % value

    return re.sub(r"%([-+ 0#]*\d*(?:\.\d+)?)([vsqdxXofgeEtc%])", one, text)


def _print(*values: Any) -> str:
    """Values with a space between two of which neither is a string."""
    text = ""
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            text += " "
        text += printed(value)
    return text


def _check_width(*widths: int) -> None:
    for width in widths:
        if width > MOST_WIDTH:
            raise ValueError(f"{width} is more than {MOST_WIDTH} columns")


def _pad(text: str, before: int, after: int) -> str:
    _check_width(before, after)
    return " " * before + text + " " * after if text else text


def _truncate(text: str, length: int) -> str:
    return text[:length]


def _join(values: list[Any], separator: str) -> str:
    if isinstance(values, str) and isinstance(separator, (list, tuple)):
        values, separator = list(separator), values  # a list that comes through a pipe
    return separator.join(printed(value) for value in values)


def _split(text: str, separator: str) -> list[str]:
    return text.split(separator) if separator else list(text)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "json": _json,
    "join": _join,
    "split": _split,
    "lower": lambda text: text.lower(),
    "upper": lambda text: text.upper(),
    "title": lambda text: text.title(),
    "pad": _pad,
    "truncate": _truncate,
    "println": lambda *values: " ".join(printed(value) for value in values) + "\n",
    "print": _print,
    "printf": _format,
    "len": len,
    "index": _index,
    "slice": _slice,
    "not": lambda value: not is_true(value),
    "and": lambda *values: values[-1],
    "or": lambda *values: values[-1],
    "eq": lambda value, *others: any(value == other for other in others),
    "ne": lambda value, other: value != other,
    "lt": lambda value, other: value < other,
    "le": lambda value, other: value <= other,
    "gt": lambda value, other: value > other,
    "ge": lambda value, other: value >= other,
    "urlquery": quote_plus,
    "html": lambda text: __import__("html").escape(text),
    "js": lambda text: _json(text)[1:-1],
}
