"""Events are written a line each, whole or not at all, by many at once, into a file that does not grow for ever."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from cloche.images.store import events
from cloche.images.store.events import LARGEST, LONGEST, emit, line_of

if TYPE_CHECKING:
    from pathlib import Path

MANY = """
import sys
from cloche.images.store import events
events.LARGEST = int(sys.argv[3])
for number in range(int(sys.argv[2])):
    events.emit("container", "start", sys.argv[1], {"number": str(number), "filler": "x" * 100})
"""


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLOCHE_ROOT", str(tmp_path / "store"))
    (tmp_path / "store").mkdir()
    return tmp_path / "store"


def lines(store: Path) -> list[dict[str, object]]:
    files = [store / name for name in ("events.log.1", "events.log") if (store / name).exists()]
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def writer(name: str, count: int, largest: int, **env: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-S", "-c", MANY, name, str(count), str(largest)],
        env={"PYTHONPATH": os.pathsep.join(sys.path), **os.environ, **env},
    )


def test_an_event_has_dockers_form(store: Path) -> None:
    emit(
        "container",
        "die",
        "ab" * 32,
        {"name": "web", "image": "app:1", "exitCode": "3"},
        now_ns=1_700_000_000_123456789,
    )
    emit("volume", "create", "data", {"driver": "local"}, now_ns=5)
    assert lines(store) == [
        {
            "status": "die",
            "id": "ab" * 32,
            "from": "app:1",
            "Type": "container",
            "Action": "die",
            "Actor": {"ID": "ab" * 32, "Attributes": {"name": "web", "image": "app:1", "exitCode": "3"}},
            "scope": "local",
            "time": 1_700_000_000,
            "timeNano": 1_700_000_000_123456789,
        },
        {
            "Type": "volume",
            "Action": "create",
            "Actor": {"ID": "data", "Attributes": {"driver": "local"}},
            "scope": "local",
            "time": 0,
            "timeNano": 5,
        },
    ]
    assert (store / "events.log").stat().st_mode & 0o777 == 0o600


def test_the_time_is_now_unless_told(store: Path) -> None:
    before = time.time_ns()
    emit("image", "tag", "x", {})
    nano = lines(store)[0]["timeNano"]
    assert isinstance(nano, int)
    assert before <= nano <= time.time_ns()


def test_without_a_store_none_is_made(store: Path) -> None:
    store.rmdir()
    emit("container", "start", "x", {})
    assert not store.exists()


@pytest.mark.parametrize("what", ["a directory", "a link", "read-only"])
def test_nothing_fails_for_an_event_that_cannot_be_written(what: str, store: Path) -> None:
    if what == "a directory":
        (store / "events.log").mkdir()
    elif what == "a link":
        (store / "events.log").symlink_to(store / "elsewhere")
    else:
        store.chmod(0o500)
    emit("container", "start", "x", {})
    assert not (store / "elsewhere").exists()


@pytest.mark.parametrize("action", ["errno", "full"])
@pytest.mark.parametrize("name", ["event-opened", "event-written", "event-locked", "event-renamed"])
def test_nothing_fails_at_any_point(name: str, action: str, store: Path) -> None:
    assert writer("x", 3, 300, CLOCHE_FAILPOINT=f"{name}:{action}").wait() == 0
    assert len(lines(store)) == (0 if name == "event-opened" else 3)


@pytest.mark.parametrize("text", ["\n{}", '"}}', "\x00\x1b[31m", "\udcff", "ä\u2028😀"])
def test_no_value_breaks_a_line(text: str, store: Path) -> None:
    emit("container", f"exec_create: {text}", "x", {"name": text, text: "y"})
    (found,) = lines(store)
    assert found["Actor"] == {"ID": "x", "Attributes": {"name": text, text: "y"}}


def test_what_is_too_long_is_left_out(store: Path) -> None:
    many = {f"label{number}": "😀" * 400 for number in range(1000)}
    emit("container", "exec_start: " + "x" * LONGEST, "y" * 64, {"name": "web", "long": "😀" * LONGEST, **many})
    (found,) = lines(store)
    assert len(line_of("container", "start", "y", many, 1)) <= LONGEST
    assert "'name': 'web'" in str(found["Actor"])
    assert "'long'" not in str(found["Actor"])


def test_many_at_once_lose_nothing_and_mix_nothing(store: Path) -> None:
    processes = [writer(f"w{number}", 20, LARGEST) for number in range(64)]
    assert [process.wait(120) for process in processes] == [0] * 64
    found = lines(store)
    assert len(found) == 64 * 20
    for number in range(64):
        own = [line["Actor"]["Attributes"]["number"] for line in found if line["id"] == f"w{number}"]  # type: ignore[index]
        assert own == [str(count) for count in range(20)]


def test_a_file_that_has_grown_gives_way_to_a_new_one_once(store: Path) -> None:
    """With a limit that all of the lines together pass once, none may be lost, however many find it passed."""
    line = len(line_of("container", "start", "w10", {"number": "10", "filler": "x" * 100}, time.time_ns()))
    processes = [writer(f"w{number}", 20, line * 200) for number in range(10, 26)]
    assert [process.wait(60) for process in processes] == [0] * 16
    assert {path.name for path in store.iterdir()} == {"events.log", "events.log.1"}
    assert len(lines(store)) == 16 * 20


def test_who_comes_too_late_does_not_rename_the_new_file(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = writer("slow", 1, 1, CLOCHE_FAILPOINT="event-written:sleep")
    while not (store / "events.log").exists() or not lines(store):
        time.sleep(0.02)
    monkeypatch.setattr(events, "LARGEST", 1)
    emit("container", "start", "quick", {})
    monkeypatch.setattr(events, "LARGEST", LARGEST)
    emit("container", "start", "next", {})
    assert slow.wait(30) == 0
    assert [line["id"] for line in lines(store)] == ["slow", "quick", "next"]
    assert (store / "events.log").read_text().count("\n") == 1


@pytest.mark.parametrize("name", ["event-opened", "event-written", "event-locked", "event-renamed"])
def test_killed_at_any_point(name: str, store: Path) -> None:
    """Of whoever is killed, at most the line that was being written is lost; others go on, and rotate."""
    line = len(line_of("container", "start", "w10", {"number": "10", "filler": "x" * 100}, time.time_ns()))
    others = [writer(f"w{number}", 15, line * 40) for number in (10, 11)]
    killed = writer("w12", 200, line * 40, CLOCHE_FAILPOINT=f"{name}:kill")
    assert killed.wait(60) == -9
    assert [process.wait(60) for process in others] == [0, 0]
    assert writer("w13", 50, line * 40).wait(60) == 0
    found = lines(store)  # all of them whole
    assert found[-1]["id"] == "w13" or len(found) < 80
    for path in store.iterdir():
        assert path.stat().st_size < line * 45
