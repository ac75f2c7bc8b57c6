"""Names and options of volumes, which are docker's; what a store holds that is none of ours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.engine import volumes
from cloche.errors import ClocheError, NotFoundError, SpecError

GRAMMAR = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLOCHE_ROOT", str(tmp_path / "store"))
    return tmp_path / "store"


@given(st.text(max_size=300) | st.text("aZ0_.-/", max_size=5))
def test_the_grammar_of_names_is_docker_s(name: str) -> None:
    good = GRAMMAR.fullmatch(name) is not None and len(name) <= 255
    try:
        assert volumes.check_name(name) == name
    except SpecError:
        assert not good
    else:
        assert good


@given(st.dictionaries(st.sampled_from(["type", "o", "device", "size"]) | st.text(max_size=5), st.text(max_size=9)))
def test_options_make_sense_or_are_an_error_of_ours(options: dict[str, str]) -> None:
    try:
        volumes.check_options(options)
    except ClocheError:
        return
    volume = volumes.Volume("data", "/store/volumes/data", {}, options, "", False)
    assert not options or volume.in_memory != volume.is_bound


@given(st.text(max_size=20))
def test_looking_for_whatever_it_is(name: str) -> None:
    assert volumes.load(name) is None
    with pytest.raises(NotFoundError, match="no such volume"):
        volumes.find(name)


def test_what_somebody_else_put_there_is_no_volume(store: Path) -> None:
    assert volumes.every() == []
    volumes.make("data", {"a": "b"})
    (store / "volumes/folder").mkdir()
    (store / "volumes/file").write_text("x")
    (store / "volumes/link").symlink_to("/etc")
    assert [volume.name for volume in volumes.every()] == ["data"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b'{"Labels": 1, "Options": {}}', b'{"Labels": ["a"], "Options": {}}', b"\xff"]
)
def test_a_spoilt_one_keeps_its_data_and_is_not_taken_for_one_without_a_name(store: Path, content: bytes) -> None:
    made, new = volumes.make()
    assert new
    assert made.anonymous
    (store / f"volumes/{made.name}/volume.json").write_bytes(content)
    found = volumes.find(made.name)
    assert (found.labels, found.options, found.anonymous) == ({}, {}, False)
    assert found.data == f"{store}/volumes/{made.name}/_data"
