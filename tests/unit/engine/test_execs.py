"""What one more process of a container gets, and the records of those that run."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from cloche.engine import execs
from cloche.engine.containers import Container
from cloche.errors import ConflictError, SpecError
from cloche.linux import seccomp

ID, OTHER = "a" * 64, "b" * 64
FACTS = {
    "groups": [],
    "filter": ["060000000000ff7f", 0],
    "landlock": [[["/"], ["/tmp", "/run"], 5, True]],
    "capabilities": ["CAP_CHOWN"],
    "no_new_privs": True,
    "rlimits": [["RLIMIT_NOFILE", 10, 20]],
    "umask": 0o027,
    "oom_score_adj": 5,
}


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory of the test's own."""
    monkeypatch.setenv("CLOCHE_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def asked(*argv: str) -> execs.Asked:
    return execs.Asked(argv=argv or ("true",))


def test_a_record_is_true_as_long_as_the_process_runs() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        path = execs.add(ID, "e1", child.pid, asked("sleep", "60"))
        found = execs.of(ID)
        assert [(facts["id"], facts["pid"], facts["command"]) for facts in found] == [
            ("e1", child.pid, ["sleep", "60"])
        ]
        assert execs.of(OTHER) == []
        child.kill()
    assert execs.of(ID) == []
    assert not os.path.lexists(path)


def test_who_adds_one_removes_those_of_the_dead_of_any_container(state: Path) -> None:
    with subprocess.Popen(["true"]) as child:
        execs.add(OTHER, "dead", child.pid, asked())
    execs.add(ID, "mine", os.getpid(), asked())
    assert [path.name for path in (state / "execs").iterdir()] == [f"{ID}.mine"]


def test_a_record_of_another_boot_or_process_is_none(state: Path) -> None:
    path = execs.add(ID, "mine", os.getpid(), asked())
    facts = json.loads(os.readlink(path))
    for wrong in ({"boot": "another"}, {"start": facts["start"] - 1}, {"pid": 2**22 + 1}):
        os.symlink(json.dumps({**facts, **wrong}), state / "execs" / f"{ID}.wrong")
        assert [found["id"] for found in execs.of(ID)] == ["mine"]
        assert os.listdir(state / "execs") == [f"{ID}.mine"]


@pytest.mark.parametrize("junk", ["", "nothing", "[]", "{", '{"pid": "x"}', '"a"'])
def test_junk_is_no_record(state: Path, junk: str) -> None:
    (state / "execs").mkdir(parents=True)
    if junk:
        os.symlink(junk, state / "execs" / f"{ID}.junk")
    else:
        (state / "execs" / f"{ID}.junk").write_text("{}")
    assert execs.of(ID) == []
    assert os.listdir(state / "execs") == []


def test_a_command_that_is_too_long_for_a_record_is_shortened() -> None:
    execs.add(ID, "long", os.getpid(), asked("x" * 3000, "é" * 3000))
    assert execs.of(ID)[0]["command"] == ["x" * 200, "…"]


def test_it_gets_what_holds_the_container() -> None:
    found = execs.confinement_of(FACTS)
    assert found.program == (bytes.fromhex("060000000000ff7f"), 0)
    assert found.landlock == ((("/",), ("/tmp", "/run"), 5, True),)
    assert (found.capabilities, found.no_new_privs, found.umask) == (("CAP_CHOWN",), True, 0o027)
    assert (found.rlimits, found.oom_score_adj) == ((("RLIMIT_NOFILE", 10, 20),), 5)


def test_privileged_lifts_what_filters_and_no_limit() -> None:
    found = execs.confinement_of(FACTS, privileged=True)
    assert (found.program, found.landlock, found.no_new_privs) == (None, (), False)
    assert "CAP_SYS_ADMIN" in found.capabilities
    assert (found.rlimits, found.oom_score_adj) == ((("RLIMIT_NOFILE", 10, 20),), 5)


def test_variables() -> None:
    own = ("PATH=/bin", "A=1", "B=2")
    assert execs.environment(own, (), tty=False) == own
    assert execs.environment(own, (), tty=True) == (*own, "TERM=xterm")
    assert execs.environment((*own, "TERM=x"), (), tty=True) == (*own, "TERM=x")
    assert execs.environment(own, ("A=", "B", "C=a=b", "D"), tty=False) == ("PATH=/bin", "A=", "C=a=b")


def test_a_variable_without_a_value_is_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "here")
    monkeypatch.delenv("ABSENT", raising=False)
    assert execs.asked_variables(["MINE", "ABSENT", "X=", "Y=1=2"]) == ("MINE=here", "ABSENT", "X=", "Y=1=2")
    with pytest.raises(SpecError, match="has no name"):
        execs.asked_variables(["=x"])


@pytest.mark.parametrize(("state", "said"), [("exited", "is not running"), ("created", "is not running")])
def test_only_a_running_container_can_be_entered(state: str, said: str) -> None:
    container = Container("", {"id": ID, "name": "web"}, {"status": state, "pid": 0, "entry": {}})
    with pytest.raises(ConflictError, match=f"container {ID} {said}"):
        execs.check_running(container)


def test_a_paused_container_is_not_entered() -> None:
    entry = {"pid": os.getpid(), "groups": [], "capabilities": []}
    container = Container("", {"id": ID, "name": "web"}, {"status": "paused", "pid": os.getpid(), "entry": entry})
    with pytest.raises(ConflictError, match="web is paused, unpause the container before exec"):
        execs.check_running(container)


@pytest.mark.parametrize(
    ("file", "text", "stopped"),
    [
        ("cgroup.freeze", "1\n", True),
        ("cgroup.freeze", "0\n", False),
        ("freezer.self_freezing", "1\n", True),
        ("freezer.self_freezing", "0\n", False),
        ("cgroup.procs", "1\n", False),
    ],
)
def test_what_was_frozen_by_others_is_paused(tmp_path: Path, file: str, text: str, stopped: bool) -> None:
    (tmp_path / file).write_text(text)
    entry = {"pid": os.getpid(), "groups": ["/no/such", str(tmp_path)], "capabilities": []}
    container = Container("", {"id": ID, "name": ""}, {"status": "running", "pid": os.getpid(), "entry": entry})
    if not stopped:
        execs.check_running(container)
        return
    with pytest.raises(ConflictError, match=f"container {ID[:12]} is paused"):
        execs.check_running(container)


def test_a_container_whose_process_is_another_by_now_has_ended() -> None:
    entry = {"pid": os.getpid(), "start": 1, "groups": [], "capabilities": []}
    container = Container("", {"id": ID, "name": "web"}, {"status": "running", "pid": os.getpid(), "entry": entry})
    with pytest.raises(ConflictError, match="is not running"):
        execs.hold(container)


def test_a_filter_that_asks_becomes_one_that_refuses() -> None:
    allow, ask = bytes.fromhex("060000000000ff7f"), bytes.fromhex("060000000000c07f")
    load = bytes.fromhex("200000000000c07f")  # the same number in another instruction is not touched
    refuse = bytes.fromhex("0600000001000500")
    assert seccomp.refusing(allow + load + ask + ask) == allow + load + refuse + refuse
