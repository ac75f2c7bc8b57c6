"""Where the output, the store or the home directory is not as usual: one line and a hint, never a traceback."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ORDINARY
from tests.containers.boxes import take_in, write_box
from tests.containers.made import Store

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Cli

HINT = "--root, or CLOCHE_ROOT\n"


def through_shell(cli: Cli, script: str, store: Store, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command by a script in which it is "$@"."""
    env = {"PATH": os.environ["PATH"], "HOME": "/", **store.env}
    argv = ["sh", "-c", script, "sh", *cli.argv, *words]
    return subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("words", [("ps", "-a"), ("volume", "ls"), ("images",), ("events", "--until", "0s"), ("info",)])
def test_an_output_that_is_closed_or_full(cli: Cli, store: Store, words: tuple[str, ...]) -> None:
    store.end("job")
    done = through_shell(cli, 'exec "$@" >&-', store, *words)
    assert (done.returncode, done.stderr) == (0, "")
    done = through_shell(cli, 'exec "$@" >&- 2>&-', store, *words)
    assert done.returncode == 0
    done = through_shell(cli, 'exec "$@" >/dev/full', store, *words)
    if words[0] == "events":
        return  # there is nothing to be shown
    assert done.returncode == 1
    assert done.stderr == "cloche: standard output: No space left on device\n  hint: make room there\n"


def test_an_output_that_nobody_reads(cli: Cli, store: Store) -> None:
    for number in range(100):
        store.end(f"job{number}")
    done = through_shell(cli, '"$@" | head -n 1', store, "ps", "-a")
    assert (done.returncode, done.stderr, len(done.stdout.splitlines())) == (0, "", 1)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount")
def test_a_store_that_is_read_only(root: Cli, store: Store, tmp_path: Path) -> None:
    archive = write_box(tmp_path / "box.tar").read_bytes()
    assert root("import", "-", "box:2", input=archive, env=store.env).returncode == 0
    store.end("job")
    mount = 'mount --make-rprivate / && mount --bind "$CLOCHE_ROOT" "$CLOCHE_ROOT" && '
    mount += 'mount -o remount,bind,ro "$CLOCHE_ROOT"'
    script = f'exec unshare -m sh -c \'{mount} && exec "$@"\' sh "$@"'
    assert through_shell(root, script, store, "ps", "-aq").stdout
    assert through_shell(root, script, store, "inspect", "-f", "{{.Name}}", "job").stdout == "/job\n"
    for line in ("system df", "system df -v", "images", "image diff box:2", "volume ls", "logs job", "why job", "info"):
        assert through_shell(root, script, store, *line.split()).returncode == 0, line
    assert through_shell(root, script, store, "save", "-o", str(tmp_path / "saved"), "box:2").returncode == 0
    for words in (("run", "-d", "host", "true"), ("create", "host"), ("run", "--rm", "box:2", "true")):
        done = through_shell(root, script, store, *words)
        assert (done.returncode in {1, 125}, done.stdout) == (True, "")
        assert "cloche: the store " in done.stderr or done.stderr.startswith("cloche: ")
        assert "Read-only file system" in done.stderr
        assert done.stderr.endswith(HINT)


def test_a_store_of_somebody_else(root: Cli, user: Cli, store: Store, tmp_path: Path) -> None:
    store.end("job")
    for folder in (tmp_path, *list(tmp_path.parents)[:-2]):
        folder.chmod(folder.stat().st_mode | 0o111)
    (store.root / "containers").chmod(0o700)
    own = {"CLOCHE_ROOT": str(store.root)}
    for words in (("ps", "-a"), ("run", "-d", "host", "true")):
        done = user(*words, env=own)
        assert (done.returncode in {1, 125}, done.stdout) == (True, "")
        assert done.stderr.startswith("cloche: ")
        assert "Permission denied" in done.stderr
        assert done.stderr.endswith(HINT)
    assert root("ps", "-aq", env=own).returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be somebody else")
def test_somebody_else_holds_nothing_up(root: Cli, shared_dir: Path, tmp_path: Path) -> None:
    """What commands lock in a store is out of reach of others, also where everybody may enter its directory."""
    top = shared_dir / "open-store"
    for made in (top, top / "uses"):
        made.mkdir(mode=0o755)
    own = {"CLOCHE_ROOT": str(top), "CLOCHE_STATE": str(tmp_path / "state")}
    take_in(lambda *words, **more: root(*words, env=own, **more), write_box(tmp_path / "box.tar"), "box:1")  # type: ignore[arg-type]
    assert root("run", "--rm", "-v", "data:/data", "box:1", "true", env=own).returncode == 0
    script = 'find "$1" -type f | while read -r each; do flock -n "$each" echo "$each"; done 2>/dev/null; true'
    other = ("setpriv", "--reuid", str(ORDINARY), "--regid", str(ORDINARY), "--clear-groups", "sh", "-c", script, "sh")
    done = subprocess.run([*other, str(top)], capture_output=True, text=True, check=True)
    found = {os.path.relpath(path, top).split("/")[0] for path in done.stdout.splitlines()}
    assert found <= {"blobs", "index.json", "oci-layout", "spare", "summaries.json"}  # which nobody locks
    assert "index.json" in found
