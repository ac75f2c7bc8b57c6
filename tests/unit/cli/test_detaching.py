"""Detach keys: docker's grammar, and a matcher that loses nothing, however what is typed arrives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.cli.detaching import NAMED, Matcher, parse_keys
from cloche.errors import SpecError


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", b"\x10\x11"),
        ("ctrl-p,ctrl-q", b"\x10\x11"),
        ("ctrl-@", b"\0"),
        ("ctrl-a,ctrl-z", b"\x01\x1a"),
        ("ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_", b"\x1b\x1c\x1d\x1e\x1f"),
        ("DEL", b"\x7f"),
        ("a,A,~", b"aA~"),
        ("q", b"q"),
    ],
)
def test_keys_are_written_as_docker_has_them(text: str, keys: bytes) -> None:
    assert parse_keys(text) == keys


@pytest.mark.parametrize(
    "text", ["foo", "ctrl-", "ctrl-%", "ctrl-P", "a,,b", ",", "ä", "ctrl-p ctrl-q", "\x1b[A", "a,"]
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="is not a key"):
        parse_keys(text)


@given(st.text(max_size=30))
def test_any_text_is_keys_or_refused(text: str) -> None:
    try:
        keys = parse_keys(text)
    except SpecError:
        return
    assert len(keys) == len((text or "ctrl-p,ctrl-q").split(","))
    assert max(keys) < 128


def test_all_control_characters_have_a_name() -> None:
    assert sorted(NAMED.values()) == [*range(32), 127]


def fed(matcher: Matcher, parts: list[bytes]) -> tuple[bytes, bool]:
    """What is passed on of all these, until the keys were there."""
    passed = b""
    for part in parts:
        more, left = matcher.feed(part)
        passed += more
        if left:
            return passed, True
    return passed + matcher.end(), False


# few different bytes, so that the keys do occur, overlap themselves and begin again
few = st.binary(max_size=40).map(lambda data: bytes(byte % 3 for byte in data))


@given(few.filter(bool), st.lists(few, max_size=8))
def test_it_finds_the_keys_in_whatever_parts_they_come(keys: bytes, parts: list[bytes]) -> None:
    whole = b"".join(parts)
    place = whole.find(keys)
    assert fed(Matcher(keys), parts) == ((whole, False) if place < 0 else (whole[:place], True))


@given(few.filter(bool), few)
def test_nothing_is_held_back_that_cannot_become_the_keys(keys: bytes, data: bytes) -> None:
    matcher = Matcher(keys)
    passed, left = matcher.feed(data)
    assert left or (passed + matcher.held == data and keys.startswith(matcher.held))
    assert len(matcher.held) < len(keys)


def test_keys_that_begin_twice_are_found() -> None:
    assert fed(Matcher(b"\x10\x11"), [b"x\x10", b"\x10", b"\x11y"]) == (b"x\x10", True)
