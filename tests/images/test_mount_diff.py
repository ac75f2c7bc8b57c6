"""Looking into images: mounted for root, and compared with each other."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engines.conftest import require
from tests.engines.daemons import Podman, Room, succeed
from tests.images.conftest import Images, Registry
from tests.images.whole import look

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.conftest import Cli

    Content = bytes | None  # None: a directory

LOW: dict[str, Content] = {
    "a": None,
    "a/x": b"1",
    "a/y": b"2",
    "b": None,
    "b/c": None,
    "b/c/d": b"3",
    "b/e": b"4",
    "gone": b"5",
    "lost": None,
    "lost/inner": b"5",
    "f": b"6",
    "same": b"same",
    "still": None,
    "still/there": b"7",
}
HIGH: dict[str, Content] = {
    "a": None,
    "a/.wh.x": b"",
    "a/z": b"n",
    "b": None,
    "b/c:700": None,
    "b/g": b"8",
    ".wh.gone": b"",
    ".wh.lost": b"",
    "f": b"66",
    "same": b"same",
    "new": None,
    "new/deep": None,
    "new/deep/n": b"n",
}
ODD_LOW: dict[str, Content] = {
    "o": None,
    "o/1": b"1",
    "o/2": b"2",
    "o/s": None,
    "o/s/t": b"t",
    "tofile": None,
    "tofile/k": b"k",
    "todir": b"v",
}
ODD_HIGH: dict[str, Content] = {
    "o": None,
    "o/.wh..wh..opq": b"",
    "o/2": b"2",
    "o/3": b"3",
    "tofile": b"f",
    "todir": None,
    "todir/in": b"i",
    "strange\nname\x1b[1m": b"",
}


def tar_of(entries: Mapping[str, Content]) -> bytes:
    """A layer; a name may end in :MODE. All times are the same."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in entries.items():
            path, _, mode = name.partition(":")
            info = tarfile.TarInfo(path)
            info.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            info.mode = int(mode, 8) if mode else 0o755 if content is None else 0o644
            info.size = len(content or b"")
            tar.addfile(info, io.BytesIO(content or b""))
    return out.getvalue()


def write_archive(path: Path, images: Mapping[str, Sequence[Mapping[str, Content]]]) -> None:
    """Images named localhost/NAME:1 of these layers, as docker saves them."""
    listing = []
    files: dict[str, bytes] = {}
    for name, entries in images.items():
        layers = [tar_of(each) for each in entries]
        digests = [hashlib.sha256(layer).hexdigest() for layer in layers]
        rootfs = {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]}
        history = [{"created_by": name}] * len(layers)
        document = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs, "history": history}
        content = json.dumps(document).encode()
        config = f"{hashlib.sha256(content).hexdigest()}.json"
        places = [f"{digest}/layer.tar" for digest in digests]
        files |= {config: content, **dict(zip(places, layers, strict=True))}
        listing.append({"Config": config, "RepoTags": [f"localhost/{name}:1"], "Layers": places})
    files["manifest.json"] = json.dumps(listing).encode()
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    path.chmod(0o644)


IMAGES = {"one": [LOW], "two": [LOW, HIGH], "other": [HIGH]}
QUESTIONS = [
    ("two",),
    ("one",),
    ("two", "one"),
    ("one", "two"),
    ("other", "one"),
    ("one", "one"),
    ("--format", "json", "two"),
    ("--format", "json", "one", "one"),
]


@pytest.fixture(scope="module")
def podman() -> dict[tuple[str, ...], str]:
    """What podman answers."""
    require("podman")
    with Room("podman") as room:
        write_archive(room.folder / "images.tar", IMAGES)
        engine = Podman(room, "runc")
        succeed(engine("load", "-i", str(room.folder / "images.tar")))
        return {asked: succeed(engine("image", "diff", *asked)) for asked in map(named, QUESTIONS)}


def named(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"localhost/{word}:1" if word in IMAGES else word for word in words)


