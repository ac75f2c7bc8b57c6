"""`cloche.Engine` as a program uses it: real containers, beside the command line, in threads, and on an event loop."""

from __future__ import annotations

import asyncio
import json
import os
import pydoc
import signal
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import cloche
from cloche.engine.records import state_dir
from cloche.images.store.layout import store_dir
from tests.documents import block
from tests.integration.alive import living, until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from tests.conftest import Cli

SLEEP = ["sleep", "600"]
# keywords that are none: of another kind, as other libraries have them, or without a meaning
WRONG: tuple[dict[str, Any], ...] = (
    *({"restart": word} for word in (True, {"Name": "always"})),
    *({"health_retries": word} for word in ("x", True)),
    *({"log_options": word} for word in ({"max-file": 3}, ["max-file=3"])),
    {"health_on_failure": "sleep"},
    {"no_healthcheck": "no"},
    {"entrypoint": ["sh"]},
    {"env": ["A=1"]},
    {"labels": ["a"]},
    *({"volumes": word} for word in ({"/srv": 1}, {"/srv": {"mode": "ro"}}, {1: "/srv"}, 1)),
    *({"hostname": word} for word in (5, "a\0b")),
    {"read_only": 1},
    {"workdir": 1},
)


def made(top: Path) -> cloche.Engine:
    return cloche.Engine(top / "store", top / "state")


def end(engine: cloche.Engine) -> None:
    for container in engine.containers.list(all=True):
        container.remove(force=True, volumes=True)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[cloche.Engine]:
    """An engine with directories of its own, as whoever runs the tests."""
    found = made(tmp_path)
    yield found
    end(found)


@pytest.fixture
def box(engine: cloche.Engine) -> cloche.Container:
    """A container that sleeps."""
    return engine.containers.run("host", SLEEP, detach=True, name="box", labels={"tier": "web"})


