"""Id maps: nothing inside or outside is mapped twice, and a range belongs to one container at a time."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.golden.machines import machine, settle

from cloche.errors import ConflictError, SpecError, UnsupportedError
from cloche.runtime import idmaps

pieces = st.lists(st.tuples(st.integers(1, 50), st.integers(1, 40)), max_size=5)


def ranges_of(gaps: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges that do not overlap, from the gaps between them and their lengths."""
    found, at = [], 1000
    for gap, length in gaps:
        found.append((at + gap, length))
        at += gap + length
    return found


def numbers(entries: tuple[tuple[int, int, int], ...], column: int) -> list[int]:
    return [entry[column] + step for entry in entries for step in range(entry[2])]


@given(pieces, st.integers(0, 250))
def test_a_range_and_oneself_never_overlap(gaps: list[tuple[int, int]], inside: int) -> None:
    ranges = ranges_of(gaps)
    entries = idmaps._with_range(999, ranges, inside)
    inner, outer = numbers(entries, 0), numbers(entries, 1)
    assert len(inner) == len(set(inner))
    assert sorted(outer) == sorted([999, *(n for start, length in ranges for n in range(start, start + length))])
    assert dict(zip(inner, outer, strict=True))[inside] == 999
    assert all(count > 0 for _, _, count in entries)


@given(st.text() | st.text("0123456789:-+_²٣", max_size=40) | st.just("9" * 5000 + ":0"))
def test_a_map_is_three_numbers_or_a_spec_error(text: str) -> None:
    try:
        inside, outside, count = idmaps.parse_map(text)
    except SpecError:
        return
    assert count >= 1
    assert max(inside, outside) + count <= 2**32 - 1


def test_maps_as_people_write_them() -> None:
    assert idmaps.parse_map("0:100000:65536") == (0, 100000, 65536)
    assert idmaps.parse_map("5:7") == (5, 7, 1)


def test_where_an_id_is_outside() -> None:
    ids = idmaps.IdMaps("given", ((0, 1000, 1), (1, 100000, 10)), ((0, 50, 2),), "")
    assert [ids.outside(n) for n in (0, 1, 10, 11)] == [1000, 100000, 100009, None]
    assert [ids.outside_gid(n) for n in (1, 2)] == [51, None]


@pytest.mark.parametrize(
    ("caller", "mode", "kind", "uids"),
    [
        ("root", "", "range", ((0, 524288, 65536),)),
        ("root", "host", "host", ()),
        ("user", "", "single", ((0, 1000, 1),)),
        ("user", "keep-id", "single", ((1000, 1000, 1),)),
        ("subuid", "", "subuid", ((0, 1000, 1), (1, 100000, 65536))),
        ("subuid", "keep-id", "subuid", ((0, 100000, 1000), (1000, 1000, 1), (1001, 101000, 64536))),
    ],
)
def test_who_gets_which_ids(
    caller: str, mode: str, kind: str, uids: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(monkeypatch, caller)
    ids = idmaps.choose(machine(caller, "v2", tmp_path), mode, (), (), None)
    assert (ids.kind, ids.uids) == (kind, uids)
    assert ids.deny_setgroups == (kind == "single")
    assert bool(ids.uid_helper) == (kind == "subuid")


def test_two_leases_never_get_the_same_range(tmp_path: Path) -> None:
    leases = [idmaps.Lease(str(tmp_path / "leases")) for _ in range(4)]
    assert {lease.take(4) for lease in leases} == {0, 1, 2, 3}
    fifth = idmaps.Lease(str(tmp_path / "leases"))
    with pytest.raises(ConflictError):
        fifth.take(4)
    leases[2].close()
    assert 0 <= fifth.take(4) < 4
    for lease in (*leases, fifth):
        lease.close()


def test_ranges_are_read_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "subuid"
    file.write_text("ann:100:10\nbob:1:1\n1000:500:5\nann:x:1\nann:7\n\n#ann:1:1\n")
    assert idmaps.subordinate(str(file), ("ann",), 1000) == [(100, 10), (500, 5)]
    assert idmaps.subordinate(str(tmp_path / "none"), ("ann",), 1000) == []


def test_ranges_of_other_users_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"/etc/subuid": "cloche:600000:262144\nalice:600000:65536\n", "/etc/subgid": "bob:731072:131072\n"}
    read = idmaps.subordinate

    def instead(path: str, names: tuple[str, ...] | None, uid: int) -> list[tuple[int, int]]:
        place = tmp_path / Path(path).name
        place.write_text(given[path])
        return read(str(place), names, uid)

    monkeypatch.setattr(idmaps, "subordinate", instead)
    lease = idmaps.Lease(str(tmp_path / "lock"))
    host = machine("root", "hybrid", tmp_path)
    found = idmaps.choose(host, "auto", (), (), lease)
    assert found.uids == ((0, 665536, 65536),)
    other = idmaps.Lease(str(tmp_path / "lock"))
    with pytest.raises(ConflictError, match="every id range"):
        idmaps.choose(host, "auto", (), (), other)
    given["/etc/subuid"] = "containers:100000:1000\n"
    with pytest.raises(UnsupportedError, match="1000 ids"):
        idmaps.choose(host, "auto", (), (), lease)
    lease.close()
    other.close()
