"""`cloche.run` and `cloche.run_async` as a program uses them."""

from __future__ import annotations

import array
import asyncio
import io
import json
import os
import select
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import cloche
from cloche.sandbox import api, running
from tests.conftest import ORDINARY, SOURCE, system_python
from tests.integration.alive import living, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BIG = 20 << 20
KEYCTL = 250 if os.uname().machine == "x86_64" else 219


@pytest.fixture(scope="module", autouse=True)
def _no_stage_is_kept() -> Iterator[None]:
    """The stage of the tests' own process ends with this file, for those who look for leftovers."""
    yield
    api._end_stages()


def sh(program: str, rootfs: Path, **options: Any) -> cloche.Result:
    """A shell program on the small root file system."""
    return cloche.run(program, rootfs=rootfs, **options)


def test_a_result_has_everything(rootfs: Path) -> None:
    result = cloche.run(["sh", "-c", "echo out; echo err >&2; exit 3"], rootfs=rootfs)
    assert (result.exit_code, result.stdout, result.stderr) == (3, "out\n", "err\n")
    assert not result.ok
    assert (result.reason.kind, str(result.reason), result.reason.signal) == ("exited", "exited with 3", 0)
    assert {"user", "mount", "pid", "network", "seccomp"} <= set(result.receipt.enforced)
    assert result.usage.wall > 0
    assert result.usage.cpu == result.usage.user + result.usage.system
    assert result.usage.peak_memory > 0
    assert sh("true", rootfs).ok


def test_the_host_is_the_image_unless_said_otherwise(rootfs: Path) -> None:
    assert cloche.run("test -e /usr/bin/env && echo host").stdout == "host\n"
    assert sh("test -e /usr/bin/env || echo small", rootfs).stdout == "small\n"
    assert cloche.run(["true"], "host").ok
    with pytest.raises(cloche.NotFoundError, match="no such image: mars"):
        cloche.run(["true"], "mars", pull="never")


def test_every_keyword_arrives_inside(rootfs: Path) -> None:
    program = "echo $A; pwd; id -u; hostname; cat /lent/etc/group | head -n 1; (touch /x) 2>/dev/null || echo sealed"
    result = sh(
        program + "; grep CapBnd /proc/self/status; mount | grep -c /scratch; ulimit -n; umask",
        rootfs,
        env={"A": "1"},
        workdir="/tmp",
        user=0,
        hostname="inside",
        volumes=[f"{rootfs}:/lent:ro"],
        read_only=True,
        cap_drop=["ALL"],
        tmpfs=["/tmp"],
        ulimit=["nofile=99"],
        umask=0o077,
        timeout="20s",
        network="none",
        label=["a=b"],
    )
    lines = result.stdout.splitlines()
    assert lines[:6] == ["1", "/tmp", "0", "inside", "root:x:0:", "sealed"], result.stderr
    assert lines[6:] == ["CapBnd:\t0000000000000000", "0", "99", "0077"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for limits on a cgroup v1 host")
def test_limits_and_usage() -> None:
    program = "x = bytearray(30 << 20); import time\nwhile time.process_time() < 0.05: pass"
    result = cloche.run(["/usr/bin/python3", "-I", "-S", "-c", program], memory="100M", cpus=1, pids=20, timeout=20.0)
    assert result.ok, result.stderr
    assert {"memory", "cpu", "pids"} <= set(result.receipt.enforced)
    assert "at most 20 processes" in result.receipt["pids"].detail
    assert 30 << 20 <= result.usage.peak_memory <= 100 << 20
    assert result.usage.cpu >= 0.05
    less = cloche.run(["/usr/bin/python3", "-I", "-S", "-c", "pass"], memory=100 << 20)
    assert less.usage.peak_memory < 30 << 20


def test_options_nobody_knows() -> None:
    for name in ("tty", "interactive", "command", "step", "trace", "cidfile", "pidfile", "colour", "cap-add"):
        with pytest.raises(TypeError, match=name):
            cloche.run(["true"], **{name: True})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="colour"):
        asyncio.run(cloche.run_async(["true"], colour="red"))


