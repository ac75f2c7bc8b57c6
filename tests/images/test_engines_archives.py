"""Archives of images, to and from docker, podman and skopeo: the same images, names and IDs on both sides."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cloche.errors import SpecError
from cloche.images import archives
from cloche.images.platforms import parse_platform
from cloche.images.store.layout import Layout
from tests.images.conftest import quietly
from tests.images.liar import CONFIG, INDEX, LAYER, MANIFEST, digest_of, tar_of

if TYPE_CHECKING:
    from tests.images.forks import Forks
    from tests.images.workshop import Workshop

NAMES = ("localhost/box:1", "box:2", "registry.example.com:5000/team/deep:3.0-rc_1")
DEEP = NAMES[2]


@pytest.fixture(scope="session")
def filled(workshop: Workshop) -> Workshop:
    """The room with an image under two names, and one made of it by docker; podman has the same."""
    change = "rm /etc/plain; echo new >/etc/new; ln /etc/new /etc/linked; chmod 4755 /bin/busybox"
    workshop.sh(
        f"docker tag localhost/box:1 box:2; docker run --name made --network none box:2 sh -c '{change}';"
        f'docker commit -c \'CMD ["cat", "/etc/linked"]\' made {DEEP}; docker save {" ".join(NAMES)} | podman load'
    )
    return workshop


def saved(store: Path) -> dict[str, str]:
    """The digests of a store's manifests by name."""
    listed = json.loads((store / "index.json").read_text())["manifests"]
    return {item["annotations"]["org.opencontainers.image.ref.name"]: item["digest"] for item in listed}


def blobs(store: Path) -> set[str]:
    return {f"sha256:{path.name}" for path in (store / "blobs/sha256").iterdir()}


def led_to(store: Path) -> set[str]:
    """What the index of a store leads to."""
    found = set()
    for digest in saved(store).values():
        manifest = json.loads((store / "blobs" / digest.replace(":", "/")).read_text())
        found |= {digest, manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])}
    return found


def test_docker_to_cloche(filled: Workshop) -> None:
    store = filled.store()
    said = filled.sh(f"docker save {' '.join(NAMES)} | cloche load", store)
    assert sorted(said.splitlines()) == sorted(f"Loaded image: {name}" for name in NAMES)
    assert filled.cloche_list(store) == filled.docker_list(*NAMES)
    assert filled.sh(f"cloche run {DEEP}", store) == "new"
    assert blobs(store) == led_to(store)


def test_cloche_to_docker(filled: Workshop) -> None:
    store, before = filled.store(), filled.docker_list(*NAMES)
    filled.sh(f"docker save {' '.join(NAMES)} | cloche load", store)
    said = filled.sh(
        f"docker rm made; docker rmi {' '.join(NAMES)} >&2; cloche save {' '.join(NAMES)} | docker load", store
    )
    assert f"Loaded image: {DEEP}" in said
    assert filled.docker_list(*NAMES) == before
    assert filled.sh(f"docker run --rm --network none {DEEP}") == "new"


@pytest.mark.parametrize("form", ["", "--format docker-archive", "--format oci-archive"])
def test_cloche_to_podman(filled: Workshop, form: str) -> None:
    """Names in full: one without a registry is docker.io's, where podman would take it for its own."""
    store = filled.store()
    said = filled.sh(
        f"docker save box:2 {DEEP} | cloche load >&2; podman rmi -if docker.io/library/box:2 {DEEP} >&2;"
        f"for name in box:2 {DEEP}; do cloche save {form} $name | podman load -q >&2; done;"
        "podman images --no-trunc --format '{{.Repository}}:{{.Tag}} {{.Id}}'",
        store,
    )
    ids = dict(line.split() for line in filled.docker_list(*NAMES))
    shown = [f"docker.io/library/box:2 {ids['box:2']}", f"{DEEP} {ids[DEEP]}"]
    assert {line.replace("sha256:", "") for line in shown} <= set(said.splitlines())
    assert filled.sh(f"podman run --rm {DEEP}") == "new"


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_podman_to_cloche(filled: Workshop, form: str) -> None:
    store = filled.store()
    several = f"-m {NAMES[0]} {DEEP}" if form == "docker-archive" else DEEP
    said = filled.sh(
        f"docker save {NAMES[0]} {DEEP} | podman load >&2; podman save --format {form} {several} | cloche load", store
    )
    assert f"Loaded image: {DEEP}" in said.splitlines()
    assert filled.sh(f"cloche run {DEEP}", store) == "new"
    assert blobs(store) == led_to(store)
    if form == "docker-archive":  # podman writes another config for the other
        assert set(filled.cloche_list(store)) <= set(filled.docker_list(*NAMES))
        assert len(said.splitlines()) == 2


