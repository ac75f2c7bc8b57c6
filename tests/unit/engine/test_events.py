"""Reading events: whatever became of the lines before them, over files that give way to new ones, and as they come."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.engine.event_filters import make_test
from cloche.engine.event_log import parse, read
from cloche.engine.events import emit
from cloche.errors import SpecError
from cloche.images.store import events as writing
from cloche.images.store.events import line_of
from cloche.linux import inotify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

TEXT = st.text(st.characters() | st.sampled_from('{}":,\\\n'), max_size=30)
LINES = st.builds(
    line_of,
    st.sampled_from(["container", "image", "volume", "network"]),
    TEXT,
    TEXT,
    st.dictionaries(TEXT | st.sampled_from(["Type", "status", "Actor"]), TEXT, max_size=3),
    st.integers(0, 1 << 62),
)


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLOCHE_ROOT", str(tmp_path / "store"))
    (tmp_path / "store").mkdir()
    return tmp_path / "store"


def numbers(found: Iterator[dict[str, Any]]) -> list[int]:
    return [event["timeNano"] for event in found]


def put(*times: int, kind: str = "container", action: str = "start") -> None:
    for moment in times:
        emit(kind, action, "ab" * 32, {"name": "web"}, now_ns=moment)


@given(LINES, LINES, st.data())
def test_a_line_that_was_cut_short_takes_nothing_with_it(first: bytes, second: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(first) - 2))
    assert parse(first[:cut] + second[:-1]) == parse(second[:-1])
    assert parse(second) is not None
    assert parse(first[:cut]) is None


@given(st.binary(max_size=200) | st.text(st.sampled_from('{}":,1aTypeActor')).map(str.encode))
def test_anything_else_is_no_event(line: bytes) -> None:
    assert parse(line) is None


@pytest.mark.parametrize(
    "text",
    [
        '{"Type":"x","Action":"y","Actor":{"ID":"z","Attributes":{}},"timeNano":"1"}',
        '{"Type":"x","Action":"y","Actor":{"ID":"z","Attributes":{"a":1}},"timeNano":1}',
        '{"Type":"x","Action":"y","Actor":{"ID":"z","Attributes":[]},"timeNano":1}',
        '{"Type":"x","Action":null,"Actor":{"ID":"z","Attributes":{}},"timeNano":1}',
        '{"Type":"x","Action":"y","Actor":"z","timeNano":1}',
        "[" * 1000,
    ],
)
def test_what_is_nearly_one(text: str) -> None:
    assert parse(text.encode()) is None


def test_from_when_to_when() -> None:
    put(*range(1, 10))
    assert numbers(read(3, 5)) == [3, 4, 5]
    assert numbers(read(0)) == list(range(1, 10))
    assert numbers(read()) == []


def test_without_a_log_or_a_store(store: Path) -> None:
    assert numbers(read(0)) == []
    store.rmdir()
    assert numbers(read(0)) == []
    assert not store.exists()


def test_damaged_files(store: Path) -> None:
    put(1)
    with (store / "events.log").open("ab") as file:
        file.write(b"\0" * 5000 + b'\n\xff\xfe\n[]\n{"Type":"contai')
    put(2, 3)
    with (store / "events.log").open("ab") as file:
        file.write(b'{"Type":"contai')
    assert numbers(read(0)) == [1, 2, 3]


def test_the_file_before_this_one_is_read_first(store: Path) -> None:
    put(1, 2)
    (store / "events.log").rename(store / "events.log.1")
    put(3)
    assert numbers(read(0)) == [1, 2, 3]
    old = time.time() - 100
    os.utime(store / "events.log.1", (old, old))
    now = time.time_ns()
    put(now)
    assert numbers(read(now - 50 * 10**9)) == [now]
    assert numbers(read(1, 3)) == [1, 2, 3]


class Follower:
    """Somebody who follows in a thread, until as many events as wanted have come."""

    def __init__(self, count: int, since_ns: int | None = None, until_ns: int | None = None) -> None:
        self.found: list[int] = []
        self._reading = read(since_ns, until_ns, follow=True)
        self._thread = threading.Thread(target=self._run, args=(count,), daemon=True)
        self._thread.start()
        time.sleep(0.2)

    def _run(self, count: int) -> None:
        while len(self.found) < count:
            try:
                self.found.append(next(self._reading)["timeNano"])
            except StopIteration:
                return

    def result(self) -> list[int]:
        self._thread.join(10)
        assert not self._thread.is_alive(), self.found
        return self.found


def test_what_comes_is_told_at_once() -> None:
    put(1, 2)
    follower = Follower(2)
    begun = time.monotonic()
    put(3, 4)
    assert follower.result() == [3, 4]
    assert time.monotonic() - begun < 3  # sooner than anybody would look by himself


def test_what_was_comes_first() -> None:
    put(1, 2)
    follower = Follower(3, since_ns=2)
    put(3, 4)
    assert follower.result() == [2, 3, 4]


def test_it_ends_when_it_was_told_to() -> None:
    until = time.time_ns() + 600_000_000
    follower = Follower(100, since_ns=0, until_ns=until)
    put(1)
    put(until + 1)
    assert follower.result() == [1]
    assert time.time_ns() >= until


def test_a_store_that_is_not_there_yet(store: Path) -> None:
    store.rmdir()
    follower = Follower(1)
    put(1)
    assert follower.result() == [1]


def test_where_nobody_tells_it_looks_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(inotify, "Watch", refuse)
    follower = Follower(2)
    put(1)
    time.sleep(0.5)
    put(2)
    assert follower.result() == [1, 2]


def test_a_file_that_is_renamed_is_read_to_its_end(store: Path) -> None:
    put(1)
    follower = Follower(4)
    with (store / "events.log").open("ab") as late:
        put(2)
        (store / "events.log").rename(store / "events.log.1")
        put(3)
        time.sleep(0.3)
        late.write(line_of("container", "start", "x", {}, 4))
        late.flush()
        put(5)
    assert sorted(follower.result()) == [2, 3, 4, 5]


def test_several_files_between_two_looks(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader is slow: it has read one line when the file gives way to another, and that to a third."""
    put(1, 2)
    reading = read(0)
    assert next(reading)["timeNano"] == 1
    monkeypatch.setattr(writing, "LARGEST", 1)
    put(3, 4)  # the first file is full with 3, the next one with 4; the first is gone
    assert [path.name for path in store.iterdir()] == ["events.log.1"]
    assert numbers(reading) == [2, 3, 4]


