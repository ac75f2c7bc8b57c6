"""What is decided before anything is copied, and paths that are followed below a root, whatever is in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloche.engine.copying import Place, base_name, decide, parse_place, parse_places
from cloche.engine.fileworker import DIRECTORY, LINK, NOTHING, OTHER
from cloche.engine.finding import find
from cloche.errors import ConflictError, NotFoundError, SpecError

KINDS = (NOTHING, DIRECTORY, LINK, OTHER)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("web:/etc", Place("web", "/etc")),
        ("web:etc/x:y", Place("web", "etc/x:y")),
        ("/a:b", Place("", "/a:b")),
        ("./a:b", Place("", "./a:b")),
        ("../a:b", Place("", "../a:b")),
        ("a", Place("", "a")),
        ("-", Place("", "-")),
    ],
)
def test_places(text: str, place: Place) -> None:
    assert parse_place(text) == place


@pytest.mark.parametrize("words", [("a", "b"), ("a:/", "b:/"), ("a:", "b"), ("", "a:/")])
def test_no_places(words: tuple[str, str]) -> None:
    with pytest.raises(SpecError):
        parse_places(*words)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/a/b", "b"),
        ("/a/b/", "b"),
        ("/a/b/.", ""),
        ("/a/b/./", ""),
        ("/", ""),
        (".", ""),
        ("/a/..", ""),
        ("x/../y", "y"),
    ],
)
def test_names(path: str, name: str) -> None:
    assert base_name(path) == name


@pytest.mark.parametrize(
    ("kind", "target", "there", "decided"),
    [
        (OTHER, "/t", NOTHING, (False, "t")),
        (OTHER, "/t", OTHER, (False, "t")),
        (OTHER, "/t", DIRECTORY, (True, "s")),
        (LINK, "/t", NOTHING, (False, "t")),
        (DIRECTORY, "/t", NOTHING, (False, "t")),
        (DIRECTORY, "/t/", NOTHING, (False, "t")),
        (DIRECTORY, "/t", DIRECTORY, (True, "s")),
        (DIRECTORY, "/t", OTHER, ConflictError),
        (OTHER, "/t/", NOTHING, NotFoundError),
    ],
)
def test_decisions(kind: str, target: str, there: str, decided: object) -> None:
    if isinstance(decided, tuple):
        assert decide(kind, target, there, called="s", name="t") == decided
    else:
        with pytest.raises((ConflictError, NotFoundError)) as caught:
            decide(kind, target, there, called="s", name="t")
        assert caught.type is decided


NAMES = st.sampled_from(["a", "b", "c", "..", ".", ""])
PATHS = st.lists(NAMES, max_size=6).map("/".join)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(PATHS, st.booleans(), st.one_of(st.none(), PATHS)), max_size=8), PATHS, st.booleans())
def test_what_is_found_is_below_the_root(
    tmp_path: Path, made: list[tuple[str, bool, str | None]], path: str, follow: bool
) -> None:
    """A tree of directories, files and links that lead anywhere; beside the root there is the same."""
    top = tmp_path / os.urandom(4).hex()
    root = top / "root"
    for name in ("a", "b", "c"):
        (top / name).mkdir(parents=True)
    root.mkdir()
    for where, absolute, target in made:
        place = root / os.path.normpath("/" + where).lstrip("/")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            if target is None:
                place.mkdir(exist_ok=True)
            else:
                os.symlink(("/" if absolute else "") + target or ".", place)
        except OSError:
            continue  # through a link that leads nowhere, or something is there
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        found = find(fd, os.fsencode(path), follow=follow)
    except OSError:
        return
    finally:
        os.close(fd)
    try:
        for held in (found.parent, found.fd):
            if held >= 0:
                there = os.readlink(f"/proc/self/fd/{held}")
                assert there == str(root) or there.startswith(f"{root}/"), (made, path)
        if found.fd >= 0 and not found.link:
            assert os.path.samestat(os.fstat(found.fd), os.lstat(root / os.fsdecode(found.path)))
    finally:
        for held in (found.parent, found.fd):
            if held >= 0:
                os.close(held)
