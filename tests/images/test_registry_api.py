"""The client of registries by itself: against docker's registry, and one in memory that speaks all of version 1.1."""

from __future__ import annotations

import io
import json
import os
from typing import TYPE_CHECKING

import pytest

from cloche.errors import NotFoundError, RegistryError, UnsupportedError
from cloche.images.references import is_path
from cloche.images.registry.auth import Login
from cloche.images.registry.client import Repository
from cloche.images.registry.pages import catalog, next_of
from cloche.images.registry.referrers import fallback_tag, is_fallback_tag
from cloche.images.registry.transport import Transport, Trust, UnreachableError
from cloche.spec.image import OCI_INDEX, OCI_MANIFEST
from tests.images.conftest import quietly
from tests.images.liar import Liar, digest_of
from tests.images.modern import Modern

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.images.conftest import Images, Registry
    from tests.images.liar import Handler

EMPTY = b"{}"
SIGNATURE, NOTE = "application/vnd.test.signature", "application/vnd.test.note"
RANDOM = os.urandom(300_000)


def at(host: str, path: str, login: Login | None = None, scheme: str = "http") -> Repository:
    return Repository(Transport(Trust(verify=False)), f"{scheme}://{host}", path, login)


def artifact(repository: Repository, kind: str, subject: bytes = b"", **annotations: str) -> tuple[str, bytes]:
    """A manifest of almost nothing is pushed, with a subject if there is one; returns digest and content."""
    repository.push_blob(digest_of(EMPTY), len(EMPTY), io.BytesIO(EMPTY))
    part = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest_of(EMPTY), "size": len(EMPTY)}
    raw = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": kind,
        "config": part,
        "layers": [part],
        "annotations": annotations,
    }
    if subject:
        raw["subject"] = {"mediaType": OCI_MANIFEST, "digest": digest_of(subject), "size": len(subject)}
    content = json.dumps(raw).encode()
    return repository.push_manifest(digest_of(content), content, OCI_MANIFEST), content


@pytest.fixture(params=["docker's", "docker's with TLS and a password", "with referrers", "with referrers, unfiltered"])
def repository(request: pytest.FixtureRequest) -> Repository:
    name = f"api/{os.urandom(4).hex()}"
    if request.param == "docker's":
        return at(request.getfixturevalue("registry").host, name)
    if request.param.startswith("docker"):
        return at(request.getfixturevalue("guarded").host, name, Login("ana", "secret"), "https")
    made = request.getfixturevalue("modern")
    made.filters = "unfiltered" not in request.param
    return at(made.host, name)


@pytest.fixture
def modern() -> Iterator[Modern]:
    with Modern() as made:
        yield made


def test_what_refers_to_an_image(repository: Repository) -> None:
    """By the registry's list or by the tag of it: the same answers, also after one was deleted."""
    _, image = artifact(repository, "application/vnd.test.image")
    assert repository.referrers(digest_of(image)) == []
    signature, _ = artifact(repository, SIGNATURE, image, by="ana")
    note, content = artifact(repository, NOTE, image)
    repository.push_manifest(note, content, OCI_MANIFEST)  # a second time: no second entry
    found = repository.referrers(digest_of(image))
    assert sorted((item.digest, item.artifactType) for item in found) == sorted([(signature, SIGNATURE), (note, NOTE)])
    assert [item.digest for item in repository.referrers(digest_of(image), SIGNATURE)] == [signature]
    assert repository.referrers(digest_of(image), "application/vnd.test.other") == []
    repository.delete_manifest(signature)
    assert [item.digest for item in repository.referrers(digest_of(image))] == [note]
    kept = "127.0.0.1" in repository.host and fallback_tag(digest_of(image)) in repository.tags()
    assert kept == (not _keeps_a_list(repository))


def _keeps_a_list(repository: Repository) -> bool:
    from cloche.images.registry.referrers import listed

    return listed(repository.session, repository.path, digest_of(b""), "", "") is not None


def test_the_tag_that_lists_is_as_specified(registry: Registry) -> None:
    """skopeo reads it as an index; annotations of the manifest are copied."""
    repository = at(registry.host, "api/tagged")
    _, image = artifact(repository, "application/vnd.test.image")
    signature, content = artifact(repository, SIGNATURE, image, by="ana")
    tag = fallback_tag(digest_of(image))
    assert tag == digest_of(image).replace(":", "-")
    assert is_fallback_tag(tag)
    assert not is_fallback_tag("sha256-1")
    raw = json.loads(repository.manifest(tag).content)
    expected = {
        "mediaType": OCI_MANIFEST,
        "digest": signature,
        "size": len(content),
        "artifactType": SIGNATURE,
        "annotations": {"by": "ana"},
    }
    assert raw == {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [expected]}


