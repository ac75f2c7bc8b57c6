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
    from datetime import datetime

    try:
        seconds = time.time() - datetime.fromisoformat(created).timestamp()
    except ValueError:
        return UNKNOWN
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
    from datetime import UTC, datetime

    try:
        return datetime.fromisoformat(created).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S +0000 UTC")
    except ValueError:
        return UNKNOWN
