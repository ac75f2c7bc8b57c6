"""Where packages come from: apt's sources, names of releases, what a Release says."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from cloche.errors import NotFoundError, RegistryError, SpecError
from cloche.images.debian.control import fields, the_paragraph
from cloche.images.debian.release import check_release, index_files, parse_release
from cloche.images.debian.sources import Source, parse_list, parse_mirror, parse_sources, read_sources, without_login
from cloche.images.debian.suites import architecture_of, default_sources, parse_suite, suites_of
from cloche.images.platforms import parse_platform

if TYPE_CHECKING:
    from pathlib import Path

DIGITS = "0123456789abcdef" * 4
LINES = """
# deb http://one.example.com/debian bookworm main
deb [arch=amd64,arm64 signed-by=/k.gpg] http://two.example.com/debian/ bookworm main contrib # why
deb [arch=i386] http://three.example.com/debian bookworm main
deb-src http://four.example.com/debian bookworm main
deb cdrom:[Debian]/ bookworm main
deb http://flat.example.com/ ./
"""
LOGIN = "ana:secret@"
PARAGRAPHS = b"""
# a comment
Types: deb deb-src
URIs: http://one.example.com/debian https://%stwo.example.com/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /k.gpg

Enabled: no
Types: deb
URIs: http://three.example.com/debian
Suites: bookworm
Components: main

Types: deb
URIs: http://four.example.com/debian
Suites: bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 xyz
 -----END PGP PUBLIC KEY BLOCK-----
""" % LOGIN.encode()


def test_lines_of_apt() -> None:
    found = parse_list(LINES, "amd64")
    assert found == [Source("http://two.example.com/debian", "bookworm", ("main", "contrib"), "/k.gpg")]


def test_paragraphs_of_apt() -> None:
    """Each mirror with each suite; one that is not enabled is none; a key may stand in it."""
    found = parse_sources(PARAGRAPHS, "amd64")
    assert [(source.shown, source.suite) for source in found] == [
        ("http://one.example.com/debian", "bookworm"),
        ("http://one.example.com/debian", "bookworm-updates"),
        ("https://two.example.com/debian", "bookworm"),
        ("https://two.example.com/debian", "bookworm-updates"),
        ("http://four.example.com/debian", "bookworm-security"),
    ]
    assert found[-1].signed_by.split("\n")[:3] == ["-----BEGIN PGP PUBLIC KEY BLOCK-----", "", "xyz"]


def test_what_this_machine_has_of_a_suite(tmp_path: Path) -> None:
    """All files, once; others' suites of the same name have no main; nothing without the suite itself."""
    folder = tmp_path / "sources.list.d"
    folder.mkdir()
    (tmp_path / "sources.list").write_text("deb http://one.example.com/debian bookworm main\n")
    (folder / "a.sources").write_bytes(PARAGRAPHS)
    (folder / "b.list").write_text("deb http://other.example.com/ bookworm stable\n")
    (folder / "c.sources").write_text("no sense")
    (folder / "d.off").write_text("deb http://off.example.com/debian bookworm main\n")
    found = read_sources("amd64", suites_of("bookworm"), str(tmp_path))
    assert [source.shown for source in found if source.suite == "bookworm"] == [
        "http://one.example.com/debian",
        "http://one.example.com/debian",  # signed by another key
        "https://two.example.com/debian",
    ]
    assert read_sources("amd64", suites_of("trixie"), str(tmp_path)) == []
    assert read_sources("amd64", suites_of("bookworm"), str(tmp_path / "nowhere")) == []


def test_a_mirror() -> None:
    assert parse_mirror("http://a.example.com/debian//") == "http://a.example.com/debian"
    assert without_login(f"http://{LOGIN}a.example.com:80/debian?x=1") == "http://a.example.com:80/debian"
    for text in ("", "debian", "//a.example.com/y", ":///x", "://a.example.com/a b", "://[/", "://a.example.com:b/x"):
        for scheme in ("http", "ftp", "file"):
            if scheme != "file" or not text.startswith(":"):
                with pytest.raises(SpecError):
                    parse_mirror(scheme + text)


@pytest.mark.parametrize("text", ["ftp://LOGINh/x", "HTTP://LOGINh:b/x", "LOGINh", "http://ana:s3@cret/secret@h/ x"])
def test_a_mirror_that_is_none_keeps_its_password(text: str) -> None:
    with pytest.raises(SpecError) as error:
        parse_mirror(text.replace("LOGIN", LOGIN))
    assert "'h" in str(error.value)
    assert "secret" not in str(error.value) + str(error.value.__cause__)


