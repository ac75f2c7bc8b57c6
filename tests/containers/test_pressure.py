"""Much at once: output at full speed before readers that are slow, many containers that do nothing, many orphans.

`make soak` takes a GiB, a thousand, and ten thousand (CLOCHE_SOAK).
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloche.engine.records import use_state
from cloche.engine.supervisor import client
from cloche.images.store.layout import use_store
from tests.containers.ground import ROUNDS, Ground, laid_out, patience

if TYPE_CHECKING:
    from collections.abc import Iterator

LINE = 1016  # bytes of a line, beside its number
LINES = (1 << 20) if ROUNDS else (1 << 16)  # about a KiB each
MANY = 1000 if ROUNDS else 80
PROBES = 100 if ROUNDS else 4
AT_ONCE = 4
ORPHANS = 10_000 if ROUNDS else 200
FORK_TWICE = f"i=0; while [ $i -lt {ORPHANS} ]; do (true & ); i=$((i + 1)); done"
SPEAK = f"busybox yes $(printf %0{LINE}d 7) | head -n {LINES} | cat -n"


@pytest.fixture(scope="module")
def beside(shared_dir: Path) -> Iterator[Ground]:
    """Another, with next to nothing in it."""
    with laid_out(shared_dir) as made:
        yield made


class Reader(threading.Thread):
    """Reads what a command prints, to the end, with a rest after each piece."""

    def __init__(self, process: subprocess.Popen[bytes], rest: float) -> None:
        super().__init__()
        self.process, self.rest = process, rest
        self.digest = hashlib.sha256()
        self.size = 0
        self.start()

    def run(self) -> None:
        assert self.process.stdout
        while data := os.read(self.process.stdout.fileno(), 1 << 16):
            self.digest.update(data)
            self.size += len(data)
            time.sleep(self.rest)

    def whole(self) -> bool:
        """Whether it was all that is said."""
        self.join(timeout=900)
        self.process.communicate()
        return (self.size, self.digest.digest()) == (SIZE, EXPECTED)


def said() -> tuple[int, bytes]:
    digest, size = hashlib.sha256(), 0
    tail = b"\t" + b"7".zfill(LINE) + b"\n"
    for number in range(1, LINES + 1):
        line = b"%6d" % number + tail
        digest.update(line)
        size += len(line)
    return size, digest.digest()


SIZE, EXPECTED = said()


@pytest.mark.timeout(1800 if ROUNDS else 180)
def test_all_that_is_said_arrives(ground: Ground) -> None:
    """In the log, at a slow `logs -f`, which holds nobody up, and at a slow `attach`, which does."""
    ground.create("talker", command=("sh", "-c", SPEAK))
    slow = Reader(ground.begin("start", "-a", "talker"), 0.0005)
    ground.until("talker", "running", "exited")
    late = Reader(ground.begin("logs", "-f", "talker"), 0.002)
    assert slow.whole(), slow.size
    ground.until("talker", "exited")
    assert ground.truth()["talker"] == ("exited", 0)
    assert Reader(ground.begin("logs", "talker"), 0).whole()
    assert late.whole(), late.size
    ground.clear()


@pytest.mark.timeout(1800 if ROUNDS else 180)
def test_nobody_who_reads_the_log_holds_it_up(ground: Ground) -> None:
    """One that reads nothing at all."""
    ground.create("talker", command=("sh", "-c", SPEAK))
    ground.well("start", "talker")
    stuck = ground.begin("logs", "-f", "talker")
    ground.well("wait", "talker")
    supervisor = ground.pid("supervisor")
    stuck.kill()
    stuck.communicate()
    assert supervisor == 0 or memory(supervisor)[0] < 60 << 20
    assert Reader(ground.begin("logs", "talker"), 0).whole()
    ground.clear()


def memory(pid: int) -> tuple[int, int]:
    """Bytes that are resident, and that are this process' part of what several share (proc_pid_smaps(5))."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) << 10 for line in lines[1:]}
    return sizes["Rss"], sizes["Pss"]


@pytest.mark.timeout(7200 if ROUNDS else 180)
def test_more_signals_than_sockets_hold(ground: Ground) -> None:
    """Supervisor and stage tell each other of each, and neither waits for room while the other does."""
    count = 2000
    container_id = ground.run("one", command=("sh", "-c", "trap : USR1; while :; do sleep 0.05; done"))
    before = use_store(str(ground.store)), use_state(str(ground.state))
    try:
        session = client.connect()
    finally:
        use_store(before[0])
        use_state(before[1])
    session.sock.settimeout(60)

    def ask() -> None:
        for _ in range(count):
            session.send("signal", container_id, int(signal.SIGUSR1), False)

    sender = threading.Thread(target=ask)
    sender.start()
    assert [session.receive() for _ in range(count)] == [("ok",)] * count
    sender.join()
    session.close()
    assert ground.well("exec", "one", "echo", "there") == "there\n"
    ground.well("rm", "-f", "one")


