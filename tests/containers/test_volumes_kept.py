"""Volumes of containers that stay: those nobody gave a name, an image's, another container's, and their end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import Cli, system_python
from tests.containers.boxes import member, take_in, write_box

if TYPE_CHECKING:
    from collections.abc import Iterator

MAKING = ("container-begun", "container-furnished", "write-synced")


@pytest.fixture(params=["root", "user", "subuid"], scope="module")
def stocked(
    request: pytest.FixtureRequest, shared_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cli]:
    """The command line as three kinds of user, each with an image that has volumes."""
    if os.geteuid() != 0 and request.param != "user":
        pytest.skip("needs root to become other users")
    cli = Cli(request.param, shared_dir / "src", system_python())
    files = (member("kept/"), member("kept/file", b"of the image\n"), member("odd:place/"))
    tar = write_box(tmp_path_factory.mktemp("box") / "box.tar", *files)
    take_in(cli, tar, "box:1")
    take_in(cli, tar, "vol:1", 'CMD ["sh"]', 'VOLUME ["/kept", "/odd:place", "/not,there"]')
    yield cli
    shutil.rmtree(cli.root)


@pytest.fixture
def cli(stocked: Cli) -> Iterator[Cli]:
    """The same, without containers and volumes."""
    yield stocked
    for name in out(stocked, "ps", "-aq").split():
        out(stocked, "rm", "-f", "-v", name)
    out(stocked, "volume", "prune", "-af")
    assert [name for name in os.listdir(f"{stocked.root}/volumes") if name != ".lock"] == []


def out(cli: Cli, *words: str) -> str:
    """What is printed by a command that succeeds."""
    done = cli(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def volumes(cli: Cli, *filters: str) -> list[str]:
    return out(cli, "volume", "ls", "-q", *(f"--filter={text}" for text in filters)).split()


def mounts(cli: Cli, name: str) -> dict[str, dict[str, Any]]:
    found = json.loads(out(cli, "inspect", "-f", "{{json .Mounts}}", name))
    return {item["Destination"]: item for item in found}


def test_those_without_a_name_are_made_and_told_of(cli: Cli, shared_dir: Path) -> None:
    words = ("-v", "data:/d:ro", "-v", "/unnamed", "--mount", "type=volume,dst=/spelt", "-v", f"{shared_dir}:/host")
    out(cli, "create", "--name", "one", *words, "--mount", "type=tmpfs,dst=/fast", "vol:1")
    found = mounts(cli, "one")
    assert found.keys() == {"/d", "/unnamed", "/spelt", "/host", "/fast", "/kept", "/odd:place", "/not,there"}
    unnamed = [item["Name"] for item in found.values() if item["Type"] == "volume" and item["Name"] != "data"]
    assert sorted(unnamed) == volumes(cli, "label=com.docker.volume.anonymous")
    assert len(unnamed) == 5
    data = Path(cli.root) / "volumes/data/_data"
    # as docker 28 has it
    assert found["/d"] == {
        "Type": "volume",
        "Name": "data",
        "Source": str(data),
        "Destination": "/d",
        "Driver": "local",
        "Mode": "ro",
        "RW": False,
        "Propagation": "",
    }
    assert found["/host"] == {
        "Type": "bind",
        "Source": str(shared_dir),
        "Destination": "/host",
        "Mode": "",
        "RW": True,
        "Propagation": "rprivate",
    }
    assert found["/fast"] == {
        "Type": "tmpfs",
        "Source": "",
        "Destination": "/fast",
        "Mode": "",
        "RW": True,
        "Propagation": "",
    }
    assert [found[place]["Mode"] for place in ("/unnamed", "/kept", "/spelt")] == ["", "", "z"]
    assert volumes(cli, "dangling=true") == []
    identity = out(cli, "inspect", "-f", "{{.Id}}", "one").strip()
    done = cli("volume", "rm", "data", *unnamed)
    assert done.returncode == 1
    assert done.stderr.count(f"volume is in use - [{identity}]") == 6


def test_they_outlive_it_unless_told_otherwise(cli: Cli) -> None:
    out(cli, "create", "--name", "one", "-v", "data:/d", "vol:1")
    out(cli, "create", "--name", "two", "-v", "data:/d", "vol:1")
    assert len(volumes(cli)) == 7
    out(cli, "rm", "one")
    assert len(volumes(cli)) == 7
    assert len(volumes(cli, "dangling=true")) == 3
    out(cli, "rm", "-v", "two")
    assert len(volumes(cli)) == 4
    assert "data" in volumes(cli)
    out(cli, "volume", "prune", "-f")
    assert volumes(cli) == ["data"]


def test_what_is_written_is_there_at_the_next_start(cli: Cli) -> None:
    script = "cat /kept/file; ls /unnamed; touch /unnamed/file; rm -f /kept/file"
    out(cli, "run", "--name", "one", "-v", "/unnamed", "vol:1", "sh", "-c", script)
    again = cli("start", "-a", "one")
    assert again.stdout == "file\n"


def test_what_removes_itself_takes_them_along(cli: Cli) -> None:
    name = out(cli, "run", "-d", "--rm", "-v", "data:/d", "vol:1", "true").strip()
    deadline = time.monotonic() + 20
    while name in out(cli, "ps", "-aq", "--no-trunc") or len(volumes(cli)) > 1:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert volumes(cli) == ["data"]


def test_those_of_another_container(cli: Cli) -> None:
    script = "echo one >/unnamed/file; echo two >/d/file"
    out(cli, "run", "--name", "one", "-v", "/unnamed", "-v", "data:/d", "vol:1", "sh", "-c", script)
    look = "cat /unnamed/file /d/file /kept/file"
    assert out(cli, "run", "--rm", "--volumes-from", "one", "box:1", "sh", "-c", look) == "one\ntwo\nof the image\n"
    frozen = cli("run", "--rm", "--volumes-from", "one:ro", "box:1", "touch", "/unnamed/file")
    assert "Read-only file system" in frozen.stderr
    # what is asked for counts more, and the last of several
    out(cli, "run", "--name", "two", "-v", "other:/d", "box:1", "sh", "-c", "echo other >/d/file")
    words = ("--volumes-from", "one", "--volumes-from", "two")
    assert out(cli, "run", "--rm", *words, "box:1", "cat", "/d/file") == "other\n"
    assert out(cli, "run", "--rm", *words, "-v", "data:/d", "box:1", "cat", "/d/file") == "two\n"
    out(cli, "create", "--name", "three", *words, "vol:1")
    mine, theirs = mounts(cli, "three"), mounts(cli, "one")
    assert {place: item.get("Name") for place, item in mine.items() if place != "/d"} == {
        place: item.get("Name") for place, item in theirs.items() if place != "/d"
    }
    out(cli, "rm", "-v", "one")  # another has them still
    assert mine["/unnamed"]["Name"] in volumes(cli)
    assert out(cli, "run", "--rm", "--volumes-from", "three", "box:1", "cat", "/unnamed/file") == "one\n"


@pytest.mark.parametrize("point", MAKING)
@pytest.mark.parametrize("action", ["kill", "errno"])
def test_a_container_that_was_not_made_leaves_nothing_that_cannot_be_removed(cli: Cli, point: str, action: str) -> None:
    words = ("create", "--name", "one", "-v", "data:/d", "vol:1")
    done = cli(*words, env={"CLOCHE_FAILPOINT": f"{point}:{action}"})
    assert done.returncode != 0
    if action == "errno":
        assert volumes(cli) in ([], ["data"])
    out(cli, *words)
    assert len(volumes(cli, "dangling=false")) == 4


def test_a_name_that_is_taken_makes_no_volumes(cli: Cli) -> None:
    out(cli, "create", "--name", "one", "box:1", "true")
    done = cli("create", "--name", "one", "-v", "/unnamed", "vol:1")
    assert done.returncode != 0
    assert volumes(cli) == []


def test_a_volume_is_not_removed_under_one_that_is_being_made(cli: Cli) -> None:
    out(cli, "volume", "create", "data")
    env = {"CLOCHE_FAILPOINT": "container-furnished:sleep"}
    with cli.popen("create", "--name", "one", "-v", "data:/d", "vol:1", env=env, stdout=subprocess.PIPE) as process:
        users = Path(f"{cli.root}/volumes/data/users")
        deadline = time.monotonic() + 20
        while not os.listdir(users):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        done = cli("volume", "rm", "data")
        assert "volume is in use - [" in done.stderr
        assert process.wait(30) == 0
    assert os.listdir(users) == []
    assert "volume is in use - [" in cli("volume", "rm", "data").stderr


def test_what_is_in_memory_is_its_own(cli: Cli) -> None:
    words = ("run", "--rm", "-i", "--name", "one", "-v", "/unnamed", "-v", "data:/d", "box:1", "cat")
    with cli.popen(*words, stdin=subprocess.PIPE) as process:
        deadline = time.monotonic() + 20
        while "one" not in out(cli, "ps", "--format", "{{.Names}}"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        done = cli("run", "--rm", "--volumes-from", "one", "box:1", "true")
        assert done.returncode == 125
        assert "the volume at /unnamed of one is in memory, and its alone" in done.stderr
        process.communicate(timeout=20)
