"""Which containers are meant by `--filter` (docker ps, "Filtering"): values of one key are alternatives, keys add up.

id=, name=        a regular expression that is found in it        label=KEY[=VALUE]     all of them
status=, health=  exited=CODE                                     before=, since=       a container
ancestor=IMAGE    volume=NAME|PATH   network=NAME                 publish=, expose=     80, 80/udp, 8000-8010
"""

from __future__ import annotations

from cloche.engine import containers
from cloche.errors import BAD_OPTION, ClocheError, SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cloche.engine.containers import Container

    Test = Callable[[Container], bool]
    Filters = dict[str, list[str]]

KEYS = (
    "ancestor before exited expose health id is-task isolation label name network publish since status volume"
).split()
STATUSES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")
HEALTHS = ("none", "starting", "healthy", "unhealthy")
TRUE, FALSE = {"1", "true"}, {"0", "false"}
MOST_PORTS = 65536


def parse_filters(texts: list[str]) -> Filters:
    """Values by key. Raises SpecError for what is no filter, with docker's sentences."""
    found: Filters = {}
    for text in filter(None, texts):
        key, equals, value = text.partition("=")
        key = key.strip().lower()
        if not equals:
            why = f"bad format of filter (expected name=value): {text!r}"
            raise SpecError(why, hint=f"names: {', '.join(KEYS)}", code=BAD_OPTION)
        if key not in KEYS:
            raise SpecError(f"Invalid filter '{key}'", hint=f"there are {', '.join(KEYS)}")
        found.setdefault(key, []).append(value.strip())
    _check(found)
    return found


def chosen(filters: Filters, *, everything: bool = False) -> list[Container]:
    """The containers that are meant, as they truly are, those made last first: of those that run, or of all.

    Raises NotFoundError for one that a filter names and that is not there.
    """
    everything = everything or means_all(filters)
    found = [containers.settled(container) for container in containers.every(everything)]
    if not everything:
        found = [container for container in found if container.status in containers.ALIVE]
    if filters:
        test = make_test(filters, containers.find, _images)
        found = [container for container in found if test(container)]
    return found


def _images(text: str) -> set[str]:
    """The IDs of what `ancestor=` names."""
    from cloche.images import local
    from cloche.images.store.layout import Layout, store_dir

    layout = Layout(store_dir())
    try:
        return {local.id_of(layout, local.find_entry(layout, text))}
    except ClocheError:
        return {text}  # an image that is gone has containers all the same


def means_all(filters: Filters) -> bool:
    """Whether containers that do not run are meant too, without being asked for."""
    return "status" in filters


def make_test(filters: Filters, find: Callable[[str], Container], images: Callable[[str], set[str]]) -> Test:
    """Whether a container is meant; `find` finds one, `images` the IDs of images of a name. Raises NotFoundError."""
    tests: list[Test] = []
    for key, values in filters.items():
        if key in {"before", "since"}:
            tests += [_beside(key, str(find(value).known["created"])) for value in values]
        elif key == "label":
            tests += [_labelled(*value.partition("=")) for value in values]
        elif key == "ancestor":
            tests.append(_made_of(set(values), {image for value in values for image in images(value)}))
        else:
            tests.append(_TESTS[key](values))
    return lambda container: all(test(container) for test in tests)


def _check(filters: Filters) -> None:
    for key, known in (("status", STATUSES), ("health", HEALTHS)):
        for value in filters.get(key, ()):
            if value not in known:
                raise SpecError(f"Invalid filter '{key}={value}'", hint=f"one of {', '.join(known)}")
    for value in filters.get("exited", ()):
        if not (value.isascii() and value.removeprefix("-").isdecimal()):
            raise SpecError(f"Invalid filter 'exited={value}'", hint="an exit code")
    for value in filters.get("is-task", ()):
        if value.lower() not in TRUE | FALSE:
            raise SpecError(f"Invalid filter 'is-task={value}'", hint="true or false")
    for key in ("publish", "expose"):
        for value in filters.get(key, ()):
            _ports(key, value)


def _ports(key: str, text: str) -> set[str]:
    """80, 80/udp or 80-90 as {"80/tcp", …}. Raises SpecError."""
    found = ports_of(text)
    if not found:
        raise SpecError(f"Invalid filter '{key}={text}'", hint="such as 80, 53/udp or 8000-8010")
    return found


def ports_of(text: str) -> set[str]:
    """The same; empty for what is no port."""
    numbers, _, protocol = text.partition("/")
    first, dash, last = numbers.partition("-")
    last = last if dash else first
    for word in (first, last):
        if not (word.isascii() and word.isdecimal() and len(word) <= 5 and int(word) < MOST_PORTS):
            return set()
    return {f"{number}/{protocol or 'tcp'}" for number in range(int(first), int(last) + 1)}


def _beside(key: str, created: str) -> Test:
    if key == "before":
        return lambda container: str(container.known["created"]) < created
    return lambda container: str(container.known["created"]) > created


def _labelled(name: str, equals: str, value: str) -> Test:
    def test(container: Container) -> bool:
        labels: dict[str, Any] = container.known["labels"]
        return name in labels and (not equals or labels[name] == value)

    return test


def _made_of(names: set[str], ids: set[str]) -> Test:
    return lambda container: container.known["image_id"] in ids or container.known["image"] in names


def _matching(of: Callable[[Container], tuple[str, ...]]) -> Callable[[list[str]], Test]:
    """One of these words is in one of the texts `of` a container, as a regular expression."""

    def make(values: list[str]) -> Test:
        import re

        patterns = []
        for value in values:
            try:
                patterns.append(re.compile(value))
            except re.error:
                patterns.append(re.compile(re.escape(value)))  # docker finds nothing; that is no name either
        return lambda container: any(pattern.search(text) for pattern in patterns for text in of(container))

    return make


def _one_of(of: Callable[[Container], set[str]]) -> Callable[[list[str]], Test]:
    return lambda values: lambda container: not of(container).isdisjoint(values)


def _volumes(container: Container) -> set[str]:
    names = {str(mount.get("Name") or mount.get("Source", "")) for mount in container.mounts}
    return names | {str(mount.get("Destination", "")) for mount in container.mounts}


def _exit_codes(container: Container) -> set[str]:
    ended = container.status == "exited" and container.state["exit_code"] is not None
    return {str(container.state["exit_code"])} if ended else set()


def _exposing(values: list[str]) -> Test:
    wanted = {port for value in values for port in _ports("expose", value)}
    return lambda container: any(not wanted.isdisjoint(ports_of(str(text))) for text in container.known["exposed"])


def networks_of(container: Container) -> list[str]:
    """The networks a container is in, by docker's names; one that shares another's is in none of its own."""
    network = str(container.known["options"].get("network", "none"))
    return [] if ":" in network else [network]


_TESTS: dict[str, Callable[[list[str]], Test]] = {
    "id": _matching(lambda container: (container.id,)),
    "name": _matching(lambda container: (container.name, f"/{container.name}")),
    "status": _one_of(lambda container: {container.status}),
    "health": _one_of(lambda container: {str((container.state["health"] or {}).get("status") or "none")}),
    "exited": _one_of(_exit_codes),
    "volume": _one_of(_volumes),
    "network": _one_of(lambda container: set(networks_of(container))),
    "publish": lambda _: lambda _container: False,  # there are no networks to publish from
    "expose": _exposing,
    "is-task": lambda values: lambda _container: values[-1].lower() in FALSE,
    "isolation": lambda _: lambda _container: True,  # Windows' matter, and docker's as well does not look here
}
