"""`explain`: the plan of `create`, and nothing else."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.runtime.conftest import SLEEP

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runtime.conftest import MakeBundle, Runtime


@pytest.fixture(autouse=True)
def _only_here(runtime: Runtime) -> None:
    runtime.not_like("runc", "crun", because="explains nothing")


def test_nothing_is_changed(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    made = bundle(*SLEEP)
    made.write()
    id = runtime.new_id()
    below, pid_file = place / "state", place / "pid"
    words = ["explain", "--bundle", str(made.path), "--pid-file", str(pid_file), id]
    done = subprocess.run([*runtime.command, "--root", str(below), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not below.exists()
    assert not pid_file.exists()
    found = subprocess.run(["find", "/sys/fs/cgroup", "-name", id], capture_output=True, text=True, check=True)
    assert found.stdout == ""
    assert "execve(" in done.stdout
    assert done.stdout.index("cloche-runtime, outside:") < done.stdout.index("the new process, inside:")


def test_the_receipt_is_that_of_create(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle(*SLEEP)
    made.linux["resources"] = {"pids": {"limit": 50}}
    made.write()
    id = runtime.new_id()
    explained = json.loads(runtime("explain", "--bundle", str(made.path), "--format", "json", id).stdout)
    runtime.create(made, id=id)
    written = json.loads((runtime.root / id / "receipt.json").read_text())
    assert explained["receipt"] == written
    assert written["pids"] == {"enforced": True, "detail": "at most 50 processes and threads"}


def test_the_steps_follow_the_configuration(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle("sleep", "12345")
    made.config["hostname"] = "explained"

    def steps() -> dict[str, str]:
        made.write()
        done = runtime("explain", "--bundle", str(made.path), "--format", "json", runtime.new_id())
        assert done.returncode == 0, done.stderr
        return {step["operation"]: "\n".join(step["calls"]) for step in json.loads(done.stdout)["steps"]}

    first = steps()
    assert '"12345"' in first["Execute"]
    assert '"explained"' in first["SetHostName"]
    assert "NoNewPrivileges" in first
    del made.config["hostname"]
    made.process["noNewPrivileges"] = False
    assert not {"SetHostName", "NoNewPrivileges"} & steps().keys()


def test_what_create_refuses_it_refuses(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle(*SLEEP)
    made.process["rlimits"] = [{"type": "RLIMIT_NONSENSE", "soft": 1, "hard": 1}]
    made.write()
    explained = runtime("explain", "--bundle", str(made.path), runtime.new_id())
    created = runtime("create", "--bundle", str(made.path), runtime.new_id())
    assert (explained.returncode, explained.stderr) == (created.returncode, created.stderr)
    assert explained.returncode == 1
    assert "RLIMIT_NONSENSE" in explained.stderr


def test_other_formats_are_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle(*SLEEP)
    made.write()
    done = runtime("explain", "--bundle", str(made.path), "--format", "yaml", runtime.new_id())
    assert (done.returncode, done.stdout) == (1, "")
    assert "text or json" in done.stderr


def test_the_receipt_says_how_the_interpreter_is_protected(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle(*SLEEP)

    def stage() -> str:
        made.write()
        done = runtime("explain", "--bundle", str(made.path), "--format", "json", runtime.new_id())
        assert done.returncode == 0, done.stderr
        return str(json.loads(done.stdout)["receipt"]["stage"]["detail"])

    assert "is a copy that nobody can write" in stage()
    made.linux["namespaces"].append({"type": "user"})
    made.linux["uidMappings"] = made.linux["gidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    assert "cannot be written by anybody" in stage()
