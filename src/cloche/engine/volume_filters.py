"""Which volumes `--filter` means (docker volume ls and prune, "Filtering")."""

from __future__ import annotations

import re

from cloche.engine import volumes
from cloche.engine.volume_uses import uses
from cloche.errors import SpecError
from cloche.images.filtering import parse_filters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.engine.volumes import Volume

    Test = Callable[[Volume], bool]

OF_LISTS = ("dangling", "driver", "label", "name")
OF_PRUNING = ("label", "label!", "all")
TRUE, FALSE = {"true", "1"}, {"false", "0"}


def make_test(texts: list[str]) -> Test:
    """Whether a volume is meant by the filters of `volume ls`: all labels, and one of each other kind."""
    pairs = parse_filters(texts, OF_LISTS)
    tests = [label_test(value) for key, value in pairs if key == "label"]
    if names := [_pattern(value) for key, value in pairs if key == "name"]:
        tests.append(lambda volume: any(name.search(volume.name) for name in names))
    if drivers := [value for key, value in pairs if key == "driver"]:
        tests.append(lambda _: volumes.DRIVER in drivers)
    wanted = {truth(key, value) for key, value in pairs if key == "dangling"}
    if wanted:
        used = uses()
        tests.append(lambda volume: (volume.name not in used) in wanted)
    return lambda volume: all(test(volume) for test in tests)


def make_prune_test(texts: list[str], *, everything: bool) -> Test:
    """Whether a volume is meant by those of `volume prune`; but for `everything`, those with a name are not."""
    pairs = parse_filters(texts, OF_PRUNING)
    for key, value in pairs:
        if key == "all":
            if everything:
                why = "conflicting options: cannot specify both --all and --filter all=1"
                raise SpecError(why, hint="leave one of them out")
            everything = truth(key, value)
    tests = [label_test(value) for key, value in pairs if key == "label"]
    banned = [label_test(value) for key, value in pairs if key == "label!"]
    return lambda volume: (
        (everything or volumes.ANONYMOUS in volume.labels)
        and all(test(volume) for test in tests)
        and not any(test(volume) for test in banned)
    )


def label_test(value: str) -> Test:
    """Whether a volume has the label KEY, or KEY=VALUE."""
    key, equals, content = value.partition("=")
    return lambda volume: key in volume.labels and (not equals or volume.labels[key] == content)


def truth(key: str, value: str) -> bool:
    """What a filter says that is true or false. Raises SpecError, in docker's words."""
    if value.lower() not in TRUE | FALSE:
        raise SpecError(f"invalid filter '{key}=[{value}]'", hint="true or false")
    return value.lower() in TRUE


def _pattern(value: str) -> re.Pattern[str]:
    """docker takes a part of a name for a regular expression, or, where it is none, for itself."""
    try:
        return re.compile(value)
    except re.error:
        return re.compile(re.escape(value))
