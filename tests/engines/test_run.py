"""`run` and `exec`: words in, output and exit codes out, terminals, users, environment, and errors told apart.

Of what the engines do with a container's life: test_life.py; of what it may do: test_powers.py; where: test_views.py.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.engines.daemons import IMAGE, Engine, succeed
from tests.integration.terminal import Emulator


@pytest.fixture(scope="module")
def running(engine: Engine) -> str:
    """A container to run more in; it is busy with nothing, and ends with its room."""
    return succeed(engine("run", "-d", "-e", "A=of the container", "-w", "/var", IMAGE, "sleep", "1000"))


def test_output_and_exit_code(engine: Engine) -> None:
    done = engine.run(IMAGE, "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")


def test_a_signal_is_in_the_exit_code(engine: Engine) -> None:
    done = engine.run(IMAGE, "sh", "-c", "sh -c 'kill -9 $$'; exit $?")
    assert done.returncode == 128 + 9


def test_input_arrives_whole(engine: Engine) -> None:
    data = os.urandom(512 << 10).hex()
    assert engine.run(IMAGE, "cat", input=data).stdout == data


def test_a_terminal(engine: Engine) -> None:
    script = (
        'tty; until [ "$(stty size)" = "31 97" ]; do sleep 0.05; done; echo sized; read line; echo "<$line>"; exit 3'
    )
    words = engine.words("run", "--rm", "-it", IMAGE, "sh", "-c", script)
    with Emulator(words, engine.env, size=(31, 97)) as terminal:
        assert b"/dev/pts/0" in terminal.until("sized")
        terminal.type("typed\r")
        terminal.until("<typed>")
        assert terminal.ended() == 3


def test_a_terminal_in_a_running_container(engine: Engine, running: str) -> None:
    script = (
        'until [ "$(stty size)" = "31 97" ]; do sleep 0.05; done; tty; echo sized; read line; echo "<$line>"; exit 4'
    )
    words = engine.words("exec", "-it", running, "sh", "-c", script)
    with Emulator(words, engine.env, size=(31, 97)) as terminal:
        assert b"/dev/pts/" in terminal.until("sized")
        terminal.type("typed\r")
        terminal.until("<typed>")
        assert terminal.ended() == 4


def test_the_interrupt_key(engine: Engine) -> None:
    words = engine.words("run", "--rm", "-it", IMAGE, "sh", "-c", "trap 'exit 9' INT; echo go; sleep 100 & wait")
    with Emulator(words, engine.env) as terminal:
        terminal.until("go")
        terminal.type("\x03")
        assert terminal.ended() == 9


@pytest.mark.parametrize(
    ("command", "code"),
    [("no-such-program", 127), ("/bin/no-such-program", 127), ("/etc/plain", 126), ("/etc", 126)],
)
def test_a_command_that_cannot_be_run(engine: Engine, command: str, code: int) -> None:
    done = engine.run(IMAGE, command)
    assert done.returncode == code, done.stderr
    assert command in done.stderr


def test_a_failed_start_leaves_no_group(engine: Engine, name: str) -> None:
    engine("run", "--name", name, IMAGE, "no-such-program")
    assert engine.room.groups(engine.identity(name)) == []


def test_a_container_that_ended_leaves_no_group_and_no_mount(engine: Engine, name: str) -> None:
    succeed(engine("run", "--name", name, IMAGE, "true"))
    identity = engine.identity(name)
    assert engine.room.groups(identity) == []
    assert f"{identity}/merged" not in succeed(engine.room.run("cat", "/proc/1/mountinfo"))


def test_exec_output_and_exit_code(engine: Engine, running: str) -> None:
    done = engine("exec", running, "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")


def test_exec_input_arrives(engine: Engine, running: str) -> None:
    data = os.urandom(512 << 10).hex()
    assert engine("exec", "-i", running, "cat", input=data).stdout == data


def test_exec_user_directory_and_environment(engine: Engine, running: str) -> None:
    done = engine(
        "exec", "-u", "1000:10", "-w", "/tmp", "-e", "B=of exec", running, "sh", "-c", "id -u; id -g; pwd; echo $A, $B"
    )
    assert done.stdout.splitlines() == ["1000", "10", "/tmp", "of the container, of exec"]


def test_exec_has_what_the_container_has(engine: Engine, running: str) -> None:
    script = "pwd; for kind in mnt net pid ipc uts user cgroup; do readlink /proc/self/ns/$kind; done"
    there = succeed(engine("exec", running, "sh", "-c", script)).splitlines()
    init = succeed(engine("exec", running, "sh", "-c", script.replace("self", "1"))).splitlines()
    assert there == init
    assert there[0] == "/var"
    grown = "grep -E '^(Cap|NoNew|Seccomp:)' /proc/{}/status"
    of_exec = succeed(engine("exec", running, "sh", "-c", grown.format("self")))
    assert of_exec == succeed(engine("exec", running, "sh", "-c", grown.format("1")))


@pytest.mark.parametrize("command", ["no-such-program", "/etc/plain"])
def test_exec_of_a_command_that_cannot_be_run(engine: Engine, running: str, command: str) -> None:
    done = engine("exec", running, command)
    assert done.returncode in {126, 127}, done.stderr
    assert command in done.stdout + done.stderr  # docker says it on what would be the command's output
    succeed(engine("exec", running, "true"))


def test_exec_detached(engine: Engine, running: str) -> None:
    succeed(engine("exec", "-d", running, "sh", "-c", "echo done >/tmp/detached"))
    script = "until [ -s /tmp/detached ]; do sleep 0.05; done; cat /tmp/detached"
    assert succeed(engine("exec", running, "sh", "-c", script)) == "done"


def test_the_user_as_numbers(engine: Engine) -> None:
    assert engine.sh("id -u; id -g; id -G", "--user", "1234:5").split("\n") == ["1234", "5", "5"]


def test_the_user_by_name(engine: Engine) -> None:
    assert engine.sh("id", "--user", "ann") == "uid=1000(ann) gid=1000(ann) groups=10(wheel),1000(ann)"


def test_more_groups(engine: Engine) -> None:
    assert set(engine.sh("id -G", "--user", "1234:5", "--group-add", "77").split()) == {"5", "77"}


def test_a_directory_that_is_not_there(engine: Engine) -> None:
    if engine.kind != "docker":
        assert "/not/there/yet" in engine.run("-w", "/not/there/yet", IMAGE, "pwd").stderr  # podman does not make it
        return
    assert engine.sh("pwd", "-w", "/not/there/yet") == "/not/there/yet"


def test_the_environment(engine: Engine) -> None:
    shown = engine.sh("env", "-e", "A=1 2", "--hostname", "bell").splitlines()
    assert {"A=1 2", "HOSTNAME=bell", "HOME=/root"} <= set(shown)


def test_only_three_descriptors_are_open(engine: Engine) -> None:
    assert engine.run(IMAGE, "ls", "/proc/self/fd").stdout.split() == ["0", "1", "2", "3"]  # 3 is the directory


def test_signals_are_as_new(engine: Engine) -> None:
    shown = engine.run(IMAGE, "grep", "-E", "^Sig(Blk|Ign|Cgt)", "/proc/self/status").stdout.split()
    assert shown[1::2] == ["0" * 16] * 3


def test_init_runs_below_a_small_one(engine: Engine) -> None:
    assert engine.sh("cat /proc/1/comm; echo $$", "--init").splitlines()[1] != "1"


def test_the_small_one_is_the_engines(engine: Engine) -> None:
    """The first process is not the command's, which has it as its parent, and its signals are passed on to it."""
    script = (
        "cat /proc/1/comm; grep PPid /proc/$$/status; trap 'exit 7' TERM; kill -TERM 1; while :; do sleep 0.05; done"
    )
    done = engine.run("--init", IMAGE, "sh", "-c", script)
    assert done.stdout.split() == ["docker-init" if engine.kind == "docker" else "podman-init", "PPid:", "1"]
    assert done.returncode == 7


def test_many_at_once(engine: Engine) -> None:
    def one(number: int) -> tuple[int, str]:
        done = engine.run(IMAGE, "sh", "-c", f"echo {number}; exit {number}")
        return done.returncode, done.stdout

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(one, range(8))) == [(number, f"{number}\n") for number in range(8)]