def test_the_program_of_the_document_runs(
    engine: cloche.Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in engine.environment().items():
        monkeypatch.setenv(name, value)
    exec(compile(block("containers.md", "From Python", "python"), "docs/containers.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "0"
    assert (lines[2], lines[4:6]) == ("['box']", ["stdout b'ready\\n'", "137 killed by SIGKILL"])
    assert lines[3] in {"[b'ready\\n']", "[]"}  # it may not have said it yet
    assert lines[6].startswith("['create', 'start', 'exec_create: id -u',")
    assert not engine.containers.list(all=True)
    assert not engine.volumes.list()


def shell(engine: cloche.Engine, program: str, **options: Any) -> cloche.Container:
    return engine.containers.run("host", program, detach=True, **options)


def command_line(cli: Cli, engine: cloche.Engine, *words: str) -> str:
    """What a command of the same directories prints."""
    done = cli(*words, env={"CLOCHE_ROOT": engine.root, "CLOCHE_STATE": engine.state_dir})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_life(engine: cloche.Engine) -> None:
    box = engine.containers.create("host", ["sh", "-c", "trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done"])
    assert (box.status, box.exit_code, box.reason, box.receipt, box.image) == ("created", None, None, None, "host")
    assert engine.containers.list() == []
    assert engine.containers.list(all=True) == [box]
    box.start()
    assert (box.status, box.exit_code, box.health) == ("running", None, "none")
    box.start()  # which is nothing
    until(lambda: [said.data for said in box.logs()] == [b"up\n"], "it is up")
    assert box.receipt is not None
    assert {"user", "pid", "seccomp"} <= set(box.receipt.enforced)
    box.stop(timeout=20)
    assert (box.status, box.exit_code, str(box.reason)) == ("exited", 7, "exited with 7")
    box.restart(timeout=0)
    first = box.attrs["State"]["Pid"]
    box.restart(timeout=0)
    assert box.attrs["State"]["Pid"] not in {0, first}
    box.kill("KILL")
    assert box.wait() == 137
    assert (box.status, box.exit_code) == ("exited", 137)
    box.rename("other")
    assert engine.containers.get("other").id == box.id
    box.remove()
    with pytest.raises(cloche.NotFoundError, match=f"No such container: {box.id}"):
        box.reload()


def test_what_nobody_knows_and_what_cannot_be(engine: cloche.Engine, box: cloche.Container) -> None:
    for work, error, text in (
        (lambda: engine.containers.get("mars"), cloche.NotFoundError, "No such container: mars"),
        (lambda: engine.containers.create("host", SLEEP, name="box"), cloche.ConflictError, "box"),
        (lambda: engine.containers.create("host", SLEEP, name="-"), cloche.SpecError, "Invalid container name"),
        (lambda: engine.containers.create("mars", pull="never"), cloche.NotFoundError, "no such image: mars"),
        (lambda: engine.containers.create("host", ["a", 1]), TypeError, "str"),  # type: ignore[list-item]
        (lambda: engine.containers.create("host", SLEEP, colour="red"), TypeError, "create.*'colour'"),
        (lambda: engine.containers.run("host", SLEEP, cidfile="/x"), TypeError, "run.*'cidfile'"),
        (lambda: engine.containers.create("host", SLEEP, labels={"": "x"}), cloche.SpecError, "label's name"),
        (lambda: engine.containers.create("host", SLEEP, restart="daily"), cloche.SpecError, "invalid restart policy"),
        (lambda: engine.containers.create("host", SLEEP, log_driver="x"), cloche.SpecError, "x"),
        (
            lambda: engine.containers.run("host", SLEEP, remove=True, restart="always"),
            cloche.ConflictError,
            "contradicts restart",
        ),
        (lambda: engine.containers.list(filters={"colour": "red"}), cloche.SpecError, "Invalid filter 'colour'"),
        (lambda: engine.containers.list(filters={"label": [1]}), cloche.SpecError, "no str: 1"),  # type: ignore[list-item]
        (box.remove, cloche.ConflictError, "container is running"),
        (lambda: box.rename("box"), cloche.ConflictError, "same name"),
        (lambda: box.kill("NOPE"), cloche.SpecError, "Invalid signal: NOPE"),
        (box.unpause, (cloche.ConflictError, cloche.UnsupportedError), "."),
        (lambda: box.exec([]), cloche.SpecError, "the command is empty"),
        (lambda: box.exec(["a\0b"]), cloche.SpecError, "zero byte"),
        (lambda: box.exec(SLEEP, env={"A=": "1"}), cloche.SpecError, "no variable"),
        (lambda: list(box.logs(since=datetime(2024, 1, 1))), cloche.SpecError, "zone"),
        (lambda: list(box.logs(since="now")), cloche.SpecError, "is no time"),  # type: ignore[arg-type]
        (lambda: list(engine.events(filters={"x": "y"}, follow=False)), cloche.SpecError, "invalid filter 'x'"),
        (lambda: engine.volumes.get("none"), cloche.NotFoundError, "get none: no such volume"),
        (lambda: engine.volumes.create("-"), cloche.SpecError, "create -"),
    ):
        with pytest.raises(error, match=text):
            work()
    assert engine.containers.list(all=True) == [box], "nothing was made"


def test_keywords_that_are_none(engine: cloche.Engine) -> None:
    for given in WRONG:
        with pytest.raises(cloche.SpecError, match=next(iter(given))):
            engine.containers.create("host", SLEEP, **given)
    assert engine.containers.list(all=True) == []


def test_what_is_listed_and_found(engine: cloche.Engine, box: cloche.Container) -> None:
    other = engine.containers.create("host", SLEEP, labels={"tier": "db"})
    assert engine.containers.list() == [box]
    assert engine.containers.list(all=True) == [other, box]
    assert engine.containers.list(filters={"status": ["created", "exited"]}) == [other]
    assert engine.containers.list(all=True, filters={"label": "tier=web"}) == [box]
    assert engine.containers.list(all=True, filters={"label": ["tier", "none"]}) == []
    assert engine.containers.get(box.id[:20]) == box
    assert engine.containers.get("box").labels == {"tier": "web"}
    assert "box" in repr(box)


def test_it_is_what_the_command_line_prints(cli: Cli, engine: cloche.Engine, box: cloche.Container) -> None:
    shown = json.loads(command_line(cli, engine, "inspect", "box"))
    assert json.loads(json.dumps(box.attrs)) == shown[0]
    assert command_line(cli, engine, "ps", "-q", "--no-trunc").split() == [box.id]
    command_line(cli, engine, "rename", "box", "case")
    box.reload()
    assert box.name == "case"
    told = command_line(cli, engine, "events", "--since", "0", "--until", "0s", "--format", "json").splitlines()
    assert list(engine.events(follow=False)) == [json.loads(line) for line in told]
    assert [event["Action"] for event in engine.events(follow=False)] == ["create", "start", "rename"]


def test_volumes_as_other_libraries_write_them(engine: cloche.Engine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    volumes = {str(tmp_path): {"bind": "/mnt", "mode": "ro"}}
    done = engine.containers.run("host", "cat /mnt/file; echo >/mnt/file", volumes=volumes, workdir=Path("/mnt"))
    assert (done.stdout, done.ok) == ("here", False)


def test_every_option_arrives(engine: cloche.Engine, tmp_path: Path) -> None:
    (tmp_path / "lent").mkdir()
    (tmp_path / "lent/file").write_text("lent\n")
    program = (
        "echo $A; pwd; id -u; hostname; cat /lent/file; echo kept >/data/file; (touch /x) 2>/dev/null || echo sealed"
    )
    done = engine.containers.run(
        "host",
        program,
        env={"A": "1"},
        workdir="/tmp",
        user=0,
        hostname="inside",
        volumes=[f"{tmp_path}/lent:/lent:ro", "data:/data"],
        read_only=True,
        tmpfs=["/tmp"],
        umask=0o077,
        stop_timeout=1.5,
        log_options={"max-size": "1m"},
    )
    assert done.stdout.splitlines() == ["1", "/tmp", "0", "inside", "lent", "sealed"], done.stderr
    (box,) = engine.containers.list(all=True)
    assert box.attrs["Config"]["StopTimeout"] == 1 or box.attrs["Config"]["StopTimeout"] == 1.5
    assert box.attrs["HostConfig"]["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "1m"}}
    volume = engine.volumes.get("data")
    assert Path(volume.mountpoint, "file").read_text() == "kept\n"
    with pytest.raises(cloche.ConflictError, match="volume is in use"):
        volume.remove()


def test_run_in_the_foreground(engine: cloche.Engine) -> None:
    threads = threading.active_count()
    done = engine.containers.run("host", "echo out; echo err >&2; exit 3", name="first")
    assert (done.exit_code, done.stdout, done.stderr, done.ok) == (3, "out\n", "err\n", False)
    assert str(done.reason) == "exited with 3"
    assert done.receipt is not None
    assert "seccomp" in done.receipt.enforced
    assert engine.containers.get("first").exit_code == 3
    done = engine.containers.run("host", ["printf", r"\377"], remove=True, text=False)
    assert (done.stdout, done.ok) == (b"\xff", True)
    with pytest.raises(cloche.NotExecutedError) as raised:
        engine.containers.run("host", ["/not/there"], remove=True)
    assert raised.value.code == 127
    assert [box.name for box in engine.containers.list(all=True)] == ["first"], "the others are gone"
    assert threading.active_count() == threads


def test_much_output(engine: cloche.Engine) -> None:
    done = engine.containers.run("host", "head -c 3000000 /dev/zero | tr '\\0' x", remove=True)
    assert done.stdout == "x" * 3_000_000


def test_exec(box: cloche.Container) -> None:
    done = box.exec("echo $A; pwd; cat; echo err >&2; exit 3", stdin="in\n", env={"A": "ü"}, workdir="/tmp")
    assert (done.exit_code, done.stdout, done.stderr) == (3, "ü\n/tmp\nin\n", "err\n")
    assert box.exec(["printf", r"\377"], text=False).stdout == b"\xff"
    assert box.exec(["printf", r"\377"]).stdout == "\udcff"
    assert box.exec(["cat"]).stdout == "", "there is nothing to read, and nobody waits for it"
    assert box.exec(["id", "-u"], user=7).stdout == "7\n"
    assert box.exec(["echo", "-e", "--privileged"]).stdout == "--privileged\n"
    for word in ("--privileged", "--help", "-d"):
        assert box.exec([word, "true"]).exit_code == 127, "a command is no option"
    missing = box.exec(["/not/there"])
    assert missing.exit_code == 127
    assert "/not/there" in missing.stderr
    assert box.exec("kill -9 $$").exit_code == 137
    begun = time.monotonic()
    assert box.exec("sleep 600 & echo begun").stdout == "begun\n"
    assert time.monotonic() - begun < 30, "its end is waited for, not that of others who have its streams"
    mark = uuid.uuid4().hex
    with pytest.raises(TimeoutError, match=r"within 0\.5 s"):
        box.exec(["sh", "-c", f": {mark}; sleep 600; :"], timeout=0.5)
    until(lambda: not living(mark), "it is gone")
    box.stop(timeout=0)
    with pytest.raises(cloche.ConflictError, match="is not running"):
        box.exec(["true"])


def test_logs(engine: cloche.Engine) -> None:
    begun = time.time_ns()
    box = shell(engine, "echo one; echo two >&2; sleep 0.3; printf three")
    assert [(said.stream, said.data) for said in box.logs(follow=True)] == [
        ("stdout", b"one\n"),
        ("stderr", b"two\n"),
        ("stdout", b"three"),
    ]
    whole = list(box.logs())
    assert [said.data for said in whole] == [b"one\n", b"two\n", b"three"]
    assert all(begun < said.time_ns < time.time_ns() for said in whole)
    assert [said.data for said in box.logs(tail=1)] == [b"three"]
    moment = datetime.fromtimestamp(whole[2].time_ns // 1000 / 1e6 - 0.1, UTC)
    assert [said.data for said in box.logs(since=moment)] == [b"three"]
    assert [said.data for said in box.logs(until=moment.timestamp())] == [b"one\n", b"two\n"]
    assert list(box.logs(since=int(time.time()) + 9)) == []
    silent = shell(engine, "echo x", log_driver="none")
    with pytest.raises(cloche.ConflictError, match="does not support reading"):
        list(silent.logs())


def test_volumes(engine: cloche.Engine) -> None:
    data, unnamed = engine.volumes.create("data", labels={"a": "b"}), engine.volumes.create()
    assert (data.name, data.labels, data.attrs["Mountpoint"]) == ("data", {"a": "b"}, data.mountpoint)
    assert engine.volumes.get("data") == data == engine.volumes.create("data")
    assert len(unnamed.name) == 64
    assert engine.volumes.list({"label": "a=b"}) == [data]
    assert set(engine.volumes.list({"dangling": "true"})) == {data, unnamed}
    Path(unnamed.mountpoint, "x").write_bytes(bytes(100))
    assert engine.volumes.prune() == ([unnamed.name], 100)
    data.remove()
    data.remove(force=True)
    with pytest.raises(cloche.NotFoundError):
        data.remove()
    assert engine.volumes.list() == []


def test_events_as_they_come(engine: cloche.Engine) -> None:
    heard: list[str] = []

    def listen() -> None:
        for event in engine.events(filters={"type": "container", "event": ["start", "die"]}, since=time.time() - 60):
            heard.append(event["Action"])
            if event["Action"] == "die":
                return

    thread = threading.Thread(target=listen)
    thread.start()
    assert engine.containers.run("host", ["true"]).ok
    thread.join(10)
    assert heard == ["start", "die"]


def test_two_engines_side_by_side(engine: cloche.Engine, tmp_path: Path) -> None:
    before = store_dir(), state_dir()
    other = made(tmp_path / "other")
    try:
        barrier = threading.Barrier(2)

        def life(mine: cloche.Engine, word: str) -> list[object]:
            found: list[object] = []
            for _ in range(3):
                barrier.wait(20)
                box = shell(mine, f"echo {word}; sleep 600", name="same")
                until(lambda box=box: list(box.logs()) != [], "it has spoken")  # type: ignore[misc]
                found += [said.data.decode() for said in box.logs()]
                found += [each.id == box.id and each.exec(["echo", word]).stdout for each in mine.containers.list()]
                assert Path(mine.root, "containers", box.id).is_dir()
                box.remove(force=True)
            return found

        with ThreadPoolExecutor(2) as pool:
            one, two = pool.submit(life, engine, "one"), pool.submit(life, other, "two")
            assert (one.result(50), two.result(50)) == (["one\n"] * 6, ["two\n"] * 6)
        assert engine.containers.list(all=True) == other.containers.list(all=True) == []
        assert (store_dir(), state_dir()) == before
        items = engine.events(follow=False), other.events(follow=False)
        next(items[0])
        next(items[1])  # those that stand still leave nothing set
        assert (store_dir(), state_dir()) == before
    finally:
        end(other)


def test_one_engine_in_two_threads(engine: cloche.Engine, box: cloche.Container) -> None:
    with ThreadPoolExecutor(4) as pool:
        waits = [pool.submit(box.wait) for _ in range(2)]
        assert [pool.submit(box.exec, ["echo", str(n)]).result(20).stdout for n in range(2)] == ["0\n", "1\n"]
        names = [pool.submit(engine.containers.create, "host", ["true"]) for _ in range(2)]
        assert len({name.result(20).name for name in names}) == 2
        box.kill()
        assert [wait.result(20) for wait in waits] == [137, 137]


def supervisors(engine: cloche.Engine) -> list[int]:
    """Their pids: those that listen in the state directory of the engine."""
    return [pid for pid in living("cloche.engine.supervisor.main") if directory(pid) == engine.state_dir]


def supervisor(engine: cloche.Engine) -> int:
    """The only one."""
    (found,) = supervisors(engine)
    return found


def directory(pid: int) -> str:
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return ""  # somebody else's, which has ended
    return next((text[13:].decode() for text in variables if text.startswith(b"CLOCHE_STATE=")), "")


def test_the_supervisor_is_killed_in_between(engine: cloche.Engine) -> None:
    box = shell(engine, "echo one; sleep 1.5; echo two; exit 9", name="box")
    with ThreadPoolExecutor(2) as pool:
        wait, logs = pool.submit(box.wait), pool.submit(lambda: b"".join(said.data for said in box.logs(follow=True)))
        until(lambda: list(box.logs()) != [], "it has spoken")
        for _ in range(2):
            os.kill(supervisor(engine), signal.SIGKILL)
            assert engine.containers.get("box").status == "running"
            assert box.exec(["true"]).ok
            until(lambda: supervisors(engine) != [], "there is one again")
        assert wait.result(20) == 9
        assert logs.result(20) == b"one\ntwo\n"
    assert (box.exit_code, str(box.reason)) == (9, "exited with 9")


def test_logs_have_what_nobody_has_read(engine: cloche.Engine) -> None:
    box = shell(engine, "echo one; sleep 0.5; echo two; sleep 600")
    until(lambda: list(box.logs()) != [], "it has spoken")
    os.kill(supervisor(engine), signal.SIGKILL)
    until(lambda: [said.data for said in box.logs()] == [b"one\n", b"two\n"], "all of it is there")


def test_whoever_is_interrupted_lets_go(engine: cloche.Engine) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before, handler = open_files(), signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 1.5)
    try:
        engine.containers.run("host", "while :; do echo x; done", name="box")
    except KeyboardInterrupt as raised:
        kept = raised  # with all that its frames hold
    finally:
        signal.signal(signal.SIGALRM, handler)
    assert {name for name in open_files() - before if name.startswith("socket")} == set()
    assert kept.__traceback__ is not None


def test_run_hears_the_end_though_the_supervisor_is_killed(engine: cloche.Engine) -> None:
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(engine.containers.run, "host", "echo one; echo err >&2; sleep 1; echo two", name="box")
        until(lambda: [box for box in engine.containers.list() if list(box.logs())] != [], "it has spoken")
        os.kill(supervisor(engine), signal.SIGKILL)
        assert (done.result(20).exit_code, done.result().stdout, done.result().stderr) == (0, "one\ntwo\n", "err\n")


def open_files() -> set[str]:
    return {
        os.readlink(f"/proc/self/fd/{fd}")
        for fd in os.listdir("/proc/self/fd")
        if os.path.lexists(f"/proc/self/fd/{fd}")
    }


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def run_loop(work: Callable[[], Awaitable[None]]) -> None:
    """Run it; no thread, descriptor or child is left."""
    before, children_before, threads = open_files(), children(), threading.active_count()

    async def main() -> None:
        await work()

    asyncio.run(main())
    assert threading.active_count() == threads
    assert {name for name in open_files() - before if not name.endswith("/fd")} == set()
    assert children() <= children_before


def test_on_an_event_loop(engine: cloche.Engine) -> None:
    box = shell(engine, "echo one; read line <&0; echo $line; sleep 0.5; exit 4", name="box")

    async def work() -> None:
        wait = asyncio.create_task(box.wait_async())
        said = [item.data async for item in box.logs_async(follow=True)]
        assert b"".join(said) == b"one\n\n"
        assert await wait == 4
        assert await box.wait_async() == 4
        found = [event["Action"] async for event in engine.events_async(follow=False)]
        assert found == ["create", "start", "die"]
        with pytest.raises(cloche.ConflictError):
            await box.exec_async(["true"])
        await asyncio.to_thread(box.remove)
        with pytest.raises(cloche.NotFoundError):
            await box.wait_async()
        with pytest.raises(cloche.NotFoundError):
            await anext(aiter(box.logs_async()))

    run_loop(work)


def test_exec_on_an_event_loop(box: cloche.Container) -> None:
    mark = uuid.uuid4().hex

    async def work() -> None:
        done = await asyncio.gather(
            *(box.exec_async("cat; exit $A", stdin=f"{n}", env={"A": f"{n}"}) for n in range(3))
        )
        assert [(each.exit_code, each.stdout) for each in done] == [(0, "0"), (1, "1"), (2, "2")]
        with pytest.raises(TimeoutError):
            await box.exec_async(["sh", "-c", f": {mark}; sleep 600; :"], timeout=0.3)
        task = asyncio.create_task(box.exec_async(["sh", "-c", f": {mark}; sleep 600; :"]))
        while not living(mark):
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_loop(work)
    until(lambda: not living(mark), "it is gone")


def test_cancelling_leaves_nothing(engine: cloche.Engine, box: cloche.Container) -> None:
    heard: list[str] = []

    async def logs() -> None:
        async for _ in box.logs_async(follow=True):
            raise AssertionError

    async def events() -> None:
        async for event in engine.events_async():
            heard.append(event["Action"])

    async def work() -> None:
        tasks = [asyncio.create_task(job) for job in (box.wait_async(), logs(), events(), box.wait_async())]
        while heard[-1:] != ["rename"]:
            await asyncio.to_thread(box.rename, uuid.uuid4().hex)
            await asyncio.sleep(0.05)
        begun = time.monotonic()
        for task in tasks:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(each) for each in done] == [asyncio.CancelledError] * 4
        assert time.monotonic() - begun < 0.5
        early = asyncio.create_task(box.wait_async())
        await asyncio.sleep(0)
        early.cancel()
        with pytest.raises(asyncio.CancelledError):
            await early
        async for event in engine.events_async(since=0):
            assert event["Action"] == "create"
            break  # and nothing waits behind it

    run_loop(work)
    box.reload()
    assert box.status == "running"


def test_its_help_leads_to_every_method(tmp_path: Path) -> None:
    """As docs/containers.md says: pydoc is what `help` prints."""
    engine = made(tmp_path)
    top = pydoc.plain(pydoc.render_doc(cloche.Engine))
    for name, methods in (
        ("containers", ("create", "run", "get", "list")),
        ("images", ("get", "list", "inspect", "pull", "push", "copy", "tag", "remove", "save", "load")),
        ("volumes", ("create", "get", "list", "prune")),
    ):
        part = getattr(engine, name)
        assert f": {', '.join(methods)}; `help(engine.{name})`" in top
        assert set(methods) == {method for method in dir(part) if not method.startswith("_")}
        told = pydoc.plain(pydoc.render_doc(part))
        assert all(f" |  {method}(" in told for method in methods)


TOUR = """
import asyncio, json, sys
import cloche
engine = cloche.Engine()
assert [engine.root, engine.state_dir] == sys.argv[1:], engine
box = engine.containers.run("host", "echo up; exec sleep 600", detach=True, name="box", volumes=["data:/data"])
found = [box.exec("id -u; echo mine >/data/file", user="0").stdout, box.status]
box.restart(timeout=0)
found.append(engine.containers.get("box").exec(["cat", "/data/file"]).stdout)
async def main():
    wait = asyncio.create_task(box.wait_async())
    done = await box.exec_async(["echo", "in"])
    await asyncio.to_thread(box.kill)
    return done.stdout, await wait
found += asyncio.run(main())
found.append("".join(said.data.decode() for said in box.logs()))
box.remove()
engine.volumes.get("data").remove()
done = engine.containers.run("host", ["sh", "-c", "exit 5"], remove=True)
found += [done.exit_code, len(engine.containers.list(all=True)), len(engine.volumes.list())]
print(json.dumps(found))
"""


def test_as_anybody(anyone: Cli) -> None:
    """The program is a child process of this user's, with directories from the environment."""
    code = f"import sys; sys.path.insert(0, {str(anyone.source)!r})\n{TOUR}"
    begin = anyone.argv[: anyone.argv.index(anyone.python) + 1]
    argv = [*begin, "-I", "-B", "-X", "dev", "-W", "error", "-c", code, anyone.root, anyone.state]
    env = {**os.environ, "CLOCHE_ROOT": anyone.root, "CLOCHE_STATE": anyone.state}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == ["0\n", "running", "mine\n", "in\n", 137, "up\nup\n", 5, 0, 0]


def test_the_door_is_light_until_it_is_opened() -> None:
    code = "import sys, cloche; before = {*sys.modules}; cloche.Engine; print(before & {'asyncio', 'cloche.sandbox'})"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout == "set()\n"