PYTHON = ["/usr/bin/python3", "-I", "-S", "-c"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for limits on a cgroup v1 host")
def test_reason_out_of_memory() -> None:
    result = cloche.run([*PYTHON, "x = bytearray(100 << 20)"], memory="40m")
    assert (result.reason.kind, result.exit_code, result.reason.signal) == ("out of memory", 137, 9)
    assert "40 MiB" in result.reason.text
    assert "--memory" in result.reason.hint
    # the same code, but not for memory
    assert cloche.run("exit 137", memory="40m").reason.kind == "exited"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for limits on a cgroup v1 host")
def test_reason_pids_limit(rootfs: Path) -> None:
    result = sh("for i in 1 2 3 4 5 6; do sleep 0.1 & done; wait", rootfs, pids=4)
    assert result.reason.kind == "pids limit"
    assert "--pids-limit" in result.reason.hint
    assert sh("exit 1", rootfs, pids=4).reason.kind == "exited"


def test_reason_timeout(rootfs: Path) -> None:
    result = sh("echo before; sleep 60", rootfs, timeout=0.2)
    assert (result.reason.kind, result.exit_code, result.stdout) == ("timeout", 124, "before\n")
    assert result.reason.text.startswith("timed out after 0.2 s")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_reason_signal(number: int) -> None:
    # process 1 of a pid namespace cannot kill itself: a signal has to come from outside, or be a fault
    mark = uuid.uuid4().hex
    killed: list[int] = []

    def kill() -> None:
        until(lambda: living(mark), "the command runs")
        for pid in living(mark):
            os.kill(pid, number)
            killed.append(pid)

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(kill)
        result = cloche.run(["/bin/sh", "-c", "trap - TERM; sleep 60; exit 0", mark], timeout=30, pid="host")
        future.result()
    assert killed
    assert (result.reason.kind, result.reason.signal, result.exit_code) == ("signal", number, 128 + number)


def test_reason_blocked_system_call() -> None:
    program = f"import ctypes; r = ctypes.CDLL(None).syscall({KEYCTL}, 0, -3, 0); raise SystemExit(r + 5)"
    result = cloche.run([*PYTHON, program])
    assert (result.reason.kind, result.reason.blocked, result.exit_code) == ("blocked syscall", ("keyctl",), 4)
    assert "--security-opt" in result.reason.hint
    free = cloche.run([*PYTHON, program], security_opt=["seccomp=unconfined"])
    assert (free.reason.kind, free.reason.blocked) == ("exited", ())
    # it went well in the end: what was refused is told, and is not the reason
    fine = cloche.run([*PYTHON, program.replace("r + 5", "0")])
    assert (fine.reason.kind, fine.reason.blocked) == ("exited", ("keyctl",))


@pytest.mark.parametrize(
    ("name", "content", "mode", "code", "says"),
    [
        ("none", None, 0, 127, "no such file"),
        ("plain", b"#!/bin/sh\n", 0o644, 126, "is not executable"),
        ("script", b"#!/no/where\n", 0o755, 127, "interpreter /no/where is missing"),
        (
            "foreign",
            b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHI", 2, 243, 1) + bytes(60),
            0o755,
            126,
            "riscv64",
        ),
    ],
)
def test_reason_not_executed(
    rootfs: Path, shared_dir: Path, name: str, content: bytes | None, mode: int, code: int, says: str
) -> None:
    folder = shared_dir / "api-not-executed"
    folder.mkdir(exist_ok=True)
    if content is not None:
        (folder / name).write_bytes(content)
        (folder / name).chmod(mode)
    result = cloche.run([f"/it/{name}"], rootfs=rootfs, volumes=[f"{folder}:/it:ro"])
    assert (result.reason.kind, result.exit_code) == ("not executed", code)
    assert says in result.reason.text
    assert (result.stdout, result.stderr) == ("", "")


def test_check(rootfs: Path) -> None:
    assert sh("echo fine", rootfs, check=True).stdout == "fine\n"
    with pytest.raises(cloche.RunError) as caught:
        sh("echo partly; exit 4", rootfs, check=True)
    assert caught.value.result.exit_code == 4
    assert caught.value.result.stdout == "partly\n"
    assert str(caught.value) == "/bin/sh: exited with 4"
    with pytest.raises(cloche.RunError, match="command not found") as caught:
        cloche.run(["no-such-command"], rootfs=rootfs, check=True)
    assert caught.value.hint


def test_a_word_is_a_list_of_one(rootfs: Path) -> None:
    program = "grep CapBnd /proc/self/status; grep -c /scratch /proc/mounts; ls /lent/bin/sh"
    result = sh(program, rootfs, tmpfs="/scratch", cap_drop="ALL", volumes=f"{rootfs}:/lent", stop_signal=15)
    assert result.stdout == "CapBnd:\t0000000000000000\n1\n/lent/bin/sh\n", result.stderr


def test_errors_before_anything_is_started(rootfs: Path) -> None:
    wrong: list[tuple[type[cloche.ClocheError], Callable[[], object]]] = [
        (cloche.SpecError, lambda: cloche.run(["true"], memory="lots")),
        (cloche.SpecError, lambda: cloche.run([""])),
        (cloche.SpecError, lambda: cloche.run(["true"], timeout=-1)),
        (cloche.SpecError, lambda: cloche.run(["true"], timeout="soon")),
        (cloche.SpecError, lambda: cloche.run(["true"], stdin=3.5)),  # type: ignore[arg-type]
        (cloche.SpecError, lambda: cloche.run(["true"], stdout="file")),  # type: ignore[arg-type]
        (cloche.SpecError, lambda: cloche.run([b"true"])),  # type: ignore[list-item]
        (cloche.SpecError, lambda: cloche.run([])),
        (cloche.SpecError, lambda: cloche.run(["true"], stdout=5555)),
        (cloche.SpecError, lambda: cloche.run(["true"], stdin=5555)),
        (cloche.SpecError, lambda: cloche.run(["true"], env={"A=B": "c"})),
        (cloche.SpecError, lambda: cloche.run(["true"], env={"": "c"})),
        (cloche.SpecError, lambda: cloche.run(["true"], env={"A": None})),  # type: ignore[dict-item]
        (cloche.SpecError, lambda: cloche.run(["true"], cap_drop=[5])),
        (cloche.SpecError, lambda: cloche.run(["true"], cap_drop=5)),
        (cloche.SpecError, lambda: cloche.run(["true"], add_host=["\ud800:10.0.0.5"])),
        (cloche.SpecError, lambda: cloche.run(["true"], stop_signal=0)),
        (cloche.NotFoundError, lambda: cloche.run(["true"], rootfs="/no/such")),
        (cloche.NotFoundError, lambda: cloche.run(["true"], volumes=["/no/such:/x"])),
        (cloche.ConflictError, lambda: cloche.run(["true"], cpus=1, cpu_quota=5000)),
    ]
    before = set(os.listdir("/proc/self/fd"))
    for kind, call in wrong:
        with pytest.raises(kind) as caught:
            call()
        assert "\n" not in str(caught.value)
    assert set(os.listdir("/proc/self/fd")) == before
    with pytest.raises(cloche.StageError) as failed:
        cloche.run(["true"], rootfs=rootfs, workdir="/etc/passwd/x")
    assert failed.value.op
    assert failed.value.errno


def test_a_deleted_directory_is_missed_only_by_relative_paths(
    rootfs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert sh("ls /lent/bin/sh", rootfs, volumes=[f"{rootfs}:/lent"]).ok
    for wrong in ({"volumes": ["./x:/v"], "rootfs": rootfs}, {"rootfs": "x"}):
        with pytest.raises(cloche.NotFoundError, match="current directory, which is no longer there"):
            cloche.run(["true"], **wrong)


def test_eight_threads_at_once(rootfs: Path) -> None:
    barrier = threading.Barrier(8)

    def work(number: int) -> list[tuple[int, str]]:
        barrier.wait(20)
        results = [sh(f"echo {number} {turn}; exit {number}", rootfs) for turn in range(5)]
        return [(result.exit_code, result.stdout) for result in results]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, range(8)))
    assert found == [[(n, f"{n} {turn}\n") for turn in range(5)] for n in range(8)]


