"""Which images are meant by `--filter` and by patterns of names (docker images, "Filtering")."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase

from cloche.errors import BAD_OPTION, SpecError
from cloche.images.references import parse_reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.images.listing import Row

    Test = Callable[[Row], bool]

OF_LISTS = ("dangling", "label", "before", "since", "until", "reference")
OF_PRUNING = ("until", "label", "label!", "dangling")
UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
NONE = "<none>"


def parse_filters(texts: list[str], known: tuple[str, ...]) -> list[tuple[str, str]]:
    """KEY=VALUE each. Raises SpecError."""
    found = []
    for text in texts:
        key, equals, value = text.partition("=")
        if key.endswith("!"):  # KEY!=VALUE
            key = f"{key[:-1]}!"
        hint = f"there are {', '.join(dict.fromkeys(known))}"
        if not equals:
            why = f"bad format of filter (expected name=value): {text!r}"
            raise SpecError(why, hint=hint, code=BAD_OPTION)
        if key not in known:
            raise SpecError(f"invalid filter '{key}'", hint=hint)
        found.append((key, value))
    return found


def make_test(filters: list[tuple[str, str]], created_of: Callable[[str], str]) -> Test:
    """Whether a row is meant: by one of the references, and by all else; `created_of` is of an image by name or ID.

    Raises SpecError.
    """
    patterns = [value for key, value in filters if key == "reference"]
    tests = [_test(key, value, created_of) for key, value in filters if key != "reference"]
    if patterns:
        tests.append(lambda row: any(is_called(row, pattern) for pattern in patterns))
    return lambda row: all(test(row) for test in tests)


def _test(key: str, value: str, created_of: Callable[[str], str]) -> Test:
    if key == "dangling":
        if value.lower() not in {"true", "false", "1", "0"}:
            raise SpecError(f"--filter dangling={value}: true or false")
        wanted = value.lower() in {"true", "1"}
        return lambda row: is_dangling(row) == wanted
    if key in {"label", "label!"}:
        name, equals, content = value.partition("=")
        if key == "label!":
            return lambda row: not _has_label(row, name, equals, content)
        return lambda row: _has_label(row, name, equals, content)
    if key == "until":
        limit = parse_time(value)
        return lambda row: _time(row.created) < limit
    other = _time(created_of(value))
    return (lambda row: _time(row.created) < other) if key == "before" else (lambda row: _time(row.created) > other)


def is_dangling(row: Row) -> bool:
    """Whether an image has no name."""
    return not row.name


def _has_label(row: Row, name: str, equals: str, content: str) -> bool:
    return name in row.labels and (not equals or row.labels[name] == content)


def is_called(row: Row, pattern: str) -> bool:
    """Whether a name is meant by a pattern, whose `*` stands for no slash: with or without tag, short or in full."""
    if not row.name:
        return False
    reference = parse_reference(row.name)
    tagged = (str(reference), reference.familiar)
    return any(_matches(text, pattern) for text in (*tagged, reference.name, reference.familiar_name))


def _matches(text: str, pattern: str) -> bool:
    parts, patterns = text.split("/"), pattern.split("/")
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))


def _time(created: str) -> datetime:
    """A time of RFC 3339; what has none is from before all others."""
    try:
        found = datetime.fromisoformat(created)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def parse_time(text: str, now: datetime | None = None) -> datetime:
    """A date, a time of RFC 3339, seconds since 1970, or how long ago as Go has it (1h30m). Raises SpecError."""
    try:
        return _parsed_time(text, now)
    except (ValueError, OverflowError):  # no calendar has it
        hint = "2024-01-31, 2024-01-31T12:00:00Z, or 240h for so long ago"
        raise SpecError(f"{text[:80]!r} is no time", hint=hint) from None


def _parsed_time(text: str, now: datetime | None) -> datetime:
    if text.replace(".", "", 1).isdecimal() and text.isascii():
        return datetime.fromtimestamp(float(text), UTC)
    seconds, rest = 0.0, text
    while rest:
        digits = len(rest) - len(rest.lstrip("0123456789."))
        unit_length = len(rest[digits:]) - len(rest[digits:].lstrip("hmsnuµ"))
        number, unit, rest = rest[:digits], rest[digits : digits + unit_length], rest[digits + unit_length :]
        if unit not in UNITS or number.count(".") > 1 or not number.strip("."):
            break
        seconds += float(number) * UNITS[unit]
    else:
        if text:
            return (now or datetime.now(UTC)) - timedelta(seconds=seconds)
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.astimezone()
