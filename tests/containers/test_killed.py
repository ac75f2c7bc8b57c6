"""Killed at any point of a container's life: command, stage and supervisor, each alone and together.

The next commands find the old state or the new, within two seconds; the container can be used and removed, its exit
code is its own or unknown, and nothing is left. The points are those of the code, so that one that is added is tested
by itself. `make soak` does each ROUNDS times (CLOCHE_SOAK).
"""

from __future__ import annotations

import ast
import functools
import os
import random
import signal
import time
from pathlib import Path

import pytest

import cloche.engine
from cloche.engine import containers
from cloche.engine.records import use_state
from cloche.images.store.layout import use_store
from cloche.runtime.request import Kept
from cloche.sandbox import keeping
from cloche.sandbox.running import prepare
from tests.containers.ground import ROUNDS, Ground, end, patience, started

PACKAGE = Path(cloche.engine.__file__).parent.parent
OTHERS = ("sandbox/keeping.py", "stage/container.py", "images/store/layout.py", "cli/containers/leaving.py")
SOURCES = (*(PACKAGE / "engine").rglob("*.py"), *(PACKAGE / name for name in OTHERS))
SUPERVISOR = PACKAGE / "engine/supervisor"
# what else tests: volumes, and files whose owners are somebody else's
ELSEWHERE = ("volume-", "tree-")
# who comes to a point, by the beginning of its name; all others are steps of a start
VERBS = {
    "container-": "create",
    "write-": "create",
    "exec ": "exec",
    "begin-": "start",
    "supervisor-start": "start",
    "before-state": "start",
    "after-state": "start",
    "state-": "restart",
    "stage-": "stop",
    "end-": "stop",
    "over-": "rm --rm",
    "remov": "rm",
    "rename-": "rename",
}
# ends with 7 when it is asked to
COMMAND = ("sh", "-c", "trap 'exit 7' TERM; sleep 1000 & wait")
OPTIONS = ("-v", "/anonymous", "--tmpfs", "/t", "--init", "--memory", "64m", "--ulimit", "nofile=99")
VICTIMS = (("command",), ("stage",), ("supervisor",), ("supervisor", "stage"))
STEPS = ("create", "start", "exec", "stop", "restart", "rm", "rm -f", "run", "rename", "pause")
UNKNOWN = None
NOT_EXECUTED = 126  # of exec
FAILURES = ("errno", "full", "files")
HALF = 0.5
NOT_YET = 125  # it ended before it was the command


@functools.cache
def points(folder: Path = PACKAGE) -> list[str]:
    """The names of all points in the code that a container comes to, or in some of it."""
    found = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())) if path.is_relative_to(folder) else ():
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            if node.func.id in {"point", "reach"} and node.args and isinstance(node.args[-1], ast.Constant):
                found.add(str(node.args[-1].value))
    return sorted(name for name in found if not name.startswith(ELSEWHERE))


def verb_of(name: str) -> str:
    return next((verb for start, verb in VERBS.items() if name.startswith(start)), "start")


def begin(ground: Ground, verb: str) -> None:
    """What there has to be before a verb is disturbed."""
    if ground.left():
        ground.clear()
    if verb in {"stop", "restart", "exec", "rm -f", "pause"}:
        ground.run("one", *OPTIONS, command=COMMAND)
    elif verb not in {"create", "run", "rm --rm"}:
        ground.create("one", *OPTIONS, command=COMMAND)


def words_of(ground: Ground, verb: str) -> list[str]:
    made = ["-e", ground.mark, "--name", "one", *OPTIONS, "box", *COMMAND]
    if verb in {"create", "run"}:
        return ["create", *made] if verb == "create" else ["run", "-d", *made]
    if verb == "rm --rm":
        return ["run", "-d", "--rm", *made[:-3], "true"]
    return {
        "exec": ["exec", "-d", "one", "sleep", "1000"],
        "rename": ["rename", "one", "two"],
        "rm -f": ["rm", "-f", "-v", "one"],
        "rm": ["rm", "-v", "one"],
    }.get(verb, [verb, "one"])


