"""The JSON reader and writer: what they take, what they refuse, and where they say it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cloche
from cloche.errors import SpecError
from cloche.spec import reader

from .examples import FULL_TEXT

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.mark.parametrize("text", ["0", " [1, 2.5, -3e2]\n", '{"a": {"a": null}}', b'"\xc3\xa9"', '"\\ud83d\\ude00"'])
def test_reads_what_json_reads(text: str | bytes) -> None:
    assert reader.read_json(text) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "reason", "line", "column"),
    [
        ("", "expecting value", 1, 1),
        ("{", "expecting property name", 1, 2),
        ("[1,\n 2,,3]", "expecting value", 2, 4),
        ('{"a": "\n"}', "invalid control character", 1, 8),
        ("[1] 2", "extra data", 1, 5),
        ("01", "extra data", 1, 2),
        ("'a'", "expecting value", 1, 1),
        ("[1]\v", "extra data", 1, 4),
        ('{"a":1,\n"a":2}', 'the key "a" twice', 2, 1),
        ('{"b": [{"x": {}, "\\u0078": 1}]}', 'the key "\\u0078" twice', 1, 18),
        ('{"a": "{\\"", "b": 1, "a": ","}', 'the key "a" twice', 1, 22),
        ('["a", "a", {"a": "a", "b": "a"}, NaN]', "contains NaN", 1, 34),
        ("[-Infinity]", "contains -Infinity", 1, 2),
        ("[1, 1e999]", "too large", 1, 5),
        ("[1, -1.5e+999]", "too large", 1, 5),
        ("[" + "9" * 5000 + "]", "too large", 1, 2),
        ("[" * 201 + "]" * 201, "more than 200 levels", 1, 201),
        ('{"a":' * 201 + "1" + "}" * 201, "more than 200 levels", 1, 1001),
        ("[" * 100_000, "more than 200 levels", 1, 201),
        ("[" * 100_000 + "]" * 100_000, "more than 200 levels", 1, 201),
        ("\ufeff{}", "byte order mark", 1, 1),
        (b"\xef\xbb\xbf{}", "byte order mark", 1, 1),
        (b'[1,\n "\xff"]', "not UTF-8", 2, 3),
        ("{}".encode("utf-16"), "not UTF-8", 1, 1),
        ("{}".encode("utf-32-le"), "wrong", 1, 2),
        (b'"\xed\xa0\x80"', "not UTF-8", 1, 2),
        ("\0", "expecting value", 1, 1),
    ],
)
def test_refuses_with_line_and_column(text: str | bytes, reason: str, line: int, column: int) -> None:
    with pytest.raises(SpecError) as caught:
        reader.read_json(text)
    assert reason in str(caught.value)
    assert f"(line {line} column {column})" in str(caught.value)


@pytest.mark.parametrize("text", ["[" * 200 + "]" * 200, '{"a":' * 200 + "1" + "}" * 200, '"' + "[" * 300 + '"'])
def test_two_hundred_levels_are_fine(text: str) -> None:
    reader.read_json(text)


def test_a_nearly_used_up_stack_is_a_spec_error() -> None:
    def deep(levels: int) -> object:
        return deep(levels - 1) if levels else reader.read_json("[" * 150 + "]" * 150)

    refusals, read = [], 0
    for levels in range(600, sys.getrecursionlimit(), 5):
        try:
            deep(levels)
            read += 1
        except SpecError as refusal:
            refusals.append(str(refusal))
        except RecursionError:  # `deep` itself did not fit
            break
    assert read
    assert all("levels" in refusal for refusal in refusals)


@given(st.text() | st.binary())
def test_any_text_is_read_or_refused(text: str | bytes) -> None:
    error = None
    try:
        value = reader.read_json(text)
    except SpecError as refusal:
        error = refusal
    if error is not None:
        assert "line" in str(error)
    else:
        assert value == json.loads(text)


@given(json_values)
def test_what_is_written_reads_the_same(value: object) -> None:
    text = reader.write_json(value)
    assert text.isascii()
    assert "\n" not in text
    assert reader.read_json(text) == reader.read_own_json(text.encode() + b"  \n") == value
    assert text == json.dumps(value, separators=(",", ":"))


@given(json_values, st.integers(0, 40))
def test_a_part_of_what_was_written_is_refused(value: object, missing: int) -> None:
    text = reader.write_json([value]).encode()
    with pytest.raises(SpecError, match="line 1"):
        reader.read_own_json(text[: max(0, len(text) - 1 - missing)])


@pytest.mark.parametrize("text", [b"", b" ", b"[NaN]", b"[1e999]", b"[1] 2", b"\xff", b"[" * 100_000])
def test_what_was_never_written_is_refused(text: bytes) -> None:
    with pytest.raises(SpecError, match="line 1"):
        reader.read_own_json(text)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": object()}, {(1,): 2}])
def test_what_json_cannot_say_is_not_written(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        reader.write_json(value)


def test_readers_without_the_c_scanner_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "_json", None)  # as on an interpreter that has none
    scan, encode = reader._make_scanner(reader._unique), reader._make_encoder()
    monkeypatch.undo()
    assert "Decoder" in repr(scan)
    monkeypatch.setattr(reader, "_scan", scan)
    monkeypatch.setattr(reader, "_encode", encode)
    assert reader.read_json(FULL_TEXT) == json.loads(FULL_TEXT)
    assert reader.write_json({"a": [1, "é"]}) == '{"a":[1,"\\u00e9"]}'
    for text in ("[NaN]", '{"a":1,"a":1}', "[1e999]", "", "[" * 9999):
        with pytest.raises(SpecError):
            reader.read_json(text)


def test_reading_a_good_config_imports_nothing_heavy() -> None:
    program = f"""
import sys
sys.path.insert(0, {str(Path(cloche.__file__).parents[1])!r})
from cloche.spec import features, state
from cloche.spec.config import Config
from cloche.spec.reader import read_json, write_json
from cloche.spec.validate import validate
config = Config.parse(read_json(sys.stdin.buffer.read()))
validate(config)
write_json(config.to_dict())
print(*sorted({{"typing", "dataclasses", "enum", "re", "json", "collections", "functools"}} & set(sys.modules)))
"""
    command = [sys.executable, "-I", "-S", "-c", program]
    done = subprocess.run(command, input=FULL_TEXT.encode(), capture_output=True, check=True)
    assert done.stdout.split() == []
