"""SIGKILL of a command at any moment: afterwards the others tell the truth, and `delete --force` leaves nothing.

At named points by CLOCHE_FAILPOINT (see cloche.stage.points), and after delays that cover the life of a command.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.amounts import some
from tests.runtime.conftest import OURS, SLEEP, alive, groups_of, processes_of, wait_until
from tests.runtime.looking import only_cloche

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.runtime.conftest import Bundle, MakeBundle, Runtime

# operations of a plan by who carries them out, and points of the command's own
OUTSIDE = "MakeGroup WriteLimits ListenForStart Clone OomScore RaiseRlimit OpenTree MakeDev Release HandTrees".split()
INSIDE = (
    "EnterGroup SetHostName SessionKeyring AwaitRelease Scratch AwaitTrees TreeRoot Attach Mask ReadOnly "
    "BringUp AskForHooks ShowRoot RunHooks PivotRoot NewSession GiveStreams DropBounding SetUser WorkingDirectory "
    "SetCapabilities NoNewPrivileges CloseDescriptors FindCommand AwaitStart"
).split()
RECORDED = ["recorded", "created", "kept"]
AT_DELETE = ["ended", "groups removed", "unlink config.json", "unlink start", "unlink state.json", "unlink lock"]
TRIES = some(24)
DELAYS = [n * 0.064 / TRIES for n in range(TRIES)]  # seconds


@pytest.fixture(autouse=True)
def mine(runtime: Runtime) -> Iterator[None]:
    """Only our own runtime promises this; and at the end nothing is left, wherever it may be."""
    only_cloche(runtime, "peers leave what they have made when they are killed")
    mounts = mounted()
    yield
    for id in dict.fromkeys(runtime.ids):
        runtime.delete(id, "--force")
        wait_until(lambda id=id: not processes_of(id), f"{id} leaves a process")  # type: ignore[misc]
        assert groups_of(id) == []
    assert list(runtime.root.glob("*")) == []
    assert mounted() == mounts
    wait_until(lambda: not setting_up(), f"a process goes on: {setting_up()}")


def mounted() -> list[str]:
    """The mounts of these tests."""
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if "cloche-tests-" in line]


def setting_up() -> list[int]:
    """Living children of ours, as orphans become, that are no container's command: what a killed command leaves."""
    found = []
    for pid in map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if alive(pid) and Path(f"/proc/{pid}/comm").read_text() == "cloche set-up\n":
                found.append(pid)
    return found


def whole(bundle: MakeBundle) -> Bundle:
    """With a step of every kind that is named above."""
    made = bundle(*SLEEP)
    made.config["hooks"] = {
        kind: [{"path": "/bin/true"}] for kind in ("createRuntime", "createContainer", "startContainer", "poststop")
    }
    made.process["oomScoreAdj"] = 100
    made.linux["resources"]["pids"] = {"limit": 100}
    return made.write()


def told(runtime: Runtime, id: str) -> str:
    """The status, which `state` and `list` agree on, "" for none; neither fails in any other way.

    They are asked one after the other, and what was killed takes a moment to be gone.
    """
    said = ["", "?"]

    def agreed() -> bool:
        one = runtime("state", id)
        assert "Traceback" not in one.stderr
        assert "defect" not in one.stderr
        found = {item["id"]: item["status"] for item in json.loads(runtime.ok("list", "--format", "json")) or []}
        said[:] = [str(json.loads(one.stdout)["status"]) if one.returncode == 0 else "", found.get(id, "")]
        assert said[0] or "does not exist" in one.stderr
        return said[0] == said[1]

    wait_until(agreed, "state and list tell different things")
    return said[0]


def nothing_lives(runtime: Runtime, id: str) -> None:
    wait_until(lambda: not processes_of(id), f"{id} leaves {processes_of(id)}")
    wait_until(lambda: told(runtime, id) in ("", "stopped"), f"{id} is {told(runtime, id)}")


@pytest.mark.parametrize("point", [*OUTSIDE, *RECORDED])
def test_create_killed_at(runtime: Runtime, bundle: MakeBundle, point: str) -> None:
    made, id = whole(bundle), runtime.new_id()
    env = {"CLOCHE_FAILPOINT": f"{point}:kill"}
    done = runtime.detached("create", "-b", str(made.path), id, name=id, env=env)
    assert done.returncode == -9, done.stderr
    if point == "kept":
        assert told(runtime, id) == "created"
        runtime.start(id)
        assert told(runtime, id) == "running"
    else:
        nothing_lives(runtime, id)
        assert told(runtime, id) == "stopped"
        for verb in (["start", id], ["kill", id], ["exec", id, "true"], ["pause", id], ["resume", id]):
            refused = runtime(*verb)
            assert refused.returncode in (1, 255)
            assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize("point", INSIDE)
