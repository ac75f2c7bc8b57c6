"""The image `host`: what of this machine is shown, and what is not."""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING

from cloche.images import host

if TYPE_CHECKING:
    from pathlib import Path


def test_only_system_directories_are_shown() -> None:
    image = host.host_image(())
    shown = {source for source, _ in image.trees} | {path for path, _ in image.symlinks}
    assert "/usr" in shown
    assert shown <= {f"/{name}" for name in (*host.SYSTEM, host.VARIABLE)}
    assert not shown & {"/home", "/root", "/tmp", "/run", "/mnt", "/media", "/proc", "/sys", "/dev"}


def test_what_others_may_not_read_is_hidden() -> None:
    hidden = dict(host.host_image(()).trees)["/etc"]
    assert "shadow" in hidden or not os.path.exists("/etc/shadow")
    missing = [
        entry.name
        for entry in os.scandir("/etc")
        if not entry.is_symlink() and not entry.stat(follow_symlinks=False).st_mode & stat.S_IROTH
    ]
    assert set(missing) <= set(hidden)
    assert "passwd" not in hidden


def test_nothing_below_a_hidden_directory_is_listed_again() -> None:
    for _, hidden in host.host_image(()).trees:
        assert not [path for path in hidden for above in hidden if path.startswith(above + "/")]


def test_private_things_two_levels_deep(tmp_path: Path) -> None:
    (tmp_path / "open/deep").mkdir(parents=True)
    for name, mode in (
        ("secret", 0o600),
        ("group", 0o640),
        ("plain", 0o644),
        ("open/key", 0o600),
        ("open/deep/key", 0o600),
    ):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    (tmp_path / "closed").mkdir(mode=0o750)
    (tmp_path / "link").symlink_to("secret")
    assert sorted(host._private(str(tmp_path), 2, "")) == ["closed", "group", "open/key", "secret"]
    assert sorted(host._private(str(tmp_path), 1, "")) == ["closed", "group", "secret"]


def test_this_python_is_lent_and_no_more_than_that() -> None:
    lent = host.python_environment()
    assert not {"/", "/usr", "/usr/local", os.path.expanduser("~")} & set(lent)
    assert all(os.path.isabs(path) for path in lent)
    if sys.prefix not in {"/usr", "/usr/local"}:
        assert sys.prefix in lent


def test_a_directory_on_the_path_that_is_not_pythons_is_not_lent(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "diary.txt").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert str(tmp_path) not in host.python_environment()
