"""What a supervisor finds and cannot look at, or not yet, is left as it is; what is another store's is not its own."""

from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.containers.ground import Ground, end, patience, started

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("cleared")
COMMAND = ("sh", "-c", "trap 'exit 7' TERM; echo here; sleep 1000 & wait")
NAMES = ("one", "two", "three")
RUNS = ("running", 0)
FEW = (9, 13, 16, 19, 22, 26, 30)  # descriptors: from what a supervisor alone needs to what they all need


class Other(Ground):
    """Another store of the same state directory, where a supervisor of its own is."""

    def __init__(self, ground: Ground, top: Path, store: Path | None = None) -> None:
        super().__init__(ground.cli, top, image=False)
        self.state, self.store = ground.state, store or self.store
        self.env = {"CLOCHE_ROOT": str(self.store), "CLOCHE_STATE": str(self.state)}

    def pid(self, who: str) -> int:
        name = hashlib.sha256(str(self.store).encode()).hexdigest()[:16]
        return self._holder(self.state / "supervisors" / name / f"{who}.sock")

    def run(self, name: str, *more: str, command: tuple[str, ...] = ("sleep", "1000")) -> str:
        return self.well("run", "-d", "--name", name, "-e", self.mark, *more, "host", *command).strip()


def limited(ground: Ground, most: int, *words: str) -> subprocess.CompletedProcess[str]:
    """A command that may have so many files open, as may the supervisor that it starts."""
    argv = ["sh", "-c", f'ulimit -n {most}; exec "$@"', "sh", *ground.cli.argv, *words]
    env = {**os.environ, **ground.env}
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)


def processes(ground: Ground, *names: str) -> list[int]:
    return [int(str(ground.of(name)["pid"])) for name in names]


def until_logged(ground: Ground, name: str, wanted: str) -> None:
    deadline = time.monotonic() + patience()
    while ground.well("logs", name) != wanted:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_with_few_descriptors(ground: Ground) -> None:
    """However few a supervisor may have: what it cannot look at has not ended, and what it says is not lost."""
    for name in NAMES:
        ground.run(name, command=("sh", "-c", "trap 'echo well' USR1; while :; do sleep 1000 & wait; done"))
    pids = processes(ground, *NAMES)
    told = []
    for most in FEW:
        ground.kill("supervisor")
        done = limited(ground, most, "kill", "-s", "WINCH", "one")
        assert not done.returncode or "  hint: what runs goes on" in done.stderr, (most, done)
        told.append(done.returncode)
        assert all(map(started, pids)), most
    assert told[0]
    assert not told[-1]
    assert ground.truth() == dict.fromkeys(NAMES, RUNS)
    assert "Traceback" not in ground.log()
    for name in NAMES:
        ground.well("kill", "-s", "USR1", name)
        until_logged(ground, name, "well\n")


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def without_its_head(path: Path) -> None:
    path.write_bytes(b'{"status": "runn\n' + path.read_bytes().partition(b"\n")[2])


def of_nonsense(path: Path) -> None:
    path.write_bytes(b'{"status": [], "pid": "x"}\n[]')


@pytest.mark.parametrize(
    ("damage", "also"),
    [
        (emptied, ""),
        (cut_short, "stage"),
        (without_its_head, "stage"),
        (of_nonsense, ""),
        (emptied, "all"),
        (os.unlink, ""),  # of one that runs: without its stage nothing says any more that it was ever started
    ],
)
def test_a_state_that_is_damaged(ground: Ground, damage: Callable[[Path], None], also: str) -> None:
    """It says that its container was started: that is looked for, and what is found is written down again."""
    ground.run("one", command=COMMAND)
    (pid,), folder = processes(ground, "one"), next((ground.store / "containers").iterdir())
    ground.kill("supervisor", *(["stage"] if also else []))
    if also == "all":
        end(pid)
    damage(folder / "state.json")
    if damage is os.unlink:
        ground.supervise()
    assert ground.truth() == {"one": ("exited", None) if also == "all" else RUNS}
    assert processes(ground, "one") == [0 if also == "all" else pid]
    if also != "all":
        entered = ground("exec", "one", "echo", "there")
        assert entered.stdout == "there\n" or "state.json was damaged" in entered.stderr
        assert entered.stdout or damage is not without_its_head
        assert ground("rm", "one").returncode == 1
        ground.well("stop", "one")
        assert ground.truth()["one"][1] == 7 or also
    ground.well("start", "one")
    assert ground.well("exec", "one", "echo", "there") == "there\n"


