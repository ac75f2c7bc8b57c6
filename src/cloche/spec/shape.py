"""From an annotation, as text, to a reader: a function that returns a JSON value or raises Wrong.

    type  := member [" | None"]
    member:= "str" | "bool" | "Json" | "u16" … "i64" | "list[" member "]" | "dict[str, " member "]"
           | "Literal[" 'value', … "]" | the name of a Document class, or of a string holding a member

The integer names exist for type checkers only (there they are `int`); at run time they are looked up
here by name. A value set is written once, for mypy and for us, as the text of a Literal:
`Domain: TypeAlias = "Literal['LINUX', 'LINUX32']"`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    u16: TypeAlias = int
    u32: TypeAlias = int
    u64: TypeAlias = int
    i32: TypeAlias = int
    i64: TypeAlias = int
    Json: TypeAlias = object
    Reader: TypeAlias = Callable[[object], object]

INT_RANGES = {
    "u16": (0, (1 << 16) - 1),
    "u32": (0, (1 << 32) - 1),
    "u64": (0, (1 << 64) - 1),
    "i32": (-(1 << 31), (1 << 31) - 1),
    "i64": (-(1 << 63), (1 << 63) - 1),
}
_KINDS = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    float: "a fraction",
    int: "a number",
    type(None): "null",
}


class Wrong(Exception):
    """A value that does not fit, on its way up to `parse`, gathering the path as it passes."""

    def __init__(self, message: str, *path: str) -> None:
        super().__init__(message)
        self.path = list(path)  # innermost first

    def pointer(self) -> str:
        """The way to the value as an RFC 6901 pointer."""
        return "".join("/" + escape(token) for token in reversed(self.path))


def escape(token: str) -> str:
    """One step of a JSON pointer (RFC 6901, section 3)."""
    return token.replace("~", "~0").replace("/", "~1")


def values(alias: object) -> tuple[str, ...]:
    """The members of a value set such as `SeccompAction`, in the order they were written."""
    return tuple(str(alias).replace("'", '"').split('"')[1::2])


def kind(value: object) -> str:
    """What to call a JSON value in a message."""
    return _KINDS.get(type(value), type(value).__name__)


def shown(value: object) -> str:
    """A value for a message, cut to a length that can be read."""
    if type(value) is int and value.bit_length() > 128:
        return "a far larger number"  # Python itself refuses to print some
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


_READERS: dict[str, Reader] = {}  # of the annotations that mean the same in every module


def reader_for(annotation: str, names: dict[str, object]) -> Reader:
    """The reader for an annotation found in a module whose globals are `names`."""
    found = _READERS.get(annotation)
    if found is not None:
        return found
    if annotation.startswith("list["):
        return _list_reader(reader_for(annotation[5:-1], names))
    if annotation.startswith("dict[str, "):
        return _dict_reader(reader_for(annotation[10:-1], names))
    if annotation.startswith("Literal["):
        return _set_reader(values(annotation))
    named = names.get(annotation)
    if isinstance(named, str):
        return reader_for(named.strip(), names)
    if isinstance(named, type) and hasattr(named, "read"):
        return named.read  # type: ignore[no-any-return]  # a Document, which this room lies beneath
    raise TypeError(f"{names.get('__name__')}: no reader for the annotation {annotation!r}")


def _string(value: object) -> str:
    if type(value) is not str:
        raise Wrong(f"must be a string, not {kind(value)}")
    if "\0" in value:
        raise Wrong("contains a NUL character, which nothing in the kernel can take")
    if not value.isascii():
        _check_encodable(value)
    return value


def _check_encodable(text: str) -> None:
    # JSON can spell half a surrogate pair. U+DC80…DCFF are how Python writes file names that are not
    # UTF-8 and go back to their bytes; the others cannot be handed to the kernel at all.
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise Wrong("contains half a surrogate pair, which is no character") from None


def _strings(value: object) -> list[str]:
    """list[str], by far the most common: one join looks at every item at the speed of C."""
    if type(value) is list:
        try:
            text = "\0".join(value)
        except TypeError:
            text = ""
        if len(value) == text.count("\0") + 1 and text.isascii() and (text or value == [""]):
            return value.copy()
    return _slow_strings(value)  # type: ignore[return-value]


def _anything(value: object) -> object:
    return value


def _boolean(value: object) -> bool:
    if type(value) is not bool:
        raise Wrong(f"must be true or false, not {kind(value)}")
    return value


def _int_reader(low: int, high: int) -> Reader:
    def read(value: object) -> int:
        if type(value) is not int:
            raise Wrong(f"must be a whole number, not {kind(value)}")
        if not low <= value <= high:
            raise Wrong(f"must be from {low} to {high}, not {shown(value)}")
        return value

    return read


def _set_reader(allowed: tuple[str, ...]) -> Reader:
    members = frozenset(allowed)

    def read(value: object) -> object:
        if type(value) is not str:
            raise Wrong(f"must be a string, not {kind(value)}")
        if value not in members:
            raise Wrong(f"must be one of {', '.join(filter(None, allowed))}, not {shown(value)}")
        return value

    return read


def _list_reader(item: Reader) -> Reader:
    def read(value: object) -> object:
        if type(value) is not list:
            raise Wrong(f"must be an array, not {kind(value)}")
        result: list[object] = []
        try:
            for raw in value:
                result.append(item(raw))
        except Wrong as wrong:
            wrong.path.append(str(len(result)))
            raise
        return result

    return read


def _dict_reader(item: Reader) -> Reader:
    def read(value: object) -> object:
        if type(value) is not dict:
            raise Wrong(f"must be an object, not {kind(value)}")
        result: dict[str, object] = {}
        key = ""
        try:
            for key, raw in value.items():
                result[_string(key)] = item(raw)
        except Wrong as wrong:
            wrong.path.append(str(key))
            raise
        return result

    return read


_slow_strings = _list_reader(_string)
_READERS |= {"str": _string, "bool": _boolean, "Json": _anything, "list[str]": _strings}
_READERS |= {name: _int_reader(low, high) for name, (low, high) in INT_RANGES.items()}
