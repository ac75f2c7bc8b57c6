"""`cp` in and out of containers, created and running, as three kinds of user: nothing of a tree is lost or changed."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.containers.filed import BOX, box, create, members, raw, succeed
from tests.integration.background import running, uid_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Cli

SPARSE = 8 << 20
STATES = ("created", "running", "kept")


@contextmanager
def container(cli: Cli, state: str, script: str = "") -> Iterator[str]:
    """The name of a container in a state."""
    if state == "running":
        with running(cli, "--rm", BOX, script=script) as found:
            yield found.name
        return
    name = f"c-{os.urandom(4).hex()}"
    if state == "kept":
        succeed(cli, "run", "-d", "--name", name, BOX, "sh", "-c", f"{script}\nsleep 300")
    else:
        create(cli, name)
    yield name
    succeed(cli, "rm", "-f", name)


def rich(top: Path, owner: int) -> None:
    """A tree with all that a copy can lose."""
    inner = top / "deep/er"
    inner.mkdir(parents=True)
    (top / "plain").write_text("plain")
    (inner / "new\nline").write_text("1")
    Path(os.fsdecode(os.fsencode(inner) + b"/\xff\xfe raw")).write_text("2")
    (top / ".wh.looks-like-one").write_text("3")
    (top / "run").write_text("#!/bin/sh")
    (top / "run").chmod(0o751)
    (top / "link").symlink_to("deep/er")
    (top / "broken").symlink_to("/no/where")
    os.link(top / "plain", top / "deep/again")
    os.mkfifo(top / "fifo", 0o640)
    with (top / "sparse").open("wb") as file:
        file.write(b"start")
        file.seek(SPARSE)
        file.write(b"end")
        file.truncate(2 * SPARSE)
    (top / "large").write_bytes(os.urandom(3 << 20))
    os.setxattr(top / "plain", "user.note", b"kept")
    (top / "empty").mkdir(mode=0o1777)
    (top / "empty").chmod(0o1777)
    for path in (top, *top.rglob("*")):
        os.chown(path, owner, owner, follow_symlinks=False)
        os.utime(path, ns=(10**18, 10**18 + 123456789), follow_symlinks=False)


def look(top: Path) -> dict[str, object]:
    """What a tree is like; links between files by the name that comes first."""
    found: dict[str, object] = {}
    first: dict[int, str] = {}
    for path in (top, *sorted(top.rglob("*"))):
        status, name = path.lstat(), str(path.relative_to(top))
        content: object = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else ""
        attributes = {} if path.is_symlink() else {key: os.getxattr(path, key) for key in os.listxattr(path)}
        same = first.setdefault(status.st_ino, name) if path.is_file() else name
        found[name] = stat.filemode(status.st_mode), status.st_mtime_ns, content, attributes, same
    return found


def copy(cli: Cli, *words: str, input: bytes = b"") -> None:
    succeed(cli, "cp", *words, input=input)


@pytest.mark.parametrize("state", STATES)
def test_there_and_back(anyone: Cli, desk: Path, state: str) -> None:
    owner = uid_of(anyone)
    rich(desk / "tree", owner)
    before = look(desk / "tree")
    with container(anyone, state) as name:
        copy(anyone, str(desk / "tree"), f"{name}:/tmp")
        inside = members(raw(anyone, "cp", f"{name}:/tmp/tree", "-"))
        copy(anyone, f"{name}:/tmp/tree", str(desk / "back"))
    assert {(item.uid, item.gid) for item in inside.values()} == {(0, 0)}
    assert look(desk / "back") == before
    assert (desk / "back/sparse").stat().st_blocks * 512 < SPARSE
    assert {path.lstat().st_uid for path in (desk / "back", *(desk / "back").rglob("*"))} == {owner}


@pytest.mark.parametrize("state", STATES)
def test_owners_and_powers(root: Cli, tmp_path: Path, state: str) -> None:
    box(root, tmp_path)
    (tmp_path / "tool").write_text("x")
    os.chown(tmp_path / "tool", 1234, 4321)
    (tmp_path / "tool").chmod(0o6755)
    with container(root, state) as name:
        copy(root, "-a", str(tmp_path / "tool"), f"{name}:/kept")
        copy(root, str(tmp_path / "tool"), f"{name}:/own")
        there = {path: members(raw(root, "cp", f"{name}:/{path}", "-"))[path] for path in ("kept", "own")}
        copy(root, "-a", f"{name}:/kept", str(tmp_path / "archived"))
        copy(root, f"{name}:/kept", str(tmp_path / "mine"))
    assert [(item.uid, item.gid, item.mode) for item in there.values()] == [(1234, 4321, 0o6755), (0, 0, 0o755)]
    archived, mine = (tmp_path / "archived").stat(), (tmp_path / "mine").stat()
    assert (archived.st_uid, archived.st_gid, stat.S_IMODE(archived.st_mode)) == (1234, 4321, 0o6755)
    # a program with the powers of whoever copies is nothing that a container may leave on this machine
    assert (mine.st_uid, mine.st_gid, stat.S_IMODE(mine.st_mode)) == (0, 0, 0o755)


@pytest.mark.parametrize("state", STATES)
def test_archives(anyone: Cli, desk: Path, state: str) -> None:
    """An archive goes in as it is, through a link to a directory too, and comes out as docker has it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name, text in (("var/a", b"1"), ("short/b", b"2"), ("new/dir/c", b"3")):
            item = tarfile.TarInfo(name)
            item.size, item.mode, item.mtime = len(text), 0o604, 1000
            made.addfile(item, io.BytesIO(text))
    with container(anyone, state) as name:
        (desk / "short").symlink_to("/var")
        copy(anyone, str(desk / "short"), f"{name}:/short")
        copy(anyone, "-", f"{name}:/", input=out.getvalue())
        assert {key for key in members(raw(anyone, "cp", f"{name}:/var", "-")) if key != "var"} == {"var/a", "var/b"}
        assert set(members(raw(anyone, "cp", f"{name}:/new/.", "-"))) == {".", "dir", "dir/c"}
        found = members(raw(anyone, "cp", f"{name}:/new/dir/c", "-"))["c"]
        assert (found.mode, found.mtime, found.uid) == (0o604, 1000, 0)
        assert members(raw(anyone, "cp", f"{name}:/short", "-"))["short"].issym()
        assert not members(raw(anyone, "cp", "-L", f"{name}:/short", "-"))["short"].issym()
        done = anyone("cp", "-", f"{name}:/var/a", input=out.getvalue())
        assert f'destination "{name}:/var/a" must be a directory' in done.stderr
        done = anyone("cp", "-", f"{name}:/tmp", input=b"no tar" * 200)
        assert done.returncode == 1
        assert done.stderr.startswith("cloche: ")
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("state", ["paused", "exited"])
def test_of_one_that_stands_still(root: Cli, tmp_path: Path, state: str) -> None:
    box(root, tmp_path)
    (tmp_path / "file").write_text("x")
    with container(root, "kept", script="echo of the container >/own") as name:
        succeed(root, *(("pause", name) if state == "paused" else ("stop", "-t", "0", name)))
        copy(root, str(tmp_path / "file"), f"{name}:/put")
        copy(root, f"{name}:/own", str(tmp_path / "own"))
        assert (tmp_path / "own").read_text() == "of the container\n"
        succeed(root, *(("unpause", name) if state == "paused" else ("start", name)))
        if state == "exited":
            assert "put" in members(raw(root, "cp", f"{name}:/put", "-"))
        assert succeed(root, "exec", name, "cat", "/put") == "x"
        assert succeed(root, "diff", name).splitlines() == ["A /own", "A /put"]