def test_releases_by_name_and_number() -> None:
    assert parse_suite("debian:12") == ("12", "bookworm")
    assert parse_suite("debian:trixie") == ("trixie", "trixie")
    assert parse_suite("debian") == ("stable", "stable")
    assert suites_of("sid") == ("sid",)
    assert [source.suite for source in default_sources("bookworm")] == list(suites_of("bookworm"))
    assert [source.suite for source in default_sources("sid")] == ["sid"]
    for text in ("debian:7", "debian:../x", "debian:"):
        with pytest.raises(NotFoundError):
            parse_suite(text)
    with pytest.raises(SpecError):
        parse_suite("fedora:40")


@pytest.mark.parametrize(
    ("platform", "word"),
    [("amd64", "amd64"), ("arm/v7", "armhf"), ("arm/v6", "armel"), ("386", "i386"), ("arm64", "arm64")],
)
def test_dpkgs_word_for_a_platform(platform: str, word: str) -> None:
    assert architecture_of(parse_platform(f"linux/{platform}")) == word


RELEASE = f"""Origin: Debian
Suite: oldstable
Codename: bookworm
Date: Sat, 10 Jan 2026 09:54:39 UTC
Valid-Until: Sat, 17 Jan 2026 09:54:39 UTC
Components: updates/main contrib
Architectures: amd64
SHA256:
 {DIGITS} 7 main/binary-amd64/Packages
 {DIGITS} 3 main/binary-amd64/Packages.gz
"""
NOW = 1768000000  # 2026-01-09


def test_a_release() -> None:
    found = parse_release(RELEASE.encode())
    assert (found.date, found.valid_until - found.date) == (1768038879, 7 * 86400)
    assert found.components == ("main", "contrib")
    assert [path for path, _, _ in index_files(found, "main", "amd64")] == [
        "main/binary-amd64/Packages.gz",
        "main/binary-amd64/Packages",
    ]
    with pytest.raises(RegistryError, match="no packages of main for arm64"):
        index_files(found, "main", "arm64")


def test_whether_a_release_is_the_one() -> None:
    found = parse_release(RELEASE.encode())
    for suite in ("bookworm", "oldstable"):
        check_release(found, suite, NOW, valid_until=True, where="it")
    check_release(found, "bookworm", NOW + 30 * 86400, valid_until=False, where="it")
    with pytest.raises(RegistryError, match="valid until 2026-01-17"):
        check_release(found, "bookworm", NOW + 30 * 86400, valid_until=True, where="it")
    with pytest.raises(RegistryError, match="not of trixie"):
        check_release(found, "trixie", NOW, valid_until=True, where="it")


def test_a_name_that_moves_is_not_what_it_was_years_ago() -> None:
    """A Release that is valid for ever is good for its own name, not for that of the newest."""
    lines = [line for line in RELEASE.split("\n") if not line.startswith("Valid-Until")]
    for suite in ("stable", "testing-security", "bookworm", "oldoldstable"):
        found = parse_release("\n".join(lines).replace("Suite: oldstable", f"Suite: {suite}").encode())
        check_release(found, suite, found.date + 399 * 86400, valid_until=True, where="it")
        check_release(found, suite, found.date + 999 * 86400, valid_until=False, where="it")
        if suite in {"bookworm", "oldoldstable"}:
            check_release(found, suite, found.date + 999 * 86400, valid_until=True, where="it")
        else:
            with pytest.raises(RegistryError, match=f"it is 401 days old, by which {suite} should be"):
                check_release(found, suite, found.date + 401 * 86400, valid_until=True, where="it")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("SHA256:", "MD5Sum:", "no hashes"),
        (" 7 main", " seven main", "no hash of a file"),
        (f" {DIGITS} 7", " 12 7", "not a digest"),
        ("Date: Sat", "Date: soon\nX: Sat", "for its Date"),
        ("Suite: oldstable", "Suite: a\n\nX: y", "2 paragraphs"),
    ],
)
def test_a_release_that_is_none(before: str, after: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        parse_release(RELEASE.replace(before, after, 1).encode())


def test_a_time_without_a_zone_is_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever this machine is, and whatever a Release says of its zone."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        for zone in ("UTC", "GMT", "+0000", "-0000", ""):
            assert parse_release(RELEASE.replace("09:54:39 UTC", f"09:54:39 {zone}").encode()).date == 1768038879
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_field_of_many_lines() -> None:
    """As much work for each line, however many there are."""

    def cost(lines: int) -> float:
        block = "A: b\n" + (" " + "x" * 99 + "\n") * lines + "C: d\n"
        found = []
        for _ in range(3):
            begun = time.process_time()
            assert len(fields(block)["a"]) == 1 + lines * 101
            found.append(time.process_time() - begun)
        return min(found)

    assert cost(20_000) < 10 * cost(5_000)


def test_a_file_of_one_paragraph_is_short() -> None:
    with pytest.raises(SpecError, match="longer than 1048576 bytes"):
        the_paragraph(b"A: b\n" + b" x\n" * 400_000)
