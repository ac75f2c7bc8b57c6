"""Templates of --format: what Go's text/template prints for the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.cli.format import render
from cloche.cli.shapes import CONTAINER, shaped
from cloche.cli.template import compile_template
from cloche.cli.template_data import Duration, Map, Members, NilList, NilMap
from cloche.errors import SpecError

LABELS = Map({"a": "1"})
DATA = {
    "ID": "abc",
    "Tag": "",
    "Size": 12,
    "Ok": True,
    "None": None,
    "Labels": {"b": "2", "a": "1", "a.b": "dotted"},
    "Env": ["A=b", "C=d"],
    "Config": {"Cmd": ["/bin/sh", "-c"], "User": "", "Deep": {"er": [{"X": 1}, {"X": 2}]}},
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain", "plain"),
        ("{{.ID}}", "abc"),
        ("{{ .ID }}:{{.Size}}", "abc:12"),
        ("{{.Ok}} {{.None}} {{.Env}} {{.Labels}}", "true <nil> [A=b C=d] map[a:1 a.b:dotted b:2]"),
        ("{{.Config.Deep.er}}", "[map[X:1] map[X:2]]"),
        ("{{json .Env}}", '["A=b","C=d"]'),
        ("{{.Env | json}}", '["A=b","C=d"]'),
        ('{{index .Labels "a.b"}}{{index .Labels "missing"}}', "dotted"),
        ("{{index .Env 1}}", "C=d"),
        ("{{(index .Config.Deep.er 1).X}}", "2"),
        ("{{index .Config.Deep.er 0 `X`}}", "1"),
        ('{{join .Env ", "}}', "A=b, C=d"),
        ('{{.ID | upper | printf "%s-%s" "x"}}', "x-ABC"),
        ('{{printf "%5d|%-5s|%q|%v" .Size .ID .ID .Env}}', '   12|abc  |"abc"|[A=b C=d]'),
        ("{{len .Env}} {{len .ID}}", "2 3"),
        ("{{slice .ID 1 2}}{{slice .ID 1}}", "bbc"),
        ('{{range split "a,b" ","}}<{{.}}>{{end}}', "<a><b>"),
        ("{{if .Tag}}tag{{else}}none{{end}}", "none"),
        ("{{if .Tag}}tag{{else if .ID}}id{{else}}none{{end}}!", "id!"),
        ("{{if and .ID .Tag}}a{{else if or .Tag .Ok}}b{{end}}", "b"),
        ('{{if eq .ID "x" "abc"}}y{{end}}{{if ne .ID "abc"}}n{{end}}{{if lt 1 .Size}}l{{end}}', "yl"),
        ("{{if not .Tag}}no{{end}}", "no"),
        ("{{with .Config}}{{.Cmd}}{{$.ID}}{{end}}", "[/bin/sh -c]abc"),
        ("{{with .Tag}}x{{else}}{{.ID}}{{end}}", "abc"),
        ("{{with $x := .ID}}{{$x}}{{.}}{{end}}", "abcabc"),
        ("{{range .Env}}{{.}};{{end}}", "A=b;C=d;"),
        ("{{range $i, $e := .Env}}{{$i}}={{$e}} {{end}}", "0=A=b 1=C=d "),
        ("{{range $k, $v := .Labels}}{{$k}}={{$v}} {{end}}", "a=1 a.b=dotted b=2 "),
        ("{{range .Config.Deep.er}}{{.X}}{{else}}none{{end}}", "12"),
        ("{{range .None}}x{{else}}none{{end}}", "none"),
        ("{{range .Env}}{{.}}{{break}}{{end}}|{{range .Env}}x{{continue}}y{{end}}", "A=b|xx"),
        ("{{$n := 0}}{{range .Env}}{{$n = len .}}{{end}}{{$n}}", "3"),
        ("a {{- .ID -}} b", "aabcb"),
        ("{{/* nothing */}}x", "x"),
        ('{{"a\\tb"}}', "a\tb"),
        ("{{print .ID .Size .Size}}{{println 1 2}}", "abc12 121 2\n"),
        ("{{pad .ID 1 2}}|{{truncate .ID 2}}", " abc  |ab"),
        ("{{.}}", None),
    ],
)
def test_values(template: str, text: str | None) -> None:
    made = compile_template(template)(DATA)
    if text is not None:
        assert made == text


NIL = Members({"Map": LABELS, "NilMap": NilMap(), "List": NilList(), "Null": None}, {"ID": "abc", "Nil": None})


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.ID}} {{.Nil}} {{.Null}}", "abc <nil> <nil>"),
        ("{{json .}}", '{"Map":{"a":"1"},"NilMap":null,"List":null,"Null":null}'),
        ("{{.Map}} {{.NilMap}} {{.List}}", "map[a:1] map[] []"),
        ("{{.Map.a}} {{.Map.b}} {{.NilMap.b.c}}", "1 <no value> <no value>"),
        ("{{$x := .Map.b}}{{$x}} {{json $x}} {{print $x}} {{not $x}}", "<no value> null <nil> true"),
        ("{{len .NilMap}}{{len .List}}{{range .Map.b}}x{{else}}none{{end}}", "00none"),
        ('{{or .Map.b .Map.a}}{{index .Map "b"}}{{join .List ","}}', "1"),
    ],
)
def test_what_is_nil(template: str, text: str) -> None:
    assert compile_template(template)(NIL) == text


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        *(
            (0, "0s"),
            (1, "1ns"),
            (1500, "1.5µs"),
            (100_000_000, "100ms"),
            (1_000_000_000, "1s"),
            (90_000_000_000, "1m30s"),
        ),
        *((3_600_000_000_000, "1h0m0s"), (3_661_500_000_000, "1h1m1.5s"), (-1_500_000_000, "-1.5s")),
    ],
)
def test_a_duration_is_printed_as_go_does(nanoseconds: int, text: str) -> None:
    made = compile_template("{{.D}} {{json .D}} {{print .D}} {{if .D}}x{{end}}")({"D": Duration(nanoseconds)})
    assert made == f"{text} {nanoseconds} {text} {'x' if nanoseconds else ''}"


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["State", "Health", "Log", "Config", "Labels", "Mounts", "HostConfig"]), inner
        )
    ),
)


@given(JSON)
def test_a_document_with_a_shape_is_the_same_in_json(document: object) -> None:
    made = compile_template("{{json .}}")
    assert made(shaped(document, CONTAINER)) == made(document)


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{{.Nope}}", "there is no .Nope"),
        ("{{.ID.X}}", "has no fields"),
        ("{{.ID", "{{ without }}"),
        ("{{if .ID}}", "without {{end}}"),
        ("{{end}}", "without a beginning"),
        ("{{nope .ID}}", "no function"),
        ("{{index .Env 7}}", "index cannot work"),
        ("{{index .Env}}{{.ID .Tag}}", "behind what is no function"),
        ("{{(.ID}}", "( without )"),
        ("{{$x}}", "not defined"),
        ("{{range .ID}}{{end}}", "range cannot go through"),
        ("{{break}}", "outside of range"),
        ("{{len .Size}}", "len cannot work"),
        ("{{ }}", "lacks a value"),
        ("{{%}}", "no part of a template"),
        ('{{printf "%d %d" 1}}', "there is nothing for %d"),
        ('{{printf "%c" 99999999}}', "printf cannot work"),
        ('{{printf "%c" 55296}}', "55296 is no character"),
        ('{{printf "%-99999999999d" 1}}', "99999999999 is more than 10000 columns"),
        ('{{printf "%.99999999999f" 1}}', "99999999999 is more than 10000 columns"),
        ("{{pad .ID 99999999999 1}}", "99999999999 is more than 10000 columns"),
        ("{{pad .ID 1 99999999999}}", "99999999999 is more than 10000 columns"),
        ("{{range 99999999999}}{{end}}", "range cannot go through"),
        ("{{len " + "9" * 5000 + "}}", "a number of more than 300 digits"),
        ("{{" + "(not " * 5000 + "1" + ")" * 5000 + "}}", "nested too deeply"),
        ("{{.ID" + " | not" * 5000 + "}}", "nested too deeply"),
        ("{{if 1}}" * 5000 + "{{end}}" * 5000, "nested too deeply"),
    ],
)
def test_what_is_wrong_is_said(template: str, says: str) -> None:
    with pytest.raises(SpecError, match=r"template|--format") as caught:
        compile_template(template)(DATA)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{{.Nope}}", "there is no .Nope"),
        ("{{.Nil.A}}", "<nil>"),
        ("{{upper .Map.b}}", "upper cannot work"),
        ("{{len .Map.b}}", "len cannot work"),
    ],
)
def test_what_nil_does_not_have_is_said(template: str, says: str) -> None:
    with pytest.raises(SpecError) as caught:
        compile_template(template)(NIL)
    assert says in str(caught.value)
    if "Nope" in template:
        assert caught.value.hint == "there is ID, List, Map, Nil, NilMap, Null"


PARTS = st.sampled_from(
    [
        "{{",
        "}}",
        ".ID",
        ".Env",
        "range ",
        "if ",
        "end",
        "else",
        "$x",
        ":=",
        "|",
        "(",
        ")",
        '"a"',
        " ",
        "index ",
        "0",
        "-",
        "x",
    ]
)


@given(st.lists(PARTS, max_size=14).map("".join))
def test_whatever_is_written_gives_a_text_or_one_error(template: str) -> None:
    try:
        assert isinstance(compile_template(template)(DATA), str)
    except SpecError:
        pass


ROWS = [{"ID": "1", "Name": "long name"}, {"ID": "22", "Name": "\x1b[31mred\n"}]


def test_a_table_made_by_a_template_has_headings_and_shows_what_could_steer_a_terminal() -> None:
    made = render(ROWS, ("ID",), {"ID": "IMAGE ID", "Name": "NAME"}, "table {{.Name}}\\t{{.ID}}")
    assert made.splitlines() == ["NAME            IMAGE ID", "long name       1", "\\x1b[31mred\\n   22"]


def test_json_is_a_line_for_each() -> None:
    assert render(ROWS[:1], ("ID",), {"ID": "ID"}, "json") == '{"ID":"1","Name":"long name"}\n'