def test_the_first_process_ends_at(runtime: Runtime, bundle: MakeBundle, point: str) -> None:
    made, id = whole(bundle), runtime.new_id()
    env = {"CLOCHE_FAILPOINT": f"{point}:kill"}
    done = runtime.detached("create", "-b", str(made.path), id, name=id, env=env)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert told(runtime, id) == ""
    assert groups_of(id) == []


@pytest.mark.parametrize("point", [*OUTSIDE, *INSIDE, "recorded", "created"])
def test_a_step_fails(runtime: Runtime, bundle: MakeBundle, point: str) -> None:
    made, id = whole(bundle), runtime.new_id()
    env = {"CLOCHE_FAILPOINT": f"{point}:errno"}
    done = runtime.detached("create", "-b", str(made.path), id, name=id, env=env)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"failpoint {point}" in done.stderr
    assert told(runtime, id) == ""
    assert groups_of(id) == []


@pytest.mark.parametrize("delay", DELAYS)
def test_create_killed_after(runtime: Runtime, bundle: MakeBundle, delay: float) -> None:
    made, id = whole(bundle), runtime.new_id()
    killed(runtime, delay, "create", "-b", str(made.path), id)
    if told(runtime, id) != "created":
        nothing_lives(runtime, id)


def killed(runtime: Runtime, delay: float, *words: str, **more: Any) -> subprocess.Popen[bytes]:
    """Start a command and kill it after a while; it may have ended by then."""
    with (runtime.top / "killed").open("ab") as file:
        child = runtime.popen(*words, stdout=file, stderr=file, **more)
    time.sleep(delay)
    child.kill()
    child.wait()
    return child


@pytest.mark.parametrize("delay", DELAYS)
@pytest.mark.parametrize("how", [["--detach"], []])
def test_run_killed_after(runtime: Runtime, bundle: MakeBundle, how: list[str], delay: float) -> None:
    made, id = whole(bundle), runtime.new_id()
    killed(runtime, delay, "run", *how, "-b", str(made.path), id)
    wait_until(lambda: told(runtime, id) != "creating", "it is created for ever")
    if told(runtime, id) in ("", "stopped"):
        nothing_lives(runtime, id)
    else:
        assert told(runtime, id) in ("created", "running")