def converges(ground: Ground, verb: str) -> None:
    """What there is is true, in time, and can be used as if nothing had been."""
    begun = time.monotonic()
    truth = ground.truth()
    took = time.monotonic() - begun
    assert took < patience() * 1.5, took  # `ps` and `inspect`, of which the bar is for one
    assert len(truth) <= 1, truth
    for status, code in truth.values():
        if status == "exited":
            assert code in {7, 137, 143, NOT_YET, NOT_EXECUTED, UNKNOWN}, truth
            assert verb not in {"create", "rename", "rm"}, truth
        assert status in {"created", "running", "paused", "exited"}, truth
    if not truth:
        assert verb in {"create", "run", "rm", "rm -f", "rm --rm"}
    deadline = time.monotonic() + patience()
    while not {"running", "paused"} & {status for status, _ in truth.values()}:
        found = [line for line in ground.orphans() if line.startswith("process")]
        if not found:
            break
        assert time.monotonic() < deadline, (found, truth)
        time.sleep(0.01)
        truth = ground.truth()  # it may be started just now, for a command that was killed
    for name, (status, _) in truth.items():
        if status == "paused":
            ground.well("unpause", name)
        ground.well("start", name)
        assert ground.well("exec", name, "echo", "there") == "there\n"
        ground.well("stop", name)
        assert ground.truth()[name] == ("exited", 7)
        ground.well("rm", "-v", name)
    ground.create("one")  # its name is free
    ground.well("rm", "one")
    ground.settles()


@pytest.mark.parametrize("name", points())
def test_a_point(ground: Ground, name: str) -> None:
    """The process that comes there is killed: a command, a supervisor, or the stage of that."""
    for _ in range(ROUNDS or 1):
        verb = verb_of(name)
        if name.startswith("stage-"):
            is_killed_in_stage(ground, name)
        elif name in points(SUPERVISOR) and (verb != "start" or random.random() < HALF):
            is_killed_in_supervisor(ground, verb, name)
        else:
            is_killed_again(ground, verb, name)
        converges(ground, verb)


def is_killed_in_stage(ground: Ground, name: str) -> None:
    """A start tells the stage of the point that an end comes to."""
    begin(ground, "start")
    ground.well("start", "one", CLOCHE_FAILPOINT=f"{name}:kill")
    stage = ground.pid("stage")
    ground("stop", "one")
    assert not started(stage), f"no stop comes to {name}"
    ground.kill("supervisor")


def is_killed_in_supervisor(ground: Ground, verb: str, name: str) -> None:
    """One supervisor comes there, and the next ones do not: who asks the first hears from the second how it went."""
    begin(ground, verb)
    supervisor = ground.supervise(CLOCHE_FAILPOINT=f"{name}:kill")
    ground(*words_of(ground, verb))
    ground.until_gone(supervisor, f"no {verb} comes to {name}")


def is_killed_again(ground: Ground, verb: str, name: str) -> None:
    """The command, or every supervisor that it starts and asks."""
    begin(ground, verb)
    ground.kill("supervisor")  # so that the command starts one which has the point
    done = ground(*words_of(ground, verb), env={"CLOCHE_FAILPOINT": f"{name}:kill"})
    assert done.returncode or not ground.pid("supervisor"), f"{verb} does not come to {name}"
    ground.kill("supervisor")  # the next one has it no more


def told_in_vain(ground: Ground, supervisor: int) -> None:
    """The container ends and its stage tells of that, but who is told is killed before it can look."""
    os.kill(supervisor, signal.SIGSTOP)
    pid = int(str(ground.of("one")["pid"]))
    while started(pid):
        time.sleep(0.01)
    time.sleep(0.3)  # the stage has told
    end(supervisor)
    assert ground.truth()["one"] == ("exited", 3)


def test_last_words_are_kept(ground: Ground) -> None:
    """What it has said is still in its pipes, its stage has told of its end, and who was told had no time to look."""
    ground.clear()
    ground.run("one", command=("sh", "-c", "echo first; sleep 0.5; echo last; exit 3"))
    supervisor = ground.pid("supervisor")
    told_in_vain(ground, supervisor)
    assert ground.well("logs", "one") == "first\nlast\n"


DOTS = """
i=0; while [ $i -lt 60 ]; do printf ".$i"; [ -t 2 ] || printf "$i-" >&2; sleep 0.02; i=$((i + 1)); done; exec sleep 1000
"""


