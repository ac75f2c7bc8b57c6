"""Where a name is fetched from: registries.conf, version 2 (containers-registries.conf(5)).

    [[registry]]                    the longest prefix of a name that matches counts
    prefix = "example.com/team"     *.example.com matches every subdomain
    location = "mirror.lan/team"    what stands in its place; insecure, blocked
    [[registry.mirror]]             tried before it, in this order: location, insecure, pull-from-mirror

One file counts, CONTAINERS_REGISTRIES_CONF or the user's or the machine's, and after it those of registries.conf.d, in
the order of their names. Names without a registry are looked up in [aliases] first, then docker.io is meant: docker's
rule, where podman asks all of unqualified-search-registries, which is used here only where a file sets it.
"""

from __future__ import annotations

import os

from cloche.errors import ForbiddenError, SpecError
from cloche.images.references import DEFAULT_DOMAIN, OFFICIAL, Reference, parse_reference
from cloche.records import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HUB = "registry-1.docker.io"  # what answers for docker.io
SEARCH_HUB = "index.docker.io"  # and who is asked what there is
MACHINE, VARIABLE = "/etc/containers/registries.conf", "CONTAINERS_REGISTRIES_CONF"
WHEN = ("all", "digest-only", "tag-only")


@record
class Place:
    """One place to ask: host and port, the repository there, and whether TLS or a good certificate may be missing."""

    host: str
    path: str
    insecure: bool = False

    @property
    def loopback(self) -> bool:
        """Whether it is this machine, where docker asks without TLS if there is none."""
        name = self.host.rpartition(":")[0] if self.host.rpartition(":")[2].isdecimal() else self.host
        return name in {"localhost", "[::1]"} or (name.startswith("127.") and name.replace(".", "").isdecimal())


@record
class Registries:
    """What the files say: rules by prefix, aliases, and registries for names that have none."""

    rules: tuple[dict[str, Any], ...] = ()
    aliases: dict[str, str] | None = None
    search: tuple[str, ...] = ()

    def references(self, reference: Reference) -> list[Reference]:
        """What a short name may mean, to be tried in this order; any other means itself."""
        if not reference.short:
            return [reference]
        given = reference.path.removeprefix(OFFICIAL)
        alias = (self.aliases or {}).get(given)
        if alias:
            found = parse_reference(alias, tagged=False)
            return [Reference(found.domain, found.path, reference.tag, reference.digest)]
        named = []
        for domain in self.search or (DEFAULT_DOMAIN,):
            path = OFFICIAL + given if domain == DEFAULT_DOMAIN and "/" not in given else given
            named.append(Reference(domain, path, reference.tag, reference.digest))
        return named

    def places(self, reference: Reference) -> list[Place]:
        """Where to ask for it: mirrors first. Raises ForbiddenError for a registry that is blocked."""
        rule = self._rule(reference)
        if rule.get("blocked"):
            raise ForbiddenError(f"the registry of {reference.name} is blocked", hint="by registries.conf")
        found = []
        for mirror in rule.get("mirror", ()):
            when = mirror.get("pull-from-mirror") or ("digest-only" if rule.get("mirror-by-digest-only") else "all")
            if when == "all" or (when == "digest-only") == bool(reference.digest):
                found.append(self._place(reference, rule, mirror.get("location", ""), mirror))
        return [*found, self.itself(reference)]

    def itself(self, reference: Reference) -> Place:
        """The last of these places: the registry that is meant, or what is called so in its stead."""
        rule = self._rule(reference)
        return self._place(reference, rule, rule.get("location", ""), rule)

    def _rule(self, reference: Reference) -> dict[str, Any]:
        matching = [rule for rule in self.rules if _matches(_prefix(rule), reference.name)]
        return max(matching, key=lambda rule: len(_prefix(rule)), default={})

    def _place(self, reference: Reference, rule: dict[str, Any], location: str, own: dict[str, Any]) -> Place:
        name = reference.name
        prefix = _prefix(rule)
        if location and prefix.startswith("*."):
            name = location + name[name.index("/") :]
        elif location:
            name = location + name[len(prefix) :]
        host, _, path = name.partition("/")
        return Place(HUB if host == DEFAULT_DOMAIN else host, path, bool(own.get("insecure")))


def read_registries() -> Registries:
    """What the files of this machine and user say. Raises SpecError."""
    rules: dict[str, dict[str, Any]] = {}
    aliases: dict[str, str] = {}
    search: tuple[str, ...] = ()
    for path in _files():
        raw = _load(path)
        for rule in raw.get("registry", ()):
            _check_rule(rule, path)
            rules[_prefix(rule)] = rule
        aliases |= {str(key): str(value) for key, value in raw.get("aliases", {}).items()}
        search = tuple(raw.get("unqualified-search-registries", search))
    return Registries(tuple(rules.values()), aliases, search)


def _files() -> list[str]:
    given = os.environ.get(VARIABLE)
    if given:
        return [given]
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    own = f"{config}/containers/registries.conf"
    user = os.geteuid() != 0
    first = own if user and os.path.exists(own) else MACHINE
    found = [first] if os.path.exists(first) else []
    for folder in (f"{MACHINE}.d", *([f"{own}.d"] if user else [])):
        if os.path.isdir(folder):
            found += [f"{folder}/{name}" for name in sorted(os.listdir(folder)) if name.endswith(".conf")]
    return found


def _load(path: str) -> dict[str, Any]:
    import tomllib

    try:
        with open(path, "rb") as file:
            raw = tomllib.load(file)
    except (OSError, ValueError, RecursionError) as error:
        raise SpecError(f"{path} cannot be read: {error}") from None
    if "registries" in raw:
        raise SpecError(f"{path} is of version 1, which is obsolete", hint="containers-registries.conf(5)")
    for key, kind in (("registry", list), ("aliases", dict), ("unqualified-search-registries", list)):
        if not isinstance(raw.get(key, kind()), kind):
            raise SpecError(f"{path}: {key} is of the wrong type", hint="containers-registries.conf(5)")
    return raw


def _check_rule(rule: object, path: str) -> None:
    if not isinstance(rule, dict) or not (rule.get("prefix") or rule.get("location")):
        raise SpecError(f"{path}: a registry has neither prefix nor location")
    mirrors = rule.get("mirror", [])
    if not isinstance(mirrors, list) or not all(isinstance(mirror, dict) for mirror in mirrors):
        raise SpecError(f"{path}: mirror of a registry is of the wrong type")
    for item in (rule, *mirrors):
        for key, kind in (("prefix", str), ("location", str), ("insecure", bool), ("blocked", bool)):
            if not isinstance(item.get(key, kind()), kind):
                raise SpecError(f"{path}: {key} of a registry is of the wrong type")
        if item.get("pull-from-mirror", "all") not in WHEN:
            raise SpecError(f"{path}: pull-from-mirror is one of {', '.join(WHEN)}")


def _prefix(rule: dict[str, Any]) -> str:
    return str(rule.get("prefix") or rule.get("location") or "")


def _matches(prefix: str, name: str) -> bool:
    if prefix.startswith("*."):
        return name.partition("/")[0].partition(":")[0].endswith(prefix[1:])
    return name == prefix or (name.startswith(prefix) and name[len(prefix)] in "/:@")
