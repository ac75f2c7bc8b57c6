"""`Document`: a JSON object as a class whose annotations are its schema.

    class Rlimit(Document):
        type: RlimitType            # no default: required
        soft: u64
        comment: str | None = None  # a default: optional; JSON null is as good as absent

    Rlimit.parse({"type": "RLIMIT_CORE", "soft": 0})       # checks, raises SpecError
    Rlimit(type="RLIMIT_CORE", soft=0)                     # checked by mypy, not at run time
    Rlimit.parse(...).to_dict()                            # back to JSON's types

This lies on the way of every container start, so it imports nothing: annotations stay the strings
that `from __future__ import annotations` leaves, and a class's readers are derived from them (see
`shape`) the first time one of it is parsed.

Members without defaults whose class needs nothing itself (`user: User`) come out empty when absent.
A member whose JSON name is a Python keyword has a trailing underscore (`class_`).
"""

from __future__ import annotations

import sys

from cloche.errors import SpecError
from cloche.spec.shape import Wrong, kind, reader_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self, TypeAlias, dataclass_transform

    from cloche.spec.shape import Reader

    # readers by JSON name, required names, names with a trailing underscore in Python
    Shape: TypeAlias = tuple[dict[str, Reader], tuple[str, ...], tuple[str, ...]]
else:

    def dataclass_transform(**_):
        """typing.dataclass_transform without typing: only type checkers look at it."""
        return lambda cls: cls


@dataclass_transform(kw_only_default=True)
class Document:
    """A JSON object with known members; subclasses declare them as annotations."""

    def __init__(self, **members: object) -> None:
        known = type(self).__annotations__
        for name in members:
            if name not in known:
                raise TypeError(f"{type(self).__name__} has no member {name!r}")
        vars(self).update(members)

    @classmethod
    def parse(cls, raw: object, pointer: str = "") -> Self:
        """The document in `raw`, which is what a JSON reader returned.

        `pointer` is where `raw` itself lies, if it is part of something. Members nobody knows are
        left out. Raises SpecError at the first value that does not fit.
        """
        try:
            return cls.read(raw)
        except Wrong as wrong:
            raise SpecError(str(wrong), pointer=pointer + wrong.pointer()) from None

    @classmethod
    def read(cls, raw: object) -> Self:
        """`parse` for use inside other readers: raises Wrong instead."""
        if type(raw) is not dict:
            raise Wrong(f"must be an object, not {kind(raw)}")
        readers, required, renamed = _SHAPES.get(cls) or _derive(cls)
        document = cls.__new__(cls)
        own = vars(document)
        name = ""
        try:
            for name, value in raw.items():
                if value is not None and name in readers:
                    own[name] = readers[name](value)
            for name in required:
                if name not in own:
                    own[name] = _when_absent(readers[name])
        except Wrong as wrong:
            wrong.path.append(name)
            raise
        for name in renamed:
            if name in own:
                own[name + "_"] = own.pop(name)
        return document

    def to_dict(self) -> dict[str, object]:
        """The JSON object: what was set and is not None, in the order it was set."""
        return {name.rstrip("_"): plain(value) for name, value in vars(self).items() if value is not None}

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name, None) == getattr(other, name, None) for name in self.__annotations__)

    __hash__ = None  # type: ignore[assignment]  # it can be changed

    def __repr__(self) -> str:
        members = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({members})"


def plain(value: object) -> object:
    """`value` with every Document in it as a dict, sharing no list or dict with it."""
    if isinstance(value, Document):
        return value.to_dict()
    if type(value) is list:
        return [plain(item) for item in value]
    if type(value) is dict:
        return {key: plain(item) for key, item in value.items()}
    return value


_SHAPES: dict[type[Document], Shape] = {}


def _derive(cls: type[Document]) -> Shape:
    """Read the annotations of `cls`: a reader by JSON name, the required names, the renamed ones."""
    names = vars(sys.modules[cls.__module__])
    defaults = vars(cls)
    readers, required, renamed = {}, [], []
    for attribute, annotation in cls.__annotations__.items():
        name = attribute.rstrip("_")
        readers[name] = reader_for(annotation.removesuffix(" | None"), names)
        if attribute not in defaults:
            required.append(name)
        if name != attribute:
            renamed.append(name)
    shape = _SHAPES[cls] = readers, tuple(required), tuple(renamed)
    return shape


def _when_absent(reader: Reader) -> object:
    """The value of a required member that is not there: an empty document, where that is allowed."""
    owner = getattr(reader, "__self__", None)
    if owner is None or (_SHAPES.get(owner) or _derive(owner))[1]:
        raise Wrong("is required")
    return reader({})