@pytest.mark.parametrize("who", [("supervisor",), ("supervisor", "stage")])
@pytest.mark.parametrize("more", [(), ("-t",), ("--log-driver", "syslog")])
def test_a_line_that_had_only_begun_is_kept(ground: Ground, who: tuple[str, ...], more: tuple[str, ...]) -> None:
    """One that comes piece by piece, and again and again somebody else reads it."""
    if "-t" in more and "stage" in who:
        return  # its terminal is gone with both
    ground.clear()
    ground.run("one", *more, command=("sh", "-c", DOTS))
    for _ in range(3):
        time.sleep(random.uniform(0.1, 0.2))
        ground.kill(*who)
        ground.well("kill", "-s", "CONT", "one")  # for which somebody takes it over
    deadline = time.monotonic() + 20
    while not (said := ground("logs", "one")).stdout.endswith(".59"):
        assert time.monotonic() < deadline, said
    # whoever is killed between taking a piece and writing it down takes that one along, and no other
    heard = [said.stdout.split(".")[1:], *([] if "-t" in more else [said.stderr.split("-")[:-1]])]
    for pieces in heard:
        assert pieces == sorted(set(pieces), key=int)
        assert len(pieces) >= 57


def test_a_line_that_had_only_begun_when_all_ended_is_whole(ground: Ground) -> None:
    """What the supervisor had read, and what the stage has found in the pipe behind it."""
    ground.clear()
    ground.run("one", command=("sh", "-c", "echo first; sleep 0.5; printf la; sleep 0.02; printf st; exit 3"))
    supervisor = ground.pid("supervisor")
    deadline = time.monotonic() + 20
    while not any(path.stat().st_size for path in ground.state.glob("run/*/out.begun")):
        assert time.monotonic() < deadline
    told_in_vain(ground, supervisor)
    assert ground.well("logs", "one") == "first\nlast"


def test_who_starts_it_hears_of_a_stage_that_is_killed(ground: Ground) -> None:
    """After it has told that all is made, before it could tell that the command has begun."""
    begin(ground, "start")
    ground.kill("supervisor")
    command = ground.begin("start", "one", CLOCHE_FAILPOINT="after-state:sleep")
    ground.until("one", "running")
    ground.kill("stage")
    _, err = command.communicate(timeout=20)
    assert command.returncode == 1
    assert b"the stage was killed" in err
    ground.kill("supervisor")
    converges(ground, "start")


