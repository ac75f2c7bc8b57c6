"""`cloche update`: limits of containers that run and that do not, restart policies, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloche.runtime.host import probe_host

if TYPE_CHECKING:
    from tests.conftest import Cli
    from tests.containers.conftest import Alive
    from tests.containers.made import Store

FILES = {  # what holds a limit, on v2 and on v1
    "memory": ("memory.max", "memory.limit_in_bytes"),
    "pids": ("pids.max",),
    "cpu": ("cpu.max", "cpu.cfs_quota_us"),
    "shares": ("cpu.weight", "cpu.shares"),
    "cpuset": ("cpuset.cpus",),
}
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def held(alive: Alive, name: str, what: str) -> str:
    """A limit of a container that runs, as the kernel has it."""
    folder = Path(alive.env["CLOCHE_ROOT"]) / "containers" / alive.document(name)["Id"]
    paths = json.loads((folder / "state.json").read_text().splitlines()[1])["paths"]
    for place in dict.fromkeys(paths.values()):
        for file in FILES[what]:
            if (Path(place) / file).exists():
                return (Path(place) / file).read_text().split()[0]
    raise FileNotFoundError(what)


@needs_root
def test_one_that_runs(alive: Alive) -> None:
    alive("run", "-d", "--name", "web", "-m", "64m", "host", "sleep", "1000")
    words = ("--memory", "128m", "--pids-limit", "77", "--cpus", "0.5", "--cpuset-cpus", "0")
    assert alive("update", *words, "web") == "web\n"
    assert held(alive, "web", "memory") == str(128 << 20)
    assert held(alive, "web", "pids") == "77"
    assert held(alive, "web", "cpu") == "50000"
    assert held(alive, "web", "cpuset") == "0"
    found = alive.document("web")
    host = found["HostConfig"]
    assert (host["Memory"], host["PidsLimit"], host["NanoCpus"]) == (128 << 20, 77, 500_000_000)
    assert found["Receipt"]["memory"] == {"enforced": True, "detail": "at most 128 MiB of memory together"}
    alive("restart", "-t", "0", "web")
    assert held(alive, "web", "memory") == str(128 << 20)
    assert held(alive, "web", "pids") == "77"
    assert alive("update", "--pids-limit", "-1", "web") == "web\n"
    assert held(alive, "web", "pids") == "max"


def test_one_that_does_not(alive: Alive) -> None:
    unenforced = ("--allow-unenforced",)
    alive("create", "--name", "web", *unenforced, "host", "sleep", "1000")
    assert alive("update", "-m", "96m", "--restart", "on-failure:3", "web") == "web\n"
    host = alive.document("web")["HostConfig"]
    assert host["Memory"] == 96 << 20
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    if os.geteuid() == 0:
        alive("start", "web")
        assert held(alive, "web", "memory") == str(96 << 20)


def test_a_restart_policy_that_comes_and_goes(alive: Alive) -> None:
    """The supervisor hears of it while the container runs."""
    alive("run", "-d", "--name", "web", "host", "sh", "-c", "sleep 1; exit 3")
    assert alive("update", "--restart", "on-failure:1", "web") == "web\n"
    alive.until("web", "exited")
    assert alive.document("web")["RestartCount"] == 1
    alive("run", "-d", "--name", "job", "--restart", "always", "host", "sh", "-c", "sleep 1; exit 3")
    assert alive("update", "--restart", "no", "job") == "job\n"
    alive.until("job", "exited")
    assert alive.document("job")["RestartCount"] == 0


@needs_root
def test_what_is_in_use_is_not_taken_away(alive: Alive) -> None:
    """The container goes on, held to what it was held to before: all of it."""
    hog = "import time\nx = bytearray(40 << 20)\nprint('ready', flush=True)\ntime.sleep(1000)"
    alive("run", "-d", "--name", "web", "-m", "128m", "--pids-limit", "99", "host", "python3", "-c", hog)
    alive.until("web", "running")
    while "ready" not in "".join(path.read_text() for path in logs(alive, "web")):
        pass
    said = alive("update", "--memory", "20m", "--pids-limit", "55", "web", code=1)
    assert "Cannot update container" in said
    assert "hint: " in said
    assert held(alive, "web", "memory") == str(128 << 20)
    assert held(alive, "web", "pids") == "99"
    assert alive.document("web")["HostConfig"]["Memory"] == 128 << 20
    assert alive.document("web")["State"]["Running"] is True


def logs(alive: Alive, name: str) -> list[Path]:
    return list((Path(alive.env["CLOCHE_ROOT"]) / "containers" / alive.document(name)["Id"] / "log").glob("*.log"))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "you must provide one or more flags when using this command"),
        (("--restart", "foo"), "invalid restart policy"),
        (("--restart", "on-failure:x"), "is not a number"),
        (("--memory", "1"), "too small"),
        (("--memory", "x"), "is not a size"),
        (("--memory", "", "--restart", "no"), "is not a size"),
        (("--cpu-period", ""), "is not a whole number"),
        (("--cpus", "1000"), "more than this machine has"),
        (("--cpu-quota", "5000", "--cpus", "1"), "Conflicting options: Nano CPUs and CPU Quota cannot both be set"),
        (("--cpu-quota", "5000"), "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set"),
        (("--cpuset-cpus", "99"), "more than this machine has"),
        (("--memory", "96m"), "Memory limit should be smaller than already set memoryswap limit"),
        (("--memory-swap", "1m"), "--memory-swap is smaller than --memory"),
        (("--pids-limit", "many"), "--pids-limit"),
        (("--blkio-weight", "5"), "--blkio-weight"),
        (("--cpu-rt-period", "5"), "real-time"),
    ],
)
def test_what_cannot_be(cli: Cli, store: Store, words: tuple[str, ...], says: str) -> None:
    folder = store.make("web", options={"memory": "64m", "memory_swap": "80m", "cpus": "0.5", "image": "host"})
    before = (folder / "container.json").read_text()
    done = cli("update", *words, "web", env=store.env)
    # an option that is none, or a value of another kind
    code = 125 if says in {"is not a size", "is not a whole number", "--pids-limit", "real-time"} else 1
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr
    assert (folder / "container.json").read_text() == before


def test_an_empty_list_is_the_one_it_has(cli: Cli, store: Store) -> None:
    """As in docker, where that is no size or number."""
    folder = store.make("web", options={"cpuset_cpus": "0", "image": "host"})
    done = cli("update", "--cpuset-cpus", "", "--cpuset-mems", "", "web", env=store.env)
    assert (done.returncode, done.stdout, done.stderr) == (0, "web\n", "")
    assert json.loads((folder / "container.json").read_text())["options"]["cpuset_cpus"] == "0"


def test_who_removes_itself_is_not_started_again(cli: Cli, store: Store) -> None:
    store.make("web", keep={"auto_remove": True})
    done = cli("update", "--restart", "always", "web", env=store.env)
    assert done.returncode == 1
    assert "Restart policy cannot be updated because AutoRemove is enabled" in done.stderr


def test_one_of_several_is_not_there(cli: Cli, store: Store) -> None:
    store.make("web")
    done = cli("update", "--restart", "always", "web", "nope", "web", env=store.env)
    assert (done.returncode, done.stdout) == (1, "web\nweb\n")
    assert done.stderr.startswith("cloche: No such container: nope\n")


def test_a_throwaway_container(alive: Alive) -> None:
    popen = alive.cli.popen("run", "--rm", "--name", "moment", "host", "sleep", "1000", env=alive.env)
    try:
        alive_now = [""]
        while alive_now != ["moment"]:
            alive_now = alive("ps", "--format", "{{.Names}}").split()
        assert "is not kept" in alive("update", "--restart", "no", "moment", code=1)
        assert alive("inspect", "-f", "{{.Name}} {{.State.Status}}", "moment") == "/moment running\n"
        assert alive("why", "moment").startswith("moment: ")
    finally:
        popen.terminate()
        popen.wait(30)


@pytest.mark.skipif(os.geteuid() == 0 and probe_host().groups.kind == "v2", reason="needs a host without delegation")
def test_limits_that_nobody_can_enforce(user: Cli, tmp_path: Path) -> None:
    """As a user without groups: an error, and nothing has changed."""
    del tmp_path
    made = user("create", "--name", "limitless", "host", "sleep", "100")
    assert made.returncode == 0, made.stderr
    try:
        done = user("update", "--memory", "64m", "limitless")
        if done.returncode:
            assert "memory is not possible here" in done.stderr
            assert user("inspect", "-f", "{{.HostConfig.Memory}}", "limitless").stdout == "0\n"
        assert user("start", "limitless").returncode == 0
        done = user("update", "--pids-limit", "64", "limitless")
        assert done.returncode == 1
        assert "hint" in done.stderr
    finally:
        user("rm", "-f", "limitless")
