"""`cloche search`: by docker's search, by a catalog, and where there is neither."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.images.liar import Liar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Cli
    from tests.images.conftest import Registry
    from tests.images.liar import Handler

RESULTS = [
    {"name": "box", "description": "A box\n\x1b[31mof " + "x" * 60, "star_count": 100, "is_official": True},
    {"name": "ana/box", "description": "", "star_count": 3, "is_official": False, "is_automated": True},
    {"name": "bob/box", "description": None, "star_count": "many"},
]


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "registries.conf").write_text("")
    return {"CONTAINERS_REGISTRIES_CONF": str(tmp_path / "registries.conf"), "CLOCHE_ROOT": str(tmp_path / "store")}


@pytest.fixture
def finder() -> Iterator[Liar]:
    """A registry that offers docker's search."""

    def search(request: Handler) -> None:
        request.give(200, json.dumps({"results": RESULTS}).encode(), Content_Type="application/json")

    with Liar() as liar:
        liar.replies["/v1/search"] = search
        yield liar


def test_a_search(cli: Cli, finder: Liar, env: dict[str, str]) -> None:
    done = cli("search", f"{finder.host}/box", env=env)
    heading, first, second, third = done.stdout.splitlines()
    assert finder.asked[-1][0] == "/v1/search?q=box&n=25"
    assert heading.split() == ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"]
    assert first.split() == [f"{finder.host}/box", *f"A box \\x1b[31mof {'x' * 30}…".split(), "100", "[OK]"]
    assert second.split() == [f"{finder.host}/ana/box", "3"]
    assert third.split() == [f"{finder.host}/bob/box", "0"]
    full = cli("search", "--no-trunc", "--limit", "1", f"{finder.host}/box", env=env).stdout
    assert "x" * 60 in full
    assert len(full.splitlines()) == 2
    assert finder.asked[-1][0] == "/v1/search?q=box&n=1"


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (["stars=4"], ["box"]),
        (["stars=3"], ["box", "ana/box"]),
        (["is-official=false"], ["ana/box", "bob/box"]),
        (["is-official=true", "stars=101"], []),
        (["is-automated=true"], ["ana/box"]),
    ],
)
def test_filters(cli: Cli, finder: Liar, env: dict[str, str], filters: list[str], names: list[str]) -> None:
    words = [word for text in filters for word in ("--filter", text)]
    done = cli("search", *words, "--format", "{{.Name}}", f"{finder.host}/box", env=env)
    assert done.stdout.split() == [f"{finder.host}/{name}" for name in names], done.stderr


def test_a_catalog(cli: Cli, filled: Registry, env: dict[str, str]) -> None:
    """Where there is no search; also of the registries that short names are looked up in."""
    assert cli("search", "--format", "{{.Name}}", f"{filled.host}/chan", env=env).stdout == f"{filled.host}/changed\n"
    done = cli("search", "--format", "json", f"{filled.host}/chan", env=env)
    assert json.loads(done.stdout)["StarCount"] == "0"
    conf = Path(env["CONTAINERS_REGISTRIES_CONF"])
    conf.write_text(f'unqualified-search-registries = ["{filled.host}"]\n')
    assert cli("search", "--format", "{{.Name}}", "chan", env=env).stdout == f"{filled.host}/changed\n"
    assert len(cli("search", "--limit", "1", f"{filled.host}/a", env=env).stdout.splitlines()) == 2


def test_docker_io_by_default(cli: Cli, finder: Liar, env: dict[str, str]) -> None:
    """Its names go without it."""
    conf = Path(env["CONTAINERS_REGISTRIES_CONF"])
    conf.write_text(f'[[registry]]\nprefix = "docker.io"\nlocation = "{finder.host}"\n')
    assert cli("search", "--format", "{{.Name}}", "box", env=env).stdout.split() == ["box", "ana/box", "bob/box"]


@pytest.mark.parametrize("kind", ["nothing", "a page for people", "no catalog for us"])
def test_no_search(cli: Cli, env: dict[str, str], kind: str) -> None:
    with Liar() as liar:
        if kind == "a page for people":
            liar.replies["/v1/search"] = lambda request: request.give(200, b"<html>", Content_Type="text/html")
        liar.replies["/v2/_catalog"] = lambda request: request.give(401 if kind == "no catalog for us" else 405)
        done = cli("search", f"{liar.host}/box", env=env)
    assert done.returncode == 1
    expected = "does not let us have the catalog" if kind == "no catalog for us" else f"a search in {liar.host} is not"
    assert expected in done.stderr.splitlines()[0]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("localhost:1/x",), "cannot be reached"),
        (("--limit", "0", "x"), "--limit '0'"),
        (("--limit", "101", "x"), "--limit '101'"),
        (("--limit", "x", "x"), "--limit 'x'"),
        (("--filter", "stars=many", "x"), "--filter 'stars=many' is none"),
        (("localhost:1/",), "nothing to search for"),
        (("a_b.c/x",), "for a registry"),
        ((), "TERM"),
    ],
)
def test_mistakes(cli: Cli, env: dict[str, str], words: tuple[str, ...], says: str) -> None:
    done = cli("search", *words, env=env)
    assert done.returncode == (125 if says == "--limit 'x'" else 1)
    assert says in done.stderr.splitlines()[0]


@pytest.mark.parametrize("content", [b"[]", b'{"results": 1}', b'{"results": [1]}', b"{", b" " * (5 << 20)])
def test_a_search_that_lies(cli: Cli, env: dict[str, str], content: bytes) -> None:
    with Liar() as liar:
        liar.replies["/v1/search"] = lambda request: request.give(200, content)
        done = cli("search", f"{liar.host}/box", env=env)
    assert done.returncode == 1
    assert f"a search in {liar.host}" in done.stderr
    assert len(done.stderr.splitlines()) == 1
