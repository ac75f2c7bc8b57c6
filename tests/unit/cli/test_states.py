"""How a container stands, word for word as docker says it, and why it ended."""

from __future__ import annotations

from typing import Any

import pytest

from cloche.cli import human
from cloche.cli.containers.states import health_of, short_reason, status_text
from cloche.engine.containers import CREATED

NOW = 1_700_000_000
START, END = "2023-11-14T20:08:20.000000000Z", "2023-11-14T22:13:19.5Z"  # 7,500 and half a second before

CASES: list[tuple[dict[str, Any], str]] = [
    ({}, "Created"),
    ({"status": "running", "started_at": START}, "Up 2 hours"),
    ({"status": "running", "started_at": START, "health": {"status": "healthy"}}, "Up 2 hours (healthy)"),
    ({"status": "running", "started_at": START, "health": {"status": "starting"}}, "Up 2 hours (health: starting)"),
    ({"status": "running", "started_at": START, "health": {"status": "none"}}, "Up 2 hours"),
    ({"status": "paused", "started_at": START, "health": {"status": "healthy"}}, "Up 2 hours (Paused)"),
    ({"status": "restarting", "exit_code": 1, "finished_at": START}, "Restarting (1) 2 hours ago"),
    ({"status": "removing"}, "Removal In Progress"),
    ({"status": "dead"}, "Dead"),
    ({"status": "exited", "exit_code": 0, "finished_at": START}, "Exited (0) 2 hours ago"),
    ({"status": "exited", "exit_code": None, "finished_at": START}, "Exited (unknown) 2 hours ago"),
    ({"status": "exited", "exit_code": None}, "Exited (unknown)"),
    ({"status": "exited", "exit_code": 3, "finished_at": END}, "Exited (3) Less than a second ago"),
    ({"status": "running", "started_at": "?"}, "Up an unknown time"),
]


@pytest.mark.parametrize(("state", "says"), CASES)
def test_what_docker_says(state: dict[str, Any], says: str) -> None:
    assert status_text({**CREATED, **state}, NOW) == says


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ({"exit_code": 137, "reason": {"kind": "out of memory"}}, "out of memory"),
        ({"exit_code": 1, "reason": {"kind": "pids limit"}}, "pids limit"),
        ({"exit_code": 124, "reason": {"kind": "timeout"}}, "timeout"),
        ({"exit_code": 137, "reason": {"kind": "signal"}}, ""),
        ({"exit_code": 127, "reason": {"kind": "not executed"}}, ""),
        ({"exit_code": 143, "reason": {"kind": "signal"}, "by": "health"}, "unhealthy"),
        ({"exit_code": 143, "reason": {"kind": "signal"}, "by": "user"}, ""),
        ({"exit_code": 0, "by": "health"}, ""),
        ({"exit_code": None, "reason": {"kind": "x" * 33}}, ""),
        ({"exit_code": 1, "reason": {}}, ""),
    ],
)
def test_why_where_the_exit_code_does_not_say_it(state: dict[str, Any], says: str) -> None:
    whole = {**CREATED, "status": "exited", "finished_at": END, **state}
    assert short_reason(whole) == says
    assert status_text(whole, NOW).endswith(f" ago: {says}" if says else " ago")


def test_health() -> None:
    assert health_of(CREATED) == "none"
    assert health_of({**CREATED, "health": {}}) == "none"
    assert health_of({**CREATED, "health": {"status": "unhealthy"}}) == "unhealthy"


@pytest.mark.parametrize(
    ("seconds", "says"),
    [
        (-5, "Less than a second"),
        (0.9, "Less than a second"),
        (1, "1 second"),
        (59.9, "59 seconds"),
        (60, "About a minute"),
        (119, "About a minute"),
        (120, "2 minutes"),
        (3599, "59 minutes"),
        (3600, "About an hour"),
        (5399, "About an hour"),
        (5400, "2 hours"),
        (47.4 * 3600, "47 hours"),
        (47.5 * 3600, "2 days"),
        (14 * 86400, "2 weeks"),
        (60 * 86400, "2 months"),
        (2 * 365 * 86400, "2 years"),
    ],
)
def test_how_long(seconds: float, says: str) -> None:
    assert human.duration(seconds) == says


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:01.25Z", 1.25),
        ("1970-01-01T00:00:01.250000000+00:00", 1.25),
        ("1970-01-01T00:00:01Z", 1.0),
        ("1970-01-01T00:00:01.Z", 1.0),
        ("yesterday", None),
    ],
)
def test_parts_of_a_second(text: str, seconds: float | None) -> None:
    assert human.moment_of(text) == seconds
