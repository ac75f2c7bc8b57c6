"""`state`: what is told of a container, after each step (runtime.md, State)."""

from __future__ import annotations

import datetime
import os
from typing import TYPE_CHECKING

from tests.runtime.conftest import POLITE, SLEEP, alive, wait_until

if TYPE_CHECKING:
    from tests.runtime.conftest import MakeBundle, Reaper, Runtime


def test_after_every_step(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle(*POLITE)
    id = runtime.create(made)
    created = runtime.state(id)
    assert (created["status"], created["id"], created["bundle"]) == ("created", id, str(made.path))
    assert alive(created["pid"])
    runtime.start(id)
    running = runtime.state(id)
    assert (running["status"], running["pid"]) == ("running", created["pid"])
    wait_until(lambda: "ready" in runtime.output(id), "it is not ready")
    runtime.kill(id, "TERM")
    runtime.wait(id)
    stopped = runtime.state(id)
    assert (stopped["status"], stopped["id"], stopped["bundle"]) == ("stopped", id, str(made.path))
    assert "pid" not in stopped or stopped["pid"] == 0
    runtime.delete(id)
    gone = runtime("state", id)
    assert (gone.returncode != 0, gone.stdout, bool(gone.stderr)) == (True, "", True)


def test_the_members_that_engines_read(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle(*SLEEP)
    before = datetime.datetime.now(datetime.UTC)
    state = runtime.state(runtime.create(made))
    assert {"ociVersion", "id", "status", "pid", "bundle", "rootfs", "created", "owner"} <= set(state)
    assert state["ociVersion"].startswith("1.")
    created = datetime.datetime.fromisoformat(state["created"][:19] + "+00:00")  # RFC 3339 with any fraction
    assert state["created"].endswith("Z")
    assert abs((created - before).total_seconds()) < 60
    runtime.not_like("crun", because="tells the rootfs as it is in config.json")
    assert state["rootfs"] == str(made.rootfs)


def test_annotations_are_told(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle("true")
    made.config["annotations"] = {"org.example.a": "1", "org.example.ü": 'é\n"'}
    assert runtime.state(runtime.create(made))["annotations"] == made.config["annotations"]


def test_without_annotations_there_are_none(runtime: Runtime, bundle: MakeBundle) -> None:
    assert not runtime.state(runtime.create(bundle("true"))).get("annotations")


def test_a_process_that_nobody_has_reaped_is_stopped(runtime: Runtime, bundle: MakeBundle, reaper: Reaper) -> None:
    # runtime.md: stopped is "the container process has exited", and a zombie has
    runtime.not_like("crun", because="1.8 takes a zombie for a running process")
    with reaper.resting:
        id = runtime.create(bundle("true"))
        pid = runtime.pid(id)
        runtime.start(id)
        wait_until(lambda: runtime.status(id) == "stopped", "the status of a zombie is another")
        assert os.path.exists(f"/proc/{pid}")
        runtime.delete(id)


def test_a_process_killed_from_outside_is_stopped(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.running(bundle(*SLEEP))
    os.kill(runtime.pid(id), 9)
    runtime.wait(id)
    runtime.delete(id)


def test_a_bundle_that_has_been_removed_is_not_missed(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle(*SLEEP)
    id = runtime.running(made)
    made.path.rename(made.path.with_name("moved"))
    assert runtime.status(id) == "running"
    runtime.stop(id)
    runtime.delete(id)
    assert runtime.status(id) == ""


def test_nobody(runtime: Runtime) -> None:
    done = runtime("state", "nobody")
    assert (done.returncode != 0, done.stdout, bool(done.stderr)) == (True, "", True)


def test_another_state_directory_has_other_containers(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.create(bundle("true"))
    here, runtime.root = runtime.root, runtime.top / "other"
    try:
        assert runtime.status(id) == ""
    finally:
        runtime.root = here
    assert runtime.status(id) == "created"


def test_the_state_is_nobody_elses(runtime: Runtime, bundle: MakeBundle) -> None:
    """Who could replace what lies above it could have the caller run hooks, whatever umask an engine has."""
    runtime.root = runtime.top / "deep/er/state"
    id = runtime.create(bundle(*SLEEP), umask=0)
    for path in (runtime.top / "deep", runtime.top / "deep/er", runtime.root, *runtime.root.rglob("*")):
        if not path.is_socket():
            assert path.stat().st_mode & 0o022 == 0, path
    runtime.delete(id, "--force")
