"""The parser: docker's spellings, one by one, and what it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cloche.cli.grammar import LIST, VALUE, parse
from cloche.cli.options import CLOCHE, MODULES, every, find
from cloche.cli.options_run import EXPLAIN, RUN, SHELL
from cloche.errors import SpecError

ENTER = find("enter")
COMPLETION = find("completion")
DOCTOR = find("doctor")


@pytest.mark.parametrize(
    ("words", "values", "operands"),
    [
        ("host", {}, "host"),
        ("-it host", {"interactive": True, "tty": True}, "host"),
        ("-ti=false host", {"interactive": False, "tty": True}, "host"),
        ("-i -t host sh -c x", {"interactive": True, "tty": True}, "host sh -c x"),
        ("host -it", {"interactive": False, "tty": False}, "host -it"),
        ("host --memory 1g", {"memory": None}, "host --memory 1g"),
        ("host -- x", {}, "host -- x"),
        ("-- host", {}, "host"),
        ("-- -x y", {}, "-x y"),
        ("- x", {}, "- x"),
        ("-e A=B host", {"env": ["A=B"]}, "host"),
        ("-eA=B host", {"env": ["A=B"]}, "host"),
        ("-e=A=B host", {"env": ["A=B"]}, "host"),
        ("-e= host", {"env": ["="]}, "host"),
        ("-ite A host", {"interactive": True, "tty": True, "env": ["A"]}, "host"),
        ("-iteA host", {"interactive": True, "tty": True, "env": ["A"]}, "host"),
        ("--env=A=B --env C -eD host", {"env": ["A=B", "C", "D"]}, "host"),
        ("--env= host", {"env": [""]}, "host"),
        ("--memory 1g -m 2g host", {"memory": "2g"}, "host"),
        ("--memory= host", {"memory": ""}, "host"),
        ("--memory-swap -1 host", {"memory_swap": "-1"}, "host"),
        ("--name --rm host", {"name": "--rm", "rm": None}, "host"),
        ("--name -- host", {"name": "--"}, "host"),
        ("host", {"rm": None, "privileged": False, "env": [], "name": None}, "host"),
        ("--rm=false host", {"rm": False}, "host"),
        ("--rm=F --rm=1 host", {"rm": True}, "host"),
        ("--net host host", {"network": "host"}, "host"),
        ("-h box host", {"hostname": "box"}, "host"),
        ("-q host", {"quiet": True}, "host"),
        ("-itd host", {"interactive": True, "tty": True, "detach": True}, "host"),
        ("--rootfs /x", {"rootfs": "/x"}, ""),
        ("--rootfs /x ls -l", {"rootfs": "/x"}, "ls -l"),
        ("--help=false host", {}, "host"),
    ],
)
def test_run(words: str, values: dict[str, object], operands: str) -> None:
    parsed = parse(RUN, words.split())
    assert parsed.positionals == operands.split()
    assert {dest: parsed.values[dest] for dest in values} == values
    assert not parsed.help


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--memry 1g host", "unknown option --memry in"),
        ("--memry=1g host", "did you mean --memory?"),
        ("--memry host", "did you mean --memory?"),
        ("-Z host", "unknown option -Z"),
        ("-iZ host", "unknown option -Z in '-iZ'"),
        ("-i-t host", "unknown option -- in '-i-t'"),
        ("-name x host", "did you mean --name?"),
        ("-rm host", "did you mean --rm?"),
        ("--xyzzy-plugh host", "unknown option --xyzzy-plugh"),
        ("---memory host", "'---memory' is not how an option is written"),
        ("--=x host", "'--=x' is not how an option is written"),
        ("--memory", "--memory needs a value: SIZE"),
        ("-it -m", "-m needs a value: SIZE"),
        ("-im", "-m needs a value: SIZE"),
        ("--rm=maybe host", "--rm is true or false, not 'maybe'"),
        ("--rm= host", "--rm is true or false, not ''"),
        ("-i=x host", "-i is true or false, not 'x'"),
        ("-i= host", "unknown option -= in '-i='"),
        ("--format xml host", "--format is text or json, not 'xml'"),
        ("-p80:80 host", "-p: published ports are not here yet"),
        ("--no-landlock host", "--no-landlock: it is spelt differently here"),
        ("", "cloche run needs IMAGE"),
        ("-it", "cloche run needs IMAGE"),
        ("--name a\0b host", "the value of --name has a NUL byte"),
        ("-ea\0b host", "the value of -e has a NUL byte"),
        ("host a\0b", "an argument has a NUL byte"),
    ],
)
def test_run_refuses(words: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(RUN, words.split(" ") if words else [])
    assert message.removesuffix(" in") in str(caught.value)
    assert caught.value.hint
    if message.startswith("unknown"):
        assert "cloche run --help" in caught.value.hint


def test_a_good_name_gets_no_suggestion_it_does_not_need() -> None:
    with pytest.raises(SpecError) as caught:
        parse(RUN, ["--xyzzy-plugh", "host"])
    assert "did you mean" not in str(caught.value)


def test_absent_options_are_never_suggested_nor_have_values() -> None:
    with pytest.raises(SpecError) as caught:
        parse(RUN, ["--publis", "host"])
    assert "--publish" not in str(caught.value).replace("--publis ", "").replace("--publis,", "")
    assert "publish" not in parse(RUN, ["host"]).values


@pytest.mark.parametrize(
    "words", [["--help"], ["-it", "--help", "--nonsense"], ["--help=true"], ["--memory=1", "--help"]]
)
def test_help_stops_reading(words: list[str]) -> None:
    assert parse(RUN, words).help


def test_h_is_help_only_where_it_is_free() -> None:
    assert parse(ENTER, ["-h"]).help
    assert parse(CLOCHE, ["-h"]).help
    assert parse(RUN, ["-h", "box", "host"]).text("hostname") == "box"


def test_what_follows_the_command_is_not_an_option() -> None:
    assert not parse(RUN, ["host", "--help"]).help


def test_shell_is_interactive_unless_told() -> None:
    parsed = parse(SHELL, [])
    assert parsed.flag("interactive")
    assert parsed.flag("tty")
    assert parsed.positionals == []
    assert not parse(SHELL, ["--tty=false"]).flag("tty")


def test_explain_takes_the_options_of_run() -> None:
    assert EXPLAIN.options is RUN.options
    assert parse(EXPLAIN, ["--format", "json", "host", "x"]).text("format") == "json"


@pytest.mark.parametrize(
    ("words", "only", "operands"),
    [
        ("web", None, ["web"]),
        ("--only net web ls", "net", ["web", "ls"]),
        ("web --only net", "net", ["web"]),
        ("web --only net -- ls --only x", "net", ["web", "ls", "--only", "x"]),
        ("web -it ls --only x", None, ["web", "ls", "--only", "x"]),
    ],
)
def test_enter_takes_options_around_its_first_operand(words: str, only: str | None, operands: list[str]) -> None:
    parsed = parse(ENTER, words.split())
    assert parsed.text("only") == only
    assert parsed.positionals == operands


def test_operands_are_counted_and_closed_ones_checked() -> None:
    assert parse(COMPLETION, ["bash"]).positionals == ["bash"]
    with pytest.raises(SpecError, match="SHELL is bash or zsh or fish, not 'tcsh'"):
        parse(COMPLETION, ["tcsh"])
    with pytest.raises(SpecError, match="cloche completion needs SHELL"):
        parse(COMPLETION, [])
    with pytest.raises(SpecError, match="does not know what to do with 'zsh'"):
        parse(COMPLETION, ["bash", "zsh"])
    with pytest.raises(SpecError, match="does not know what to do with 'x'"):
        parse(DOCTOR, ["x"])


def test_the_command_itself_stops_at_the_verb() -> None:
    parsed = parse(CLOCHE, ["--root", "/r", "--debug", "run", "--debug", "host"])
    assert parsed.text("root") == "/r"
    assert parsed.flag("debug")
    assert parsed.positionals == ["run", "--debug", "host"]


def test_verbs_are_found_or_suggested() -> None:
    assert [verb.name for verb in every()] == list(MODULES)
    with pytest.raises(SpecError, match="unknown verb 'rnu', did you mean run"):
        find("rnu")
    with pytest.raises(SpecError, match="unknown verb '__class__'"):
        find("__class__")


def test_lists_are_not_shared_between_two_parses() -> None:
    assert parse(RUN, ["-eA", "host"]).all("env") == ["A"]
    assert parse(RUN, ["host"]).all("env") == []


def test_accessors_answer_for_other_kinds_too() -> None:
    parsed = parse(RUN, ["-m1g", "host"])
    assert parsed.all("memory") == []
    assert parsed.text("env") is None
    assert not parsed.flag("memory")


def test_tables_are_consistent() -> None:
    for verb in [CLOCHE, *every()]:
        spellings = [name for option in verb.options for name in (*option.names, *option.aliases)]
        assert len(spellings) == len(set(spellings))
        dests = [option.dest for option in verb.options]
        assert len(dests) == len(set(dests))
        for option in verb.options:
            assert option.names[-1].startswith("--")
            assert all(len(name) == 2 or name.startswith("--") for name in option.names)
            assert bool(option.metavar) == (option.kind in (VALUE, LIST))
            assert option.help
            assert not option.help.endswith(".")
            assert option.group
        assert set(verb.preset or {}) <= set(dests)
        assert {o.unless for o in verb.operands if o.unless} <= set(dests)


def test_importing_and_parsing_loads_nothing_slow() -> None:
    source = Path(__file__).parents[3] / "src"
    program = (
        f"import sys; sys.path.insert(0, {os.fspath(source)!r})\n"
        "before = set(sys.modules)\n"
        "from cloche.cli import grammar, options, options_run\n"
        "grammar.parse(options.CLOCHE, ['--debug', 'run'])\n"
        "grammar.parse(options.find('run'), ['-it', '-e', 'A=B', '--memory=1g', 'host', 'sh'])\n"
        "print(*sorted(set(sys.modules) - before))\n"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    loaded = [name for name in done.stdout.split() if not name.startswith("cloche")]
    assert loaded in ([], ["__future__"])
    assert "cloche.cli.options_other" not in done.stdout