@pytest.mark.parametrize(("name", "also"), [("state.json", ""), ("state.json", "stage"), ("container.json", "")])
def test_what_cannot_be_read_for_a_while(ground: Ground, name: str, also: str) -> None:
    """As on a disk that is about to come back; until then the supervisor that has found it stays."""
    ground.run("one", command=COMMAND)
    ground.run("two")
    pids, folder = (
        processes(ground, "one", "two"),
        ground.store / "containers" / os.readlink(ground.store / "names/one"),
    )
    ground.kill("supervisor", *(["stage"] if also else []))
    os.rename(folder / name, folder / "aside")
    (folder / name).mkdir()
    try:
        ground("ps")
        assert ground.pid("supervisor")
        ground.well("rm", "-f", "two")
        time.sleep(1.2)  # it would be gone by now
        assert started(pids[0])
    finally:
        (folder / name).rmdir()
        os.rename(folder / "aside", folder / name)
    assert ground.pid("supervisor")
    assert ground.truth() == {"one": RUNS}
    ground.well("stop", "one")
    assert ground.truth()["one"][1] == 7 or also


def test_one_whose_directory_is_gone(ground: Ground) -> None:
    """Nobody finds it any more: it is ended, and nothing of it stays."""
    container_id = ground.run("one")
    (pid,) = processes(ground, "one")
    ground.kill("supervisor")
    subprocess.run(["rm", "-r", ground.store / "containers" / container_id], check=True)
    (ground.store / "names/one").unlink()
    (ground.store / "pins" / container_id).unlink()
    ground.supervise()
    ground.until_gone(pid, "it is nobody's")


@pytest.fixture
def other(ground: Ground, tmp_path: Path) -> Iterator[Other]:
    """Another store, whose supervisor comes second."""
    ground.run("aa", command=COMMAND)
    made = Other(ground, tmp_path)
    yield made
    made.well("rm", "-f", *made.well("ps", "-aq").split(), "of-which-there-is-none")
    ground.until_gone(made.pid("supervisor"), "it is not needed")


def test_two_stores_of_one_state_directory(ground: Ground, other: Other) -> None:
    """Each has a supervisor of its own, which knows of nothing else."""
    other.run("bb", command=COMMAND)
    gone = other.run("cc", "--rm", command=("true",))
    deadline = time.monotonic() + patience()
    while gone in other.well("ps", "-aq", "--no-trunc"):
        assert time.monotonic() < deadline
    told = (other.store / "events.log").read_text()
    assert told.count(gone) >= 4  # create, start, die, destroy
    assert gone not in (ground.store / "events.log").read_text()
    for first, second in itertools.permutations((ground, other)):
        for each in (ground, other):
            each.kill("supervisor")
        assert list(first.truth().values()) == [RUNS]
        assert list(second.truth().values()) == [RUNS]
        assert first.pid("supervisor") not in {0, second.pid("supervisor")}
    until_logged(other, "bb", "here\n")
    other.well("stop", "bb")
    assert other.truth() == {"bb": ("exited", 7)}
    assert ground.truth() == {"aa": RUNS}


def test_whose_state_directory_it_is_may_be_lost(ground: Ground, other: Other) -> None:
    """Then it is of the store whose containers have run there."""
    other.run("bb")
    for each in (ground, other):
        each.kill("supervisor")
    (ground.state / "supervisor.store").unlink()
    assert other.truth() == {"bb": RUNS}
    assert not ground.pid("supervisor")
    assert ground.truth() == {"aa": RUNS}
    assert os.readlink(ground.state / "supervisor.store") == str(ground.store)


def test_one_store_by_two_names(ground: Ground, tmp_path: Path) -> None:
    """It has one supervisor."""
    ground.run("aa", command=COMMAND)
    os.symlink(ground.store, tmp_path / "alias")
    alias = Ground(ground.cli, tmp_path, image=False)
    alias.env = {**ground.env, "CLOCHE_ROOT": str(tmp_path / "alias")}
    places = [*(ground.state / "supervisors").glob("*")]
    alias.well("stop", "aa")
    assert ground.truth() == {"aa": ("exited", 7)}
    assert [*(ground.state / "supervisors").glob("*")] == places
