"""What `--help` and the overview show: everything in the table, within the width."""

from __future__ import annotations

import pytest

from cloche.cli.help import NARROWEST, render_help, render_overview, spelling, wrap
from cloche.cli.options import CLOCHE, MODULES, every, find, is_group
from cloche.cli.runtime import printing
from cloche.cli.runtime.globals import COMMAND
from cloche.cli.table import Verb

VERBS = [pytest.param(verb, id=verb.title) for verb in (*every(), *printing.every())]


@pytest.mark.parametrize("verb", VERBS)
def test_everything_in_the_table_is_shown(verb: Verb) -> None:
    text = render_help(verb, 80)
    joined = " ".join(text.split())
    for option in verb.options:
        assert spelling(option).strip() in text
        assert option.help in joined
        assert f"{option.group}:\n" in text
    for operand in verb.operands:
        assert operand.help in joined
    for usage in verb.usage:
        assert usage in text
    for line, what in verb.examples:
        assert line in text
        assert what in text
    assert "--help  show this help" in text


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 200])
@pytest.mark.parametrize("verb", VERBS)
def test_lines_fit(verb: Verb, width: int) -> None:
    text = render_help(verb, width)
    whole = {*verb.usage, *(line for line, _ in verb.examples)}
    for line in text.splitlines():
        assert line == line.rstrip()
        shell = any(part in line for part in whole) or line.startswith("  # ")
        name = line.strip().startswith("-")
        alone = len(line.split()) == 1
        assert len(line) <= max(width, NARROWEST) or shell or name or alone


def test_h_is_shown_where_it_means_help() -> None:
    assert "-h, --help" in render_help(find("enter"))
    assert "-h, --help" not in render_help(find("run"))


def test_defaults_and_repetition_are_said() -> None:
    text = " ".join(render_help(find("run"), 200).split())
    assert "(default 64m)" in text
    assert "set an environment variable; without =VALUE, pass on the value it has here (repeatable)" in text


OVERVIEWS = [(CLOCHE, every()), *((find(name), every()) for name in MODULES if is_group(name))]


@pytest.mark.parametrize(("command", "verbs"), [*OVERVIEWS, (COMMAND, printing.every())])
def test_the_overview_names_every_verb(command: Verb, verbs: list[Verb]) -> None:
    text = " ".join(render_overview(command, verbs, 80).split())
    own = [verb for verb in verbs if verb.group == command.name]
    assert own
    for verb in own:
        assert f" {verb.name.removeprefix(f'{command.name} ')} {verb.summary}" in text
        assert verb.title.startswith(command.program + " ")
    for option in command.options:
        assert option.names[-1] in text
    assert f"{command.title} VERB --help shows" in text


def test_a_verb_of_the_runtime_says_what_it_does() -> None:
    for verb in printing.every():
        assert verb.description, verb.name


def test_wrap_keeps_every_word() -> None:
    assert wrap("", 10) == [""]
    assert wrap("a bb ccc", 4) == ["a bb", "ccc"]
    assert wrap("long-word-that-does-not-fit a", 5) == ["long-word-that-does-not-fit", "a"]
