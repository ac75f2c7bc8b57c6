"""What happens to images is told as docker tells it: the same words, in docker and here, and what came of them."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.images.workshop import REGISTRY

if TYPE_CHECKING:
    from tests.images.forks import Forks
    from tests.images.workshop import Workshop

NAME = f"{REGISTRY}/told:1"
SCRIPT = f"""
ENGINE load -i box.tar
ENGINE tag localhost/box:1 {NAME}
ENGINE push {NAME}
ENGINE rmi {NAME}
ENGINE pull {NAME}
ENGINE save -o saved.tar {NAME} localhost/box:1
ENGINE import -c 'LABEL color=red' tree.tar told:2
ENGINE import tree.tar
ENGINE tag told:2 told:3
ENGINE rmi told:2
ENGINE rmi told:3
ENGINE image prune -f
"""
FILTERS = (
    "",
    "type=image",
    "type=container",
    "event=tag",
    "event=tag event=untag",
    "image=told:2",
    f"image={REGISTRY}/told",
    f"image={NAME} event=push",
    "label=color",
    "label=color=red event=delete",
    "label=color=blue",
    "type=image label=color=red",
    "scope=local event=prune",
    "daemon=none",
)


class Told:
    """What both have told of the same words, from the first of them to the last."""

    def __init__(self, workshop: Workshop) -> None:
        self.workshop, self.store = workshop, workshop.store()
        # engines keep what an image they have is called besides, so this one is what docker has begun with
        workshop.sh("mkdir -p tree/etc; echo a >tree/etc/a; tar -cf tree.tar -C tree .")
        self.since = {}
        self.until = {}
        for engine in ("docker", "cloche"):
            self.since[engine] = f"{time.time():.9f}"
            workshop.sh(SCRIPT.replace("ENGINE", engine), self.store)
            self.until[engine] = f"{time.time():.9f}"

    def raw(self, engine: str, filters: str = "", form: str = "json") -> str:
        words = "".join(f" --filter {item}" for item in filters.split())
        asked = f"{engine} events --since {self.since[engine]} --until {self.until[engine]} --format '{form}'{words}"
        return self.workshop.sh(asked, self.store)

    def events(self, engine: str, filters: str = "") -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.raw(engine, filters).splitlines()]


@pytest.fixture(scope="module")
def told(workshop: Workshop) -> Told:
    return Told(workshop)


def essence(events: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """What does not depend on when, and on how a layer was compressed: IDs by the order in which they come."""
    ids: dict[str, str] = {}
    found = []
    for event in events:
        attributes = dict(event["Actor"]["Attributes"])
        attributes.pop("reclaimed", None)
        words = [event["Actor"]["ID"], attributes.get("name", "")]
        names = [ids.setdefault(word, f"id {len(ids)}") if word.startswith("sha256:") else word for word in words]
        attributes["name"] = names[1]
        found.append((event["Type"], event["Action"], names[0], attributes))
    return found


def test_the_same_is_told(told: Told) -> None:
    assert essence(told.events("cloche")) == essence(told.events("docker"))


@pytest.mark.parametrize("filters", FILTERS)
def test_filters_mean_the_same(told: Told, filters: str) -> None:
    assert essence(told.events("cloche", filters)) == essence(told.events("docker", filters))


def test_the_form_is_the_same(told: Told) -> None:
    """Members, their order, and their types."""
    for ours, theirs in zip(told.events("cloche"), told.events("docker"), strict=True):
        assert list(ours) == list(theirs)
        assert [type(value) for value in ours.values()] == [type(value) for value in theirs.values()]
        assert ours["scope"] == theirs["scope"]
        assert ours["time"] == ours["timeNano"] // 10**9


@pytest.mark.parametrize(
    "form",
    [
        "{{.Type}} {{.Action}} {{.Status}} {{.Scope}} {{.From}}",
        "{{.Actor.Attributes.color}} {{if .Actor.Attributes.color}}yes{{else}}no{{end}}",
        '{{.Action}}\\t{{index .Actor.Attributes "color"}}',
    ],
)
def test_templates(told: Told, form: str) -> None:
    assert told.raw("cloche", form=form) == told.raw("docker", form=form)


def test_lines(told: Told) -> None:
    """The line without --format, but for times, IDs and bytes."""

    def shape(engine: str) -> list[list[str]]:
        lines = told.workshop.sh(
            f"TZ=Asia/Kolkata {engine} events --since {told.since[engine]} --until {told.until[engine]}", told.store
        ).splitlines()
        return [["".join(" " if c.isalnum() else c for c in line[:35]), *line[35:].split()[:2]] for line in lines]

    assert shape("cloche") == shape("docker")


def test_what_is_not_told(fresh: Forks) -> None:
    """Looking tells nothing, and makes no store."""
    for words in (("images",), ("image", "inspect", "x"), ("events", "--since", "0", "--until", "1s")):
        fresh(*words)
    assert fresh("events", "--since", "0", "--until", "0s").stdout == ""
