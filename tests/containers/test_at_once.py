"""Many commands at once on few names: each does what it says or says in a line why not, and nothing is broken."""

from __future__ import annotations

import fcntl
import os
import random
import time
from typing import TYPE_CHECKING

import pytest

from cloche.engine import making
from cloche.engine.names import MARKS
from cloche.images.store import locks
from tests.containers.ground import ROUNDS, Ground

if TYPE_CHECKING:
    from tests.containers.made import Store

AT_ONCE = 64
KILLED = 128 + 9
NAMES = ("one", "two", "three", "four")
# what a command may find, when others change the same containers
SAID = (
    "No such container",
    "No such object",
    "is already in use by container",
    "container is running",
    "is not running",
    "is being started by somebody else",
    "same name as its current name",
    "marked for removal",
    "it is started again and again",
    "it ended while",
    "has ended",
)


def command_of(ground: Ground) -> list[str]:
    """A command at random."""
    name, other = random.sample(NAMES, 2)
    made = ["--name", name, "-e", ground.mark, "box", "sleep", "1000"]
    return random.choice(
        (
            ["create", *made],
            ["run", "-d", *made],
            ["run", "-d", "--rm", *made],
            ["start", name],
            ["stop", "-t", "0", name],
            ["restart", "-t", "0", name],
            ["kill", name],
            ["rm", name],
            ["rm", "-f", name],
            ["ps", "-a"],
            ["inspect", name],
            ["rename", name, other],
            ["exec", name, "true"],
            ["logs", name],
            ["wait", "--", "nobody"],
        )
    )


def test_on_few_names(ground: Ground) -> None:
    for _ in range(ROUNDS or 1):
        words = [command_of(ground) for _ in range(AT_ONCE)]
        commands = [ground.begin(*item) for item in words]
        for item, command in zip(words, commands, strict=True):
            _, err = command.communicate(timeout=120)
            said = err.decode()
            lines = [line for line in said.splitlines() if not line.startswith("  hint: ")]
            assert "Traceback" not in said, (item, said)
            assert "locked" not in said, (item, said)
            if item[0] == "exec" and command.returncode == KILLED:
                assert said == ""  # the end of the container was that of its command
            elif command.returncode:
                assert len(lines) == 1, (item, command.returncode, said)
                assert any(text in said for text in SAID), (item, said)
        ground._look()
        wait_for_removals(ground)
        truth = ground.truth()
        assert set(truth) <= set(NAMES)
        names = set(os.listdir(ground.store / "names")) - {".lock"}
        assert names == set(truth)
        for name, (status, _) in truth.items():
            assert status in {"created", "running", "exited"}, truth
            assert (ground.well("exec", name, "echo", "there") == "there\n") if status == "running" else True
    ground.clear()


def wait_for_removals(ground: Ground) -> None:
    """Of those that go with their end: whoever has ended them was answered before."""
    deadline = time.monotonic() + 30
    while "removing" in ground.well("ps", "-a", "--format", "{{.State}}") or os.listdir(ground.store / MARKS):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_name_is_free_when_nobody_sees_who_had_it(ground: Ground) -> None:
    """Its removal goes on, and takes away the name of no other."""
    ground.well("create", "--name", "one", "host", "true")
    first = ground.begin("rm", "one", CLOCHE_FAILPOINT="removed-known:sleep")
    while ground.well("ps", "-aq"):
        assert first.poll() is None
    made = ground.well("create", "--name", "one", "host", "true").strip()
    assert first.poll() is None
    assert first.communicate(timeout=60) == (b"one\n", b"")
    assert ground.well("inspect", "-f", "{{.Id}}", "one").strip() == made
    ground.clear()


def test_one_name_is_for_one(ground: Ground) -> None:
    """Of many that want it, and one container is started by one of many."""
    ground.clear()
    commands = [ground.begin("create", "--name", "one", "-e", ground.mark, "box", "sleep", "1000") for _ in range(16)]
    codes = [command.communicate(timeout=60) and command.returncode for command in commands]
    assert sorted(codes) == [0] + [1] * 15
    commands = [ground.begin("start", "one") for _ in range(16)]
    said = [command.communicate(timeout=60)[1] for command in commands]
    assert ground.truth() == {"one": ("running", 0)}
    assert all(b"Traceback" not in err for err in said)
    commands = [ground.begin("rm", "-f", "one") for _ in range(16)]
    said = [command.communicate(timeout=60)[1] for command in commands]
    assert said.count(b"") >= 1
    assert all(
        err in {b"", b"cloche: No such container: one\n  hint: cloche ps -a lists what there is\n"} for err in said
    )
    ground.clear()


def test_a_rest_that_is_somebody_elses_by_now(ground: Ground) -> None:
    """Its lock is gone when another command finds its directory, and takes it away or has it again."""
    for comes in ("create", "lock"):
        ground.clear()
        folder = ground.store / "containers" / ground.create("one")
        command = ground.begin("rm", "one", CLOCHE_FAILPOINT="removed-lock:sleep")
        deadline = time.monotonic() + 20
        while (folder / "lock").exists():
            assert time.monotonic() < deadline
        if comes == "create":
            ground.create("two")  # sweeps
            assert not folder.exists()
        else:
            (folder / "lock").touch()
        assert command.communicate(timeout=20) == (b"one\n", b"")
        assert command.returncode == 0
    ground.clear()
    assert not folder.exists()


def test_who_sweeps_leaves_what_is_made_meanwhile(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has opened the lock of a rest that is removed, and made again by another, before it has the lock."""
    folder = store.make("one")
    (store.root / MARKS).mkdir()
    (folder / "container.json").rename(store.root / MARKS / folder.name)
    lock = fcntl.flock

    def late(fd: int, how: int) -> None:
        (folder / "lock").rename(folder / "other")
        (folder / "lock").touch()
        lock(fd, how)

    monkeypatch.setenv("CLOCHE_ROOT", store.env["CLOCHE_ROOT"])
    monkeypatch.setattr(fcntl, "flock", late)
    making.sweep()
    assert (folder / "layer").exists()
    monkeypatch.undo()
    monkeypatch.setenv("CLOCHE_ROOT", store.env["CLOCHE_ROOT"])
    making.sweep()
    assert not folder.exists()


def test_what_a_killed_command_was_about_to_do(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it had made anything, or after it had made all; one that still lives is left alone."""
    monkeypatch.setenv("CLOCHE_ROOT", store.env["CLOCHE_ROOT"])
    folder = store.make("one")
    marks = store.root / MARKS
    marks.mkdir()
    (marks / folder.name).touch()
    os.symlink(folder.name, store.root / "names/other")  # a change of names, or its beginning
    (marks / ("0" * 64)).touch()
    with locks.lock(str(marks / ("1" * 64))):
        making.sweep()
        assert os.listdir(marks) == ["1" * 64]
    making.sweep()
    assert os.listdir(marks) == []
    assert (folder / "container.json").exists()
    assert os.listdir(store.root / "containers") == [folder.name]
    assert set(os.listdir(store.root / "names")) - {".lock"} == {"one"}