def test_an_image_without_a_name(filled: Workshop) -> None:
    """By its ID an image is saved without its name, by docker and by cloche."""
    store, other = filled.store(), filled.store()
    image = dict(line.split() for line in filled.docker_list(*NAMES))[DEEP]
    assert filled.sh(f"docker save {image} | cloche load", store) == f"Loaded image ID: {image}"
    assert filled.cloche_list(store) == [f"<none>:<none> {image}"]
    assert filled.sh(f"docker save {DEEP} | cloche load >&2; cloche save {image[7:19]} | cloche load -q", other) == ""
    script = f"cloche save {image[7:19]} >one.tar; cloche rmi {DEEP} >&2; cloche load -i one.tar"
    assert filled.sh(script, other) == f"Loaded image ID: {image}"
    assert filled.cloche_list(other) == [f"<none>:<none> {image}"]
    before = filled.docker_list(*NAMES)
    assert filled.sh("docker load -i one.tar", other) == f"Loaded image ID: {image}"
    assert filled.docker_list(*NAMES) == before


@pytest.mark.parametrize("program", ["gzip", "zstd", "xz", "bzip2"])
def test_compressed(filled: Workshop, program: str) -> None:
    store = filled.store()
    assert filled.sh(f"docker save box:2 | {program} -1 | cloche load", store) == "Loaded image: box:2"


def test_cloche_to_cloche(filled: Workshop) -> None:
    """The same to the last byte, whichever form, and however often."""
    one, two = filled.store(), filled.store()
    filled.sh(f"docker save {' '.join(NAMES)} | cloche load", one)
    said = filled.sh(f"cloche save {' '.join(NAMES)} | CLOCHE_ROOT={two} cloche load", one)
    assert sorted(said.splitlines()) == sorted(f"Loaded image: {name}" for name in NAMES)
    assert saved(two) == saved(one)
    for form in ("-m", "--format oci-archive", "--format docker-archive"):
        again = f"cloche save {form} {' '.join(NAMES)} | tee again.tar | sha256sum"
        assert filled.sh(again, two) == filled.sh(again, one)
        three = filled.store()
        filled.sh("cloche load -i again.tar", three)
        assert filled.cloche_list(three) == filled.cloche_list(one)


def test_skopeo(filled: Workshop, tmp_path: Path) -> None:
    """Reads all that save writes, and the store itself; load takes what it writes."""
    store = filled.store()
    full = "docker.io/library/box:2"
    filled.sh(
        f"docker save box:2 {DEEP} | cloche load; cloche save -o both.tar box:2 {DEEP};"
        f"cloche save --format docker-archive -o docker.tar box:2 {DEEP};"
        f"cloche save --format oci-archive -o oci.tar box:2 {DEEP}",
        store,
    )
    top = filled.folder
    ids: list[str] = []
    for place in (
        "docker-archive:{}/both.tar:box:2",
        "docker-archive:{}/docker.tar:box:2",
        "oci-archive:{}/both.tar:2",
    ):
        quietly("skopeo", "copy", place.format(top), f"dir:{tmp_path}/{len(ids)}")
        ids.append(json.loads((tmp_path / f"{len(ids)}/manifest.json").read_text())["config"]["digest"])
    for place in (f"oci-archive:{top}/oci.tar:{full}", f"oci:{store}:{full}"):
        quietly("skopeo", "copy", place, f"dir:{tmp_path}/{len(ids)}")
        ids.append(json.loads((tmp_path / f"{len(ids)}/manifest.json").read_text())["config"]["digest"])
    assert len(ids) == 5
    assert set(ids) == {dict(line.split() for line in filled.docker_list(*NAMES))["box:2"]}
    for kind, file in (("docker-archive", "k1.tar"), ("oci-archive", "k2.tar")):
        quietly("skopeo", "copy", f"oci:{store}:{DEEP}", f"{kind}:{top}/{file}:quay.example.com/a/b:{file}")
        said = filled.sh(f"cloche load -i {file}", filled.store())
        assert said == f"Loaded image: quay.example.com/a/b:{file}"


# archives made by hand


def config_of(*layers: bytes, architecture: str = "") -> bytes:
    made = {
        "architecture": architecture or parse_platform("").architecture,
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]},
    }
    return json.dumps(made).encode()