def test_mounts(root: Cli, tmp_path: Path) -> None:
    """What -v has put there is copied from and to, whether the container runs or not; --read-only holds for cp, too."""
    box(root, tmp_path)
    for name in ("open", "shut"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "there").write_text(name)
    binds = ("-v", f"{tmp_path}/open:/data/open", "-v", f"{tmp_path}/shut:/data/shut:ro", "--read-only")
    name = f"c-{os.urandom(4).hex()}"
    create(root, name, *binds, command=("sleep", "300"))
    try:
        for state in ("created", "running"):
            (tmp_path / state).write_text(state)
            copy(root, str(tmp_path / state), f"{name}:/data/open/")
            copy(root, f"{name}:/data/shut/there", str(tmp_path / f"out-{state}"))
            assert (tmp_path / "open" / state).read_text() == state
            assert (tmp_path / f"out-{state}").read_text() == "shut"
            for place in ("/data/shut/new", "/etc/new"):
                done = root("cp", str(tmp_path / state), f"{name}:{place}")
                assert done.returncode == 1
                assert "is marked read-only" in done.stderr
            succeed(root, "start", name)
    finally:
        succeed(root, "rm", "-f", name)


def test_what_cannot_be(cli: Cli, tmp_path: Path) -> None:
    box(cli, tmp_path)
    name = f"c-{os.urandom(4).hex()}"
    create(cli, name)
    (tmp_path / "file").write_text("x")
    file = str(tmp_path / "file")
    for words, says in (
        (("nobody:/x", "."), "No such container: nobody"),
        (("a", "b"), "must specify at least one container source"),
        ((f"{name}:/a", f"{name}:/b"), "copying between containers is not supported"),
        ((f"{name}:/nothing", "."), f"Could not find the file /nothing in container {name}"),
        ((f"{name}:/etc/passwd/", "."), f"Could not find the file /etc/passwd/ in container {name}"),
        ((f"{name}:", "."), "has no path"),
        ((f"{tmp_path}/none", f"{name}:/"), f"lstat {tmp_path}/none: no such file or directory"),
        ((file, f"{name}:/no/such"), "Could not find the file /no in container"),
        ((file, f"{name}:/none/"), "no such directory"),
        ((str(tmp_path), f"{name}:/etc/passwd"), "cannot copy directory"),
        ((f"{name}:/etc", file), "cannot copy directory"),
        ((f"{name}:/etc", "/no/dir/x"), 'invalid output path: directory "/no/dir" does not exist'),
        ((f"{name}:/etc", "/dev/null"), 'invalid output path: "/dev/null" must be a directory or a regular file'),
        ((file, f"{name}:/a\0b"), "NUL"),
    ):
        if "\0" in "".join(words):
            continue
        done = cli("cp", *words)
        assert done.returncode == 1, words
        assert says in done.stderr, (words, done.stderr)
        assert len(done.stderr.splitlines()) <= 2, done.stderr


