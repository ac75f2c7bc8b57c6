"""Lists of images for several platforms: made, changed, sent, read by others; and all tags of a repository at once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from base64 import b64decode
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cloche import images as api
from cloche.errors import ConflictError, RegistryError
from cloche.images.fetching import Access
from cloche.images.gathering import gather
from cloche.images.platforms import own_platform
from cloche.images.store.layout import Layout
from cloche.spec.image import OCI_INDEX, OCI_MANIFEST
from tests.images.conftest import Images, Registry, quietly
from tests.images.liar import Liar, digest_of
from tests.images.test_registry_api import artifact, at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Cli

OWN = own_platform().architecture
OTHER = "arm" if OWN == "arm64" else "386"  # whose programs run here as well


@pytest.fixture(scope="module")
def several(filled: Registry, images: Images) -> Registry:
    """The registry with own:1 and other:1, images of one layer and of two, for this machine and for another."""
    for name, architecture, base in (("own", OWN, "box"), ("other", OTHER, "changed")):
        where = images.make(name, config=("--architecture", architecture), base=base)
        send(where, filled, f"{name}:1")
    return filled


def send(where: str, registry: Registry, name: str, *more: str) -> None:
    quietly("skopeo", "copy", "--dest-tls-verify=false", *more, where, f"docker://{registry.host}/{name}")


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """A store of the test's own."""
    return {"CLOCHE_ROOT": str(tmp_path / "store"), "REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")}


def raw_of(registry: Registry, name: str) -> dict[str, Any]:
    """What skopeo finds under a name."""
    words = ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{registry.host}/{name}"]
    found = json.loads(subprocess.run(words, capture_output=True, check=True, timeout=60).stdout)
    assert isinstance(found, dict)
    return found


def platforms(raw: dict[str, Any]) -> list[str]:
    return [f"{item['platform']['os']}/{item['platform']['architecture']}" for item in raw["manifests"]]


