"""What packages need of each other (deb-control(5); Debian Policy, 7.1).

Depends: libc6 (>= 2.36), debconf (>= 0.5) | debconf-2.0
         └─ clauses, all of them; alternatives of one, any of them
"""

from __future__ import annotations

from cloche.errors import SpecError
from cloche.images.debian.versions import key
from cloche.records import record

RELATIONS = ("<<", "<=", "=", ">=", ">>")
OLD = {"<": "<=", ">": ">="}
NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789+-.")


@record
class Relation:
    """A package by name, with the versions that will do."""

    name: str
    relation: str = ""
    version: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.relation} {self.version})" if self.relation else self.name


def parse_relations(text: str, architecture: str) -> list[list[Relation]]:
    """The clauses of a field, each a list of alternatives; those for other architectures left out. Raises SpecError."""
    clauses = []
    for clause in text.split(","):
        if not clause.strip():
            continue
        found = [relation for part in clause.split("|") if (relation := _alternative(part, architecture))]
        if found:
            clauses.append(found)
    return clauses


def _alternative(text: str, architecture: str) -> Relation | None:
    """NAME[:ARCH] [(RELATION VERSION)] [[ARCH...]], None where it is not for this architecture."""
    rest, _, limit = text.strip().partition("[")
    if limit and not _is_for(limit.rstrip("] \t\n").split(), architecture):
        return None
    name, parenthesis, version = rest.partition("(")
    name = name.strip().partition(":")[0]
    if not is_name(name):
        raise SpecError(f"{text.strip()[:80]!r} names no package")
    if not parenthesis:
        return Relation(name)
    inside = version.strip().removesuffix(")").strip()
    sign = inside[: len(inside) - len(inside.lstrip("<>="))]
    number = inside[len(sign) :].strip()
    sign = OLD.get(sign, sign)
    if sign not in RELATIONS:
        raise SpecError(f"{text.strip()[:80]!r} compares with {sign!r}")
    key(number)
    return Relation(name, sign, number)


def _is_for(words: list[str], architecture: str) -> bool:
    refused = [word[1:] for word in words if word.startswith("!")]
    wanted = [word for word in words if not word.startswith("!")]
    names = {architecture, "any", f"linux-{architecture}", "linux-any", f"any-{architecture}"}
    return not names & set(refused) and (not wanted or bool(names & set(wanted)))


def is_name(text: str) -> bool:
    """Whether it can be the name of a package: it is safe as a part of a file's name."""
    return 2 <= len(text) <= 200 and NAME.issuperset(text) and text[0] not in "+-."