def test_a_tag_that_lists_nothing(registry: Registry) -> None:
    """One that stands for something else is left as it is."""
    repository = at(registry.host, "api/taken")
    _, image = artifact(repository, "application/vnd.test.image")
    repository.push_manifest(fallback_tag(digest_of(image)), image, OCI_MANIFEST)
    with pytest.raises(RegistryError, match="is no index"):
        artifact(repository, SIGNATURE, image)
    assert repository.manifest(fallback_tag(digest_of(image))).content == image


def test_tags_and_the_catalog(registry: Registry, modern: Modern) -> None:
    modern.page = 2
    for host in (registry.host, modern.host):
        repository = at(host, "api/many")
        _, content = artifact(repository, NOTE)
        tags = [f"t{i}" for i in range(5)]
        for tag in tags:
            repository.push_manifest(tag, content, OCI_MANIFEST)
        assert repository.tags() == tags
        for name in ("api/other", "api/third"):
            artifact(at(host, name), NOTE)
            at(host, name).push_manifest("1", content, OCI_MANIFEST)
        assert {"api/many", "api/other", "api/third"} <= set(catalog(repository.session))
    assert len([path for path, _ in modern.asked if "/tags/list" in path]) == 3
    with pytest.raises(NotFoundError):
        at(registry.host, "api/nothing").tags()


def test_pages_of_dockers_registry(registry: Registry) -> None:
    """Its own Link leads on: with fewer entries asked for than there are."""
    from cloche.images.registry.pages import strings

    repository = at(registry.host, "api/paged")
    _, content = artifact(repository, NOTE)
    repository.push_manifest("1", content, OCI_MANIFEST)
    artifact(at(registry.host, "api/paged2"), NOTE)
    at(registry.host, "api/paged2").push_manifest("1", content, OCI_MANIFEST)
    found = list(strings(repository.session, "/v2/_catalog?n=1", "repositories", "it", "registry:catalog:*", is_path))
    assert found == list(catalog(repository.session))
    assert len(found) > 1


