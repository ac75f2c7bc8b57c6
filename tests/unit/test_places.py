"""Paths: the same answers as os.path's."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import SOURCE, system_python

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
        assert places.lexists(path) == os.path.lexists(path)
        assert places.islink(path) == os.path.islink(path)
        if "\0" not in name:
            assert places.realpath(path) == os.path.realpath(path)
    assert places.samefile(f"{tmp_path}/folder", str(tmp_path))
    assert not places.samefile(f"{tmp_path}/file", str(tmp_path))
    with pytest.raises(FileNotFoundError):
        places.samefile(f"{tmp_path}/link", str(tmp_path))


def test_where_the_working_directory_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert places.abspath("/a/../b") == "/b"
    with pytest.raises(FileNotFoundError):
        places.abspath("a")


def test_open_files(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with open(tmp_path / "file") as one, open(tmp_path / "file") as other, open("/dev/null") as third:
        assert places.sameopenfile(one.fileno(), other.fileno())
        assert not places.sameopenfile(one.fileno(), third.fileno())


@given(st.binary())
def test_names_of_the_kernel(name: bytes) -> None:
    assert places.fsdecode(name) == os.fsdecode(name)
    assert places.fsencode(os.fsdecode(name)) == name


def test_the_environment_of_a_program_that_changes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert places.variable("CLOCHE_NEVER") is None
    assert places.environment("CLOCHE_NEVER", "else") == "else"
    monkeypatch.setenv("CLOCHE_NEVER", "é\udcff")
    assert places.variable("CLOCHE_NEVER") == "é\udcff"
    places.set_variable("CLOCHE_NEVER", "new")
    assert os.environ["CLOCHE_NEVER"] == os.getenv("CLOCHE_NEVER") == "new"


WITHOUT_OS = """
import sys
sys.path.insert(0, sys.argv[1])
from cloche.linux import places
assert "os" not in sys.modules
print(ascii(places.variable("GIVEN")), places.variable("NOT"), places.environment("NOT", "else"))
places.set_variable("SET", "value")
print(places.variable("SET"))
import os
print(os.environ["SET"], os.popen("echo $SET").read())
"""


def test_the_environment_without_os() -> None:
    words = [system_python(), "-I", "-S", "-B", "-c", WITHOUT_OS, str(SOURCE)]
    env = {"GIVEN": os.fsdecode(b"\xff"), "PATH": os.environ["PATH"]}
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split("\n") == ["'\\udcff' None else", "value", "value value", "", ""]


def test_making_directories(tmp_path: Path) -> None:
    places.makedirs(f"{tmp_path}/a/b/c", 0o700)
    places.makedirs(f"{tmp_path}/a/b/c", 0o755)
    assert (tmp_path / "a/b/c").stat().st_mode & 0o777 == 0o700
    before = os.umask(0)
    try:
        places.makedirs(f"{tmp_path}/x/y", 0o700)
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o755
    (tmp_path / "file").touch()
    for path in (f"{tmp_path}/file", f"{tmp_path}/file/below"):
        with pytest.raises((FileExistsError, NotADirectoryError)):
            places.makedirs(path)
    with pytest.raises(FileNotFoundError):  # where none can be made
        places.makedirs("/proc/nowhere/at/all")
