"""A disk that is full: what does not fit is given back, what is there can be looked at and removed."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ORDINARY, Cli, system_python
from tests.images.forks import Forks
from tests.images.liar import Liar, digest_of, tar_of
from tests.images.test_hostile_archives import raw

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE = 6 << 20
SMALL = 500_000  # bytes of a layer that fits, and of one that does not
LARGE = 3_500_000
MOUNT = 'mount -t tmpfs -o size="$1",mode=700,uid="$2",gid="$2" tmpfs "$3" && shift 3 && exec "$@"'


@pytest.fixture(params=["root", "user"])
def disk(request: pytest.FixtureRequest, shared_dir: Path) -> Iterator[Forks]:
    """Commands whose store has a small disk of its own."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a disk")
    cli = Cli(request.param, shared_dir / "src", system_python())
    uid = 0 if request.param == "root" else ORDINARY
    with Forks(cli, ("unshare", "-m", "sh", "-ec", MOUNT, "sh", str(SIZE), str(uid), cli.root)) as run:
        assert run("images").returncode == 0
        yield run
    shutil.rmtree(cli.root)


def liar_of(size: int, seed: int) -> Liar:
    """A registry with an image of so many bytes that cannot be compressed."""
    tar = tar_of(file=random.Random(seed).randbytes(size))
    return Liar(layer=tar, config={"rootfs": {"type": "layers", "diff_ids": [digest_of(tar)]}})


def left(run: Forks) -> int:
    status = os.statvfs(run.inside)
    return status.f_bavail * status.f_frsize


def is_told(run: Forks, *words: str, input: str = os.devnull) -> str:
    """The command says that the disk is full, in a line that names the store, and what to do; returns the line."""
    done = run(*words, input=input)
    assert done.returncode == 1, done.stdout
    first, hint = done.stderr.splitlines()
    assert first.startswith(f"cloche: the disk of the store {run.root} "), first
    assert hint.startswith("  hint: remove images (cloche rmi)"), hint
    return first


def fill(run: Forks) -> Path:
    """Take what room there is, to the last byte."""
    path = Path(run.inside, "filler")
    path.unlink(missing_ok=True)
    path.write_bytes(bytes(left(run)))
    assert left(run) == 0
    return path


def test_an_image_that_does_not_fit(disk: Forks) -> None:
    """As blob and layer; a smaller one still does."""
    with liar_of(SMALL, 1) as small, liar_of(LARGE, 2) as large, liar_of(SMALL, 3) as other:
        assert disk("pull", "-q", small.name).returncode == 0
        before = left(disk)
        for _ in range(2):
            assert "is full" in is_told(disk, "pull", large.name)
            assert left(disk) >= before - 8192
        assert disk("images").stdout.splitlines()[1].startswith(small.host)
        assert disk("pull", "-q", other.name).returncode == 0
        assert disk("rmi", small.name, other.name).returncode == 0
        assert left(disk) > SIZE - (1 << 18)


def test_what_cannot_fit_is_not_asked_for(disk: Forks) -> None:
    with liar_of(SMALL, 1) as liar:
        liar.document["layers"][0]["size"] = SIZE
        assert f"and {SIZE} are needed" in is_told(disk, "pull", liar.name)
        assert liar.layer_path not in [path for path, _ in liar.asked]


def test_not_a_byte_is_left(disk: Forks) -> None:
    """What there is can be listed and removed, one image after the other, which makes room."""
    with liar_of(SMALL, 1) as first, liar_of(SMALL, 2) as second:
        for liar in (first, second):
            assert disk("pull", "-q", liar.name).returncode == 0
        fill(disk)
        assert disk("images", "-q").stdout.count("\n") == 2
        is_told(disk, "tag", first.name, "other:1")
        for words in (("rmi", first.name), ("image", "prune", "-a", "-f")):
            assert disk("image", "inspect", second.name).returncode == 0
            done = disk(*words)
            assert done.returncode == 0, done.stderr
            assert "deleted: " in done.stdout.lower()
            fill(disk)
        assert disk("images", "-q").stdout == ""
        is_told(disk, "pull", "-q", first.name)
        Path(disk.inside, "filler").unlink()
        assert disk("pull", "-q", first.name).returncode == 0
        assert os.listdir(Path(disk.inside, "incoming")) == []


def test_events_that_do_not_fit(disk: Forks) -> None:
    """Nothing fails for them; what was cut short takes nothing with it that comes when there is room again."""
    ask = ("events", "--since", "0", "--until", "0s", "--format", "{{.Action}} {{.Actor.Attributes.reclaimed}}")
    assert disk("image", "prune", "-f").returncode == 0
    fill(disk)
    for _ in range(40):  # a block of the file is left, into which some of them fit, and a part of one
        done = disk("image", "prune", "-f")
        assert done.returncode == 0, done.stderr
    before = disk(*ask).stdout.splitlines()
    assert 1 < len(before) < 40
    assert os.path.getsize(f"{disk.inside}/events.log") == 4096
    Path(disk.inside, "filler").unlink()
    assert disk("image", "prune", "-f").returncode == 0
    assert disk(*ask).stdout.splitlines() == ["prune 0"] * (len(before) + 1)


def test_an_archive_that_does_not_fit(disk: Forks, shared_dir: Path) -> None:
    with liar_of(LARGE, 2) as large:
        path = shared_dir / "large.tar"
        before = left(disk)
        path.write_bytes(docker_archive(large))
        assert "is full" in is_told(disk, "load", input=str(path))
        assert left(disk) >= before - (1 << 17)
        assert not os.listdir(Path(disk.inside, "incoming"))
        path.write_bytes(raw(b"a", size=b"%o" % (SIZE + 1)))
        assert "are needed" in is_told(disk, "load", input=str(path))
        path.write_bytes(raw(b"a", size=b"\x80" + (600 << 30).to_bytes(11, "big")))
        assert "has more than 512 GiB" in disk("load", input=str(path)).stderr


def test_a_root_file_system_that_does_not_fit(disk: Forks, shared_dir: Path) -> None:
    """Neither as a blob nor, where that fits, as a layer."""
    path = shared_dir / "large.tar"
    for size in (LARGE, 2 * SIZE):
        before = left(disk)
        path.write_bytes(tar_of(file=random.Random(size).randbytes(size)))
        assert "is full" in is_told(disk, "import", str(path))
        assert left(disk) >= before - (1 << 17)
        assert not os.listdir(Path(disk.inside, "incoming"))
    # what a killed one has left is given back by the first that fails
    path.write_bytes(tar_of(file=random.Random(4).randbytes(2 * SMALL)))
    Path(disk.inside, "incoming/import.1").write_bytes(bytes(SIZE - 3 * SMALL))
    assert "is full" in is_told(disk, "import", str(path))
    assert disk("import", str(path)).returncode == 0


def docker_archive(liar: Liar) -> bytes:
    """The image of a liar as docker saves it."""
    listed = b'[{"Config": "config.json", "RepoTags": ["large:1"], "Layers": ["layer.tar"]}]'
    return tar_of(**{"config.json": liar.config, "layer.tar": liar.layer, "manifest.json": listed})