LISTS = {
    "in a circle": (b'{"tags": ["a"]}', "</v2/app/tags/list?n=1000>; rel=next", "in a circle"),
    "without end": (b'{"tags": ["a"]}', "", "more than 20 pages"),
    "elsewhere": (b'{"tags": ["a"]}', "<http:" + '//localhost:1/v2/x>; rel="next"', "which is not"),
    "no place": (b'{"tags": ["a"]}', "<http:" + '//[x/>; rel="next"', "which is not"),
    "no list": (b'{"tags": {"a": 1}}', "", "no list of names"),
    "no names": (b'{"tags": [1]}', "", "no list of names"),
    "no object": (b"[]", "", "no object"),
    "no tag": (b'{"tags": ["a", "\\u001b[2J"]}', "", r"has '\\x1b\[2J', which can be no name"),
    "a long tag": (json.dumps({"tags": ["a" * 129]}).encode(), "", "can be no name"),
    "more than we keep": (json.dumps({"tags": ["a"], "x": "x" * 5000}).encode(), "?", "more than 10000 bytes"),
    "no JSON": (b"<html>", "", "is none"),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_that_lies(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloche.images.registry.pages.MOST_PAGES", 20)
    monkeypatch.setattr("cloche.images.registry.pages.LARGEST_LIST", 10_000)
    content, link, expected = LISTS[name]

    def reply(request: Handler) -> None:
        count = len(liar.asked)
        more = f"</v2/app/tags/list?page={count}>; rel=next"
        given = more if link == "?" or name == "without end" else link
        request.give(200, content, **({"Link": given} if given else {}))

    with Liar() as liar:
        liar.replies["/v2/app/tags/list"] = reply
        with pytest.raises(RegistryError, match=expected):
            at(liar.host, "app").tags()


@pytest.mark.parametrize("name", ["x" * 256, "a/b\x1b", "/a", ""])
def test_a_catalog_that_lies(name: str) -> None:
    with Liar() as liar:
        content = json.dumps({"repositories": ["a/b", name]}).encode()
        liar.replies["/v2/_catalog"] = lambda request: request.give(200, content)
        with pytest.raises(RegistryError, match=f"the catalog of {liar.host} has .*, which can be no name"):
            list(catalog(at(liar.host, "app").session))


@pytest.mark.parametrize(
    ("header", "target"),
    [
        ("", ""),
        ('</a>; rel="next"', "/a"),
        ("</a>;rel=next", "/a"),
        ('</p>; rel="prev", </a,b>; title="x"; rel="next"', "/a,b"),
        ('</a>; rel="prev"', ""),
        ("</a", ""),
        ('</a>; rel="last next"', "/a"),
    ],
)
def test_links(header: str, target: str) -> None:
    assert next_of(header) == target


def test_deleted(registry: Registry, modern: Modern) -> None:
    for host in (registry.host, modern.host):
        repository = at(host, "api/deleted")
        digest, content = artifact(repository, NOTE)
        repository.push_manifest("1", content, OCI_MANIFEST)
        described = repository.describe("1")
        assert (described.digest, described.size, described.mediaType) == (digest, len(content), OCI_MANIFEST)
        repository.delete_manifest(digest)
        for selector in ("1", digest):
            with pytest.raises(NotFoundError):
                repository.describe(selector)
        assert repository.has_blob(digest_of(EMPTY))
        repository.delete_blob(digest_of(EMPTY))
        assert not repository.has_blob(digest_of(EMPTY))
        with pytest.raises(NotFoundError):
            repository.delete_manifest(digest)


def test_a_tag_deleted(registry: Registry, modern: Modern) -> None:
    """docker's registry of this version cannot; the manifest stays where one can."""
    for host in (registry.host, modern.host):
        repository = at(host, "api/untagged")
        digest, content = artifact(repository, NOTE)
        repository.push_manifest("1", content, OCI_MANIFEST)
        if host == registry.host:
            with pytest.raises(UnsupportedError, match="allows no such thing"):
                repository.delete_tag("1")
            assert repository.tags() == ["1"]
        else:
            repository.delete_tag("1")
            assert repository.tags() == []
        assert repository.describe(digest).digest == digest


def test_what_may_not_be_deleted() -> None:
    with Liar() as liar:
        liar.replies["/v2/app/blobs/" + digest_of(b"")] = lambda request: request.give(405)
        with pytest.raises(UnsupportedError, match="allows no such thing"):
            at(liar.host, "app").delete_blob(digest_of(b""))


def test_a_head_that_says_nothing() -> None:
    with Liar() as liar:
        found = at(liar.host, "app").describe("1")
        assert (found.digest, found.size) == (digest_of(liar.manifest), len(liar.manifest))


def test_tokens_are_asked_for_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with the least it takes (distribution, "Token Scope Documentation"), parts and pages included."""
    monkeypatch.setattr("cloche.images.registry.uploads.CHUNK", 100_000)
    with Modern(guarded=True, largest=200_000) as registry:
        pushed(registry)
        repository = at(registry.host, "app")
        digest, content = artifact(repository, NOTE)
        repository.push_manifest("1", content, OCI_MANIFEST)
        assert set(registry.scopes) == {"repository:app:pull,push"}
        registry.scopes.clear()
        repository = at(registry.host, "app")
        assert repository.tags() == ["1"]
        assert repository.referrers(digest) == []
        assert registry.scopes == ["repository:app:pull"]
        assert list(catalog(repository.session)) == ["app"]
        repository.delete_tag("1")
        assert registry.scopes[1:] == ["registry:catalog:*", "repository:app:pull,push,delete"]


def pushed(registry: Modern, chunk: int = 0) -> None:
    """Have something pushed, and see that it is there."""
    repository = at(registry.host, "app")
    assert repository.push_blob(digest_of(RANDOM), len(RANDOM), io.BytesIO(RANDOM), chunk=chunk) == "pushed"
    assert registry.blobs["app", digest_of(RANDOM)] == RANDOM


def test_in_one_request() -> None:
    with Modern() as registry:
        pushed(registry)
        assert registry.parts == [("PUT", "", len(RANDOM))]


def test_in_parts_by_choice(registry: Registry) -> None:
    with Modern() as modern:
        pushed(modern, chunk=100_000)
        ranges = [said for _, said, _ in modern.parts]
        assert ranges == ["0-99999", "100000-199999", "200000-299999", ""]
    repository = at(registry.host, "api/parts")
    assert repository.push_blob(digest_of(RANDOM), len(RANDOM), io.BytesIO(RANDOM), chunk=100_000) == "pushed"
    answer, _ = repository.blob(digest_of(RANDOM))
    assert answer.read() == RANDOM
    answer.release_conn()
    assert repository.push_blob(digest_of(RANDOM), len(RANDOM), io.BytesIO(RANDOM)) == "exists"


def test_a_proxy_that_takes_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """413 for the whole, and for parts until they are small enough."""
    monkeypatch.setattr("cloche.images.registry.uploads.CHUNK", 1 << 18)
    monkeypatch.setattr("cloche.images.registry.uploads.TRIES", 1)  # a part that is too large is no try
    with Modern(largest=70_000) as registry:
        pushed(registry)
        assert registry.parts[0] == ("PUT", "", len(RANDOM))
        assert [length for _, _, length in registry.parts[1:4]] == [1 << 18, 1 << 17, 1 << 16]
    with Modern(largest=1000) as registry, pytest.raises(RegistryError, match="answers 413 for the upload of"):
        pushed(registry)


def test_parts_are_as_long_as_the_registry_wants() -> None:
    with Modern(least=120_000) as registry:
        pushed(registry, chunk=1000)
        assert [length for _, _, length in registry.parts] == [120_000, 120_000, 60_000, 0]
    with Modern(least=120_000, largest=100_000) as registry, pytest.raises(RegistryError, match="answers 413"):
        pushed(registry, chunk=1000)


def test_an_upload_that_breaks_off_goes_on() -> None:
    """From where the registry says it stands."""
    with Modern(breaks={2}) as registry:
        pushed(registry, chunk=100_000)
        said = [said for _, said, _ in registry.parts]
        assert said == ["0-99999", "100000-199999", "150000-249999", "250000-299999", ""]


def test_a_whole_that_breaks_off_is_sent_in_parts() -> None:
    with Modern(breaks={1}) as registry:
        pushed(registry)
        assert [method for method, _, _ in registry.parts] == ["PUT", "PATCH", "PUT"]


def test_a_registry_that_forgets_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloche.images.registry.uploads.WAIT", 0)
    with Modern(breaks={2}, forgets=True) as registry:
        pushed(registry, chunk=100_000)
        assert [said for _, said, _ in registry.parts][2] == "0-99999"
    with (
        Modern(breaks=set(range(99)), forgets=True) as registry,
        pytest.raises(RegistryError, match="cannot be reached"),
    ):
        pushed(registry, chunk=100_000)


class Sparing(Liar):
    """A registry that takes no more than so many bytes of each part, and says so."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.have, self.parts = most, 0, 0
        self.replies |= {"/v2/app/blobs/uploads/": self._stands, "/up": self._take}

    def _take(self, request: Handler) -> None:
        content = request.body()
        if request.command == "PUT":
            request.give(201)
            return
        self.parts += 1
        self.have += min(len(content), self.most)
        self._stands(request)

    def _stands(self, request: Handler) -> None:
        request.give(202, Location="/up", Range=f"0-{max(self.have - 1, 0)}")


def test_a_registry_that_takes_two_bytes_of_each_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """It could be sent parts for ever; one that takes halves gets there."""

    def push(registry: Sparing) -> str:
        content = RANDOM[:3000]
        return at(registry.host, "app").push_blob(digest_of(content), 3000, io.BytesIO(content), chunk=1000)

    with Sparing(500) as registry:
        assert push(registry) == "pushed"
        assert registry.parts == 6
    with Sparing(2) as registry, pytest.raises(RegistryError, match="gets nowhere: 10 bytes of 3000 after 5 parts"):
        push(registry)
    monkeypatch.setattr("cloche.images.registry.uploads.MOST_PARTS", 4)
    with (
        Sparing(500) as registry,
        pytest.raises(RegistryError, match="gets nowhere: 2000 bytes of 3000 after 4"),
    ):
        push(registry)


def test_dockers_registry_after_a_break(registry: Registry) -> None:
    """It knows nothing of a part that broke off: a new upload is begun."""
    repository = at(registry.host, "api/broken")
    session, real = repository.session, repository.session.ask
    broken: list[int] = []

    def breaking(method: str, *words: object, **more: object) -> object:
        if method == "PATCH" and not broken:
            broken.append(1)
            place = str(words[0])
            half = more["body"].read(50_000)  # type: ignore[attr-defined]
            real("PATCH", place, "it", scope="", body=half, wanted=(202,)).close()
            raise UnreachableError("broke off")
        return real(method, *words, **more)  # type: ignore[arg-type]

    session.ask = breaking  # type: ignore[method-assign, assignment]
    assert repository.push_blob(digest_of(RANDOM), len(RANDOM), io.BytesIO(RANDOM), chunk=100_000) == "pushed"
    assert broken
    answer, _ = repository.blob(digest_of(RANDOM))
    assert answer.read() == RANDOM
    answer.release_conn()


def test_mounted(modern: Modern) -> None:
    """From another repository that has it; sent where it has not."""
    pushed(modern)
    other = at(modern.host, "other")
    assert other.push_blob(digest_of(RANDOM), len(RANDOM), io.BytesIO(RANDOM), ["app"]) == "mounted"
    assert other.push_blob(digest_of(EMPTY), len(EMPTY), io.BytesIO(EMPTY), ["app"]) == "pushed"


def test_a_list_of_what_skopeo_pushed(registry: Registry, images: Images) -> None:
    for tag in ("a", "b"):
        quietly(
            "skopeo",
            "copy",
            "--dest-tls-verify=false",
            f"oci:{images.layout}:box",
            f"docker://{registry.host}/api/skopeo:{tag}",
        )
    assert at(registry.host, "api/skopeo").tags() == ["a", "b"]
