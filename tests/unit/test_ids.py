"""Identifiers: ids nobody has had before, and names as docker takes them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.errors import SpecError
from cloche.ids import check_name, new_id

DOCKERS = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")


def test_an_id_is_64_hexadecimal_digits_and_never_the_same() -> None:
    ids = {new_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch("[0-9a-f]{64}", item) for item in ids)


@given(st.text(max_size=300) | st.from_regex(DOCKERS, fullmatch=True) | st.text("aZ0_.-/é٣", max_size=6))
def test_a_name_is_what_docker_says_it_is(name: str) -> None:
    good = DOCKERS.fullmatch(name) is not None and len(name) <= 255
    if good:
        assert check_name(name) == name
    else:
        with pytest.raises(SpecError):
            check_name(name)
