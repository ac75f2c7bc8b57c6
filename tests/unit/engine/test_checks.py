"""What is asked of a container's health, by the command line and by its image, and how looks are judged."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.engine.checks import LEAST, check_of, go_duration
from cloche.engine.keeping import Keep
from cloche.engine.supervisor.health import judge
from cloche.engine.supervisor.restarts import FIRST, LONGEST, Backoff, is_wanted
from cloche.spec.image import Execution, Healthcheck

USUAL = {"interval": 30.0, "timeout": 30.0, "start_period": 0.0, "start_interval": 5.0, "retries": 3}


def image(shell: list[str] | None = None, **members: Any) -> Execution:
    return Execution(Shell=shell, Healthcheck=Healthcheck(**members))


def test_nothing_is_asked() -> None:
    assert check_of(Keep(), None) == {}
    assert check_of(Keep(), Execution()) == {}
    assert check_of(Keep(health_interval=3.0), None) == {}
    assert check_of(Keep(no_healthcheck=True), image(Test=["CMD", "true"])) == {}
    for test in ([], ["NONE"], ["CMD"], ["CMD-SHELL"], ["WHAT", "true"]):
        assert check_of(Keep(), image(Test=test)) == {}


def test_what_neither_says_is_dockers() -> None:
    assert check_of(Keep(health_cmd="a b"), None) == {"argv": ["/bin/sh", "-c", "a b"], **USUAL}
    assert check_of(Keep(), image(Test=["CMD", "a", "b"])) == {"argv": ["a", "b"], **USUAL}
    assert check_of(Keep(), image(["/bin/bash", "-ec"], Test=["CMD-SHELL", "a"]))["argv"] == ["/bin/bash", "-ec", "a"]


def test_the_command_line_goes_before_the_image() -> None:
    theirs = image(Test=["CMD", "a"], Interval=2 * 10**9, Timeout=10**9, Retries=7, StartPeriod=10**10)
    found = check_of(Keep(health_cmd="b", health_interval=1.5), theirs)
    assert found["argv"] == ["/bin/sh", "-c", "b"]
    assert (found["interval"], found["timeout"], found["retries"], found["start_period"]) == (1.5, 1.0, 7, 10.0)


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1))
def test_no_image_has_its_way_with_us(time: int, retries: int) -> None:
    theirs = image(
        Test=["CMD", "a"], Interval=time, Timeout=time, StartPeriod=time, StartInterval=time, Retries=retries
    )
    found = check_of(Keep(), theirs)
    assert found["interval"] >= LEAST
    assert found["start_interval"] >= LEAST
    assert found["timeout"] > 0
    assert found["start_period"] >= 0
    assert found["retries"] > 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1, "1s"), (90, "1m30s"), (0.5, "500ms"), (3600, "1h0m0s"), (1.5, "1.5s"), (0, "0s"), (0.0015, "1.5ms")],
)
def test_times_as_go_prints_them(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text


def test_looks_are_judged_as_docker_judges_them() -> None:
    health: dict[str, Any] = {"status": "starting", "failing": 0}
    judge(health, 1, 2, grace=True)
    assert health == {"status": "starting", "failing": 0}
    judge(health, -1, 2, grace=False)
    assert health == {"status": "starting", "failing": 1}
    judge(health, 1, 2, grace=False)
    assert health == {"status": "unhealthy", "failing": 2}
    judge(health, 0, 2, grace=False)
    assert health == {"status": "healthy", "failing": 0}
    judge(health, 1, 1, grace=True)  # it has been well once, so there is no grace any more
    assert health == {"status": "unhealthy", "failing": 1}


def state(code: int | None, *, by: str = "", restarts: int = 0, status: str = "exited") -> dict[str, Any]:
    return {"exit_code": code, "by": by, "restarts": restarts, "status": status}


@pytest.mark.parametrize(
    ("policy", "most", "ended", "wanted"),
    [
        ("no", 0, state(1), False),
        ("always", 0, state(0), True),
        ("always", 0, state(0, by="user"), False),
        ("unless-stopped", 0, state(7, restarts=1000), True),
        ("on-failure", 0, state(0), False),
        ("on-failure", 0, state(None), True),
        ("on-failure", 2, state(1, restarts=1), True),
        ("on-failure", 2, state(1, restarts=2), False),
        ("always", 0, state(127, status="created"), False),
        ("always", 0, state(127, status="created", restarts=1), True),
    ],
)
def test_who_is_started_again(policy: str, most: int, ended: dict[str, Any], wanted: bool) -> None:
    assert is_wanted({"restart": policy, "restart_most": most}, ended) is wanted


@pytest.mark.parametrize(
    ("on_failure", "policy", "wanted"),
    [("kill", "no", False), ("kill", "always", True), ("stop", "always", False), ("restart", "no", True)],
)
def test_who_was_ended_for_its_health(on_failure: str, policy: str, wanted: bool) -> None:
    keep = {"restart": policy, "restart_most": 0, "health_on_failure": on_failure}
    assert is_wanted(keep, state(137, by="health")) is wanted


def test_the_time_between_starts_doubles_to_a_minute() -> None:
    backoff = Backoff()
    found = []
    for _ in range(12):
        backoff.begin()
        found.append(backoff.next())
    assert found[:4] == [FIRST, 2 * FIRST, 4 * FIRST, 8 * FIRST]
    assert found[-1] == LONGEST == max(found)
    assert backoff.next() == LONGEST
    backoff.begin()
    backoff.began -= 10
    assert backoff.next() == FIRST