@pytest.fixture
def podman(several: Registry) -> Iterator[Callable[..., str]]:
    """podman with a store of its own, which takes the registry without TLS; what it prints."""
    top = tempfile.mkdtemp(prefix="pod-")  # it wants short names
    Path(top, "registries.conf").write_text(f'[[registry]]\nlocation = "{several.host}"\ninsecure = true\n')
    words = ["podman", "--root", f"{top}/root", "--runroot", f"{top}/run", "--storage-driver", "vfs"]

    def run(*more: str) -> str:
        env = {**os.environ, "CONTAINERS_REGISTRIES_CONF": f"{top}/registries.conf"}
        done = subprocess.run([*words, *more], capture_output=True, check=False, text=True, timeout=60, env=env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    yield run
    shutil.rmtree(top)


def blobs(env: dict[str, str]) -> set[str]:
    return {path.name for path in Path(env["CLOCHE_ROOT"], "blobs/sha256").iterdir()}


def test_a_list_of_what_registries_have(
    cli: Cli, several: Registry, podman: Callable[..., str], env: dict[str, str], tmp_path: Path
) -> None:
    """Made without any layer; pushed by mounting; read by podman and skopeo; pulled for each platform."""
    name = f"{several.host}/made/{os.getpid()}:1"
    sources = [f"{several.host}/own:1", f"{several.host}/other:1"]
    done = cli("manifest", "create", name, *sources, env=env)
    assert done.stdout == f"Created manifest list {name}\n", done.stderr
    assert len(blobs(env)) == 5  # two manifests, two configs and the list
    shown = json.loads(cli("manifest", "inspect", name, env=env).stdout)
    assert platforms(shown) == [f"linux/{OWN}", f"linux/{OTHER}"]
    done = cli("manifest", "push", name, env=env)
    assert done.returncode == 0, done.stderr
    assert len(blobs(env)) == 5
    assert done.stdout == f"{several.digest(name.split('/', 1)[1].removesuffix(':1'), '1')}\n"
    path = name.split("/", 1)[1]
    assert raw_of(several, path) == shown
    assert platforms(json.loads(podman("manifest", "inspect", name))) == platforms(shown)
    quietly("skopeo", "copy", "--all", "--src-tls-verify=false", f"docker://{name}", f"dir:{tmp_path}/copy")
    again = cli("manifest", "push", name, env=env)
    assert again.stderr.count("Already exists") == 2
    shutil.rmtree(env["CLOCHE_ROOT"])
    assert cli("pull", "-q", "--platform", OTHER, name, env=env).returncode == 0
    assert len(json.loads(cli("image", "inspect", name, env=env).stdout)[0]["RootFS"]["Layers"]) == 2
    assert cli("run", "--rm", name, "cat", "/etc/passwd", env=env).returncode == 0


def test_a_list_goes_to_another_registry(cli: Cli, several: Registry, guarded: Registry, env: dict[str, str]) -> None:
    """What no store here has is fetched, and sent on; the password of the one is not for the other."""
    name = f"{guarded.host}/made/{os.getpid()}:1"
    Path(env["REGISTRY_AUTH_FILE"]).write_text("{}")
    done = cli("manifest", "create", "app:1", f"{several.host}/own:1", f"docker://{several.host}/other:1", env=env)
    assert done.returncode == 0, done.stderr
    access = ("--creds", "ana:secret", "--insecure")
    done = cli("manifest", "push", "-q", "--purge", *access, "app:1", f"docker://{name}", env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("sha256:")
    assert done.stderr == ""
    assert cli("images", "-q", env=env).stdout == ""
    assert blobs(env) == set()
    shutil.rmtree(env["CLOCHE_ROOT"])
    for architecture in (OWN, OTHER):
        words = ("pull", "-q", "--creds", "ana:secret", "--platform", architecture, name)
        assert cli(*words, env=env).returncode == 0


def test_the_password_of_one_registry_is_not_for_another(cli: Cli, guarded: Registry, env: dict[str, str]) -> None:
    """Where something has to be fetched for a push, --creds are for the registry that is pushed to."""
    Path(env["REGISTRY_AUTH_FILE"]).write_text("{}")
    with Liar() as liar:
        assert cli("manifest", "create", "app:1", liar.name, env=env).returncode == 0
        liar.replies[liar.layer_path] = lambda request: request.give(401, WWW_Authenticate='Basic realm="x"')
        words = ("manifest", "push", "--creds", "ana:secret", "--insecure", "app:1")
        done = cli(*words, f"{guarded.host}/made/{os.getpid()}:2", env=env)
        assert done.returncode == 1
        assert f"{liar.host} does not let us have" in done.stderr
        assert liar.layer_path in [path for path, _ in liar.asked]
        assert not any("Authorization" in headers for _, headers in liar.asked)


def test_a_list_of_what_is_here(cli: Cli, several: Registry, env: dict[str, str]) -> None:
    """It is listed, runs, is kept by what is removed, and removed itself."""
    for name, platform in (("own", OWN), ("other", OTHER)):
        assert cli("pull", "-q", "--platform", platform, f"{several.host}/{name}:1", env=env).returncode == 0
    own, other = f"{several.host}/own:1", f"{several.host}/other:1"
    assert cli("manifest", "create", "--amend", "both:1", own, env=env).returncode == 0
    taken = cli("manifest", "create", "both:1", other, env=env)
    assert taken.returncode == 1
    assert "both:1 is there already" in taken.stderr
    assert cli("manifest", "create", "-a", "both:1", other, env=env).returncode == 0
    assert cli("rmi", own, other, env=env).returncode == 0
    heading, line = cli("images", env=env).stdout.splitlines()
    assert heading.split()[0] == "REPOSITORY"
    assert line.split()[:2] == ["both", "1"]
    assert line.split()[-1] != "0B"
    assert cli("run", "--rm", "both:1", "sh", "-c", "echo $WHO", env=env).stdout == "box\n"
    assert cli("run", "--rm", "--platform", f"linux/{OTHER}", "both:1", "cat", "/root/new", env=env).stdout == "new"
    assert cli("manifest", "create", "less:1", "both:1", env=env).returncode == 0
    absent = cli("run", "--rm", "--platform", f"linux/{OTHER}", "less:1", "true", env=env)
    assert absent.returncode == 125
    assert f"has nothing for the platform linux/{OTHER}" in absent.stderr
    for text in cli("images", "-q", env=env).stdout.split():
        assert cli("rmi", text, env=env).returncode == 0
    assert blobs(env) == set()
    assert not list(Path(env["CLOCHE_ROOT"], "layers/sha256").iterdir())


def test_a_list_that_is_not_whole_does_not_run(cli: Cli, several: Registry, env: dict[str, str]) -> None:
    """The image it was made from is named; once that is here, the list runs."""
    own = f"{several.host}/own:1"
    assert cli("manifest", "create", "thin:1", own, env=env).returncode == 0
    assert cli("manifest", "create", "-a", "thin:1", f"{several.host}/other:1", env=env).returncode == 0
    assert cli("manifest", "annotate", "--annotation", "a=b", "thin:1", own, env=env).returncode == 0
    done = cli("run", "--rm", "thin:1", "true", env=env)
    assert done.returncode == 125
    assert "is not unpacked" in done.stderr
    assert f"hint: cloche pull {own}" in done.stderr
    assert cli("save", "-o", "/dev/null", "thin:1", env=env).returncode == 1
    assert cli("pull", "-q", own, env=env).returncode == 0
    assert cli("run", "--rm", "thin:1", "true", env=env).returncode == 0


def test_a_list_saved_and_loaded(cli: Cli, several: Registry, env: dict[str, str], tmp_path: Path) -> None:
    """With all of its images, for skopeo; `load` takes this machine's."""
    for name, platform in (("own", OWN), ("other", OTHER)):
        assert cli("pull", "-q", "--platform", platform, f"{several.host}/{name}:1", env=env).returncode == 0
    words = ("manifest", "create", "both:1", f"{several.host}/own:1", f"{several.host}/other:1")
    assert cli(*words, env=env).returncode == 0
    path = tmp_path / "both.tar"
    assert cli("save", "-o", str(path), "both:1", env=env).returncode == 0
    quietly("tar", "-C", tmp_path, "--one-top-level=both", "-xf", path)
    assert "cloche" not in (tmp_path / "both/index.json").read_text()
    quietly("skopeo", "copy", "--all", f"oci:{tmp_path}/both:1", f"dir:{tmp_path}/copy")
    assert len(list((tmp_path / "copy").glob("*.manifest.json"))) == 2
    assert cli("save", "--format", "docker-archive", "-o", str(path), "both:1", env=env).returncode == 0
    quietly("skopeo", "copy", f"docker-archive:{path}", f"dir:{tmp_path}/own")
    env["CLOCHE_ROOT"] = str(tmp_path / "other")
    assert cli("load", input=path.read_bytes(), env=env).stdout == "Loaded image: both:1\n"
    assert cli("run", "--rm", "both:1", "sh", "-c", "echo $WHO", env=env).stdout == "box\n"


def test_what_a_list_says(cli: Cli, several: Registry, env: dict[str, str]) -> None:
    other = f"{several.host}/other:1"
    assert cli("manifest", "create", "said:1", env=env).returncode == 0
    assert json.loads(cli("manifest", "inspect", "said:1", env=env).stdout)["manifests"] == []
    done = cli("manifest", "add", "--variant", "v9", "--annotation", "a=b=c", "said:1", other, env=env)
    digest = done.stdout.strip()
    assert digest == several.digest("other", "1"), done.stderr
    assert (
        cli("manifest", "annotate", "--arch", "arm", "--os-features", "x,y", "said:1", other, env=env).returncode == 0
    )
    assert cli("manifest", "annotate", "--os-version", "7", "said:1", digest, env=env).returncode == 0
    (item,) = json.loads(cli("manifest", "inspect", "said:1", env=env).stdout)["manifests"]
    expected = {"os": "linux", "architecture": "arm", "variant": "v9", "os.features": ["x", "y"], "os.version": "7"}
    assert item["platform"] == expected
    assert item["annotations"] == {"a": "b=c"}
    nothing = cli("manifest", "annotate", "said:1", digest, env=env)
    assert "nothing is said about the image" in nothing.stderr
    missing = cli("manifest", "annotate", "--arch", "arm", "said:1", "sha256:" + "0" * 64, env=env)
    assert "is not in" in missing.stderr
    assert cli("manifest", "exists", "said:1", env=env).returncode == 0
    assert cli("manifest", "add", "said:1", f"{several.host}/own:1", env=env).returncode == 0
    assert cli("manifest", "remove", "said:1", f"{several.host}/own:1", env=env).returncode == 0
    assert json.loads(cli("manifest", "inspect", "said:1", env=env).stdout)["manifests"] == [item]
    assert len(blobs(env)) == 3
    assert cli("tag", "said:1", "more:1", env=env).returncode == 0
    assert cli("manifest", "rm", "said:1", "said:1", "none:1", env=env).returncode == 1
    done = cli("manifest", "exists", "said:1", env=env)
    assert (done.returncode, done.stderr) == (1, "")
    assert blobs(env)
    assert cli("manifest", "rm", "more:1", env=env).stdout == "Untagged: more:1\n"
    assert blobs(env) == set()


def test_an_index_of_podman(cli: Cli, several: Registry, podman: Callable[..., str], env: dict[str, str]) -> None:
    """Pulled by platform; put into a list as a whole, or as this machine's image."""
    name = f"{several.host}/theirs/{os.getpid()}:1"
    podman("manifest", "create", "theirs")
    for image in ("own", "other"):
        podman("manifest", "add", "theirs", f"docker://{several.host}/{image}:1")
    podman("manifest", "push", "--all", "theirs", f"docker://{name}")
    assert cli("pull", "-q", "--platform", OTHER, name, env=env).returncode == 0
    assert cli("run", "--rm", "--platform", OTHER, "--pull", "never", name, "cat", "/root/new", env=env).stdout == "new"
    for words, found in (((), [f"linux/{OWN}"]), (("--all",), [f"linux/{OWN}", f"linux/{OTHER}"])):
        made = f"made{len(words)}:1"
        assert cli("manifest", "create", *words, made, f"docker://{name}", env=env).returncode == 0
        assert platforms(json.loads(cli("manifest", "inspect", made, env=env).stdout)) == found
    assert platforms(json.loads(cli("manifest", "inspect", name, env=env).stdout)) == [f"linux/{OWN}", f"linux/{OTHER}"]


def test_as_any_user(fresh: Cli, several: Registry) -> None:
    own, name = f"{several.host}/own:1", f"{several.host}/any/{os.getpid()}:1"
    assert fresh("manifest", "create", name, own, f"{several.host}/other:1").returncode == 0
    assert fresh("pull", "-q", own).returncode == 0
    assert fresh("rmi", own).returncode == 0
    assert fresh("run", "--rm", name, "sh", "-c", "echo $WHO").stdout == "box\n"
    assert fresh("manifest", "push", "-pq", name).returncode == 0
    assert len(raw_of(several, name.split("/", 1)[1])["manifests"]) == 2
    assert fresh("images", "-q").stdout == ""
    assert not list(Path(fresh.root, "layers/sha256").iterdir())


def test_from_python(cli: Cli, several: Registry, env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A list goes with all its images, or nowhere."""
    name = f"{several.host}/python/{os.getpid()}:1"
    assert (
        cli("manifest", "create", name, *(f"{several.host}/{n}:1" for n in ("own", "other")), env=env).returncode == 0
    )
    monkeypatch.setenv("CLOCHE_ROOT", env["CLOCHE_ROOT"])
    assert api.push(name) == several.digest(name.split("/", 1)[1].removesuffix(":1"), "1")
    assert platforms(raw_of(several, name.split("/", 1)[1])) == [f"linux/{OWN}", f"linux/{OTHER}"]
    with pytest.raises(ConflictError, match="is a list of images"):
        api.push(name, "oci:somewhere")
    api.remove(name)
    assert blobs(env) == set()


def test_at_length(cli: Cli, several: Registry, env: dict[str, str]) -> None:
    """As docker has it: an object for an image, a list of them for a list, here or in a registry."""
    name = f"{several.host}/own:1"
    one = json.loads(cli("manifest", "inspect", "-v", name, env=env).stdout)
    assert one["Ref"] == name
    assert one["Descriptor"]["digest"] == several.digest("own", "1")
    assert one["Descriptor"]["platform"] == {"architecture": OWN, "os": "linux"}
    assert digest_of(b64decode(one["Raw"])) == one["Descriptor"]["digest"]
    assert one["OCIManifest"] == json.loads(b64decode(one["Raw"]))
    listed = f"{several.host}/length:1"
    assert cli("manifest", "create", listed, name, env=env).returncode == 0
    here = json.loads(cli("manifest", "inspect", "-v", listed, env=env).stdout)
    assert here == [{**one, "Ref": f"{listed}@{one['Descriptor']['digest']}"}]
    assert cli("manifest", "push", "-q", listed, env=env).returncode == 0
    assert json.loads(cli("manifest", "inspect", "-v", f"docker://{listed}", env=env).stdout) == here


def test_an_index_without_end(several: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry that lists thousands is not gone along with."""
    layout = Layout(str(tmp_path / "store"))
    layout.make()
    repository = at(several.host, "endless")
    items = []
    for number in range(3):
        digest, content = artifact(repository, f"application/vnd.test.{number}")
        items.append({"mediaType": OCI_MANIFEST, "digest": digest, "size": len(content)})
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": items}).encode()
    repository.push_manifest("1", index, OCI_INDEX)
    monkeypatch.setattr("cloche.images.gathering.MOST", 3)
    assert len(gather(layout, f"{several.host}/endless:1", Access(), everything=True)) == 3
    monkeypatch.setattr("cloche.images.gathering.MOST", 2)
    with pytest.raises(RegistryError, match="more than 2 images"):
        gather(layout, f"{several.host}/endless:1", Access(), everything=True)


def test_a_list_of_dockers_images_is_dockers(cli: Cli, filled: Registry, images: Images, env: dict[str, str]) -> None:
    send(f"oci:{images.layout}:box", filled, "dockers:1", "--format", "v2s2")
    assert cli("manifest", "create", "list:1", f"{filled.host}/dockers:1", env=env).returncode == 0
    kind = json.loads(cli("manifest", "inspect", "list:1", env=env).stdout)["mediaType"]
    assert kind == "application/vnd.docker.distribution.manifest.list.v2+json"
    assert cli("push", "-q", "list:1", env=env).returncode == 1  # docker.io is blocked here
    assert cli("tag", "list:1", f"{filled.host}/dockers:list", env=env).returncode == 0
    assert cli("push", "-q", f"{filled.host}/dockers:list", env=env).returncode == 0
    assert raw_of(filled, "dockers:list")["mediaType"] == kind


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("manifest", "inspect", "localhost:1/x"), "cannot be reached"),
        (("manifest", "add", "nothing:1", "x"), "no such list: nothing:1"),
        (("manifest", "push", "nothing:1"), "no such list: nothing:1"),
        (("manifest", "rm", "nothing:1"), "no such list: nothing:1"),
        (("manifest", "annotate", "--arch", "x", "nothing:1", "y"), "no such list: nothing:1"),
        (("manifest", "create", "a b"), "invalid reference format"),
        (("manifest", "create", "x", "localhost:1/x"), "cannot be reached"),
        (("manifest", "create", "--insecure", "--tls-verify=true", "x", "y"), "contradict"),
        (("manifest", "add", "--annotation", "x", "y", "z"), "--annotation"),
        (("manifest", "create"), "LIST"),
        (("manifest", "what"), "unknown verb"),
        (("pull", "-a", "x:1"), "is one image"),
        (("push", "-a", "x:1"), "is one image"),
        (("push", "-a", "x"), "no image of x is here"),
    ],
)
def test_mistakes(cli: Cli, env: dict[str, str], words: tuple[str, ...], says: str) -> None:
    done = cli(*words, env=env)
    assert done.returncode == 1
    first, *rest = done.stderr.splitlines()
    assert first.startswith("cloche: ")
    assert says in first, done.stderr
    assert all(line.startswith("  hint: ") for line in rest)


