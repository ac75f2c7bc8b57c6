"""Start-to-exit of `true`, beside the floor in C and the peers, in one run: `make bench`.

Every contender takes turns in each round, so that a busy moment hits all alike. Prints a Markdown table
with medians, 95th percentiles and the ratio to the floor, and writes it to docs/benchmarks.md with --write.
Nothing here asserts a time.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from timing import (
    DOCUMENT,
    HERE,
    PYTHON,
    command,
    install,
    make_bundle,
    make_rootfs,
    output,
    percentile,
    python_version,
    timed,
)

import cloche
import images
import runtime
from cloche.sandbox.options import Options
from cloche.sandbox.running import prepare
from cloche.stage.client import spawn_stage
from cloche.stage.operations.identity import LoadSeccomp

SAME = "the same in C (benchmarks/same.c)"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cloche-bench-") as folder:
        top = Path(folder)
        top.chmod(0o755)
        text = measure(top, given.rounds)
    print(text)
    if given.write:
        _, title, kept = DOCUMENT.read_text().partition(f"\n{images.TITLE}")  # made by images.py, at another time
        DOCUMENT.write_text(text.rstrip() + "\n" + title + kept)


def measure(top: Path, rounds: int) -> str:
    """The whole document."""
    rootfs = make_rootfs(top)
    bundle = make_bundle(top, rootfs)
    import engines

    cli = install(top)
    contenders = find_contenders(top, cli, rootfs, bundle, same := build_same(top, rootfs))
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 3):
        for name, once in contenders.items():
            elapsed = once()
            if turn >= 3:
                times[name].append(elapsed)
    floor = statistics.median(times["C floor (benchmarks/floor.c)"])
    alike = statistics.median(times[SAME]) if SAME in times else floor
    rows = [
        f"| {name} | {statistics.median(values):.2f} | {percentile(values, 95):.2f} | "
        f"{statistics.median(values) / floor:.2f} | {statistics.median(values) / alike:.2f} |"
        for name, values in times.items()
    ]
    under = engines.section(top, f"{cli[0]}-runtime", max(1, rounds // 3))
    more = [*in_a_row(rootfs), *threads(rootfs), *split_of_imports(cli, rootfs), *idle(rootfs, same)]
    return "\n".join(
        [
            "# What it costs to start a container",
            "",
            "Made by `make bench` (`benchmarks/bench.py --write`); milliseconds from start to exit of `true`, each",
            f"contender once a round, {rounds} rounds. Linux {platform.release()}, {os.cpu_count()} cores,",
            f"CPython {platform.python_version()} here and {python_version()} for the command line, "
            f"{'root' if os.geteuid() == 0 else 'an ordinary user'}.",
            "",
            "| who | median | p95 | × floor | × the same in C |",
            "|---|---|---|---|---|",
            *rows,
            "",
            "The floor does seven namespaces, id maps, six mounts, pivot_root and exec, and nothing else: no cgroup,",
            "no seccomp filter, no capabilities, no masks, no throwaway layer. `same.c` does all of these, as cloche",
            "does each time: the system calls of `cloche run --rootfs`, in the same order, without the Python.",
            "",
            "| more | |",
            "|---|---|",
            *more,
            "",
            *runtime.measure(Path(cli[0]).with_name("cloche-runtime"), bundle, rounds // 2),
            *under,
            *([""] if under else []),
        ]
    )


def build_same(top: Path, rootfs: Path) -> Callable[[int], list[str]] | None:
    """same.c compiled, as a function from a number of rounds to its words; None where it cannot run here."""
    plan = prepare(Options(command=("true",), image="", rootfs=str(rootfs)), dry=True).plan
    loads = [op for op in plan.operations if isinstance(op, LoadSeccomp)]
    parents = [os.path.dirname(group) for group in plan.groups]
    if os.geteuid() or len(parents) != 2 or not loads:
        return None
    subprocess.run(["cc", "-O2", "-o", str(top / "same"), str(HERE / "same.c")], check=True)
    (top / "filter").write_bytes(loads[0].program)

    def words(rounds: int) -> list[str]:
        return [str(top / "same"), str(rootfs), str(rounds), str(top / "filter"), *parents]

    return words


def find_contenders(
    top: Path, cli: list[str], rootfs: Path, bundle: Path, same: Callable[[int], list[str]] | None
) -> dict[str, Callable[[], float]]:
    """Everything that is on this machine and works, as a function that runs once and returns milliseconds."""
    floor = top / "floor"
    subprocess.run(["cc", "-O2", "-o", str(floor), str(HERE / "floor.c")], check=True)
    found: dict[str, Callable[[], float]] = {
        "C floor (benchmarks/floor.c)": lambda: float(output([str(floor), str(rootfs), "1"])) / 1e6,
        "cloche.run, rootfs": lambda: timed(lambda: cloche.run(["true"], rootfs=rootfs)),
        "cloche.run, host": lambda: timed(lambda: cloche.run(["true"])),
        "`cloche run --rootfs` (process)": command([*cli, "run", "--rootfs", str(rootfs), "true"]),
        "`cloche run host` (process)": command([*cli, "run", "host", "true"]),
        "python3 -I -S -c pass": command([PYTHON, "-I", "-S", "-c", "pass"]),
    }
    if same:
        found[SAME] = lambda: float(output(same(1))) / 1e6
    peers = {
        "unshare": ["unshare", "-Urmpfinu", "--mount-proc", "true"],
        "bwrap --unshare-all": [
            "bwrap",
            "--unshare-all",
            "--bind",
            str(rootfs),
            "/",
            "--proc",
            "/proc",
            "--dev",
            "/dev",
            "true",
        ],
        "runc run": ["runc", "run", "-b", str(bundle), "cloche-bench"],
        "crun run": ["crun", "run", "-b", str(bundle), "cloche-bench"],
    }
    for name, words in peers.items():
        if name == "crun run" and os.path.isdir("/sys/fs/cgroup/unified"):
            # crun refuses a hybrid host: it gets a view without the v2 tree, as a private mount namespace
            hide = 'umount /sys/fs/cgroup/unified; exec "$@"'
            peers[name] = ["unshare", "-m", "--propagation", "private", "sh", "-c", hide, "sh", *words]
        if shutil.which(words[0]) and subprocess.run(peers[name], capture_output=True, check=False).returncode == 0:
            found[name] = command(peers[name])
    return found


def in_a_row(rootfs: Path) -> list[str]:
    """200 containers, one after another."""
    values = [timed(lambda: cloche.run(["true"], rootfs=rootfs)) for _ in range(200)]
    total = sum(values)
    return [
        f"| 200 in a row from Python | {total:.0f} ms, {total / 200:.2f} ms each, p95 {percentile(values, 95):.2f} |"
    ]


def threads(rootfs: Path) -> list[str]:
    """8 threads with 25 containers each."""

    def work() -> None:
        for _ in range(25):
            cloche.run(["true"], rootfs=rootfs)

    workers = [threading.Thread(target=work) for _ in range(8)]
    start = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    total = (time.perf_counter() - start) * 1000
    return [f"| 8 threads at once, 25 each | {total:.0f} ms, {total / 200:.2f} ms for each container |"]


def split_of_imports(cli: list[str], rootfs: Path) -> list[str]:
    """What of a command line is the interpreter, what our imports and the plan, what the container."""
    bare = [command([PYTHON, "-I", "-S", "-c", "pass"])() for _ in range(30)]
    plan = [command([*cli, "explain", "--rootfs", str(rootfs), "true"], quiet=True)() for _ in range(30)]
    whole = [command([*cli, "run", "--rootfs", str(rootfs), "true"])() for _ in range(30)]
    a, b, c = (statistics.median(values) for values in (bare, plan, whole))
    split = f"interpreter {a:.1f} ms, imports and plan {b - a:.1f} ms, container {c - b:.1f} ms"
    return [f"| `cloche run --rootfs`, split | {split} |"]


def idle(rootfs: Path, same: Callable[[int], list[str]] | None, count: int = 500) -> list[str]:
    """Memory of idle containers beside the stage, as the kernel accounts for it, and that of the same in C."""
    stage = spawn_stage(sealed=False)
    null = os.open(os.devnull, os.O_RDWR)
    options = Options(command=("/bin/sleep", "1000"), image="", rootfs=str(rootfs))
    runs = []

    def start() -> None:
        prepared = prepare(options)
        run = stage.run(prepared.plan, [null, null, null])
        while run.receive()[0][0] != "started":
            pass
        runs.append((prepared, run))

    start()
    before = settled()
    for _ in range(count):
        start()
    used = {name: value - before[name] for name, value in settled().items()}
    resident = private_memory(stage.pid)
    own = statistics.median(private_memory(run.pid) for _, run in runs)
    for prepared, run in runs:
        run.close()
        prepared.close()
    stage.close()
    os.close(null)
    parts = ", ".join(f"{name} {value / count:.0f}" for name, value in used.items())
    lines = [
        f"| {count} idle containers (busybox `sleep`) | {sum(used.values()) / count:.0f} KiB each ({parts}), of which "
        f"{own / 1024:.0f} are the command's own; the stage has {resident / 2**20:.1f} MiB |"
    ]
    if same:
        before = settled()
        words = same(-count)
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            alike = sum(settled().values()) - sum(before.values())
            for index in range(count):
                end_group([f"{parent}/same-{process.pid}-{index}-{k}" for k, parent in enumerate(words[4:])])
        lines.append(f"| the same {count} in C | {alike / count:.0f} KiB each |")
    return lines


def settled() -> dict[str, int]:
    """What the kernel holds for processes and for itself, in KiB, once what is freed late has been freed."""
    time.sleep(5)
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    names = ("AnonPages", "Slab", "KernelStack", "PageTables", "Percpu", "Shmem")
    return {name: int(lines[name].split()[0]) for name in names}


def end_group(groups: list[str]) -> None:
    """Kill what is in a container of same.c, and remove its groups."""
    for pid in (Path(groups[0]) / "cgroup.procs").read_text().split():
        os.kill(int(pid), signal.SIGKILL)
    for group in groups:
        while True:
            try:
                os.rmdir(group)
            except OSError:
                time.sleep(0.01)
            else:
                break


def private_memory(pid: int) -> int:
    """Bytes of a process' memory that are its own (proc_pid_smaps_rollup)."""
    try:
        lines = dict(line.split(":")[:2] for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    except OSError:
        return 0
    return sum(int(lines[key].split()[0]) for key in ("Private_Clean", "Private_Dirty")) * 1024


if __name__ == "__main__":
    main()