@pytest.fixture
def env(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A store of the test's own, of which nothing is left mounted."""
    yield {"CLOCHE_ROOT": str(tmp_path / "store")}
    places = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    left = [place for place in places if place.startswith(str(tmp_path))]
    for place in left:
        subprocess.run(["umount", "-l", place], check=True)
    assert not left


@pytest.fixture(scope="module")
def loaded(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A store with the images."""
    top = tmp_path_factory.mktemp("loaded")
    write_archive(top / "images.tar", IMAGES)
    made = {"CLOCHE_ROOT": str(top / "store")}
    assert cli("load", "-q", "-i", str(top / "images.tar"), env=made).returncode == 0
    return made


@pytest.mark.parametrize("asked", [named(asked) for asked in QUESTIONS], ids=" ".join)
def test_compared_as_by_podman(
    cli: Cli, podman: dict[tuple[str, ...], str], loaded: dict[str, str], asked: tuple[str, ...]
) -> None:
    done = cli("image", "diff", *asked, env=loaded)
    assert done.returncode == 0, done.stderr
    if "json" in asked:
        theirs = {word: sorted(paths) for word, paths in json.loads(podman[asked]).items()}
        assert {word: sorted(paths) for word, paths in json.loads(done.stdout).items()} == theirs
    else:
        assert sorted(done.stdout.splitlines()) == sorted(podman[asked].splitlines())


def test_opaque_directories_and_other_kinds(fresh: Cli) -> None:
    """As each kind of user: what is really there no more, each by its name."""
    archive = fresh.source.parent / "odd.tar"
    write_archive(archive, {"low": [ODD_LOW], "odd": [ODD_LOW, ODD_HIGH]})
    assert fresh("load", "-q", "-i", str(archive)).returncode == 0
    archive.unlink()
    done = fresh("image", "diff", "localhost/odd:1")
    assert done.stdout.splitlines() == [
        "C /o",
        "D /o/1",
        "C /o/2",
        "A /o/3",
        "D /o/s",
        "A /strange\\nname\\x1b[1m",
        "C /todir",
        "A /todir/in",
        "C /tofile",
    ], done.stderr
    if fresh.kind == "root":
        place = Path(fresh("image", "mount", "localhost/odd:1").stdout.strip())
        assert sorted(os.listdir(place / "o")) == ["2", "3"]
        assert (place / "tofile").is_file()
        assert fresh("image", "unmount", "-a").returncode == 0
    back = fresh("image", "diff", "localhost/low:1", "localhost/odd:1").stdout.splitlines()
    assert back == [
        "C /o",
        "A /o/1",
        "D /o/3",
        "A /o/s",
        "A /o/s/t",
        "D /strange\\nname\\x1b[1m",
        "C /todir",
        "C /tofile",
        "A /tofile/k",
    ]


def test_what_is_as_long_and_as_old_is_read(cli: Cli, env: dict[str, str], tmp_path: Path) -> None:
    """Images that are made so that they can be made again have one time for everything."""
    first, second = {"f": b"one", "g": b"same"}, {"f": b"two", "g": b"same", "h": b""}
    write_archive(tmp_path / "images.tar", {"first": [first], "second": [second]})
    assert cli("load", "-q", "-i", str(tmp_path / "images.tar"), env=env).returncode == 0
    done = cli("image", "diff", "localhost/second:1", "localhost/first:1", env=env)
    assert done.stdout.splitlines() == ["C /f", "A /h"]


def test_as_deep_as_a_path_can_be(cli: Cli, env: dict[str, str], tmp_path: Path) -> None:
    deep = "/".join(["d" * 200] * 20)
    write_archive(tmp_path / "images.tar", {"deep": [{"f": b""}, {f"{deep}/f": b""}]})
    assert cli("load", "-q", "-i", str(tmp_path / "images.tar"), env=env).returncode == 0
    last = cli("image", "diff", "localhost/deep:1", env=env).stdout.splitlines()[-1]
    assert last == f"A /{deep}/f"


def test_as_many_directories_in_each_other_as_there_can_be(cli: Cli, env: dict[str, str], tmp_path: Path) -> None:
    """Those that are only in one image, and those that are in both."""
    deep = "d/" * 511
    trees: dict[str, list[dict[str, Content]]] = {
        "none": [{"f": b""}],
        "one": [{f"{deep}f": b""}],
        "two": [{f"{deep}g": b""}],
    }
    write_archive(tmp_path / "images.tar", trees)
    assert cli("load", "-q", "-i", str(tmp_path / "images.tar"), env=env).returncode == 0
    for base, expected in (("none", [f"A /{deep}f", "D /f"]), ("two", [f"A /{deep}f", f"D /{deep}g"])):
        done = cli("image", "diff", "localhost/one:1", f"localhost/{base}:1", env=env)
        assert done.stdout.splitlines()[-2:] == expected, done.stderr
        assert len(done.stdout.splitlines()) == 513


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("diff", "nothing"), "no such image: nothing"),
        (("diff",), "needs IMAGE"),
        (("mount", "nothing"), "no such image: nothing"),
        (("unmount", "nothing"), "no such image: nothing"),
        (("unmount",), "takes images, or --all"),
        (("unmount", "--all", "x"), "takes images, or --all"),
        (("unmount", "NAME"), "NAME is not mounted"),
    ],
)
def test_mistakes(root: Cli, filled: Registry, env: dict[str, str], words: tuple[str, ...], says: str) -> None:
    name = f"{filled.host}/box:1"
    assert root("pull", "-q", name, env=env).returncode == 0
    done = root("image", *(word.replace("NAME", name) for word in words), env=env)
    assert (done.returncode, done.stdout) == (1, "")
    first, *rest = done.stderr.splitlines()
    assert first.startswith("cloche: ")
    assert says.replace("NAME", name) in first
    assert all(line.startswith("  hint: ") for line in rest)


def test_mounted_as_it_is(root: Cli, filled: Registry, images: Images, env: dict[str, str]) -> None:
    """The same tree as another tool makes of it, which nobody can change, and whose programs give nobody power."""
    name = f"{filled.host}/changed:1"
    assert root("pull", "-q", name, env=env).returncode == 0
    place = root("image", "mount", name, env=env).stdout.rstrip("\n")
    try:
        assert look(place) == look(str(images.tree("changed")))
        assert os.stat(place).st_mode == images.tree("changed").stat().st_mode
        with pytest.raises(OSError, match="Read-only"):
            Path(place, "x").touch()
        line = next(line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f" {place} " in line)
        assert {"ro", "nosuid", "nodev"} <= set(line.split()[5].split(","))
    finally:
        assert root("image", "unmount", name, env=env).returncode == 0
    assert not os.path.exists(place)


def test_counted(root: Cli, filled: Registry, env: dict[str, str]) -> None:
    """As often as it is mounted it has to be unmounted, and is listed meanwhile."""
    name, other = f"{filled.host}/box:1", f"{filled.host}/changed:1"
    for each in (name, other):
        assert root("pull", "-q", each, env=env).returncode == 0
    assert root("image", "mount", env=env).stdout == ""
    first = root("image", "mount", name, env=env).stdout
    assert root("image", "mount", name, env=env).stdout == first
    both = root("image", "mount", name, other, env=env).stdout.splitlines()
    assert [line.split()[0] for line in both] == [name, other]
    assert both[0].split()[1] + "\n" == first
    identity = Path(first.strip()).parent.name
    for _ in range(2):
        assert root("image", "unmount", identity[:12], env=env).stdout == f"{identity}\n"
        assert os.listdir(first.strip())
    told = {each["id"]: each for each in json.loads(root("image", "mount", "--format", "json", env=env).stdout)}
    assert told[identity] == {"id": identity, "Repositories": [name], "mountpoint": first.strip()}
    assert root("image", "umount", name, env=env).returncode == 0
    assert not os.path.exists(first.strip())
    assert "is not mounted" in root("image", "unmount", name, env=env).stderr
    assert root("image", "unmount", "-a", env=env).returncode == 0
    assert root("image", "mount", env=env).stdout == ""
    assert len(root("image", "mount", "-a", env=env).stdout.splitlines()) == 2
    assert root("image", "unmount", "-a", env=env).stdout.count("\n") == 2


def test_somebody_is_in_there(root: Cli, filled: Registry, env: dict[str, str]) -> None:
    name = f"{filled.host}/box:1"
    assert root("pull", "-q", name, env=env).returncode == 0
    place = root("image", "mount", name, env=env).stdout.strip()
    assert root("image", "mount", name, env=env).returncode == 0
    assert root("image", "unmount", name, env=env).returncode == 0
    fd = os.open(place, os.O_RDONLY)
    try:
        done = root("image", "unmount", name, env=env)
        assert done.returncode == 1
        assert f"is in use at {place}" in done.stderr
        assert root("image", "mount", env=env).stdout.split()[1] == place
        assert root("image", "unmount", "-f", name, env=env).returncode == 0
        assert root("image", "mount", env=env).stdout == ""
    finally:
        os.close(fd)


def test_what_is_mounted_stays(root: Cli, filled: Registry, env: dict[str, str]) -> None:
    """No name is worth more than a mount: its layers are kept whoever removes the rest."""
    name, other = f"{filled.host}/changed:1", f"{filled.host}/box:1"
    for each in (name, other):
        assert root("pull", "-q", each, env=env).returncode == 0
    place = root("image", "mount", name, env=env).stdout.strip()
    refused = root("rmi", name, env=env)
    assert refused.returncode == 1
    assert f"{name} is mounted" in refused.stderr
    assert "cloche image unmount" in refused.stderr
    assert root("tag", other, name, env=env).returncode == 0  # now it has no name
    assert root("image", "prune", "-a", "-f", env=env).returncode == 0
    index = Path(env["CLOCHE_ROOT"], "index.json")
    before = index.read_text()
    assert len(json.loads(before)["manifests"]) == 1
    index.write_text(json.dumps({**json.loads(before), "manifests": []}))  # as one does who cannot see the mount
    assert root("image", "prune", "-f", env=env).returncode == 0
    assert Path(place, "root/new").read_text() == "new"
    assert Path(place, "bin/sh").exists()
    assert root("image", "unmount", Path(place).parent.name, env=env).returncode == 0
    assert not os.path.exists(place)
    assert root("image", "prune", "-f", env=env).returncode == 0
    assert os.listdir(Path(env["CLOCHE_ROOT"], "layers/sha256")) == []


def test_removed_by_force(root: Cli, filled: Registry, env: dict[str, str]) -> None:
    name = f"{filled.host}/box:1"
    assert root("pull", "-q", name, env=env).returncode == 0
    place = root("image", "mount", name, env=env).stdout.strip()
    assert root("rmi", "-f", name, env=env).returncode == 0
    assert not os.path.exists(place)
    assert os.listdir(Path(env["CLOCHE_ROOT"], "layers/sha256")) == []


def test_only_for_root(user: Cli, filled: Registry) -> None:
    name = f"{filled.host}/box:1"
    assert user("pull", "-q", name).returncode == 0
    assert user("image", "mount").stdout == ""
    done = user("image", "mount", name)
    assert done.returncode == 1
    first, hint = done.stderr.splitlines()
    assert first == "cloche: an ordinary user cannot mount: it would be seen in a namespace of its own alone"
    assert hint == f"  hint: look into it with: cloche run {name}; or take it out: cloche export {name}"
    shutil.rmtree(user.root)


def test_a_hundred_layers(root: Cli, env: dict[str, str], tmp_path: Path) -> None:
    """More than one option of a file system can name."""
    layers = [{f"f{number}": str(number).encode()} for number in range(100)]
    write_archive(tmp_path / "images.tar", {"many": [*layers, layers[0]]})
    assert root("load", "-q", "-i", str(tmp_path / "images.tar"), env=env).returncode == 0
    done = root("image", "mount", "localhost/many:1", env=env)
    assert done.returncode == 0, done.stderr
    assert len(os.listdir(done.stdout.strip())) == 100
    assert root("image", "unmount", "-a", env=env).returncode == 0
