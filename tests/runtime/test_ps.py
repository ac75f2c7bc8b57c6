"""`ps`: the processes of a container as the host sees them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.runtime.conftest import SLEEP, processes_of, wait_until

if TYPE_CHECKING:
    from tests.runtime.conftest import MakeBundle, Runtime


def two(runtime: Runtime, bundle: MakeBundle) -> tuple[str, list[int]]:
    id = runtime.running(bundle("sh", "-c", "sleep 1000 & sleep 1001; true"))
    wait_until(lambda: len(processes_of(id)) == 3, "it does not run")
    wait_until(lambda: runtime.ok("ps", id).count("sleep") >= 2 or runtime.name == "crun", "it does not run")
    return id, processes_of(id)


@pytest.mark.parametrize("words", [["--format", "json"], ["-f", "json"], ["--format=json"]])
def test_as_json_an_array_of_pids(runtime: Runtime, bundle: MakeBundle, words: list[str]) -> None:
    id, pids = two(runtime, bundle)
    assert sorted(json.loads(runtime.ok("ps", *words, id))) == pids
    assert runtime.pid(id) in pids


@pytest.mark.parametrize("words", [[], ["--format", "table"]])
def test_as_a_table_with_a_heading(runtime: Runtime, bundle: MakeBundle, words: list[str]) -> None:
    id, pids = two(runtime, bundle)
    head, *lines = runtime.ok("ps", *words, id).splitlines()
    column = head.split().index("PID")
    assert sorted(int(line.split()[column]) for line in lines) == pids
    runtime.not_like("crun", because="lists pids only")
    assert head.split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert any(line.endswith("sleep 1000") for line in lines)


def test_with_options_for_ps(runtime: Runtime, bundle: MakeBundle) -> None:
    runtime.not_like("crun", because="takes no options for ps(1)")
    id, pids = two(runtime, bundle)
    head, *lines = runtime.ok("ps", id, "-o", "pid,comm").splitlines()
    assert head.split() == ["PID", "COMMAND"]
    assert sorted(int(line.split()[0]) for line in lines) == pids
    assert sorted(line.split()[1] for line in lines) == ["sh", "sleep", "sleep"]


def test_options_that_show_no_pid_are_an_error(runtime: Runtime, bundle: MakeBundle) -> None:
    # runc-ps(8): "if PID column is not available, an error is returned"
    id, _ = two(runtime, bundle)
    done = runtime("ps", id, "-o", "comm")
    assert done.returncode != 0
    assert done.stderr


@pytest.mark.parametrize("words", [["--nonsense"], ["-o", "nonsense"], ["--", "-o"]])
def test_what_ps_says_of_wrong_options_is_the_error(runtime: Runtime, bundle: MakeBundle, words: list[str]) -> None:
    runtime.not_like("runc", "crun", because="prints all that ps does, or nothing")
    done = runtime("ps", runtime.running(bundle(*SLEEP)), *words)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"cloche-runtime: ps {' '.join(words)}: error: ")


def test_an_unknown_format(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.running(bundle(*SLEEP))
    done = runtime("ps", "--format", "nothing", id)
    assert done.returncode != 0
    assert "format" in done.stderr


def test_a_process_of_exec_is_there_too(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.running(bundle(*SLEEP))
    pid_file = runtime.top / "pid"
    runtime.detached("exec", "-d", "--pid-file", str(pid_file), id, *SLEEP, name="exec")
    assert sorted(json.loads(runtime.ok("ps", "-f", "json", id))) == sorted(
        [runtime.pid(id), int(pid_file.read_text())]
    )


def test_a_stopped_container_has_none(runtime: Runtime, bundle: MakeBundle) -> None:
    runtime.not_like("crun", because="1.8 ends with a segmentation fault")
    id = runtime.running(bundle("true"))
    runtime.wait(id)
    assert json.loads(runtime.ok("ps", "-f", "json", id)) in ([], None)


def test_nobody(runtime: Runtime) -> None:
    done = runtime("ps", "nobody")
    assert done.returncode != 0
    assert done.stderr
