"""What happens to containers is told as docker tells it, to whoever asks later and to whoever follows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from cloche.engine.events import emit
from tests.containers.test_health import supervisor
from tests.images.conftest import workshop

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Cli
    from tests.containers.conftest import Alive
    from tests.containers.made import Store
    from tests.images.workshop import Workshop

__all__ = ["workshop"]
# what is not told of the same things: docker has networks, and kills twice at times
LIFE = "create attach start die pause unpause rename restart stop destroy top export archive-path".split()
EXECS = ("exec_create", "exec_start", "exec_die")
SCRIPT = """
ENGINE create --network none --name first -l color=red localhost/box:1 sh -c 'exit 3'
ENGINE start -a first || true
ENGINE run --network none -d --stop-signal KILL --name second localhost/box:1 sleep 1000
ENGINE exec second sh -c 'exit 4' || true
ENGINE exec -d second true
ended() { ENGINE events --since SINCE --until $(date +%s.%N) -f event=exec_die --format '{{.Action}}'; }
while [ $(ended | wc -l) -lt 2 ]; do :; done
ENGINE pause second; ENGINE unpause second
ENGINE top second >/dev/null; ENGINE export second >/dev/null; ENGINE cp second:/etc - >/dev/null
ENGINE rename second third
ENGINE restart -t 0 third
ENGINE kill -s KILL third; ENGINE wait third
ENGINE start third
ENGINE stop -t 0 third
ENGINE rm third
ENGINE rm first
"""


@pytest.fixture(scope="module")
def told(workshop: Workshop) -> dict[str, list[dict[str, Any]]]:
    """The events of the same words, in docker and here."""
    store, found = workshop.store(), {}
    for engine in ("docker", "cloche"):
        since = f"{time.time():.9f}"
        if engine == "cloche":
            workshop.sh("cloche load -q -i box.tar", store)
        workshop.sh(SCRIPT.replace("ENGINE", engine).replace("SINCE", since), store)
        asked = f"{engine} events --since {since} --until {time.time():.9f} --format json -f type=container"
        found[engine] = [json.loads(line) for line in workshop.sh(asked, store).splitlines()]
    return found


def lives(events: list[dict[str, Any]]) -> list[tuple[str, dict[str, str]]]:
    """Actions and attributes, but for how long it took, which docker tells since 23."""
    found = []
    for event in events:
        if event["Action"] in LIFE or event["Action"].startswith(EXECS):
            attributes = {**event["Actor"]["Attributes"]}
            attributes.pop("execDuration", None)
            assert len(attributes.pop("execID", "x" * 64)) == 64
            found.append((event["Action"], attributes))
    return found


def test_a_life_is_told_as_docker_does(told: dict[str, list[dict[str, Any]]]) -> None:
    assert lives(told["cloche"]) == lives(told["docker"])
    for event in told["cloche"]:
        lasted = event["Actor"]["Attributes"].get("execDuration", "")
        assert lasted.isdecimal() == (event["Action"] == "die")


def test_events_have_dockers_members(told: dict[str, list[dict[str, Any]]]) -> None:
    for event in told["cloche"]:
        assert list(event) == list(told["docker"][0])
        assert len(event["id"]) == 64
        assert event["from"] == event["Actor"]["Attributes"]["image"] == "localhost/box:1"
        assert event["time"] == event["timeNano"] // 10**9
    times = [event["timeNano"] for event in told["cloche"]]
    assert times == sorted(times)


@pytest.fixture
def here(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store that this process writes events of too."""
    monkeypatch.setenv("CLOCHE_ROOT", str(store.root))
    store.root.mkdir()
    return store


def lines(cli: Cli, store: Store, *words: str, **more: Any) -> list[str]:
    done = cli("events", *words, env=store.env, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_lines(cli: Cli, here: Store) -> None:
    emit(
        "container",
        "die",
        "ab" * 32,
        {"name": "web", "image": "app:1", "exitCode": "3"},
        now_ns=1_500_000_000_000000042,
    )
    env = {**here.env, "TZ": "Asia/Kolkata"}
    done = cli("events", "--since", "0", "--until", "0s", env=env)
    assert done.stdout == (
        f"2017-07-14T08:10:00.000000042+05:30 container die {'ab' * 32} (exitCode=3, image=app:1, name=web)\n"
    )


def test_nothing_in_a_name_reaches_the_terminal(cli: Cli, here: Store) -> None:
    emit("container", "start", "x", {"name": "\x1b[31m\nred\u202e"})
    ask = ("--since", "0", "--until", "0s")
    for form in ((), ("--format", "{{.Actor.Attributes.name}}"), ("--format", "json")):
        (line,) = lines(cli, here, *ask, *form)
        assert line.isprintable()


@pytest.mark.parametrize("verb", [("events",), ("system", "events")])
def test_from_when_to_when(verb: tuple[str, ...], cli: Cli, here: Store) -> None:
    for number in range(1, 6):
        emit("volume", "create", f"v{number}", {}, now_ns=number * 10**9)

    def asked(*words: str) -> str:
        done = cli(*verb, *words, "--format", "{{.Actor.ID}}", env=here.env)
        assert done.returncode == 0, done.stderr
        return done.stdout.replace("\n", " ").strip()

    assert asked("--since", "2", "--until", "4") == "v2 v3 v4"
    assert asked("--until", "1970-01-01T00:00:02.5Z") == "v1 v2"
    assert asked("--since", "1970-01-01T00:00:03Z", "--until", "1s") == "v3 v4 v5"
    assert asked("--since", "1h", "--until", "0s") == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--since", "2", "--until", "1"), "--since is after --until"),
        (("--since", "yesterday"), "'yesterday' is no time"),
        (("--filter", "colour=red"), "invalid filter 'colour'"),
        (("--filter", "red"), "bad format of filter (expected name=value): 'red'"),
        (("--since", "0", "--until", "1", "--format", "{{.Nothing"), "the template"),
        (("more",), "cloche events does not know what to do with 'more'"),
    ],
)
def test_what_is_refused(words: tuple[str, ...], said: str, cli: Cli, here: Store) -> None:
    done = cli("events", *words, env=here.env)
    assert done.returncode == (125 if "bad format" in said else 1)
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 2
    assert done.stdout == ""


