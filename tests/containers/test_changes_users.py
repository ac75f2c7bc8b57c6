"""`diff`, `commit` and `export` of containers that run, as three kinds of user, and of those that have no layer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.containers.filed import BOX, box, members, raw, succeed
from tests.integration.background import running

SCRIPT = "mkdir /d; echo 1 >/d/f; chown 5:7 /d/f 2>/dev/null; rm /etc/plain; ln /d/f /d/g; sleep 300"
WANTED = ["C /etc", "D /etc/plain", "A /d", "A /d/f", "A /d/g"]


@pytest.fixture
def made(anyone: Cli, tmp_path: Path) -> str:
    box(anyone, tmp_path)
    return f"c-{os.urandom(4).hex()}"


def test_one_that_runs(anyone: Cli, made: str) -> None:
    image = f"localhost/{made}:1"
    succeed(anyone, "run", "-d", "--name", made, "--label", "a=b", BOX, "sh", "-c", SCRIPT)
    try:
        while sorted(succeed(anyone, "diff", made).splitlines()) != sorted(WANTED):
            assert anyone("exec", made, "test", "!", "-e", "/d/g").returncode == 0, succeed(anyone, "diff", made)
        done = anyone("commit", made, image)
        if anyone.kind != "root" and done.returncode:  # nobody has given this user a group
            assert "pausing" in done.stderr or "pause" in done.stderr
            assert "--pause=false takes its files as they are being changed" in done.stderr
            succeed(anyone, "commit", "--pause=false", made, image)
        assert succeed(anyone, "ps", "--filter", f"name={made}", "--format", "{{.State}}").strip() == "running"
        assert sorted(succeed(anyone, "image", "diff", image).splitlines()) == sorted(WANTED)
        found = members(raw(anyone, "export", made))
        owner = (0, 0) if anyone.kind == "user" else (5, 7)
        assert (found["d/f"].uid, found["d/f"].gid) == owner
        assert found["d/g"].islnk()
        assert "etc/plain" not in found
        assert succeed(anyone, "run", "--rm", image, "cat", "/d/g") == "1\n"
        labels = succeed(anyone, "image", "inspect", "-f", "{{json .Config.Labels}}", image)
        assert labels.strip() == '{"a":"b"}'
    finally:
        succeed(anyone, "rm", "-f", made)


def test_those_without_a_layer(anyone: Cli, made: str, rootfs: Path) -> None:
    """A throwaway container, and one of a directory: what can be had is had, and the rest said."""
    del made
    for words in (("--rm", BOX), ("--rootfs", str(rootfs))):
        with running(anyone, *words, script="echo 1 >/mine") as found:
            names = members(raw(anyone, "export", found.name))
            assert "mine" in names
            assert "proc/1" not in names
            for verb in ("diff", "commit"):
                done = anyone(verb, found.name)
                assert done.returncode == 1
                assert "is not possible here" in done.stderr
                assert len(done.stderr.splitlines()) == 2


def test_a_tree_without_paths(cli: Cli, tmp_path: Path) -> None:
    box(cli, tmp_path)
    made = f"c-{os.urandom(4).hex()}"
    script = (
        "n=$(printf %0250d 0); mkdir /d; cd /d; while mkdir $n && cd $n; do :; done 2>/dev/null; echo ready; sleep 300"
    )
    succeed(cli, "run", "-d", "--name", made, BOX, "sh", "-c", script)
    try:
        while not succeed(cli, "logs", made):
            pass
        for words in (("diff", made), ("export", made), ("commit", "--pause=false", made, f"localhost/{made}:1")):
            done = cli(*words)
            assert done.returncode == 1
            assert "cloche: reading this tree is not possible here" in done.stderr
            assert "no more than 4095 bytes" in done.stderr
    finally:
        succeed(cli, "rm", "-f", made)
