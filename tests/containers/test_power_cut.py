"""What is on the disk when the power goes: a container, a name and a volume are there when the command has said so.

Nothing is seen before all that belongs to it is written there. Shown by the system calls, as for images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import Cli, system_python
from tests.containers.boxes import write_box
from tests.images.test_power_cut import Call, Record, record_of

if TYPE_CHECKING:
    from pathlib import Path

EVER = 1 << 60
OVERLAY = (
    'mkdir -p "$0"/upper "$0"/work "$0"/store; '
    'mount -t overlay -o "lowerdir=$0/store,upperdir=$0/upper,workdir=$0/work" overlay "$0"/store && exec "$@"'
)


class Unordered(Cli):
    """Its store is on a file system of which nothing is known but what POSIX says, which only commands see."""

    top = ""

    @property
    def argv(self) -> list[str]:
        return ["unshare", "-m", "sh", "-c", OVERLAY, self.top, *super().argv]


@pytest.fixture
def unordered(root: Cli, tmp_path: Path) -> Cli:
    made = Unordered(root.kind, root.source, system_python())
    made.top = str(tmp_path)
    box = write_box(tmp_path / "box.tar").read_bytes()
    done = made("import", "-", "box", input=box, env={"CLOCHE_ROOT": str(tmp_path / "store")})
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture
def stocked(root: Cli, tmp_path: Path) -> Path:
    """A store with an image in it."""
    box = write_box(tmp_path / "box.tar").read_bytes()
    done = root("import", "-", "box", input=box, env={"CLOCHE_ROOT": str(tmp_path / "store")})
    assert done.returncode == 0, done.stderr
    return tmp_path / "store"


def to(record: Record, end: str) -> Call:
    """The last rename to what ends like this."""
    return [call for call in record.renames if call.paths[1].endswith(end)][-1]


def are_there(record: Record, before: int, *folders: str) -> None:
    """What is in these directories is on the disk before that moment."""
    for folder in folders:
        assert any(call.ended < before for call in record.synced(folder)), folder


def test_a_container(unordered: Cli, tmp_path: Path) -> None:
    stocked = tmp_path / "store"
    record = record_of(unordered, tmp_path, "create", "--name", "one", "-v", "data:/d", "box", "true")
    known = to(record, "/container.json")
    assert record.is_safe(known)
    assert record.is_named(known, EVER)
    are_there(record, known.began, *(f"{stocked}/{name}" for name in ("containers", "names", "pins")))
    assert record.synced(str(stocked))  # in which these directories are new
    volume = to(record, "/volumes/data")
    assert record.is_safe(volume, below="/volume.json")
    are_there(record, volume.began, volume.paths[0])
    assert record.is_named(volume, known.began)

    record = record_of(unordered, tmp_path, "rename", "one", "two")
    known = to(record, "/container.json")
    assert record.is_safe(known)
    assert record.is_named(known, EVER)
    are_there(record, known.began, f"{stocked}/names")
    assert any(call.began > known.ended for call in record.synced(f"{stocked}/names"))

    record = record_of(unordered, tmp_path, "rm", "two")
    hidden = next(call for call in record.renames if call.paths[0].endswith("/container.json"))
    for folder in (hidden.paths[0].rpartition("/")[0], hidden.paths[1].rpartition("/")[0]):
        assert any(call.began > hidden.ended for call in record.synced(folder)), folder


def test_an_end(root: Cli, stocked: Path, tmp_path: Path) -> None:
    """The last state of a container that stays, as its supervisor writes it, whom this waits for."""
    record = record_of(root, tmp_path, "run", "-d", "box", "true")
    state = to(record, f"{stocked}/containers/{next((stocked / 'containers').iterdir()).name}/state.json")
    assert record.is_safe(state, "fdatasync")
    assert record.is_named(state, EVER)


def test_a_volume(root: Cli, stocked: Path, tmp_path: Path) -> None:
    record = record_of(root, tmp_path, "volume", "create", "data")
    volume = to(record, "/volumes/data")
    assert record.is_safe(volume, below="/volume.json")
    assert record.is_named(volume, EVER)
    record = record_of(root, tmp_path, "volume", "rm", "data")
    gone = next(call for call in record.renames if call.paths[0] == f"{stocked}/volumes/data")
    assert record.is_named(gone, EVER)
