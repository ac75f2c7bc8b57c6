"""What registries, images and archives say of themselves reaches a terminal as words, whichever verb prints it."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.images.liar import INDEX, MANIFEST, Liar, digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Cli
    from tests.images.liar import Handler

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e"
CONFIG = {
    "author": EVIL,
    "created": "2020-01-01T00:00:00Z",
    "config": {"Cmd": ["/file", EVIL], "Labels": {EVIL: EVIL}, "Env": [f"A={EVIL}"]},
    "history": [{"created_by": EVIL, "comment": EVIL, "author": EVIL}],
}


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "registries.conf").write_text("")
    return {
        "CLOCHE_ROOT": str(tmp_path / "store"),
        "REGISTRY_AUTH_FILE": str(tmp_path / "auth.json"),
        "CONTAINERS_REGISTRIES_CONF": str(tmp_path / "registries.conf"),
    }


@pytest.fixture
def liar() -> Iterator[Liar]:
    """app:1 is an image, app:list an index of it, app:other one for no machine; sent keeps nothing."""
    with Liar(config=CONFIG) as made:
        made.document["annotations"] = {EVIL: EVIL}
        image = made.manifest
        for tag, platform in (("list", {"os": "linux", "architecture": "amd64"}), ("other", {"os": EVIL})):
            content = index_of(image, {"architecture": EVIL, "variant": EVIL, "os.features": [EVIL], **platform})
            made.replies[f"/v2/app/manifests/{tag}"] = gives(content, INDEX)
        made.replies[f"/v2/app/manifests/{digest_of(image)}"] = gives(image, MANIFEST)
        made.replies["/v2/app/tags/list"] = gives(json.dumps({"tags": ["1", "list"]}).encode(), "application/json")
        results = [{"name": EVIL, "description": EVIL}]
        made.replies["/v1/search"] = gives(json.dumps({"results": results}).encode(), "application/json")
        said = json.dumps({"errors": [{"code": EVIL, "message": EVIL}]}).encode()
        made.replies["/v2/app/manifests/refused"] = lambda request: request.give(403, said)
        made.replies["/v2/sent/blobs/uploads/"] = lambda request: request.give(202, Location="/up")
        made.replies["*"] = lambda request: takes(made, request)
        yield made


def gives(content: bytes, kind: str) -> Any:
    return lambda request: request.give(200, content, Content_Type=kind)


def takes(liar: Liar, request: Handler) -> None:
    if request.command in {"PUT", "PATCH"}:
        request.body()
        request.give(201)
    elif "/sent/" in request.path:
        request.give(404)
    else:
        liar.answer(request)


def index_of(image: bytes, platform: dict[str, Any]) -> bytes:
    entry = {
        "mediaType": MANIFEST,
        "digest": digest_of(image),
        "size": len(image),
        "platform": platform,
        "annotations": {EVIL: EVIL},
    }
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}).encode()


def said(cli: Cli, env: dict[str, str], *words: str) -> str:
    """What a verb prints, none of which steers a terminal."""
    done = cli(*words, env=env)
    text = done.stdout + done.stderr
    assert "Traceback" not in text
    odd = {character for character in text.replace("\n", "").replace("\t", "") if not character.isprintable()}
    assert not odd, f"{words}: {text!r}"
    return text


def test_words_of_a_registry(cli: Cli, env: dict[str, str], liar: Liar) -> None:
    where = f"{liar.host}/app"
    assert "owned" in said(cli, env, "pull", f"{where}:other")
    assert "owned" in said(cli, env, "pull", f"{where}:refused")
    assert "owned" in said(cli, env, "search", f"{liar.host}/x")
    assert "owned" in said(cli, env, "search", "--no-trunc", "--format", "{{.Name}} {{.Description}}", f"{liar.host}/x")
    assert "Status: Downloaded" in said(cli, env, "pull", "--all-tags", where)
    assert "owned" in said(cli, env, "manifest", "inspect", f"docker://{where}:list")
    assert "owned" in said(cli, env, "manifest", "inspect", "--verbose", f"docker://{where}:list")


def test_words_of_a_list(cli: Cli, env: dict[str, str], liar: Liar) -> None:
    assert "Created" in said(cli, env, "manifest", "create", "--all", "mine", f"docker://{liar.host}/app:list")
    assert "owned" in said(cli, env, "manifest", "inspect", "mine")
    assert "owned" in said(cli, env, "manifest", "push", "mine", f"docker://{liar.host}/sent:1")


def test_words_of_an_image(cli: Cli, env: dict[str, str], liar: Liar) -> None:
    where = f"{liar.host}/app:1"
    assert "Status: Downloaded" in said(cli, env, "pull", where)
    assert "owned" in said(cli, env, "history", "--no-trunc", where)
    assert "owned" in said(cli, env, "history", "--format", "{{.CreatedBy}} {{.Comment}}", where)
    assert "owned" in said(cli, env, "images", "--format", "{{.Labels}}")
    assert "owned" in said(cli, env, "images", "--format", "json")
    assert "owned" in said(cli, env, "image", "inspect", where)
    assert "owned" in said(cli, env, "image", "inspect", "--format", "{{.Author}} {{.Config.Cmd}}", where)
    assert "Image ID" in said(cli, env, "image", "tree", where)


def test_words_of_an_archive(cli: Cli, env: dict[str, str], tmp_path: Path) -> None:
    members: tuple[dict[str, Any], ...] = ({"RepoTags": [f"a{EVIL}:1"]}, {"Config": EVIL}, {"Layers": [EVIL]})
    for number, member in enumerate(members):
        listing = [{"Config": "config.json", "RepoTags": ["localhost/a:1"], "Layers": ["layer.tar"], **member}]
        files = {"layer.tar": b"", "config.json": b"{}", "manifest.json": json.dumps(listing).encode()}
        place = tmp_path / f"{number}.tar"
        with tarfile.open(place, "w") as tar:
            for name, content in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        assert said(cli, env, "load", "-i", str(place))