def test_containers_of_one_program_run_side_by_side(rootfs: Path, shared_dir: Path) -> None:
    # each waits for the other through a pipe: in turn, neither would end
    folder = shared_dir / f"meet-{uuid.uuid4().hex}"
    folder.mkdir()
    folder.chmod(0o777)
    for name in "ab":
        os.mkfifo(folder / name)
        (folder / name).chmod(0o666)
    with ThreadPoolExecutor(2) as pool:
        options: dict[str, Any] = {"volumes": [f"{folder}:/m"], "timeout": 20}
        first = pool.submit(sh, "echo one >/m/a; cat /m/b", rootfs, **options)
        second = pool.submit(sh, "cat /m/a; echo two >/m/b", rootfs, **options)
        assert (first.result().stdout, second.result().stdout) == ("two\n", "one\n")


def test_asyncio_gather(rootfs: Path) -> None:
    async def several() -> list[cloche.Result]:
        calls = [
            cloche.run_async(["sh", "-c", f"cat; exit {n}"], rootfs=rootfs, stdin=f"in {n}", env={"A": "b"})
            for n in range(6)
        ]
        return await asyncio.gather(*calls)

    results = asyncio.run(several())
    assert [(r.exit_code, r.stdout) for r in results] == [(n, f"in {n}") for n in range(6)]


