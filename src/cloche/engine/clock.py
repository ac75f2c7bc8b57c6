"""The time as docker writes it: RFC 3339 with nanoseconds, in UTC."""

from __future__ import annotations

import time

NEVER = "0001-01-01T00:00:00Z"  # what docker prints where there was no such moment


def now() -> str:
    """The time now."""
    return stamp(time.time_ns())


def stamp(nanoseconds: int) -> str:
    """A time since the epoch: 2026-01-01T00:00:00.000000000Z."""
    seconds, rest = divmod(nanoseconds, 10**9)
    year, month, day, hour, minute, second, *_ = time.gmtime(seconds)
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{rest:09}Z"
