"""References: docker's grammar, and that nothing else is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cloche.errors import SpecError
from cloche.images.references import Reference, parse_reference

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("debian", "docker.io/library/debian:latest", "debian:latest"),
        ("debian:12", "docker.io/library/debian:12", "debian:12"),
        ("someone/app", "docker.io/someone/app:latest", "someone/app:latest"),
        ("docker.io/debian", "docker.io/library/debian:latest", "debian:latest"),
        ("docker.io/library/debian", "docker.io/library/debian:latest", "debian:latest"),
        ("index.docker.io/debian", "docker.io/library/debian:latest", "debian:latest"),
        ("library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
        ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
        ("localhost:5000/app:1.2", "localhost:5000/app:1.2", "localhost:5000/app:1.2"),
        ("localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"),
        ("Foo/bar", "Foo/bar:latest", "Foo/bar:latest"),
        ("a.b/c", "a.b/c:latest", "a.b/c:latest"),
        ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest"),
        (f"debian@{DIGEST}", f"docker.io/library/debian@{DIGEST}", f"debian@{DIGEST}"),
        (f"debian:12@{DIGEST}", f"docker.io/library/debian:12@{DIGEST}", f"debian:12@{DIGEST}"),
        ("a__b/c--d.e_f:_T.-1", "docker.io/a__b/c--d.e_f:_T.-1", "a__b/c--d.e_f:_T.-1"),
    ],
)
def test_written_out(text: str, full: str, familiar: str) -> None:
    found = parse_reference(text)
    assert str(found) == full
    assert found.familiar == familiar
    assert parse_reference(str(found)) == Reference(found.domain, found.path, found.tag, found.digest, short=False)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":tag",
        "@" + DIGEST,
        "Debian",
        "debian:",
        "debian:.x",
        "debian:" + "x" * 129,
        "debian@",
        "debian@sha256:12",
        "debian@md5:" + "0" * 32,
        "debian@" + DIGEST.upper(),
        "a//b",
        "/a",
        "a/",
        "-a",
        "a-",
        "a..b",
        "a___b",
        "a._b",
        "a b",
        "a\nb",
        "ä",
        "0" * 64,
        "a.b:x/c",
        "a.b:/c",
        "-a.b/c",
        "http://example.com/c",
        "[::1/c",
        "a/" * 130 + "b",
        "../etc/passwd",
        "a/../b",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(SpecError, match=r"reference format|digest"):
        parse_reference(text)


def test_a_repository() -> None:
    assert parse_reference("debian", tagged=False).selector == ""
    assert parse_reference("debian:1", tagged=False).selector == "1"
    assert parse_reference(f"debian:1@{DIGEST}").selector == DIGEST


@given(st.text(alphabet="aB0._-:/@[] \n\0é", max_size=40) | st.text(max_size=40))
@example("a:b:c")
@example("a@b@c")
@example("localhost:/a")
def test_anything(text: str) -> None:
    """It is refused, or means itself when written out."""
    try:
        found = parse_reference(text)
    except SpecError:
        return
    assert ".." not in str(found).split("/")
    again = parse_reference(str(found))
    assert (again.name, again.tag, again.digest) == (found.name, found.tag, found.digest)
