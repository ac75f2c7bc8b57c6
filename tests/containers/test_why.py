"""`cloche why`: three lines, for each way in which a container can stand; and `cloche port`."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from cloche.cli.containers.why import story
from cloche.engine.containers import ASKED, CREATED, Container
from cloche.linux.reading import boot_id
from tests.containers.made import Store
from tests.containers.test_health import supervisor

if TYPE_CHECKING:
    from tests.conftest import Cli
    from tests.containers.conftest import Alive

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\nx\ty"
OOM = {"kind": "out of memory", "text": "killed by SIGKILL: out of memory", "hint": "give it more: --memory"}
PIDS = {"kind": "pids limit", "text": "exited with 1: the limit on processes was reached", "hint": "allow more"}
SIGNAL = {"kind": "signal", "text": "killed by SIGKILL", "hint": ""}
BLOCKED = {
    "kind": "blocked syscall",
    "text": "exited with 1, after the seccomp filter refused mount",
    "hint": "--cap-add",
}
UNKNOWN = {"kind": "unknown", "text": "it ended while nobody was there to see how", "hint": ""}


NOW = 1_700_000_000.0


def at(seconds_ago: float) -> str:
    """A time as containers have it, so long before NOW."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOW - seconds_ago))


def tell(state: dict[str, Any], *actions: str, **known: Any) -> tuple[str, str, str]:
    """The story of a container called web."""
    whole = {**CREATED, "boot": boot_id(), **state}
    asked = {**ASKED, "id": "ab" * 32, "name": "web", "created": at(7200), "image": "box:1", "command": ["sleep", "9"]}
    told = [
        {"Action": action, "timeNano": int((NOW - 30) * 1e9), "Actor": {"Attributes": {"exitCode": "5"}}}
        for action in actions
    ]
    return story(Container("/x", {**asked, **known}, whole), told, NOW)


