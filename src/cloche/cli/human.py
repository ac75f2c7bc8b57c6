"""Sizes and times as docker shows them."""

from __future__ import annotations

import time

UNITS = ("B", "kB", "MB", "GB", "TB")
UNKNOWN = "N/A"


def size(count: float) -> str:
    """Bytes: three digits, in units of 1000."""
    unit = 0
    while count >= 999.5 and unit < len(UNITS) - 1:
        count /= 1000
        unit += 1
    return f"{count:.3g}{UNITS[unit]}"


def ago(created: str) -> str:
    """How long ago a time of RFC 3339 was; "N/A" for none."""
    then = seconds_of(created)
    if then is None:
        return UNKNOWN
    seconds = time.time() - then
    for limit, divisor, unit in (
        (1, 1, "Less than a second ago"),
        (60, 1, "seconds"),
        (120, 60, "About a minute ago"),
        (3600, 60, "minutes"),
        (7200, 3600, "About an hour ago"),
        (172800, 3600, "hours"),
        (1209600, 86400, "days"),
        (5184000, 604800, "weeks"),
        (63072000, 2592000, "months"),
    ):
        if seconds < limit:
            return unit if unit.endswith("ago") else f"{int(seconds / divisor)} {unit} ago"
    return f"{int(seconds / 31536000)} years ago"


def date(created: str) -> str:
    """A time of RFC 3339 as Go prints it: 2024-01-31 12:00:00 +0000 UTC; "N/A" for none."""
    then = seconds_of(created)
    return UNKNOWN if then is None else time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC", time.gmtime(then))


def seconds_of(text: str) -> int | None:
    """A time of RFC 3339 in whole seconds since 1970, None for no such time; `datetime` takes 3 ms to import."""
    zone = text[19:].lstrip(".0123456789")
    try:
        year, month, day = map(int, text[:10].split("-"))
        hours, minutes, seconds = map(int, text[11:19].split(":"))
        ahead = 0 if zone in {"Z", "z", ""} else 60 * int(zone[1:3]) + int(zone[4:6])
    except ValueError:
        return None
    if not (1 <= month <= 12 and 1 <= day <= 31 and hours < 24 and minutes < 60 and seconds <= 60):
        return None
    minutes += ahead if zone[:1] == "-" else -ahead
    # years begin with March here, so that the day that is not always there is the last
    years, months = year - (month < 3), (month + 9) % 12
    days = 365 * years + years // 4 - years // 100 + years // 400 + (306 * months + 5) // 10 + day - 719469
    return 86400 * days + 3600 * hours + 60 * minutes + seconds
