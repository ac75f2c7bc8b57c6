"""Rows as `--format` says: a table, JSON, or a template; what docker's listing verbs have in common.

    (nothing), table      aligned columns with headings
    json                  an object a line
    '{{.ID}} {{.Tag}}'    a template, a line for each row
    'table {{.ID}}\\t…'    a template with headings, its columns aligned

A row is a dict of strings by the names templates use; the heading of a column is its name in capitals unless told.
"""

from __future__ import annotations

from cloche.cli.output import columns, plain, plain_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    Row = Mapping[str, Any]
    Cells = dict[str, Any]
else:
    Cells = dict


def render(rows: Sequence[Row], names: tuple[str, ...], headings: Mapping[str, str], form: str) -> str:
    """The rows, of which a table shows these columns. Raises SpecError for a template that is none."""
    if form in {"", "table"}:
        return columns([[str(row[name]) for name in names] for row in rows], [headings[name] for name in names])
    if form == "json":
        from cloche.spec.reader import write_json

        return "".join(write_json(dict(row)) + "\n" for row in rows)
    from cloche.cli.template import compile_template

    with_headings, body = form.startswith("table "), unescaped(form.removeprefix("table "))
    line = compile_template(body)
    if not with_headings:
        return "".join(_made_plain(line, row) + "\n" for row in rows)
    table = [_made_plain(line, row).split("\t") for row in rows]
    heading = line(_Headings(headings)).split("\t")
    return columns(table, heading)


class Methods(Cells):
    """A row that templates may ask for more than it has members: each of `methods` is a function of strings."""

    def __init__(self, row: Row, methods: Mapping[str, Callable[..., str]]) -> None:
        super().__init__(row)
        self.methods = methods


class _Headings(dict[str, str]):
    """What a template makes headings of: each name stands for its heading, or itself in capitals."""

    def __init__(self, headings: Mapping[str, str]) -> None:
        super().__init__(headings)

    def __missing__(self, name: str) -> str:
        if name == "Label":
            raise KeyError(name)  # it is a method
        return name.upper()

    @property
    def methods(self) -> dict[str, Callable[[str], str]]:
        """A label's heading is the last part of its name, as docker has it."""
        return {"Label": lambda name: name.rpartition(".")[2].replace("-", " ").replace("_", " ")}


def _made_plain(line: Callable[[Any], str], row: Row) -> str:
    """A line that nothing in the row can break or colour."""
    cells = {key: plain(value) if isinstance(value, str) else value for key, value in row.items()}
    methods = getattr(row, "methods", {})
    return line(Methods(cells, {name: _plainly(method) for name, method in methods.items()}) if methods else cells)


def _plainly(method: Callable[..., str]) -> Callable[..., str]:
    return lambda *words: plain(method(*words))


def documents(found: Sequence[tuple[str, dict[str, Any]]], form: str) -> str:
    """What `inspect` prints of whole documents, each with its kind, "container", "image" or "volume".

    An array, with `json` in one line; or what a template makes of each, to which members that docker leaves out where
    they are nil are there. Escapes keep what one says of itself from steering the terminal. Raises SpecError for a
    template that is none.
    """
    if form not in {"", "json"}:
        from cloche.cli.shapes import SHAPES, shaped
        from cloche.cli.template import compile_template

        line = compile_template(unescaped(form))
        return "".join(plain_lines(line(shaped(item, SHAPES[kind]))) + "\n" for kind, item in found)
    import json

    style: dict[str, Any] = {"separators": (",", ":")} if form else {"indent": 4}
    return json.dumps([item for _, item in found], **style) + "\n"


def unescaped(form: str) -> str:
    """A template with backslash n and t, which shells leave alone, taken for what they mean."""
    return form.replace("\\t", "\t").replace("\\n", "\n")


def is_json(form: str) -> bool:
    """Whether everything is wanted as JSON."""
    return form in {"json", "{{json .}}"}
