"""Waiting for changes: what is told of which file, and what is not."""

from __future__ import annotations

import errno
import threading
import time
from typing import TYPE_CHECKING

import pytest

from cloche.linux.inotify import (
    IN_CREATE,
    IN_MODIFY,
    IN_MOVED_FROM,
    IN_MOVED_TO,
    IN_ONLYDIR,
    IN_Q_OVERFLOW,
    Watch,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_changes_in_a_directory(tmp_path: Path) -> None:
    with Watch() as watch:
        folder = watch.add(str(tmp_path), IN_CREATE | IN_MODIFY | IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR)
        (tmp_path / "file").write_text("x")
        (tmp_path / "file").rename(tmp_path / "other")
        assert watch.wait(5)
        assert watch.read() == [
            (folder, IN_CREATE, "file"),
            (folder, IN_MODIFY, "file"),
            (folder, IN_MOVED_FROM, "file"),
            (folder, IN_MOVED_TO, "other"),
        ]
        assert watch.read() == []


def test_changes_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with Watch() as watch:
        file = watch.add(str(tmp_path / "file"), IN_MODIFY)
        (tmp_path / "other").write_text("x")
        assert not watch.wait(0.01)
        (tmp_path / "file").write_text("x")
        assert watch.read() == [(file, IN_MODIFY, "")]


def test_names_of_all_kinds(tmp_path: Path) -> None:
    with Watch() as watch:
        watch.add(str(tmp_path), IN_CREATE)
        names = ["a", "x" * 255, "ä\n", "\udcff"]
        for name in names:
            (tmp_path / name).touch()
        assert [name for _, _, name in watch.read()] == names


def test_whoever_waits_is_woken(tmp_path: Path) -> None:
    with Watch() as watch:
        watch.add(str(tmp_path), IN_CREATE)
        threading.Timer(0.1, (tmp_path / "file").touch).start()
        begun = time.monotonic()
        assert watch.wait(10)
        assert time.monotonic() - begun < 5


def test_too_much_to_be_told(tmp_path: Path) -> None:
    with Watch() as watch:
        watch.add(str(tmp_path), IN_CREATE)
        with open("/proc/sys/fs/inotify/max_queued_events", encoding="ascii") as file:
            most = int(file.read())
        for number in range(most + 2):
            (tmp_path / str(number)).touch()
        assert watch.read()[-1] == (-1, IN_Q_OVERFLOW, "")


@pytest.mark.parametrize(("name", "code"), [("missing", errno.ENOENT), ("file", errno.ENOTDIR)])
def test_what_cannot_be_watched(name: str, code: int, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with Watch() as watch, pytest.raises(OSError, match="directory") as caught:
        watch.add(str(tmp_path / name), IN_CREATE | IN_ONLYDIR)
    assert caught.value.errno == code
    assert caught.value.filename == str(tmp_path / name)
    assert caught.value.__notes__ == ["inotify_add_watch(2)"]
