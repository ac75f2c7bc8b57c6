"""What a state.json says that was not written whole, and what is written over one."""

from __future__ import annotations

import posix
import resource
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.engine.containers import CREATED, STATUSES, TRANSIENT, load, parse_state
from cloche.engine.supervisor import states
from cloche.images.store.layout import use_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RUNNING = states.fresh(status="running", pid=7, start=5, boot="b", entry={"pid": 7, "env": ["A=ä"], "groups": ["/g"]})
ID = "a" * 64


def written(folder: Path, state: dict[str, Any]) -> bytes:
    assert states.write_state(str(folder), state, sync=False)
    return (folder / "state.json").read_bytes()


def test_every_beginning_of_one_says_that_it_was_started(tmp_path: Path) -> None:
    text = written(tmp_path, RUNNING)
    for end in range(len(text) + 1):
        assert parse_state(text[:end])[0]["status"] == "running", text[:end]
    assert parse_state(text)[0]["pid"] == 7


@given(st.binary() | st.dictionaries(st.sampled_from(sorted(CREATED)), st.none() | st.text() | st.integers()).map(repr))
def test_whatever_it_says_it_is_sound(text: bytes | str) -> None:
    state, _ = parse_state(text if isinstance(text, bytes) else text.replace("'", '"').encode(errors="replace"))
    assert state["status"] in STATUSES
    assert state.keys() >= CREATED.keys()
    assert isinstance(state["pid"], int)


@pytest.mark.parametrize(("content", "status"), [(None, "created"), (b"", "running"), (b"{", "running")])
def test_one_that_is_there_is_of_one_that_was_started(tmp_path: Path, content: bytes | None, status: str) -> None:
    folder = tmp_path / "containers" / ID
    folder.mkdir(parents=True)
    (folder / "container.json").write_text('{"name": "x"}')
    if content is not None:
        (folder / "state.json").write_bytes(content)
    before = use_store(str(tmp_path))
    try:
        found, there = load(ID), load(ID, everything=False)
    finally:
        use_store(before)
    assert found is not None
    assert found.status == status
    assert not found.running
    assert (there is not None) == (status in TRANSIENT)


LOOK = {"start": "", "end": "", "exit_code": 0, "output": "y" * 4096}
HEALTHY = {"status": "healthy", "failing": 0, "log": [LOOK] * 5}
SHORT = {**LOOK, "output": "y"}


@pytest.fixture
def full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state.json of one that runs, beside which there is no room for another."""
    written(tmp_path, RUNNING)
    monkeypatch.setitem(posix.environ, b"CLOCHE_FAILPOINT", b"state-begun:full")
    return tmp_path


@contextmanager
def largest(size: int) -> Iterator[None]:
    """No file grows beyond so many bytes, nor is written to there."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(("log", "kept"), [([SHORT], [SHORT]), ([LOOK] * 5, [])])
def test_what_health_checks_have_said_is_left_out_where_there_is_no_room(
    full: Path, log: list[dict[str, Any]], kept: list[dict[str, Any]]
) -> None:
    size = len((full / "state.json").read_bytes())
    text = written(full, {**RUNNING, "health": {**HEALTHY, "log": log}, "status": "paused"})
    assert len(text) == size
    state, _ = parse_state(text)
    assert state["health"] == {**HEALTHY, "log": kept}
    assert (state["status"], state["pid"]) == ("paused", 7)


def test_what_is_too_much_is_not_written(full: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (full / "state.json").read_bytes()
    assert not states.write_state(str(full), {**RUNNING, "error": "x" * 5000}, sync=False)
    assert (full / "state.json").read_bytes() == before
    assert "too large to be written over, after" in capsys.readouterr().err


def test_what_is_written_in_part_is_taken_back(full: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (full / "state.json").read_bytes()
    with largest(100):
        assert not states.write_state(str(full), {**RUNNING, "status": "paused", "pid": 8}, sync=False)
    assert (full / "state.json").read_bytes() == before
    assert "could not be written" in capsys.readouterr().err
