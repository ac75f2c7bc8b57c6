"""What a container can say in a second, and how fast that is read back: cloche, docker and podman, json-file each.

A container writes short lines as fast as it may; the clock stops when it has ended, which it cannot before its last
line was taken. Then all of it is read, and compared with what was written. One engine after the other, those of others
in a room of their own (tests/engines/daemons.py); podman's file is its k8s-file, the one of its drivers that is alike.

    benchmarks/logs.py [--mebibytes N]       needs root; prints a table
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from tests.engines.daemons import IMAGE, Docker, Podman, Room, make_image  # noqa: E402
from timing import install  # noqa: E402

LINE = "0123456789" * 7 + "012345678"
Words = list[str]


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mebibytes", type=int, default=256)
    size = parser.parse_args().mebibytes << 20
    runc, busybox = shutil.which("runc"), shutil.which("busybox")
    if os.geteuid() or not runc or not busybox:
        sys.exit("needs root, runc and busybox")
    print("| | written, MB/s | read, MB/s | whole |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as top, Room("logs") as room:
        archive = room.folder / "box.tar"
        make_image(archive, busybox)
        docker, podman = Docker(room, {"ut": runc}, "ut"), Podman(room, runc)
        for engine in (docker, podman):
            engine.load(archive)
        env = {**os.environ, "CLOCHE_ROOT": f"{top}/store", "CLOCHE_STATE": f"{top}/state"}
        cloche = [str(Path(top, "installed/bin/cloche"))]
        install(Path(top))
        subprocess.run([*cloche, "load", "-i", archive], env=env, check=True, stdout=subprocess.DEVNULL)
        row("cloche", lambda *words: [*cloche, *words], env, IMAGE, size)
        row("docker", docker.words, docker.env, IMAGE, size)
        row("podman", podman.words, podman.env, IMAGE, size, "--log-driver", "k8s-file")


def row(name: str, words: Callable[..., Words], env: dict[str, str], image: str, size: int, *options: str) -> None:
    """One engine's line of the table."""
    script = f"yes {LINE} | head -c {size}"
    start = time.perf_counter()
    quietly(words("run", "-d", "--name", "says", *options, image, "sh", "-c", script), env)
    quietly(words("wait", "says"), env)
    written = time.perf_counter() - start
    start = time.perf_counter()
    digest, count = hashlib.sha256(), 0
    with subprocess.Popen(words("logs", "says"), env=env, stdout=subprocess.PIPE) as reading:
        assert reading.stdout
        while data := reading.stdout.read(1 << 20):
            digest.update(data)
            count += len(data)
    read = time.perf_counter() - start
    line = f"{LINE}\n".encode()
    whole = hashlib.sha256((line * (size // len(line) + 1))[:size])
    same = "yes" if digest.digest() == whole.digest() else f"{count} of {size} bytes"
    print(f"| {name} | {size / written / 1e6:.0f} | {size / read / 1e6:.0f} | {same} |", flush=True)
    quietly(words("rm", "-f", "says"), env)


def quietly(words: Words, env: dict[str, str]) -> None:
    """Run a command that has to succeed."""
    subprocess.run(words, env=env, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
