"""What is removed, and what is not while somebody needs it."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from pathlib import Path
from subprocess import PIPE
from typing import TYPE_CHECKING

import pytest

from cloche.images.store.layout import EMPTY, Layout
from tests.images.liar import Liar
from tests.images.made import entry, layer, layout

if TYPE_CHECKING:
    from tests.conftest import Cli
    from tests.images.conftest import Registry
    from tests.images.liar import Handler


def layers(cli: Cli) -> list[str]:
    return sorted(path.name for path in Path(cli.root, "layers/sha256").iterdir())


def blobs(cli: Cli) -> list[str]:
    return sorted(path.name for path in Path(cli.root, "blobs/sha256").iterdir())


def test_not_while_a_container_runs(fresh: Cli, filled: Registry) -> None:
    name = f"{filled.host}/box:1"
    assert fresh("pull", "-q", name).returncode == 0
    child = fresh.popen("run", "--rm", name, "sh", "-c", "echo up; sleep 60; cat /etc/passwd", stdout=-1)
    assert child.stdout
    assert child.stdout.readline() == b"up\n"
    image = fresh("images", "-q", "--no-trunc").stdout.strip()
    for words in ((name,), (image,), ("-f", image)):
        done = fresh("rmi", *words)
        assert done.returncode == 1
        assert "is in use by a running container" in done.stderr
    assert fresh("tag", name, "other:1").returncode == 0
    assert fresh("rmi", name).returncode == 0
    assert layers(fresh)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    deadline = time.monotonic() + 10
    while (done := fresh("rmi", "other:1")).returncode and time.monotonic() < deadline:
        time.sleep(0.1)
    assert done.returncode == 0, done.stderr
    assert layers(fresh) == blobs(fresh) == []


@pytest.mark.parametrize("by", ["name", "ID"])
def test_by_force_of_a_container_that_stays(fresh: Cli, filled: Registry, by: str) -> None:
    """It loses its name, and all its content stays for that container."""
    name = f"{filled.host}/box:1"
    assert fresh("pull", "-q", name).returncode == 0
    image = fresh("images", "-q", "--no-trunc").stdout.strip()
    made = fresh("create", name, "grep", "-c", "root", "/etc/passwd").stdout.strip()
    text = {"name": name, "ID": image}[by]
    done = fresh("rmi", text)
    assert done.returncode == 1
    assert f"is in use by container {made[:12]}" in done.stderr
    done = fresh("rmi", "-f", text)
    assert (done.returncode, done.stdout) == (0, f"Untagged: {name}\n"), done.stderr
    assert fresh("images", "--format", "{{.Tag}} {{.ID}}").stdout == f"<none> {image[7:19]}\n"
    assert fresh("rmi", "-f", image).returncode == 1
    assert fresh("start", "-a", made).stdout == "1\n"
    assert fresh("commit", made, "saved").stdout
    assert fresh("run", "--rm", "saved", "true").returncode == 0
    assert fresh("rm", made).returncode == 0
    assert f"deleted: {image}" in fresh("image", "prune", "-f").stdout
    assert fresh("rmi", "saved").returncode == 0
    assert layers(fresh) == blobs(fresh) == []


def test_by_force_of_one_that_runs(fresh: Cli, filled: Registry) -> None:
    """As docker has it: its name is taken away, and only that."""
    name = f"{filled.host}/box:1"
    assert fresh("pull", "-q", name).returncode == 0
    made = fresh("run", "-d", name, "sleep", "1000").stdout.strip()
    done = fresh("rmi", "-f", name)
    assert (done.returncode, done.stdout) == (0, f"Untagged: {name}\n"), done.stderr
    assert fresh("exec", made, "cat", "/etc/passwd").stdout
    assert fresh("rm", "-f", made).returncode == 0
    assert fresh("image", "prune", "-f").returncode == 0
    assert layers(fresh) == blobs(fresh) == []


def test_what_was_untagged_stays_for_a_container(cli: Cli, filled: Registry) -> None:
    """A name that goes to another image takes nothing away from who runs the old one."""
    name = "moving:1"
    for source in ("box", "changed"):
        assert cli("pull", "-q", f"{filled.host}/{source}:1").returncode == 0
    assert cli("tag", f"{filled.host}/changed:1", name).returncode == 0
    assert cli("rmi", f"{filled.host}/changed:1").returncode == 0
    child = cli.popen("run", "--rm", "-i", name, "sh", "-c", "echo up; read x; cat /root/new", stdin=-1, stdout=-1)
    assert child.stdout
    assert child.stdout.readline() == b"up\n"
    assert cli("tag", f"{filled.host}/box:1", name).returncode == 0
    ids = cli("images", "-q", "--no-trunc").stdout.split()
    assert len(ids) == 2
    done = cli("rmi", f"{filled.host}/box:1")
    assert done.returncode == 0, done.stderr
    assert child.communicate(b"\n", 20)[0] == b"new"
    assert cli("rmi", "-f", name, *ids).returncode == 0
    assert layers(cli) == blobs(cli) == []


@pytest.mark.parametrize("moment", ["download", "unpack"])
def test_what_a_killed_pull_left(fresh: Cli, moment: str) -> None:
    """The next pull goes on with it or makes it anew, and `rmi` clears away what nobody went on with."""
    with Liar() as liar:
        seen = threading.Event()

        def half(request: Handler) -> None:
            request.send_response(200)
            request.send_header("Content-Length", str(len(liar.layer)))
            request.end_headers()
            request.wfile.write(liar.layer[:60])
            seen.set()
            time.sleep(3)

        if moment == "download":
            liar.replies[liar.layer_path] = half
        child = fresh.popen("pull", "-q", liar.name, env={"CLOCHE_FAILPOINT": "unpack:kill"})
        if moment == "download":
            assert seen.wait(20)
            child.kill()
        assert child.wait(20) == -signal.SIGKILL
        left = os.listdir(Path(fresh.root, "incoming"))
        assert left
        assert layers(fresh) == []
        liar.replies.clear()
        assert fresh("pull", "-q", liar.name).returncode == 0
        assert not os.listdir(Path(fresh.root, "incoming"))
        Path(fresh.root, "incoming", "sha256-0").write_text("left")
        Path(fresh.root, "incoming", f"{layers(fresh)[0]}.gone").mkdir()
        assert fresh("rmi", liar.name).returncode == 0
    assert os.listdir(Path(fresh.root, "incoming")) == layers(fresh) == blobs(fresh) == []


def test_not_while_something_is_fetched(cli: Cli, filled: Registry) -> None:
    with Liar() as liar:

        def slowly(request: Handler) -> None:
            time.sleep(2)
            request.give(200, liar.layer)

        liar.replies[liar.layer_path] = slowly
        assert cli("pull", "-q", f"{filled.host}/box:1").returncode == 0
        child = cli.popen("pull", "-q", liar.name)
        while liar.layer_path not in [path for path, _ in liar.asked]:
            time.sleep(0.02)
        done = cli("rmi", f"{filled.host}/box:1")
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"Untagged: {filled.host}/box:1\n"
        assert "goes with the next rmi" in done.stderr
        assert child.wait(30) == 0
        assert cli("images", "-q").stdout.count("\n") == 1
        assert cli("rmi", liar.name).returncode == 0
    assert layers(cli) == blobs(cli) == []


@pytest.mark.parametrize("part", ["layers", "blobs"])
def test_what_is_damaged_can_be_removed(cli: Cli, filled: Registry, part: str) -> None:
    name = f"{filled.host}/box:1"
    assert cli("pull", "-q", name).returncode == 0
    for path in Path(cli.root, part, "sha256").iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert cli("run", "--rm", "--pull", "never", name, "true").returncode == 125
    done = cli("rmi", name)
    assert done.returncode == 0, done.stderr
    assert layers(cli) == blobs(cli) == []


def test_removed_by_several_at_once(cli: Cli, filled: Registry) -> None:
    """One of them does, the others find nothing: none takes another for a container."""
    name = f"{filled.host}/box:1"
    for _ in range(3):
        assert cli("pull", "-q", name).returncode == 0
        children = [cli.popen("rmi", name, stdout=-1, stderr=-1) for _ in range(4)]
        said = [child.communicate(timeout=60) for child in children]
        assert sorted(child.returncode for child in children) == [0, 1, 1, 1], said
        assert all(b"no such image" in err for _, err in said if err), said
    assert layers(cli) == blobs(cli) == []


@pytest.mark.parametrize(
    "verb",
    [
        ("save", "-o", "x.tar"),
        ("export", "-o", "x.tar"),
        ("image", "diff"),
        ("push",),
        ("tag",),
    ],
)
def test_what_is_just_being_removed_is_not_there(cli: Cli, tmp_path: Path, verb: tuple[str, ...]) -> None:
    """Whoever begins waits for the one who removes, and finds nothing; nor has it a new name."""
    env = {"CLOCHE_ROOT": str(tmp_path / "store")}
    name = "127.0.0.1:9/made:1"
    made = layout(tmp_path / "layout", layer(entry("f", b"1")))
    assert cli("pull", "-q", f"oci:{made}", env=env).returncode == 0
    assert cli("tag", "made", name, env=env).returncode == 0
    store = Layout(str(tmp_path / "store"))
    with store.locked() as held:
        child = cli.popen(*verb, name, *(["new:1"] if verb == ("tag",) else []), env=env, cwd=tmp_path, stderr=PIPE)
        while child.poll() is None and not waits_for(os.fstat(held.number).st_ino):
            time.sleep(0.02)
        (tmp_path / "store/index.json").write_bytes(EMPTY)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 1
    what = "No such container" if verb[0] == "export" else "no such image"  # it looks for either
    assert said.startswith(f"cloche: {what}: {name}\n".encode())
    assert (tmp_path / "store/index.json").read_bytes() == EMPTY


def waits_for(inode: int) -> bool:
    """Whether somebody waits for the lock on a file (proc_locks(5))."""
    return any(" -> " in line and f":{inode} " in line for line in Path("/proc/locks").read_text().splitlines())
