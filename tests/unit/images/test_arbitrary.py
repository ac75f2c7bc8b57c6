"""Whatever arrives, what reads it has a result or an error of ours, and takes no more memory than that is worth."""

from __future__ import annotations

import json
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.images.test_hostile_archives import raw

from cloche.errors import ClocheError
from cloche.images.digests import check_digest, hasher
from cloche.images.documents import read_config, read_manifest
from cloche.images.platforms import choose_asking, parse_platform
from cloche.images.references import parse_reference
from cloche.images.registry.auth import parse_challenges
from cloche.images.registry.places import VARIABLE, read_registries
from cloche.images.unpack.compression import reader
from cloche.images.unpack.tar import Archive, BadArchive, Stream
from cloche.spec.image import INDEXES, MANIFESTS, Index

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MEMORY = 16 << 20
FIELDS = ("mode", "uid", "gid", "size", "mtime", "major", "minor")
KEYS = ["path", "linkpath", "size", "uid", "gid", "mtime", "SCHILY.xattr.user.x", "comment", "GNU.sparse.major"]
KEYS += ["GNU.sparse.map", "GNU.sparse.realsize", "GNU.sparse.name", "GNU.sparse.offset", "GNU.sparse.numbytes"]
NUMBERS = st.sampled_from(
    [b"", b"0", b"7", b"-1", b"99999999999", b"\x80\0\0\0\0\0\0\1", b"\xff" * 8, b"8", b"1_0", b"+1"]
)
VALUES = NUMBERS | st.binary(max_size=40) | st.from_regex(rb"[0-9,.\-]{1,30}", fullmatch=True)
STARTS = [b"", b"\x1f\x8b", b"\x1f\x8b\x08\0\0\0\0\0\0\3", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"BZh9"]
ALGORITHMS = st.sampled_from(["sha256:", "sha512:", "md5:", ""])
QUICK = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def members(draw: st.DrawFn) -> bytes:
    """Members of a tar, each with pax headers, whose values may be anything."""
    out = b""
    for _ in range(draw(st.integers(1, 3))):
        for key in draw(st.lists(st.sampled_from(KEYS), max_size=4)):
            line = b" " + key.encode() + b"=" + draw(VALUES) + b"\n"
            out += raw(b"h", draw(st.sampled_from([b"x", b"g"])), b"%d" % (len(line) + 2) + line)
        kind = draw(
            st.sampled_from([b"0", b"\0", b"1", b"2", b"3", b"5", b"6", b"7", b"S", b"D", b"L", b"K", b"V", b"9"])
        )
        fields = {name: draw(NUMBERS)[:8] for name in draw(st.sets(st.sampled_from(FIELDS), max_size=2))}
        out += raw(draw(st.binary(max_size=99)), kind, draw(st.binary(max_size=600)), **fields)
    return out[: draw(st.integers(0, len(out)))] if draw(st.booleans()) else out + bytes(1024)


def tried(work: Callable[[], object]) -> None:
    """Do it; an error of ours is a result, whatever else is raised is not."""
    tracemalloc.start()
    try:
        work()
    except ClocheError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < MEMORY


@given(members(), st.integers(1, 2000))
@QUICK
def test_tar(content: bytes, chunk: int) -> None:
    parts = [content[i : i + chunk] for i in range(0, len(content), chunk)] + [b""]
    archive = Archive(Stream(lambda: parts.pop(0)))

    def read() -> None:
        while (entry := archive.next()) is not None:
            if entry.pieces is None:
                for _ in archive.content():
                    pass
            for _, length in entry.pieces or ():
                archive.take(min(length, 1 << 20))

    tried(read)


@given(st.sampled_from(STARTS), st.binary())
@QUICK
def test_compression(start: bytes, rest: bytes) -> None:
    parts = [start + rest]
    source = reader(lambda _size: parts.pop() if parts else b"")

    def read() -> None:
        while source():
            pass

    tried(read)


