"""The files by which programs find names: what is in them, and that nothing else can be put in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.errors import SpecError
from cloche.network.names import LOOPBACK, hosts_file, resolver_file


def test_hosts() -> None:
    text = hosts_file("box", ["db:10.0.0.5", "six=fd00::1", "seven:[fd00::2]"])
    assert text == f"{LOOPBACK}127.0.1.1\tbox\n10.0.0.5\tdb\nfd00::1\tsix\nfd00::2\tseven\n"
    assert hosts_file("", []) == LOOPBACK


def test_resolver() -> None:
    text = resolver_file(["10.0.0.1", "fe80::1%eth0"], ["a.example", "b.example"], ["ndots:2"])
    assert text == "nameserver 10.0.0.1\nnameserver fe80::1%eth0\nsearch a.example b.example\noptions ndots:2\n"


@pytest.mark.parametrize(
    "entry", ["", "db", ":10.0.0.1", "db:", "db:x", "d b:10.0.0.1", "db:10.0.0.1\n1.1.1.1\tbank", "db:999.1.1.1"]
)
def test_no_hosts(entry: str) -> None:
    with pytest.raises(SpecError):
        hosts_file("box", [entry])


@given(st.text() | st.text("a:=.10[]fd\n\t %", max_size=12))
def test_an_entry_is_one_line_or_a_spec_error(entry: str) -> None:
    try:
        text = hosts_file("", [entry])
    except SpecError:
        return
    assert len(text.splitlines()) == 3


@pytest.mark.parametrize(
    ("servers", "search", "options"),
    [
        (["fe80::1%a\nnameserver 9.9.9.9"], [], []),
        ([], ["a\nnameserver 9.9.9.9"], []),
        ([], [], ["a\nnameserver 9.9.9.9"]),
    ],
)
def test_a_line_cannot_be_smuggled_in(servers: list[str], search: list[str], options: list[str]) -> None:
    with pytest.raises(SpecError):
        resolver_file(servers, search, options)
