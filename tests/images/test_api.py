"""`cloche.images` for a program: the same image in every place there is, read, copied, unpacked, and lied about."""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import cloche
from cloche import images as api
from cloche.cli.images.files import writing
from cloche.images.digests import sha256
from cloche.images.store import appearing
from tests.images.whole import look

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from tests.conftest import Cli
    from tests.images.conftest import Images, Registry
    from tests.images.workshop import Workshop


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty store for this process."""
    monkeypatch.setenv("CLOCHE_ROOT", str(tmp_path / "store"))
    yield tmp_path / "store"
    shutil.rmtree(tmp_path / "store", ignore_errors=True)


def test_random_images_are_the_same_for_the_same_seed() -> None:
    digests = {api.Image(api.random_image(seed=seed), "").digest for seed in (1, 1, 2)}
    assert len(digests) == 2
    image = api.Image(api.random_image(layers=5, files=2, size=10), "latest")
    assert [len(layer.chunks().__next__()) > 0 for layer in image.layers] == [True] * 5
    assert image.id == sha256(image.config_bytes)


@pytest.mark.usefixtures("store")
def test_an_image_is_the_same_wherever_it_is_copied(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = api.Image(api.random_image(seed=7), "")
    digest = first.digest
    name = f"{registry.host}/random:7"
    for place in (
        f"docker://{name}",
        "oci:layout:7",
        f"oci-archive:a.tar:{name}",
        f"docker-archive:b.tar:{name}",
        name,
    ):
        assert api.copy(first, place) == digest
        again = api.open_image(place)
        assert (again.digest, again.id) == (digest, first.id), place
        assert [b"".join(layer.tar()) for layer in again.layers] == [b"".join(layer.tar()) for layer in first.layers]
    assert [row.name for row in api.list_images()] == [name]
    # read by another tool as well
    done = subprocess.run(["skopeo", "inspect", "--raw", "oci:layout:7"], capture_output=True, check=True)
    assert sha256(done.stdout) == digest
    # from one place to another, without the store
    api.copy("oci:layout:7", "oci-archive:c.tar:x/y:1")
    assert api.open_image("oci-archive:c.tar").digest == digest


def test_pull_inspect_tag_save_load_remove(store: Path, filled: Registry) -> None:
    name = f"{filled.host}/changed:1"
    image = api.pull(name)
    told = api.inspect(name)
    assert told["Id"] == image.id
    assert told["RepoTags"] == [name]
    assert told["Config"]["Env"] == ["WHO=box"]
    assert image.config.config is not None
    assert image.config.config.Cmd == ["/bin/sh"]
    api.tag(name, "other:2")
    out = io.BytesIO()
    api.save(["other:2"], out)
    api.remove("other:2")
    api.remove(name)
    assert api.list_images() == []
    assert not list((store / "blobs/sha256").iterdir())
    with pytest.raises(cloche.NotFoundError, match="no such image"):
        api.remove(name)
    out.seek(0)
    (loaded,) = api.load(out)
    assert (loaded.name, loaded.id) == ("docker.io/library/other:2", image.id)
    assert cloche.run(["sh", "-c", "cat /root/new"], image="other:2").stdout == "new"


def test_unpack_is_what_umoci_makes(images: Images, tmp_path: Path) -> None:
    image = api.open_image(f"oci:{images.layout}:changed")
    image.unpack(tmp_path / "tree")
    if os.geteuid() == 0:
        assert look(str(tmp_path / "tree")) == look(str(images.tree("changed")))
    assert not (tmp_path / "tree/bin/nc").exists()
    with pytest.raises(cloche.ConflictError, match="not empty"):
        image.unpack(tmp_path / "tree")


def test_what_a_layer_hides_is_gone_and_what_it_has_itself_stays(tmp_path: Path) -> None:
    place = _layered(
        {"a/old": "1", "a/sub/x": "1", "b": "1", "c/1": "1", "c/2": "1", "d/deep/1": "1"},
        {"a/new": "2", "a/.wh..wh..opq": "", ".wh.b": "", "c/2": "2", ".wh.c": "", "d/.wh.deep": "", "d/deep/2": "2"},
    )
    api.Image(place, "").unpack(tmp_path / "tree")
    found = sorted(
        str(path.relative_to(tmp_path / "tree")) for path in (tmp_path / "tree").rglob("*") if path.is_file()
    )
    assert found == ["a/new", "c/2", "d/deep/2"]


def _layered(*layers: dict[str, str], modes: dict[str, int] | None = None) -> api.MemoryPlace:
    """An image with these files in its layers, and these directories in the first of them."""
    from cloche.spec.image import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST
    from cloche.spec.reader import write_json

    place = api.MemoryPlace("made")
    tars = []
    for layer in layers:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for name, mode in (modes or {}).items() if layer is layers[0] else ():
                info = tarfile.TarInfo(name)
                info.type, info.mode = tarfile.DIRTYPE, mode
                tar.addfile(info)
            for name, content in layer.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content.encode()))
        tars.append(out.getvalue())
    rootfs = {"type": "layers", "diff_ids": [sha256(tar) for tar in tars]}
    config = place.add(write_json({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).encode(), OCI_CONFIG)
    made = {"schemaVersion": 2, "config": config, "layers": [place.add(tar, OCI_LAYER) for tar in tars]}
    place.push_manifest("1", write_json(made).encode(), OCI_MANIFEST)
    return place


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("lie", ["another", "shorter", "longer", "gone"])
def test_a_source_is_not_trusted(tmp_path: Path, lie: str) -> None:
    place = api.random_image()
    image = api.Image(place, "")
    digest = image.layers[1].digest
    good = place.blobs[digest]
    wrong = {"another": bytes(len(good)), "shorter": good[:-1], "longer": good + b"x", "gone": b""}[lie]
    if lie == "gone":
        del place.blobs[digest]
    else:
        place.blobs[digest] = wrong
    for to in ("oci:" + str(tmp_path / "to"), "lied:1"):
        with pytest.raises((cloche.RegistryError, cloche.NotFoundError), match=digest):
            api.copy(image, to)
    assert api.list_images() == []
    with pytest.raises((cloche.RegistryError, cloche.NotFoundError), match=digest):
        image.unpack(tmp_path / "tree")
    assert os.listdir(tmp_path / "tree") == []


def test_a_layer_that_unfolds_to_something_else_is_refused(tmp_path: Path) -> None:
    place = _layered({"a": "1"})
    image = api.Image(place, "")
    image.config.rootfs.diff_ids[0] = sha256(b"other")
    with pytest.raises(cloche.RegistryError, match="unfolds to"):
        image.unpack(tmp_path / "tree")
    assert os.listdir(tmp_path / "tree") == []


@pytest.mark.parametrize(
    ("where", "error", "says"),
    [
        ("nope:1", cloche.NotFoundError, "no such image"),
        ("oci:/nowhere", cloche.NotFoundError, "no image layout"),
        ("oci-archive:/nowhere.tar", cloche.NotFoundError, "cannot be read"),
        ("docker-daemon:nope", cloche.NotFoundError, "no docker daemon answers"),
        ("oci:", cloche.SpecError, "names nothing"),
        ("docker://127.0.0.1:9/x", cloche.RegistryError, "cannot be reached"),
    ],
)
def test_what_is_not_there_is_said(
    store: Path, monkeypatch: pytest.MonkeyPatch, where: str, error: type[Exception], says: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{store}/none.sock")
    with pytest.raises(error, match=says):
        api.open_image(where)


def test_pull_takes_images_from_other_places(cli: Cli, images: Images, tmp_path: Path) -> None:
    env = {"CLOCHE_ROOT": str(tmp_path / "store")}
    done = cli("pull", f"oci:{images.layout}:changed", env=env)
    assert (done.returncode, done.stdout) == (0, "docker.io/library/changed:latest\n"), done.stderr
    assert cli("save", "-o", f"{tmp_path}/a.tar", "changed", env=env).returncode == 0
    assert cli("rmi", "changed", env=env).returncode == 0
    done = cli("pull", f"docker-archive:{tmp_path}/a.tar", env=env)
    assert (done.returncode, done.stdout) == (0, "docker.io/library/changed:latest\n"), done.stderr
    assert cli("run", "--rm", "changed", "cat", "/root/new", env=env).stdout == "new"
    for place in (f"oci:{tmp_path}", f"oci-archive:{tmp_path}/none.tar", f"oci:{images.layout}:nope"):
        done = cli("pull", place, env=env)
        assert done.returncode == 1
        assert done.stderr.startswith("cloche: ")


def test_the_docker_daemon_is_a_place(workshop: Workshop, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{workshop.docker.socket}")
    first = api.Image(api.random_image(seed=11), "")
    api.copy(first, "docker-daemon:random:11")
    assert any(line.startswith("random:11 ") and first.id in line for line in workshop.docker_list())
    again = api.open_image("docker-daemon:random:11")
    assert again.id == first.id
    assert [layer.diff_id for layer in again.layers] == [layer.diff_id for layer in first.layers]
    assert api.pull("docker-daemon:random:11").id == first.id
    assert [row.name for row in api.list_images()] == ["docker.io/library/random:11"]
    with pytest.raises(cloche.NotFoundError, match="has no image nope"):
        api.open_image("docker-daemon:nope")
    assert store.exists()


def test_what_one_id_cannot_have_is_said(fresh: Cli, images: Images, tmp_path: Path) -> None:
    def owned(root: Path) -> None:
        (root / "f").write_text("")
        os.chown(root / "f", 1000, 1000)

    if os.geteuid() == 0:
        where = images.make(f"owned-{fresh.kind}", owned)
        archive = tmp_path / "owned.tar"
        subprocess.run(["skopeo", "copy", "-q", where, f"oci-archive:{archive}:owned:1"], check=True)
        done = fresh("load", input=archive.read_bytes())
        assert done.returncode == 0, done.stderr
        told = fresh("image", "inspect", "-f", "{{range .Unpacked}}{{json .LeftOut}}{{end}}", "owned:1").stdout
        if fresh.kind == "user":
            assert done.stderr.startswith("note: 1 files belong to you and not to their owners")
            assert told == '{"owners":1}\n'
        else:
            assert (done.stderr, told) == ("", "{}\n")


def test_a_directory_of_a_lower_layer_may_be_closed(tmp_path: Path) -> None:
    """As an ordinary user, to whom modes apply; and nothing of it stays where a later layer is no good."""
    place = _layered({"usr/bin/sh": "1"}, {"usr/bin/more": "2"}, modes={"usr/": 0o555, "usr/bin/": 0o555})
    bad = _layered({"usr/bin/sh": "1"}, {"usr/bin/../../../x": "2"}, modes={"usr/": 0o555, "usr/bin/": 0o555})
    for name, source in (("good", place), ("bad", bad)):
        api.copy(api.Image(source, ""), f"oci:{tmp_path}/{name}:1")
    program = (
        "import sys, os; sys.path.insert(0, sys.argv[1]); os.setgroups([]) if os.getuid() == 0 else None\n"
        "if os.getuid() == 0: os.setgid(1500); os.setuid(1500)\n"
        "from cloche import images, ClocheError\n"
        "images.open_image(f'oci:{sys.argv[2]}/good:1').unpack(f'{sys.argv[3]}/tree')\n"
        "try: images.open_image(f'oci:{sys.argv[2]}/bad:1').unpack(f'{sys.argv[3]}/none')\n"
        "except ClocheError as error: print(type(error).__name__, os.listdir(f'{sys.argv[3]}/none'))\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        shutil.copytree(tmp_path, f"{folder}/in")
        for top, names, _ in os.walk(folder):
            for name in names:
                os.chmod(f"{top}/{name}", 0o755)
        package = Path(cloche.__file__).parents[1]
        shutil.copytree(package, f"{folder}/src", ignore=shutil.ignore_patterns("__pycache__"))
        words = [sys.executable, "-B", "-c", program, f"{folder}/src", f"{folder}/in", folder]
        done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=folder)
        assert (done.returncode, done.stdout) == (0, "RegistryError []\n"), done.stderr
        assert Path(f"{folder}/tree/usr/bin/more").read_text() == "2"
        assert os.stat(f"{folder}/tree/usr/bin").st_mode & 0o777 == 0o555


def test_layers_over_each_other_are_what_the_store_has(tmp_path: Path) -> None:
    """A file becomes a directory; what is hidden while others are kept open."""
    place = _layered(
        {"a": "1", "d/own/old": "1", "d/zzz": "1", "d/aaa/x": "1", "d/b": "1"},
        {"a/b": "2", "d/own/mine": "2", "d/.wh..wh..opq": "", "d/own/last": "2"},
    )
    api.Image(place, "").unpack(tmp_path / "tree")
    files = [path for path in (tmp_path / "tree").rglob("*") if path.is_file()]
    assert sorted(str(path.relative_to(tmp_path / "tree")) for path in files) == ["a/b", "d/own/last", "d/own/mine"]


def test_nobody_looks_into_a_directory_before_it_is_whole(tmp_path: Path) -> None:
    place = _layered({"h/f": "1"}, {"h/g": "2"}, modes={"h/": 0o777})
    image = api.Image(place, "")
    seen: list[int] = []
    inner = place.blob

    def blob(digest: str, offset: int = 0) -> tuple[IO[bytes], int]:
        if (tmp_path / "tree").exists():
            seen.append((tmp_path / "tree").stat().st_mode & 0o777)
        return inner(digest, offset)

    place.blob = blob  # type: ignore[method-assign]
    image.unpack(tmp_path / "tree")
    assert seen[-2:] == [0o700, 0o700]
    assert (tmp_path / "tree").stat().st_mode & 0o777 == 0o755


@pytest.mark.usefixtures("store")
def test_a_name_with_a_digest_is_that_of_what_has_it(tmp_path: Path) -> None:
    """Nobody can put an image in the place of one that is named by its digest: not who made it, and not by mistake."""
    image = api.Image(api.random_image(), "")
    other = f"docker.io/library/debian@{sha256(b'x')}"
    for name, expected in ((other, ""), (f"{other.partition('@')[0]}@{image.digest}", "debian@" + image.digest)):
        shutil.rmtree(tmp_path / "made", ignore_errors=True)
        api.copy(image, f"oci:{tmp_path}/made:1")
        index = tmp_path / "made/index.json"
        index.write_text(index.read_text().replace('"1"', f'"{name}"'))
        assert api.pull(f"oci:{tmp_path}/made").id == image.id
        assert [row.name for row in api.list_images()] == [expected and f"docker.io/library/{expected}"]
    with pytest.raises(cloche.SpecError, match="has a digest"):
        api.tag(image.id, other)
    with pytest.raises(cloche.SpecError, match="has a digest"):
        api.copy(image, other)
    api.copy(image, f"oci:{tmp_path}/lies:1")
    (blob,) = [
        path for path in (tmp_path / "lies/blobs/sha256").iterdir() if path.name == image.digest.partition(":")[2]
    ]
    blob.write_bytes(blob.read_bytes() + b" ")
    with pytest.raises(cloche.RegistryError):
        api.open_image(f"oci:{tmp_path}/lies")


def test_what_stands_where_a_file_is_to_be_made_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appearing, "unique", lambda path: path)
    theirs = tmp_path / "a.tar.new"
    theirs.write_text("theirs")
    with pytest.raises(cloche.ForbiddenError, match="File exists"), writing(f"{tmp_path}/a.tar"):
        pass
    with pytest.raises(cloche.ForbiddenError, match="File exists"):
        api.copy(api.Image(api.random_image(), ""), f"oci-archive:{tmp_path}/a.tar:x/y:1")
    assert theirs.read_text() == "theirs"
    theirs.unlink()
    with pytest.raises(KeyError), writing(f"{tmp_path}/a.tar"):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_what_is_read_of_an_archive_goes_with_who_reads_it(cli: Cli, tmp_path: Path) -> None:
    """Killed while a pipe is read: nothing is left but in the store, where rmi removes it, and not before."""
    (tmp_path / "tmp").mkdir()
    os.mkfifo(tmp_path / "pipe")
    env = {"CLOCHE_ROOT": str(tmp_path / "store"), "TMPDIR": str(tmp_path / "tmp")}
    incoming = tmp_path / "store/incoming"
    child = cli.popen("pull", f"oci-archive:{tmp_path}/pipe", env=env)
    with (tmp_path / "pipe").open("wb") as pipe:  # opened by the other side as well
        info = tarfile.TarInfo("a")
        info.size = 1 << 20
        pipe.write(info.tobuf() + bytes(1 << 19))
        pipe.flush()
        assert os.listdir(tmp_path / "tmp") == []
        before = sorted(os.listdir(incoming))
        assert len(before) == 2
        assert cli("rmi", "-f", "nope", env=env).returncode == 0
        assert sorted(os.listdir(incoming)) == before
        child.terminate()
        assert child.wait(60) != 0
    assert os.listdir(tmp_path / "tmp") == []
    assert cli("rmi", "-f", "nope", env=env).returncode == 0
    assert os.listdir(incoming) == []
    api.copy(api.Image(api.random_image(), ""), f"oci-archive:{tmp_path}/a.tar:x/y:1")
    assert cli("pull", f"oci-archive:{tmp_path}/a.tar", env=env).returncode == 0
    assert os.listdir(incoming) == os.listdir(tmp_path / "tmp") == []


@pytest.mark.parametrize(
    "answer",
    [
        "Content-Length: 99999\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n3e8\r\n",
        "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_a_daemon_that_breaks_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/socket")

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(f"HTTP/1.1 200 OK\r\n{answer}".encode() + bytes(300))

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{tmp_path}/socket")
        listening.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(cloche.RegistryError, match="daemon breaks off in box"):
            api.open_image("docker-daemon:box")
        thread.join()


def test_a_daemon_that_has_no_path_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    with pytest.raises(cloche.UnsupportedError, match=r"DOCKER_HOST=tcp://127\.0\.0\.1:9"):
        api.open_image("docker-daemon:box")