def member(made: tarfile.TarFile, name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "") -> None:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, len(data), link
    made.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_an_older_docker_archive(quick: Forks, tmp_path: Path, kind: bytes) -> None:
    """A directory for each layer, of which one that is there twice is a link; config and list come last."""
    low, high = tar_of(low=b"1"), tar_of(high=b"2")
    config = config_of(low, high, low)
    listed = [{"Config": "abc.json", "RepoTags": ["old:1"], "Layers": [f"{name}/layer.tar" for name in "cba"]}]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name, layer in (("a", b""), ("b", high), ("c", low)):
            member(made, f"{name}/", kind=tarfile.DIRTYPE)
            member(made, f"{name}/VERSION", b"1.0")
            member(made, f"{name}/json", b"{}")
            if layer:
                member(made, f"{name}/layer.tar", layer)
            else:
                member(
                    made, "a/layer.tar", kind=kind, link="../c/layer.tar" if kind == tarfile.SYMTYPE else "c/layer.tar"
                )
        member(made, "abc.json", config)
        member(made, "manifest.json", json.dumps(listed).encode())
        member(made, "repositories", b'{"old":{"1":"b"}}')
    env = {"CLOCHE_ROOT": str(tmp_path / "store")}
    done = quick.fed("load", input=out.getvalue(), env=env)
    assert (done.stdout, done.stderr) == ("Loaded image: old:1\n", "")
    assert quick("images", "-q", "--no-trunc", env=env).stdout.strip() == digest_of(config)
    assert blobs(tmp_path / "store") == led_to(tmp_path / "store")


