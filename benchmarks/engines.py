"""`docker run` and `podman run` of `true` with cloche-runtime beside runc and crun: rows of docs/benchmarks.md.

Each engine is one daemon (or store) in a room of its own, tests/engines/daemons.py; the runtimes take turns in each
round, so that a busy moment hits all alike. The time is from the start to the end of the engine's command line, of
which the runtime is a part: what the engine does itself is the same for all. Without a network, which no OCI runtime
makes.

    benchmarks/engines.py [--rounds N] [--write]     the section alone; `make bench` has it, too

Needs root. What does not belong here: what a runtime costs by itself, which is `runtime.py`.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parent
TITLE = "## Under engines"
WARM = 2
# crun refuses a hybrid host: it gets a view without the v2 tree, as a private mount namespace
WITHOUT_V2 = """#!/bin/sh
[ -d /sys/fs/cgroup/unified ] || exec {crun} "$@"
exec unshare -m --propagation private sh -c 'umount /sys/fs/cgroup/unified; exec {crun} "$@"' sh "$@"
"""
sys.path.insert(0, str(HERE.parent))

from tests.engines.daemons import IMAGE, Docker, Podman, Room, make_image, run  # noqa: E402


def main() -> None:
    """Measure and print."""
    from timing import install, put_section

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--write", action="store_true", help="put the section into docs/benchmarks.md")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cloche-bench-") as folder:
        top = Path(folder)
        top.chmod(0o755)
        (cli,) = install(top)
        text = "\n".join(section(top, f"{cli}-runtime", given.rounds))
    print(text)
    if given.write:
        put_section(text)


def section(top: Path, cloche: str, rounds: int) -> list[str]:
    """The lines of the section; none where there is no engine, or nobody who may start one.

    `cloche` is the path of an installed cloche-runtime, `top` a folder that everybody may enter.
    """
    if os.geteuid() != 0:
        return []
    runtimes = find_runtimes(top, cloche)
    rows: list[str] = []
    make_image(top / "image.tar", shutil.which("busybox") or sys.exit("needs busybox-static"))
    for kind, needed in (("docker", "dockerd"), ("podman", "podman"), ("podman, an ordinary user", "newuidmap")):
        if shutil.which(needed) and shutil.which(needed.replace("newuidmap", "podman")):
            with Room("bench") as room:
                rows += measure(kind, room, top / "image.tar", runtimes, rounds)
    if not rows:
        return []
    return [
        TITLE,
        "",
        "`docker run --rm` and `podman run --rm` of `true` (`benchmarks/engines.py`), without a network; milliseconds",
        f"from start to exit of the engine's command line, the runtimes in turn, {rounds} rounds. Most of it is the",
        f"engine's own work, the same for all. The load was {os.getloadavg()[0]:.1f} at the end,",
        f"on {os.cpu_count()} cores; above 2 something else ran, too, and only the ratios say anything.",
        "",
        "| engine | runtime | median | p95 | × runc |",
        "|---|---|---|---|---|",
        *rows,
    ]


def find_runtimes(top: Path, cloche: str) -> dict[str, str]:
    """Name and path of each runtime that is on this machine."""
    found = {"cloche-runtime": cloche}
    if runc := shutil.which("runc"):
        found["runc"] = runc
    if crun := shutil.which("crun"):
        wrapper = top / "crun"
        wrapper.write_text(WITHOUT_V2.format(crun=crun))
        wrapper.chmod(0o755)
        found["crun"] = str(wrapper)
    return found


def measure(kind: str, room: Room, archive: Path, runtimes: dict[str, str], rounds: int) -> list[str]:
    """The rows of one engine: for each runtime that works with it."""
    commands: dict[str, Callable[[], None]] = {}
    for name, words, env in contenders(kind, room, archive, runtimes):
        if run(words, env=env).returncode == 0:
            commands[name] = runner(words, env)
    times: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(rounds + WARM):
        for name, command in commands.items():
            start = time.perf_counter()
            command()
            if turn >= WARM:
                times[name].append((time.perf_counter() - start) * 1000)
    medians = {name: statistics.median(values) for name, values in times.items()}
    return [
        f"| {kind} | {re.sub('^crun$', 'crun (without the v2 tree)', name)} | {medians[name]:.0f} | "
        f"{sorted(values)[min(len(values) - 1, len(values) * 95 // 100)]:.0f} | "
        f"{medians[name] / medians.get('runc', medians[name]):.2f} |"
        for name, values in times.items()
    ]


def contenders(
    kind: str, room: Room, archive: Path, runtimes: dict[str, str]
) -> list[tuple[str, list[str], dict[str, str]]]:
    """(runtime, command, environment): one daemon for docker, one store for podman."""
    command = ("run", "--rm", "--network", "none")
    shutil.copy(archive, room.folder / "image.tar")
    if kind == "docker":
        # "runc" is docker's own name, and no other may have it
        docker = Docker(room, {f"with-{name}": path for name, path in runtimes.items()}, "runc")
        docker.load(room.folder / "image.tar")
        return [
            (each, docker.words(*command, f"--runtime=with-{each}", IMAGE, "true"), docker.env) for each in runtimes
        ]
    podman = Podman(room, runtimes["cloche-runtime"], rootless=kind != "podman")
    podman.load(room.folder / "image.tar")
    found = []
    for name, path in runtimes.items():
        podman.runtime = path
        found.append((name, podman.words(*command, IMAGE, "true"), podman.env))
    return found


def runner(words: list[str], env: dict[str, str]) -> Callable[[], None]:
    """Run the words once; an error if they fail."""

    def once() -> None:
        done = run(words, env=env)
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr}")

    return once


if __name__ == "__main__":
    main()
