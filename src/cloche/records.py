"""`@record`: small immutable-by-convention classes with named fields, as a dataclass would make them.

The type checker sees a frozen dataclass. At run time there is no import of `dataclasses` (16 ms) and
no generated source: one shared constructor fills the instance. For what flows through the hot path
(operations, plans, receipts); elsewhere a dataclass is as good.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar, dataclass_transform

    T = TypeVar("T")

    @dataclass_transform(frozen_default=True)
    def record(cls: type[T]) -> type[T]:
        """Make `cls` a record of its annotated fields."""

else:

    def record(cls):
        """Make `cls` a record of its annotated fields; those of its base, if that is a record, come first."""
        own, base = cls.__dict__, cls.__base__
        names = list(getattr(base, "record_fields", ()))
        names += [name for name in own.get("__annotations__", ()) if name not in names]
        defaults = {**getattr(base, "record_defaults", {}), **{name: own[name] for name in names if name in own}}
        cls.record_fields, cls.record_defaults = tuple(names), defaults
        if cls.__init__ is not _init:  # a special method given to a class costs half of what making the class does
            cls.__init__, cls.__eq__, cls.__repr__, cls.__hash__ = _init, _eq, _repr, None
        return cls


def _init(self: Any, *args: Any, **named: Any) -> None:
    fields = self.record_fields
    values = self.__dict__
    values.update(self.record_defaults, **named)
    if args:
        values.update(zip(fields, args, strict=False))
    known = not named or named.keys() <= set(fields[len(args) :])
    if known and len(values) == len(fields) and len(args) <= len(fields):
        return
    unknown = [name for name in values if name not in fields]
    missing = [name for name in fields if name not in values]
    raise TypeError(f"{type(self).__name__}({', '.join(fields)}): unknown {unknown}, missing {missing}")


def _eq(self: Any, other: object) -> bool:
    return type(self) is type(other) and bool(self.__dict__ == other.__dict__)


def _repr(self: Any) -> str:
    return f"{type(self).__name__}({', '.join(f'{n}={getattr(self, n)!r}' for n in self.record_fields)})"


def values(item: Any) -> tuple[Any, ...]:
    """The field values of a record, in order, for sending it elsewhere."""
    found = item.__dict__
    return tuple([found[name] for name in item.record_fields])


def rebuild(cls: type[T], fields: tuple[Any, ...]) -> T:
    """The record whose `values` these are; checks nothing."""
    item = cls.__new__(cls)
    item.__dict__.update(zip(cls.record_fields, fields, strict=True))  # type: ignore[attr-defined]
    return item