def test_asyncio_check_and_bytes(rootfs: Path) -> None:
    async def calls() -> bytes:
        with pytest.raises(cloche.RunError):
            await cloche.run_async("exit 1", rootfs=rootfs, check=True)
        result = await cloche.run_async("head -c 3000000 /dev/zero", rootfs=rootfs, text=False)
        assert isinstance(result.stdout, bytes)
        return result.stdout

    assert asyncio.run(calls()) == bytes(3_000_000)


def test_asyncio_cancelling_kills(rootfs: Path) -> None:
    mark = uuid.uuid4().hex

    async def cancel() -> None:
        words = ["sh", "-c", "trap '' TERM; while :; do sleep 0.05; done", mark]
        task = asyncio.create_task(cloche.run_async(words, rootfs=rootfs))
        for _ in range(2000):
            if living(mark):
                break
            await asyncio.sleep(0.01)
        assert living(mark)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(cloche.run_async(["sleep", "60"], rootfs=rootfs), 0.1)

    asyncio.run(cancel())
    until(lambda: not living(mark), "everything inside has ended")
    assert sh("echo next", rootfs).stdout == "next\n"


@pytest.mark.parametrize("late", [False, True])
def test_asyncio_cancelling_while_it_is_prepared(rootfs: Path, monkeypatch: pytest.MonkeyPatch, late: bool) -> None:
    assert sh("true", rootfs).ok
    before = set(os.listdir("/proc/self/fd"))
    preparing, go_on = threading.Event(), threading.Event()

    def slowly(options: Any) -> Any:
        preparing.set()
        assert go_on.wait(20)
        return running.prepare(options)

    monkeypatch.setattr(api, "prepare", slowly)
    mark = uuid.uuid4().hex

    async def cancel() -> None:
        task = asyncio.create_task(cloche.run_async(["sh", "-c", "sleep 60; exit 0", mark], rootfs=rootfs))
        await asyncio.get_running_loop().run_in_executor(None, preparing.wait, 20)
        if late:  # it is ready, and the loop has not heard of it yet
            go_on.set()
            until(lambda: living(mark), "the command runs")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()

    asyncio.run(cancel())
    until(lambda: not living(mark), "everything inside has ended")
    assert set(os.listdir("/proc/self/fd")) == before


