"""Templates of `--format` and `-f`: Go's text/template, as docker's users write them (pkg.go.dev/text/template).

    {{.ID}}  {{.Config.Env}}  {{json .}}  {{index .Labels "a"}}      values
    {{if .Tag}}…{{else if .ID}}…{{else}}…{{end}}                     also with, range, break, continue
    {{range $key, $value := .Labels}}…{{end}}  {{$x := .ID}}         variables
    {{.Names | join ", " | upper}}  {{(index .A 0).B}}               pipelines, parentheses
    {{- .ID -}}  {{/* … */}}                                         trimmed, and comments

    {{.Label "a"}}                                                   methods of the data, where it has any (`methods`)

A template is parsed to functions of a `Scope`. Data are what JSON has: dicts, lists, strings, numbers, booleans, None;
and what `template_data` adds. What is not there is an error that names what is.
"""

from __future__ import annotations

import re

from cloche.cli.template_data import NOTHING
from cloche.cli.template_functions import FUNCTIONS, is_true, member, printed
from cloche.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Value = Callable[["Scope"], Any]  # an expression
    Node = Callable[["Scope"], str]  # a piece of the template

ACTION = re.compile(r"\{\{(-(?=\s))?(?P<comment>\s*/\*.*?\*/\s*)?(.*?)((?<=\s)-)?\}\}", re.DOTALL)
TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<string>"(?:[^"\\\n]|\\.)*")
      | (?P<raw>`[^`]*`)
      | (?P<number>[-+]?\d+(?:\.\d+)?)
      | (?P<field>\.[^\W\d]\w*)
      | (?P<variable>\$\w*)
      | (?P<word>[^\W\d]\w*)
      | (?P<mark>:=|[.|(),=])""",
    re.VERBOSE,
)
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "'": "'", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
LOOPS = ("range",)
BLOCKS = ("if", "with", *LOOPS)
MOST_TURNS = 1 << 20  # of `range` over a number
MOST_DIGITS = 300  # of a number; what is larger than any float can be
TOO_DEEP = "is nested too deeply"


class _End(Exception):
    """`{{break}}` (last is True) or `{{continue}}`, with what was printed before it."""

    def __init__(self, text: str, *, last: bool) -> None:
        self.text, self.last = text, last


class Scope:
    """What names mean at one place: `dot`, and variables, those of the place around it included."""

    def __init__(self, dot: Any, above: Scope | None = None) -> None:
        self.dot, self.above = dot, above
        self.variables: dict[str, Any] = {} if above else {"$": dot}

    def holder(self, name: str) -> Scope | None:
        """The scope in which a variable is."""
        scope: Scope | None = self
        while scope is not None and name not in scope.variables:
            scope = scope.above
        return scope


def compile_template(text: str) -> Callable[[Any], str]:
    """A function from data to text. Raises SpecError, as the function does."""
    try:
        node, ended_by = _Parser(text).sequence()
    except RecursionError:
        raise _wrong(text, TOO_DEEP) from None
    if ended_by:
        raise _wrong(text, f"has {{{{{ended_by}}}}} without a beginning")

    def render(data: Any) -> str:
        try:
            return node(Scope(data))
        except SpecError as error:
            raise SpecError(f"--format {text!r}: {error}", hint=error.hint) from None
        except _End:
            raise _wrong(text, "has break or continue outside of range") from None
        except RecursionError:
            raise _wrong(text, TOO_DEEP) from None

    return render


class _Parser:
    """Reads a template from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.pieces = _pieces(text)

    def sequence(self) -> tuple[Node, str]:
        """What stands until `end`, `else` or the end of all; returns it with what it ended by."""
        nodes: list[Node] = []
        while self.pieces:
            is_action, piece = self.pieces.pop(0)
            if not is_action:
                nodes.append(lambda _, piece=piece: piece)  # type: ignore[misc]
                continue
            first, _, rest = piece.partition(" ")
            if piece == "end" or first == "else":
                return _joined(nodes), piece
            nodes.append(self.block(first, rest) if first in BLOCKS else self.action(piece))
        return _joined(nodes), ""

    def action(self, piece: str) -> Node:
        """An action that is no block."""
        if piece in {"break", "continue"}:

            def leave(_: Scope) -> str:
                raise _End("", last=piece == "break")

            return leave
        return _Expression(self.text, piece).statement()

    def block(self, kind: str, head: str) -> Node:
        """What follows `if`, `with` or `range`, to its `end`."""
        names, value = _Expression(self.text, head).declaration()
        body, ended_by = self.sequence()
        other: Node = lambda _: ""  # noqa: E731
        if ended_by.startswith("else"):
            rest = ended_by.removeprefix("else").strip()
            if rest:  # `else if`: a block of its own that ends with this one
                first, _, condition = rest.partition(" ")
                if first not in BLOCKS:
                    raise _wrong(self.text, f"has {ended_by!r}")
                other = self.block(first, condition)
                ended_by = "end"
            else:
                other, ended_by = self.sequence()
        if ended_by != "end":
            raise _wrong(self.text, f"has {{{{{kind}}}}} without {{{{end}}}}")
        if kind in LOOPS:
            return _loop(names, value, body, other)

        def choose(scope: Scope) -> str:
            found = value(scope)
            inner = Scope(found if kind == "with" and is_true(found) else scope.dot, scope)
            for name in names[-1:]:
                inner.variables[name] = found
            return body(inner) if is_true(found) else other(inner)

        return choose


def _pieces(text: str) -> list[tuple[bool, str]]:
    """Text and actions, (False, text) and (True, what stands between the braces), with spaces trimmed as told."""
    found: list[tuple[bool, str]] = []
    at, trim = 0, False
    for match in ACTION.finditer(text):
        before = text[at : match.start()]
        before = before.lstrip() if trim else before
        found.append((False, before.rstrip() if match[1] else before))
        inner = match[3].strip()
        if inner or not match["comment"]:
            found.append((True, " ".join(inner.split(None, 1)) if inner.split(None, 1)[1:] else inner))
        at, trim = match.end(), bool(match[4])
    rest = text[at:]
    if "{{" in rest:
        raise _wrong(text, "has {{ without }}")
    found.append((False, rest.lstrip() if trim else rest))
    return [piece for piece in found if piece[0] or piece[1]]


class _Expression:
    """Reads what stands between braces."""

    def __init__(self, whole: str, text: str) -> None:
        self.whole, self.tokens = whole, list[tuple[str, str, bool]]()
        at, spaced = 0, True
        while at < len(text):
            match = TOKEN.match(text, at)
            if match is None:
                raise _wrong(whole, f"has {text[at : at + 20]!r}, which is no part of a template")
            kind = str(match.lastgroup)
            if kind != "space":
                self.tokens.append((kind, match[0], spaced))
            spaced, at = kind == "space", match.end()

    def statement(self) -> Node:
        """`$x := VALUE`, `$x = VALUE`, or a value to print."""
        if len(self.tokens) > 1 and self.tokens[0][0] == "variable" and self.tokens[1][1] in {":=", "="}:
            name, how = self.tokens[0][1], self.tokens[1][1]
            del self.tokens[:2]
            value = self.whole_pipeline()

            def assign(scope: Scope) -> str:
                holder = scope if how == ":=" else scope.holder(name)
                if holder is None:
                    raise SpecError(f"{name} is not defined")
                holder.variables[name] = value(scope)
                return ""

            return assign
        value = self.whole_pipeline()
        return lambda scope: printed(value(scope))

    def declaration(self) -> tuple[list[str], Value]:
        """`VALUE`, `$x := VALUE` or `$key, $x := VALUE`: the names, and the value."""
        words = [text for _, text, _ in self.tokens]
        names: list[str] = []
        if ":=" in words[:4]:
            end = words.index(":=")
            names = [text for kind, text, _ in self.tokens[:end] if kind == "variable"]
            if words[:end] not in (names, [names[0], ",", names[-1]] if names else []):
                raise _wrong(self.whole, "declares what is no variable")
            del self.tokens[: end + 1]
        return names, self.whole_pipeline()

    def whole_pipeline(self) -> Value:
        """All that is left."""
        value = self.pipeline()
        if self.tokens:
            raise _wrong(self.whole, f"has {self.tokens[0][1]!r} where nothing can stand")
        return value

    def pipeline(self) -> Value:
        """Commands with `|` between them: each is the last argument of the next."""
        value = self.command(None)
        while self.tokens and self.tokens[0][1] == "|":
            self.tokens.pop(0)
            value = self.command(value)
        return value

    def command(self, piped: Value | None) -> Value:
        """A function with its arguments, or one value."""
        if self.tokens and self.tokens[0][0] == "word" and self.tokens[0][1] not in {"true", "false", "nil"}:
            name = self.tokens.pop(0)[1]
            function = FUNCTIONS.get(name)
            if function is None:
                raise _wrong(self.whole, f"has {name!r}, which is no function", f"there are {', '.join(FUNCTIONS)}")
            arguments = []
            while self.tokens and self.tokens[0][1] not in {"|", ")"}:
                arguments.append(self.operand())
            if piped is not None:
                arguments.append(piped)
            return _call(name, function, arguments)
        if piped is not None:
            raise _wrong(self.whole, "gives something to what is no function")
        is_field = bool(self.tokens) and self.tokens[0][0] == "field"
        value = self.operand()
        arguments = []
        while is_field and self.tokens and self.tokens[0][1] not in {"|", ")"}:
            arguments.append(self.operand())
        if self.tokens and self.tokens[0][1] not in {"|", ")"}:
            raise _wrong(self.whole, f"has {self.tokens[0][1]!r} behind what is no function")
        return _method(self.whole, value, arguments) if arguments else value

    def operand(self) -> Value:
        """One value, with the fields asked of it."""
        if not self.tokens:
            raise _wrong(self.whole, "lacks a value")
        kind, text, _ = self.tokens.pop(0)
        value: Value
        if kind == "field":
            value = _field(lambda scope: scope.dot, text[1:])
        elif kind == "variable":
            value = _variable(text)
        elif text == "(":
            value = self.pipeline()
            if not self.tokens or self.tokens.pop(0)[1] != ")":
                raise _wrong(self.whole, "has ( without )")
        elif text == ".":
            value = lambda scope: scope.dot  # noqa: E731
        else:
            constant = self.constant(kind, text)
            value = lambda _: constant  # noqa: E731
        while self.tokens and self.tokens[0][0] == "field" and not self.tokens[0][2]:
            value = _field(value, self.tokens.pop(0)[1][1:])
        return value

    def constant(self, kind: str, text: str) -> Any:
        """A string, a number, true, false or nil."""
        if kind == "string":
            return re.sub(r"\\(.)", lambda match: ESCAPES.get(match[1], match[0]), text[1:-1])
        if kind == "raw":
            return text[1:-1]
        if kind == "number":
            if len(text) > MOST_DIGITS:
                raise _wrong(self.whole, f"has a number of more than {MOST_DIGITS} digits")
            return float(text) if "." in text else int(text)
        if text in {"true", "false", "nil"}:
            return {"true": True, "false": False, "nil": None}[text]
        if kind == "word":
            if text in FUNCTIONS:
                return FUNCTIONS[text]()
            raise _wrong(self.whole, f"has {text!r}, which is no function", f"there are {', '.join(FUNCTIONS)}")
        raise _wrong(self.whole, f"has {text!r} where a value should be")


def _joined(nodes: list[Node]) -> Node:
    def run(scope: Scope) -> str:
        parts: list[str] = []
        for node in nodes:
            try:
                parts.append(node(scope))
            except _End as end:
                raise _End("".join(parts) + end.text, last=end.last) from None
        return "".join(parts)

    return run


def _loop(names: list[str], value: Value, body: Node, other: Node) -> Node:
    def run(scope: Scope) -> str:
        found = value(scope)
        if not is_true(found):
            return other(Scope(scope.dot, scope))
        if isinstance(found, dict):
            pairs: list[tuple[Any, Any]] = sorted(found.items())
        elif isinstance(found, (list, tuple)):
            pairs = list(enumerate(found))
        elif isinstance(found, int) and not isinstance(found, bool) and found <= MOST_TURNS:
            pairs = [(number, number) for number in range(found)]
        else:
            raise SpecError(f"range cannot go through {found!r}")
        parts: list[str] = []
        for key, item in pairs:
            inner = Scope(item, scope)
            if names:
                inner.variables[names[-1]] = item
            if len(names) == 2:
                inner.variables[names[0]] = key
            try:
                parts.append(body(inner))
            except _End as end:
                parts.append(end.text)
                if end.last:
                    break
        return "".join(parts)

    return run


def _call(name: str, function: Callable[..., Any], arguments: list[Value]) -> Value:
    def run(scope: Scope) -> Any:
        if name in {"and", "or"}:  # which do not look at what does not matter
            found = None
            for argument in arguments:
                found = argument(scope)
                if is_true(found) == (name == "or"):
                    return found
            return found
        try:
            given = (argument(scope) for argument in arguments)
            return function(*(None if value is NOTHING else value for value in given))
        except (TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
            raise SpecError(f"{name} cannot work with what it is given: {error}") from None

    return run


def _method(whole: str, method: Value, arguments: list[Value]) -> Value:
    """A field that is a function of the data's own, with what stands behind it."""

    def run(scope: Scope) -> Any:
        function = method(scope)
        if not callable(function):
            raise _wrong(whole, "has something behind what is no function")
        return _call("a method", function, arguments)(scope)

    return run


def _field(value: Value, name: str) -> Value:
    return lambda scope: member(value(scope), name)


def _variable(name: str) -> Value:
    def get(scope: Scope) -> Any:
        holder = scope.holder(name)
        if holder is None:
            raise SpecError(f"{name} is not defined")
        return holder.variables[name]

    return get


def _wrong(template: str, what: str, hint: str = "") -> SpecError:
    return SpecError(f"the template {template!r:.200} {what}", hint=hint or "such as '{{.ID}} {{json .}}'")