def test_start_killed_when_it_has_let_go(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.create(whole(bundle))
    done = runtime("start", id, env={"CLOCHE_FAILPOINT": "released:kill"})
    assert done.returncode == -9
    assert told(runtime, id) == "running"
    assert runtime("start", id).returncode == 1
    assert runtime.exec(id, "true").returncode == 0
    runtime.stop(id)
    runtime.delete(id)


@pytest.mark.parametrize("point", ["RunHooks", "Rlimit", "Execute"])
def test_the_first_process_ends_between_start_and_the_command(runtime: Runtime, bundle: MakeBundle, point: str) -> None:
    made = bundle(*SLEEP)
    made.config["hooks"] = {"startContainer": [{"path": "/bin/true"}]}
    id = runtime.create(made, env={"CLOCHE_FAILPOINT": f"{point}:kill"})
    runtime("start", id)
    runtime.wait(id)
    nothing_lives(runtime, id)
    runtime.delete(id)


@pytest.mark.parametrize("delay", DELAYS)
def test_start_killed_after(runtime: Runtime, bundle: MakeBundle, delay: float) -> None:
    id = runtime.create(whole(bundle))
    killed(runtime, delay, "start", id)
    status = told(runtime, id)
    assert status in ("created", "running")
    if status == "created":
        # let go of just now, it may be on its way to its command
        done = runtime("start", id)
        assert done.returncode == 0 or "not created" in done.stderr
    assert told(runtime, id) == "running"
    wait_until(lambda: Path(f"/proc/{runtime.pid(id)}/comm").read_text() == "sleep\n", "its command does not run")


@pytest.mark.parametrize(
    ("point", "status"),
    [(p, s) for p in AT_DELETE for s in ("created", "running") if (p, s) != ("unlink start", "running")],
)
def test_delete_killed_at(runtime: Runtime, bundle: MakeBundle, point: str, status: str) -> None:
    id = runtime.create(whole(bundle))
    if status == "running":
        runtime.start(id)
    done = runtime("delete", "--force", id, env={"CLOCHE_FAILPOINT": f"{point}:kill"})
    assert done.returncode == -9
    nothing_lives(runtime, id)
    assert told(runtime, id) == "stopped"
    runtime.delete(id)  # it needs no force any more
    assert told(runtime, id) == ""
    runtime.create(whole(bundle), id=id)  # the id is free


@pytest.mark.parametrize("delay", DELAYS)
def test_delete_killed_after(runtime: Runtime, bundle: MakeBundle, delay: float) -> None:
    id = runtime.running(whole(bundle))
    killed(runtime, delay, "delete", "--force", id)
    if told(runtime, id) in ("", "stopped"):
        nothing_lives(runtime, id)
    else:
        assert runtime.exec(id, "true").returncode == 0


@pytest.mark.parametrize("delay", DELAYS)
def test_exec_killed_after(runtime: Runtime, bundle: MakeBundle, delay: float) -> None:
    id = runtime.running(whole(bundle))
    killed(runtime, delay, "exec", "--detach", id, "sleep", "1001")
    wait_until(lambda: not setting_up(), "it goes on setting up")
    assert told(runtime, id) == "running"
    left = [pid for pid in processes_of(id) if pid != runtime.pid(id)]
    assert [Path(f"/proc/{pid}/comm").read_text() for pid in left] in ([], ["sleep\n"])
    assert runtime.exec(id, "true").returncode == 0


@pytest.mark.parametrize(
    "point",
    "OpenProcess Clone RaiseRlimit Release KeepRoot NewSession SetUser CloseDescriptors Outlive Execute".split(),
)
@pytest.mark.parametrize("action", ["kill", "errno"])
def test_exec_ends_at(runtime: Runtime, bundle: MakeBundle, point: str, action: str) -> None:
    id = runtime.running(whole(bundle))
    done = runtime("exec", id, "sleep", "1001", env={"CLOCHE_FAILPOINT": f"{point}:{action}"})
    assert done.returncode != 0
    if action == "errno":
        assert (done.returncode, done.stderr.count("\n")) == (255, 1)
        assert f"failpoint {point}" in done.stderr
    wait_until(lambda: processes_of(id) == [runtime.pid(id)], "it goes on")
    assert told(runtime, id) == "running"


def test_a_lock_is_not_left(runtime: Runtime, bundle: MakeBundle) -> None:
    """A command that was killed while it held the lock keeps nobody waiting."""
    made, id = bundle(*SLEEP).write(), runtime.new_id()
    child = runtime.popen("create", "-b", str(made.path), id, env={"CLOCHE_FAILPOINT": "recorded:sleep"})
    wait_until(lambda: runtime.status(id) == "creating", "it is not being created")
    assert json.loads(runtime.ok("state", id))["pid"] == 0
    for verb in (["start", id], ["kill", id], ["exec", id, "true"]):
        if verb[0] != "start":  # it waits until it is created
            assert runtime(*verb).returncode in (1, 255)
    child.kill()
    child.wait()
    assert told(runtime, id) == "stopped"
    runtime.delete(id)


def test_two_of_what_was_half_made(runtime: Runtime, bundle: MakeBundle) -> None:
    made, id = whole(bundle), runtime.new_id()
    log = runtime.top / "log"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"echo begin >>{log}; sleep 0.3; echo end >>{log}"]}
    made.config["hooks"]["poststop"] = [hook]
    made.write()
    done = runtime.detached("create", "-b", str(made.path), id, name=id, env={"CLOCHE_FAILPOINT": "HandTrees:kill"})
    assert done.returncode == -9
    children = [runtime.popen("delete", "--force", id) for _ in range(4)]
    assert [child.wait(20) for child in children] == [0] * 4
    assert log.read_text().split() == ["begin", "end"]


# after a reboot, and with a pid that was used again


def edited(runtime: Runtime, id: str, **news: object) -> None:
    path = runtime.root / id / "state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **news}))


@pytest.fixture
def other() -> Iterator[int]:
    """A process that is no container's."""
    child = subprocess.Popen(SLEEP)
    yield child.pid
    assert child.poll() is None, "it was ended"
    child.kill()
    child.wait()


def ticks(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])


