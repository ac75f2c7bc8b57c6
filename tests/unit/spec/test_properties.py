"""Any JSON at all, and any change to a good config, is accepted or refused by a SpecError that points."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.errors import SpecError
from cloche.spec.config import Config
from cloche.spec.document import Document
from cloche.spec.reader import read_json, write_json
from cloche.spec.validate import validate

from .examples import DELETE, change, full, pointers, resolve, tokens

EDGES = [-(1 << 63) - 1, -2, -1, 0, 1, 4095, 65536, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, 1 << 64, 10**40]
WORDS = ["", "/", "a", "/a", "..", "a\0", "\ud800", "\udc80", "0-3", "1.0.0", "c", "pid", "SCMP_ACT_NOTIFY", "net.a.b"]
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(EDGES)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(WORDS)
    | st.text()
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=12,
)
places = st.sampled_from(pointers(full()))
parts = st.sampled_from([resolve(full(), pointer) for pointer in pointers(full())])
changes = st.tuples(places, st.just(DELETE) | scalars | anything | parts)


def points_into(document: Any, pointer: str) -> bool:
    """Whether a pointer leads to something, or to a place in something that is there."""
    way = tokens(pointer)
    for length in (len(way), len(way) - 1):
        value = document
        try:
            for token in way[: max(length, 0)]:
                value = value[int(token) if isinstance(value, list) else token]
        except (LookupError, TypeError, ValueError):
            continue
        return True
    return False


def check(document: Any) -> None:
    error = None
    try:
        config = Config.parse(document)
        warnings = validate(config)
    except SpecError as refusal:
        error = refusal
    if error is not None:
        assert points_into(document, error.pointer), error.pointer
        assert str(error).startswith(error.pointer)
        assert "\n" not in str(error)
        return
    for warning in warnings:
        assert points_into(document, warning.split(": ")[0]), warning
    plain = config.to_dict()
    assert Config.parse(plain) == config
    assert Config.parse(plain).to_dict() == plain
    assert read_json(write_json(plain)) == plain


@given(anything)
def test_any_json(document: Any) -> None:
    check(document)


@settings(max_examples=600)
@given(st.lists(changes, min_size=1, max_size=3))
def test_any_change_to_a_good_config(changed: list[tuple[str, Any]]) -> None:
    document: Any = full()
    for pointer, value in changed:
        try:
            document = change(document, pointer, value)
        except (LookupError, TypeError, ValueError):
            continue  # an earlier change took the place away
        if document is DELETE:
            return
    check(document)


@settings(max_examples=300)
@given(st.sampled_from(Document.__subclasses__()), anything | parts)
def test_any_document_on_its_own(cls: type[Document], value: Any) -> None:
    error = None
    try:
        document = cls.parse(value, "/here")
    except SpecError as refusal:
        error = refusal
    if error is not None:
        assert error.pointer.startswith("/here")
        assert points_into({"here": value}, error.pointer)
    else:
        assert cls.parse(document.to_dict()) == document
