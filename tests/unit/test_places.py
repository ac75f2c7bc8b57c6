"""Paths: the same answers as os.path's."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.linux import places

if TYPE_CHECKING:
    from pathlib import Path

PATHS = st.lists(st.sampled_from(["/", "a", "b", "..", ".", "é", "//"]), max_size=7).map("".join)


@given(PATHS)
def test_parts(path: str) -> None:
    assert places.dirname(path) == os.path.dirname(path)
    assert places.basename(path) == os.path.basename(path)
    assert places.normpath(path) == os.path.normpath(path)
    assert places.abspath(path) == os.path.abspath(path)


@given(PATHS, PATHS)
def test_joining(above: str, below: str) -> None:
    assert places.join(above, below) == os.path.join(above, below)


@given(PATHS, PATHS)
def test_what_two_have_in_common(one: str, other: str) -> None:
    pair = os.path.normpath(f"/{one}").replace("//", "/"), os.path.normpath(f"/{other}").replace("//", "/")
    assert places.commonpath(*pair) == os.path.commonpath(pair)


def test_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "folder").symlink_to(tmp_path)
    for name in ("", "file", "link", "folder", "none", "file/below", "a\0b"):
        path = f"{tmp_path}/{name}"
        assert places.isdir(path) == os.path.isdir(path)
        assert places.exists(path) == os.path.exists(path)


def test_making_directories(tmp_path: Path) -> None:
    places.makedirs(f"{tmp_path}/a/b/c", 0o700)
    places.makedirs(f"{tmp_path}/a/b/c", 0o755)
    assert (tmp_path / "a/b/c").stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").touch()
    for path in (f"{tmp_path}/file", f"{tmp_path}/file/below"):
        with pytest.raises((FileExistsError, NotADirectoryError)):
            places.makedirs(path)
    with pytest.raises(FileNotFoundError):  # where none can be made
        places.makedirs("/proc/nowhere/at/all")
