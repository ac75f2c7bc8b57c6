"""Several commands on one store at the same time: each does what it says, or says why not, and nothing is broken."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloche.images import archives, importing
from cloche.images.store.layout import Layout
from tests.conftest import Cli, system_python
from tests.images.forks import Forks
from tests.images.liar import Liar
from tests.images.made import entry, layer, layout
from tests.images.test_killed import Store, workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.images.conftest import Registry

ROUNDS = 6


@pytest.fixture(params=["root", "user"])
def store(request: pytest.FixtureRequest, filled: Registry, shared_dir: Path) -> Iterator[Store]:
    if os.geteuid() != 0 and request.param != "user":
        pytest.skip("needs root to become other users")
    cli = Cli(request.param, shared_dir / "src", system_python())
    with Forks(cli) as run:
        yield Store(run, f"{filled.host}/changed:1")
    shutil.rmtree(cli.root)


def test_pulled_removed_and_listed_by_eight(store: Store, filled: Registry) -> None:
    other = f"{filled.host}/box:1"
    store.clear()
    removed = 0
    for number in range(ROUNDS):
        commands = [("pull", "-q", store.image)] * 2 + [("pull", "-q", other), ("rmi", store.image), ("rmi", other)]
        commands += [("images", "-q"), ("tag", store.image, "other:1"), ("images",)]
        for done in store.run.together(*commands[number:], *commands[:number]):
            verb = done.args[0]
            if verb == "rmi" and not done.returncode:
                removed += 1
            elif verb in {"rmi", "tag"} and done.returncode:
                assert f"cloche: no such image: {done.args[1]}\n" in done.stderr
            else:
                assert done.returncode == 0, (done.args, done.stderr)
        store.well("pull", "-q", store.image)
        assert [line.split()[0] for line in store.well("images").splitlines() if store.image[:-2] in line]
        assert store.stored() >= store.blobs
    assert removed
    store.clear()
    store.well("pull", "-q", store.image)
    assert store.look() == store.whole


def test_what_a_worker_still_writes_is_left_alone(cli: Cli, tmp_path: Path) -> None:
    """A worker whose caller was killed holds the lock until it has ended."""
    root = str(tmp_path / "store")
    env = {"CLOCHE_ROOT": root}
    with Liar() as liar:
        child = cli.popen("pull", "-q", liar.name, env={**env, "CLOCHE_FAILPOINT": "worker-begun:sleep"})
        held: list[str] = []
        while not held:
            assert child.poll() is None
            for pid in workers(root):
                held += [link for link in opened(pid) if link.endswith(".d.lock")]
        child.kill()
        child.wait()
        assert cli("pull", "-q", liar.name, env=env).returncode == 0
        assert workers(root) == []
        assert cli("rmi", liar.name, env=env).returncode == 0
    assert os.listdir(f"{root}/incoming") == []
    folder = Path(held[0].removesuffix(".lock"))
    folder.mkdir()
    with Path(held[0]).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert cli("rmi", "-f", liar.name, env=env).returncode == 0
        assert folder.is_dir()
        assert Path(held[0]).exists()
    assert cli("rmi", "-f", liar.name, env=env).returncode == 0
    assert os.listdir(folder.parent) == []


def opened(pid: str) -> list[str]:
    """The files that a process has open, but for those it closes meanwhile."""
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return found


def saved(path: Path, content: bytes) -> bytes:
    """An archive of an image with one file."""
    made = layout(path, layer(entry("f", content)))
    return layer(
        *(entry(str(item.relative_to(made)), item.read_bytes()) for item in sorted(made.rglob("*")) if item.is_file())
    )


def take_in(store: Layout, read: Callable[[int], bytes]) -> None:
    archives.take_in(store, read, None)


@pytest.mark.parametrize("take", [take_in, importing.store_layer])
def test_two_with_the_same_pid(take: Callable[[Layout, Callable[[int], bytes]], object], tmp_path: Path) -> None:
    """As each is 1 in a container of its own, with one store: the second comes while the first writes."""
    store = Layout(str(tmp_path / "store"))
    store.make()
    archives_of_two = [saved(tmp_path / name, os.urandom(3 << 20)) for name in "ab"]
    first, second = map(io.BytesIO, archives_of_two)

    def read(size: int) -> bytes:
        if first.tell() > len(archives_of_two[0]) // 2 and not second.tell():
            take(store, second.read)
        return first.read(size)

    take(store, read)
    assert second.tell()
    blobs = list((tmp_path / "store/blobs/sha256").iterdir())
    assert len(blobs) > 1
    for blob in blobs:
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
    assert os.listdir(f"{store.path}/incoming") == []
    before = {blob.name: blob.stat().st_ino for blob in blobs}
    take(store, io.BytesIO(archives_of_two[0]).read)
    assert {blob.name: blob.stat().st_ino for blob in blobs} == before