def layout(*images: tuple[str, bytes, bytes], **notes: str) -> dict[str, bytes]:
    """The files of an image layout with an index of images for (architecture, config, layer)."""
    found: dict[str, bytes] = {}

    def put(content: bytes, kind: str) -> dict[str, Any]:
        found["blobs/" + digest_of(content).replace(":", "/")] = content
        return {"mediaType": kind, "digest": digest_of(content), "size": len(content)}

    listed = []
    for architecture, config, layer in images:
        parts = {"config": put(config, CONFIG), "layers": [put(layer, LAYER.removesuffix("+gzip"))]}
        manifest = put(json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, **parts}).encode(), MANIFEST)
        listed.append({**manifest, "platform": {"os": "linux", "architecture": architecture}})
    index = put(json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}).encode(), INDEX)
    found["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [{**index, "annotations": notes}]}).encode()
    found["oci-layout"] = b'{"imageLayoutVersion": "1.0.0"}'
    return found


def platforms(*architectures: str, name: str = "many:1") -> dict[str, bytes]:
    made = []
    for architecture in architectures:
        layer = tar_of(arch=architecture.encode())
        made.append((architecture, config_of(layer, architecture=architecture), layer))
    return layout(*made, **{"io.containerd.image.name": name})


@pytest.mark.parametrize("flat", [False, True])
def test_several_platforms(quick: Forks, tmp_path: Path, flat: bool) -> None:
    """In an index, or in index.json itself; what is for others is not kept."""
    own = parse_platform("").architecture
    other = "s390x"
    found = platforms(other, own)
    if flat:
        top = json.loads(found["index.json"])["manifests"][0]
        index = json.loads(found["blobs/" + top["digest"].replace(":", "/")])
        found["index.json"] = json.dumps(
            {**index, "manifests": [{**item, "annotations": top["annotations"]} for item in index["manifests"]]}
        ).encode()
    for words, architecture in (((), own), (("--platform", f"linux/{other}"), other)):
        store = tmp_path / architecture
        done = quick.fed("load", *words, input=tar_of(**found), env={"CLOCHE_ROOT": str(store)})
        assert (done.stdout, done.stderr) == ("Loaded image: many:1\n", "")
        layers = list((store / "layers/sha256").glob("*/fs/arch"))
        assert [path.read_text() for path in layers] == [architecture]
        assert blobs(store) == led_to(store)
    done = quick.fed(
        "load", "--platform", "linux/arm/v7", input=tar_of(**found), env={"CLOCHE_ROOT": str(tmp_path / "none")}
    )
    assert done.returncode == 1
    assert "the archive has nothing for the platform linux/arm/v7" in done.stderr
    assert f"linux/{other}" in done.stderr
    assert blobs(tmp_path / "none") == set()


def test_what_an_index_names_need_not_be_there(quick: Forks, tmp_path: Path) -> None:
    """docker saves what it has of an image for several platforms, and what is said about it as one for none."""
    own = parse_platform("").architecture
    found = platforms("s390x", own)
    for name, content in list(found.items()):
        if b"s390x" in content and b'"rootfs"' in content:
            del found[name]
    gone = next(name for name, content in found.items() if content == tar_of(arch=b"s390x"))
    del found[gone]
    for name, content in list(found.items()):
        if name.startswith("blobs") and gone.rpartition("/")[2].encode() in content:
            del found[name]
    env = {"CLOCHE_ROOT": str(tmp_path)}
    done = quick.fed("load", input=tar_of(**found), env=env)
    assert (done.stdout, done.stderr) == ("Loaded image: many:1\n", "")
    done = quick.fed("load", "--platform", "linux/s390x", input=tar_of(**found), env=env)
    assert done.returncode == 1
    assert f"nothing for the platform linux/s390x\n  hint: there is linux/{own}" in done.stderr


def test_the_platform_asked_for_is_that_of_the_image(quick: Forks, tmp_path: Path) -> None:
    layer = tar_of(file=b"x")
    listed = [{"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["l"]}]
    archive = tar_of(
        **{"c.json": config_of(layer, architecture="s390x"), "l": layer, "manifest.json": json.dumps(listed).encode()}
    )
    env = {"CLOCHE_ROOT": str(tmp_path)}
    done = quick.fed("load", "--platform", "linux/arm64", input=archive, env=env)
    assert done.returncode == 1
    assert "a:1 has nothing for the platform linux/arm64" in done.stderr
    assert "linux/s390x" in done.stderr
    assert quick.fed("load", input=archive, env=env).returncode == 0
    assert quick.fed("load", "--platform", "linux/s390x", input=archive, env=env).returncode == 0


def test_a_name_with_the_digest_of_something_else(quick: Forks, tmp_path: Path) -> None:
    """Nobody can put an image in the place of one that is named by its digest."""
    good = f"debian@sha256:{hashlib.sha256(b'x').hexdigest()}"
    own = parse_platform("").architecture
    env = {"CLOCHE_ROOT": str(tmp_path)}
    for archive in (
        platforms(own, name=good),
        {
            "c": config_of(tar_of(a=b"1")),
            "l": tar_of(a=b"1"),
            "manifest.json": json.dumps([{"Config": "c", "RepoTags": [good], "Layers": ["l"]}]).encode(),
        },
    ):
        done = quick.fed("load", input=tar_of(**archive), env=env)
        assert re.match(r"Loaded image ID: sha256:[0-9a-f]{64}\n$", done.stdout), done.stderr
    assert quick("run", "--rm", "--pull", "never", good, "x", env=env).returncode == 125
    index = digest_of(next(c for n, c in platforms(own).items() if n.startswith("blobs") and b'"manifests"' in c))
    done = quick.fed("load", input=tar_of(**platforms(own, name=f"debian@{index}")), env=env)
    assert done.stdout == f"Loaded image: debian@{index}\n", done.stderr


@pytest.mark.parametrize(
    ("contents", "says"),
    [
        ({"repositories": b"{}", "a/layer.tar": b"x"}, "of a docker before 1.10"),
        ({"a": b"x"}, "neither index.json nor manifest.json"),
        ({"manifest.json": b"[{}]", "a": b"x"}, "makes no sense"),
        ({"manifest.json": b'[{"Config": "c", "Layers": []}]'}, "lacks 'c'"),
        ({"index.json": b"{}", "a": b"x"}, "manifest that is none"),
    ],
)
def test_what_is_no_good_leaves_nothing(quick: Forks, tmp_path: Path, contents: dict[str, bytes], says: str) -> None:
    done = quick.fed("load", input=tar_of(**contents), env={"CLOCHE_ROOT": str(tmp_path)})
    assert done.returncode == 1
    assert says in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert blobs(tmp_path) == set()
    assert list((tmp_path / "incoming").iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "count", "length", "says"),
    [
        (tarfile.REGTYPE, 12, 0, None),
        (tarfile.REGTYPE, 30, 0, "more than 20 files"),
        (tarfile.DIRTYPE, 30, 0, "more than 20 files"),
        (tarfile.SYMTYPE, 15, 3_000, "names of more than"),
    ],
)
def test_how_much_of_little_an_archive_may_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: bytes, count: int, length: int, says: str | None
) -> None:
    """Each file is counted, though it has the name of the last one; what is kept of links has an end."""
    monkeypatch.setattr(archives, "MOST_FILES", 20)
    monkeypatch.setattr(archives, "MOST_NAMES", 1 << 15)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as made:
        for number in range(count):
            data = b"%d" % number if kind == tarfile.REGTYPE else b""
            member(made, "same", data, kind, "l" * length)
    out.seek(0)
    store = Layout(str(tmp_path))
    store.make()
    with pytest.raises(SpecError, match=says or "neither index.json nor"):
        archives.take_in(store, out.read, None)


def test_mistakes(quick: Forks, tmp_path: Path) -> None:
    done = quick("load", "-i", str(tmp_path))
    assert "is a directory, not an archive" in done.stderr
    done = quick("load", "-i", str(tmp_path / "none"))
    assert "cannot be read: No such file" in done.stderr
    done = quick("save", "--format", "zip", "x")
    assert "--format is oci-archive or docker-archive" in done.stderr
    done = quick("save", "nothing:1", "-o", str(tmp_path / "x"), env={"CLOCHE_ROOT": str(tmp_path / "store")})
    assert "no such image: nothing:1" in done.stderr
    assert not (tmp_path / "x").exists()