def test_stdin(rootfs: Path, tmp_path: Path) -> None:
    assert sh("cat", rootfs).stdout == ""
    assert sh("cat", rootfs, stdin="grün\n").stdout == "grün\n"
    assert sh("cat", rootfs, stdin=b"\xff\0x", text=False).stdout == b"\xff\0x"
    assert sh("cat", rootfs, stdin="").stdout == ""
    assert sh("wc -c", rootfs, stdin=memoryview(array.array("q", range(100_000)))).stdout == "800000\n"
    assert sh("cat", rootfs, stdin=cloche.DEVNULL).stdout == ""
    (tmp_path / "file").write_text("from a file")
    with open(tmp_path / "file", encoding="utf-8") as file:
        assert sh("cat", rootfs, stdin=file).stdout == "from a file"
        os.lseek(file.fileno(), 5, 0)
        assert sh("cat", rootfs, stdin=file.fileno()).stdout == "a file"


def test_more_stdin_than_a_pipe_holds(rootfs: Path) -> None:
    assert sh("wc -c", rootfs, stdin=bytes(5_000_000)).stdout == "5000000\n"


def test_stdin_closed_early(rootfs: Path) -> None:
    result = sh("head -c 3; exec <&-; echo; echo done", rootfs, stdin="abc" * 1_000_000)
    assert (result.exit_code, result.stdout) == (0, "abc\ndone\n")
    assert sh("exit 0", rootfs, stdin="x" * 1_000_000).ok


def test_output_to_a_callable(rootfs: Path) -> None:
    parts: list[bytes] = []
    errors = io.BytesIO()
    result = sh("echo out; echo err >&2", rootfs, stdout=parts.append, stderr=errors.write)
    assert (result.stdout, result.stderr) == (None, None)
    assert (b"".join(parts), errors.getvalue()) == (b"out\n", b"err\n")


def test_output_arrives_while_it_runs(rootfs: Path) -> None:
    # the callable answers through the command's stdin: it has to be called before the end
    read, write = os.pipe()
    try:
        seen: list[bytes] = []

        def answer(part: bytes) -> None:
            seen.append(part)
            if b"ready" in part:
                os.write(write, b"go\n")

        assert sh("echo ready; read line; echo $line", rootfs, stdin=read, stdout=answer, timeout=20).ok
        assert b"".join(seen) == b"ready\ngo\n"
    finally:
        os.close(read)
        os.close(write)


def test_a_callable_that_fails(rootfs: Path) -> None:
    mark = uuid.uuid4().hex

    def fail(part: bytes) -> None:
        raise LookupError(part)

    with pytest.raises(LookupError, match="out"):
        cloche.run(["sh", "-c", "echo out; sleep 60; exit 0", mark], rootfs=rootfs, stdout=fail)
    until(lambda: not living(mark), "everything inside has ended")


