"""What device rules come to, and that the program for them decides as the table says."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.runtime.ebpf import allowed, decide

from cloche.errors import SpecError
from cloche.runtime.cgroups.devices import ALL, ANY, KINDS, Table, lines_of, program_of, table_of, transition
from cloche.spec.resources import DeviceRule

NUMBERS = st.sampled_from([0, 1, 3, 5, 136, 255, 4095, (1 << 31) - 1, 1 << 31, (1 << 32) - 1])
ACCESS = st.integers(1, 7)
KEYS = st.tuples(st.sampled_from("bc"), st.just(ANY) | NUMBERS, st.just(ANY) | NUMBERS)
TABLES = st.builds(Table, st.booleans(), st.dictionaries(KEYS, ACCESS, max_size=8))


def rule(
    allow: bool,
    kind: Literal["a", "b", "c"] | None = None,
    major: int | None = None,
    minor: int | None = None,
    access: str | None = None,
) -> DeviceRule:
    return DeviceRule(allow=allow, type=kind, major=major, minor=minor, access=access)


@given(TABLES, st.sampled_from("bc"), NUMBERS, NUMBERS, ACCESS)
def test_the_program_decides_as_the_table(table: Table, kind: str, major: int, minor: int, access: int) -> None:
    context = (access << 16 | KINDS[kind], major, minor)
    assert decide(program_of(table), context) == allowed(table, kind, major, minor, access)


@given(TABLES)
def test_a_program_is_whole_instructions_with_jumps_that_stay_inside(table: Table) -> None:
    code = program_of(table)
    assert len(code) % 8 == 0
    assert code[-8] == 0x95, "it ends"


def test_nothing_listed_is_what_every_container_may() -> None:
    table = table_of(None)
    assert not table.allow
    assert allowed(table, "c", 1, 3, 6)
    assert allowed(table, "c", 136, 42, 6)
    assert allowed(table, "b", 8, 0, 1), "a node may be made"
    assert not allowed(table, "b", 8, 0, 2), "and not opened"
    assert not allowed(table, "c", 10, 229, 2)


def test_later_rules_count() -> None:
    table = table_of([rule(True, "c", 10, 200, "rwm"), rule(False, "c", 10, 200, "w")], defaults=False)
    assert table.exceptions == {("c", 10, 200): 1 | 2}
    table = table_of([rule(False, "c", 10, 200), rule(True, "c", 10, 200)], defaults=False)
    assert table.exceptions == {("c", 10, 200): ALL}
    assert table_of([rule(True, "c", 1, 1), rule(False)], defaults=False) == Table(False, {})


def test_everything_allowed_with_exceptions() -> None:
    table = table_of([rule(False), rule(True, access="rwm"), rule(False, "b", 8, 0, "w")])
    assert table == Table(True, {("b", 8, 0): 4}), "what everybody may is nothing to add"
    assert not allowed(table, "b", 8, 0, 6), "v1 refuses an access of which a part is refused"
    assert table_of([rule(True)]).is_open
    assert table_of([rule(True, "a", -1, -1)]).is_open, "-1 is an older way to say all"


def test_a_rule_without_a_type_is_for_both_and_not_for_everything() -> None:
    table = table_of([rule(True, None, 1, 3, "rw")], defaults=False)
    assert table == Table(False, {("b", 1, 3): 6, ("c", 1, 3): 6})
    assert table_of([rule(True, "a", access="r")], defaults=False) == Table(False, {("b", -1, -1): 2, ("c", -1, -1): 2})


def test_refusing_a_part_of_everything_refuses_it_all() -> None:
    assert table_of([rule(True), rule(False, "a", access="w")], defaults=False) == Table(False, {})


@pytest.mark.parametrize("allow", [True, False])
def test_no_hole_can_be_cut_into_a_wider_rule(allow: bool) -> None:
    rules = [rule(not allow), rule(allow, "c", 1), rule(not allow, "c", 1, 5, "w")]
    with pytest.raises(SpecError, match=r"c 1:5 w cannot be \w+ within c 1:\* rwm") as caught:
        table_of(rules)
    assert caught.value.pointer == "/linux/resources/devices/2"
    table_of([rule(not allow), rule(allow, "c", 1, None, "r"), rule(not allow, "c", 1, 5, "w")])


def test_lines_start_from_a_known_state() -> None:
    assert lines_of(Table(False, {("c", 1, ANY): 6})) == [("devices.deny", "a"), ("devices.allow", "c 1:* rw")]
    assert lines_of(Table(True, {("b", 8, 1): 4})) == [("devices.allow", "a"), ("devices.deny", "b 8:1 w")]


def test_a_transition_takes_nothing_away_that_stays() -> None:
    listed = "c 1:3 rwm\nc 1:5 rw\nb *:* m\n"
    table = Table(False, {("c", 1, 3): 7, ("c", 1, 5): 3, ("c", 10, 200): 6})
    assert transition(listed, table) == [
        ("devices.allow", "c 10:200 rw"),
        ("devices.allow", "c 1:5 m"),
        ("devices.deny", "b *:* m"),
        ("devices.deny", "c 1:5 w"),
    ]
    assert transition("a *:* rwm\n", table)[0] == ("devices.deny", "a")
    assert transition(listed, Table(True, {})) == [("devices.allow", "a")]
