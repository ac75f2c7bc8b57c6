"""Packages: what a mirror has, one paragraph for each package (Debian wiki, RepositoryFormat)."""

from __future__ import annotations

from cloche.errors import SpecError
from cloche.images.debian.control import paragraphs
from cloche.images.debian.relations import Relation, is_name, parse_relations
from cloche.images.debian.versions import key, satisfies
from cloche.images.digests import check_digest
from cloche.records import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

LARGEST = 64 << 30  # bytes of a package; documentation may have 3 GB
MOST = 1_000_000


@record
class Package:
    """One that can be had: where it is, what it is known by, and what it says of others, as written."""

    name: str
    version: str
    architecture: str
    priority: str
    essential: bool
    filename: str
    size: int
    digest: str
    source: int  # the number of the source whose mirror has it
    said: tuple[tuple[str, str], ...]

    def clauses(self, field: str, architecture: str) -> list[list[Relation]]:
        """One of Depends, Pre-Depends, Provides, Conflicts, Breaks, in lower case. Raises SpecError."""
        text = dict(self.said).get(field, "")
        try:
            return parse_relations(text, architecture)
        except SpecError as error:
            raise SpecError(f"the package {self.name}: {field}: {error}") from None


PRIORITIES = ("required", "important", "standard", "optional")
SAID = ("depends", "pre-depends", "provides", "conflicts", "breaks")


def parse_packages(content: bytes, architecture: str, source: int) -> list[Package]:
    """All packages of a file that are for this architecture. Raises SpecError."""
    found: list[Package] = []
    for said in paragraphs(content):
        if len(found) >= MOST:
            raise SpecError(f"has more than {MOST} packages")
        if said.get("architecture") in {architecture, "all"}:
            found.append(_package(said, source))
    return found


def _package(said: dict[str, str], source: int) -> Package:
    name, size, place = said.get("package", ""), said.get("size", ""), said.get("filename", "")
    if not is_name(name):
        raise SpecError(f"has a package called {name[:80]!r}")
    if not (size.isascii() and size.isdecimal() and len(size) < 12 and int(size) <= LARGEST):
        raise SpecError(f"has the package {name} with {size[:24]!r} for a size")
    if not place or place.startswith("/") or ".." in place.split("/"):
        raise SpecError(f"has the package {name} at {place[:80]!r}, which is no place on its mirror")
    return Package(
        name,
        said.get("version", ""),
        said["architecture"],
        said.get("priority", ""),
        said.get("essential", "") == "yes",
        place,
        int(size),
        check_digest(f"sha256:{said.get('sha256', '')}"),
        source,
        tuple((field, said[field]) for field in SAID if field in said),
    )


class Archive:
    """What can be had: of each package the newest version, and who provides what."""

    def __init__(self, packages: Iterable[Package], architecture: str) -> None:
        self.architecture = architecture
        self.packages: dict[str, Package] = {}
        for package in packages:
            known = self.packages.get(package.name)
            if known is None or key(package.version) > key(known.version):
                self.packages[package.name] = package
        self._providers: dict[str, list[tuple[str, str]]] = {}  # name -> (package, version or "")
        for package in self.packages.values():
            for provided in provides(package, architecture):
                self._providers.setdefault(provided.name, []).append((package.name, provided.version))

    def having(self, wanted: Relation) -> list[str]:
        """Packages that are, or provide, what is wanted: the one of that name first, then the most important."""
        own = self.packages.get(wanted.name)
        found = [own.name] if own is not None and satisfies(own.version, wanted.relation, wanted.version) else []
        for name, version in sorted(self._providers.get(wanted.name, ()), key=self._rank):
            # what is provided without a version satisfies no relation that has one (Policy, 7.5)
            if not wanted.relation or (version and satisfies(version, wanted.relation, wanted.version)):
                found.append(name)
        return found

    def _rank(self, provider: tuple[str, str]) -> tuple[int, str]:
        priority = self.packages[provider[0]].priority
        return PRIORITIES.index(priority) if priority in PRIORITIES else len(PRIORITIES), provider[0]


def provides(package: Package, architecture: str) -> list[Relation]:
    """What a package provides besides itself."""
    if "provides" not in dict(package.said):
        return []
    return [relation for clause in package.clauses("provides", architecture) for relation in clause]