def ended(code: int | None, reason: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    done = {"status": "exited", "exit_code": code, "started_at": at(190), "finished_at": at(125), "reason": reason}
    return {**done, **more}


ENDS = [
    (ended(137, OOM), "the memory limit of its control group", "give it more: cloche update --memory SIZE web; then"),
    (ended(1, PIDS), "the limit on processes", "give it more: cloche update --pids-limit NUMBER web; then"),
    (ended(1, BLOCKED), "the seccomp filter", "--cap-add; then: cloche start web"),
    (ended(137, SIGNAL), "a signal that cloche did not send", "to run it again: cloche start web"),
    (ended(137, SIGNAL, by="health"), "its health checks, which failed", "cloche start web"),
    (ended(0, {"kind": "exited", "text": "exited with 0"}), "the command itself", "nothing to do; to run it again"),
    (ended(3, {"kind": "exited", "text": "exited with 3"}), "the command itself", "to run it again: cloche start web"),
    (ended(None, UNKNOWN), "nobody knows: no supervisor was there", "cloche start web"),
    (ended(None, None, boot="another"), "the machine, which was started anew", "cloche start web"),
]


@pytest.mark.parametrize(("state", "acted", "advice"), ENDS)
def test_how_it_ended(state: dict[str, Any], acted: str, advice: str) -> None:
    first, second, third = tell(state)
    assert first == "web: `sleep 9` of box:1, started 3 minutes ago"
    code = "an exit code that nobody has seen" if state["exit_code"] is None else f"exit code {state['exit_code']}"
    assert second.startswith(f"it ended 2 minutes ago, after about a minute with {code}")
    assert f"what acted: {acted}" in second
    assert advice in third


@pytest.mark.parametrize(
    ("actions", "acted"), [(("stop",), "cloche stop"), (("stop", "kill"), "cloche kill"), ((), "somebody")]
)
def test_somebody_asked_for_its_end(actions: tuple[str, ...], acted: str) -> None:
    assert f"what acted: {acted}" in tell(ended(143, SIGNAL, by="user"), *actions)[1]


def test_it_was_not_started() -> None:
    assert tell({}) == (
        "web: `sleep 9` of box:1, made 2 hours ago, never started",
        "it has not been started",
        "to run it again: cloche start web",
    )
    assert tell({"error": "no such file: nope"})[1] == "it could not be started: no such file: nope"


def test_it_runs() -> None:
    running = {"status": "running", "pid": os.getpid(), "started_at": at(125)}
    assert tell(running)[1:] == ("it has been running for 2 minutes", "nothing to do; to end it: cloche stop web")
    again = tell({**running, "restarts": 2}, "start", "die", "start", keep={"restart": "on-failure", "restart_most": 5})
    assert again[0].endswith("--restart on-failure:5, started again 2 times")
    assert again[1] == "it has been running for 2 minutes; the last time it ended was 30 seconds ago, with 5"
    ill = {"status": "unhealthy", "failing": 3, "log": [{"exit_code": 7, "output": "no answer\n"}]}
    sick = tell({**running, "health": ill})
    assert sick[1] == "it has been running for 2 minutes, unhealthy (3 failed in a row)"
    assert sick[2] == "its last health check ended with 7: no answer"
    assert "unpause web" in tell({**running, "status": "paused"})[2]
    waiting = tell({"status": "restarting", "finished_at": at(5), "started_at": at(9)})
    assert waiting[1] == "it ended 5 seconds ago and is about to be started again"
    assert "cloche update --restart no web" in waiting[2]


def test_limits_are_named() -> None:
    first = tell({}, options={"memory": "64m", "cpus": 0.5, "pids_limit": None}, keep={"auto_remove": True})[0]
    assert first.endswith("never started, with --memory 64m --cpus 0.5, --rm")


def test_evil_words(cli: Cli, store: Store) -> None:
    store.end("evil", 1, reason={"kind": EVIL, "text": EVIL, "hint": EVIL})
    store.run("ill", state={"health": {"status": "unhealthy", "log": [{"output": EVIL}]}}, command=[EVIL], image=EVIL)
    for name in ("evil", "ill"):
        done = cli("why", name, env=store.env)
        assert done.returncode == 0
        assert len(done.stdout.splitlines()) == 3
        assert all(line.isprintable() for line in done.stdout.splitlines())


def test_real_ones(alive: Alive) -> None:
    alive("run", "-d", "--name", "web", "host", "sleep", "1000")
    assert "it has been running for " in alive("why", "web")
    alive("kill", "web")
    alive.until("web", "exited")
    assert "what acted: cloche kill" in alive("why", "web").splitlines()[1]
    assert "Exited (137)" in alive("ps", "-a")
    assert alive("why", "nope", code=1).startswith("cloche: No such container: nope\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_out_of_memory(alive: Alive) -> None:
    alive("run", "-d", "--name", "hungry", "-m", "16m", "host", "python3", "-c", "x = bytearray(64 << 20)")
    alive.until("hungry", "exited")
    assert alive("ps", "-a", "--format", "{{.Status}}").endswith(" ago: out of memory\n")
    second, third = alive("why", "hungry").splitlines()[1:]
    assert "the limit of 16 MiB was reached" in second
    assert "what acted: the memory limit of its control group" in second
    assert third == "give it more: cloche update --memory SIZE hungry; then: cloche start hungry"
    assert alive.document("hungry")["State"]["OOMKilled"] is True
    assert alive.document("hungry")["Reason"]["Kind"] == "out of memory"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("alone", [False, True])
def test_the_limit_that_was_in_force(alive: Alive, alone: bool) -> None:
    """Not the one it was started with; also where another supervisor sees its end."""
    script = "while ! test -e /tmp/now; do sleep 0.05; done; exec tail /dev/zero"
    alive("run", "-d", "--name", "hungry", "-m", "512m", "host", "sh", "-c", script)
    alive("update", "-m", "24m", "--memory-swap", "24m", "hungry")
    if alone:
        os.kill(supervisor(alive), signal.SIGKILL)
    alive("exec", "hungry", "touch", "/tmp/now")
    alive.until("hungry", "exited")
    assert "the limit of 24 MiB was reached" in alive.document("hungry")["Reason"]["Text"]
    assert "the limit of 24 MiB was reached" in alive("ps", "-a", "--format", "{{.Reason}}")
    told = alive("why", "hungry")
    assert "the limit of 24 MiB was reached" in told
    assert "512" not in told


def test_ports(cli: Cli, store: Store) -> None:
    store.run("web", exposed=["80"])
    done = cli("port", "web", env=store.env)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    for words, says in (
        (("web", "80"), "No public port '80' published for web"),
        (("web", "53/udp"), "No public port '53/udp' published for web"),
        (("web", "x"), "invalid port (x)"),
        (("web", "65536"), "invalid port (65536)"),
        (("nope",), "No such container: nope"),
        (("nope", "80"), "No such container: nope"),
    ):
        done = cli("port", *words, env=store.env)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"cloche: {says}\n")
    assert "networks of containers are not here yet" in cli("container", "port", "web", "80", env=store.env).stderr