@pytest.mark.parametrize("verb", ["rm -f", "kill"])
def test_a_signal_that_the_stage_does_not_come_to_is_sent(ground: Ground, verb: str) -> None:
    """It is asked for one, has not taken that yet, and is killed: what runs goes on without it."""
    ground.clear()
    ground.run("one", command=("sh", "-c", "trap 'echo heard' USR1; while :; do sleep 0.02; done"))
    stage = ground.pid("stage")
    os.kill(stage, signal.SIGSTOP)
    if verb == "rm -f":
        log, told = ground.store / "events.log", '"Action":"kill"'
        before = log.read_text().count(told)
        command = ground.begin("rm", "-f", "one")
        deadline = time.monotonic() + 20
        while log.read_text().count(told) == before:  # it has asked
            assert time.monotonic() < deadline
            time.sleep(0.01)
        end(stage)
        assert command.communicate(timeout=20) == (b"one\n", b"")
        assert ground.truth() == {}
        return
    ground.well("kill", "-s", "USR1", "one")
    end(stage)
    deadline = time.monotonic() + 20
    while not (said := ground.well("logs", "one")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert said == "heard\n"
    ground.clear()


def test_a_signal_that_has_no_handler_is_its_end_without_the_stage(ground: Ground) -> None:
    ground.clear()
    for is_asked_first in (True, False):
        ground.run("one", command=("sleep", "1000"))
        stage = ground.pid("stage")
        os.kill(stage, signal.SIGSTOP)
        if is_asked_first:
            ground.well("kill", "-s", "TERM", "one")
        end(stage)
        if not is_asked_first:
            ground.well("kill", "-s", "TERM", "one")
        ground.until("one", "exited")
        ground.well("rm", "one")


def test_a_place_that_a_supervisor_left_goes_with_its_container(ground: Ground) -> None:
    """It was killed after it had written down the end, and no command has started another one since."""
    ground.clear()
    place = ground.state / "run" / ground.create("one")
    ground.supervise()
    ground.kill("supervisor")
    place.mkdir(mode=0o700, parents=True)
    (place / "groups").touch()
    os.mkfifo(place / "out")
    ground.well("rm", "one")
    ground.settles()
    assert not place.exists()


def test_one_that_nobody_told_to_go_on_has_not_run(ground: Ground) -> None:
    """It is written down that it runs, and who did so is at its end, but still has its sockets open."""
    begin(ground, "start")
    ground.kill("supervisor")
    command = ground.begin("start", "one", CLOCHE_FAILPOINT="after-state:sleep")
    deadline = time.monotonic() + 20
    while not list(ground.store.glob("containers/*/state.json")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    supervisor = ground.pid("supervisor")
    os.kill(supervisor, signal.SIGSTOP)
    for name in ("supervisor.sock", "supervisor.lock"):
        (ground.state / name).unlink()
    assert ground.truth()["one"][0] == "created"
    command.kill()
    command.communicate(timeout=20)
    end(supervisor)
    converges(ground, "start")


def calm(ground: Ground) -> None:
    """Wait until what a killed command has asked for is done."""
    before, now = None, ground.truth()
    while before != now:
        time.sleep(0.2)
        before, now = now, ground.truth()


def steps(ground: Ground, name: str) -> list[str]:
    """The operations of the plan by which a container is started, each once."""
    before = use_store(str(ground.store)), use_state(str(ground.state))
    try:
        found = containers.find(name)
        prepared = prepare(keeping.options_of(found), dry=True, kept=(found.id, Kept(found.folder, "")))
        prepared.close()
    finally:
        use_store(before[0])
        use_state(before[1])
    return sorted({type(operation).__name__ for operation in prepared.plan.operations})


def test_a_step(ground: Ground) -> None:
    """The stage, or the new process, is killed at a step of the plan: some of them, and by `make soak` all."""
    begin(ground, "start")
    found = steps(ground, "one")
    for name in found * ROUNDS or ["EnterGroup", *random.sample(found, 5)]:
        begin(ground, "start")
        done = ground("start", "one", env={"CLOCHE_FAILPOINT": f"{name}:kill"})
        assert done.returncode == 1, name
        assert len(done.stderr.splitlines()) <= 2, done.stderr
        assert ground.truth()["one"][0] == "created"
        converges(ground, "start")


@pytest.mark.parametrize("verb", STEPS)
def test_at_any_moment(ground: Ground, verb: str) -> None:
    """Not where we say, but when it happens to be: half of the times before the command has ended."""
    span = 0.2  # seconds
    for who in VICTIMS * ROUNDS or random.sample(VICTIMS, 1):
        begin(ground, verb)
        command = ground.begin(*words_of(ground, verb))
        time.sleep(random.uniform(0, span))
        span *= 1.1 if command.poll() is None else 1 / 1.1
        if who == ("command",):
            command.kill()
        else:
            ground.kill(*who)
        _, err = command.communicate(timeout=30)
        if who == ("command",):
            calm(ground)
        assert b"Traceback" not in err
        assert len(err.splitlines()) <= 2, err
        converges(ground, verb)


@pytest.mark.parametrize("name", [name for name in points() if not name.startswith("stage-")])
def test_a_failure(ground: Ground, name: str) -> None:
    """An error of the disk, or no room for another descriptor, is told in a line, and what comes next succeeds."""
    verb = verb_of(name)
    for action in FAILURES * ROUNDS or random.sample(FAILURES, 1):
        begin(ground, verb)
        fail = {"CLOCHE_FAILPOINT": f"{name}:{action}"}
        if name in points(SUPERVISOR):
            ground.supervise(**fail)
            done = ground(*words_of(ground, verb))
            assert done.returncode == 1 or verb != "start", done
            ground.kill("supervisor")
        else:
            done = ground(*words_of(ground, verb), env=fail)
            assert done.returncode in {1, NOT_EXECUTED}, done
        if done.returncode:
            first, *rest = done.stderr.splitlines()
            assert first.startswith("cloche: ")
            assert all(line.startswith("  hint: ") for line in rest), done.stderr
        converges(ground, verb)
