"""Whose password is sent to a registry: podman's auth.json, docker's config.json, and their helpers.

    {"auths": {"example.com/team": {"auth": base64 of USER:PASSWORD, "identitytoken": …}},
     "credsStore": NAME, "credHelpers": {"example.com": NAME}}       docker-credential-NAME get, on our PATH

The files are asked in this order: REGISTRY_AUTH_FILE, $XDG_RUNTIME_DIR/containers/auth.json (root
without one: /run/containers/0/auth.json), ~/.config/containers/auth.json, $DOCKER_CONFIG or ~/.docker/config.json; in
one file the longest name that leads to the repository counts (containers-auth.json(5)).
"""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from binascii import Error as NotBase64

from cloche.errors import ForbiddenError, NotFoundError, SpecError
from cloche.images.references import DEFAULT_DOMAIN
from cloche.images.registry.auth import Login
from cloche.images.store.appearing import appearing
from cloche.spec.reader import read_json, write_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HUB_KEY = "https://index.docker.io/v1/"  # what docker calls its own registry there
TOKEN_USER = "<token>"  # what helpers say where the secret is an identity token
PATIENCE = 30.0  # seconds for a helper


def auth_files() -> list[str]:
    """Where logins may be, in the order they are asked."""
    given = os.environ.get("REGISTRY_AUTH_FILE")
    if given:
        return [given]
    home = os.path.expanduser("~")
    config = os.environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    docker = os.environ.get("DOCKER_CONFIG") or f"{home}/.docker"
    return [own_file(), f"{config}/containers/auth.json", f"{docker}/config.json"]


def own_file() -> str:
    """Where `login` writes: until the next boot, as podman has it."""
    given = os.environ.get("REGISTRY_AUTH_FILE")
    if given:
        return given
    runtime = os.environ.get("XDG_RUNTIME_DIR")  # of root as well, where it has logged in
    if runtime:
        return f"{runtime}/containers/auth.json"
    if os.geteuid() == 0:
        return "/run/containers/0/auth.json"
    return f"{os.environ.get('XDG_CONFIG_HOME') or os.path.expanduser('~/.config')}/containers/auth.json"


def login_for(domain: str, path: str) -> Login:
    """The login for a repository; of nobody where there is none. Raises SpecError."""
    for file in auth_files():
        raw = _load(file)
        found = _in_file(raw, domain, path)
        if found is not None:
            return found
    return Login()


def _in_file(raw: dict[str, Any], domain: str, path: str) -> Login | None:
    helpers = raw.get("credHelpers")
    helper = helpers.get(domain) if isinstance(helpers, dict) else None
    helper = helper or raw.get("credsStore")
    if isinstance(helper, str) and helper:
        found = _ask(helper, HUB_KEY if domain == DEFAULT_DOMAIN else domain)
        if found is not None:
            return found
    auths = raw.get("auths")
    if not isinstance(auths, dict):
        return None
    known = {_key(key): value for key, value in auths.items()}
    name = f"{domain}/{path}".rstrip("/")
    while name:
        entry = known.get(name)
        if isinstance(entry, dict):
            return _login(entry)
        name = name.rpartition("/")[0]
    return None


def _key(key: str) -> str:
    """What docker writes as an address becomes a name: https://HOST/v1/."""
    if key == HUB_KEY:
        return DEFAULT_DOMAIN
    bare = key.removeprefix("https://").removeprefix("http://")
    return bare.partition("/")[0] if bare != key else bare.rstrip("/")


def _login(entry: dict[str, Any]) -> Login | None:
    refresh = entry.get("identitytoken") or ""
    try:
        text = b64decode(str(entry.get("auth") or ""), validate=True).decode()
    except (NotBase64, ValueError):
        return None
    user, colon, password = text.rstrip("\0").partition(":")
    if not colon and not refresh:
        return None
    return Login(user, password, str(refresh))


def _ask(helper: str, server: str) -> Login | None:
    """Ask docker-credential-HELPER (docker, "Credential helper protocol")."""
    import subprocess

    if "/" in helper:
        raise SpecError(f"{helper!r} is not the name of a credential helper")
    try:
        done = subprocess.run(
            [f"docker-credential-{helper}", "get"],
            input=server.encode(),
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
    except FileNotFoundError:
        raise NotFoundError(
            f"docker-credential-{helper}, which keeps the passwords, is not there", hint="install it, or cloche login"
        ) from None
    except subprocess.TimeoutExpired:
        raise ForbiddenError(f"docker-credential-{helper} does not answer") from None
    if done.returncode:
        if b"not found" in done.stdout + done.stderr:
            return None
        raise ForbiddenError(
            f"docker-credential-{helper}: {(done.stdout + done.stderr).decode(errors='replace')[:200]}"
        )
    raw = read_json(done.stdout)
    if not isinstance(raw, dict):
        return None
    user, secret = str(raw.get("Username") or ""), str(raw.get("Secret") or "")
    return Login(refresh=secret) if user == TOKEN_USER else Login(user, secret)


def save(domain: str, login: Login) -> str:
    """Write a login down for later commands; returns the file."""
    path = own_file()
    raw = _load(path)
    secret = b64encode(f"{login.user}:{login.password}".encode()).decode()
    auths = raw.get("auths")
    raw["auths"] = {**(auths if isinstance(auths, dict) else {}), domain: {"auth": secret}}
    _write(path, raw)
    return path


def forget(domain: str) -> bool:
    """Remove a login from our file; whether there was one."""
    path = own_file()
    raw = _load(path)
    auths = raw.get("auths")
    if not isinstance(auths, dict):
        return False
    kept = {key: value for key, value in auths.items() if _key(key) != domain}
    if len(kept) == len(auths):
        return False
    _write(path, {**raw, "auths": kept})
    return True


def _load(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            content = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except PermissionError:
        raise ForbiddenError(f"{path}, where logins are, cannot be read by you") from None
    if not content.strip():
        return {}
    try:
        raw = read_json(content)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from None
    return raw if isinstance(raw, dict) else {}


def _write(path: str, raw: dict[str, Any]) -> None:
    folder = os.path.dirname(path)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    with appearing(path, 0o600) as file:
        file.write(write_json(raw).encode() + b"\n")
