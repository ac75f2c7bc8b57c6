"""Packages unpacked beside dpkg's own work, archives that are hostile, and a layer that is the same each time."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import resource
import shutil
import stat
import subprocess
import tarfile
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.images.debian import PACKED, Made, ar_of, listing, member, tar_of

from cloche.images.debian.ar import parse_deb
from cloche.images.debian.layering import pack
from cloche.images.debian.settling import settle
from cloche.images.debian.tree import Tree
from cloche.images.unpack.apply import Powers
from cloche.images.unpack.tar import BadArchive
from cloche.linux.files import Fd

if TYPE_CHECKING:
    from pathlib import Path

CONFIGURATION = b"as it is\n"
FORMAT = "${Package} ${Version} ${Status} ${Depends} ${Multi-Arch} ${Description}\n"
NOTED = ("-old", "lock", "Lock", "lock-frontend", "tmp.ci", "available", "diversions", "statoverride")
TRIGGERS = "interest /usr/share/x\ninterest-noawait named\nactivate other\n"


SUMS = "of all files\n"


def packages() -> list[Made]:
    """A library that may be there twice, with a trigger; a program with a file of configuration; one that replaces."""
    return [
        Made(
            "lib-one",
            [
                member("./lib/", None),
                member("./lib/one.so", b"one"),
                member("./lib/two.so", b"", type=tarfile.LNKTYPE, linkname="./lib/one.so"),
            ],
            {"Multi-Arch": "same", "Depends": "nothing"},
            {"triggers": TRIGGERS, "md5sums": SUMS},
        ),
        Made(
            "program",
            [
                *(member(f"./{name}/", None) for name in ("etc", "usr", "usr/bin", "usr/share", "usr/share/doc")),
                member("./etc/program.conf", CONFIGURATION, uid=0, gid=33),
                member("./usr/bin/program", b"#!/bin/sh\n", 0o4755),
                member("./usr/share/doc/" + "long" * 40, b"long"),
                member("./usr/share/doc/link", b"", type=tarfile.SYMTYPE, linkname="../" * 40 + "x" * 40),
            ],
            {"Priority": "required", "Description": "program\n and more\n .\n of it"},
            {
                "conffiles": "/etc/program.conf\n",
                "postinst": "#!/bin/sh\n",
                "triggers": "interest-noawait /usr/share/x\n",
                "md5sums": SUMS,
            },
        ),
        Made(
            "newer",
            [member("./usr/", None), member("./usr/bin/", None), member("./usr/bin/program", b"newer")],
            {"Replaces": "program"},
            {"md5sums": SUMS},
        ),
    ]


def unpack(root: Path, debs: list[bytes], links: tuple[str, ...] = ("bin", "lib")) -> None:
    root.mkdir()
    with Fd(os.open(root, os.O_RDONLY | os.O_DIRECTORY)) as top:
        tree = Tree(top.number, Powers(own=os.geteuid() == 0, nodes=False))
        tree.begin(links)
        for number, deb in enumerate(debs):
            path = root.parent / f"{number}.deb"
            path.write_bytes(deb)
            with Fd(os.open(path, os.O_RDONLY)) as file:
                tree.add(file.number)
        tree.end()


def test_a_tree_as_dpkg_makes_it(tmp_path: Path) -> None:
    """Files, owners, modes, and what dpkg notes of it: two installations that dpkg itself cannot tell apart."""
    if shutil.which("dpkg") is None or os.geteuid() != 0:
        pytest.skip("needs dpkg and root")
    made = packages()
    unpack(tmp_path / "ours", [package.deb for package in made])
    theirs = tmp_path / "theirs"
    for name in ("bin", "lib"):
        (theirs / "usr" / name).mkdir(parents=True)
        (theirs / name).symlink_to(f"usr/{name}")
    for name in ("info", "updates", "triggers", "parts", "alternatives"):
        (theirs / "var/lib/dpkg" / name).mkdir(parents=True)
    (theirs / "var/lib/dpkg/status").write_text("")
    options = ["--force-depends", "--no-triggers", "--force-not-root", "--log=/dev/null"]
    debs = [str(tmp_path / f"{number}.deb") for number in range(len(made))]
    subprocess.run(["dpkg", f"--root={theirs}", *options, "--unpack", *debs], check=True, capture_output=True)

    def known(root: Path) -> dict[str, object]:
        """But for what is dpkg's alone: locks, backups, and that configuration is not in place yet."""
        found = {
            path.removesuffix(".dpkg-new"): facts for path, facts in listing(root).items() if not path.endswith(NOTED)
        }
        for path in ("var/lib/dpkg/status", "var/lib/dpkg/triggers/File"):
            found.pop(path)
        return dict(found)

    ours = known(tmp_path / "ours")
    assert ours == known(theirs)
    outputs = [
        subprocess.run(
            ["dpkg-query", f"--admindir={root}/var/lib/dpkg", "--show", "--showformat", FORMAT],
            check=True,
            capture_output=True,
        ).stdout
        for root in (tmp_path / "ours", theirs)
    ]
    assert outputs[0] == outputs[1]
    lines = [(root / "var/lib/dpkg/triggers/File").read_text().split("\n") for root in (tmp_path / "ours", theirs)]
    assert sorted(lines[0]) == sorted(lines[1])


