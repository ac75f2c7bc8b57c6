"""Which packages make a system: what is asked for, and whatever that depends on.

As in debootstrap, nothing is taken back: of the alternatives of a dependency one that is chosen already will do, else
the first that can be had is chosen. What is chosen and does not go together is an error.
"""

from __future__ import annotations

from cloche.errors import ConflictError, NotFoundError, SpecError
from cloche.images.debian.packages import Archive, provides
from cloche.images.debian.versions import satisfies

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.images.debian.packages import Package
    from cloche.images.debian.relations import Relation

VARIANTS = ("minbase", "apt", "essential")
# the links of a merged /usr are made before anything is unpacked; the other alternative would do it afterwards
MERGED = "usr-is-merged"
FIRST = "base-passwd"  # which makes the users that other packages' scripts name


def first_choice(archive: Archive, variant: str, include: tuple[str, ...]) -> list[str]:
    """What a variant begins with. Raises SpecError, NotFoundError."""
    if variant not in VARIANTS:
        raise SpecError(f"--variant {variant!r} is not one", hint=", ".join(VARIANTS))
    found = [
        package.name
        for package in archive.packages.values()
        if package.essential or (variant == "minbase" and package.priority == "required")
    ]
    if not found:
        raise NotFoundError(
            f"there is no essential package for {archive.architecture}", hint="is it a mirror of Debian?"
        )
    if variant != "essential":
        found.append("apt")
    for name in (*found, *include):
        if name not in archive.packages:
            raise NotFoundError(f"there is no package {name} for {archive.architecture}", hint="look at --include")
    return sorted({*found, *include})


def resolve(archive: Archive, names: list[str]) -> list[Package]:
    """These packages and all they depend on, what others depend on first. Raises NotFoundError, ConflictError."""
    chosen = {name: archive.packages[name] for name in names}
    needs: dict[str, list[str]] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop(0)
        needs[name] = []
        package = archive.packages[name]
        for clause in _needed(package, archive.architecture):
            found = _taken(clause, archive, chosen) or _first(clause, archive, package)
            needs[name].append(found)
            if found not in chosen:
                chosen[found] = archive.packages[found]
                waiting.append(found)
    _check_conflicts(archive, chosen)
    return [chosen[name] for name in _in_order(chosen, needs)]


def _needed(package: Package, architecture: str) -> list[list[Relation]]:
    return [*package.clauses("pre-depends", architecture), *package.clauses("depends", architecture)]


def _taken(clause: list[Relation], archive: Archive, chosen: dict[str, Package]) -> str:
    """What is chosen already and satisfies a clause."""
    return next((name for wanted in clause for name in archive.having(wanted) if name in chosen), "")


def _first(clause: list[Relation], archive: Archive, package: Package) -> str:
    there = [name for wanted in clause for name in archive.having(wanted)]
    if not there:
        what = " | ".join(str(wanted) for wanted in clause)
        raise NotFoundError(
            f"the package {package.name} {package.version} needs {what}, which cannot be had",
            hint="the mirror is incomplete, or a suite or component is missing",
        )
    return MERGED if MERGED in there else there[0]


def _check_conflicts(archive: Archive, chosen: dict[str, Package]) -> None:
    given: dict[str, list[tuple[str, str]]] = {}  # name -> (package, version)
    for package in chosen.values():
        given.setdefault(package.name, []).append((package.name, package.version))
        for provided in provides(package, archive.architecture):
            given.setdefault(provided.name, []).append((package.name, provided.version))
    for package in chosen.values():
        for field in ("conflicts", "breaks"):
            for clause in package.clauses(field, archive.architecture):
                for refused in clause:
                    for other, version in given.get(refused.name, ()):
                        if other != package.name and _is_refused(refused, version):
                            raise ConflictError(
                                f"the packages {package.name} and {other} do not go together: {field} {refused}",
                                hint="leave one of them out of --include",
                            )


def _is_refused(refused: Relation, version: str) -> bool:
    if not refused.relation:
        return True
    return bool(version) and satisfies(version, refused.relation, refused.version)


def _in_order(chosen: dict[str, Package], needs: dict[str, list[str]]) -> list[str]:
    """Dependencies first, loops cut where they are met; without recursion, however long a chain is."""
    done: dict[str, None] = {}
    begun: set[str] = set()
    for start in sorted(chosen, key=lambda name: (name != FIRST, name)):
        waiting = [(start, iter(needs[start]))] if start not in begun else []
        begun.add(start)
        while waiting:
            name, rest = waiting[-1]
            following = next((item for item in rest if item not in begun), None)
            if following is None:
                done[name] = None
                waiting.pop()
            else:
                begun.add(following)
                waiting.append((following, iter(needs[following])))
    return list(done)
