"""Pulling an image, cold, beside docker, podman, and skopeo with umoci: a section of docs/benchmarks.md.

An image of a dozen layers with files of this machine's own packages, in a docker-registry on loopback; every contender
starts with an empty store in each round, and they take turns. Nothing is removed before the end, since ext4 is several
times slower at making files right after many were removed, and what others have written is on the disk before each
starts. Each round is in a room of its own, with its own network (tests/engines/daemons.py).

    benchmarks/images.py [--rounds N] [--write]

Needs root. What there is to do with images that are there is in stored.py.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parent
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

import stored  # noqa: E402
from tests.engines.daemons import Docker, Room  # noqa: E402
from timing import put_section  # noqa: E402
from watching import Cost, in_turn, watched  # noqa: E402

PORT = 5000
STORED = 40  # rounds of the smaller part
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
        print(text, flush=True)
        if given.write:
            put_section(text)
        # what remains takes minutes: a million files are removed


def section(top: Path, rounds: int) -> str:
    """The lines of the section."""
    (top / "registry.yml").write_text(CONFIG.format(top=top, port=PORT))
    with Room("bench") as room:
        start_registry(room, top)
        layers, size = fill(top, room)
    costs = measure(top, rounds)
    own = statistics.median(cost.wall for cost in costs["`cloche pull`"])
    rows = [
        f"| {name} | {statistics.median(cost.wall for cost in found):.1f} | {min(cost.wall for cost in found):.1f} | "
        f"{statistics.median(cost.cpu for cost in found):.1f} | {max(cost.memory for cost in found) / 2**20:.0f} | "
        f"{statistics.median(cost.wall for cost in found) / own:.2f} |"
        for name, found in costs.items()
    ]
    more = stored.section(top, STORED)
    return "\n".join(
        [
            TITLE,
            "",
            "Made by `make bench-images` (`benchmarks/images.py --write`), apart from the rest, as it takes long.",
            "",
            f"{layers} layers, {size / 1e6:.0f} MB as stored, from a registry on loopback into an empty store, until",
            f"they are unpacked (`benchmarks/images.py`): seconds, seconds of CPU, MiB; {rounds} round(s) in which all",
            f"take turns. The load was {os.getloadavg()[0]:.1f} at the end, on {os.cpu_count()} cores.",
            "",
            "| who | median | best | CPU | memory | ÷ cloche |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
            "Memory is the most of any round, PSS of all its processes together; CPU and memory of docker are those of",
            "its command line, dockerd and containerd. The floor (`benchmarks/unfold.py`) fetches nothing and keeps no",
            "blob: it decompresses by isal, hashes both sides, and has GNU tar make the files, two layers at a time.",
            "On the disk: waits until it is there, as cloche does before anything has its name.",
            "",
            *more,
        ]
    )


def start_registry(room: Room, top: Path) -> None:
    """The registry, with what it had in the last room, and wait until it answers."""
    room.start("registry.log", "docker-registry", "serve", str(top / "registry.yml"))
    asked = f"until wget -qO /dev/null http://127.0.0.1:{PORT}/v2/; do sleep 0.1; done"
    run(room.inside("timeout", "20", "sh", "-c", asked))


def fill(top: Path, room: Room) -> tuple[int, int]:
    """Make the image and send it to the registry; returns how many layers, and their size."""
    layout = top / "layout"
    run(["umoci", "init", "--layout", str(layout)])
    run(["umoci", "new", "--image", f"{layout}:big"])
    parts = [part for part in PARTS if os.path.isdir(part)]
    for part in parts:
        run(["umoci", "insert", "--image", f"{layout}:big", part, part])
    run(room.inside("skopeo", "copy", "--dest-tls-verify=false", f"oci:{layout}:big", f"docker://{NAME}"))
    return len(parts), sum(path.stat().st_size for path in blobs(top))


def blobs(top: Path) -> list[Path]:
    """The layers as stored, the largest first."""
    found = sorted((top / "layout/blobs/sha256").iterdir(), key=lambda path: -path.stat().st_size)
    return [path for path in found if path.read_bytes()[:2] == b"\x1f\x8b"]


def measure(top: Path, rounds: int) -> dict[str, list[Cost]]:
    """What it costs each, by contender. The rooms of all rounds stay until the end."""
    costs: dict[str, list[Cost]] = {}
    with ExitStack() as stack:
        for turn in range(rounds):
            room = stack.enter_context(Room("bench"))
            start_registry(room, top)
            for what, work in contenders(top / f"round-{turn}", room, blobs(top)).items():
                os.sync()
                costs.setdefault(what, []).append(work())
            # docker's files go with ours at the end, for which a room would not have the patience
            stack.callback(os.rename, room.folder / "data", top / f"round-{turn}/docker")
    return costs


def contenders(top: Path, room: Room, layers: list[Path]) -> dict[str, Callable[[], Cost]]:
    """What each does in one round, below a folder of the round's own."""
    cloche = str(Path(sys.executable).with_name("cloche"))
    docker = Docker(room, {}, "runc")
    stores = ["--root", f"{top}/podman", "--runroot", f"{top}/podman-run", "--storage-driver", "overlay"]
    copied = f"oci:{top}/skopeo:big"

    def others() -> Cost:
        copy = room.inside("skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{NAME}", copied)
        return in_turn(watched(copy), watched(["umoci", "unpack", "--image", copied[4:], f"{top}/umoci"]))

    pull = [*stores, "pull", "-q", "--tls-verify=false", NAME]
    unfold = [sys.executable, str(HERE / "unfold.py")]
    return {
        "`cloche pull`": lambda: watched(room.inside(cloche, "--root", f"{top}/cloche", "pull", "-q", NAME)),
        "`docker pull`": lambda: watched(docker.words("pull", "-q", NAME), docker.env, docker.daemon.process.pid),
        "`podman pull`": lambda: watched(room.inside("podman", *pull)),
        "`skopeo copy`, `umoci unpack`": others,
        "the floor": lambda: watched([*unfold, f"{top}/floor", *map(str, layers)]),
        "the floor, on the disk": lambda: watched([*unfold, "--synced", f"{top}/synced", *map(str, layers)]),
    }


def run(words: list[str]) -> None:
    """One command, which has to succeed."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{words}: {done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