MANY = """
import sys
from cloche.images.store import events
events.LARGEST = 40000
for number in range(200):
    events.emit("container", "start", sys.argv[1], {"name": "web"}, now_ns=number + 1000 * int(sys.argv[1]))
"""


def test_following_many_over_rotation() -> None:
    """Eight files' worth, and the reader keeps up."""
    follower = Follower(6 * 200, since_ns=1)  # whenever its thread begins
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), **os.environ}
    for turn in range(3):
        writers = [
            subprocess.Popen([sys.executable, "-S", "-c", MANY, str(2 * turn + number)], env=environment)
            for number in (1, 2)
        ]
        assert [writer.wait(60) for writer in writers] == [0, 0]
        deadline = time.monotonic() + 10
        while len(follower.found) < 400 * (turn + 1) and time.monotonic() < deadline:
            time.sleep(0.01)
    found = follower.result()
    assert sorted(found) == sorted(1000 * name + number for name in range(1, 7) for number in range(200))


def event(kind: str, action: str, id: str, **attributes: str) -> dict[str, Any]:
    return parse(line_of(kind, action, id, attributes, 1)) or {}


WEB = event("container", "exec_start: ls", "abcd" * 16, name="web", image="app:1", color="red")
BASE = event("image", "tag", "sha256:" + "ef" * 32, name="registry.example.com/base:2")
DATA = event("volume", "create", "data", driver="local")


@pytest.mark.parametrize(
    ("filters", "meant"),
    [
        ("", [WEB, BASE, DATA]),
        ("type=container", [WEB]),
        ("type=container type=volume", [WEB, DATA]),
        ("Type=container", [WEB]),
        ("container=web", [WEB]),
        ("container=we", [WEB]),
        ("container=abcdab", [WEB]),
        ("container=b", []),
        ("image=app:1", [WEB]),
        ("image=app", [WEB]),
        ("image=ap", []),
        ("image=registry.example.com/base", [BASE]),
        ("image=registry.example.com/base:2", [BASE]),
        ("volume=da", [DATA]),
        ("event=tag", [BASE]),
        ("event=exec_start", [WEB]),
        ("event=exec_start:", []),
        ("event=exec", []),
        ("event=health_status event=tag", [BASE]),
        ("label=color", [WEB]),
        ("label=color=red", [WEB]),
        ("label=color=", []),
        ("label=color=red label=other", []),
        ("scope=local", [WEB, BASE, DATA]),
        ("scope=swarm", []),
        ("network=x", []),
        ("type=image event=create", []),
    ],
)
def test_filters(filters: str, meant: list[dict[str, Any]]) -> None:
    test = make_test(filters.split())
    assert [item for item in (WEB, BASE, DATA) if test(item)] == meant


@pytest.mark.parametrize("text", ["web", "", "=x", "colour=red", "event!=x"])
def test_filters_that_are_none(text: str) -> None:
    with pytest.raises(SpecError):
        make_test([text])
