"""The times that `--since` and `--until` are given, as docker reads them: a moment, or how long ago.

    1700000000, 1700000000.5       seconds since 1970
    1h30m, 90s, 1.5h, -1h          so long before now (Go's durations); below zero, after it
    2024-01-31                     the beginning of that day, here
    2024-01-31T12, …T12:30:05.25   that time, here
    2024-01-31T12:30:05Z, …+02:00  that time, elsewhere

docker: api/types/time, GetTimestamp. Counted in nanoseconds since 1970, without a float in between.
"""

from __future__ import annotations

import time

from cloche.cli.human import seconds_of
from cloche.errors import SpecError

SECOND = 1_000_000_000
UNITS = {
    "h": 3600 * SECOND,
    "m": 60 * SECOND,
    "s": SECOND,
    "ms": 1_000_000,
    "us": 1000,
    "µs": 1000,  # U+00B5, and the letter mu, U+03BC
    "μs": 1000,
    "ns": 1,
}
DIGITS = "0123456789"
LONGEST = 64  # characters of a time
FURTHEST = 1 << 63  # nanoseconds that a time of Go's can have
HINT = "2024-01-31, 2024-01-31T12:00:00Z, seconds since 1970, or 10m for so long ago"


def parse_time(text: str, now_ns: int, zone: int) -> int:
    """Nanoseconds since 1970 of a time; `zone` is how many seconds the clocks here are ahead of UTC.

    Raises SpecError.
    """
    found = None
    if len(text) <= LONGEST:
        length = None if text == "0" else _duration(text)
        found = now_ns - length if length is not None else _moment(text, zone)
    if found is None or abs(found) >= FURTHEST:
        raise SpecError(f"{text!r} is no time", hint=HINT)
    return found


def time_of(text: str) -> int:
    """The same, from now on and here."""
    now = time.time_ns()
    return parse_time(text, now, time.localtime(now // SECOND).tm_gmtoff)


def _moment(text: str, zone: int) -> int | None:
    date, rest = text[:10], text[10:]
    if len(date) == 10 and date[4] == date[7] == "-":
        return _dated(date, rest, zone)
    whole, dot, part = text.partition(".")
    if not _all_digits(whole.removeprefix("-")) or (dot and not _all_digits(part)) or len(part) > 9:
        return None
    return int(whole) * SECOND + _fraction(part)


def _dated(date: str, rest: str, zone: int) -> int | None:
    """A date, a time of that day perhaps, and perhaps the zone it is in."""
    rest, ahead = _zone(rest, zone)
    if ahead is None or (rest and rest[0] != "T"):
        return None
    clock, dot, part = rest[1:].partition(".")
    if (dot and (not _all_digits(part) or len(clock) < 8)) or (rest and not clock):
        return None
    clock += "00:00:00"[len(clock) :]
    seconds = seconds_of(f"{date}T{clock}Z")
    if seconds is None or not _is_written_so(f"{date}T{clock}", seconds):
        return None
    return (seconds - ahead) * SECOND + _fraction(part)


def _zone(rest: str, zone: int) -> tuple[str, int | None]:
    """What stands before the zone, and how many seconds ahead that is; None for none that can be."""
    if rest[-1:] in {"Z", "z"}:
        return rest[:-1], 0
    sign, hours, colon, minutes = rest[-6:-5], rest[-5:-3], rest[-3:-2], rest[-2:]
    if sign not in {"+", "-"} or len(rest) < 6:
        return rest, zone
    if colon != ":" or not _all_digits(hours + minutes) or int(hours) > 24 or int(minutes) > 59:
        return rest, None
    ahead = 3600 * int(hours) + 60 * int(minutes)
    return rest[:-6], ahead if sign == "+" else -ahead


def _is_written_so(text: str, seconds: int) -> bool:
    """Whether it is a day of the calendar, and in digits."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).zfill(19) == text


def _fraction(digits: str) -> int:
    """Nanoseconds of what stands behind the point; digits beyond are left out."""
    return int(digits[:9].ljust(9, "0"))


def _duration(text: str) -> int | None:
    """Nanoseconds of a duration as Go writes it (time.ParseDuration), None for none."""
    rest, total = text.removeprefix("-") if text[:1] == "-" else text.removeprefix("+"), 0
    if not rest:
        return None
    while rest:
        number = rest[: len(rest) - len(rest.lstrip(DIGITS + "."))]
        unit = rest[len(number) :]
        unit = unit[: len(unit) - len(unit.lstrip("hmsnuµμ"))]
        whole, _, part = number.partition(".")
        if unit not in UNITS or not (whole or part) or "." in part:
            return None
        total += int(whole or "0") * UNITS[unit] + int(part or "0") * UNITS[unit] // 10 ** len(part)
        rest = rest[len(number) + len(unit) :]
    return -total if text[0] == "-" else total


def _all_digits(text: str) -> bool:
    return bool(text) and not text.strip(DIGITS)
