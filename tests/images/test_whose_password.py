"""Passwords go to the registry that somebody named, and to nothing that registries.conf puts beside or before it.

And what is trusted without a certificate is that registry.
"""

from __future__ import annotations

import base64
import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloche.errors import ForbiddenError, RegistryError
from cloche.images.fetching import Access, at_registry
from tests.images.liar import Liar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Cli
    from tests.images.conftest import Registry
    from tests.images.liar import Handler

GIVEN, KEPT, OTHER = "ana:given", "ana:kept", "ana:other"


def basic(word: str) -> str:
    return base64.b64encode(word.encode()).decode()


def wary(request: Handler) -> None:
    """Nobody gets in without a password, and nothing is there."""
    if request.headers.get("Authorization"):
        request.give(200 if request.path == "/v2/" else 404)
    else:
        request.give(401, WWW_Authenticate='Basic realm="x"')


def told(registry: Liar) -> set[str]:
    """The passwords that a registry was told."""
    words = {headers["Authorization"] for _, headers in registry.asked if "Authorization" in headers}
    return {base64.b64decode(word.removeprefix("Basic ")).decode() for word in words}


@pytest.fixture
def pair() -> Iterator[tuple[Liar, Liar]]:
    with Liar() as one, Liar() as two:
        one.replies["*"] = two.replies["*"] = wary
        yield one, two


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {
        "REGISTRY_AUTH_FILE": str(tmp_path / "auth.json"),
        "CONTAINERS_REGISTRIES_CONF": str(tmp_path / "registries.conf"),
        "CLOCHE_ROOT": str(tmp_path / "store"),
    }


def keep(env: dict[str, str], **logins: str) -> None:
    auths = {host.replace("_", "."): {"auth": basic(word)} for host, word in logins.items()}
    Path(env["REGISTRY_AUTH_FILE"]).write_text(json.dumps({"auths": auths}))


def configure(env: dict[str, str], text: str) -> None:
    Path(env["CONTAINERS_REGISTRIES_CONF"]).write_text(text)


def stands_for(host: str, *mirrors: str) -> str:
    more = "".join(f'[[registry.mirror]]\nlocation = "{mirror}"\n' for mirror in mirrors)
    return f'[[registry]]\nprefix = "registry.invalid"\nlocation = "{host}"\n{more}'


def test_a_given_one_is_not_for_mirrors(cli: Cli, env: dict[str, str], pair: tuple[Liar, Liar]) -> None:
    """A mirror is asked with what is on file for it."""
    mirror, registry = pair
    configure(env, stands_for(registry.host, mirror.host))
    keep(env, **{mirror.host: OTHER})
    assert cli("pull", "--creds", GIVEN, "registry.invalid/app", env=env).returncode == 1
    assert (told(mirror), told(registry)) == ({OTHER}, {GIVEN})


@pytest.mark.parametrize("verb", ["pull", "search"])
def test_a_given_one_is_not_for_whoever_may_be_meant(
    cli: Cli, env: dict[str, str], pair: tuple[Liar, Liar], verb: str
) -> None:
    configure(env, f'unqualified-search-registries = ["{pair[0].host}", "{pair[1].host}"]\n')
    keep(env, **{pair[1].host: OTHER})
    cli(verb, "--creds", GIVEN, "app", env=env)
    assert told(pair[0]) == set()
    assert told(pair[1]) == ({OTHER} if verb == "pull" else set())  # the first that refuses ends a search
    configure(env, f'unqualified-search-registries = ["{pair[0].host}"]\n')
    cli(verb, "--creds", GIVEN, "app", env=env)
    assert told(pair[0]) == {GIVEN}


@pytest.mark.parametrize("verb", ["pull", "search"])
def test_one_on_file_is_for_its_host(cli: Cli, env: dict[str, str], pair: tuple[Liar, Liar], verb: str) -> None:
    registry, _ = pair
    configure(env, stands_for(registry.host))
    keep(env, registry_invalid=KEPT)
    cli(verb, "registry.invalid/app", env=env)
    assert registry.asked
    assert told(registry) == set()
    keep(env, registry_invalid=KEPT, **{registry.host: OTHER})
    cli(verb, "registry.invalid/app", env=env)
    assert told(registry) == {OTHER}


def test_a_login_is_for_the_host_that_is_asked(cli: Cli, env: dict[str, str], pair: tuple[Liar, Liar]) -> None:
    """What login has tried is what pull sends, and what logout removes."""
    registry, _ = pair
    configure(env, stands_for(registry.host))
    done = cli("login", "-u", "ana", "--password-stdin", "registry.invalid", input="given", env=env)
    assert done.returncode == 0, done.stderr
    registry.asked.clear()
    assert cli("pull", "registry.invalid/app", env=env).returncode == 1
    assert told(registry) == {GIVEN}
    assert cli("logout", "registry.invalid", env=env).returncode == 0
    assert json.loads(Path(env["REGISTRY_AUTH_FILE"]).read_text())["auths"] == {}


@pytest.mark.parametrize("asked", [None, False])
def test_what_loopback_may_is_not_for_others(
    env: dict[str, str], guarded: Registry, monkeypatch: pytest.MonkeyPatch, asked: bool | None
) -> None:
    """A registry on this machine sends us to another, whose certificate nobody has said not to check, or somebody."""
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *rest: real("127.0.0.1" if host == "other.invalid" else host, *rest)
    )
    for key, value in env.items():
        monkeypatch.setenv(key, value)
    configure(env, "")
    with Liar() as liar:
        place = f"https://other.invalid:{guarded.port}/v2/box/manifests/1"
        liar.replies["*"] = lambda request: request.give(307, Location=place)
        expected, says = (RegistryError, "not trusted") if asked is None else (ForbiddenError, "does not let us")
        with pytest.raises(expected, match=says):
            at_registry(liar.name, Access(asked), lambda _, repository: repository.manifest("1"))
