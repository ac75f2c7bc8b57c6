"""The OCI runtime beside runc and crun, with one bundle, in one run: a section of docs/benchmarks.md."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from timing import PYTHON, percentile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RUN, LIFE, STATE, KILL = "`run` of `true`", "`create` + `start` + `delete`", "`state`", "`kill`"
LOADED = "`run` of a bundle that is not there"  # all but the container
PLAIN, BARE = "`python3 -c pass`", "`python3 -I -S -c pass`"


def measure(runtime: Path, bundle: Path, rounds: int) -> list[str]:
    """The lines of the section."""
    times: dict[str, dict[str, list[float]]] = {}
    with contextlib.ExitStack() as held:
        found = {
            name: held.enter_context(sleeping(words, bundle, held)) for name, words in find(runtime, bundle).items()
        }
        for turn in range(rounds + 2):
            for name, works in found.items():
                for what, work in works.items():
                    elapsed = work()
                    if turn >= 2:
                        times.setdefault(what, {}).setdefault(name, []).append(elapsed)
            for what, words in ((PLAIN, ["-c", "pass"]), (BARE, ["-I", "-S", "-c", "pass"])):
                times.setdefault(what, {}).setdefault("cloche", []).append(spent([[PYTHON, *words]]))
    names = list(found)
    rows = []
    for what in (RUN, LOADED, LIFE, STATE, KILL):
        medians = {name: statistics.median(times[what][name]) for name in names}
        cells = [f"{medians[name]:.1f} ({percentile(times[what][name], 95):.1f})" for name in names]
        ratios = [f"{medians['cloche'] / medians[name]:.2f}" for name in names if name != "cloche"]
        rows.append(f"| {what} | {' | '.join([*cells, *ratios])} |")
    starts = {what: statistics.median(times[what]["cloche"]) for what in (PLAIN, BARE)}
    against = [
        f"{what} is {statistics.median(times[what]['cloche']) / starts[start]:.2f} × {start} ({starts[start]:.1f} ms)"
        for what in (STATE, KILL)
        for start in starts
    ]
    return [
        "## As an OCI runtime",
        "",
        f"Milliseconds, median and p95 of {rounds} rounds in which all take turns; the same config.json, with its",
        "state in one file system. crun has no view of a hybrid host's v2 tree, and starts by way of `unshare` there.",
        "",
        "| what | " + " | ".join([*names, *(f"cloche / {name}" for name in names if name != "cloche")]) + " |",
        "|---" * (2 * len(names)) + "|",
        *rows,
        "",
        *(f"- {line}" for line in against),
        "",
    ]


def find(runtime: Path, bundle: Path) -> dict[str, list[str]]:
    """The runtimes that work here, by name, each with the words to start it."""
    found = {"cloche": [str(runtime)], "runc": ["runc"], "crun": ["crun"], "youki": ["youki"]}
    if os.path.isdir("/sys/fs/cgroup/unified"):
        hide = 'umount /sys/fs/cgroup/unified; exec "$@"'
        found["crun"] = ["unshare", "-m", "--propagation", "private", "sh", "-c", hide, "sh", "crun"]
    working = {}
    for name, words in found.items():
        if not shutil.which(words[-1]):
            continue
        with tempfile.TemporaryDirectory() as root:
            tried = [*words, "--root", root, "run", "-b", str(bundle), "cloche-bench-try"]
            if subprocess.run(tried, capture_output=True, check=False).returncode == 0:
                working[name] = words
    return working


@contextlib.contextmanager
def sleeping(words: list[str], bundle: Path, held: contextlib.ExitStack) -> Iterator[dict[str, Callable[[], float]]]:
    """What is measured of a runtime, while it has a container that sleeps."""
    root = held.enter_context(tempfile.TemporaryDirectory())
    command = [*words, "--root", root]
    config = json.loads((bundle / "config.json").read_text())
    config["process"]["args"] = ["/bin/sleep", "1000000"]
    other = Path(held.enter_context(tempfile.TemporaryDirectory()))
    (other / "config.json").write_text(json.dumps(config))
    name = f"cloche-bench-{os.path.basename(words[-1])}"
    spent([[*command, "create", "-b", str(other), f"{name}-idle"], [*command, "start", f"{name}-idle"]])

    def life() -> float:
        first = spent([[*command, "create", "-b", str(bundle), name], [*command, "start", name]])
        while b'"stopped"' not in subprocess.run([*command, "state", name], capture_output=True, check=True).stdout:
            time.sleep(0.001)
        return first + spent([[*command, "delete", name]])

    try:
        yield {
            RUN: lambda: spent([[*command, "run", "-b", str(bundle), name]]),
            LOADED: lambda: spent([[*command, "run", "-b", f"{other}/none", name]], status=1),
            LIFE: life,
            STATE: lambda: spent([[*command, "state", f"{name}-idle"]]),
            KILL: lambda: spent([[*command, "kill", f"{name}-idle", "WINCH"]]),
        }
    finally:
        spent([[*command, "delete", "--force", f"{name}-idle"]])


def spent(commands: list[list[str]], status: int = 0) -> float:
    """Milliseconds from the start of the first to the exit of the last of these processes, each with this status."""
    start = time.perf_counter()
    for words in commands:
        # stdout is no pipe: a container would hold it open
        actions = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in ((0, 1, 2) if status else (0, 1))]
        pid = os.posix_spawnp(words[0], words, os.environ, file_actions=actions)
        ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if ended != status:
            raise RuntimeError(f"{words}: {ended}")
    return (time.perf_counter() - start) * 1000
