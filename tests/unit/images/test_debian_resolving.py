"""Which packages make a system: clauses, alternatives, what is provided, loops, and what does not go together."""

from __future__ import annotations

import pytest

from cloche.errors import ConflictError, NotFoundError, SpecError
from cloche.images.debian.packages import Archive, parse_packages
from cloche.images.debian.relations import Relation, parse_relations
from cloche.images.debian.resolving import first_choice, resolve

DIGITS = "0123456789abcdef" * 4


def archive(*packages: str) -> Archive:
    """One package a line: NAME [VERSION]; Field: value; …"""
    text = ""
    for package in packages:
        head, *more = package.split(";")
        name, _, version = head.partition(" ")
        own = {"Package": name, "Version": version or "1", "Architecture": "amd64", "Filename": f"pool/{name}.deb"}
        own |= {"Size": "1", "SHA256": DIGITS} | dict(line.strip().split(": ") for line in more)
        text += "".join(f"{key}: {value}\n" for key, value in own.items()) + "\n"
    return Archive(parse_packages(text.encode(), "amd64", 0), "amd64")


def names(known: Archive, *wanted: str) -> list[str]:
    return [package.name for package in resolve(known, list(wanted))]


def test_a_field_of_relations() -> None:
    """Versions, alternatives, architectures, qualifiers of them, and the old signs."""
    text = "libc6 (>= 2.36), awk:any | mawk (<< 2~) [!i386], gone [arm64],\n here [linux-any amd64], old (> 1)"
    assert parse_relations(text, "amd64") == [
        [Relation("libc6", ">=", "2.36")],
        [Relation("awk"), Relation("mawk", "<<", "2~")],
        [Relation("here")],
        [Relation("old", ">=", "1")],
    ]
    assert parse_relations(text, "i386")[1] == [Relation("awk")]


@pytest.mark.parametrize("text", ["Upper", "a", "x (2)", "xx (== 2)", "xx (>= )", "../up", "xx (>= 1 2)", "x y"])
def test_no_relation(text: str) -> None:
    with pytest.raises(SpecError):
        parse_relations(text, "amd64")


def test_dependencies_come_first_and_loops_end() -> None:
    """What others depend on is before them; of a loop one has to be."""
    known = archive("aa;Depends: bb", "bb;Pre-Depends: cc", "cc;Depends: aa, dd", "dd", "unused")
    assert names(known, "aa") == ["dd", "cc", "bb", "aa"]


def test_a_chain_of_many() -> None:
    """Longer than Python's stack."""
    known = archive(*(f"p{n};Depends: p{n + 1}" for n in range(3000)), "p3000")
    assert names(known, "p0") == [f"p{n}" for n in range(3000, -1, -1)]


def test_the_users_come_before_all() -> None:
    """base-passwd and what it needs."""
    known = archive("aa", "base-passwd;Depends: zz", "zz")
    assert names(known, "aa", "base-passwd") == ["zz", "base-passwd", "aa"]


def test_of_alternatives_what_is_chosen_already_else_the_first_there_is() -> None:
    known = archive("aa;Depends: none | bb | cc", "bb", "cc", "dd;Depends: cc")
    assert names(known, "aa") == ["bb", "aa"]
    assert names(known, "aa", "cc") == ["cc", "aa"]


def test_a_usr_that_is_merged_is_not_merged_again() -> None:
    """Its links are made before any package."""
    known = archive("aa;Depends: usrmerge | usr-is-merged", "usrmerge", "usr-is-merged")
    assert names(known, "aa") == ["usr-is-merged", "aa"]


def test_what_is_provided() -> None:
    """Without a version it satisfies no relation that has one; the package of that name is preferred."""
    known = archive("aa;Depends: mail", "pp;Provides: mail", "qq;Provides: mail (= 3)", "bb;Depends: mail (>= 2)")
    assert names(known, "aa") == ["pp", "aa"]
    assert names(known, "bb") == ["qq", "bb"]
    assert names(archive("aa;Depends: mail", "aaa;Provides: mail", "mail"), "aa") == ["mail", "aa"]
    known = archive("aa;Depends: awk", "gawk;Provides: awk;Priority: optional", "mawk;Provides: awk;Priority: required")
    assert names(known, "aa") == ["mawk", "aa"]


def test_a_package_nobody_asked_for_may_be_large() -> None:
    """Debian has documentation of 3 GB."""
    assert names(archive("aa", "huge; Size: 3179722260"), "aa") == ["aa"]


def test_the_newest_of_several() -> None:
    known = archive("aa 1", "aa 1.10", "aa 1.9")
    assert resolve(known, ["aa"])[0].version == "1.10"


@pytest.mark.parametrize("field", ["Conflicts: bb", "Breaks: bb (<< 2)", "Conflicts: virtual"])
def test_what_does_not_go_together(field: str) -> None:
    with pytest.raises(ConflictError, match="aa and bb do not go together"):
        names(archive(f"aa;{field}", "bb 1;Provides: virtual"), "aa", "bb")


@pytest.mark.parametrize("field", ["Conflicts: bb (<< 1)", "Breaks: virtual (<< 9)", "Conflicts: mine"])
def test_what_goes_together(field: str) -> None:
    """Another version; something provided without one; and a package does not conflict with itself."""
    assert set(names(archive(f"aa;Provides: mine;{field}", "bb 1;Provides: virtual"), "aa", "bb")) == {"aa", "bb"}


def test_variants() -> None:
    known = archive("ee;Essential: yes;Priority: required", "rr;Priority: required", "apt", "oo")
    assert first_choice(known, "essential", ()) == ["ee"]
    assert first_choice(known, "apt", ("oo",)) == ["apt", "ee", "oo"]
    assert first_choice(known, "minbase", ()) == ["apt", "ee", "rr"]
    with pytest.raises(NotFoundError, match="no package nowhere"):
        first_choice(known, "minbase", ("nowhere",))
    with pytest.raises(NotFoundError, match="no essential package"):
        first_choice(archive("oo"), "minbase", ())


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("Filename: /etc/passwd", "no place"),
        ("Filename: pool/../../x", "no place"),
        ("Size: -1", "for a size"),
        ("Size: 99999999999", "for a size"),
        ("SHA256: 12", "not a digest"),
        ("Package: ../x", "called"),
        ("no colon", "no field"),
        ("Size: 1\nSize: 2", "twice"),
    ],
)
def test_packages_that_make_no_sense(field: str, said: str) -> None:
    good = f"Package: aa\nVersion: 1\nArchitecture: all\nFilename: p\nSize: 1\nSHA256: {DIGITS}\n"
    key = field.partition(":")[0]
    rest = "".join(line + "\n" for line in good.splitlines() if not line.startswith(f"{key}:"))
    with pytest.raises(SpecError, match=said):
        parse_packages(f"{field}\n{rest}".encode(), "amd64", 0)
