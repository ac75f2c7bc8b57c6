"""The manual pages: complete, and accepted without a warning by the programs that set them."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from cloche.cli.grammar import ABSENT
from cloche.cli.manual import ENVIRONMENT, EXIT_STATUS, FILES, escape, render_man
from cloche.cli.options import CLOCHE, every, find
from cloche.cli.table import Verb

PAGES = [pytest.param(verb, id=verb.name or "cloche") for verb in [CLOCHE, *every()]]
LINTERS = {
    "groff": ["groff", "-man", "-ww", "-z"],
    "man": ["man", "--warnings", "-l", "-"],
    "mandoc": ["mandoc", "-T", "lint", "-W", "error"],
}


def page(verb: Verb) -> str:
    return render_man(verb, () if verb.name else every())


@pytest.mark.parametrize("linter", LINTERS)
@pytest.mark.parametrize("verb", PAGES)
def test_it_is_proper_roff(verb: Verb, linter: str) -> None:
    if shutil.which(linter) is None:
        pytest.skip(f"{linter} is not installed")
    done = subprocess.run(LINTERS[linter], input=page(verb), capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == 0
    if linter == "mandoc":
        assert done.stdout == ""


@pytest.mark.parametrize("verb", PAGES)
def test_everything_in_the_table_is_in_it(verb: Verb) -> None:
    text = page(verb)
    for option in verb.options:
        for name in option.names:
            assert (f"\\fB{escape(name)}\\fR" in text) == (option.kind != ABSENT)
    for _, what in verb.examples:
        assert escape(what)[1:] in text
    assert all(line.isascii() for line in text.splitlines())


def test_the_sections_of_the_overview() -> None:
    text = page(CLOCHE)
    for heading in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "ENVIRONMENT", "FILES"):
        assert f".SH {heading}\n" in text
    for name, _ in (*EXIT_STATUS, *ENVIRONMENT, *FILES):
        assert escape(name) in text
    for verb in every():
        assert f"\\fBcloche\\-{verb.name}\\fR(1)" in text


def test_exit_statuses_are_on_the_pages_that_run_something() -> None:
    for name in ("run", "shell", "enter"):
        assert ".SH EXIT STATUS" in page(find(name))
    assert ".SH EXIT STATUS" not in page(find("completion"))


@pytest.mark.parametrize(
    ("words", "roff"),
    [("-x", "\\-x"), (".x", "\\&.x"), ("'x", "\\(aqx"), ("a\\b", "a\\eb"), ("a\n.b", "a .b"), ("~", "\\(ti")],
)
def test_nothing_in_the_tables_is_taken_for_roff(words: str, roff: str) -> None:
    assert escape(words) == roff
