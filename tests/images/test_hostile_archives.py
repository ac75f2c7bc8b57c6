"""Layers that are after the host: whatever is in one, nothing outside its directory changes."""

from __future__ import annotations

import bz2
import io
import os
import stat
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from cloche.images.unpack import apply
from cloche.images.unpack.apply import Powers
from cloche.images.unpack.shapes import shape
from cloche.images.unpack.tar import BadArchive
from cloche.images.unpack.worker import unpack
from cloche.linux import files
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

    def unpack(self, content: bytes) -> dict[str, Any]:
        blob = os.memfd_create("layer")
        directory = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.write(blob, content)
            os.lseek(blob, 0, os.SEEK_SET)
            return unpack(blob, directory, Powers())[1]
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
    assert os.getxattr(place.root / "d", "user.overlay.opaque") == b"y"
    assert os.getxattr(place.root / "e", "user.overlay.opaque") == b"y"
    assert sorted(os.listdir(place.root)) == ["d", "e"]


def test_whiteouts(place: Place) -> None:
    place.unpack(layer(file("d/.wh.gone"), file("d/.wh..wh..opq"), file(".wh..wh.plnk"), file("d/kept")))
    status = os.lstat(place.root / "d/gone")
    assert stat.S_ISCHR(status.st_mode)
    assert status.st_rdev == 0
    assert os.getxattr(place.root / "d", "user.overlay.opaque") == b"y"
    assert sorted(os.listdir(place.root)) == ["d"]
    assert (place.root / "d/kept").read_text() == "new"


def raw(name: bytes, kind: bytes = b"0", data: bytes = b"", **fields: bytes) -> bytes:
    """A member whose header has whatever is given: tarfile writes only what makes sense."""
    places = {"mode": (100, 8), "uid": (108, 8), "gid": (116, 8), "size": (124, 12), "mtime": (136, 12)}
    places |= {"link": (157, 100), "major": (329, 8), "minor": (337, 8)}
    block = bytearray(512)
    block[: len(name)] = name
    block[156:157] = kind
    block[257:265] = b"ustar\00000"
    values = {"mode": b"0000644", "uid": b"0", "gid": b"0", "size": b"%o" % len(data), "mtime": b"0", **fields}
    for key, value in values.items():
        at, length = places[key]
        block[at : at + length] = value.ljust(length, b"\0")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + data + bytes(-len(data) % 512)


def pax(**members: bytes) -> bytes:
    body = b""
    for key, value in members.items():
        line = b" " + key.replace("__", ".").encode() + b"=" + value + b"\n"
        length = len(line) + len(str(len(line) + 3))
        body += str(length).encode() + line
    return raw(b"pax", b"x", body)


