"""The six kinds of hooks: when, in what namespaces, with what on standard input, and what a failure does.

Sources: config.md (POSIX-platform Hooks), runtime.md (Lifecycle).
"""

from __future__ import annotations

import json
import os
import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.runtime.conftest import SLEEP, alive, groups_of, processes_of, wait_until
from tests.runtime.looking import user_namespace

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runtime.conftest import Bundle, MakeBundle, Runtime

KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
AT_CREATE = KINDS[:3]
ONCE = "cat >/dev/null; echo KIND"
# config.md, poststart: "MUST be called after the user-specified process is executed but before the start operation
# returns"; runc of 1.1 calls it at the end of create, crun does not wait for the program
EARLY = {"runc", "crun"}


def shell(script: str, **more: Any) -> dict[str, Any]:
    """A hook that is a script; /bin/sh is there on the host and in the container."""
    return {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"], **more}


@pytest.fixture
def log(place: Path) -> Path:
    """A directory for what hooks write."""
    (place / "log").mkdir()
    return place / "log"


def hooked(bundle: Bundle, log: Path, script: str = "cat >/dev/null; echo KIND >>DIR/order") -> Bundle:
    """With a hook of every kind; in the script KIND is its kind and DIR where the log is for it."""
    if not (bundle.rootfs / "log").exists():
        (bundle.rootfs / "log").mkdir()
        bundle.bind(log, "/log")
    hooks = bundle.config.setdefault("hooks", {})
    for kind in KINDS:
        directory = "/log" if kind == "startContainer" else str(log)
        hooks.setdefault(kind, []).append(shell(script.replace("KIND", kind).replace("DIR", directory)))
    return bundle


def but_poststart(runtime: Runtime, items: list[str]) -> list[str]:
    """Without the kind that the runtime is known to call at another time."""
    return [item for item in items if runtime.name not in EARLY or not item.startswith("poststart")]


def lines(log: Path, name: str = "order") -> list[str]:
    return (log / name).read_text().split() if (log / name).exists() else []


def test_their_order(runtime: Runtime, bundle: MakeBundle, log: Path) -> None:
    made = hooked(bundle("sh", "-c", "echo program >>/log/order"), log)
    id = runtime.create(made)
    assert but_poststart(runtime, lines(log)) == ["prestart", "createRuntime", "createContainer"]
    runtime.start(id)
    runtime.wait(id)
    assert [item for item in lines(log)[3:] if item != "poststart"] == ["startContainer", "program"]
    assert lines(log).count("poststart") == 1
    runtime.delete(id)
    assert lines(log)[6:] == ["poststop"]


def test_several_of_a_kind_in_the_order_they_are_given(runtime: Runtime, bundle: MakeBundle, log: Path) -> None:
    made = hooked(hooked(bundle("true"), log, f"{ONCE}-1 >>DIR/order"), log, f"{ONCE}-2 >>DIR/order")
    id = runtime.running(made)
    runtime.wait(id)
    runtime.delete(id)
    expected = [f"{kind}-{n}" for kind in KINDS for n in (1, 2)]
    assert but_poststart(runtime, lines(log)) == but_poststart(runtime, expected)


@pytest.mark.parametrize("force", [False, True])
def test_run_and_delete_by_force_call_them_too(runtime: Runtime, bundle: MakeBundle, log: Path, force: bool) -> None:
    made = hooked(bundle(*SLEEP) if force else bundle("true"), log)
    if force:
        runtime.delete(runtime.running(made), "--force")
    else:
        assert runtime.run(made).returncode == 0
    assert but_poststart(runtime, lines(log)) == but_poststart(runtime, list(KINDS))


def test_the_state_is_on_their_standard_input(runtime: Runtime, bundle: MakeBundle, log: Path) -> None:
    runtime.not_like("crun", because="tells another bundle inside, `created` before it is and `running` at the end")
    made = hooked(bundle(*SLEEP), log, "cat >DIR/KIND")
    made.config["annotations"] = {"org.example": "1"}
    id = runtime.running(made)
    pid = runtime.pid(id)
    runtime.stop(id)
    runtime.delete(id)
    states = {kind: json.loads((log / kind).read_text()) for kind in KINDS}
    for kind, state in states.items():
        assert state["id"] == id, kind
        assert state["bundle"] == str(made.path), kind
        assert state["annotations"] == {"org.example": "1"}, kind
        assert state["ociVersion"].startswith("1."), kind
    assert [states[kind]["pid"] for kind in ("prestart", "createRuntime", "poststart")] == [pid] * 3
    # runtime.md: creating: "the container is being created (step 2 in the lifecycle)"
    statuses = [f"{kind} {states[kind]['status']}" for kind in KINDS]
    expected = ["prestart creating", "createRuntime creating", "createContainer creating", "startContainer created"]
    expected += ["poststart running", "poststop stopped"]
    assert but_poststart(runtime, statuses) == but_poststart(runtime, expected)


def test_the_namespaces_they_run_in(runtime: Runtime, bundle: MakeBundle, log: Path) -> None:
    script = "for k in mnt net pid uts ipc; do readlink /proc/self/ns/$k; done >DIR/KIND"
    id = runtime.running(hooked(bundle(*SLEEP), log, script))
    host = [os.readlink(f"/proc/self/ns/{kind}") for kind in ("mnt", "net", "pid", "uts", "ipc")]
    if runtime.name == "crun":
        host[0] = lines(log, "prestart")[0]  # these tests give it a mount namespace of its own
    inside = [os.readlink(f"/proc/{runtime.pid(id)}/ns/{kind}") for kind in ("mnt", "net", "pid", "uts", "ipc")]
    runtime.delete(id, "--force")
    for kind in ("prestart", "createRuntime", "poststart", "poststop"):
        assert lines(log, kind)[1:] == host[1:], kind
        if runtime.name != "crun":
            assert lines(log, kind) == host, kind
    for kind in ("createContainer", "startContainer"):
        assert [item for item in lines(log, kind) if not item.startswith("pid")] == inside[:2] + inside[3:], kind
    assert lines(log, "startContainer") == inside


def test_before_the_root_is_changed_and_after(runtime: Runtime, bundle: MakeBundle, log: Path) -> None:
    # config.md: createContainer "after the runtime environment has been created (including the namespaces and mounts)
    # but before pivot_root"; startContainer "executes in the container namespace", where its path is looked up
    made = hooked(bundle("true"), log, "test -e /bin/busybox && test -d /log; echo $? >DIR/KIND")
    runtime.run(made)
    assert {kind: lines(log, kind) for kind in KINDS} == {
        kind: ["0"] if kind == "startContainer" else ["1"] for kind in KINDS
    }


def test_a_create_container_hook_sees_the_mounts(runtime: Runtime, bundle: MakeBundle, log: Path) -> None:
    made = bundle("true")
    hook = shell(f"cat /proc/self/mountinfo >{log}/mounts")
    made.config["hooks"] = {"createContainer": [hook]}
    runtime.run(made)
    assert f" {made.rootfs}/dev/shm " in (log / "mounts").read_text()


@pytest.mark.parametrize("how", ["user namespace", "no pivot", "shared", "absolute root"])
def test_a_create_container_hook_of_other_containers(runtime: Runtime, bundle: MakeBundle, log: Path, how: str) -> None:
    made = bundle("sh", "-c", "mount | grep -c rootfs; ls /mnt /proc/self/status").bind(log, "/mnt")
    flags = ["--no-pivot"] if how == "no pivot" else []
    if how == "user namespace":
        user_namespace(made)
        log.chmod(0o777)
        made.path.chmod(0o755)
    elif how == "shared":
        made.linux["rootfsPropagation"] = "shared"
    elif how == "absolute root":
        (made.path / "elsewhere").mkdir()
        made.config["root"]["path"] = str(made.rootfs.rename(made.path / "elsewhere/root"))
    root = made.path / "elsewhere/root" if how == "absolute root" else made.rootfs
    hook = shell(f"echo made >{root}/mnt/by_the_hook; readlink /proc/self >>{root}/mnt/by_the_hook")
    made.config["hooks"] = {"createContainer": [hook]}
    done = runtime.run(made, *flags)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0", "/proc/self/status", "/mnt:", "by_the_hook"]
    first, second = (log / "by_the_hook").read_text().split()
    assert first == "made"
    assert second.isdecimal()


def test_their_arguments_and_environment(runtime: Runtime, bundle: MakeBundle, log: Path) -> None:
    made = bundle("true")
    script = f"echo $0 $1 >{log}/args; env >{log}/env"
    hook = {"path": "/bin/sh", "args": ["name", "-c", script, "zero", "one two"], "env": ["A=1", "B=x y"]}
    made.config["hooks"] = {"createRuntime": [hook]}
    runtime.run(made, env={"SECRET": "x"})
    assert (log / "args").read_text() == "zero one two\n"
    names = {line.partition("=")[0]: line.partition("=")[2] for line in (log / "env").read_text().splitlines()}
    assert {name: names[name] for name in names if name not in {"PWD", "SHLVL", "_", "OLDPWD"}} == {
        "A": "1",
        "B": "x y",
    }


def test_without_arguments_there_is_the_name(runtime: Runtime, bundle: MakeBundle, log: Path) -> None:
    # config.md: "args ... with the same semantics as IEEE Std 1003.1-2008 execv's argv"
    made = bundle("true")
    script = made.path / "hook"
    script.write_text(f"#!/bin/sh\necho $# >{log}/count\n")
    script.chmod(0o755)
    made.config["hooks"] = {"createRuntime": [{"path": str(script)}]}
    assert runtime.run(made).returncode == 0
    assert lines(log, "count") == ["0"]


@pytest.mark.parametrize("kind", AT_CREATE)
@pytest.mark.parametrize("why", ["exit", "signal", "missing", "directory", "timeout"])
def test_one_that_fails_at_create(runtime: Runtime, bundle: MakeBundle, log: Path, kind: str, why: str) -> None:
    # runtime.md, Lifecycle 3 to 5: "If any ... hook fails, the runtime MUST generate an error, stop the container,
    # and continue the lifecycle at step 12" (which is its removal)
    hook = {
        "exit": shell("echo the reason >&2; exit 3"),
        "signal": shell("kill -9 $$"),
        "missing": {"path": "/nowhere/hook"},
        "directory": {"path": "/"},
        "timeout": shell(f"echo $$ >{log}/pid; exec sleep 1000", timeout=1),
    }[why]
    if why == "timeout" and kind == "createContainer":
        runtime.not_like("crun", because="never comes back on this old version")
    made, id = bundle(*SLEEP), runtime.new_id()
    made.config["hooks"] = {kind: [hook, shell(f"echo second >>{log}/order")]}
    done = runtime.try_create(made, id=id)
    assert done.returncode != 0
    assert done.stderr
    assert lines(log) == []
    assert runtime.status(id) == ""
    wait_until(lambda: not processes_of(id), "something goes on")
    assert groups_of(id) == []
    if why == "timeout" and kind != "createContainer":
        wait_until(lambda: not alive(int(lines(log, "pid")[0])), "the hook goes on")


def test_what_a_failing_hook_says_is_told(runtime: Runtime, bundle: MakeBundle) -> None:
    runtime.not_like("crun", because="lets it go to its own standard error or drops it")
    made = bundle("true")
    made.config["hooks"] = {"createRuntime": [shell("echo the reason >&2; exit 3")]}
    done = runtime.try_create(made)
    assert "the reason" in done.stderr


def test_one_that_fails_at_start(runtime: Runtime, bundle: MakeBundle, log: Path) -> None:
    # config.md, startContainer: "... called after the start operation is called but before the user-specified
    # program command is executed"; runtime.md, Lifecycle 7: "If any startContainer hook fails, the runtime MUST
    # generate an error, stop the container, and continue the lifecycle at step 12", which is its removal
    made = bundle("touch", "/log/ran").bind(log, "/log")
    (made.rootfs / "log").mkdir()
    made.config["hooks"] = {
        "startContainer": [shell("echo the reason >&2; exit 3")],
        "poststop": [shell(f"echo poststop >>{log}/order")],
    }
    id = runtime.create(made)
    done = runtime("start", id)
    wait_until(lambda: runtime.status(id) in ("", "stopped"), "it is neither")
    assert not (log / "ran").exists()
    runtime.not_like("runc", "crun", because="has let the container go when it fails, and tells it on its output only")
    assert done.returncode != 0
    assert "the reason" in done.stderr
    assert runtime.status(id) == ""
    assert lines(log) == ["poststop"]
    assert groups_of(id) == []
    assert list(runtime.root.glob("*")) == []


def test_one_that_fails_after_the_start(runtime: Runtime, bundle: MakeBundle, log: Path) -> None:
    # runtime.md, Lifecycle 9: up to 1.2 "the runtime MUST log a warning, but the remaining hooks and lifecycle continue
    # as if the hook had succeeded", since 1.3 "MUST generate an error, stop the container, and continue the lifecycle
    # at step 12"
    runtime.not_like("crun", "runc", because="says nothing, or calls it at the end of create")
    made = bundle(*SLEEP)
    made.config["hooks"] = {
        "poststart": [shell("echo the reason >&2; exit 3"), shell(f"echo second >>{log}/order")],
        "poststop": [shell(f"echo poststop >>{log}/order")],
    }
    id = runtime.create(made)
    done = runtime("start", id)
    assert done.returncode != 0
    assert "the reason" in done.stderr
    assert runtime.status(id) == ""
    assert lines(log) == ["poststop"]
    wait_until(lambda: not processes_of(id), "something goes on")
    assert groups_of(id) == []
    assert list(runtime.root.glob("*")) == []


@pytest.mark.parametrize("kind", ["startContainer", "poststart"])
def test_one_that_takes_too_long_at_start(runtime: Runtime, bundle: MakeBundle, log: Path, kind: str) -> None:
    # config.md: "timeout (int, OPTIONAL) is the number of seconds before aborting the hook", which is a failure
    runtime.not_like("crun", "runc", because="let it go on, or call it at another time")
    made = bundle(*SLEEP).bind(log, "/log")
    (made.rootfs / "log").mkdir()
    place = "/log" if kind == "startContainer" else str(log)
    # it waits itself: a child of its own would go on
    waits = f"mkfifo {place}/never; read word <>{place}/never"
    slow = shell(f"echo began >>{place}/order; {waits}; echo went on >>{place}/order", timeout=1)
    made.config["hooks"] = {kind: [slow], "poststop": [shell(f"echo poststop >>{log}/order")]}
    id = runtime.create(made)
    before = time.monotonic()
    done = runtime("start", id)
    assert 1 <= time.monotonic() - before < 15
    assert done.returncode != 0
    assert f"{kind} hook 0" in done.stderr
    assert "did not end within 1 s" in done.stderr
    assert runtime.status(id) == ""
    assert lines(log) == ["began", "poststop"]
    wait_until(lambda: not processes_of(id), "something goes on")
    assert groups_of(id) == []


def test_one_that_takes_too_long_after_the_end(runtime: Runtime, bundle: MakeBundle, log: Path) -> None:
    runtime.not_like("crun", "runc", because="leave the others out, or say nothing")
    made = bundle("true")
    slow = shell(f"echo $$ >{log}/pid; exec sleep 1000", timeout=1)
    made.config["hooks"] = {"poststop": [slow, shell(f"echo second >>{log}/order")]}
    id = runtime.running(made)
    runtime.wait(id)
    before = time.monotonic()
    done = runtime("delete", id)
    assert 1 <= time.monotonic() - before < 15
    assert done.returncode == 0, done.stderr
    assert "did not end within 1 s" in done.stderr
    assert lines(log) == ["second"]
    assert runtime.status(id) == ""
    wait_until(lambda: not alive(int(lines(log, "pid")[0])), "the hook goes on")


@pytest.mark.parametrize("kind", ["startContainer", "poststart"])
def test_one_that_fails_in_run(runtime: Runtime, bundle: MakeBundle, log: Path, kind: str) -> None:
    runtime.not_like("crun", "runc", because="says nothing, or does not call those of poststop")
    made, id = bundle(*SLEEP), runtime.new_id()
    made.config["hooks"] = {kind: [shell("exit 3")], "poststop": [shell(f"echo poststop >>{log}/order")]}
    done = runtime.run(made, id=id)
    assert done.returncode == 1
    assert f"{kind} hook 0 (/bin/sh): exited with 3" in done.stderr
    assert lines(log) == ["poststop"]
    assert groups_of(id) == []
    assert list(runtime.root.glob("*")) == []


@pytest.mark.parametrize("kind", [*AT_CREATE, "pivot"])
def test_those_of_poststop_are_called_where_create_fails(
    runtime: Runtime, bundle: MakeBundle, log: Path, kind: str
) -> None:
    # they undo what hooks of create have done; the state names the process that there was, and that it is over
    runtime.not_like("crun", because="does not call them")
    made, id = bundle("/nowhere/program" if kind == "pivot" else "true"), runtime.new_id()
    made.config["hooks"] = {
        "createRuntime": [shell("cat")],
        "poststop": [shell("exit 3"), shell(f"cat >{log}/state"), shell("kill $$")],
    }
    if kind != "pivot":
        made.config["hooks"].setdefault(kind, []).append(shell("exit 3"))
    done = runtime.try_create(made, id=id)
    assert done.returncode != 0
    assert groups_of(id) == []
    assert runtime.status(id) == ""
    runtime.not_like("runc", because="leaves the others out, and says nothing")
    state = json.loads((log / "state").read_text())
    assert (state["id"], state["status"]) == (id, "stopped")
    assert state["pid"] > 0
    warnings = [line for line in done.stderr.splitlines() if "warning" in line]
    assert ["poststop hook 0" in warnings[0], "poststop hook 2" in warnings[1]] == [True, True], done.stderr


def test_those_of_poststop_are_not_called_where_there_was_nothing(
    runtime: Runtime, bundle: MakeBundle, log: Path
) -> None:
    runtime.not_like("runc", because="calls them whenever it cleans up")
    made = bundle("true")
    made.config["mounts"].append({"destination": "/mnt", "type": "nofs", "source": "nofs"})
    made.config["hooks"] = {"poststop": [shell(f"echo poststop >>{log}/order")]}
    assert runtime.try_create(made).returncode != 0
    assert lines(log) == []


def test_the_directory_they_run_in(runtime: Runtime, bundle: MakeBundle, log: Path) -> None:
    made = hooked(bundle("true"), log, "pwd >DIR/KIND")
    assert runtime.run(made, "--pid-file", "pid", cwd=log).returncode == 0
    there = {kind: (log / kind).read_text().strip() for kind in KINDS}
    if runtime.name == "runc":
        there["createContainer"] = there["createContainer"].removesuffix("/rootfs")  # its own choice
    assert there == {kind: "/" if kind == "startContainer" else str(made.path) for kind in KINDS}
    if runtime.name != "crun":
        assert (log / "pid").exists()  # relative to the caller all the same


def test_a_poststop_hook_of_a_bundle_that_is_gone(runtime: Runtime, bundle: MakeBundle, log: Path) -> None:
    runtime.not_like("runc", "crun", because="cannot start it there")
    made = hooked(bundle("true"), log, "pwd >DIR/KIND")
    id = runtime.running(made)
    runtime.wait(id)
    shutil.rmtree(made.path)
    runtime.delete(id)
    assert lines(log, "poststop") == ["/"]


def test_a_state_with_words_that_stand_for_others(runtime: Runtime, bundle: MakeBundle, log: Path) -> None:
    made = hooked(bundle(*SLEEP), log, "cat >DIR/KIND")
    words = {"PID": "PID", "pid": "PID", "creating": "creating", "status": "creating", "a": '"PID"'}
    made.config["annotations"] = dict(words)
    id = runtime.running(made)
    runtime.delete(id, "--force")
    for kind in KINDS:
        assert json.loads((log / kind).read_text())["annotations"] == words, kind


def test_the_mask_that_hooks_make_files_with(runtime: Runtime, bundle: MakeBundle, log: Path) -> None:
    runtime.not_like("runc", "crun", because="has the caller's")
    made = hooked(bundle("true"), log, "umask >DIR/KIND")
    made.process["user"]["umask"] = 0o022
    assert runtime.run(made).returncode == 0
    assert {kind: lines(log, kind) for kind in KINDS} == {kind: ["0022"] for kind in KINDS}


def test_one_that_fails_after_the_end_is_a_warning(runtime: Runtime, bundle: MakeBundle, log: Path) -> None:
    # runtime.md, Lifecycle 13: "If any poststop hook fails, the runtime MUST log a warning, but the remaining hooks
    # and lifecycle continue as if the hook had succeeded."
    made = bundle("true")
    made.config["hooks"] = {"poststop": [shell("exit 3"), shell(f"echo second >>{log}/order")]}
    id = runtime.running(made)
    runtime.wait(id)
    done = runtime("delete", id)
    assert done.returncode == 0, done.stderr
    assert runtime.status(id) == ""
    assert groups_of(id) == []
    runtime.not_like("runc", "crun", because="leaves the others out, or says nothing")
    assert lines(log) == ["second"]
    assert done.stderr


def test_a_time_limit_of_years(runtime: Runtime, bundle: MakeBundle, log: Path) -> None:
    made = hooked(bundle("true"), log)
    for kind in KINDS:
        made.config["hooks"][kind][0]["timeout"] = (1 << 31) - 1
    assert runtime.run(made).returncode == 0
    assert but_poststart(runtime, lines(log)) == but_poststart(runtime, list(KINDS))


def test_one_that_takes_its_time_is_waited_for(runtime: Runtime, bundle: MakeBundle, log: Path) -> None:
    made = bundle("true")
    made.config["hooks"] = {"createRuntime": [shell(f"sleep 0.3; echo done >{log}/order", timeout=30)]}
    runtime.create(made)
    assert lines(log) == ["done"]


def test_a_network_is_there_before_the_container_is(runtime: Runtime, bundle: MakeBundle) -> None:
    # what docker does (libnetwork-setkey) and CNI: the hook reaches the namespaces through the pid in the state
    made = bundle("ip", "link", "show", "hooked0")
    script = "state=$(cat); pid=$(echo $state | sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/'); "
    script += "nsenter -t $pid -n ip link add hooked0 type veth peer name hooked1"
    made.config["hooks"] = {"prestart": [shell(script, env=[f"PATH={os.environ['PATH']}"])]}
    done = runtime.run(made)
    assert "hooked0" in done.stdout, done.stderr


def test_one_that_does_not_read_what_it_is_given(runtime: Runtime, bundle: MakeBundle, log: Path) -> None:
    # config.md: the state is passed over standard input; whether a hook reads it is its own business
    runtime.not_like("crun", because="1.8 dies of SIGPIPE")
    made = bundle("true")
    made.config["annotations"] = {"org.example.long": "x" * 300_000}  # more than a pipe holds
    made.config["hooks"] = {kind: [shell(f"echo {kind} >>{log}/order")] for kind in KINDS if kind != "startContainer"}
    id = runtime.running(made)
    runtime.wait(id)
    runtime.delete(id)
    assert sorted(lines(log)) == sorted(set(KINDS) - {"startContainer"})