@pytest.mark.parametrize("how", ["reboot", "other start", "gone", "never known"])
@pytest.mark.parametrize("created", [True, False])
def test_a_pid_that_is_somebody_elses(
    runtime: Runtime, bundle: MakeBundle, other: int, how: str, created: bool
) -> None:
    id = runtime.create(bundle(*SLEEP))
    if not created:
        runtime.start(id)
    mine = runtime.pid(id)
    if how == "reboot":
        edited(runtime, id, pid=other, started=ticks(other), boot="00000000-0000-0000-0000-000000000000")
    elif how == "other start":
        edited(runtime, id, pid=other, started=ticks(other) - 1)
    elif how == "never known":
        edited(runtime, id, pid=(1 << 22) + 1, started=0)
    else:
        edited(runtime, id, pid=(1 << 22) + 1)
    state = runtime.state(id)
    assert (state["status"], state["pid"]) == ("stopped", 0)
    assert told(runtime, id) == "stopped"
    for verb in (["start", id], ["kill", id, "KILL"], ["pause", id], ["update", "--pids-limit", "7", id]):
        assert runtime(*verb).returncode == 1, verb
    assert runtime.exec(id, "true").returncode == 255
    assert alive(mine)
    runtime.delete(id)  # `other` does not end, see there
    if how != "reboot":
        wait_until(lambda: not alive(mine), "what is in its groups goes on")
        return
    # in groups of that name may be somebody else since then
    assert alive(mine)
    assert groups_of(id)
    os.kill(mine, 9)
    wait_until(lambda: not processes_of(id), "it does not end")
    for group in groups_of(id):
        os.rmdir(group)


def test_a_full_disk(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    made = bundle(*SLEEP)
    good = runtime.root
    script = f"mkdir -p {place}/small; mount -t tmpfs -o size=4k,nr_inodes=8 tmpfs {place}/small"
    fill = f"dd if=/dev/zero of={place}/small/fill bs=4096 count=1 2>/dev/null"
    runtime.prefix = ["unshare", "-m", "--propagation", "private", "sh", "-c",
                      f'{script}; {fill}; "$@"; code=$?; ls {place}/small/state; exit $code', "sh"]  # fmt: skip
    runtime.root = place / "small/state"
    id = runtime.new_id()
    done = runtime.detached("create", "-b", str(made.write().path), id, name=id)
    runtime.prefix, runtime.root = [], good
    assert done.returncode == 1
    assert "no space left" in done.stderr.lower()
    assert done.stdout == "", "something is left"
    assert groups_of(id) == []


@pytest.mark.parametrize(("inodes", "bytes"), [(inodes, "1m") for inodes in range(4, 9)] + [(0, "4k"), (0, "12k")])
def test_a_full_disk_is_named(runtime: Runtime, bundle: MakeBundle, place: Path, inodes: int, bytes: str) -> None:
    """Wherever `create` is at that time, what could not be written is told, and not the step that came before."""
    only_cloche(runtime, "what it writes is its own")
    (place / "small").mkdir()
    mount = f"mount -t tmpfs -o size={bytes},nr_inodes={inodes} tmpfs {place}/small"
    runtime.prefix = ["unshare", "-m", "--propagation", "private", "sh", "-c", f'{mount}; exec "$@"', "sh"]
    runtime.root = place / "small/state"
    done = runtime.try_create(bundle(*SLEEP))
    runtime.prefix = []
    assert done.returncode == 1
    assert f"{runtime.root}/" in done.stderr
    assert "no space left" in done.stderr.lower()
    assert not re.search("namespaces|the step was|/linux/|/process/", done.stderr), done.stderr


def test_the_groups_are_gone_after_a_reboot(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.create(bundle(*SLEEP))
    os.kill(runtime.pid(id), 9)
    runtime.wait(id)
    for group in groups_of(id):
        os.rmdir(group)
    edited(runtime, id, boot="00000000-0000-0000-0000-000000000000")
    assert told(runtime, id) == "stopped"
    for verb in ("pause", "resume", "ps"):
        assert runtime(verb, id).returncode in (0, 1)
    runtime.delete(id)


def test_a_directory_that_is_somebody_elses(runtime: Runtime, bundle: MakeBundle) -> None:
    """What is below --root and no container is neither told nor touched."""
    id = runtime.create(bundle(*SLEEP))
    (runtime.root / "a file").write_text("")
    (runtime.root / f"{OURS}file").write_text("")
    (runtime.root / "not an id").mkdir()
    assert runtime.ok("list", "-q").split() == [id]
    for name in ("a file", f"{OURS}file", "not an id"):
        assert runtime("state", name).returncode == 1
        runtime("delete", "--force", name)
        assert (runtime.root / name).exists()
    for name in ("a file", f"{OURS}file"):
        (runtime.root / name).unlink()
    (runtime.root / "not an id").rmdir()