def test_what_is_known_of_files_of_configuration(tmp_path: Path) -> None:
    """Their sums, so that dpkg asks nobody whether they were changed."""
    unpack(tmp_path / "root", [packages()[1].deb])
    status = (tmp_path / "root/var/lib/dpkg/status").read_text()
    assert f"Conffiles:\n /etc/program.conf {hashlib.md5(CONFIGURATION).hexdigest()}\n" in status


def test_a_file_of_two_packages(tmp_path: Path) -> None:
    """Whoever replaces the other has it, whichever comes first."""
    one = Made("program", [member("./p", b"old")])
    two = Made("newer", [member("./p", b"new")], {"Replaces": "program (<< 9)"})
    unpack(tmp_path / "a", [one.deb, two.deb])
    unpack(tmp_path / "b", [two.deb, one.deb])
    assert (tmp_path / "a/p").read_bytes() == (tmp_path / "b/p").read_bytes() == b"new"
    with pytest.raises(BadArchive, match="which program has as well"):
        unpack(tmp_path / "c", [one.deb, Made("third", [member("./p", b"x")]).deb])


def test_a_file_by_two_names_is_one(tmp_path: Path) -> None:
    """/bin is /usr/bin: what two packages call differently they have both."""
    folders = [member(f"./{name}/", None) for name in ("bin", "usr", "usr/bin")]
    one, two = (
        Made(name, [*folders, member(path, b"x")]) for name, path in (("one", "./bin/x"), ("two", "./usr/bin/x"))
    )
    with pytest.raises(BadArchive, match="'usr/bin/x', which one has as well"):
        unpack(tmp_path / "root", [one.deb, two.deb])


def test_links_lead_nowhere_else(tmp_path: Path) -> None:
    """A link of one package is not a way out for the next."""
    (tmp_path / "out").mkdir()
    link = member("./a", b"", type=tarfile.SYMTYPE, linkname=f"{'../' * 20}{tmp_path}/out")
    try:
        unpack(tmp_path / "root", [Made("one", [link]).deb, Made("two", [member("./a/file", b"x")]).deb])
    except BadArchive:
        pass  # as good as a file below the root
    assert list((tmp_path / "out").iterdir()) == []


def node(path: str, kind: bytes = tarfile.CHRTYPE) -> tuple[tarfile.TarInfo, bytes]:
    """/dev/null, by another name."""
    return member(path, b"", 0o666, type=kind, devmajor=1, devminor=3)


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_a_device_of_a_package(tmp_path: Path, kind: bytes) -> None:
    with pytest.raises(BadArchive, match="null', a device"):
        unpack(tmp_path / "root", [Made("one", [member("./dev/", None), node("./dev/null", kind)]).deb])


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.SYMTYPE])
def test_what_is_written_is_a_new_file(tmp_path: Path, kind: bytes) -> None:
    """Whatever has its name: a device that a script has made, a link, a file with another name outside."""
    if os.geteuid() != 0:
        pytest.skip("needs root to make a device")
    root, out = tmp_path / "root", tmp_path / "out"
    (root / "etc").mkdir(parents=True)
    out.write_bytes(b"outside")
    os.link(out, root / "etc/linked")
    if kind == tarfile.SYMTYPE:
        (root / "etc/file").symlink_to(out)
    else:
        os.mknod(root / "etc/file", 0o666 | (stat.S_IFCHR if kind == tarfile.CHRTYPE else stat.S_IFIFO), 0x103)
    with Fd(os.open(root, os.O_RDONLY | os.O_DIRECTORY)) as top:
        tree = Tree(top.number, Powers(nodes=False))
        for name in ("file", "linked"):
            tree.write(f"etc/{name}", b"new", 0o755)
    for name in ("file", "linked"):
        assert ((root / "etc" / name).read_bytes(), (root / "etc" / name).lstat().st_mode) == (b"new", 0o100755)
    assert out.read_bytes() == b"outside"
    assert sorted(path.name for path in (root / "etc").iterdir()) == ["file", "linked"]


