"""Entries that are made below a directory: what an archive can say at worst, and copies of files with holes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloche.engine.placing import Giving, Placer, copy_file
from cloche.errors import ClocheError
from cloche.images.unpack.tar import BLOCK_DEVICE, CHARACTER, DIRECTORY, FIFO, FILE, HARD_LINK, SYMLINK, Entry

NAMES = st.lists(st.sampled_from([b"a", b"b", b"..", b".", b"", b"out"]), max_size=5).map(b"/".join)
ENTRIES = st.builds(
    Entry,
    st.sampled_from([FILE, DIRECTORY, SYMLINK, HARD_LINK, FIFO, CHARACTER, BLOCK_DEVICE, b"?"]),
    NAMES,
    st.one_of(NAMES, st.sampled_from([b"/", b"../../out", b"../out/secret"])),
    st.integers(0, 0o7777),
    st.just(os.geteuid()),
    st.just(os.getegid()),
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(ENTRIES, max_size=10), st.booleans())
def test_nothing_is_made_elsewhere(tmp_path: Path, entries: list[Entry], inside: bool) -> None:
    """Whatever entries say, in whatever order: what lies beside the directory stays as it was."""
    top = tmp_path / os.urandom(4).hex()
    (top / "in").mkdir(parents=True)
    (top / "out").mkdir()
    (top / "out/secret").write_text("as it was")
    os.utime(top / "out", (1, 1))
    base = os.open(top / "in", os.O_RDONLY | os.O_DIRECTORY)
    placer = Placer(base, Giving((os.geteuid(), os.getegid()), privileges=inside))
    try:
        for entry in entries:
            try:
                placer.place(entry, lambda fd: os.ftruncate(fd, 3))
            except (ClocheError, OSError):
                continue
        placer.finish()
    finally:
        os.close(base)
    assert sorted(path.name for path in top.iterdir()) == ["in", "out"]
    assert [path.name for path in (top / "out").iterdir()] == ["secret"]
    assert (top / "out/secret").read_text() == "as it was"
    assert (top / "out/secret").stat().st_nlink == 1
    assert (top / "out").stat().st_mtime == 1


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 7])
def test_holes(tmp_path: Path, size: int) -> None:
    """A copy has the same bytes and no more of them on the disk; of a file that shrinks there is what is left."""
    with (tmp_path / "one").open("wb") as file:
        file.truncate(size)
        for at in range(0, size, 1 << 18):
            file.seek(at)
            file.write(b"x" * min(100, size - at))
    whole = (tmp_path / "one").read_bytes()
    for promised in (size, size + 5000):
        with (tmp_path / "one").open("rb") as source, (tmp_path / "two").open("wb") as target:
            copy_file(source.fileno(), target.fileno(), promised)
        assert (tmp_path / "two").read_bytes() == whole
    assert (tmp_path / "two").stat().st_blocks <= (tmp_path / "one").stat().st_blocks + 8


def test_from_what_is_no_plain_file(tmp_path: Path) -> None:
    """The kernel copies from some files in no quick way: of proc there is what it says it has, nothing."""
    with Path("/proc/self/status").open("rb") as source, (tmp_path / "two").open("wb") as target:
        copy_file(source.fileno(), target.fileno(), 0)
    assert (tmp_path / "two").read_bytes() == b""
