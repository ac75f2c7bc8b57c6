"""A container's life under an engine: created, started, paused, signalled, stopped, restarted, watched, removed."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.engines.daemons import IMAGE, USER, Engine, succeed

STATUS = "{{.State.Status}}"
CODE = "{{.State.ExitCode}}"
# says that it is ready, and then once more for each USR1
COUNTING = "trap 'echo usr1' USR1; trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done"
DEAF = "trap '' TERM; echo ready; while :; do sleep 0.05; done"


def start(engine: Engine, name: str, script: str, *options: str) -> None:
    """A detached container that runs a script, which has said "ready" when this returns."""
    succeed(engine("run", "-d", "--name", name, *options, IMAGE, "sh", "-c", script))
    await_log(engine, name, "ready")


def await_log(engine: Engine, name: str, wanted: str, times: int = 1) -> None:
    """Wait until a word was written so many times."""
    deadline = time.monotonic() + 20
    while (log := succeed(engine("logs", name))).count(wanted) < times:
        assert time.monotonic() < deadline, log
        time.sleep(0.05)


def test_it_is_a_container_of_the_runtime_under_test(engine: Engine, oci_runtime: str, name: str) -> None:
    """Its state is where the engine tells the runtime to have it, and can be read by no other."""
    start(engine, name, COUNTING)
    identity, pid = engine.identity(name), engine.inspect(name, "{{.State.Pid}}")
    above = "runtime-*/moby" if engine.kind == "docker" else Path(oci_runtime).name
    found = engine.room.run("find", "/run", str(engine.room.folder), "-path", f"*/{above}/{identity}")
    root = str(Path(succeed(found).splitlines()[0]).parent)
    become = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"] if engine.kind == "rootless" else []
    told = json.loads(succeed(engine.room.run(*become, oci_runtime, "--root", root, "state", identity)))
    assert (told["id"], told["status"], str(told["pid"])) == (identity, "running", pid)


def test_create_then_start(engine: Engine, name: str) -> None:
    succeed(engine("create", "--name", name, IMAGE, "sh", "-c", "echo started; exit 3"))
    assert engine.inspect(name, STATUS) == "created"
    done = engine("start", "-a", name)
    assert (done.returncode, done.stdout) == (3, "started\n")
    assert engine.inspect(name, STATUS + CODE) == "exited3"


def test_started_again(engine: Engine, name: str) -> None:
    succeed(engine("create", "--name", name, IMAGE, "sh", "-c", "echo x >>/tmp/starts; wc -l </tmp/starts"))
    assert [succeed(engine("start", "-a", name)) for _ in range(3)] == ["1", "2", "3"]


def test_detached_logs_and_wait(engine: Engine, name: str) -> None:
    succeed(engine("run", "-d", "--name", name, IMAGE, "sh", "-c", "echo out; echo err >&2; sleep 0.3; exit 6"))
    assert succeed(engine("wait", name)) == "6"
    done = engine("logs", name)
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


def test_a_great_log_is_whole(engine: Engine, name: str) -> None:
    succeed(engine("run", "-d", "--name", name, IMAGE, "sh", "-c", "seq 1 20000; echo end"))
    succeed(engine("wait", name))
    await_log(engine, name, "end")
    assert engine("logs", name).stdout.split() == [*map(str, range(1, 20001)), "end"]


def test_stop_asks_first(engine: Engine, name: str) -> None:
    start(engine, name, COUNTING)
    succeed(engine("stop", "-t", "30", name))
    assert engine.inspect(name, STATUS + CODE) == "exited5"


def test_stop_kills_who_does_not_listen(engine: Engine, name: str) -> None:
    start(engine, name, DEAF)
    before = time.monotonic()
    succeed(engine("stop", "-t", "1", name))
    assert time.monotonic() - before >= 1.0  # it was given its time
    assert engine.inspect(name, STATUS + CODE) == "exited137"


def test_a_stop_signal_of_its_own(engine: Engine, name: str) -> None:
    start(engine, name, "trap 'exit 8' QUIT; echo ready; while :; do sleep 0.05; done", "--stop-signal", "QUIT")
    succeed(engine("stop", "-t", "30", name))
    assert engine.inspect(name, STATUS + CODE) == "exited8"


@pytest.mark.parametrize("signal", ["USR1", "SIGUSR1", "10"])
def test_a_signal_arrives(engine: Engine, name: str, signal: str) -> None:
    start(engine, name, COUNTING)
    succeed(engine("kill", "-s", signal, name))
    await_log(engine, name, "usr1")
    assert engine.inspect(name, STATUS) == "running"


def test_kill(engine: Engine, name: str) -> None:
    start(engine, name, DEAF)
    succeed(engine("kill", name))
    assert succeed(engine("wait", name)) == "137"
    assert "running" in engine("kill", name).stderr  # …is not running, can only kill running containers


def test_a_death_from_outside_is_noticed(engine: Engine, name: str) -> None:
    start(engine, name, DEAF)
    succeed(engine.room.run("kill", "-9", engine.inspect(name, "{{.State.Pid}}")))
    assert succeed(engine("wait", name)) == "137"


def test_all_that_run_in_it_end_with_it(engine: Engine, name: str) -> None:
    start(engine, name, "sleep 4321 & sleep 4321 & echo ready; wait")
    succeed(engine("exec", "-d", name, "sleep", "4321"))
    engine("kill", name)
    succeed(engine("wait", name))
    assert "sleep\0004321" not in succeed(engine.room.run("sh", "-c", "cat /proc/[0-9]*/cmdline 2>/dev/null; :"))


def test_pause_and_unpause(rootful: Engine, name: str) -> None:
    start(rootful, name, "echo ready; while :; do echo x >>/tmp/count; sleep 0.01; done")
    succeed(rootful("pause", name))
    assert rootful.inspect(name, STATUS) == "paused"
    # frozen: the processes are told by the kernel to be so, and a signal does not wake them
    pid = rootful.inspect(name, "{{.State.Pid}}")
    assert rootful.room.limit(rootful.identity(name), "freezer.state", "cgroup.freeze") in {"FROZEN", "1"}
    sleeping = succeed(rootful.room.run("cat", f"/proc/{pid}/schedstat"))
    time.sleep(0.3)
    assert succeed(rootful.room.run("cat", f"/proc/{pid}/schedstat")) == sleeping
    assert rootful("exec", name, "true").returncode != 0
    succeed(rootful("unpause", name))
    assert rootful.inspect(name, STATUS) == "running"
    script = 'n=$(wc -l </tmp/count); until [ "$(wc -l </tmp/count)" -gt "$n" ]; do sleep 0.02; done'
    succeed(rootful("exec", name, "sh", "-c", script))


def test_a_paused_one_can_be_removed(rootful: Engine, name: str) -> None:
    start(rootful, name, DEAF)
    identity = rootful.identity(name)
    succeed(rootful("pause", name))
    succeed(rootful("rm", "-f", name))
    assert rootful.room.groups(identity) == []


def test_restart(engine: Engine, name: str) -> None:
    start(engine, name, COUNTING)
    succeed(engine("restart", "-t", "5", name))
    await_log(engine, name, "ready", 2)
    assert engine.inspect(name, STATUS) == "running"


def test_restart_on_failure(engine: Engine, name: str) -> None:
    restart = ("--restart", "on-failure:2")
    succeed(engine("run", "-d", "--name", name, *restart, IMAGE, "sh", "-c", "echo again; exit 4"))
    await_log(engine, name, "again", 3)
    engine.until(name, "{{.RestartCount}}" + STATUS + CODE, "2exited4")


@pytest.mark.parametrize("policy", ["always", "unless-stopped"])
def test_restart_until_it_is_stopped(engine: Engine, name: str, policy: str) -> None:
    start(engine, name, COUNTING, "--restart", policy)
    for times in (2, 3):
        pid = engine.inspect(name, "{{.State.Pid}}")
        succeed(engine.room.run("kill", "-9", pid))
        await_log(engine, name, "ready", times)
        engine.until(name, STATUS, "running")
        assert engine.inspect(name, "{{.State.Pid}}") != pid
    assert engine.inspect(name, "{{.RestartCount}}") == "2"
    succeed(engine("stop", "-t", "30", name))
    assert engine.inspect(name, STATUS + CODE) == "exited5"


def test_top(engine: Engine, name: str) -> None:
    start(engine, name, "sleep 4322 & echo ready; wait")
    lines = succeed(engine("top", name)).splitlines()
    assert len(lines) == 3
    assert any(line.endswith("sleep 4322") for line in lines)


def test_a_running_one_is_removed(engine: Engine, name: str) -> None:
    start(engine, name, COUNTING)
    identity, pid = engine.identity(name), engine.inspect(name, "{{.State.Pid}}")
    succeed(engine("rm", "-f", name))
    assert engine("inspect", name).returncode != 0
    assert engine.room.run("test", "-d", f"/proc/{pid}").returncode == 1
    assert engine.room.groups(identity) == []


def test_health_is_checked(engine: Engine, name: str) -> None:
    check = ("--health-cmd", "test -e /tmp/well && echo well", "--health-interval", "1s", "--health-retries", "1")
    start(engine, name, "touch /tmp/well; echo ready; sleep 1000", *check)
    # podman wants systemd for the interval; a check can be run by hand, too
    if engine.kind == "docker":
        engine.until(name, "{{.State.Health.Status}}", "healthy")
        succeed(engine("exec", name, "rm", "/tmp/well"))
        engine.until(name, "{{.State.Health.Status}}", "unhealthy")
    else:
        assert engine("healthcheck", "run", name).returncode == 0
        succeed(engine("exec", name, "rm", "/tmp/well"))
        assert engine("healthcheck", "run", name).returncode == 1


def test_commands_end_when_the_container_does(engine: Engine, name: str) -> None:
    start(engine, name, COUNTING)
    script = "trap '' TERM HUP INT; kill -TERM 1; while :; do sleep 1; done"
    done = engine("exec", name, "sh", "-c", script)
    assert done.returncode != 0
    assert succeed(engine("wait", name)) == "5"
