"""The parser: any words at all are read or refused, and every legal spelling says the same."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.cli.grammar import FLAG, LIST, VALUE, Option, parse
from cloche.cli.options import CLOCHE, MODULES, find
from cloche.cli.options_run import RUN
from cloche.errors import SpecError

WORD = st.text(st.characters(exclude_categories=()), max_size=12)
SPELLING = st.sampled_from([name for option in RUN.options for name in (*option.names, *option.aliases)])
NEAR = st.one_of(WORD, SPELLING, st.builds("{}={}".format, SPELLING, WORD), st.builds("{}{}".format, SPELLING, WORD))


@settings(deadline=None)
@given(st.sampled_from(["", *MODULES]), st.lists(NEAR, max_size=8))
def test_any_words_parse_or_are_refused(name: str, words: list[str]) -> None:
    verb = find(name) if name else CLOCHE
    try:
        parsed = parse(verb, words)
    except SpecError:
        return
    assert len(parsed.positionals) <= len(words)
    kinds = {FLAG: bool | None, VALUE: str | None, LIST: list}
    given = {option.dest: kinds[option.kind] for option in verb.options if option.kind in kinds}
    assert parsed.values.keys() == given.keys()
    assert all(isinstance(value, given[dest]) for dest, value in parsed.values.items())


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=()), max_size=8)
TAKING = [o for o in RUN.options if o.kind in (VALUE, LIST) and not o.closed]
SWITCHES = [o for o in RUN.options if o.kind == FLAG and not o.closed]


@st.composite
def spelled(draw: st.DrawFn) -> tuple[list[str], dict[str, object]]:
    """A command line in random legal spellings, and what it says."""
    words: list[str] = []
    values: dict[str, object] = {}
    for _ in range(draw(st.integers(0, 6))):
        cluster = ""
        for option in draw(st.lists(st.sampled_from(SWITCHES), max_size=3)):
            on = draw(st.booleans())
            values[option.dest] = on
            if on and len(option.names[0]) == 2 and draw(st.booleans()):
                cluster += option.names[0][1]
            elif cluster:  # keeps the order: what was clustered came first
                words.append(f"-{cluster}")
                cluster = ""
                words.append(_switch(draw, option, on=on))
            else:
                words.append(_switch(draw, option, on=on))
        if not draw(st.booleans()):
            words += [f"-{cluster}"] if cluster else []
            continue
        option, value = draw(st.sampled_from(TAKING)), draw(TEXT)
        if option.kind == LIST:
            known = values.setdefault(option.dest, [])
            assert isinstance(known, list)
            known.append(value)
        else:
            values[option.dest] = value
        words += _taking(draw, option, value, cluster)
    return words, values


def _switch(draw: st.DrawFn, option: Option, *, on: bool) -> str:
    name = draw(st.sampled_from(option.names))
    if on and draw(st.booleans()):
        return name
    return f"{name}={draw(st.sampled_from(['1', 't', 'True'] if on else ['0', 'F', 'false']))}"


def _taking(draw: st.DrawFn, option: Option, value: str, cluster: str) -> list[str]:
    """One option with its value, in the cluster where it has a short name."""
    short, long = option.names[0], draw(st.sampled_from([option.names[-1], *option.aliases]))
    before = [f"-{cluster}"] if cluster else []
    ways = [[*before, long, value], [*before, f"{long}={value}"]]
    if len(short) == 2:
        letters = f"-{cluster}{short[1]}"
        ways.append([letters, value])
        if value and (value[0] != "=" or value == "="):
            ways.append([letters + value])
        if value:
            ways.append([f"{letters}={value}"])
    return draw(st.sampled_from(ways))


@settings(deadline=None)
@given(spelled(), st.booleans(), st.lists(TEXT, max_size=3))
def test_every_legal_spelling_says_the_same(
    said: tuple[list[str], dict[str, object]], dashes: bool, command: list[str]
) -> None:
    words, values = said
    parsed = parse(RUN, [*words, *(["--"] if dashes else []), "host", *command])
    expected = {**parse(RUN, ["host"]).values, **values}
    assert parsed.values == expected
    assert parsed.positionals == ["host", *command]
