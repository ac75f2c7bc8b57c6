"""`list`: the containers of a state directory."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.runtime.conftest import SLEEP

if TYPE_CHECKING:
    from tests.runtime.conftest import MakeBundle, Runtime


@pytest.mark.parametrize("flag", ["--quiet", "-q"])
def test_only_the_ids(runtime: Runtime, bundle: MakeBundle, flag: str) -> None:
    ids = [runtime.create(bundle(*SLEEP)) for _ in range(3)]
    assert sorted(runtime.ok("list", flag).split()) == sorted(ids)


def test_nothing(runtime: Runtime) -> None:
    assert runtime.ok("list", "-q") == ""
    assert json.loads(runtime.ok("list", "--format", "json")) in ([], None)
    assert len(runtime.ok("list").splitlines()) == 1


@pytest.mark.parametrize("words", [[], ["--format", "table"], ["-f", "table"]])
def test_as_a_table(runtime: Runtime, bundle: MakeBundle, words: list[str]) -> None:
    made = bundle(*SLEEP)
    id = runtime.running(made)
    head, line = runtime.ok("list", *words).splitlines()
    assert [word for word in head.split() if word != "PATH"][1:] == ["PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    found = line.split()
    assert found[:4] == [id, str(runtime.pid(id)), "running", str(made.path)]
    assert found[-1] == "root"


@pytest.mark.parametrize("flag", ["--format", "-f"])
def test_as_json(runtime: Runtime, bundle: MakeBundle, flag: str) -> None:
    made = bundle(*SLEEP)
    made.config["annotations"] = {"org.example": "1"}
    ids = {
        "created": runtime.create(made),
        "running": runtime.running(made),
        "paused": runtime.running(made),
        "stopped": runtime.running(bundle("true")),
    }
    runtime.ok("pause", ids["paused"])
    runtime.wait(ids["stopped"])
    found = {item["id"]: item for item in json.loads(runtime.ok("list", flag, "json"))}
    assert {item["status"]: item["id"] for item in found.values()} == ids
    for status, id in ids.items():
        state = runtime.state(id)
        assert {"id", "pid", "status", "bundle", "created", "owner"} <= set(found[id])
        same = {"id", "status", "bundle", "created", "pid"}
        assert {key: found[id][key] for key in same} == {key: state[key] for key in same}, status
        assert found[id]["owner"] == "root"
    runtime.not_like("crun", because="tells less")
    assert found[ids["created"]]["annotations"] == {"org.example": "1"}
    assert found[ids["created"]]["rootfs"] == str(made.rootfs)


def test_an_unknown_format(runtime: Runtime) -> None:
    done = runtime("list", "--format", "nothing")
    assert done.returncode != 0
    assert "format" in done.stderr


def test_a_file_in_the_state_directory_does_not_disturb(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.create(bundle(*SLEEP))
    (runtime.root / "file").write_text("")
    runtime.not_like("crun", because="reports an error for what is not its own")
    try:
        assert runtime.ok("list", "-q").split() == [id]
    finally:
        os.unlink(runtime.root / "file")