def test_many(ground: Ground, beside: Ground) -> None:
    """Containers that do nothing cost little: descriptors, memory, and time to start one more, or to end."""
    ground.run("first")
    beside.run("first")
    before = {who: cost(ground.pid(who)) for who in ("supervisor", "stage")}
    for _ in range(0, MANY, AT_ONCE):
        start_some(ground, AT_ONCE)
    for who, first in before.items():
        now = cost(ground.pid(who))
        each = {name: (now[name] - first[name]) / MANY for name in first}
        print(f"{who}: {now['rss'] >> 10} KiB resident, {now['pss'] >> 10} KiB its own part; each {each}")
        assert each["descriptors"] <= 8, (who, each)
        assert first["rss"] <= 30 << 20, (who, first)
        assert each["rss"] <= 100 << 10, (who, each)
    ending = start_one_more(ground, beside)
    assert ground.well("ps", "-q").count("\n") == MANY + 1
    ground._look()
    ground.kill("supervisor")
    begun = time.monotonic()
    assert ground.well("ps", "-q").count("\n") == MANY + 1
    took = time.monotonic() - begun
    print(f"taken over in {took:.1f} s")
    assert took < patience()
    ground.well("exec", "first", "true")
    remove_all(ground, ending)
    ground.clear()
    beside.clear()


def start_some(ground: Ground, count: int) -> None:
    commands = [ground.begin("run", "-d", "-e", ground.mark, "box", "sleep", "10000") for _ in range(count)]
    for command in commands:
        _, err = command.communicate(timeout=60)
        assert command.returncode == 0, err


def start_one_more(many: Ground, few: Ground) -> float:
    """Where there are many a start takes at most twice as long as where there are few; returns how long an end takes.

    Turn by turn, so that what else this machine does falls on both. Of a few starts the fastest are compared, which
    others have disturbed least, and where they have disturbed all of them there are more.
    """
    starts: dict[Ground, list[float]] = {many: [], few: []}
    ends: list[float] = []
    index = 0
    for number in range(PROBES if ROUNDS else 10 * PROBES):
        for where in (many, few) if number % 2 else (few, many):
            words = (["run", "-d", "--name", "more", "-e", where.mark, "box", "sleep", "10000"], ["rm", "-f", "more"])
            for command, took in zip(words, (starts[where], ends), strict=True):
                begun = time.monotonic()
                _, err = where.begin(*command).communicate(timeout=60)
                took.append(time.monotonic() - begun)
                assert err == b"", (command, err)
        index = len(starts[few]) * 99 // 100 - 1 if ROUNDS else 0
        if number + 1 >= PROBES and sorted(starts[many])[index] <= 2 * sorted(starts[few])[index]:
            break
    for where, took in starts.items():
        fast, middle, late = (sorted(took)[place] * 1000 for place in (0, len(took) // 2, len(took) * 99 // 100 - 1))
        name = "many" if where is many else "few"
        print(
            f"start beside {name}: {fast:.0f} ms the fastest, {middle:.0f} the middle, {late:.0f} the 99th percentile"
        )
    assert sorted(starts[many])[index] <= 2 * sorted(starts[few])[index], starts
    return sorted(ends)[len(ends) // 2]


def remove_all(ground: Ground, ending: float) -> None:
    """By one command, in less time each than a command for it alone."""
    ids = ground.well("ps", "-aq").split()
    begun = time.monotonic()
    said, err = ground.begin("rm", "-f", *ids).communicate(timeout=3600)
    took = time.monotonic() - begun
    assert (said.decode().split(), err) == (ids, b"")
    print(f"{len(ids)} removed in {took:.1f} s; one alone takes {ending * 1000:.0f} ms")
    assert took <= ending * len(ids)


def cost(pid: int) -> dict[str, int]:
    rss, pss = memory(pid)
    return {"descriptors": descriptors(pid), "rss": rss, "pss": pss}


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


@pytest.mark.timeout(1800 if ROUNDS else 180)
@pytest.mark.parametrize("init", [True, False])
def test_orphans(ground: Ground, init: bool) -> None:
    """Processes whose parents have ended are waited for by --init; without that they are gone with the container."""
    ground.run("one", *(["--init"] if init else []), "--pids-limit", "-1")
    _, err = ground.begin("exec", "one", "sh", "-c", FORK_TWICE).communicate(timeout=1200)
    assert err == b""
    first, ours = int(str(ground.of("one")["pid"])), (ground.pid("supervisor"), ground.pid("stage"))
    if init:
        deadline = time.monotonic() + patience()
        while zombies(first):
            assert time.monotonic() < deadline
    left = zombies(first)
    assert len(left) == (0 if init else ORPHANS)
    assert not any(map(zombies, ours))
    ground.well("rm", "-f", "one")
    assert not any(map(zombies, ours))
    assert [pid for pid, start in left.items() if stat_of(pid)[-1:] == [start]] == []
    ground.clear()


def zombies(pid: int) -> dict[int, str]:
    """The children of a process that nobody has waited for, and when each began; none for one that is gone."""
    try:
        found = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    except FileNotFoundError:
        return {}
    return {child: fields[1] for child in found if (fields := stat_of(child))[:1] == ["Z"]}


def stat_of(pid: int) -> list[str]:
    """The state of a process and when it began (proc_pid_stat(5)); nothing for one that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [fields[0], fields[19]]
