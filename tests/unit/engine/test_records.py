"""Records of running containers: true while the very process they name runs, gone when it does not."""

from __future__ import annotations

import fcntl
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from cloche.engine import containers, names, records
from cloche.errors import ConflictError, ForbiddenError, NotFoundError
from cloche.linux.reading import boot_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ONE, OTHER = "ab" * 32, "ac" * 32


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLOCHE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("CLOCHE_ROOT", str(tmp_path / "store"))
    return tmp_path / "state"


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def record(container_id: str, name: str, pid: int) -> dict[str, object]:
    return {"id": container_id, "name": name, "pid": pid, "groups": []}


def test_found_by_name_by_id_and_by_its_beginning() -> None:
    records.add(record(ONE, "one", os.getpid()), 0)
    records.add(record(OTHER, "other", os.getpid()), 0)
    assert [containers.find(word).id for word in ("one", ONE, "ab", OTHER[:10])] == [ONE, ONE, ONE, OTHER]
    with pytest.raises(ConflictError, match="Multiple IDs found"):
        containers.find("a")
    with pytest.raises(NotFoundError, match="nobody"):
        containers.find("nobody")


def test_a_name_that_is_reserved_is_no_container_yet() -> None:
    names.reserve("one", ONE)
    for take in (names.reserve, names.take):
        with pytest.raises(ConflictError, match=f'"/one" is already in use by container "{ONE}"'):
            take("one", OTHER)
    with pytest.raises(NotFoundError):
        containers.find("one")
    records.add(record(ONE, "one", os.getpid()), 0)
    assert containers.find("one").id == ONE
    records.remove(ONE)
    names.take("one", OTHER)


def test_what_a_killed_writer_left_goes_but_not_what_is_being_written(state: Path) -> None:
    records.add(record(ONE, "one", os.getpid()), 0)
    unfinished = state / "containers" / f"{OTHER}.json{records.UNFINISHED}"
    unfinished.write_text("{")
    with open(state / "containers/.lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert [found["id"] for found in records.every()] == [ONE]
        assert unfinished.exists()
    assert [found["id"] for found in records.every()] == [ONE]
    assert not unfinished.exists()


def test_a_record_goes_with_its_process(sleeper: subprocess.Popen[bytes], state: Path) -> None:
    """Unless a stage sees to its end, which wants to know first what its groups say."""
    stage = subprocess.Popen(["sleep", "1000"])
    records.add(record(ONE, "one", sleeper.pid), stage.pid)
    assert containers.find("one").pid == sleeper.pid
    sleeper.kill()
    sleeper.wait()
    assert records.every() == []
    assert len(list((state / "containers").glob("*.json"))) == 1
    stage.kill()
    stage.wait()
    assert records.every() == []
    assert list((state / "containers").glob("*.json")) == []


def test_a_zombie_is_no_running_process() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert records.start_time(pid) is None
    os.waitpid(pid, 0)


@pytest.mark.parametrize("change", [{"start": 1}, {"boot": "another"}, {"pid": 2**22}])
def test_another_process_with_the_same_number_is_another(change: dict[str, object]) -> None:
    true = {"pid": os.getpid(), "start": records.start_time(os.getpid()), "boot": boot_id()}
    assert records.alive(true)
    assert not records.alive({**true, **change})


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"{}", b"null"])
def test_a_file_that_is_no_record_is_passed_over(content: bytes, state: Path) -> None:
    records.add(record(ONE, "one", os.getpid()), 0)
    (state / "containers/x.json").write_bytes(content)
    assert [found["id"] for found in records.every()] == [ONE]


def test_somebody_elses_directory_is_refused(state: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    state.symlink_to(tmp_path / "real")
    with pytest.raises(ForbiddenError):
        records.containers_dir()


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o720])
def test_one_that_others_can_write_to_is_refused(state: Path, mode: int) -> None:
    state.mkdir()
    state.chmod(mode)
    with pytest.raises(ForbiddenError, match="by others"):
        records.containers_dir()
    state.chmod(0o755)
    records.containers_dir()


def test_only_its_user_may_look() -> None:
    folder = records.containers_dir()
    assert os.stat(folder).st_mode & 0o077 == 0
    assert os.stat(os.path.dirname(folder)).st_mode & 0o077 == 0


def test_any_process_by_its_number() -> None:
    assert containers.find_process(str(os.getpid())) == (os.getpid(), records.start_time(os.getpid()))
    records.add(record(ONE, "one", os.getpid()), 0)
    assert containers.find_process("one")[0] == os.getpid()
