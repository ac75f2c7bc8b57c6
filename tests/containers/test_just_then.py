"""What is asked of a container just between two of its steps: while it is set up, ends, or is removed."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from tests.containers.ground import Ground

pytestmark = pytest.mark.usefixtures("cleared")


@contextmanager
def beginning(ground: Ground, point: str) -> Iterator[subprocess.Popen[bytes]]:
    """One in the foreground, whose start takes two seconds more."""
    words = ("run", "--rm", "--name", "one", "-e", ground.mark, "box", "sleep", "1000")
    with ground.begin(*words, CLOCHE_FAILPOINT=f"{point}:sleep") as front:
        try:
            until(lambda: list(ground.state.glob("containers/*.reserved")))
            yield front
        finally:
            front.kill()


@contextmanager
def setting_up(ground: Ground) -> Iterator[subprocess.Popen[bytes]]:
    """The same, while its first process still sees the files of this machine."""
    with beginning(ground, "PivotRoot") as front:
        until(lambda: ground.well("ps", "-a", "--format", "{{.Names}}") == "one\n")
        yield front


def until(condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_nobody_enters_one_that_is_being_set_up(ground: Ground) -> None:
    """Its first process still sees what is this machine's."""
    with setting_up(ground) as front:
        for words in (
            ("exec", "one", "ls", "/"),
            ("cp", "one:/etc/hostname", "-"),
            ("top", "one"),
            ("kill", "-s", "USR1", "one"),
            ("run", "--rm", "--network", "container:one", "box", "true"),
        ):
            done = ground(*words)
            assert done.returncode
            assert "is not running" in done.stderr, words
        assert ground.well("ps", "-q") == ""
        assert ground.well("ps", "-a", "--format", "{{.State}}") == "created\n"
        until(lambda: ground.well("ps", "-q"))
        assert "usr" not in ground.well("exec", "one", "ls", "/").split()
        ground.well("rm", "-f", "one")
        assert front.wait(20) == 137


@pytest.mark.parametrize("words", [("rm", "-f"), ("kill",), ("stop", "-t", "0"), ("stop", "-t", "20")], ids=" ".join)
def test_one_that_is_being_set_up_is_ended(ground: Ground, words: tuple[str, ...]) -> None:
    with setting_up(ground) as front:
        assert ground.well(*words, "one") == "one\n"
        assert front.wait(20)
        assert ground.well("ps", "-aq") == ""


@pytest.mark.parametrize("words", [("run", "--rm"), ("create",), ("run", "-d")], ids=" ".join)
def test_a_name_is_that_of_one_from_the_beginning(ground: Ground, words: tuple[str, ...]) -> None:
    """Nothing of the other one is started, although the first one has no process yet."""
    with beginning(ground, "CreateGroup") as front:
        done = ground(*words, "--name", "one", "-v", f"{ground.top}:/shared", "box", "touch", "/shared/ran")
        assert done.returncode
        assert 'The container name "/one" is already in use by container' in done.stderr
        assert ground.well("ps", "-aq") == ""
        until(lambda: ground.well("ps", "-q"))
        ground.well("rm", "-f", "one")
        front.wait(20)
    assert not (ground.top / "ran").exists()
    assert ground.create("one")


def test_a_name_is_free_where_its_container_did_not_come_about(ground: Ground) -> None:
    words = ("run", "--rm", "--name", "one")
    for failpoint in ("CreateGroup:errno", "CreateGroup:kill"):
        assert ground(*words, "box", "true", env={"CLOCHE_FAILPOINT": failpoint}).returncode == 125
        assert ground.well(*words, "box", "echo", "there") == "there\n"
    assert ground(*words, "-v", "/not/there:x", "box", "true").returncode == 125
    assert ground.well(*words, "box", "echo", "there") == "there\n"
    with beginning(ground, "CreateGroup") as front:
        front.kill()
    assert ground.create("one")


def test_an_image_is_free_when_nobody_sees_who_had_it(ground: Ground) -> None:
    ground.create("one")
    ground.well("commit", "one", "other")
    ground.well("rm", "one")
    ground.well("create", "--name", "one", "other")
    with ground.begin("rm", "one", CLOCHE_FAILPOINT="removed-known:sleep") as removal:
        until(lambda: ground.well("ps", "-aq") == "")
        ground.well("rmi", "other")
        assert removal.poll() is None


def test_one_that_removes_itself_is_gone_when_it_has_been_stopped(ground: Ground) -> None:
    for verb, seconds in (("stop", "1000"), ("wait", "1")):
        made = ground.run("one", "--rm", command=("sleep", seconds))
        ground.well(verb, "one")
        assert not (ground.store / "containers" / made / "container.json").exists()
    words = ("run", "--rm", "-a", "stdout", "--name", "one", "-e", ground.mark)
    assert ground.well(*words, "box", "echo", "there") == "there\n"
    assert list(ground.store.glob("containers/*/container.json")) == []


def test_one_that_is_just_being_removed_can_be_stopped(ground: Ground) -> None:
    ground.supervise(CLOCHE_FAILPOINT="removing:sleep")
    ground.run("one", "--rm", command=("sleep", "0.3"))
    until(lambda: "removing" in ground.well("ps", "-a", "--format", "{{.State}}"))
    assert ground.well("stop", "one") == "one\n"


def test_that_memory_was_short_is_seen_by_who_waits_although_others_look(ground: Ground) -> None:
    words = ("run", "--rm", "-m", "16m", "-e", ground.mark, "box", "tail", "/dev/zero")
    with ground.begin(*words, CLOCHE_FAILPOINT="stage-ended:sleep") as front:
        until(lambda: ground.well("ps", "-aq"))
        until(lambda: ground.well("ps", "-aq") == "")  # it has ended, and the stage has not looked why
        _, err = front.communicate(timeout=30)
    assert front.returncode == 137
    assert b"out of memory" in err


@pytest.mark.parametrize(
    "words", [("cp", "one:/etc/passwd", "-"), ("update", "-m", "64m", "--memory-swap", "64m", "one")]
)
def test_one_that_has_ended_with_all_who_knew(ground: Ground, words: tuple[str, ...]) -> None:
    made = ground.run("one", "-m", "32m")
    pid = int(ground.well("inspect", "-f", "{{.State.Pid}}", "one"))
    ground.kill("supervisor", "stage")
    os.kill(pid, 9)
    ground.until_gone(pid, "it was killed")
    for path in Path("/sys/fs/cgroup").rglob(f"cloche-kept-{made[:32]}"):
        path.rmdir()  # as after the machine's next start
    ground.well(*words)


def test_one_that_waits_for_its_next_start_is_killed(ground: Ground) -> None:
    ground.run("one", "--restart", "always", command=("false",))
    until(lambda: int(ground.well("inspect", "-f", "{{.RestartCount}}", "one")) > 4)  # it waits longer each time
    ground.until("one", "restarting")
    assert ground.well("kill", "one") == "one\n"
    ground.until("one", "exited")


def test_its_end_is_known_when_it_is_seen(ground: Ground) -> None:
    """Where the supervisor has not heard of it yet."""
    ground.well(
        *("run", "-d", "--name", "one", "-e", ground.mark, "box", "sh", "-c", "sleep 0.5; exit 3"),
        CLOCHE_FAILPOINT="stage-ended:sleep",
    )
    pid = int(ground.well("inspect", "-f", "{{.State.Pid}}", "one"))
    ground.until_gone(pid, "its time is over")
    assert ground.truth() == {"one": ("exited", 3)}
