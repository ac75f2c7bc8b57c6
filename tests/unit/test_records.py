"""@record: what a frozen dataclass would be, without its price."""

from __future__ import annotations

import pytest

from cloche.records import record, values


@record
class Point:
    """Two fields, one with a default."""

    x: int
    y: int = 2


@record
class Named(Point):
    """A third field, after those of its base."""

    name: str = "n"


class Plain:
    """Fields that a record may inherit."""

    side = "left"


@record
class Sided(Plain):
    """A class attribute of the base is no field."""

    size: int


def test_fields_by_place_by_name_and_by_default() -> None:
    assert (Point(1).x, Point(1).y) == (1, 2)
    assert (Point(1, 3).y, Point(y=4, x=0).y, Point(x=5).x) == (3, 4, 5)


def test_fields_of_a_base_come_first() -> None:
    assert values(Named(1, 2, "a")) == (1, 2, "a")
    assert values(Named(1)) == (1, 2, "n")


def test_a_class_attribute_without_an_annotation_is_no_field() -> None:
    assert values(Sided(1)) == (1,)
    assert Sided(1).side == "left"


def test_equal_when_of_one_kind_and_with_equal_fields() -> None:
    assert Point(1) == Point(1, 2)
    assert Point(1) != Point(2)
    assert Point(1, 2) != Named(1, 2)
    assert Point(1).__eq__((1, 2)) is False


def test_it_shows_what_it_holds() -> None:
    assert repr(Named(1)) == "Named(x=1, y=2, name='n')"


def test_it_cannot_be_a_key_as_it_may_hold_lists() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(Point(1))


@pytest.mark.parametrize(
    ("args", "named"), [((), {}), ((1, 2, 3), {}), ((1,), {"z": 1}), ((), {"y": 1}), ((1, 2), {"z": 3})]
)
def test_fields_that_are_missing_or_unknown_are_refused(args: tuple[int, ...], named: dict[str, int]) -> None:
    with pytest.raises(TypeError, match="Point"):
        Point(*args, **named)


def test_instances_do_not_share_their_fields() -> None:
    one, other = Point(1), Point(2)
    assert (one.x, other.x) == (1, 2)
    assert vars(one) is not vars(other)