@given(st.text())
@example("docker.io/" + "a" * 100_000)
@example("a:" + "b" * 100_000)
@QUICK
def test_references(text: str) -> None:
    tried(lambda: parse_reference(text))
    tried(lambda: parse_platform(text))


@given(ALGORITHMS, st.text("abcdef0/.\n", max_size=130) | st.text())
@example("sha256:", "a" * 64)
@QUICK
def test_digests(algorithm: str, digits: str) -> None:
    try:
        checked = check_digest(algorithm + digits)
    except ClocheError:
        return
    assert "/" not in checked
    assert hasher(checked).hexdigest()


@given(st.text() | st.text(alphabet='Bearer ,="\\realm\t:/', max_size=200))
@example('Bearer realm="' + "\\" * 10_000)
@example("=" * 10_000)
@QUICK
def test_challenges(header: str) -> None:
    found = parse_challenges(header)
    assert all(item["scheme"] for item in found)


LEAVES: st.SearchStrategy[Any] = st.none() | st.booleans() | st.integers() | st.text(max_size=20)
KNOWN = st.sampled_from(
    ["schemaVersion", "mediaType", "manifests", "layers", "config", "digest", "size", "platform", "os"]
)
KINDS = st.sampled_from([*INDEXES, *MANIFESTS, ""])
TREES = st.recursive(
    LEAVES | KINDS | st.just("sha256:" + "0" * 64) | st.just(2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KNOWN | st.text(max_size=5), inner, max_size=5),
    max_leaves=12,
)


@given(TREES, KINDS)
@QUICK
def test_documents(tree: object, kind: str) -> None:
    content = json.dumps(tree).encode()

    def read() -> None:
        found = read_manifest(content, kind, "it")
        if isinstance(found, Index):
            choose_asking(found.manifests, parse_platform(""), "it", lambda _item: None)

    tried(read)
    tried(lambda: read_config(content, "it"))


@given(st.binary(max_size=200))
@example(b"[" * 100_000)
@example(b'{"a":' * 100_000)
@example(b'{"schemaVersion": ' + b"9" * 10_000 + b"}")
@QUICK
def test_documents_that_are_none(content: bytes) -> None:
    tried(lambda: read_manifest(content, "", "it"))
    tried(lambda: read_config(content, "it"))


def toml(value: object) -> str:
    """A value as TOML has it, in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


RULES = ["registry", "aliases", "unqualified-search-registries", "prefix", "location", "mirror", "insecure", "blocked"]
RULES += ["pull-from-mirror", "mirror-by-digest-only", "registries"]
PLACES = st.sampled_from(["docker.io", "*.example.com", "a.example.com/x", "", "/", "*.", "localhost:5000", "all"])
TABLES = st.recursive(
    st.booleans() | st.integers(-9, 9) | PLACES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(RULES), inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(RULES), TABLES, max_size=3), st.sampled_from(["debian", "a.example.com/x/y:1"]))
@QUICK
def test_registries(registries: Path, tables: dict[str, object], name: str) -> None:
    registries.write_text("".join(f"{key} = {toml(value)}\n" for key, value in tables.items()))
    tried(lambda: [read_registries().places(item) for item in read_registries().references(parse_reference(name))])


@given(st.binary(max_size=100))
@example(b"a = " + b"[" * 100_000)
@QUICK
def test_registries_that_are_none(registries: Path, content: bytes) -> None:
    registries.write_bytes(content)
    tried(read_registries)


@pytest.fixture
def registries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "registries.conf"))
    return tmp_path / "registries.conf"


def test_an_error_that_is_not_ours_is_seen() -> None:
    with pytest.raises(ZeroDivisionError):
        tried(lambda: 1 // 0)
    with pytest.raises(AssertionError):
        tried(lambda: bytes(MEMORY + 1))
    assert issubclass(BadArchive, ClocheError)
