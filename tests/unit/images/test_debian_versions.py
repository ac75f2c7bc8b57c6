"""The order of versions, beside dpkg's own."""

from __future__ import annotations

import itertools
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.errors import SpecError
from cloche.images.debian.versions import key, satisfies

ORDERED = "1.0~~ 1.0~~a 1.0~ 1.0~rc1 1.0 1.0-1~deb12u1 1.0-1 1.0-1+b1 1.0-1.1 1.0a 1.0+ 1.0.1 1.9 1.10 2:0 10:0".split()
EQUAL = [("1.0", "1.0-0"), ("1.0", "0:1.0"), ("1.00", "1.0"), ("1.a0", "1.a"), ("1.02-1", "1.2-01")]


def test_an_order_that_is_known() -> None:
    """Each is less than the next, and no two are the same."""
    assert sorted(dict.fromkeys([*ORDERED[5:], *ORDERED]), key=key) == ORDERED
    assert all(key(a) < key(b) for a, b in itertools.combinations(ORDERED, 2))


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_two_ways_to_write_a_version(one: str, other: str) -> None:
    assert key(one) == key(other)


def test_what_dpkg_says() -> None:
    """Of every pair, in one run of a shell."""
    if shutil.which("dpkg") is None:
        pytest.skip("needs dpkg")
    versions = [
        *ORDERED,
        *itertools.chain(*EQUAL),
        "0",
        "0~",
        "1.2.3-4-5",
        "1:1-1",
        "9.9.9+git20200101.abc-1~bpo12+1",
        "1.+~-0",
    ]
    pairs = list(itertools.product(versions, versions))
    lines = [f"dpkg --compare-versions '{a}' lt '{b}' && echo 1 || echo 0" for a, b in pairs]
    done = subprocess.run(["sh"], input="\n".join(lines), capture_output=True, text=True, check=True)
    assert [line == "1" for line in done.stdout.split()] == [key(a) < key(b) for a, b in pairs]


@pytest.mark.parametrize("text", ["", ":1", "a:1", "1 2", "1_2", "-1", "1" * 501, "ü", "²:1", "1:"])
def test_no_version(text: str) -> None:
    with pytest.raises(SpecError):
        key(text)


@given(st.text("0123456789az.+~-", min_size=1, max_size=12), st.text("0123456789az.+~-", min_size=1, max_size=12))
def test_whatever_is_compared_is_an_order(one: str, other: str) -> None:
    """Exactly one of less, same and greater; the relations agree with it."""
    try:
        a, b = key(one), key(other)
    except SpecError:
        return
    assert (a < b) + (a == b) + (a > b) == 1
    assert satisfies(one, "<<", other) == (a < b)
    assert satisfies(one, "<=", other) == (a <= b)
    assert satisfies(one, "=", other) == (a == b)
    assert satisfies(one, ">=", other) == (a >= b)
    assert satisfies(one, ">>", other) == (a > b)
