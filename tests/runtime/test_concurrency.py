"""Commands at the same time: on one container they are one after the other, on many they do not meet."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tests.runtime.conftest import SLEEP, groups_of, processes_of, wait_until

if TYPE_CHECKING:
    from tests.runtime.conftest import MakeBundle, Runtime


def together(runtime: Runtime, commands: list[list[str]]) -> list[tuple[int, str, str]]:
    """Start all at once; returns (exit code, output, errors) of each."""
    files = [(runtime.top / f"together{n}.out", runtime.top / f"together{n}.err") for n in range(len(commands))]
    children = []
    for (out, err), words in zip(files, commands, strict=True):
        with out.open("wb") as stdout, err.open("wb") as stderr:
            children.append(runtime.popen(*words, stdout=stdout, stderr=stderr))
    codes = [child.wait(60) for child in children]
    return [(code, out.read_text(), err.read_text()) for code, (out, err) in zip(codes, files, strict=True)]


def test_one_of_many_creates_wins(runtime: Runtime, bundle: MakeBundle) -> None:
    made, id = bundle(*SLEEP).write(), runtime.new_id()
    results = together(runtime, [["create", "-b", str(made.path), id]] * 20)
    assert sorted(code == 0 for code, _, _ in results) == [False] * 19 + [True], results
    assert all(errors for code, _, errors in results if code != 0)
    assert runtime.status(id) == "created"
    wait_until(lambda: processes_of(id) == [runtime.pid(id)], "there are others")
    runtime.start(id)
    assert runtime.exec(id, "true").returncode == 0
    runtime.delete(id, "--force")
    assert groups_of(id) == []
    assert list(runtime.root.glob("*")) == []


def test_one_of_many_starts_wins(runtime: Runtime, bundle: MakeBundle) -> None:
    # runtime.md, Start: "Attempting to start a container that is not created MUST ... generate an error"
    runtime.not_like("runc", "crun", because="may hang when another one was faster, or lets several succeed")
    id = runtime.create(bundle("sh", "-c", "echo once; exec sleep 1000"))
    results = together(runtime, [["start", id]] * 10)
    assert sorted(code == 0 for code, _, _ in results) == [False] * 9 + [True], results
    wait_until(lambda: runtime.output(id), "it says nothing")
    assert runtime.output(id) == "once\n"


def test_many_deletes(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.running(bundle("true"))
    runtime.wait(id)
    results = together(runtime, [["delete", id]] * 10)
    assert any(code == 0 for code, _, _ in results), results
    assert runtime.status(id) == ""
    assert groups_of(id) == []
    assert list(runtime.root.glob("*")) == []


def test_many_deletes_by_force_of_one_that_runs(runtime: Runtime, bundle: MakeBundle) -> None:
    # each finds it or finds it gone, and that it is gone is no error with --force
    runtime.not_like("crun", "runc", because="fails where another one has removed a directory meanwhile")
    id = runtime.running(bundle("sh", "-c", "sleep 1000 & sleep 1001; true"))
    results = together(runtime, [["delete", "--force", id]] * 10)
    assert [code for code, _, _ in results] == [0] * 10, results
    assert groups_of(id) == []
    assert list(runtime.root.glob("*")) == []


def test_many_kills(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.running(bundle(*SLEEP))
    results = together(runtime, [["kill", id, "KILL"]] * 10)
    assert any(code == 0 for code, _, _ in results), results
    runtime.wait(id)
    runtime.delete(id)


def test_states_while_it_lives_and_dies(runtime: Runtime, bundle: MakeBundle) -> None:
    made, ids = bundle("true"), [runtime.new_id() for _ in range(4)]

    def live(id: str) -> None:
        runtime.create(made, id=id)
        runtime.start(id)
        runtime.wait(id)
        runtime.delete(id)

    made.write()
    with ThreadPoolExecutor(2) as pool:
        lives = [pool.submit(live, id) for id in ids]
        seen = set()
        while not all(life.done() for life in lives):
            for id in ids:
                done = runtime("state", id)
                assert "Traceback" not in done.stderr
                if done.returncode == 0:
                    seen.add(json.loads(done.stdout)["status"])
        for life in lives:
            life.result()
    # runc tells "creating" of what is being created, as runtime.md allows
    assert seen <= {"creating", "created", "running", "stopped"}


def test_lists_while_others_come_and_go(runtime: Runtime, bundle: MakeBundle) -> None:
    runtime.not_like("runc", "crun", because="fails when one goes while it looks")
    made, stays = bundle("true").write(), runtime.create(bundle(*SLEEP))
    ids = [runtime.new_id() for _ in range(6)]

    def live(id: str) -> None:
        runtime.create(made, id=id)
        runtime.delete(id, "--force")

    with ThreadPoolExecutor(2) as pool:
        lives = [pool.submit(live, id) for id in ids]
        while not all(life.done() for life in lives):
            found = {item["id"] for item in json.loads(runtime.ok("list", "--format", "json"))}
            assert stays in found
            assert found <= {stays, *ids}
        for life in lives:
            life.result()
    assert runtime.ok("list", "-q").split() == [stays]


def test_many_execs(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.running(bundle(*SLEEP))
    results = together(runtime, [["exec", id, "sh", "-c", f"echo {n}; exit {n}"] for n in range(12)])
    assert [(code, out) for code, out, _ in results] == [(n, f"{n}\n") for n in range(12)], results


def test_many_containers(runtime: Runtime, bundle: MakeBundle) -> None:
    ids = [runtime.new_id() for _ in range(10)]
    made = [bundle("sh", "-c", f"echo {n}; exit {n}").write() for n in range(10)]
    results = together(runtime, [["run", "-b", str(b.path), id] for b, id in zip(made, ids, strict=True)])
    assert [(code, out) for code, out, _ in results] == [(n, f"{n}\n") for n in range(10)], results
    assert runtime.ok("list", "-q") == ""


def test_exec_while_it_is_deleted(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.running(bundle(*SLEEP))
    children = [
        runtime.popen("exec", id, "true", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(6)
    ]
    runtime.delete(id, "--force")
    for child in children:
        assert child.wait(20) is not None
    wait_until(lambda: not processes_of(id), "something is left")
    if runtime.name == "cloche-runtime":
        assert groups_of(id) == []
