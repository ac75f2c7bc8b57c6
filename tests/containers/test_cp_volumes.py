"""A volume of which a container has a part, or whose data is elsewhere: what `cp` and `--volumes-from` make of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.containers.filed import BOX, create, members, raw, succeed
from tests.integration.background import uid_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Cli

PART = "type=volume,src=data,dst=/part,volume-subpath=in/ner"


@pytest.fixture
def part(anyone: Cli, desk: Path) -> Iterator[str]:
    """The name of a container that has a part of a volume, and was not started."""
    del desk
    script = "mkdir -p /d/in/ner; echo whole >/d/outer; echo part >/d/in/ner/file"
    succeed(anyone, "run", "--rm", "-v", "data:/d", BOX, "sh", "-c", script)
    create(anyone, "part", "--mount", PART)
    yield "part"
    succeed(anyone, "rm", "-f", "part")
    succeed(anyone, "volume", "rm", "data")


def test_a_part_of_a_volume(anyone: Cli, part: str, desk: Path) -> None:
    assert set(members(raw(anyone, "cp", f"{part}:/part", "-"))) == {"part", "part/file"}
    (desk / "new").write_text("new")
    succeed(anyone, "cp", str(desk / "new"), f"{part}:/part/")
    assert succeed(anyone, "run", "--rm", "-v", "data:/d", BOX, "ls", "/d/in/ner") == "file\nnew\n"


@pytest.mark.parametrize("target", ["/etc", "../../../..", "gone"])
def test_a_part_that_has_become_a_link(anyone: Cli, part: str, desk: Path, target: str) -> None:
    script = f"rm -r /d/in/ner; ln -s {target} /d/in/ner"
    succeed(anyone, "run", "--rm", "-v", "data:/d", BOX, "sh", "-c", script)
    done = anyone("cp", f"{part}:/part/passwd", str(desk))
    assert done.returncode == 1
    assert "in/ner of the volume" in done.stderr
    assert list(desk.iterdir()) == []


def test_who_takes_over_a_part_gets_no_more(anyone: Cli, part: str) -> None:
    assert succeed(anyone, "run", "--rm", "--volumes-from", part, BOX, "ls", "/part") == "file\n"


def test_a_volume_that_is_a_directory_of_this_machine(anyone: Cli, desk: Path) -> None:
    for name in ("old", "new"):
        (desk / name).write_text(name)
    there = desk / "there"
    there.mkdir()
    os.chown(there, uid_of(anyone), uid_of(anyone))
    for words, name in (("bind", "open"), ("bind,ro", "shut")):
        succeed(anyone, "volume", "create", "-o", "type=none", "-o", f"o={words}", "-o", f"device={there}", name)
    create(anyone, "bound", "-v", "open:/open", "-v", "shut:/shut")
    succeed(anyone, "cp", str(desk / "old"), "bound:/open/")
    assert (there / "old").read_text() == "old"
    assert set(members(raw(anyone, "cp", "bound:/shut", "-"))) == {"shut", "shut/old"}
    assert anyone("cp", str(desk / "new"), "bound:/shut/").returncode == 1
    succeed(anyone, "rm", "bound")
    succeed(anyone, "volume", "rm", "open", "shut")
    assert [path.name for path in there.iterdir()] == ["old"]


def test_a_volume_in_memory_is_none_of_a_container_that_ended(anyone: Cli, desk: Path) -> None:
    (desk / "file").write_text("kept")
    succeed(anyone, "volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "fleeting")
    create(anyone, "ended", "-v", "fleeting:/etc")
    succeed(anyone, "cp", str(desk / "file"), "ended:/etc/")
    assert succeed(anyone, "cp", "ended:/etc/file", str(desk / "back")) == ""
    assert (desk / "back").read_text() == "kept"
    assert os.listdir(succeed(anyone, "volume", "inspect", "-f", "{{.Mountpoint}}", "fleeting").strip()) == []
    succeed(anyone, "rm", "ended")
    succeed(anyone, "volume", "rm", "fleeting")
