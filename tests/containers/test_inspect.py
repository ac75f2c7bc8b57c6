"""`cloche inspect`: the document, its templates, names that are nobody's, and what is damaged or hostile."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.containers.made import NIL, Store, at

if TYPE_CHECKING:
    from tests.conftest import Cli

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\nx\ty"


def inspect(cli: Cli, store: Store, *words: str) -> list[dict[str, Any]]:
    done = cli("inspect", *words, env=store.env)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert isinstance(found, list)
    return found


def template(cli: Cli, store: Store, text: str, *names: str) -> str:
    done = cli("inspect", "-f", text, *names, env=store.env)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.rstrip("\n")


def test_one_that_runs(cli: Cli, store: Store) -> None:
    folder = store.run("web", 300, labels={"a": "b"}, command=["/bin/sh", "-c", "x"], exposed=["80", "53/udp"])
    (found,) = inspect(cli, store, "web")
    assert found == inspect(cli, store, folder.name[:9])[0] == inspect(cli, store, "/web")[0]
    assert found["Id"] == folder.name
    assert (found["Name"], found["Path"], found["Args"]) == ("/web", "/bin/sh", ["-c", "x"])
    state = found["State"]
    assert (state["Status"], state["Running"], state["Paused"], state["Dead"]) == ("running", True, False, False)
    assert state["Pid"] > 0
    assert state["FinishedAt"] == "0001-01-01T00:00:00Z"
    assert "Health" not in state
    assert found["Config"]["Labels"] == {"a": "b"}
    assert found["Config"]["ExposedPorts"] == {"80/tcp": {}, "53/udp": {}}
    assert found["GraphDriver"]["Data"]["UpperDir"] == f"{folder}/layer/upper"
    assert found["GraphDriver"]["Data"]["MergedDir"] == f"/proc/{state['Pid']}/root"
    assert found["NetworkSettings"]["SandboxKey"] == f"/proc/{state['Pid']}/ns/net"
    assert found["NetworkSettings"]["Networks"].keys() == {"none"}
    assert (found["Receipt"], found["Reason"]) == (None, None)


def test_one_that_has_ended(cli: Cli, store: Store) -> None:
    reason = {"kind": "out of memory", "text": "the limit was reached", "hint": "give it more: --memory", "blocked": []}
    folder = store.end("hungry", 137, oom=True, reason=reason, by="user", restarts=2)
    (folder / "receipt.json").write_text('{"seccomp": {"enforced": true, "detail": "the default profile"}}')
    (found,) = inspect(cli, store, "hungry")
    state = found["State"]
    assert (state["Status"], state["ExitCode"], state["OOMKilled"], state["Pid"]) == ("exited", 137, True, 0)
    assert (state["Running"], found["RestartCount"]) == (False, 2)
    assert found["Reason"] == {
        "Kind": "out of memory",
        "Text": "the limit was reached",
        "Hint": "give it more: --memory",
        "Blocked": [],
        "By": "user",
    }
    assert found["Receipt"] == {"seccomp": {"enforced": True, "detail": "the default profile"}}


def test_an_exit_code_that_nobody_has_seen_is_not_0(cli: Cli, store: Store) -> None:
    store.end("lost", None)
    store.run("gone", state={"boot": "another"})
    for name in ("lost", "gone"):
        assert (
            template(cli, store, "{{.State.Status}} {{json .State.ExitCode}} {{.State.Pid}}", name) == "exited null 0"
        )


def test_health(cli: Cli, store: Store) -> None:
    probe = {"start": at(5), "end": at(4), "exit_code": 1, "output": "no answer\n"}
    store.run("web", 60, {"health": {"status": "unhealthy", "failing": 3, "log": [probe]}})
    (found,) = inspect(cli, store, "web")
    assert found["State"]["Health"] == {
        "Status": "unhealthy",
        "FailingStreak": 3,
        "Log": [{"Start": probe["start"], "End": probe["end"], "ExitCode": 1, "Output": "no answer\n"}],
    }


def test_a_whole_number_of_seconds_is_one_as_docker_has_it(cli: Cli, store: Store) -> None:
    for name, given in (("whole", 3.0), ("part", 2.5)):
        store.make(name, options={"stop_timeout": str(given)}, stop_timeout=given)
    form = "{{.Config.StopTimeout}} {{json .Config.StopTimeout}}"
    assert template(cli, store, form, "whole", "part") == "3 3\n2.5 2.5"


def test_sizes(cli: Cli, store: Store) -> None:
    folder = store.run("web")
    (folder / "layer/upper/file").write_bytes(bytes(100))
    assert "SizeRw" not in inspect(cli, store, "web")[0]
    (found,) = inspect(cli, store, "-s", "web")
    assert (found["SizeRw"], found["SizeRootFs"]) == (100, 100)


def test_templates(cli: Cli, store: Store) -> None:
    store.run("web", labels={"a": "b"})
    store.end("job", 3)
    both = template(cli, store, "{{.Name}} {{.State.Status}}{{if .Reason}} {{.Reason.Kind}}{{end}}", "web", "job")
    assert both == "/web running\n/job exited"
    assert template(cli, store, '{{index .Config.Labels "a"}} {{json .Config.Cmd}}', "web") == 'b ["sleep","100"]'
    assert json.loads(template(cli, store, "json", "web", "job"))[1]["Name"] == "/job"
    assert json.loads(template(cli, store, "{{json .}}", "web"))["Name"] == "/web"
    for text, says in (("{{.Nope}}", "there is no .Nope"), ("{{", "without }}")):
        done = cli("inspect", "-f", text, "web", env=store.env)
        assert (done.returncode, done.stdout) == (1, "")
        assert says in done.stderr


def test_members_that_are_nil_can_be_asked_for(cli: Cli, store: Store) -> None:
    folder = store.make("web", labels={"a": "b"}, mounts=[{"Type": "bind", "Source": "/tmp", "Destination": "/t"}])
    lines = template(cli, store, "\n".join([*NIL, "{{.ID}}", "{{json .}}"]), "web").split("\n")
    assert dict(zip(NIL, lines, strict=False)) == NIL
    assert lines[len(NIL)] == folder.name
    document = json.loads(lines[-1])
    assert document == inspect(cli, store, "web")[0] == json.loads(template(cli, store, "json", "web"))[0]
    assert not {"ID", "SizeRw"} & set(document)
    assert not {"ExposedPorts", "StopSignal", "StopTimeout", "Healthcheck"} & set(document["Config"])
    assert not {"Mounts", "Tmpfs", "Init", "Sysctls", "Annotations"} & set(document["HostConfig"])


def test_what_a_nil_member_does_not_have(cli: Cli, store: Store) -> None:
    store.make("web")
    for text in ("{{.State.Health.Status}}", "{{.Config.Healthcheck.Test}}", "{{upper .Config.Labels.foo}}"):
        done = cli("inspect", "-f", text, "web", env=store.env)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert done.stderr.startswith(f"cloche: --format '{text}': ")


def test_names_that_are_nobodys(cli: Cli, store: Store) -> None:
    store.run("web")
    for words, says in (
        (("inspect", "nope"), "No such object: nope"),
        (("inspect", "-s", "nope"), "No such object: nope"),
        (("inspect", "--type", "container", "nope"), "No such container: nope"),
        (("container", "inspect", "nope"), "No such container: nope"),
        (("inspect", "--type", "image", "nope"), "no such image: nope"),
        (("inspect", ""), "invalid container name or ID: value is empty"),
    ):
        done = cli(*words, env=store.env)
        assert (done.returncode, done.stdout) == (1, "[]\n")
        assert done.stderr.startswith(f"cloche: {says}\n")
    done = cli("inspect", "-f", "{{.Name}}", "nope", "web", "neither", env=store.env)
    assert (done.returncode, done.stdout) == (1, "/web\n")
    assert done.stderr.count("No such object") == 2
    done = cli("inspect", "--type", "foo", "web", env=store.env)
    assert (done.returncode, done.stdout) == (1, "")
    assert 'unknown type: "foo": must be one of "container"' in done.stderr


def test_a_beginning_of_two_ids(cli: Cli, store: Store) -> None:
    folders = [store.run(f"c{number}") for number in range(17)]
    first = [folder.name[0] for folder in folders]
    twice = next(digit for digit in first if first.count(digit) > 1)
    done = cli("inspect", twice, env=store.env)
    assert (done.returncode, done.stdout) == (1, "[]\n")
    assert f"Multiple IDs found with provided prefix: {twice}" in done.stderr


def test_evil_words(cli: Cli, store: Store) -> None:
    folder = store.run("web", labels={EVIL: EVIL}, command=[EVIL], image=EVIL, state={"error": EVIL})
    (folder / "receipt.json").write_text(json.dumps({EVIL: {"enforced": True, "detail": EVIL}}))
    done = cli("inspect", "web", env=store.env)
    assert done.stdout.isascii()
    assert json.loads(done.stdout)[0]["Config"]["Labels"] == {EVIL: EVIL}
    for text in ("{{.Path}}", "{{json .}}", "json", "{{.State.Error}}", "{{.Receipt}}{{.Config.Labels}}"):
        lines = template(cli, store, text, "web").splitlines()
        assert all(part.isprintable() for line in lines for part in line.split("\t"))


@pytest.mark.parametrize(
    "content",
    [
        b"{}",
        b'{"options": {"memory": [], "volume": "x", "ulimit": ["a", 5], "device": [""], "mount": ["x"], "cpus": "a"}}',
        b'{"options": {"entrypoint": 5, "command": null, "tmpfs": ["x"], "device_read_bps": ["x"], "env": [1]}}',
        b'{"keep": {"log_options": 5, "health_interval": "x"}, "command": [null], "labels": {"a": 1}, "mounts": [5]}',
    ],
)
def test_a_document_that_is_damaged(cli: Cli, store: Store, content: bytes) -> None:
    folder = store.run("web")
    (folder / "container.json").write_bytes(content)
    for receipt in (b"", b"[]", b"{"):
        (folder / "receipt.json").write_bytes(receipt)
        (found,) = inspect(cli, store, folder.name)
        assert found["Id"] == folder.name


@pytest.mark.parametrize("health", [5, [], {"status": 5, "log": 7}, {"status": "healthy", "log": [5, {}]}])
def test_a_state_that_is_damaged(cli: Cli, store: Store, health: object) -> None:
    store.run("web", state={"health": health, "reason": {"kind": 5}})
    (found,) = inspect(cli, store, "web")
    assert found["State"]["Status"] == "running"