class Following:
    """`cloche events`, from when it has begun."""

    def __init__(self, cli: Cli, store: Store, *words: str) -> None:
        self.process = cli.popen(
            "events", *words, env=store.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
        )
        deadline = time.monotonic() + 20
        while not self._listens():
            assert time.monotonic() < deadline
            assert self.process.poll() is None, self.process.stderr
            time.sleep(0.02)

    def _listens(self) -> bool:
        """Whether it waits: it has a queue of changes, and has been put to sleep."""
        try:
            fds = [
                os.readlink(f"/proc/{self.process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{self.process.pid}/fd")
            ]
            with open(f"/proc/{self.process.pid}/stat", encoding="utf-8") as file:
                sleeps = file.read().rpartition(")")[2].split()[0] == "S"
        except OSError:
            return False
        return "anon_inode:inotify" in fds and sleeps

    def line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().decode().rstrip("\n")

    def end(self) -> int:
        self.process.send_signal(signal.SIGINT)
        _, err = self.process.communicate(timeout=10)
        assert err == b""
        return self.process.returncode


def test_who_follows_is_told_at_once_and_ends_by_ctrl_c(cli: Cli, here: Store) -> None:
    emit("container", "start", "before", {})
    following = Following(cli, here, "--format", "{{.Actor.ID}}")
    for name in ("one", "two"):
        begun = time.monotonic()
        emit("container", "start", name, {})
        assert following.line() == name
        assert time.monotonic() - begun < 2
    assert following.end() == 130


def test_who_follows_from_before_misses_nothing(cli: Cli, here: Store) -> None:
    emit("container", "start", "before", {})
    following = Following(cli, here, "--since", "1m", "--format", "{{.Actor.ID}}", "-f", "type=container")
    emit("volume", "create", "other", {})
    emit("container", "die", "after", {})
    assert [following.line(), following.line()] == ["before", "after"]
    following.end()


def test_whoever_reads_may_go_away(cli: Cli, here: Store) -> None:
    following = Following(cli, here)
    assert following.process.stdout
    following.process.stdout.close()
    emit("container", "start", "x", {})
    assert following.process.wait(10) == 128 + 13
    assert following.process.stderr
    assert following.process.stderr.read() == b""
    following.process.stderr.close()


def test_it_ends_by_itself(cli: Cli, here: Store) -> None:
    begun = time.monotonic()
    assert lines(cli, here, "--until", "-1s") == []
    assert 0.5 < time.monotonic() - begun < 10


def test_a_store_that_nobody_has_made(cli: Cli, store: Store) -> None:
    assert lines(cli, store, "--since", "0", "--until", "0s") == []
    assert not store.root.exists()
    following = Following(cli, store, "--format", "{{.Action}}")
    done = cli("volume", "create", "data", env=store.env)
    assert done.returncode == 0, done.stderr
    assert following.line() == "create"
    following.end()


def test_a_store_of_somebody_else(user: Cli, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to be somebody else")
    tmp_path.chmod(0o755)
    (tmp_path / "store").mkdir(mode=0o700)
    done = user("events", "--since", "0", "--until", "0s", env={"CLOCHE_ROOT": str(tmp_path / "store")})
    assert done.returncode == 1
    assert "store/events.log" in done.stderr
    assert "Permission denied" in done.stderr


def test_volumes_are_told_of_though_the_supervisor_was_killed(alive: Alive) -> None:
    """By the next one, also where it is a volume that nobody has named."""
    alive("run", "-d", "--name", "web", "-v", "/own", "-v", "data:/data:ro", "host", "sleep", "1000")
    os.kill(supervisor(alive), signal.SIGKILL)
    alive("stop", "-t", "0", "web")
    form = '{{.Action}} {{.Actor.Attributes.destination}} {{index .Actor.Attributes "read/write"}}'
    ask = ("events", "--since", "1m", "--until", "0s", "-f", "type=volume", "--format", form)
    told = [line.replace(" <no value>", "").rstrip() for line in alive(*ask).splitlines()]
    assert sorted(told[:2]) == ["create", "create"]
    assert told[2:] == ["mount /data false", "mount /own true", "unmount", "unmount"]
    assert alive(*ask, "-f", "volume=data").count("unmount") == 1