@pytest.mark.parametrize("kind", [tarfile.DIRTYPE, tarfile.FIFOTYPE, b"huge"])
def test_configuration_that_is_no_file(tmp_path: Path, kind: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one without an end: its sum is not waited for."""
    if kind == b"huge":
        monkeypatch.setattr("cloche.images.debian.tree.MOST_CONFIGURATION", 10)
    made = member("./etc/x", bytes(11)) if kind == b"huge" else member("./etc/x", b"", 0o755, type=kind)
    with pytest.raises(BadArchive, match=r"'/etc/x' for configuration, which is no file, or too large"):
        unpack(tmp_path / "root", [Made("one", [member("./etc/", None), made], control={"conffiles": "/etc/x\n"}).deb])


@given(st.binary(max_size=300), st.integers(0, 400))
def test_whatever_a_package_is(content: bytes, at: int) -> None:
    """No error but one kind, for bytes that are none and for one with a piece exchanged."""
    whole = packages()[0].deb
    for deb in (content, whole[:at] + content + whole[at + len(content) :]):
        with suppress(BadArchive):
            parse_deb(partial(piece, deb), len(deb))


def piece(whole: bytes, size: int, offset: int) -> bytes:
    return whole[offset : offset + size]


@pytest.mark.parametrize("ending", ["", ".gz", ".xz", ".zst", ".bz2"])
def test_compressions(tmp_path: Path, ending: str) -> None:
    """Those that dpkg knows; control.tar as well."""
    import bz2
    import lzma

    from cloche.images.unpack.compression import _zstd

    compress = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress, ".zst": _zstd().compress, ".bz2": bz2.compress}
    made = Made("one", [member("./x", b"content" * 1000)])
    control = tar_of([member("./control", made.control_file().encode())])
    parts = ("debian-binary", b"2.0\n"), ("_skipped", b"?"), (f"control.tar{ending}", compress[ending](control))
    deb = ar_of(*parts, (f"data.tar{ending}", compress[ending](tar_of(made.members))), ("more", b""))
    unpack(tmp_path / "root", [deb])
    assert (tmp_path / "root/x").read_bytes() == b"content" * 1000


def test_a_control_that_unfolds_without_end(tmp_path: Path) -> None:
    deb = ar_of(("debian-binary", b"2.0\n"), ("control.tar.gz", gzip.compress(bytes(32 << 20))), ("data.tar", b""))
    huge = tar_of([member("./control", b"x" * (20 << 20))])
    for control in (
        deb,
        ar_of(("debian-binary", b"2.0\n"), ("control.tar.gz", gzip.compress(huge)), ("data.tar", b"")),
    ):
        with pytest.raises(BadArchive, match=r"unfolds to more than|control file that is none"):
            unpack(tmp_path / f"root{len(control)}", [control])


def test_a_layer_that_is_the_same_each_time(tmp_path: Path) -> None:
    """Whatever order things were made in, and when; tarfile reads what it is."""
    made = []
    for names in ("ab", "ba"):
        root = tmp_path / names
        (root / "dir").mkdir(parents=True)
        for name in names:
            (root / "dir" / name).write_bytes(name.encode() * 10)
            os.utime(root / "dir" / name, (PACKED, PACKED))
        os.link(root / "dir/a", root / "linked")
        (root / "late").write_bytes(b"")
        (root / ("n" * 120)).symlink_to("t" * 150)
        with Fd(os.open(root, os.O_RDONLY)) as top, (tmp_path / f"{names}.gz").open("wb") as out:
            made.append(pack(top.number, out.fileno(), PACKED + 100))
    assert made[0] == made[1]
    content = (tmp_path / "ab.gz").read_bytes()
    assert len(content) == made[0].size
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(content))) as read:
        found = {info.name: info for info in read}
    assert [*found] == ["dir", "dir/a", "dir/b", "late", "linked", "n" * 120]
    assert (found["dir/a"].mtime, found["late"].mtime, found["dir"].mtime) == (PACKED, PACKED + 100, PACKED + 100)
    assert (found["linked"].type, found["linked"].linkname) == (tarfile.LNKTYPE, "dir/a")
    assert found["n" * 120].linkname == "t" * 150


def test_what_is_left_is_removed_and_nothing_outside(tmp_path: Path) -> None:
    """A system in which a script has put links where logs and caches are."""
    root, out = tmp_path / "root", tmp_path / "out"
    (out / "apt").mkdir(parents=True)
    (out / "apt/keep").write_text("keep")
    for name in ("etc", "run/x/y", "var/cache/apt/archives", "var/lib"):
        (root / name).mkdir(parents=True)
    (root / "var/log").symlink_to(out)
    (root / "tmp").symlink_to(out)
    for name in ("etc/machine-id", "etc/hostname", "run/x/y/z", "var/cache/apt/archives/a.deb"):
        (root / name).write_text("x")
    with Fd(os.open(root, os.O_RDONLY)) as top:
        settle(top.number)
    assert (out / "apt/keep").read_text() == "keep"
    assert (root / "etc/machine-id").read_text() == ""
    assert sorted(listing(root)) == sorted(
        "etc etc/machine-id run tmp var var/cache var/cache/apt var/cache/apt/archives var/lib var/log".split()
    )


def test_a_tree_that_is_very_deep(tmp_path: Path) -> None:
    """A script can make one: neither the stack nor descriptors run out."""
    root = tmp_path / "root"
    deep = "var/cache/apt" + "/d" * 600
    (root / "etc").mkdir(parents=True)
    subprocess.run(["mkdir", "-p", str(root / deep)], check=True)
    (root / deep / "file").write_bytes(b"deep")
    (root / "var/cache/apt/z").write_bytes(b"last")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
        with Fd(os.open(root, os.O_RDONLY)) as top, (tmp_path / "layer").open("wb") as out:
            pack(top.number, out.fileno(), PACKED)
            settle(top.number)
        with tarfile.open(tmp_path / "layer") as read:
            assert read.getnames()[-3:] == [deep, f"{deep}/file", "var/cache/apt/z"]
        assert (os.path.exists(root / deep / "file"), os.path.exists(root / deep)) == (False, True)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        subprocess.run(["rm", "-rf", str(root)], check=True)  # too deep for others to remove


def test_what_fails_names_the_path(tmp_path: Path) -> None:
    """Of hostile trees: a directory where a file is to be, a link to itself, a name longer than any."""
    root = tmp_path / "root"
    for name in ("etc/hostname", "etc/apt/file", "usr"):
        (root / name).mkdir(parents=True)
    (root / "usr/sbin").symlink_to("sbin")
    with Fd(os.open(root, os.O_RDONLY)) as top:
        tree = Tree(top.number, Powers(nodes=False))
        for path, said in (("etc/apt/file", "Is a directory"), ("usr/sbin/policy-rc.d", "symbolic links")):
            with pytest.raises(OSError, match=f"'{path}' of the new system: .*{said}"):
                tree.write(path, b"")
        with pytest.raises(OSError, match="'etc/hostname' of the new system: Is a directory"):
            settle(top.number)
        folder = os.dup(top.number)
        for _ in range(20):
            os.mkdir("n" * 250, dir_fd=folder)
            below = os.open("n" * 250, os.O_RDONLY, dir_fd=folder)
            os.close(folder)
            folder = below
        os.close(folder)
        with pytest.raises(OSError, match=r"'nnn.* of the new system: File name too long"):
            pack(top.number, os.open("/dev/null", os.O_WRONLY), PACKED)
        subprocess.run(["rm", "-rf", str(root / ("n" * 250))], check=True)