CHOSEN = [
    ("root", ("--uidmap", "0:200000:5000")),
    ("subuid", ("--userns", "keep-id")),
    ("subuid", ("--uidmap", "0:300000:7", "--uidmap", "7:1500:1", "--uidmap", "8:300007:2000")),
    ("user", ("--userns", "keep-id")),
]


@pytest.mark.parametrize(("anyone", "words"), CHOSEN, indirect=["anyone"])
def test_owners_are_those_of_one_that_runs(anyone: Cli, desk: Path, words: tuple[str, ...]) -> None:
    """Whatever ids it has chosen: read from, and written to."""
    name = f"c-{os.urandom(4).hex()}"
    script = "mkdir /tmp/d; cd /tmp/d; for id in 0 5 7 1500; do : >$id; chown $id:$id $id; done; sleep 300"
    succeed(anyone, "run", "-d", "--allow-unenforced", *words, "--name", name, BOX, "sh", "-c", script)
    try:

        def owners(path: str) -> dict[str, tuple[int, int]]:
            found = members(raw(anyone, "cp", f"{name}:{path}", "-"))
            return {entry: (info.uid, info.gid) for entry, info in found.items()}

        (desk / "in").write_text("in")
        copy(anyone, str(desk / "in"), f"{name}:/tmp/d/live")
        live = owners("/tmp/d")
        assert len(live) > 4
        etc = owners("/bin")
        succeed(anyone, "stop", "-t", "0", name)
        assert owners("/tmp/d") == live
        assert owners("/bin") == etc
        copy(anyone, str(desk / "in"), f"{name}:/tmp/d/ended")
        ended = owners("/tmp/d")
        assert ended["d/ended"] == ended["d/live"] == live["d/live"]
    finally:
        succeed(anyone, "rm", "-f", name)


def test_a_name_that_was_followed(anyone: Cli, desk: Path) -> None:
    """Links in the destination lead where the container's own processes would be led."""
    with container(anyone, "created") as name:
        for link, target in (("abs", "/var"), ("rel", "../../var"), ("out", "../../../../../../../var"), ("gone", "x")):
            (desk / link).symlink_to(target)
            copy(anyone, str(desk / link), f"{name}:/tmp/{link}")
        (desk / "file").write_text("in")
        for link in ("abs", "rel", "out"):
            copy(anyone, str(desk / "file"), f"{name}:/tmp/{link}/{link}")
        copy(anyone, str(desk / "file"), f"{name}:/tmp/gone")
        assert set(members(raw(anyone, "cp", f"{name}:/var/.", "-"))) == {".", "abs", "rel", "out"}
        assert members(raw(anyone, "cp", f"{name}:/tmp/x", "-"))["x"].isfile()
        done = anyone("cp", f"{name}:/tmp/../../../../etc/../etc/passwd", str(desk / "up"))
        assert done.returncode == 0, done.stderr
        assert "ann:x:1000" in (desk / "up").read_text()
