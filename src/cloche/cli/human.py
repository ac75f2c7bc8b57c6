"""Sizes and times as docker shows them."""

from __future__ import annotations

import time

UNITS = ("B", "kB", "MB", "GB", "TB")
BINARY = ("B", "KiB", "MiB", "GiB", "TiB")
UNKNOWN = "N/A"


def size(count: float, digits: int = 3) -> str:
    """Bytes, in units of 1000: three digits, and where docker adds up (system df) four."""
    unit = 0
    while count >= 1000 - 0.5 * 10 ** (3 - digits) and unit < len(UNITS) - 1:
        count /= 1000
        unit += 1
    return f"{count:.{digits}g}{UNITS[unit]}"


def memory(count: float) -> str:
    """Bytes of memory: four digits, in units of 1024."""
    unit = 0
    while count >= 1024 and unit < len(BINARY) - 1:
        count /= 1024
        unit += 1
    return f"{count:.4g}{BINARY[unit]}"


def ago(created: str, now: float = 0.0) -> str:
    """How long ago a time of RFC 3339 was, or was at another time than this; "N/A" for none."""
    then = moment_of(created)
    return UNKNOWN if then is None else f"{duration((now or time.time()) - then)} ago"


def duration(length: float) -> str:
    """So many seconds in docker's words (go-units, HumanDuration): hours are rounded, all else is cut off."""
    whole = int(length)
    minutes, hours = whole // 60, int(length / 3600 + 0.5)
    if whole < 2:
        return "Less than a second" if whole < 1 else "1 second"
    if minutes < 2:
        return f"{whole} seconds" if minutes < 1 else "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    for limit, divisor, unit in ((48, 1, "hours"), (336, 24, "days"), (1440, 168, "weeks"), (17520, 720, "months")):
        if hours < limit:
            return "About an hour" if hours == 1 else f"{hours // divisor} {unit}"
    return f"{int(length / 3600) // 8760} years"


def date(created: str) -> str:
    """A time of RFC 3339 as Go prints it: 2024-01-31 12:00:00 +0000 UTC; "N/A" for none."""
    then = seconds_of(created)
    return UNKNOWN if then is None else time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC", time.gmtime(then))


def moment_of(text: str) -> float | None:
    """A time of RFC 3339 in seconds since 1970, with what it says of parts of a second; None for no such time."""
    whole = seconds_of(text)
    if whole is None:
        return None
    digits = text[20 : len(text) - len(text[20:].lstrip("0123456789"))] if text[19:20] == "." else ""
    return whole + float(f"0.{digits or 0}")


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
