"""Making places below a root whose links lead everywhere: never outside it, whatever is in the tree."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.stage import paths

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = ("a", "b", "c", "d")
places = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map("/".join)
targets = st.one_of(
    places,
    places.map(lambda path: "/" + path),
    st.sampled_from(
        ["/", "..", "../..", "../../..", ".", "a/../..", "/../../outside", "OUTSIDE", "OUTSIDE/in", "/proc/self/root"]
    ),
    places.map(lambda path: "../" * 3 + path),
)
trees = st.lists(
    st.tuples(places, st.one_of(st.just(("dir", "")), st.just(("file", "")), targets.map(lambda to: ("link", to)))),
    max_size=8,
)


def plant(root: Path, tree: list[tuple[str, tuple[str, str]]], outside: Path) -> None:
    """Make the tree as far as it can be made; a parent that is a link is not followed out."""
    for place, (kind, target) in tree:
        path = root / place
        real = Path(os.path.realpath(path.parent))
        if not real.is_relative_to(root):
            continue
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind == "dir":
                path.mkdir()
            elif kind == "file":
                path.touch(exist_ok=False)
            else:
                path.symlink_to(target.replace("OUTSIDE", str(outside)))


def snapshot(top: Path) -> dict[str, tuple[int, int, int]]:
    found = {}
    for folder, directories, names in os.walk(top):
        for name in (*directories, *names, ""):
            status = os.lstat(os.path.join(folder, name))
            found[os.path.join(folder, name)] = (status.st_mode, status.st_size, status.st_mtime_ns)
    return found


def real_place(fd: int) -> str:
    return os.readlink(f"/proc/self/fd/{fd}")


@settings(deadline=None, max_examples=150)
@given(trees, places, st.sampled_from(["make_directory", "make_file", "open_path", "read_file"]))
def test_no_tree_leads_out_of_its_root(tree: list[tuple[str, tuple[str, str]]], path: str, how: str) -> None:
    top = Path(tempfile.mkdtemp(prefix="cloche-paths-"))
    root, outside = top / "root", top / "outside"
    root.mkdir()
    (outside / "in").mkdir(parents=True)
    (outside / "canary").write_text("secret")
    (outside / "in/a").write_text("secret")
    (outside / "a").write_text("secret")
    plant(root, tree, outside)
    before = snapshot(outside)
    opened = len(os.listdir("/proc/self/fd"))
    directory = os.open(root, os.O_PATH)
    try:
        result = getattr(paths, how)(directory, "/" + path)
        if isinstance(result, bytes):
            assert b"secret" not in result
        else:
            assert Path(real_place(result)).is_relative_to(root)
            if how == "make_directory":
                assert os.path.isdir(f"/proc/self/fd/{result}")
            os.close(result)
    except OSError:
        pass  # a loop, a file where a directory should be, a link that dangles: refused is fine
    finally:
        os.close(directory)
        after, still = snapshot(outside), len(os.listdir("/proc/self/fd"))
        shutil.rmtree(top)
    assert after == before
    assert still == opened, "a descriptor was leaked"


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "root").mkdir()
    fd = os.open(tmp_path / "root", os.O_PATH)
    yield fd
    os.close(fd)


def test_what_is_missing_is_made(root: int, tmp_path: Path) -> None:
    os.close(paths.make_directory(root, "/a/b/c", 0o700))
    os.close(paths.make_file(root, "/x/y", 0o600))
    assert (tmp_path / "root/a/b/c").is_dir()
    assert (tmp_path / "root/a/b/c").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "root/x/y").read_bytes() == b""


def test_what_is_there_is_taken_as_it_is(root: int, tmp_path: Path) -> None:
    (tmp_path / "root/f").write_text("kept")
    os.close(paths.make_file(root, "/f"))
    assert (tmp_path / "root/f").read_text() == "kept"


def test_an_absolute_link_is_one_inside(root: int, tmp_path: Path) -> None:
    (tmp_path / "root/etc").mkdir()
    (tmp_path / "root/link").symlink_to("/etc")
    os.close(paths.make_file(root, "/link/made"))
    assert (tmp_path / "root/etc/made").exists()
    assert not os.path.lexists("/etc/made")


def test_dots_that_lead_up_are_refused_where_something_must_be_made(root: int) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="may not contain"):
        paths.make_directory(root, "/a/../../b")
    assert len(os.listdir("/proc/self/fd")) == before


def test_only_regular_files_are_read_and_only_short_ones(root: int, tmp_path: Path) -> None:
    top = tmp_path / "root"
    os.mkfifo(top / "pipe")
    (top / "dir").mkdir()
    (top / "long").write_bytes(b"x" * 101)
    (top / "null").symlink_to("/dev/null")
    assert paths.read_file(root, "/long", 101) == b"x" * 101
    for name, code in (("pipe", 22), ("dir", 22), ("long", 27), ("missing", 2), ("null", 2)):
        with pytest.raises(OSError, match=rf"^\[Errno {code}\]"):
            paths.read_file(root, f"/{name}", 100)
