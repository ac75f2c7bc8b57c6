"""Files of images that docker and podman have made and pushed, and of ours: entry by entry the same everywhere."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.images.conftest import SECRET
from tests.images.rich import CHANGE, LONG, rich, sparse
from tests.images.workshop import GUARDED, REGISTRY

if TYPE_CHECKING:
    from tests.images.workshop import Workshop

TOP = Path(__file__).parents[2]
LOOK = "from tests.images.whole import look; import sys; print(*look(sys.argv[1]), sep='\\n')"
GRAPH = "{{with .GraphDriver.Data}}{{.UpperDir}}{{if .LowerDir}}:{{.LowerDir}}{{end}}{{end}}"


@pytest.fixture(scope="session")
def made(workshop: Workshop) -> Workshop:
    """Images of docker's and podman's, of several layers: in the registry, the latter compressed in two ways."""
    context = workshop.folder / "context"
    context.mkdir()
    rich(context / "rich.tar")
    sparse(context / "sparse.tar", workshop.folder)
    (context / "change").write_text(CHANGE)
    (context / "Dockerfile").write_text(
        "FROM scratch\nADD rich.tar /\nADD sparse.tar /\nADD change /bin/change\nRUN sh /bin/change\nRUN rm /made/y\n"
    )
    push = f"{REGISTRY}/podman"
    workshop.sh(
        f"docker import context/rich.tar {REGISTRY}/docker:1;"
        f"docker run --name changed --network none {REGISTRY}/docker:1"
        f" sh -c '{CHANGE}'; docker commit changed {REGISTRY}/docker:2; docker push -q {REGISTRY}/docker:1;"
        f"docker push -q {REGISTRY}/docker:2;"
        f"podman build -q --isolation=chroot --layers -t {push}:gzip {workshop.folder}/context;"
        f"podman push -q --tls-verify=false {push}:gzip;"
        "rm -f /var/lib/containers/cache/blob-info-cache-v1.boltdb;"  # or it takes the other's layers
        f"podman push -q --tls-verify=false --compression-format zstd:chunked {push}:gzip {push}:chunked"
    )
    return workshop


def tree(workshop: Workshop, place: str) -> list[str]:
    """All there is to know of the files below a directory, or of an overlay of directories."""
    mounted = workshop.store()
    mounted.mkdir()
    seen = "userxattr," if "/layers/sha256/" in place else ""  # what our layers say to overlayfs
    script = f"cd {TOP}; " + (
        f"mount -t overlay overlay -o ro,{seen}lowerdir='{place}' {mounted}; trap 'umount {mounted}' EXIT;"
        if ":" in place
        else ""
    )
    where = mounted if ":" in place else place
    return workshop.sh(f'{script} {sys.executable} -B -c "{LOOK}" {where}').splitlines()


def document(store: Path, digest: str) -> dict[str, Any]:
    """A blob of a store."""
    found: dict[str, Any] = json.loads((store / "blobs" / digest.replace(":", "/")).read_text())
    return found


def manifest(store: Path, name: str) -> dict[str, Any]:
    """The manifest of an image."""
    listed = json.loads((store / "index.json").read_text())["manifests"]
    named = {entry["annotations"]["org.opencontainers.image.ref.name"]: entry["digest"] for entry in listed}
    return document(store, named[name])


def layers(store: Path, name: str) -> str:
    """The layers of an image in a store, as overlayfs takes them."""
    config = document(store, manifest(store, name)["config"]["digest"])
    return ":".join(f"{store}/layers/{item.replace(':', '/')}/fs" for item in reversed(config["rootfs"]["diff_ids"]))


def umoci(workshop: Workshop, name: str) -> list[str]:
    """The files as umoci unpacks them."""
    place = workshop.store()
    workshop.sh(
        f"skopeo copy -q --src-tls-verify=false docker://{name} oci:{place}:x;"
        f"umoci unpack --image {place}:x {place}/bundle"
    )
    return tree(workshop, f"{place}/bundle/rootfs")


@pytest.mark.parametrize("tag", ["1", "2"])
def test_docker(made: Workshop, tag: str) -> None:
    store, name = made.store(), f"{REGISTRY}/docker:{tag}"
    made.sh(f"cloche pull -q {name}", store)
    ours = tree(made, layers(store, name))
    theirs = tree(made, made.sh(f"docker image inspect --format '{GRAPH}' {name}"))
    assert sorted(set(ours) ^ set(theirs)) == []
    assert any(LONG in line for line in ours)
    # as one tar: by GNU's tar, and by docker
    place = made.store()
    place.mkdir()
    made.sh(
        f"cloche export {name} | tee whole.tar | tar --xattrs --xattrs-include='*' -xpC {place};"
        f"docker import whole.tar whole:{tag}",
        store,
    )
    counted = {"two"} if tag == "2" else set()
    assert {line.split("'")[1] for line in set(tree(made, str(place))) ^ set(theirs)} == counted
    imported = tree(made, made.sh(f"docker image inspect --format '{GRAPH}' whole:{tag}"))
    assert {line.split("'")[1] for line in set(imported) ^ set(theirs)} == counted
    assert made.cloche_list(store) == made.docker_list(name)


@pytest.mark.parametrize("tag", ["gzip", "chunked"])
def test_podman(made: Workshop, tag: str) -> None:
    store, name = made.store(), f"{REGISTRY}/podman:{tag}"
    made.sh(f"cloche pull -q {name}", store)
    ours = tree(made, layers(store, name))
    mounted = made.sh(f"podman image mount {REGISTRY}/podman:gzip")
    theirs = tree(made, mounted)
    assert sorted(set(ours) ^ set(theirs)) == []
    kinds = {layer["mediaType"].rpartition("+")[2] for layer in manifest(store, name)["layers"]}
    assert kinds == {"gzip" if tag == "gzip" else "zstd"}


@pytest.mark.parametrize(("name", "counted"), [("docker:2", {"two"}), ("podman:gzip", {"two", "made/deep/x"})])
def test_umoci(made: Workshop, name: str, counted: set[str]) -> None:
    """But for the other name of a file that a higher layer has removed, which overlayfs counts."""
    store, full = made.store(), f"{REGISTRY}/{name}"
    made.sh(f"cloche pull -q {full}", store)
    ours, theirs = set(tree(made, layers(store, full))), set(umoci(made, full))
    assert {line.split("'")[1] for line in ours ^ theirs} == counted


@pytest.mark.parametrize("source", ["docker:2", "podman:chunked"])
def test_pushed_back(made: Workshop, source: str) -> None:
    """What cloche sends is what docker and podman fetch and run."""
    store, name = made.store(), f"{REGISTRY}/cloche:{source.partition(':')[2]}"
    made.sh(f"cloche pull -q {REGISTRY}/{source}; cloche tag {REGISTRY}/{source} {name}; cloche push -q {name}", store)
    script = "cat /swept/new; stat -c %u:%g:%a /owned /suid; ls /gone"
    shown = "new\n7:8:644\n1000:1001:6755"
    assert made.sh(f"cloche run {name} sh -c '{script}'", store) == shown
    assert made.sh(f"podman pull -q --tls-verify=false {name} >&2; podman run --rm {name} sh -c '{script}'") == shown
    ours = tree(made, layers(store, name))
    assert ours == tree(made, made.sh(f"podman image mount {name}"))
    if source.startswith("docker"):  # which does not know zstd
        made.sh(f"docker pull -q {name}")
        assert made.sh(f"docker run --rm --network none {name} sh -c '{script}'") == shown
        assert ours == tree(made, made.sh(f"docker image inspect --format '{GRAPH}' {name}"))


def test_a_registry_with_a_password(workshop: Workshop) -> None:
    """Filled by docker and podman, each with its own login, of which cloche knows both."""
    workshop.guard(SECRET)
    workshop.sh("podman load -i $PWD/box.tar")
    store = workshop.store()
    for program in ("docker", "podman"):
        name = f"{GUARDED}/{program}:1"
        with pytest.raises(AssertionError, match="hint: cloche login"):
            workshop.sh(f"cloche pull {name}", store)
        workshop.sh(
            f"{program} tag localhost/box:1 {name}; echo secret | {program} login -u ana --password-stdin {GUARDED};"
            f"{program} push -q {name}; cloche pull -q {name}; {program} logout {GUARDED}",
            store,
        )
    # and the other way
    name = f"{GUARDED}/cloche:1"
    workshop.sh(
        f"cloche tag {GUARDED}/docker:1 {name}; echo secret | cloche login -u ana --password-stdin {GUARDED};"
        f"cloche push -q {name}; podman pull -q {name}; cloche logout {GUARDED}",
        store,
    )
