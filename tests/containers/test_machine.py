"""Containers against a model of them: whatever is done, in whatever order, and killed in between, `ps -a` is true.

`make soak` goes on for longer (CLOCHE_SOAK).
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from tests.containers.ground import ROUNDS, Ground, patience

COMMAND = ("sh", "-c", "trap 'exit 7' TERM; echo begun; while :; do sleep 1000 & wait; done")
CREATED, RUNNING, PAUSED, EXITED = "created", "running", "paused", "exited"


def listed(folder: Path) -> set[str]:
    """What is in a directory, which may not be there yet."""
    return {name for name in os.listdir(folder) if name != ".lock"} if folder.exists() else set()


class Model:
    """What is known of a container by whoever did everything to it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.status = CREATED
        self.codes: set[int | None] = {0}
        self.begun = 0  # how often its command has begun
        self.seen = True  # whether the end would be seen

    def ends(self, *codes: int) -> None:
        self.status = EXITED
        self.codes = {*codes}


class Life(RuleBasedStateMachine):
    """One store; its containers."""

    ground: Ground

    def __init__(self) -> None:
        super().__init__()
        self.there: dict[str, Model] = {}
        self.number = 0

    made = Bundle("made")

    def done(self, *words: str, fails: str = "") -> None:
        """A command that does what it is to do, or says this."""
        done = self.ground(*words)
        if fails:
            assert done.returncode == 1, words
            assert fails in done.stderr, (words, done.stderr)
            assert len(done.stderr.splitlines()) <= 2, done.stderr
        else:
            assert done.returncode == 0, (words, done.stderr, self.ground.log())

    @rule(target=made, started=st.booleans(), init=st.booleans())
    def create(self, started: bool, init: bool) -> Model:
        self.number += 1
        model = Model(f"box-{self.number}")
        options = ("--init",) if init else ()
        if started:
            self.ground.run(model.name, *options, command=COMMAND)
            model.status, model.begun = RUNNING, 1
        else:
            self.ground.create(model.name, *options, command=COMMAND)
        self.there[model.name] = model
        return model

    @rule(model=made)
    def start(self, model: Model) -> None:
        self.done("start", model.name)
        if model.status in {CREATED, EXITED}:
            model.status, model.codes = RUNNING, {0}
            model.begun += 1

    @rule(model=made, restart=st.booleans())
    def stop(self, model: Model, restart: bool) -> None:
        self.done("restart" if restart else "stop", "-t", "5", model.name)
        if model.status in {RUNNING, PAUSED}:
            model.ends(7, 143)  # asked before it had set its trap
        if restart:
            model.status, model.codes = RUNNING, {0}
            model.begun += 1

    @rule(model=made)
    def exec(self, model: Model) -> None:
        fails = {PAUSED: "is paused", RUNNING: ""}.get(model.status, "is not running")
        self.done("exec", model.name, "true", fails=fails)

    @rule(model=made)
    def pause(self, model: Model) -> None:
        fails = {PAUSED: "already paused", RUNNING: ""}.get(model.status, "is not running")
        self.done("pause", model.name, fails=fails)
        if model.status == RUNNING:
            model.status = PAUSED

    @rule(model=made)
    def unpause(self, model: Model) -> None:
        self.done("unpause", model.name, fails="" if model.status == PAUSED else "is not")
        if model.status == PAUSED:
            model.status = RUNNING

    @rule(model=made)
    def kill(self, model: Model) -> None:
        self.done("kill", model.name, fails="" if model.status in {RUNNING, PAUSED} else "is not running")
        if model.status in {RUNNING, PAUSED}:
            self.ground.until(model.name, EXITED)
            model.ends(137)

    @rule(who=st.sampled_from([("supervisor",), ("stage",), ("supervisor", "stage")]))
    def crash(self, who: tuple[str, ...]) -> None:
        self.ground.kill(*who)

    @rule(model=made, number=st.integers(0, 1 << 30))
    def rename(self, model: Model, number: int) -> None:
        new = f"name-{number}-{self.number}"
        if new in self.there:
            return
        self.done("rename", model.name, new)
        self.there[new] = self.there.pop(model.name)
        model.name = new

    @rule(target=made, model=consumes(made), force=st.booleans())
    def remove(self, model: Model, force: bool) -> object:
        fails = "" if force or model.status in {CREATED, EXITED} else "is running"
        self.done("rm", *(["-f"] if force else []), model.name, fails=fails)
        if fails:
            return model
        del self.there[model.name]
        return multiple()

    @invariant()
    def ps_is_true(self) -> None:
        truth = self.ground.truth()
        assert set(truth) == set(self.there)
        for name, (status, code) in truth.items():
            model = self.there[name]
            assert status == model.status, (name, status, model.status)
            assert code in {*model.codes, None} if status == EXITED else code == 0, (name, code, model.codes)
        assert listed(self.ground.store / "names") == set(self.there)
        assert len(listed(self.ground.store / "pins")) == len(self.there)
        running = sum(model.status in {RUNNING, PAUSED} for model in self.there.values())
        deadline = time.monotonic() + patience()  # they go when the end is written down
        while len(places := listed(self.ground.state / "run")) != running:
            assert time.monotonic() < deadline, (places, running)
        processes = [line for line in self.ground.orphans() if line.startswith("process")]
        assert running or not processes, processes

    def teardown(self) -> None:
        self.ground.clear()


@pytest.mark.timeout(7200 if ROUNDS else 180)
def test_lives(ground: Ground) -> None:
    Life.ground = ground
    chosen = settings(
        max_examples=ROUNDS or 3,
        stateful_step_count=30 if ROUNDS else 10,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # what fails says all its steps; a shorter life would cost minutes
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Life, settings=chosen)
