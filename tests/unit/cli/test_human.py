"""Times of RFC 3339 as Python's own module reads them, and what is no time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.cli import human

ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TIMES = st.datetimes(datetime(1000, 1, 1), datetime(9000, 1, 1), timezones=ZONES)


@given(TIMES, st.booleans())
def test_times(time: datetime, fraction: bool) -> None:
    text = time.isoformat() if fraction else time.replace(microsecond=0).isoformat()
    wanted = time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S +0000 UTC")
    assert human.date(text) == wanted
    assert human.date(time.astimezone(UTC).isoformat()[:19] + "Z") == wanted


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2024-01-31", "2024-13-01T00:00:00Z", "2024-01-31T25:00:00Z", "2024-01-31T00:00:00+x"]
)
def test_no_times(text: str) -> None:
    assert human.date(text) == human.ago(text) == "N/A"
