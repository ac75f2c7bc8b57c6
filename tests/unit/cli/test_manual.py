"""The manual pages: complete, and accepted without a warning by the programs that set them."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from cloche.cli.manual import WHOLE, escape, render_man
from cloche.cli.options import CLOCHE, every, find
from cloche.cli.runtime import printing
from cloche.cli.runtime.globals import COMMAND
from cloche.cli.table import Verb

if TYPE_CHECKING:
    from pathlib import Path

COMMANDS = {"cloche": (CLOCHE, every()), "cloche-runtime": (COMMAND, printing.every())}
VERBS = [verb for command, verbs in COMMANDS.values() for verb in (command, *verbs)]
PAGES = [pytest.param(verb, id=verb.title) for verb in VERBS]
LINTERS = {
    "groff": ["groff", "-man", "-ww", "-z"],
    "man": ["man", "--warnings", "-l"],
    "mandoc": ["mandoc", "-T", "lint", "-W", "error"],
}


def page(verb: Verb) -> str:
    return render_man(verb, () if verb.name else COMMANDS[verb.program][1])


@pytest.mark.parametrize("linter", LINTERS)
def test_they_are_proper_roff(linter: str, tmp_path: Path) -> None:
    if shutil.which(linter) is None:
        pytest.skip(f"{linter} is not installed")
    files = []
    for number, verb in enumerate(VERBS):  # which are named in what is said of them
        files.append(tmp_path / f"{number}-{verb.title.replace(' ', '-')}.1")
        files[-1].write_text(page(verb))
    done = subprocess.run([*LINTERS[linter], *files], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stderr == ""
    assert done.returncode == 0
    if linter == "mandoc":
        assert done.stdout == ""


@pytest.mark.parametrize("verb", PAGES)
def test_everything_in_the_table_is_in_it(verb: Verb) -> None:
    text = page(verb)
    for option in verb.options:
        for name in option.names:
            assert f"\\fB{escape(name)}\\fR" in text
    for _, what in verb.examples:
        assert escape(what)[1:] in text
    assert all(line.isascii() for line in text.splitlines())


@pytest.mark.parametrize("name", COMMANDS)
def test_the_sections_of_the_overview(name: str) -> None:
    command, verbs = COMMANDS[name]
    section, *lists = WHOLE[name]
    text = page(command)
    for heading in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "ENVIRONMENT", "FILES"):
        assert f".SH {heading}\n" in text
    for word, _ in sum(lists, ()):
        assert escape(word) in text
    for verb in verbs:
        assert f"\\fB{escape(verb.title.replace(' ', '-'))}\\fR({section})" in text


def test_the_page_of_a_group_lists_its_verbs() -> None:
    text = render_man(find("image"), every())
    assert ".SH VERBS" in text
    assert "\\fBinspect\\fR" in text
    assert "\\fBrun\\fR" not in text
    assert "\\fBcloche\\-image\\-inspect\\fR(1)" in text


def test_exit_statuses_are_on_the_pages_that_run_something() -> None:
    for name in ("run", "shell", "enter"):
        assert ".SH EXIT STATUS" in page(find(name))
    assert ".SH EXIT STATUS" not in page(find("completion"))
    for name in ("run", "exec"):
        assert ".SH EXIT STATUS" in page(printing.find(name))
    assert ".SH EXIT STATUS" not in page(printing.find("list"))


@pytest.mark.parametrize(
    ("words", "roff"),
    [("-x", "\\-x"), (".x", "\\&.x"), ("'x", "\\(aqx"), ("a\\b", "a\\eb"), ("a\n.b", "a .b"), ("~", "\\(ti")],
)
def test_nothing_in_the_tables_is_taken_for_roff(words: str, roff: str) -> None:
    assert escape(words) == roff
