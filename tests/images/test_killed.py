"""Killed at any point of a pull, a load or a removal: the next command finds the old state or the new, and converges.

The points are those of the code, so that one that is added is tested by itself.
"""

from __future__ import annotations

import ast
import hashlib
import os
import shutil
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import cloche.images
from tests.conftest import Cli, system_python
from tests.images.conftest import quietly
from tests.images.forks import Forks
from tests.images.made import entry, layer, layout, link
from tests.images.whole import look

if TYPE_CHECKING:
    from collections.abc import Iterator
    from subprocess import CompletedProcess

    from tests.images.conftest import Registry

SOURCE = Path(cloche.images.__file__).parent
# who comes to a point, by the beginning of its name; all others are a pull's
VERBS = {"load": "load", "collect": "rmi", "worker-removed": "rmi"}
# how often a command is killed at one point, where root comes there several times
TIMES = {"write-synced": 40, "write-": 2, "blob-": 2, "load-": 2, "collect-unlinked": 2}


def points() -> list[str]:
    """The names of all points in the code, but for those of events, for whose sake nothing fails (unit tests)."""
    found = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "point":
                assert isinstance(node.args[0], ast.Constant), path
                found.add(str(node.args[0].value))
    return sorted(name for name in found if not name.startswith("event-"))


def verb_of(name: str) -> str:
    return next((verb for start, verb in VERBS.items() if name.startswith(start)), "pull")


class Store:
    """A store of one kind of user, its commands, and what an undisturbed pull makes of the image."""

    def __init__(self, run: Forks, image: str) -> None:
        self.run, self.image, self.top = run, image, Path(run.root)
        self.archive = Path(f"{run.root}.tar")
        self.clear()
        self.well("pull", "-q", image)
        self.blobs, self.whole = self.stored(), self.look()
        self.well("save", "-o", f"{self.top}/saved.tar", image)
        shutil.move(self.top / "saved.tar", self.archive)

    def clear(self) -> None:
        """Begin anew."""
        for path in self.top.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def well(self, *words: str, **more: str) -> str:
        """Run something that has to succeed."""
        done = self.run(*words, **more)  # type: ignore[arg-type]
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def look(self) -> list[object]:
        """The names and layers, entry for entry; times of what a layer has, not of the store's own files."""
        found: list[object] = [(self.top / "index.json").read_bytes()]
        for folder in sorted((self.top / "layers").glob("*/*")):
            entries = look(str(folder / "fs"))  # a whiteout has the time of its making, which means nothing
            found += [item[:5] if item[1] == stat.S_IFCHR else item for item in entries]
            found += [folder.name, (folder / "layer.json").read_bytes()]
        return found

    def stored(self) -> set[str]:
        """The blobs, which are what their names say."""
        found = set()
        for path in (self.top / "blobs/sha256").iterdir():
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
            found.add(path.name)
        return found

    def begin(self, verb: str) -> None:
        """What there has to be before a verb is disturbed."""
        self.clear()
        if verb == "rmi":
            self.well("pull", "-q", self.image)

    def disturbed(self, name: str, action: str) -> CompletedProcess[str]:
        """Run the verb that comes to a point, and let it go wrong there."""
        env = {"CLOCHE_FAILPOINT": f"{name}:{action}"}
        verb = verb_of(name)
        if verb == "load":
            return self.run("load", "-q", input=str(self.archive), env=env)
        return self.run(verb, *(["-q"] if verb == "pull" else []), self.image, env=env)

    def converges(self) -> None:
        """What there is is the old or the new, and what comes next succeeds and leaves nothing."""
        if self.well("images", "-q"):
            assert self.look()[1:] == self.whole[1:]
            assert self.stored() >= self.blobs
        self.well("pull", "-q", self.image)
        assert self.look() == self.whole
        assert self.stored() >= self.blobs
        self.well("rmi", self.image)
        for name in ("incoming", "blobs/sha256", "layers/sha256"):
            assert os.listdir(self.top / name) == [], name
        self.nobody_is_left()

    def nobody_is_left(self) -> None:
        """No process that unpacks has outlived its command."""
        deadline = time.monotonic() + 10
        while found := workers(self.run.root):
            assert time.monotonic() < deadline, found
            time.sleep(0.02)


def workers(root: str) -> list[str]:
    """The processes that unpack for a store."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
            if b"unpack.worker import main" in words and root.encode() in Path(f"/proc/{pid}/environ").read_bytes():
                found.append(pid)
        except OSError:
            continue  # gone meanwhile
    return found


@pytest.fixture(scope="module")
def small(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image with little of everything in it."""
    below = layer(entry("t/", mode=0o1777), entry("t/old", b"old"), entry("d/"), entry("d/gone"), link("l", "t"))
    above = layer(entry("t/new", b"new" * 30_000), entry(".wh.d"), entry("e/.wh..wh..opq"), link("e/up", "../t"))
    made = layout(tmp_path_factory.mktemp("small") / "layout", below, above)
    name = f"{registry.host}/small:1"
    quietly("skopeo", "copy", "--dest-tls-verify=false", f"oci:{made}:made", f"docker://{name}")
    return name


@pytest.fixture(scope="module", params=["root", "user"])
def store(request: pytest.FixtureRequest, small: str, shared_dir: Path) -> Iterator[Store]:
    if os.geteuid() != 0 and request.param != "user":
        pytest.skip("needs root to become other users")
    cli = Cli(request.param, shared_dir / "src", system_python())
    # on one core, so that one worker is started for a pull and not one for each layer
    with Forks(cli, ("taskset", "-c", str(min(os.sched_getaffinity(0))))) as run:
        yield Store(run, small)
    shutil.rmtree(cli.root)


@pytest.mark.parametrize("name", points())
def test_killed(store: Store, name: str) -> None:
    """At each of the times that a command comes there; of those that come often, at the first and some others."""
    often = next((count for start, count in TIMES.items() if name.startswith(start)), 1)
    times = 1 if store.run.root.endswith("user") else often
    for time_ in range(1, times + 1):
        store.begin(verb_of(name))
        done = store.disturbed(f"{name}@{time_}", "kill")
        if not done.returncode:
            assert time_ > 1, f"no {verb_of(name)} comes to {name}"
            break
        if done.returncode == -9:
            assert done.stderr == ""
        else:
            assert name.startswith("worker-")
            assert "the process that unpacks layers was killed" in done.stderr
        store.converges()


@pytest.mark.parametrize("store", ["root" if os.geteuid() == 0 else "user"], indirect=True)
@pytest.mark.parametrize("name", points())
def test_failing(store: Store, name: str) -> None:
    """An error of the disk is said in a line, and what comes next succeeds."""
    store.begin(verb_of(name))
    done = store.disturbed(name, "full" if name.endswith("ed") else "errno")
    assert done.returncode == 1, done.stdout
    first, *rest = done.stderr.splitlines()
    assert first.startswith("cloche: ")
    assert all(line.startswith("  hint: ") for line in rest), done.stderr
    store.converges()