def test_an_image_is_no_list(cli: Cli, filled: Registry, env: dict[str, str]) -> None:
    name = f"{filled.host}/box:1"
    assert cli("pull", "-q", name, env=env).returncode == 0
    for words in (("add", name, name), ("push", name), ("rm", name), ("create", "--amend", name)):
        done = cli("manifest", *words, env=env)
        assert done.returncode == 1, words
        assert "is an image, not a list" in done.stderr or "is there already" in done.stderr
    assert cli("run", "--rm", name, "true", env=env).returncode == 0


def test_all_tags(cli: Cli, filled: Registry, images: Images, env: dict[str, str]) -> None:
    """Pulled and pushed; lists of referrers are none of them, and what is no image fails by itself."""
    path = f"tags/{os.getpid()}"
    for name, tag in (("box", "a"), ("changed", "b"), ("box", digest_of(b"").replace(":", "-"))):
        send(f"oci:{images.layout}:{name}", filled, f"{path}:{tag}")
    done = cli("pull", "-a", f"{filled.host}/{path}", env=env)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line for line in lines if "Pulling from" in line] == [
        f"{tag}: Pulling from {filled.host}/{path}" for tag in "ab"
    ]
    assert lines[-2:] == [f"Status: Downloaded newer image for {filled.host}/{path}", f"{filled.host}/{path}"]
    assert len(cli("images", "-q", env=env).stdout.split()) == 2
    for tag in "ab":
        assert cli("tag", f"{filled.host}/{path}:{tag}", f"{filled.host}/{path}/new:{tag}", env=env).returncode == 0
    done = cli("push", "-a", f"{filled.host}/{path}/new", env=env)
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[0] for line in done.stdout.splitlines() if ": digest: " in line] == ["a", "b"]
    assert filled.digest(f"{path}/new", "b") == filled.digest("changed", "1")
    repository = at(filled.host, path)
    _, content = artifact(repository, "application/vnd.test.note")
    repository.push_manifest("Z", content, OCI_MANIFEST)  # before a and b
    done = cli("pull", "-aq", f"{filled.host}/{path}", env=env)
    assert done.returncode == 1
    assert done.stdout == "".join(f"{filled.host}/{path}:{tag}\n" for tag in "ab")
    assert len(done.stderr.splitlines()) == 1
    assert cli("pull", "-a", f"{filled.host}/{path}/none", env=env).returncode == 1
