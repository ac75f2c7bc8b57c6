"""Why a command ended: one word and one sentence from what the stage reports."""

from __future__ import annotations

from typing import Any

import pytest

from cloche.engine import reason


def ended(**more: Any) -> dict[str, Any]:
    plain = {"timed_out": False, "code": 1, "status": 0, "counters": {}, "refused": {}, "wall": 0.5, "cpu": (1.0, 2.0)}
    return {**plain, "max_rss": 1000, **more}


OOM = {"oom": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"}
OOM_V2 = {"events": "low 0\nmax 7\noom 1\noom_kill 2\n"}
PIDS = {"pids": "max 3\n"}
CASES: list[tuple[dict[str, Any], tuple[str, ...], str, int, int]] = [
    (ended(), (), reason.EXITED, 0, 0),
    (ended(status=7), (), reason.EXITED, 7, 0),
    (ended(code=2, status=15), (), reason.SIGNAL, 143, 15),
    (ended(code=3, status=11), (), reason.SIGNAL, 139, 11),
    (ended(code=2, status=9, timed_out=True, counters=OOM), (), reason.TIMEOUT, 124, 9),
    (ended(code=2, status=9, counters=OOM), (), reason.OUT_OF_MEMORY, 137, 9),
    (ended(status=1, counters=OOM_V2), (), reason.OUT_OF_MEMORY, 1, 0),
    (ended(status=0, counters=OOM), (), reason.EXITED, 0, 0),
    (ended(status=1, counters=PIDS), (), reason.PIDS_LIMIT, 1, 0),
    (ended(status=0, counters=PIDS), (), reason.EXITED, 0, 0),
    (ended(status=1, counters={"pids": "max 0\n"}), (), reason.EXITED, 1, 0),
    (ended(code=2, status=31), ("mount",), reason.BLOCKED, 159, 31),
    (ended(status=1), ("unshare",), reason.BLOCKED, 1, 0),
    (ended(status=0), ("unshare",), reason.EXITED, 0, 0),
    (ended(status=1), ("io_uring_setup",), reason.EXITED, 1, 0),
    (ended(status=127, **{"not executed": (127, 2, "x: not found", "look")}), (), reason.NOT_EXECUTED, 127, 0),
]


@pytest.mark.parametrize(("report", "names", "kind", "code", "signal"), CASES)
def test_reasons(report: dict[str, Any], names: tuple[str, ...], kind: str, code: int, signal: int) -> None:
    found = reason.reason_of(report, names, 1.5)
    assert (found.kind, found.signal, found.blocked) == (kind, signal, names)
    assert reason.exit_code_of(report) == code
    assert str(found) == found.text
    assert (kind in {reason.EXITED, reason.SIGNAL}) == (found.hint == "")


def test_sentences_name_what_acted() -> None:
    def text(report: dict[str, Any], *names: str) -> str:
        return reason.reason_of(report, names, 1.5).text

    assert "timed out after 1.5 s" in text(ended(timed_out=True))
    for counters, limit in (
        ({**OOM, "limit": f"{64 << 20}\n"}, "the limit of 64 MiB was reached"),
        ({**OOM, "limit": "9223372036854771712\n"}, "the limit was reached"),
        ({**OOM_V2, "limit": "max\n"}, "the limit was reached"),
        (OOM_V2, "the limit was reached"),
    ):
        assert limit in text(ended(status=1, counters=counters))
    assert "refused unshare" in text(ended(status=1), "unshare", "perf_event_open")
    assert text(ended(code=2, status=15)) == "killed by SIGTERM"
    assert text(ended(code=2, status=40)) == "killed by signal 40"


def test_usage_is_the_groups_peak_where_there_is_one() -> None:
    usage = reason.usage_of(ended(counters={"peak": "4096\n"}))
    assert (usage.cpu, usage.user, usage.system, usage.peak_memory, usage.wall) == (3.0, 1.0, 2.0, 4096, 0.5)
    assert reason.usage_of(ended()).peak_memory == 1000
    assert reason.usage_of(ended(counters={"peak": "max\n"})).peak_memory == 1000
