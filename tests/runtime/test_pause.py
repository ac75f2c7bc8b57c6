"""`pause` and `resume`: all processes of a container stand still, and go on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.runtime.conftest import POLITE, SLEEP, alive, processes_of, wait_until
from tests.runtime.looking import only_cloche

if TYPE_CHECKING:
    from tests.runtime.conftest import MakeBundle, Runtime

COUNTING = ("sh", "-c", "n=0; while :; do n=$((n+1)); echo $n; sleep 0.01; done")


def test_nothing_runs_until_resumed(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.running(bundle(*COUNTING))
    wait_until(lambda: runtime.output(id), "it does not count")
    runtime.ok("pause", id)
    assert runtime.status(id) == "paused"
    seen = runtime.output(id)
    time.sleep(0.2)
    assert runtime.output(id) == seen
    runtime.ok("resume", id)
    assert runtime.status(id) == "running"
    wait_until(lambda: runtime.output(id) != seen, "it does not go on")


def test_a_child_stands_still_too(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.running(bundle("sh", "-c", "n=0; (while :; do n=$((n+1)); echo $n; sleep 0.01; done) & sleep 1000"))
    wait_until(lambda: runtime.output(id), "it does not count")
    runtime.ok("pause", id)
    seen = runtime.output(id)
    time.sleep(0.2)
    assert runtime.output(id) == seen


def test_the_state_of_a_paused_container(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.running(bundle(*SLEEP))
    before = runtime.state(id)
    runtime.ok("pause", id)
    assert runtime.state(id) == {**before, "status": "paused"}


def test_a_paused_container_is_killed_at_once(runtime: Runtime, bundle: MakeBundle) -> None:
    # runc thaws for SIGKILL, as nothing else would let the process die where the kernel does not do so by itself
    runtime.not_like("crun", because="leaves the signal pending on cgroup v1")
    id = runtime.running(bundle(*SLEEP))
    pid = runtime.pid(id)
    runtime.ok("pause", id)
    runtime.kill(id)
    wait_until(lambda: not alive(pid), "it stands still")
    runtime.wait(id)


def test_another_signal_waits_for_resume(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.running(bundle(*POLITE))
    wait_until(lambda: "ready" in runtime.output(id), "it is not ready")
    runtime.ok("pause", id)
    runtime.kill(id, "TERM")
    assert runtime.status(id) == "paused"
    runtime.ok("resume", id)
    runtime.wait(id)


def test_a_paused_container_is_deleted_by_force(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.running(bundle("sh", "-c", "sleep 1000 & sleep 1001; true"))
    wait_until(lambda: len(processes_of(id)) == 3, "it does not run")
    pids = processes_of(id)
    runtime.ok("pause", id)
    runtime.delete(id, "--force")
    wait_until(lambda: not any(map(alive, pids)), "something is left")
    assert not Path(runtime.root, id).exists()


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_twice_is_an_error(runtime: Runtime, bundle: MakeBundle, verb: str) -> None:
    runtime.not_like("crun", because="takes it")
    id = runtime.running(bundle(*SLEEP))
    if verb == "pause":
        runtime.ok("pause", id)
    done = runtime(verb, id)
    assert done.returncode != 0
    assert done.stderr
    assert runtime.status(id) == ("paused" if verb == "pause" else "running")


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_a_stopped_container_is_an_error(runtime: Runtime, bundle: MakeBundle, verb: str) -> None:
    runtime.not_like("crun", because="takes it")
    id = runtime.running(bundle("true"))
    runtime.wait(id)
    done = runtime(verb, id)
    assert done.returncode != 0
    assert done.stderr
    assert runtime.status(id) == "stopped"


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_nobody(runtime: Runtime, verb: str) -> None:
    done = runtime(verb, "nobody")
    assert done.returncode != 0
    assert done.stderr


@pytest.mark.parametrize("words", [("pause",), ("events", "--stats"), ("update", "--pids-limit", "5")])
def test_without_groups_it_is_said_why(runtime: Runtime, bundle: MakeBundle, words: tuple[str, ...]) -> None:
    only_cloche(runtime, "what cannot be done or counted without cgroups is said in one line")
    made, id = bundle(*SLEEP).write(), runtime.new_id()
    runtime.detached("--cgroup-manager", "disabled", "create", "-b", str(made.path), id, name=id)
    runtime.start(id)
    done = runtime(*words, id)
    assert (done.returncode == 0) == (words[0] == "events")
    assert "the container has no control groups" in done.stderr
    assert "without the right to have any" in done.stderr
    assert len(done.stderr.splitlines()) == 1
