"""`events`: what a container uses, and when it runs out of memory, as lines of JSON."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.runtime.conftest import SLEEP

if TYPE_CHECKING:
    from tests.runtime.conftest import MakeBundle, Runtime


@pytest.fixture(autouse=True)
def _not_crun(runtime: Runtime) -> None:
    runtime.not_like("crun", because="does not know `events`")


def stats(runtime: Runtime, id: str) -> dict[str, Any]:
    lines = runtime.ok("events", "--stats", id).splitlines()
    assert len(lines) == 1
    found: dict[str, Any] = json.loads(lines[0])
    return found


def test_interrupted(runtime: Runtime, bundle: MakeBundle) -> None:
    runtime.not_like("runc", because="dies of the signal")
    id = runtime.running(bundle(*SLEEP))
    child = runtime.popen("events", "--interval", "10ms", id, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stderr is not None
    assert child.stdout.readline().startswith(b'{"type"')
    child.send_signal(signal.SIGINT)
    assert child.stderr.read() == b""
    assert child.wait() == 130


def test_once(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle(*SLEEP)
    made.linux["resources"]["memory"] = {"limit": 64 << 20}
    made.linux["resources"]["pids"] = {"limit": 77}
    id = runtime.running(made)
    event = stats(runtime, id)
    assert (event["type"], event["id"]) == ("stats", id)
    data = event["data"]
    assert data["pids"] == {"current": 1, "limit": 77}
    assert data["memory"]["usage"]["limit"] == 64 << 20
    assert 0 < data["memory"]["usage"]["usage"] < 64 << 20
    assert data["cpu"]["usage"]["total"] > 0
    assert {"cpu", "memory", "pids", "blkio"} <= set(data)


def test_they_grow(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.running(bundle("sh", "-c", "while :; do :; done"))
    first = stats(runtime, id)["data"]["cpu"]["usage"]["total"]
    runtime.exec(id, "sleep", "0.2")
    assert stats(runtime, id)["data"]["cpu"]["usage"]["total"] > first


def test_again_and_again(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.running(bundle(*SLEEP))
    child = runtime.popen("events", "--interval", "100ms", id, stdout=subprocess.PIPE)
    assert child.stdout
    for _ in range(3):
        assert json.loads(child.stdout.readline())["type"] == "stats"
    runtime.stop(id)
    runtime.delete(id)
    child.wait(20)


def test_over_when_the_container_is(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.running(bundle(*SLEEP))
    child = runtime.popen("events", "--interval", "1h", id)
    time.sleep(0.5)
    runtime.stop(id)
    assert child.wait(20) == 0
    assert runtime.status(id) == "stopped"  # not deleted yet


@pytest.mark.parametrize("word", ["5s", "1m0.5s", "1h15m30s", "100us", "1500000ns", ".5h", "2562047h"])
def test_an_interval_as_go_writes_it(runtime: Runtime, bundle: MakeBundle, word: str) -> None:
    # runc-events(8): "Duration is a sequence of decimal numbers, each with optional fraction and a unit suffix"
    id = runtime.running(bundle(*SLEEP))
    assert json.loads(runtime.ok("events", "--stats", "--interval", word, id))["type"] == "stats"
    child = runtime.popen("events", "--interval", word, id, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(0.5)
    runtime.stop(id)
    runtime.delete(id)
    out, err = child.communicate(timeout=20)
    assert err == b""
    assert bool(out) is word.endswith(("us", "ns"))


@pytest.mark.parametrize("word", ["", "5", "s", "-1s", "0s", "5s5", "1.2.3s", "5 s", "5y", "1e3s"])
def test_an_interval_that_cannot_be(runtime: Runtime, bundle: MakeBundle, word: str) -> None:
    done = runtime("events", "--stats", f"--interval={word}", runtime.running(bundle(*SLEEP)))
    assert done.returncode != 0
    assert done.stderr
    assert done.stdout == "" or runtime.name == "runc"  # which explains all its options there


def test_out_of_memory(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle("sh", "-c", "head -c 100m /dev/zero | tail >/dev/null; sleep 1000")
    made.linux["resources"]["memory"] = {"limit": 16 << 20, "swap": 16 << 20}
    id = runtime.create(made)
    child = runtime.popen("events", "--interval", "100ms", id, stdout=subprocess.PIPE)
    assert child.stdout
    assert child.stdout.readline()  # it looks
    runtime.start(id)
    for line in child.stdout:
        event = json.loads(line)
        if event["type"] == "oom":
            assert event["id"] == id
            break
    else:
        raise AssertionError("nothing is told")


def test_a_stopped_container(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.running(bundle("true"))
    runtime.wait(id)
    done = runtime("events", "--stats", id)
    assert done.returncode != 0
    assert done.stderr


def test_nobody(runtime: Runtime) -> None:
    done = runtime("events", "--stats", "nobody")
    assert done.returncode != 0
    assert done.stderr
