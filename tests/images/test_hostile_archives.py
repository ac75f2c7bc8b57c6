"""Layers that are after the host: whatever is in one, nothing outside its directory changes."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from pathlib import Path

import pytest

from cloche.images.unpack.apply import Powers
from cloche.images.unpack.tar import BadArchive
from cloche.images.unpack.worker import unpack
from tests.integration.trees import look

DIR, LINK, HARD, CHR = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE
Item = tuple[str, bytes, str, bytes]


def layer(*items: Item) -> bytes:
    """A tar of (name, kind, link, data)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as made:
        for name, kind, link, data in items:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size, info.mtime = kind, link, len(data), 1_600_000_000
            info.mode = 0o755 if kind == DIR else 0o644
            if kind == CHR:
                info.devmajor, info.devminor = 1, 3
            made.addfile(info, io.BytesIO(data))
    return out.getvalue()


def file(name: str, data: bytes = b"new") -> Item:
    return name, tarfile.REGTYPE, "", data


def link(name: str, target: str) -> Item:
    return name, LINK, target, b""


def hard(name: str, target: str) -> Item:
    return name, HARD, target, b""


def folder(name: str) -> Item:
    return name, DIR, "", b""


class Place:
    """A directory for a layer, and what must not change beside it."""

    def __init__(self, path: Path) -> None:
        self.root = path / "layer"
        self.root.mkdir()
        self.outside = path / "outside"
        (self.outside / "etc").mkdir(parents=True)
        (self.outside / "etc/passwd").write_text("canary")
        self.before = look(self.outside)

    def unpack(self, content: bytes) -> None:
        blob = os.memfd_create("layer")
        directory = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.write(blob, content)
            os.lseek(blob, 0, os.SEEK_SET)
            unpack(blob, directory, Powers())
        finally:
            os.close(blob)
            os.close(directory)

    def check(self) -> None:
        assert look(self.outside) == self.before
        assert sorted(os.listdir(self.root.parent)) == ["layer", "outside"]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize(
    ("items", "says"),
    [
        ([file("../outside/etc/passwd")], "leads out"),
        ([file("a/../../outside/x")], "leads out"),
        ([folder("a"), hard("b", "../outside/etc/passwd")], "leads out"),
        ([hard("b", "/../outside/etc/passwd")], "leads out"),
        ([hard("b", "nothing")], "which it does not have"),
        ([folder("a"), hard("b", "a")], "hard link to a directory"),
        ([hard("b", ".")], "link to the root"),
        ([link("a", "")], "link to nothing"),
        ([file("a"), file("a/b")], "no directory"),
        ([link("a", "b"), link("b", "a"), file("a/x")], "cannot be made"),
        ([file("d/.wh...")], "whiteout of"),
        ([file("d/.wh.")], "whiteout of"),
        ([file("x" * 300)], "cannot be made"),
        ([("a", b"9", "", b"")], "kind nobody knows"),
    ],
)
def test_refused(place: Place, items: list[Item], says: str) -> None:
    with pytest.raises(BadArchive, match=says):
        place.unpack(layer(*items))
    place.check()


@pytest.mark.parametrize(
    "items",
    [
        [link("l", "../outside"), file("l/etc/passwd")],
        [link("l", "/"), file("l/outside/etc/passwd")],
        [link("l", "../outside"), folder("l"), file("l/etc/passwd")],
        [link("l", "../outside/etc"), hard("h", "l/passwd")],
        [link("l", "../outside/etc/passwd"), hard("h", "l"), file("h")],
        [link("l", "../outside/etc/passwd"), file("l")],
        [folder("d"), file("d/x"), link("d", "../outside"), file("d/x")],
        [link("a", "b/.."), link("b", "../outside"), file("a/x")],
        [folder("a/b"), link("a/b/up", "../../../outside"), file("a/b/up/etc/passwd")],
        [link("l", "../outside"), file("l/.wh.etc")],
        [link("l", "../outside"), file("l/.wh..wh..opq")],
        [link("l", "../outside"), ("l/null", CHR, "", b"")],
        [link("etc", "/proc/self/root/etc"), file("etc/x")],
        [link("l", "/proc/self/cwd"), file("l/x")],
        [file("/outside/etc/passwd")],
        [file("//outside//etc/./passwd")],
        [folder("l"), link("./l", "../outside"), file(".//l/etc/passwd")],
    ],
)
def test_stays_inside(place: Place, items: list[Item]) -> None:
    """Made below the directory, or refused; never beside it."""
    try:
        place.unpack(layer(*items))
    except BadArchive:
        pass
    place.check()


def test_a_link_is_not_written_through(place: Place) -> None:
    place.unpack(layer(file("target", b"old"), link("l", "target"), file("l", b"new")))
    assert (place.root / "target").read_text() == "old"
    assert not (place.root / "l").is_symlink()


def test_attributes_that_lead_overlayfs_elsewhere_are_left_out(place: Place) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as made:
        info = tarfile.TarInfo("d")
        info.type = DIR
        names = ("trusted.overlay.redirect", "trusted.overlay.metacopy", "user.overlay.redirect", "user.note")
        info.pax_headers = {f"SCHILY.xattr.{name}": "/etc" for name in names}
        made.addfile(info)
    place.unpack(out.getvalue())
    assert os.listxattr(place.root / "d") == ["user.note"]


def test_a_directory_after_a_whiteout_hides_what_is_below(place: Place) -> None:
    place.unpack(layer(file(".wh.d"), folder("d"), file("d/x"), folder("e"), file(".wh.e")))
    assert os.getxattr(place.root / "d", "trusted.overlay.opaque") == b"y"
    assert os.getxattr(place.root / "e", "trusted.overlay.opaque") == b"y"
    assert sorted(os.listdir(place.root)) == ["d", "e"]


def test_whiteouts(place: Place) -> None:
    place.unpack(layer(file("d/.wh.gone"), file("d/.wh..wh..opq"), file(".wh..wh.plnk"), file("d/kept")))
    status = os.lstat(place.root / "d/gone")
    assert stat.S_ISCHR(status.st_mode)
    assert status.st_rdev == 0
    assert os.getxattr(place.root / "d", "trusted.overlay.opaque") == b"y"
    assert sorted(os.listdir(place.root)) == ["d"]
    assert (place.root / "d/kept").read_text() == "new"
