"""Removing containers that have ended and that nobody misses, as far as they are meant by `--filter`."""

from __future__ import annotations

from cloche.engine import containers, making
from cloche.engine.events import emit
from cloche.engine.removing import remove
from cloche.engine.sizes import written
from cloche.errors import ConflictError, NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.engine.containers import Container

    Test = Callable[[Container], bool]

OF_PRUNING = ("until", "label", "label!")
ENDED = {"created", "exited", "dead"}


def make_test(filters: list[tuple[str, str]], moment: Callable[[str], int]) -> Test:
    """Whether a container is meant by KEY and VALUE each; `moment` makes nanoseconds since 1970 of a time.

    Raises SpecError, as that does.
    """
    tests = [_test(key, value, moment) for key, value in filters]
    return lambda container: all(test(container) for test in tests)


def _test(key: str, value: str, moment: Callable[[str], int]) -> Test:
    if key == "until":
        limit = moment(value)
        return lambda container: moment(str(container.known["created"])) <= limit
    name, equals, content = value.partition("=")

    def has(container: Container) -> bool:
        labels = container.known["labels"]
        return name in labels and (not equals or bool(labels[name] == content))

    return has if key == "label" else lambda container: not has(container)


def prune(test: Test) -> tuple[list[str], int]:
    """Remove the containers that are meant and do not run; returns their ids, and the bytes they had written.

    One that is started or removed by somebody else meanwhile is left to them.
    """
    gone: list[str] = []
    freed = 0
    making.sweep()
    for container in containers.every(everything=True):
        if not container.kept or containers.settled(container).status not in ENDED or not test(container):
            continue
        size = written(container)
        try:
            remove(container, force=False, volumes=False)
        except (ConflictError, NotFoundError):
            continue
        gone.append(container.id)
        freed += size
    emit("container", "prune", "", {"reclaimed": str(freed)})
    return gone, freed
