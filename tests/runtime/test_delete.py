"""`delete`: everything that create made is gone (runtime.md, Delete)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.runtime.conftest import SLEEP, alive, cgroups, groups_of, processes_of, wait_until

if TYPE_CHECKING:
    from tests.runtime.conftest import MakeBundle, Runtime


def gone(runtime: Runtime, id: str, pid: int) -> None:
    """No record, no process, no cgroup."""
    assert runtime.status(id) == ""
    assert list(runtime.root.glob("*")) == []
    wait_until(lambda: not alive(pid), "the process goes on")
    assert groups_of(id) == []


def test_a_stopped_container(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle(*SLEEP)
    id = runtime.running(made)
    pid = runtime.pid(id)
    assert groups_of(id)
    runtime.stop(id)
    done = runtime("delete", id)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    gone(runtime, id, pid)
    assert (made.rootfs / "bin/busybox").exists()
    assert (made.path / "config.json").exists()


def test_a_running_one_is_refused_and_goes_on(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.running(bundle(*SLEEP))
    state = runtime.state(id)
    done = runtime("delete", id)
    assert done.returncode != 0
    assert done.stderr
    assert runtime.state(id) == state
    assert alive(state["pid"])


def test_a_paused_one_is_refused_and_goes_on(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.running(bundle(*SLEEP))
    runtime.ok("pause", id)
    assert runtime("delete", id).returncode != 0
    assert runtime.status(id) == "paused"
    assert alive(runtime.pid(id))


def test_a_created_one(runtime: Runtime, bundle: MakeBundle) -> None:
    # the specification has it refused; runc and crun delete it, and containerd relies on that for what it never started
    id = runtime.create(bundle(*SLEEP))
    pid = runtime.pid(id)
    runtime.delete(id)
    gone(runtime, id, pid)


@pytest.mark.parametrize("flag", ["--force", "-f"])
@pytest.mark.parametrize("status", ["created", "running", "paused", "stopped"])
def test_by_force_in_every_state(runtime: Runtime, bundle: MakeBundle, status: str, flag: str) -> None:
    id = runtime.create(bundle("sh", "-c", "sleep 1000 & sleep 1000"))
    pid = runtime.pid(id)
    if status != "created":
        runtime.start(id)
    if status == "paused":
        runtime.ok("pause", id)
    if status == "stopped":
        runtime.stop(id)
    assert runtime.status(id) == status
    runtime.delete(id, flag)
    gone(runtime, id, pid)
    assert processes_of(id) == []


def test_by_force_with_the_hosts_pids(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.running(bundle("sh", "-c", "sleep 1000 & sleep 1000").without_namespace("pid"))
    wait_until(lambda: len(processes_of(id)) >= 2, "it does not run")
    pids = processes_of(id)
    runtime.delete(id, "--force")
    wait_until(lambda: not any(map(alive, pids)), "a child goes on")
    assert groups_of(id) == []


def test_nobody(runtime: Runtime) -> None:
    done = runtime("delete", "nobody")
    assert done.returncode != 0
    assert done.stderr


def test_nobody_by_force_is_no_error(runtime: Runtime) -> None:
    # runc-delete(8) is called so by engines that clean up; crun(1) likewise
    assert runtime("delete", "--force", "nobody").returncode == 0


def test_twice(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.create(bundle("true"))
    runtime.delete(id, "--force")
    assert runtime("delete", id).returncode != 0
    assert runtime("delete", "--force", id).returncode == 0


@pytest.mark.parametrize("below", ["", "/below"])
def test_cgroups_that_another_container_has_come_to_use_are_left_to_it(
    runtime: Runtime, bundle: MakeBundle, below: str
) -> None:
    """It may, once they are empty: `delete` and `kill --all` are about the one that has ended."""
    runtime.not_like("crun", because="ends the other one")
    path = runtime.new_id()
    first, second = bundle("true"), bundle(*SLEEP)
    first.linux["cgroupsPath"], second.linux["cgroupsPath"] = f"/{path}", f"/{path}{below}"
    ended = runtime.running(first)
    runtime.wait(ended)
    other = runtime.running(second)
    if runtime.name == "cloche-runtime":
        runtime("kill", "--all", ended)
    done = runtime("delete", ended)
    assert done.returncode == 0
    assert runtime.status(ended) == ""
    assert runtime.status(other) == "running"
    if runtime.name == "cloche-runtime":
        assert done.stderr == f"cloche-runtime: warning: a cgroup stays as it is: container {other} is in there\n"
    runtime.delete(other, "--force")
    for group in groups_of(path):
        os.rmdir(group)


def test_cgroups_that_another_container_has_come_to_use_survive_a_create_that_fails(
    runtime: Runtime, bundle: MakeBundle
) -> None:
    runtime.not_like("runc", "crun", because="stops at a point between its groups and its process")
    path = runtime.new_id()
    first, second = bundle("nosuch"), bundle(*SLEEP)
    first.linux["cgroupsPath"] = second.linux["cgroupsPath"] = f"/{path}"
    first.write()
    failing = runtime.popen(
        *("create", "--bundle", str(first.path), runtime.new_id()),
        env={"CLOCHE_FAILPOINT": "ListenForStart:sleep"},
        stderr=subprocess.PIPE,
    )
    wait_until(lambda: len(groups_of(path)) > 0, "its groups")
    other = runtime.running(second)
    assert failing.poll() is None
    _, said = failing.communicate(timeout=20)
    assert (failing.returncode, b"nosuch" in said) == (1, True), said
    assert runtime.status(other) == "running"
    runtime.delete(other, "--force")
    assert groups_of(path) == []


def test_cgroups_that_were_made_below_the_containers_go_with_it(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.running(bundle(*SLEEP))
    pid = runtime.pid(id)
    for group in set(cgroups(pid).values()):
        if id in str(group):
            (group / "below/deeper").mkdir(parents=True)
    assert any(Path(group, "below/deeper").is_dir() for group in groups_of(id))
    runtime.stop(id)
    runtime.delete(id)
    gone(runtime, id, pid)


def test_others_stay(runtime: Runtime, bundle: MakeBundle) -> None:
    one, two = runtime.running(bundle(*SLEEP)), runtime.running(bundle(*SLEEP))
    runtime.delete(one, "--force")
    assert runtime.status(two) == "running"
    assert runtime.exec(two, "true").returncode == 0


def test_those_that_an_expression_is_found_in(runtime: Runtime, bundle: MakeBundle) -> None:
    runtime.not_like("runc", because="--regex is crun's")
    first = runtime.new_id()
    ids = [runtime.running(bundle(*SLEEP), id=id) for id in (first, f"{first}-a1", f"{first}-a2")]
    runtime.ok("kill", "--regex", f"{first}-a[12]$", "KILL")
    for id in ids[1:]:
        runtime.wait(id)
    runtime.ok("delete", "--regex", f"{first}-a[12]$")
    assert [runtime.status(id) for id in ids] == ["running", "", ""]


def test_an_expression_that_is_none(runtime: Runtime) -> None:
    runtime.not_like("runc", "crun", because="--regex is crun's, which finds nothing then, and says nothing")
    done = runtime("delete", "--regex", "a(")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr


def test_a_container_whose_first_process_was_killed_from_outside(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.create(bundle(*SLEEP))
    pid = runtime.pid(id)
    os.kill(pid, 9)
    runtime.wait(id)
    runtime.delete(id)
    gone(runtime, id, pid)
