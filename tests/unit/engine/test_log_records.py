"""Records of a log file: whatever is said comes back, in JSON that others read too."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.engine.logs.records import LONGEST, Clock, Record, cut, decode, decode_all, encode, middle_of, parse_time

STAMP = b"2024-01-31T12:00:00.123456789Z"
# what bytes are usually, and what they are at worst: pieces of characters, escapes, newlines, quotes
PIECES = st.sampled_from(
    [b"\n", b'"', b"\\", b"\0", b"\x1b", b"\xff", b"\xc3", "é€😀".encode(), b"\x80", b"word ", b"\x7f"]
)
BYTES = st.lists(PIECES | st.binary(max_size=8), max_size=60).map(b"".join)
LONG = st.builds(lambda a, n, b: a + b"x" * n + b, BYTES, st.integers(LONGEST - 40, 3 * LONGEST), BYTES)


def encoded(data: bytes, stream: str = "stdout") -> bytes:
    return encode(data, middle_of(stream, {}), STAMP)


@settings(deadline=None)
@given((BYTES | LONG).filter(bool))
def test_whatever_is_said_comes_back(data: bytes) -> None:
    lines = encoded(data).splitlines(keepends=True)
    records = [decode(line) for line in lines]
    assert all(record is not None and record.stream == "stdout" for record in records)
    assert b"".join(record.text for record in records if record) == data
    assert len(lines) == len(data.split(b"\n")) - data.endswith(b"\n")


RUNS = st.lists(st.tuples(BYTES.filter(bool), st.sampled_from(["stdout", "stderr"]), st.integers(1, 3)), max_size=8)


@settings(deadline=None)
@given(RUNS, st.sampled_from([b"", b"no record\n", b"\n", b'{"log":"x\\n","stream":"', b"\xff\n"]))
def test_records_that_are_read_together_are_those_that_are_there(
    runs: list[tuple[bytes, str, int]], noise: bytes
) -> None:
    clock = Clock()
    parts = [encode(data, middle_of(stream, {}), clock.spell(second)) for data, stream, second in runs]
    data = noise.join(parts) if noise.endswith(b"\n") else b"".join(parts)
    one_by_one = [record for line in data.split(b"\n") if (record := decode(line))]
    together = [record for _, record in decode_all(data) if record]
    assert [end for end, _ in decode_all(data)][-1:] == [len(data)][: bool(data)]

    def said(records: list[Record]) -> list[tuple[str, int, bytes]]:
        return [(r.stream, r.time_ns, bytes([byte])) for r in records for byte in r.text]

    assert said(together) == said(one_by_one)


def test_lines_that_came_together_are_read_together() -> None:
    data = encoded(b'a "quoted" \\n line\n\xc3\xa9\n' * 5000)
    ((end, record),) = decode_all(data)
    assert end == len(data)
    assert record is not None
    assert record.text == b'a "quoted" \\n line\n\xc3\xa9\n' * 5000


@settings(deadline=None)
@given((BYTES | LONG).filter(bool))
def test_others_read_it_with_a_mark_for_what_is_no_text(data: bytes) -> None:
    records = [json.loads(line) for line in encoded(data).decode().splitlines() if line]
    texts = [line.decode(errors="replace") for line in data.split(b"\n")]
    assert "".join(record["log"] for record in records) == "\n".join(texts)
    assert all(record["time"] == STAMP.decode() for record in records)


@settings(deadline=None)
@given(BYTES | LONG)
def test_parts_are_all_of_what_was_read_and_none_is_too_long(data: bytes) -> None:
    parts, rest = cut(data)
    assert b"".join(data[start:end] for start, end in parts) == data[:rest]
    assert len(data) - rest < LONGEST
    assert b"\n" not in data[rest:]
    for start, end in parts:
        part = data[start:end]
        assert (part.endswith(b"\n") and max(map(len, part.split(b"\n"))) < LONGEST) or (
            b"\n" not in part and LONGEST - 4 < len(part) <= LONGEST
        )


@pytest.mark.parametrize("before", range(LONGEST - 5, LONGEST + 2))
@pytest.mark.parametrize("character", ["é", "€", "😀"])
def test_a_long_line_is_not_cut_in_the_middle_of_a_character(before: int, character: str) -> None:
    data = b"x" * before + character.encode() + b"y" * LONGEST
    (start, end), *_ = cut(data)[0]
    assert data[start:end].decode()


def test_a_long_line_of_pieces_of_characters_is_cut_as_docker_does() -> None:
    assert cut(b"\xff" * (LONGEST + 1)) == ([(0, LONGEST)], LONGEST)
    assert cut(b"\x80" * (LONGEST + 1)) == ([(0, LONGEST)], LONGEST)


def test_attributes_come_with_every_record() -> None:
    said = encode(b"a\nb\xff\n", middle_of("stderr", {'k"': "v\n"}), STAMP)
    records = [json.loads(line) for line in said.splitlines()]
    assert [record["attrs"] for record in records] == [{'k"': "v\n"}] * 2
    assert [(record.attributes, record.stream) for record in map(decode, said.splitlines()) if record] == [
        ({'k"': "v\n"}, "stderr")
    ] * 2


@pytest.mark.parametrize(
    "line", [b"", b"{", b'{"log":"x"', b"[]", b'{"log":1,"time":"x"}', b'{"log":"x","stream":"stdout","time":"soon"}']
)
def test_half_a_record_is_none(line: bytes) -> None:
    assert decode(line) is None


@given(st.integers(0, 4102444800 * 10**9))
def test_times_come_back(now_ns: int) -> None:
    text = Clock().spell(now_ns).decode()
    assert parse_time(text) == now_ns
    assert text.startswith(time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(now_ns // 10**9)))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:01Z", 1),
        ("1970-01-01T01:00:00.5+01:00", 0.5),
        ("1969-12-31T19:00:00-05:00", 0),
        ("2024-02-29T00:00:00.000000001Z", 1709164800.000000001),
    ],
)
def test_times_of_others_are_read(text: str, seconds: float) -> None:
    assert parse_time(text) == pytest.approx(seconds * 10**9, abs=300)


@pytest.mark.parametrize("text", ["", "now", "2024-13-01T00:00:00Z", "2024-01-01T00:00:00", "2024-01-01 00:00:00,5Z"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whoever asks says what was no time
        parse_time(text)
