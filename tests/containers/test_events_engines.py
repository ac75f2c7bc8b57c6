"""Events of containers that are gone when they end, of volumes and of terminals are those of docker."""

from __future__ import annotations

import json
import time
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pytest

from tests.images.conftest import workshop

if TYPE_CHECKING:
    from tests.images.workshop import Workshop

__all__ = ["workshop"]
WORDS = "RUN='ENGINE run --network none' SIZE='stty rows 30 cols 100;' BOX=localhost/box:1\n"
PASSING = """
$RUN --rm --name one -l color=red $BOX sh -c 'exit 3' || true
$RUN --rm --name two -v data:/data -v more:/a:ro $BOX true
$RUN --rm --name three -v data:/data $BOX nosuch 2>/dev/null || true
sleep 2 | script -qec "$SIZE $RUN --rm -it --name four $BOX sleep 1" four.out
"""
KEPT = """
$RUN -d --stop-signal KILL --name one -v data:/data -v more:/a:ro -v /own -v /tmp:/t $BOX sleep 1000
ENGINE restart -t 0 one; ENGINE stop -t 0 one; ENGINE rm -v one
$RUN --name two -v data:/data $BOX nosuch 2>/dev/null || true
ENGINE rm two
sleep 2 | script -qec "$SIZE $RUN -it --name three $BOX sleep 1" three.out
ENGINE rm three
"""
# its first process takes no notice of SIGTERM
SIGNALS = """
$RUN -d --name four $BOX sh -c 'trap "" TERM USR1; echo ready; while :; do sleep 1000; done'
until ENGINE logs four | grep -q ready; do :; done
ENGINE kill -s USR1 four; ENGINE stop -t 1 four; ENGINE start four; ENGINE rm -f four
"""


def lives(lines: str) -> list[tuple[str, str, dict[str, str]]]:
    """Types, actions and attributes, but for ids, and for how long it took, which docker tells since 23.

    docker mounts in any order, tells of a volume's making each time it is asked for, and kills twice at times.
    """
    found = []
    for event in map(json.loads, lines.splitlines()):
        attributes = dict(event["Actor"]["Attributes"])
        attributes.pop("execDuration", None)
        if "container" in attributes:
            assert len(attributes.pop("container")) == 64
        if event["Type"] == "volume":
            name = event["Actor"]["ID"]
            attributes["volume"] = "" if len(name) == 64 else name
        what = event["Type"], event["Action"]
        if what[0] != "network" and what not in {("volume", "create"), ("container", "kill")}:
            found.append((*what, attributes))
    alike = [list(group) for _, group in groupby(found, lambda event: event[:2])]
    return [event for group in alike for event in sorted(group, key=str)]


@pytest.mark.parametrize("script", [PASSING, KEPT], ids=["passing", "kept"])
def test_they_are_told_as_docker_does(script: str, workshop: Workshop) -> None:
    store, found = workshop.store(), {}
    workshop.sh("cloche load -q -i box.tar", store)
    for engine in ("docker", "cloche"):
        since = f"{time.time():.9f}"
        workshop.sh((WORDS + script).replace("ENGINE", engine), store)
        time.sleep(0.5)  # docker's client has gone before all is told
        asked = f"{engine} events --since {since} --until {time.time():.9f} --format json"
        found[engine] = lives(workshop.sh(asked, store))
        workshop.sh(f"{engine} volume rm data more", store)
    assert found["cloche"] == found["docker"]
    told = {(kind, action) for kind, action, _ in found["docker"]}
    assert {("volume", "mount"), ("volume", "unmount"), ("container", "resize"), ("container", "destroy")} <= told


def test_each_signal_is_told(workshop: Workshop) -> None:
    store, found = workshop.store(), {}
    workshop.sh("cloche load -q -i box.tar", store)
    for engine in ("docker", "cloche"):
        since = f"{time.time():.9f}"
        workshop.sh((WORDS + SIGNALS).replace("ENGINE", engine), store)
        asked = f"{engine} events --since {since} --until {time.time():.9f} -f event=kill -f event=die --format json"
        lines = workshop.sh(asked, store).splitlines()
        found[engine] = [event_of(json.loads(line)) for line in lines]
    assert found["cloche"] == found["docker"]
    assert [about.get("signal") for about in found["docker"]] == ["10", "15", "9", None, "9", None]


def event_of(event: dict[str, Any]) -> dict[str, str]:
    return {name: value for name, value in event["Actor"]["Attributes"].items() if name != "execDuration"}
