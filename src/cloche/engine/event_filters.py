"""Which events are meant by `--filter`, as docker's daemon has it (docker events, "Filtering").

Values of the same key are alternatives, those of different keys have all to be true, and so have labels.
"""

from __future__ import annotations

from cloche.errors import BAD_OPTION, SpecError
from cloche.images.references import parse_reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Event = dict[str, Any]

# of which the beginning of an ID or a name is enough
NAMED = ("container", "volume", "network", "plugin", "service", "node", "secret", "config", "daemon")
KEYS = (*NAMED, "image", "event", "type", "scope", "label")
# actions that go on behind a colon, and the beginnings by which all of them are asked for
LONGER = {"health_status", "exec_create", "exec_start"}


def make_test(texts: list[str]) -> Callable[[Event], bool]:
    """Whether an event is meant by KEY=VALUE each. Raises SpecError."""
    wanted: dict[str, list[str]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        key = key.strip().lower()
        if not equals:
            why = f"bad format of filter (expected name=value): {text!r}"
            raise SpecError(why, hint=f"names: {', '.join(sorted(KEYS))}", code=BAD_OPTION)
        if key not in KEYS:
            raise SpecError(f"invalid filter '{key}'", hint=f"there are {', '.join(sorted(KEYS))}")
        wanted.setdefault(key, []).append(value.strip())
    return lambda event: all(_is_meant(event, key, values) for key, values in wanted.items())


def _is_meant(event: Event, key: str, values: list[str]) -> bool:
    attributes: dict[str, str] = event["Actor"]["Attributes"]
    if key in NAMED:
        return _begins(event["Actor"]["ID"], values) or _begins(attributes.get("name", ""), values)
    if key == "image":
        named = attributes.get("name" if event["Type"] == "image" else "image", "")
        found = {event["Actor"]["ID"], named}
        return not values or bool(set(values) & (found | {_without_tag(text) for text in found}))
    if key == "event":
        return _begins(event["Action"], values) if LONGER & set(values) else event["Action"] in values
    if key == "label":
        return all(_has_label(attributes, value) for value in values)
    return event["Type" if key == "type" else "scope"] in values


def _begins(text: str, beginnings: list[str]) -> bool:
    return text.startswith(tuple(beginnings))


def _has_label(labels: dict[str, str], wanted: str) -> bool:
    name, equals, value = wanted.partition("=")
    return name in labels and (not equals or labels[name] == value)


def _without_tag(text: str) -> str:
    """A name of an image without its tag, as docker shows it; what is none stays what it is."""
    try:
        return parse_reference(text).familiar_name
    except SpecError:
        return text
