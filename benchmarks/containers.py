"""Containers that stay, beside docker and podman: a section of docs/benchmarks.md.

Each command is a process from start to exit; the engines take turns in every round, those of others in a room of their
own (tests/engines/daemons.py), with the same image of busybox and no network. Then a hundred times `run -d` and
`rm -f`, and what a hundred containers that sleep take up: of docker dockerd, containerd and its shims, of podman its
conmons, of cloche the supervisor and its stage. Memory is PSS.

    benchmarks/containers.py [--rounds N] [--many N] [--write]        needs root, docker, podman and runc
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from tests.engines.daemons import IMAGE, Docker, Podman, Room, make_image  # noqa: E402
from timing import PYTHON, install, percentile, put_section  # noqa: E402
from watching import memory_of  # noqa: E402

TITLE = "## Containers that stay"
WARM = 2
ROWS = {"run --rm IMAGE true": 45, "run -d": 50, "exec … true": 40, "ps, 200 containers": 50}  # aims, in ms
Words = list[str]


class Contender(NamedTuple):
    """An engine: its words for a command, its environment, and which processes it keeps."""

    name: str
    words: Callable[..., Words]
    env: dict[str, str]
    kept: tuple[bytes, ...]  # parts of command lines
    at_once: Words  # what has `rm -f` kill without waiting: podman's asks first, and waits for ten seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--many", type=int, default=100)
    parser.add_argument("--write", action="store_true", help="put the section into docs/benchmarks.md")
    given = parser.parse_args()
    runc, busybox = shutil.which("runc"), shutil.which("busybox")
    if os.geteuid() or not runc or not busybox:
        sys.exit("needs root, runc and busybox")
    with tempfile.TemporaryDirectory(prefix="cloche-bench-") as top, Room("stay") as room:
        text = section(find(Path(top), room, runc, busybox), given.rounds, given.many)
        print(text, flush=True)
        if given.write:
            put_section(text)


def find(top: Path, room: Room, runc: str, busybox: str) -> list[Contender]:
    """cloche first, then the others."""
    archive = room.folder / "box.tar"
    make_image(archive, busybox)
    docker, podman = Docker(room, {"ut": runc}, "ut"), Podman(room, runc)
    for engine in (docker, podman):
        engine.load(archive)
    env = {**os.environ, "CLOCHE_ROOT": f"{top}/store", "CLOCHE_STATE": f"{top}/state"}
    install(top)
    cloche = str(top / "installed/bin/cloche")
    subprocess.run([cloche, "load", "-i", archive], env=env, check=True, stdout=subprocess.DEVNULL)
    state = str(top / "state").encode()
    return [
        Contender("cloche", lambda *words: [cloche, *words], env, (b"engine.supervisor", b"cloche.stage", state), []),
        Contender("docker", docker.words, docker.env, (b"dockerd", b"containerd"), []),
        Contender("podman", podman.words, podman.env, (b"conmon",), ["-t", "0"]),
    ]


def section(contenders: list[Contender], rounds: int, many: int) -> str:
    """The lines of the section."""
    times: dict[tuple[str, str], list[float]] = {}
    for name in ROWS:
        if name.startswith("ps"):
            fill(contenders, 200 - 1)
        for turn in range(rounds + WARM):
            for each in contenders:
                took = once(each, name, turn)
                if turn >= WARM:
                    times.setdefault((name, each.name), []).append(took * 1000)
        clear(contenders)
    lines = [TITLE, "", f"Milliseconds from start to exit, {rounds} rounds in which all take turns, median (p95).", ""]
    lines += ["| command | aim | " + " | ".join(each.name for each in contenders) + " |"]
    lines += ["|---|---|" + "---|" * len(contenders)]
    for name, aim in ROWS.items():
        cells = [
            f"{statistics.median(t):.1f} ({percentile(t, 95):.1f})" for e in contenders if (t := times[name, e.name])
        ]
        lines.append(f"| `{name}` | {aim} | " + " | ".join(cells) + " |")
    lines += ["", *repeated(contenders, many), "", *idle(contenders, many)]
    bare = statistics.median(timed([PYTHON, "-I", "-S", "-c", "pass"], dict(os.environ)) for _ in range(20))
    lines += ["", f"python3 -I -S -c pass: {bare * 1000:.1f} ms. `benchmarks/containers.py`"]
    return "\n".join(lines) + "\n"


def once(each: Contender, name: str, turn: int) -> float:
    """Seconds that a command takes."""
    offline = ("--network", "none")
    if name.startswith("run --rm"):
        return timed(each.words("run", "--rm", *offline, IMAGE, "true"), each.env)
    if name == "run -d":
        return timed(each.words("run", "-d", *offline, IMAGE, "sleep", "1000"), each.env)
    if name.startswith("exec"):
        if turn == 0:
            quietly(each.words("run", "-d", "--name", "held", *offline, IMAGE, "sleep", "1000"), each.env)
        return timed(each.words("exec", "held", "true"), each.env)
    return timed(each.words("ps"), each.env)


def fill(contenders: list[Contender], count: int) -> None:
    """Have so many containers run, as many again as there are cores at once."""
    for each in contenders:
        for start in range(0, count, 4):
            at_once = [each.words("run", "-d", "--network", "none", IMAGE, "sleep", "10000")] * min(4, count - start)
            started = [subprocess.Popen(words, env=each.env, stdout=subprocess.DEVNULL) for words in at_once]
            for process in started:
                if process.wait():
                    sys.exit(f"{process.args!r} failed")


def clear(contenders: list[Contender]) -> None:
    """Remove all containers."""
    for each in contenders:
        ids = subprocess.run(each.words("ps", "-aq"), env=each.env, check=True, capture_output=True, text=True).stdout
        for some in range(0, len(ids.split()), 50):
            quietly(each.words("rm", "-f", *each.at_once, *ids.split()[some : some + 50]), each.env)


def repeated(contenders: list[Contender], many: int) -> list[str]:
    """So many times `run -d` and `rm -f`, one after the other."""
    took = {}
    for each in contenders:
        start = time.perf_counter()
        for _ in range(many):
            quietly(each.words("run", "-d", "--name", "again", "--network", "none", IMAGE, "sleep", "1000"), each.env)
            quietly(each.words("rm", "-f", *each.at_once, "again"), each.env)
        took[each.name] = time.perf_counter() - start
    ours = took["cloche"]
    cells = ", ".join(f"{name} {seconds:.1f} s ({seconds / ours:.1f} x)" for name, seconds in took.items())
    return [f"{many} times `run -d` and `rm -f` (of podman `rm -f -t 0`): {cells}."]


def idle(contenders: list[Contender], many: int) -> list[str]:
    """What so many containers that sleep take up, beside their own processes."""
    lines = [f"| {many} idle containers | with one | with all | each more |", "|---|---|---|---|"]
    for each in contenders:
        fill([each], 1)
        time.sleep(1)
        first = memory(each)
        fill([each], many - 1)
        time.sleep(2)
        last = memory(each)
        more = (last - first) / max(1, many - 1) / 1024
        lines.append(f"| {each.name} | {first / 2**20:.1f} MiB | {last / 2**20:.1f} MiB | {more:.0f} KiB |")
        clear([each])
    return lines


def memory(each: Contender) -> int:
    """Bytes of all processes that an engine keeps."""
    total = 0
    for path in Path("/proc").iterdir():
        if not path.name.isdecimal():
            continue
        try:
            words, environment = (path / "cmdline").read_bytes(), (path / "environ").read_bytes()
        except OSError:
            continue
        if each.name == "cloche" and each.kept[2] not in environment:
            continue  # of another store
        if any(part in words for part in each.kept[:2]):
            total += memory_of(int(path.name))
    return total


def timed(words: Words, env: dict[str, str]) -> float:
    """Seconds that a command takes, which has to succeed."""
    start = time.perf_counter()
    quietly(words, env)
    return time.perf_counter() - start


def quietly(words: Words, env: dict[str, str]) -> None:
    """Run a command that has to succeed."""
    subprocess.run(words, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