def test_output_to_files(rootfs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        result = sh("echo out; echo err >&2", rootfs, stdout=out, stderr=err.fileno())
        out.seek(0)
        err.seek(0)
        assert (result.stdout, result.stderr, out.read(), err.read()) == (None, None, b"out\n", b"err\n")
    result = sh("echo out; echo err >&2", rootfs, stdout=cloche.DEVNULL, stderr=None)
    assert (result.stdout, result.stderr) == (None, None)
    assert capfd.readouterr() == ("", "err\n")


def test_much_output_arrives_whole() -> None:
    program = f"(yes out | head -c {BIG}) & (yes err | head -c {BIG}) >&2; wait"
    result = cloche.run(["bash", "-c", program], text=False, timeout=60)
    assert result.ok
    assert result.stdout == (b"out\n" * (BIG // 4))
    assert result.stderr == (b"err\n" * (BIG // 4))


def test_bytes_that_are_no_text_are_kept(rootfs: Path) -> None:
    program = r"printf 'a\377b'"
    assert sh(program, rootfs).stdout == "a\udcffb"
    assert sh(program, rootfs, text=False).stdout == b"a\xffb"


def test_a_closed_pipe_ends_cleanly(rootfs: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        result = sh("while echo y; do :; done", rootfs, stdout=write, timeout=20)
    finally:
        os.close(write)
    # written to by the shell itself, which dies of it as in any pipeline
    assert (result.reason.kind in {"signal", "exited"}, result.reason.signal in {0, signal.SIGPIPE}) == (True, True)
    assert result.exit_code != 124


def read_all(fd: int) -> bytes:
    """What there is to read of a terminal's master."""
    data = b""
    while select.select([fd], [], [], 0.2)[0]:
        data += os.read(fd, 4096)
    return data


ASK = "for fd in 0 1 2; do test -t $fd && echo $fd is a terminal >&2; done; read line; echo got $line; cat | wc -c"


@pytest.mark.parametrize("way", ["run", "run_async"])
def test_a_terminal_is_out_of_reach(rootfs: Path, way: str) -> None:
    master, terminal = os.openpty()
    streams: dict[str, Any] = {"stdin": terminal, "stdout": terminal, "stderr": terminal}
    os.write(master, b"hello\nmore\n\x04")
    try:
        if way == "run":
            result = sh(ASK, rootfs, **streams, timeout=20)
        else:
            result = asyncio.run(cloche.run_async(ASK, rootfs=rootfs, timeout=20, **streams))
        shown = read_all(master).decode()
    finally:
        os.close(master)
        os.close(terminal)
    assert (result.exit_code, result.stdout, result.stderr) == (0, None, None)
    assert shown.endswith("got hello\r\n5\r\n"), shown
    assert "is a terminal" not in shown


def test_the_callers_own_terminal_is_out_of_reach(rootfs: Path) -> None:
    master, terminal = os.openpty()
    code = (
        f"import sys; sys.path.insert(0, {str(SOURCE)!r}); import cloche\n"
        f"cloche.run('test -t 1 || test -t 2 || echo no terminal; echo err >&2', rootfs={str(rootfs)!r}, "
        "stdout=None, stderr=None)"
    )
    try:
        command = [sys.executable, "-c", code]
        subprocess.run(command, stdin=terminal, stdout=terminal, stderr=terminal, timeout=30, check=True)
        shown = read_all(master).decode()
    finally:
        os.close(master)
        os.close(terminal)
    assert sorted(shown.splitlines()) == ["err", "no terminal"]


def stages() -> list[int]:
    """The stages of this program."""
    return [stage.pid for stage in api._stages.values() if stage.alive()]


def test_the_stage_stays_and_comes_back(rootfs: Path) -> None:
    assert sh("true", rootfs).ok
    (first,) = stages()
    assert sh("true", rootfs).ok
    assert stages() == [first]
    os.kill(first, 9)
    until(lambda: ended(first), "the stage has ended")
    assert sh("echo again", rootfs).stdout == "again\n"
    assert stages() != [first]


def test_the_stage_is_killed_while_a_command_runs(rootfs: Path) -> None:
    assert sh("true", rootfs).ok
    (stage,) = stages()
    mark = uuid.uuid4().hex

    def kill() -> None:
        until(lambda: living(mark), "the command runs")
        os.kill(stage, 9)

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(kill)
        words = ["sh", "-c", "trap '' TERM; sleep 60; exit 0", mark]
        with pytest.raises(cloche.StageError, match="the stage was killed") as caught:
            cloche.run(words, rootfs=rootfs)
        future.result()
    assert "run it again" in caught.value.hint
    until(lambda: not living(mark), "everything inside has ended")
    assert sh("echo again", rootfs).stdout == "again\n"


def test_calls_in_a_fork(rootfs: Path) -> None:
    assert sh("true", rootfs).ok
    ours = stages()
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            result = sh("echo in the child", rootfs)
            code = 0 if result.stdout == "in the child\n" and stages() != ours else 1
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert stages() == ours
    assert sh("echo in the parent", rootfs).stdout == "in the parent\n"


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_in_another_thread_holds_nothing_open(rootfs: Path) -> None:
    started, forked = threading.Event(), threading.Event()

    def part(_: bytes) -> None:
        started.set()
        assert forked.wait(20)

    with ThreadPoolExecutor(1) as pool:
        # more than the pipe holds: it is being written when the fork comes
        future = pool.submit(sh, "echo go; cat | wc -c >&2", rootfs, stdin=bytes(1 << 20), stdout=part, timeout=20)
        assert started.wait(20)
        pid = os.fork()
        if pid == 0:
            signal.pause()
            os._exit(0)
        forked.set()
        try:
            result = future.result()
        finally:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
    assert (result.exit_code, result.stderr) == (0, "1048576\n")


def test_a_receipt_as_data(rootfs: Path) -> None:
    receipt = sh("true", rootfs).receipt
    document = json.loads(json.dumps(receipt.to_dict()))
    assert document["pid"] == {"enforced": True, "detail": "its own"}
    assert document["landlock"]["enforced"] is False
    assert {name for name, layer in document.items() if not layer["enforced"]} == set(receipt.missing)
    assert "seccomp" in receipt
    assert len(str(receipt).splitlines()) == len(document)
    assert sh("sleep 0.05", rootfs).receipt["seccomp"].detail.endswith("the kernel confirms it")
    switched_off = sh("true", rootfs, security_opt=["seccomp=unconfined"]).receipt
    assert "seccomp" in switched_off.missing


def test_no_descriptors_are_lost(rootfs: Path) -> None:
    sh("true", rootfs)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        sh("cat", rootfs, stdin="x" * 100)
    assert len(os.listdir("/proc/self/fd")) == before


PROGRAM = """
import sys, os, threading
sys.path.insert(0, {src!r})
import cloche
from cloche.sandbox import api
def work(): cloche.run(["sh", "-c", "echo ready; sleep 60; exit 0", {mark!r}], rootfs={rootfs!r}, stdout=1)
if {wait}:
    threading.Thread(target=work).start()
else:
    assert cloche.run(["true"], rootfs={rootfs!r}).ok
    print(*[stage.pid for stage in api._stages.values()], flush=True)
"""


def program(rootfs: Path, mark: str, *, wait: bool) -> list[str]:
    """A Python program of its own that uses cloche."""
    code = PROGRAM.format(src=str(SOURCE), mark=mark, rootfs=str(rootfs), wait=wait)
    return [sys.executable, "-X", "dev", "-c", code]


def ended(pid: int) -> bool:
    """Whether a process is gone, or a zombie nobody has waited for yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"Z"
    except OSError:
        return True


def test_the_programs_end_waits_for_its_stage(rootfs: Path) -> None:
    # the very moment the program is gone, so is its stage: nothing is left to chance
    done = subprocess.run(program(rootfs, "", wait=False), capture_output=True, text=True, timeout=30, check=True)
    assert done.stderr == ""
    assert not any(Path(f"/proc/{pid}").exists() for pid in done.stdout.split())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killing_the_program_ends_everything(rootfs: Path, number: int) -> None:
    mark = uuid.uuid4().hex
    with subprocess.Popen(program(rootfs, mark, wait=True), stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"ready\n"
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        tasks = Path(f"/proc/{running.pid}/task").iterdir()
        children = [pid for task in tasks for pid in (task / "children").read_text().split()]
        assert len(children) == 1
        running.send_signal(number)
        running.wait(20)
        until(lambda: not living(mark), "everything inside has ended")
        until(lambda: ended(int(children[0])), "the stage has ended")


def test_an_ordinary_user_can_do_the_same(rootfs: Path, shared_dir: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    code = (
        f"import sys; sys.path.insert(0, {str(shared_dir / 'src')!r}); import cloche\n"
        f"r = cloche.run('id -u; cat', rootfs={str(rootfs)!r}, stdin='x')\n"
        "print(r.stdout, r.exit_code, r.receipt['user'].detail.split(':')[0])"
    )
    command = ["setpriv", "--reuid", str(ORDINARY), "--regid", str(ORDINARY), "--clear-groups"]
    words = [*command, system_python(), "-I", "-B", "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False, cwd="/")
    assert done.stdout == "0\nx 0 one id\n", done.stderr
