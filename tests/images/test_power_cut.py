"""What is on the disk when the power goes: nothing has its name before its content is written there, the index last.

Shown by the system calls of a real pull, in the order in which they ended (began, where that counts).
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.images.made import entry, layer, layout

if TYPE_CHECKING:
    from tests.conftest import Cli
    from tests.images.conftest import Registry

CALLS = "fsync,fdatasync,syncfs,rename,renameat,renameat2,write,pwrite64,ftruncate"
WORDS = re.compile(r'<(/[^>]*)>|"([^"]*)"')


class Call(NamedTuple):
    """A call with the paths it names, and its places in the order of beginnings and ends."""

    name: str
    paths: tuple[str, ...]
    began: int
    ended: int


def calls_of(log: str) -> list[Call]:
    """The calls that succeeded, by when they ended."""
    found, open_calls = [], {}
    for number, line in enumerate(log.splitlines()):
        pid, _, text = line.partition(" ")
        text = text.strip()
        began = number
        if text.endswith("<unfinished ...>"):
            open_calls[pid] = number, text.removesuffix("<unfinished ...>")
            continue
        if text.startswith("<... "):
            began, before = open_calls.pop(pid)
            text = before + text.partition("resumed>")[2]
        name, bracket, rest = text.partition("(")
        if bracket and " = -1 " not in rest:
            found.append(Call(name, tuple(a or b for a, b in WORDS.findall(rest)), began, number))
    return found


class Record:
    """What was done, with questions about its order."""

    def __init__(self, calls: list[Call]) -> None:
        self.calls = calls
        self.renames = [call for call in calls if call.name.startswith("rename")]

    def synced(self, path: str, name: str = "fsync") -> list[Call]:
        return [call for call in self.calls if call.name == name and call.paths[0] == path]

    def last_write(self, path: str) -> int:
        """When the last write ended to a file, or to what is below a directory."""
        writes = ("write", "pwrite64", "ftruncate")
        found = [c for c in self.calls if c.name in writes and c.paths and f"{c.paths[0]}/".startswith(f"{path}/")]
        return max((call.ended for call in found), default=-1)

    def is_safe(self, rename: Call, name: str = "fsync", below: str = "") -> bool:
        """Whether what is renamed was written to the disk before, all of it."""
        source = rename.paths[0] + below
        last = self.last_write(source)
        return any(last < call.began and call.ended < rename.began for call in self.synced(source, name))

    def is_named(self, rename: Call, before: int) -> bool:
        """Whether the directory it is in then was written to the disk as well."""
        folder = rename.paths[1].rpartition("/")[0]
        return any(rename.ended < call.began and call.ended < before for call in self.synced(folder))


def record_of(cli: Cli, tmp_path: Path, *words: str) -> Record:
    """What a command did."""
    if not shutil.which("strace"):
        pytest.skip("strace(1) is not installed")
    log = tmp_path / "log"
    argv = ["strace", "-f", "-y", "-s", "0", "-e", f"trace={CALLS}", "-e", "signal=none", "-o", str(log), *cli.argv]
    env = {**cli._environment, "CLOCHE_ROOT": str(tmp_path / "store")}
    done = subprocess.run([*argv, *words], capture_output=True, text=True, check=False, env=env, timeout=120)
    assert done.returncode == 0, done.stderr
    return Record(calls_of(log.read_text(errors="replace")))


@pytest.fixture
def record(cli: Cli, filled: Registry, tmp_path: Path) -> Record:
    return record_of(cli, tmp_path, "pull", "-q", f"{filled.host}/changed:1")


def test_the_order_of_a_pull(record: Record, tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    index = [call for call in record.renames if call.paths[1] == f"{store}/index.json"][-1]
    blobs = [call for call in record.renames if call.paths[1].startswith(f"{store}/blobs/")]
    layers = [call for call in record.renames if call.paths[1].startswith(f"{store}/layers/sha256/")]
    assert sorted(call.paths[1] for call in blobs) == sorted(map(str, Path(store, "blobs/sha256").iterdir()))
    assert sorted(call.paths[1] for call in layers) == sorted(map(str, Path(store, "layers/sha256").iterdir()))
    assert len([call for call in layers if record.last_write(f"{call.paths[0]}/fs") > 0]) == 2
    for call in blobs:
        assert record.is_safe(call), call
        assert record.is_named(call, index.began), call
    for call in layers:
        assert record.is_safe(call, "syncfs", "/fs"), call
        facts = next(other for other in record.renames if other.paths[1] == f"{call.paths[0]}/layer.json")
        assert record.is_safe(facts), facts
        assert record.is_named(facts, call.began), facts
        assert record.is_named(call, index.began), call
    assert record.is_safe(index)
    assert record.is_named(index, 1 << 60)
    assert record.renames[-1] == index
    assert record.last_write(f"{store}/layers") == record.last_write(f"{store}/blobs") == -1


def test_a_file_that_is_saved(cli: Cli, tmp_path: Path) -> None:
    made = layout(tmp_path / "layout", layer(entry("f", b"1")))
    assert cli("pull", "-q", f"oci:{made}", env={"CLOCHE_ROOT": str(tmp_path / "store")}).returncode == 0
    record = record_of(cli, tmp_path, "save", "-o", f"{tmp_path}/saved.tar", "made")
    (saved,) = [call for call in record.renames if call.paths[1] == f"{tmp_path}/saved.tar"]
    assert record.is_safe(saved)
    assert record.is_named(saved, 1 << 60)
