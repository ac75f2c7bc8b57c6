"""What a pull asks for, how many layers are unpacked at once, and what lists remember."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloche.errors import NotFoundError
from cloche.images import listing, local
from cloche.images.store import names
from cloche.images.store.layout import Layout
from tests.images.conftest import busybox, quietly
from tests.images.liar import INDEX, MANIFEST, Liar, digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Cli
    from tests.images.conftest import Images, Registry

TAG = "/v2/app/manifests/1"
PATIENCE = 60


@pytest.fixture
def store(cli: Cli) -> Iterator[Path]:
    shutil.rmtree(cli.root, ignore_errors=True)  # another test's
    yield Path(cli.root)
    shutil.rmtree(cli.root)


@pytest.mark.usefixtures("store")
def test_a_second_pull_is_one_request(cli: Cli) -> None:
    with Liar() as liar:
        assert cli("pull", "-q", liar.name).returncode == 0
        assert [path for path, _ in liar.asked][:1] == [TAG]
        assert len(liar.asked) == 3
        liar.asked.clear()
        assert "is up to date" in cli("pull", liar.name).stdout
        assert [path for path, _ in liar.asked] == [TAG]


@pytest.mark.usefixtures("store")
def test_of_an_index_as_well(cli: Cli) -> None:
    with Liar() as liar:
        item = {"mediaType": MANIFEST, "digest": digest_of(liar.manifest), "size": len(liar.manifest)}
        others = [{**item, "digest": digest_of(b"x"), "platform": {"os": "linux", "architecture": "s390x"}}]
        own = {**item, "platform": {"os": "linux", "architecture": "amd64"}}
        index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [*others, own]}).encode()
        liar.replies[TAG] = lambda request: request.give(200, index)
        platform = ("--platform", "linux/amd64")
        assert cli("pull", "-q", *platform, liar.name).returncode == 0
        assert len(liar.asked) == 4
        liar.asked.clear()
        assert "is up to date" in cli("pull", *platform, liar.name).stdout
        assert [path for path, _ in liar.asked] == [TAG]


@pytest.mark.parametrize("verb", ["pull", "load"])
def test_a_layer_waits_for_no_other(
    cli: Cli, store: Path, images: Images, registry: Registry, tmp_path: Path, verb: str
) -> None:
    """While somebody else holds the lowest one, those above it are unpacked; `load` begins with the lowest."""
    if not (images.top / "tower").exists():
        (images.top / "tower").touch()
        images.make("tower", busybox, *(lambda root, i=i: (root / f"file{i}").write_text("x") for i in range(3)))
    name, archive = f"{registry.host}/tower:1", str(tmp_path / "tower.tar")
    source = f"oci:{images.layout}:tower"
    if verb == "pull":
        quietly("skopeo", "copy", "--dest-tls-verify=false", source, f"docker://{name}")
    else:
        quietly("skopeo", "copy", source, f"docker-archive:{archive}:{name}")
    Layout(str(store)).make()
    diff_ids = json.loads(images_config(images, "tower"))["rootfs"]["diff_ids"]
    held = store / f"incoming/{diff_ids[0].replace(':', '-')}.d.lock"
    with held.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        child = cli.popen(*(("pull", "-q", name) if verb == "pull" else ("load", "-q", "-i", archive)))
        try:
            above = [store / "layers" / diff_id.replace(":", "/") for diff_id in diff_ids[1:]]
            deadline = time.monotonic() + PATIENCE
            while not all(place.exists() for place in above):
                assert child.poll() is None
                assert time.monotonic() < deadline, "the layers above wait for the lowest"
                time.sleep(0.05)
            assert not (store / "layers" / diff_ids[0].replace(":", "/")).exists()
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)
            assert child.wait(PATIENCE) == 0
    assert cli("run", "--rm", name, "cat", "/file2").stdout == "x"


def images_config(images: Images, name: str) -> str:
    layout = Layout(str(images.layout))
    index = json.loads((images.layout / "index.json").read_text())["manifests"]
    entry = next(item for item in index if item["annotations"]["org.opencontainers.image.ref.name"] == name)
    manifest = json.loads(layout.read(entry["digest"], 1 << 20))
    return layout.read(manifest["config"]["digest"], 1 << 20).decode()


def test_what_lists_remember(cli: Cli, store: Path, filled: Registry) -> None:
    """The same with it and without it; and it is not believed of what is gone, nor when it is broken."""
    name = f"{filled.host}/box:1"
    assert cli("pull", "-q", name).returncode == 0
    layout = Layout(str(store))
    first = listing.rows(layout)
    known = store / "summaries.json"
    content = known.read_text()
    assert listing.rows(layout) == first
    changed = json.loads(content)
    (digest,) = changed
    changed[digest][2] = 4242
    known.write_text(json.dumps(changed))
    assert [row.size for row in listing.rows(layout)] == [4242]  # it is read indeed
    for broken in ("", "{", "[]", '{"sha256:1": 5}', json.dumps({digest: [1, 2, 3, 4]})):
        known.write_text(broken)
        assert listing.rows(layout) == first
    assert known.read_text() == content
    os.unlink(layout.blob(first[0].id))
    assert listing.rows(layout) == []
    assert not known.exists()


def test_a_name_that_is_taken_away_is_not_found_again(cli: Cli, store: Path, filled: Registry) -> None:
    """The image that was found last is remembered by a program, for as long as no name changes."""
    name = f"{filled.host}/box:1"
    assert cli("pull", "-q", name).returncode == 0
    layout = Layout(str(store))
    found = local.find(layout, name)
    assert local.find(layout, name) is found
    names.put(layout, names.Entry("docker.io/library/other:1", names.entries(layout)[0].manifest))
    assert local.find(layout, name) is not found
    names.take(layout, name)
    with pytest.raises(NotFoundError):
        local.find(layout, name)
