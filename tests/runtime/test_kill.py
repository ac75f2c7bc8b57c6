"""`kill`: a signal for the first process, or for all (runtime.md, Kill)."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.runtime.conftest import POLITE, SLEEP, alive, processes_of, wait_until

if TYPE_CHECKING:
    from tests.runtime.conftest import MakeBundle, Runtime

# tells each signal it gets by its number
TELLING = (
    "sh",
    "-c",
    'for n in 1 2 10 12 15; do trap "echo got $n" $n; done; echo ready; while :; do sleep 0.02; done',
)


def ready(runtime: Runtime, bundle: MakeBundle, *command: str) -> str:
    id = runtime.running(bundle(*command))
    wait_until(lambda: "ready" in runtime.output(id), "it is not ready")
    return id


@pytest.mark.parametrize(
    ("word", "number"),
    [
        ("TERM", 15),
        ("SIGTERM", 15),
        ("term", 15),
        ("sigterm", 15),
        ("15", 15),
        ("HUP", 1),
        ("SIGINT", 2),
        ("USR1", 10),
        ("12", 12),
    ],
)
def test_a_signal_by_name_or_number(runtime: Runtime, bundle: MakeBundle, word: str, number: int) -> None:
    if word in {"term", "sigterm"}:
        runtime.not_like("crun", because="knows names in capitals only; others are sent as signal 0")
    id = ready(runtime, bundle, *TELLING)
    runtime.kill(id, word)
    wait_until(lambda: f"got {number}\n" in runtime.output(id), f"{word} does not come")
    assert runtime.output(id) == f"ready\ngot {number}\n"


def test_it_is_term_unless_told(runtime: Runtime, bundle: MakeBundle) -> None:
    id = ready(runtime, bundle, *TELLING)
    runtime.ok("kill", id)
    wait_until(lambda: "got 15\n" in runtime.output(id), "it does not come")


def test_it_is_term_where_the_word_is_empty(runtime: Runtime, bundle: MakeBundle) -> None:
    runtime.not_like("crun", because="1.8 sends it as signal 0")
    id = ready(runtime, bundle, *TELLING)
    runtime.ok("kill", id, "")
    wait_until(lambda: "got 15\n" in runtime.output(id), "it does not come")


def test_a_real_time_signal_by_number(runtime: Runtime, bundle: MakeBundle) -> None:
    number = signal.SIGRTMIN + 3
    id = ready(runtime, bundle, "sh", "-c", f'trap "exit 3" {number}; echo ready; while :; do sleep 0.02; done')
    runtime.kill(id, str(number))
    runtime.wait(id)


def test_signal_zero_only_asks(runtime: Runtime, bundle: MakeBundle) -> None:
    id = ready(runtime, bundle, *POLITE)
    runtime.kill(id, "0")
    assert runtime.status(id) == "running"


@pytest.mark.parametrize("word", ["BOGUS", "SIGBOGUS", "99", "-1", "1.5"])
def test_a_word_that_is_no_signal_is_refused(runtime: Runtime, bundle: MakeBundle, word: str) -> None:
    if word != "99":
        runtime.not_like("crun", because="sends what it does not know as signal 0 or does not look at the rest")
    id = ready(runtime, bundle, *POLITE)
    done = runtime("kill", id, "--", word) if word == "-1" else runtime("kill", id, word)
    assert done.returncode != 0
    assert done.stderr
    assert runtime.status(id) == "running"


def test_a_created_container_can_be_killed(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.create(bundle(*SLEEP))
    runtime.kill(id)
    runtime.wait(id)


def test_a_created_container_ends_by_term(runtime: Runtime, bundle: MakeBundle) -> None:
    # it has no handler yet, and as first process of its namespace it must not be deaf to the engine
    runtime.not_like("crun", because="its waiting first process does not notice SIGTERM")
    id = runtime.create(bundle(*SLEEP))
    runtime.kill(id, "TERM")
    runtime.wait(id)


def test_a_stopped_container_is_an_error(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.running(bundle("true"))
    runtime.wait(id)
    done = runtime("kill", id, "KILL")
    assert done.returncode != 0
    # what docker and containerd look for: "container not running", "process already finished", "no such process"
    runtime.not_like("crun", because="says it otherwise")
    assert "not running" in done.stderr
    assert runtime.status(id) == "stopped"


def test_nobody(runtime: Runtime) -> None:
    done = runtime("kill", "nobody", "TERM")
    assert done.returncode != 0
    # what containerd looks for to tell that it is gone
    runtime.not_like("crun", because="says it otherwise")
    assert "does not exist" in done.stderr


def test_only_the_first_process_gets_it(runtime: Runtime, bundle: MakeBundle) -> None:
    script = "sh -c 'trap \"echo child\" USR1; echo child ready; while :; do sleep 0.02; done' & "
    script += 'trap "echo first" USR1; while :; do sleep 0.02; done'
    id = ready(runtime, bundle, "sh", "-c", script)
    runtime.kill(id, "USR1")
    wait_until(lambda: "first\n" in runtime.output(id), "it does not come")
    assert "child\n" not in runtime.output(id)


@pytest.mark.parametrize("flag", ["--all", "-a"])
def test_all_processes_get_it(runtime: Runtime, bundle: MakeBundle, flag: str) -> None:
    script = "sh -c 'trap \"echo child\" USR1; echo child ready; while :; do sleep 0.02; done' & "
    script += 'trap "echo first" USR1; while :; do sleep 0.02; done'
    id = ready(runtime, bundle, "sh", "-c", script)
    runtime.kill(id, "USR1", flag)
    wait_until(lambda: "first\n" in runtime.output(id) and "child\n" in runtime.output(id), "it does not come to all")


def test_what_was_left_by_a_stopped_container_of_the_hosts_pids_is_killed(runtime: Runtime, bundle: MakeBundle) -> None:
    # engines do this after the first process of a container without a pid namespace has ended
    id = runtime.running(bundle("sh", "-c", "sleep 1000 & true").without_namespace("pid"))
    runtime.wait(id)
    left = processes_of(id)
    assert len(left) == 1
    runtime.kill(id, "KILL", "--all")
    wait_until(lambda: not alive(left[0]), "sleep goes on")


def test_killing_a_container_of_the_hosts_pids_kills_all_of_it(runtime: Runtime, bundle: MakeBundle) -> None:
    # runc's change log, 1.2.0: "`runc kill` option -a is now deprecated. Previously, it had to be specified to kill
    # a container (with SIGKILL) which does not have its own private PID namespace ... Now, this is done automatically"
    runtime.not_like("runc", "crun", because="does it since 1.2 and not in the version that is common")
    id = runtime.running(bundle("sh", "-c", "sleep 1000 & sleep 1000").without_namespace("pid"))
    wait_until(lambda: len(processes_of(id)) >= 2, "it does not run")
    runtime.kill(id, "KILL")
    wait_until(lambda: not processes_of(id), "a child goes on")


def test_stop_and_continue(runtime: Runtime, bundle: MakeBundle) -> None:
    id = ready(runtime, bundle, *POLITE)
    runtime.kill(id, "STOP")
    assert runtime.status(id) == "running"
    runtime.kill(id, "CONT")
    runtime.kill(id, "TERM")
    runtime.wait(id)
