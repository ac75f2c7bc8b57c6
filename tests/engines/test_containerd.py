"""containerd's own command line, ctr: tasks of a container through the shim for runc, with the runtime under test."""

from __future__ import annotations

import json
import time

from tests.engines.daemons import IMAGE, Containerd, succeed
from tests.integration.terminal import Emulator

DEAF = "trap 'echo usr1' USR1; while :; do sleep 0.05; done"


def start(containerd: Containerd, name: str, *options: str, script: str = DEAF) -> None:
    """A detached container that runs a script."""
    succeed(containerd(*containerd.run_words("-d", *options, IMAGE, name, "sh", "-c", script)))


def status(containerd: Containerd, name: str) -> str:
    """What `task ls` says of it, or nothing."""
    rows = [line.split() for line in succeed(containerd("task", "ls")).splitlines()[1:]]
    return "".join(row[2] for row in rows if row[0] == name)


def until(containerd: Containerd, name: str, wanted: str) -> None:
    """Wait until the task is what is wanted."""
    deadline = time.monotonic() + 20
    while (found := status(containerd, name)) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def remove(containerd: Containerd, name: str) -> None:
    """Kill, then remove the task and the container."""
    succeed(containerd("task", "kill", "-s", "KILL", name))
    until(containerd, name, "STOPPED")
    containerd("task", "rm", name)  # its exit status is the container's
    succeed(containerd("container", "rm", name))


def test_run(containerd: Containerd, name: str) -> None:
    done = containerd(*containerd.run_words("--rm", IMAGE, name, "sh", "-c", "echo out; echo err >&2; exit 7"))
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
    assert containerd.room.groups(name) == []


def test_a_terminal(containerd: Containerd, name: str) -> None:
    script = 'until [ "$(stty size)" = "31 97" ]; do sleep 0.05; done; tty; read line; echo "<$line>"; exit 3'
    words = containerd.words(*containerd.run_words("--rm", "-t", IMAGE, name, "sh", "-c", script))
    with Emulator(words, {**containerd.env, "TERM": "xterm"}, size=(31, 97)) as terminal:
        terminal.until("/dev/pts/0")
        terminal.type("typed\r")
        terminal.until("<typed>")
        assert terminal.ended() == 3


def test_run_of_a_command_that_is_not_there(containerd: Containerd, name: str) -> None:
    done = containerd(*containerd.run_words("--rm", IMAGE, name, "no-such-program"))
    assert done.returncode != 0
    assert "no-such-program" in done.stderr
    assert containerd.room.groups(name) == []


def test_detached_and_exec(containerd: Containerd, name: str) -> None:
    start(containerd, name, "--env", "A=of the container")
    assert status(containerd, name) == "RUNNING"
    done = containerd("task", "exec", "--exec-id", "one", name, "sh", "-c", "echo $A; exit 5")
    assert (done.returncode, done.stdout) == (5, "of the container\n")
    done = containerd(
        "task", "exec", "--exec-id", "two", "--user", "1000:10", "--cwd", "/tmp", name, "sh", "-c", "id -u; pwd"
    )
    assert done.stdout.split() == ["1000", "/tmp"]
    remove(containerd, name)
    assert containerd.room.groups(name) == []


def test_exec_on_a_terminal(containerd: Containerd, name: str) -> None:
    start(containerd, name)
    script = 'until [ "$(stty size)" = "31 97" ]; do sleep 0.05; done; tty; read line; echo "<$line>"; exit 4'
    words = containerd.words("task", "exec", "-t", "--exec-id", "one", name, "sh", "-c", script)
    with Emulator(words, {**containerd.env, "TERM": "xterm"}, size=(31, 97)) as terminal:
        terminal.until("/dev/pts/")
        terminal.type("typed\r")
        terminal.until("<typed>")
        assert terminal.ended() == 4
    remove(containerd, name)


def test_it_is_a_container_of_the_runtime_under_test(containerd: Containerd, oci_runtime: str, name: str) -> None:
    """Its state is where the shim tells the runtime to have it, and can be read by no other."""
    start(containerd, name)
    root = f"/run/containerd/runc/{containerd.namespace}"
    told = json.loads(succeed(containerd.room.run(oci_runtime, "--root", root, "state", name)))
    (pid,) = [row.split()[1] for row in succeed(containerd("task", "ls")).splitlines() if row.split()[0] == name]
    assert (told["id"], told["status"], str(told["pid"])) == (name, "running", pid)
    remove(containerd, name)


def test_processes_are_listed(containerd: Containerd, name: str) -> None:
    start(containerd, name)
    rows = succeed(containerd("task", "ps", name)).splitlines()
    assert rows[0].split()[0] == "PID"
    assert all(row.split()[0].isdecimal() for row in rows[1:])
    assert len(rows) > 1
    remove(containerd, name)


def test_pause_and_resume(containerd: Containerd, name: str) -> None:
    start(containerd, name)
    succeed(containerd("task", "pause", name))
    assert status(containerd, name) == "PAUSED"
    assert containerd.room.limit(name, "freezer.state", "cgroup.freeze") in {"FROZEN", "1"}
    succeed(containerd("task", "resume", name))
    assert status(containerd, name) == "RUNNING"
    assert containerd.room.limit(name, "freezer.state", "cgroup.freeze") in {"THAWED", "0"}
    remove(containerd, name)


def test_metrics(containerd: Containerd, name: str) -> None:
    start(containerd, name, "--memory-limit", str(64 << 20))
    shown = succeed(containerd("task", "metrics", name))
    figures = {words[0]: words[1] for words in map(str.split, shown.splitlines()) if len(words) == 2}
    assert int(figures.get("memory.usage_in_bytes", figures.get("memory.usage", "0"))) > 0
    assert int(figures.get("pids.current", "0")) >= 1
    assert containerd.room.limit(name, "memory.limit_in_bytes", "memory.max") == str(64 << 20)
    remove(containerd, name)


def test_a_signal(containerd: Containerd, name: str) -> None:
    start(containerd, name, script="trap 'exit 9' USR1; while :; do sleep 0.05; done")
    time.sleep(0.3)  # the trap has to be set, and a task has no log to see it in
    succeed(containerd("task", "kill", "-s", "USR1", name))
    until(containerd, name, "STOPPED")
    assert "exit code 9" in containerd("task", "rm", name).stderr
    succeed(containerd("container", "rm", name))


def test_a_running_task_is_removed_by_force(containerd: Containerd, name: str) -> None:
    start(containerd, name)
    assert containerd("container", "rm", name).returncode != 0
    containerd("task", "rm", "-f", name)
    until(containerd, name, "")
    succeed(containerd("container", "rm", name))
    assert containerd.room.groups(name) == []


def test_read_only_and_mounts(containerd: Containerd, name: str) -> None:
    place = containerd.room.folder / "home"
    mount = f"type=bind,src={place},dst=/data,options=rbind:ro"
    script = "touch /x; touch /data/x; echo done"
    words = containerd.run_words("--rm", "--read-only", "--mount", mount, IMAGE, name, "sh", "-c", script)
    done = containerd(*words)
    assert done.stdout == "done\n"
    assert done.stderr.count("Read-only file system") == 2
