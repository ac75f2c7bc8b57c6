"""A store on a full disk: what is there can be looked at and removed, what runs goes on, and its end is known."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import Cli, system_python
from tests.containers.ground import ROUNDS, Ground

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE = 16 << 20
DISKS = {
    "tmpfs": 'mount -t tmpfs -o size="$1",mode=700 tmpfs "$2/store"',
    "ext4": 'truncate -s "$1" "$2/disk" && mkfs.ext4 -q -m 0 "$2/disk" && mount -o loop "$2/disk" "$2/store"',
}


class Elsewhere(Cli):
    """Commands in another mount namespace, which is that of a process."""

    pid = 0

    @property
    def argv(self) -> list[str]:
        return ["nsenter", "--mount", "--target", str(self.pid), *super().argv]


@pytest.fixture(params=DISKS if ROUNDS else ["ext4"], scope="module")
def disk(request: pytest.FixtureRequest, shared_dir: Path) -> Iterator[Ground]:
    """A store on a disk of its own, which only commands see."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a disk")
    top = Path(tempfile.mkdtemp(dir="/tmp"))
    (top / "store").mkdir()
    script = f"{DISKS[request.param]} && echo done && exec sleep 100000"
    keeper = subprocess.Popen(["unshare", "-m", "sh", "-ec", script, "sh", str(SIZE), top], stdout=subprocess.PIPE)
    assert keeper.stdout
    assert keeper.stdout.readline() == b"done\n"
    try:
        cli = Elsewhere("root", shared_dir / "src", system_python())
        cli.pid = keeper.pid
        ground = Ground(cli, top)
        ground.store = Path(f"/proc/{keeper.pid}/root{top}/store")
        yield ground
        ground.clear()
        assert "Traceback" not in ground.log()
    finally:
        keeper.kill()
        keeper.communicate()
        shutil.rmtree(top)


@pytest.fixture
def full(disk: Ground) -> Iterator[Ground]:
    """The same, full to the last byte, with containers: one that says something, one that ended, one to be."""
    disk.run("talker", command=("sh", "-c", "while sleep 0.05; do echo still there; done"))
    disk.run("ender", command=("sh", "-c", "trap 'exit 5' TERM; sleep 1000 & wait"))
    disk.run("ended", command=("sh", "-c", "echo said; exit 3"))
    disk.until("ended", "exited")
    disk.create("made")
    fill(disk)
    yield disk
    (disk.store / "filler").unlink(missing_ok=True)
    disk.clear()


def fill(ground: Ground) -> None:
    """Take what room there is, to the last byte, and all inodes' blocks too."""
    with open(ground.store / "filler", "wb", buffering=0) as file:
        for size in (1 << 16, 512):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def test_looking_and_making(full: Ground) -> None:
    """What cannot be made is told in a line, and nothing of it stays."""
    assert full.truth()["talker"] == ("running", 0)
    assert full.truth()["ended"] == ("exited", 3)
    assert full.well("logs", "ended") == "said\n"
    assert "still there" in full.well("logs", "talker")
    for line in ("why ended", "system df", "images", "stats --no-stream", "top talker"):
        assert full.well(*line.split())
    assert full.well("exec", "talker", "echo", "here") == "here\n"
    before = set(os.listdir(full.store / "containers"))
    names = set(os.listdir(full.store / "names"))
    for words in (("create", "--name", "more"), ("run", "-d", "--name", "more"), ("run", "--name", "more")):
        done = full(*words, "box", "true")
        assert done.returncode in {1, 125}, done
        assert done.stdout == ""
        first, *rest = done.stderr.splitlines()
        assert "is full" in first, done.stderr
        assert all(line.startswith("  hint: ") for line in rest)
        assert set(os.listdir(full.store / "containers")) == before, words
        assert set(os.listdir(full.store / "names")) == names, words
        assert set(os.listdir(full.store / "pins")) == before


def until_lost(ground: Ground) -> int:
    """How much of what the talker said is not in its log, as soon as there is some."""
    deadline = time.monotonic() + 60
    while (found := json.loads(ground.well("inspect", "-f", "{{json .LogLost}}", "talker"))) is None:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert found["Why"] == "no space left on device"
    return int(found["Bytes"])


def test_what_runs_goes_on_and_ends(full: Ground) -> None:
    """Its end is written down: when it is asked for, when it is not, and by a supervisor that was not there."""
    pid = full.of("talker")["pid"]
    lost = until_lost(full)
    assert full.of("talker")["pid"] == pid
    full("exec", "ender", "sh", "-c", "kill -TERM 1")
    full.until("ender", "exited")
    assert full.of("ender")["exit_code"] == 5
    full.kill("supervisor")
    assert full.truth()["talker"] == ("running", 0)
    assert until_lost(full) >= lost
    full.well("stop", "-t", "0", "talker")
    status, code = full.truth()["talker"]
    assert status == "exited"
    assert full.of("talker")["exit_code"] == code in {137, 143}  # the latter if its sleep was killed before the shell
    story = full.well("why", "talker").splitlines()[1]
    assert re.search(r"; \d+ bytes of what it said are lost: no space left on device$", story), story
    (full.store / "filler").unlink()
    full.well("start", "talker")
    assert until_lost(full) >= lost


def test_what_finds_no_room_is_not_written_over_what_is_there(disk: Ground) -> None:
    """The output of health checks grows beyond what state.json had: who runs is still known to run."""
    check = "echo >>/dev/shm/count; test ! -e /dev/shm/much || yes | head -c 4000"
    disk.run("web", "--health-cmd", check, "--health-interval", "100ms")
    pid, before = disk.of("web")["pid"], len((folder_of(disk, "web") / "state.json").read_bytes())
    fill(disk)
    try:
        disk.well("exec", "web", "sh", "-c", "echo >/dev/shm/much; >/dev/shm/count")
        deadline = time.monotonic() + 60
        while int(disk.well("exec", "web", "sh", "-c", "wc -l </dev/shm/count")) < 4:  # two looks at least are noted
            assert time.monotonic() < deadline
        assert disk.of("web")["pid"] == pid
        assert len((folder_of(disk, "web") / "state.json").read_bytes()) == before
        assert "container is running" in disk("rm", "web").stderr
        disk.kill("supervisor")
        assert disk.truth() == {"web": ("running", 0)}
        assert disk.of("web")["pid"] == pid
    finally:
        (disk.store / "filler").unlink()
        disk.clear()


def folder_of(ground: Ground, name: str) -> Path:
    return ground.store / "containers" / os.readlink(ground.store / "names" / name)


def test_changing_and_removing(full: Ground) -> None:
    """It is done and known, or it is not, and that is said; when there is room again all is as before."""
    for words in (("start", "made"), ("rename", "ended", "other"), ("update", "--restart", "always", "ender")):
        done = full(*words)
        assert not done.returncode or ("is full" in done.stderr or "no space left" in done.stderr.lower()), done.stderr
        assert len(done.stderr.splitlines()) <= 2
        if words[0] == "start":
            assert full.truth()["made"][0] == ("created" if done.returncode else "running")
    full("update", "--restart", "no", "ender")
    full.well("rm", "-f", "ender")
    (full.store / "filler").unlink()
    full.well("start", "made")
    assert full.truth()["made"] == ("running", 0)
    time.sleep(0.3)
    assert "still there" in full.well("logs", "--since", "0.2s", "talker")
    fill(full)
    full.well("system", "prune", "-f")
    assert set(full.truth()) == {"talker", "made"}
