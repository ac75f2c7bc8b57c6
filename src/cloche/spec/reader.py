"""JSON text to plain objects and back, stricter than `json` and without importing it.

`json` costs 8 ms for `re` and `enum`; its C scanner alone, `_json`, costs 0.1. So texts go through
that scanner first. Only when it refuses is `json` imported, to say where and why. Beyond the grammar
(RFC 8259) we refuse what two readers could understand differently: duplicate keys, NaN, Infinity and
numbers too large for their type, a byte order mark, any encoding but UTF-8, more than 200 levels.
"""

from __future__ import annotations

from cloche.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import NoReturn

MAX_DEPTH = 200
_SPACE = " \t\n\r"
_CONTAINERS = (dict, list)


class _Refused(Exception):
    """A text that is JSON, but not for us."""


def read_json(text: bytes | str) -> object:
    """The value of a JSON text; raises SpecError that says in which line and column it is wrong."""
    if not isinstance(text, str):
        text = _decode(text)
    if text.startswith("\ufeff"):
        raise _error("begins with a byte order mark", text, 0)
    body = text.strip(_SPACE)
    try:
        value, end = _scan(body, 0)
        if end != len(body):
            raise ValueError
        _check_depth(value, body)
    except (ValueError, StopIteration, RecursionError, SystemError, _Refused):
        # SystemError: where json.decoder is not loaded, the C scanner finds no exception to raise
        raise _explain(text) from None
    return value


def read_own_json(text: bytes) -> object:
    """The same of what `write_json` has written, three times as fast: it has no key twice and no odd number."""
    decoded = _decode(text)
    try:
        value, end = _scan_own(decoded, 0)
    except (ValueError, StopIteration, RecursionError, SystemError, _Refused):
        end = -1  # it is not what was written, or only a part of that
    return value if end >= 0 and not decoded[end:].strip(_SPACE) else read_json(decoded)


def write_json(value: object) -> str:
    """`value` as one line of ASCII JSON; raises TypeError or ValueError for what JSON cannot say."""
    return "".join(_encode(value, 0))


def _decode(data: bytes) -> str:
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode()
        raise _error("is not UTF-8", before, len(before)) from None


def _check_depth(value: object, text: str) -> None:
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return  # counts those in strings too, but most documents end here
    level, depth = _containers((value,)), 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise _Refused
        level = [child for node in level for child in _containers(node.values() if isinstance(node, dict) else node)]


def _containers(nodes: Iterable[object]) -> list[dict[str, object] | list[object]]:
    return [node for node in nodes if isinstance(node, _CONTAINERS)]


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _Refused
    return result


def _refuse(_constant: str) -> NoReturn:
    raise _Refused


def _finite(digits: str) -> float:
    value = float(digits)
    if value - value != 0:
        raise _Refused
    return value


class _Context:
    """What the C scanner asks of a json.JSONDecoder."""

    def __init__(self, pairs_hook: Callable[[list[tuple[str, object]]], object] | None) -> None:
        self.strict = True
        self.object_hook = self.array_hook = None
        self.object_pairs_hook = pairs_hook
        self.parse_float = _finite
        self.parse_int = int
        self.parse_constant = _refuse
        self.memo: dict[str, str] = {}


def _make_scanner(
    pairs_hook: Callable[[list[tuple[str, object]]], object] | None,
) -> Callable[[str, int], tuple[object, int]]:
    context = _Context(pairs_hook)
    try:
        from _json import make_scanner

        return make_scanner(context)  # type: ignore[arg-type]  # typeshed wants a scanner
    except (ImportError, AttributeError, TypeError):  # no CPython, or one that changed it
        import json

        return json.JSONDecoder(
            object_pairs_hook=pairs_hook, parse_float=_finite, parse_constant=context.parse_constant
        ).raw_decode


def _make_encoder() -> Callable[[object, int], Iterable[str]]:
    try:
        from _json import encode_basestring_ascii, make_encoder

        # markers, default, encoder, indent, key and item separators, sort_keys, skipkeys, allow_nan
        encode = make_encoder(None, _no_json, encode_basestring_ascii, None, ":", ",", False, False, False)
        encode([""], 0)
        return encode
    except (ImportError, TypeError):
        import json

        encoder = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
        return lambda value, _indent: encoder.iterencode(value)


def _no_json(value: object) -> NoReturn:
    raise TypeError(f"{type(value).__name__} is nothing that JSON can say")


_scan, _scan_own = _make_scanner(_unique), _make_scanner(None)
_encode = _make_encoder()


# What follows only runs for texts that are refused.


def _error(reason: str, text: str, position: int) -> SpecError:
    line = text.count("\n", 0, position) + 1
    column = position - text.rfind("\n", 0, position)
    return SpecError(f"the JSON text {reason} (line {line} column {column})")


def _explain(text: str) -> SpecError:
    """Find out why a text was refused: with `json` for the grammar, by its tokens for the rest."""
    import json

    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        reason = error.msg[:1].lower() + error.msg[1:].removesuffix(" at")
        return _error(f"is wrong: {reason}", text, error.pos)
    except (ValueError, RecursionError):
        pass  # more digits or levels than Python takes: found below
    try:
        return _explain_tokens(text)
    except (ValueError, RecursionError, IndexError):  # the caller's own stack was nearly used up
        return _error("has too many levels to read here", text, 0)


def _explain_tokens(text: str) -> SpecError:
    """Walk the tokens of a text whose grammar is right to the first one that is refused."""
    import json
    import re

    token_pattern = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},:]|[^\s\[\]{},:"]+', re.DOTALL)
    open_: list[set[str] | None] = []  # the keys so far of every open object, None for an array
    previous = ""
    for match in token_pattern.finditer(text):
        token, position = match[0], match.start()
        if token in "[{":
            open_.append(set() if token == "{" else None)
            if len(open_) > MAX_DEPTH:
                return _error(f"has more than {MAX_DEPTH} levels", text, position)
        elif token in "]}":
            open_.pop()
        elif token[0] == '"':
            keys = open_[-1] if open_ and previous in "{," else None
            if keys is not None:
                key = json.loads(token)
                if key in keys:
                    return _error(f"has the key {token} twice in one object", text, position)
                keys.add(key)
        elif token in ("NaN", "Infinity", "-Infinity"):
            return _error(f"contains {token}, which is not JSON", text, position)
        elif token[0] in "-0123456789" and _too_large(token):
            return _error("contains a number that is too large", text, position)
        previous = token
    return _error("has too many levels to read here", text, 0)


def _too_large(number: str) -> bool:
    try:
        (int if number.lstrip("-").isdigit() else _finite)(number)
    except (ValueError, _Refused):
        return True
    return False
