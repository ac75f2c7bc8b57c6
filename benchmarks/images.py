"""Pulling an image, cold, beside docker, podman, and skopeo with umoci: a section of docs/benchmarks.md.

An image of a dozen layers with files of this machine's own packages, in a docker-registry on loopback; every contender
starts with an empty store in each round, and they take turns. Everything is in a room of its own, with its own network
(tests/engines/daemons.py).

    benchmarks/images.py [--rounds N] [--write]

Needs root. What does not belong here: what a container of the image costs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parent
DOCUMENT = HERE.parent / "docs/benchmarks.md"
TITLE = "## Pulling an image"
PARTS = (
    "/usr/lib/python3.11",
    "/usr/share/doc",
    "/usr/share/perl",
    "/usr/include",
    "/usr/lib/git-core",
    "/usr/share/zsh",
    "/usr/share/vim",
    "/usr/lib/gcc",
    "/usr/share/man",
    "/usr/share/locale",
    "/usr/lib/python3",
    "/usr/share/zoneinfo",
)
sys.path.insert(0, str(HERE.parent))

from tests.engines.daemons import Docker, Room  # noqa: E402

PORT = 5000
CONFIG = """
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {top}/registry}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
NAME = f"127.0.0.1:{PORT}/big:1"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="put the section into docs/benchmarks.md")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cloche-bench-") as folder:
        text = section(Path(folder), given.rounds)
    print(text)
    if given.write:
        before, title, rest = DOCUMENT.read_text().partition(f"\n{TITLE}")
        after = rest[rest.index("\n## ") :] if title and "\n## " in rest else ""
        DOCUMENT.write_text(f"{before.rstrip()}\n\n{text}{after}\n" if after else f"{before.rstrip()}\n\n{text}")


def section(top: Path, rounds: int) -> str:
    """The lines of the section."""
    (top / "registry.yml").write_text(CONFIG.format(top=top, port=PORT))
    with Room("bench") as room:
        room.start("registry.log", "docker-registry", "serve", str(top / "registry.yml"))
        layers, size = fill(top, room)
        times = measure(top, room, rounds)
    own = statistics.median(times["cloche pull"])
    rows = [
        f"| {name} | {statistics.median(found):.2f} | {min(found):.2f} | {statistics.median(found) / own:.2f} |"
        for name, found in times.items()
    ]
    return "\n".join(
        [
            TITLE,
            "",
            f"{layers} layers, {size / 1e6:.0f} MB as stored, from a registry on loopback into an empty store, until",
            f"they are unpacked; seconds, {rounds} rounds in which all take turns (`benchmarks/images.py`).",
            "",
            "| who | median | best | ÷ cloche |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def fill(top: Path, room: Room) -> tuple[int, int]:
    """Make the image and send it to the registry; returns how many layers, and their size."""
    layout = top / "layout"
    run(["umoci", "init", "--layout", str(layout)])
    run(["umoci", "new", "--image", f"{layout}:big"])
    parts = [part for part in PARTS if os.path.isdir(part)]
    for part in parts:
        run(["umoci", "insert", "--image", f"{layout}:big", part, part])
    run(room.inside("skopeo", "copy", "--dest-tls-verify=false", f"oci:{layout}:big", f"docker://{NAME}"))
    size = sum(path.stat().st_size for path in (layout / "blobs/sha256").iterdir())
    return len(parts), size


def measure(top: Path, room: Room, rounds: int) -> dict[str, list[float]]:
    """Seconds, by contender."""
    cloche = str(Path(sys.executable).with_name("cloche"))
    docker = Docker(room, {}, "runc")

    def ours(turn: int) -> None:
        run(room.inside(cloche, "--root", f"{top}/cloche-{turn}", "pull", "-q", NAME))

    def dockers(turn: int) -> None:
        del turn
        run(docker.words("pull", "-q", NAME), docker.env)

    def podmans(turn: int) -> None:
        words = ["podman", "--root", f"{top}/podman-{turn}", "--runroot", f"{top}/podman-run-{turn}"]
        run(room.inside(*words, "--storage-driver", "overlay", "pull", "-q", "--tls-verify=false", NAME))

    def others(turn: int) -> None:
        place = f"oci:{top}/skopeo-{turn}:big"
        run(room.inside("skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{NAME}", place))
        run(["umoci", "unpack", "--image", place.removeprefix("oci:"), f"{top}/umoci-{turn}"])

    works: dict[str, Callable[[int], None]] = {
        "cloche pull": ours,
        "docker pull": dockers,
        "podman pull": podmans,
        "skopeo copy, umoci unpack": others,
    }
    times: dict[str, list[float]] = {what: [] for what in works}
    for turn in range(rounds):
        for what, work in works.items():
            start = time.perf_counter()
            work(turn)
            times[what].append(time.perf_counter() - start)
        run(docker.words("rmi", NAME), docker.env)
    return times


def run(words: list[str], env: dict[str, str] | None = None) -> None:
    """One command, which has to succeed."""
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{words}: {done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
