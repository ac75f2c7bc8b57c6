"""Names and messages on a terminal: nothing in them can move the cursor or hide."""

from __future__ import annotations

import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.cli.output import LONGEST, columns, message, plain, print_error, width
from cloche.errors import ClocheError, NotFoundError


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("web", "web"),
        ("", ""),
        ("größe 容器", "größe 容器"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("a\r\nb\tc", "a\\r\\nb\\tc"),
        ("\x7f\x9b", "\\x7f\\x9b"),
        ("a\u202eb\u2066", "a\\u202eb\\u2066"),
        ("\u2028\u200b", "\\u2028\\u200b"),
        (os.fsdecode(b"caf\xe9"), "caf\\xe9"),
        ("\ud800", "\\ud800"),
        ("\U000e0001", "\\U000e0001"),
    ],
)
def test_plain(text: str, shown: str) -> None:
    assert plain(text) == shown


@given(st.text(st.characters(exclude_categories=())))
def test_plain_text_is_printable_and_stays_so(text: str) -> None:
    shown = plain(text)
    assert shown.isprintable()
    assert plain(shown) == shown
    shown.encode()


def test_columns_are_aligned() -> None:
    table = columns([["web", "host", "1"], ["容器", "a\x1bb", "22"]], ["NAME", "IMAGE", "PID"])
    assert table.splitlines() == [
        "NAME   IMAGE    PID",
        "web    host     1",
        "容器   a\\x1bb   22",
    ]


def test_columns_without_rows_or_cells() -> None:
    assert columns([], ["NAME", "PID"]) == "NAME   PID\n"
    assert columns([["a"]], ["NAME", "PID"]) == "NAME   PID\na\n"


def test_width_counts_columns() -> None:
    assert width("abc") == 3
    assert width("容器") == 4
    assert width("e\u0301") == 1


def test_an_error_and_its_hint(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(NotFoundError("no image 'a\x1b[2J'", hint="try\nhost"))
    assert capsys.readouterr().err == "cloche: no image 'a\\x1b[2J'\n  hint: try\\nhost\n"


def test_an_error_without_hint_or_message(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(ClocheError("broken"))
    print_error(KeyboardInterrupt())
    assert capsys.readouterr().err == "cloche: broken\ncloche: KeyboardInterrupt\n"


def test_nothing_is_raised_where_there_is_no_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull, "w", encoding="utf-8") as closed:
        pass
    monkeypatch.setattr(sys, "stderr", closed)
    print_error(ClocheError("unheard"))
    monkeypatch.setattr(sys, "stderr", None)
    print_error(ClocheError("unheard"))


def test_a_message_keeps_its_beginning_and_its_end() -> None:
    assert message("short: \n") == "short: \\n"
    shown = message(f"/mounts/3/destination: /{'x' * 100_000}: file name too long")
    assert shown.startswith("/mounts/3/destination: /xxx")
    assert shown.endswith("x: file name too long")
    assert "…" in shown
    assert len(shown) < 500
    assert len(message("many words " * 10_000)) <= LONGEST + 1
    assert len(message("\x1b" * 1000)) <= LONGEST + 1


def test_an_error_with_a_long_name_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(NotFoundError(f"{'y' * 100_000} is not there", hint="z" * 100_000))
    assert len(capsys.readouterr().err) < 1000