# the body of a pax header, which stands behind its own
MANY = pax(**{f"SCHILY__xattr__user__{i}": b"x" * 900 for i in range(90)})[512:].rstrip(b"\0")
BAD: dict[str, tuple[bytes, str]] = {
    "a user beyond all": (pax(uid=str(1 << 40).encode()) + raw(b"a"), "who cannot be"),
    "the user who is no change": (raw(b"a", uid=b"\x80\0\0\0\xff\xff\xff\xff"), "who cannot be"),
    "a user below 0": (raw(b"a", gid=b"\xff" * 7 + b"\xfb"), "who cannot be"),
    "a device beyond all": (raw(b"a", b"3", major=b"\x80" + b"\x7f" * 7), "a device"),
    "a device below 0": (raw(b"a", b"4", minor=b"\xff" * 8), "a device"),
    "a name too deep": (pax(path=b"a/" * 1500 + b"f") + raw(b"a"), "deeper than"),
    "headers in front of one entry": (
        b"".join(pax(**{f"comment{i}": b"x" * 900_000}) for i in range(3)) + raw(b"a"),
        "a header of",
    ),
    "headers for all": (raw(b"g", b"g", MANY) + raw(b"a"), "headers for all"),
    "a map without lines": (
        pax(GNU__sparse__major=b"1", GNU__sparse__minor=b"0") + raw(b"a", data=b"1" * (4 << 20)),
        "makes no sense",
    ),
    "a map of too many pieces": (
        pax(GNU__sparse__major=b"1", GNU__sparse__minor=b"0") + raw(b"a", data=b"99999999\n" * 100),
        "too many pieces",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_values_that_cannot_be(place: Place, name: str) -> None:
    content, says = BAD[name]
    start = time.monotonic()
    with pytest.raises(BadArchive, match=says):
        place.unpack(content + bytes(1024))
    assert time.monotonic() - start < 20
    place.check()


def test_attributes_no_file_can_have_are_left_out(place: Place) -> None:
    bad = {
        "SCHILY__xattr__user__a\0b": b"x",
        "SCHILY__xattr__user__large": b"x" * 70_000,
        "SCHILY__xattr__user__ok": b"1",
    }
    place.unpack(pax(**bad) + raw(b"a") + bytes(1024))
    assert os.listxattr(place.root / "a") == ["user.ok"]


def test_attributes_that_are_left_out_are_counted_by_their_kind(place: Place) -> None:
    """A link can have none of a user's: what their names are is not kept."""
    named = {f"SCHILY__xattr__user__{number}": b"x" for number in range(50)}
    facts = place.unpack(pax(**named) + raw(b"a", b"2", link=b"to") + bytes(1024))
    assert facts["left_out"] == {"attributes user.*": 50}


def test_what_unfolds_beyond_all_measure(place: Place) -> None:
    """Zeros behind the end of the tar count as well."""
    block = bz2.compress(raw(b"a") + bytes(1 << 20))
    more = bz2.compress(bytes(100 << 20))
    with pytest.raises(BadArchive, match="unfolds to more"):
        place.unpack(block + more * 12)
    place.check()


def test_a_directory_too_deep_to_walk_is_replaced(place: Place) -> None:
    """By links a tree can be deeper than any name; what takes its place removes it without recursion."""
    items = [folder("top"), folder("top/" + "d/" * 300), link("l", "top/" + "d/" * 299 + "d")]
    items += [folder("l/" + "e/" * 300), link("m", "l/" + "e/" * 299 + "e"), folder("m/" + "f/" * 300)]
    items += [link("n", "m/" + "f/" * 299 + "f"), folder("n/" + "g/" * 300), file("top", b"small")]
    place.unpack(layer(*items))
    assert (place.root / "top").read_text() == "small"
    assert sorted(os.listdir(place.root)) == ["l", "m", "n", "top"]


@pytest.mark.parametrize(
    ("items", "made"),
    [
        ([link("l", "../../outside/etc"), file("l/x")], "outside/etc/x"),
        ([link("l", "/proc/self/root/etc"), file("l/x")], "proc/self/root/etc/x"),
        ([link("l", "gone/../../outside"), file("l/x")], "outside/x"),
        ([link("l", "m"), link("m", "/n"), link("n", "../o"), file("l/d/x")], "o/d/x"),
        ([file(".wh.foo"), file("foo/bar/x")], "foo/bar/x"),
        ([file("a/.wh.foo"), link("l", "a/foo"), file("l/x")], "a/foo/x"),
        ([link("foo", "../outside"), file(".wh.foo"), file("foo/x")], "outside/x"),
        ([folder("foo"), file(".wh.foo"), file("foo/x")], "foo/x"),
        ([file(".wh.a"), file("a/.wh.b"), file("a/b/x")], "a/b/x"),
        ([link("l", "."), file("l/l/l/x")], "x"),
        ([link("d/up", ".."), file("d/up/x")], "x"),
        ([link("d/up", "../../../.."), file("d/up/gone/x")], "gone/x"),
    ],
)
def test_what_leads_through_nothing_is_made_inside(place: Place, items: list[Item], made: str) -> None:
    place.unpack(layer(*items))
    assert (place.root / made).is_file()
    assert not any(part.is_symlink() for part in (place.root / made).parents if part.is_relative_to(place.root))
    place.check()


@pytest.mark.parametrize(
    ("items", "says"),
    [
        ([*(link(f"l{i}", f"l{i + 1}") for i in range(60)), file("l0/x")], "too many links|cannot be made"),
        ([link("l", "a/" * 600), file("l/x")], "deeper than"),
        ([link("l", "f/gone"), file("f"), file("l/x")], "no directory"),
        ([file("a"), file(".wh.a"), file("a/x")], "no directory"),
        ([("f", tarfile.FIFOTYPE, "", b""), file("f/x")], "no directory"),
        ([link("l", "y" * 300), file("l/x")], "cannot be made"),
        ([hard("h", "l/x"), link("l", "gone")], "which it does not have"),
    ],
)
def test_what_leads_nowhere_is_refused(place: Place, items: list[Item], says: str) -> None:
    with pytest.raises(BadArchive, match=says):
        place.unpack(layer(*items))
    place.check()


def test_a_file_of_more_bytes_than_there_are(place: Place) -> None:
    huge = b"\x80" + (1 << 61).to_bytes(11, "big")
    for content in (
        raw(b"a", size=huge),
        pax(GNU__sparse__map=b"0,1", GNU__sparse__size=b"%d" % (1 << 61)) + raw(b"a"),
    ):
        with pytest.raises(BadArchive):
            place.unpack(content + bytes(1024))
    place.check()


def test_more_directories_than_can_be_kept(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply, "MOST_KEPT", 1000)
    with pytest.raises(BadArchive, match="too many directories that nothing is said about"):
        place.unpack(layer(*(file(f"{i:0100}/x") for i in range(20))))


def shaped(place: Place, lower: bytes, *upper: bytes) -> Path:
    """What lies above these layers, the lowest first."""
    implied, above = [], place.outside.parent
    for number, content in enumerate((lower, *upper)):
        place.root = above / f"{number}/fs"
        place.root.mkdir(parents=True)
        implied.append(place.unpack(content)["implied"])
    made = above / "made"
    made.mkdir()
    with (
        files.Fd(os.open(above, os.O_RDONLY)) as top,
        files.Fd(os.open(made, os.O_RDONLY)) as target,
    ):
        shape(top.number, [str(number) for number in range(len(implied))], implied, target.number, Powers())
    return made


@pytest.mark.parametrize(
    "lower",
    [
        [link("t", "../../outside/etc")],
        [link("t", "/")],
        [file("t")],
        [("t", tarfile.FIFOTYPE, "", b"")],
        [("t", CHR, "", b"")],
        [file(".wh.t")],
        [link("t", "u"), folder("u")],
    ],
)
def test_what_is_no_directory_below_says_nothing(place: Place, lower: list[Item]) -> None:
    before = stat.S_IMODE(place.outside.stat().st_mode)
    made = shaped(place, layer(*lower), layer(file("t/new")))
    assert os.listdir(made) == []
    assert stat.S_IMODE(place.outside.stat().st_mode) == before


def test_attributes_that_lead_overlayfs_elsewhere_are_not_copied(place: Place) -> None:
    directory = place.root.parent / "0/fs/t"
    made = shaped(
        place, pax(SCHILY__xattr__user__note=b"1") + raw(b"t", b"5", mode=b"1777") + bytes(1024), layer(file("t/x"))
    )
    assert os.listxattr(directory) == os.listxattr(made / "t") == ["user.note"]
    assert stat.S_IMODE((made / "t").stat().st_mode) == 0o1777
    assert os.listdir(made / "t") == []
