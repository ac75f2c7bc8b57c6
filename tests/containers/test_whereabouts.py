"""Commands in other namespaces than the supervisor: they get what they have asked for, or an error."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloche.engine.supervisor.whereabouts import parsed, seen_at

if TYPE_CHECKING:
    from tests.containers.ground import Ground

TABLE = rb"""22 28 0:21 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:40 / /mnt rw - tmpfs tmpfs rw
31 30 0:41 /sub /mnt/with\040space ro master:2 - tmpfs tmpfs rw
32 22 0:42 / /mntx rw - tmpfs tmpfs rw
33 30 0:43 / /mnt/with\040space rw - tmpfs tmpfs rw
"""


def test_what_is_seen_at_a_path() -> None:
    mounts = parsed(TABLE)
    space = {b"/mnt/with space": (b"0:43", b"/", b"rw")}
    mnt = {b"/mnt": (b"0:40", b"/", b"rw")}
    assert seen_at(mounts, b"/mnt") == mnt | space
    assert seen_at(mounts, b"/mnt/file") == mnt
    assert seen_at(mounts, b"/mnt/with space/file") == space
    assert seen_at(mounts, b"/usr") == {b"/": (b"0:21", b"/", b"rw,relatime")}
    assert seen_at(mounts, b"/") == mounts
    assert seen_at({}, b"/") == {b"": ()}


def elsewhere(ground: Ground, script: str, *words: str, unshare: str = "-m") -> subprocess.CompletedProcess[str]:
    """Run a command in namespaces of its own, after a script."""
    whole = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/", **ground.env}
    argv = ["unshare", unshare, "sh", "-c", f'{script}\nexec "$@"', "sh", *ground.cli.argv, *words]
    return subprocess.run(argv, env=whole, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def place(ground: Ground, cleared: None) -> Path:
    del cleared
    path = ground.top / "mounted"
    path.mkdir(exist_ok=True)
    (path / "file").write_text("theirs")
    (path / "sub").mkdir(exist_ok=True)
    ground.run("first")
    return path


@pytest.mark.parametrize("below", ["", "/sub"])
def test_a_source_that_is_something_else(ground: Ground, place: Path, below: str) -> None:
    options = ("-e", ground.mark, "-v", f"{place}:/x")
    script = f"mount -t tmpfs tmpfs {place}{below} && echo ours >{place}{below}/file"
    for words in (("run", "-d", "--name", "one"), ("run", "--name", "two")):
        done = elsewhere(ground, script, *words, *options, "box", "cat", "/x/file")
        assert done.returncode == 125
        assert f"{place} is something else for the supervisor" in done.stderr
        assert "nsenter" in done.stderr
    assert ground.truth() == {"first": ("running", 0), "one": ("created", 0), "two": ("created", 0)}
    done = elsewhere(ground, script, "start", "-a", "two")
    assert (done.returncode, done.stdout) == (1, "")
    assert ground.well("start", "-a", "two") == "theirs"  # for whoever is where it is
    done = elsewhere(ground, script, "run", "--rm", *options, "box", "cat", f"/x{below}/file")
    assert done.stdout == "ours\n"  # without a supervisor


def test_a_source_that_is_the_same(ground: Ground, place: Path) -> None:
    done = elsewhere(
        ground, "mount -t tmpfs tmpfs /mnt", "run", "-e", ground.mark, "-v", f"{place}:/x", "box", "cat", "/x/file"
    )
    assert (done.stdout, done.stderr) == ("theirs", "")


def test_the_system_of_this_machine(ground: Ground, place: Path) -> None:
    words = ("run", "--rm=false", "-e", ground.mark, "host", "ls", str(place))
    assert "/ is something else" in elsewhere(ground, f"mount -t tmpfs tmpfs {place}", *words).stderr


@pytest.mark.parametrize(("option", "word"), [("-n", "network"), ("-u", "UTS"), ("-i", "IPC")])
def test_another_namespace(ground: Ground, place: Path, option: str, word: str) -> None:
    del place
    done = elsewhere(ground, "", "run", "-e", ground.mark, "--network", "host", "box", "true", unshare=option)
    assert done.returncode == 125
    assert f"is in another {word} namespace" in done.stderr
    for verb in (("exec", "first", "true"), ("stop", "-t", "0", "first"), ("wait", "first")):
        assert elsewhere(ground, "", *verb, unshare=option).returncode == 0


def test_a_stage_that_is_older_than_the_supervisor(ground: Ground, place: Path) -> None:
    """What makes containers is the stage: it is where the supervisor was that was killed."""
    ground.kill("supervisor")
    script = f"mount -t tmpfs tmpfs {place}"
    assert elsewhere(ground, script, "update", "--restart", "no", "first").returncode == 0  # which starts the next one
    words = ("run", "-e", ground.mark, "-v", f"{place}:/x", "box", "cat", "/x/file")
    assert ground.well(*words) == "theirs"
    assert os.readlink(f"/proc/{ground.pid('supervisor')}/ns/mnt") != os.readlink("/proc/self/ns/mnt")
