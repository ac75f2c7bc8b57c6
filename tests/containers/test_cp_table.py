"""`cp` beside docker's: every kind of source to every kind of destination, both ways, and what is there afterwards."""

from __future__ import annotations

import os
import shlex
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.containers.filed import InStore, create

if TYPE_CHECKING:
    from tests.conftest import Cli
    from tests.images.workshop import Workshop

SOURCES = ("f", "d", "d/", "d/.", "lf", "ld", "ld/", "lx", "empty", "none", "d/sub/../a", ".")
TARGETS = ("new", "new/", "g", "d2", "d2/", "lg", "ld2", "lx", "no/such", "deep/new", "f/x")
# a file over a directory of its name, and the other way round
CLASHES = (("d/a", "e"), ("e/a", "d"))
FOLLOWED = (("lf", "new"), ("ld", "new"), ("ld", "d2"), ("lf", "d2"), ("ld/.", "d2"), ("lx", "new"))
CASES = [
    (source, target, "")
    for source in SOURCES
    for target in TARGETS
    if source in {"f", "d", "d/."} or target in {"new", "g", "d2"}
]
CASES += [(source, target, "") for source, target in CLASHES] + [(source, target, "-L ") for source, target in FOLLOWED]
# where docker ends in its own way: an archive that nobody reads, a link that its own checks refuse
LEFT_OUT = {("ld/", "f/x")}


def furnish(top: Path) -> None:
    """What each case begins with."""
    for name, text in (("f", "f"), ("g", "old"), ("d/a", "a"), ("d/sub/b", "b"), ("d2/a", "old"), ("d2/x", "x")):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)
    for name in ("empty", "deep", "e/a"):
        (top / name).mkdir(parents=True)
    (top / "e/a/in").write_text("in")
    for name, target in (("lf", "f"), ("ld", "d"), ("lx", "nothing"), ("lg", "g"), ("ld2", "d2")):
        (top / name).symlink_to(target)
    (top / "d/sub").chmod(0o711)
    (top / "f").chmod(0o640)
    for path in (top, *top.rglob("*")):
        os.utime(path, (1e9, 1e9), follow_symlinks=False)


@pytest.fixture(scope="module")
def ground(workshop: Workshop, cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree with a directory for each case, twice in the room, and a container of each engine that has it too."""
    top = tmp_path_factory.mktemp("ground")
    for number in range(len(CASES)):
        furnish(top / f"c{number}")
    archive = workshop.folder / "ground.tar"
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as made:
        for number in range(len(CASES)):
            made.add(top / f"c{number}", f"c{number}")
    store = workshop.store()
    workshop.sh(
        "mkdir docker-here cloche-here; tar -C docker-here -xpf ground.tar; tar -C cloche-here -xpf ground.tar;"
        "docker import ground.tar ground:1; docker create --name outward ground:1 x;"
        "docker create --name inward ground:1 x; cloche import ground.tar ground:1",
        store,
    )
    for name in ("outward", "inward"):
        create(InStore(cli, store), name, image="ground:1", command=("x",))
    return store


def ends(workshop: Workshop, store: Path, engine: str, container: str, *, out: bool) -> list[bool]:
    """Whether each case succeeds."""
    lines = []
    for number, (source, target, options) in enumerate(CASES):
        here, there = f"{engine}-here/c{number}", f"{container}:/c{number}"
        one, other = (there, here) if out else (here, there)
        words = f"{options}{shlex.quote(f'{one}/{source}')} {shlex.quote(f'{other}/{target}')}"
        lines.append(f"if {engine} cp {words} >/dev/null 2>>{engine}.said; then echo y; else echo n; fi")
    return [line == "y" for line in workshop.sh("\n".join(lines), store).split()]


def look(top: Path, number: int) -> dict[str, object]:
    """What is in the directory of a case."""
    found: dict[str, object] = {}
    place = top / f"c{number}"
    for path in place.rglob("*"):
        status = path.lstat()
        content = os.readlink(path) if path.is_symlink() else path.read_text() if path.is_file() else ""
        mode = 0 if path.is_symlink() else status.st_mode
        time = status.st_mtime_ns if path.is_file() and not path.is_symlink() else 0
        found[str(path.relative_to(place))] = mode, content, time
    return found


def compare(workshop: Workshop, tops: tuple[Path, Path], ours: list[bool], theirs: list[bool]) -> None:
    said = "".join((workshop.folder / f"{engine}.said").read_text() for engine in ("docker", "cloche"))
    wrong: list[tuple[object, ...]] = []
    for number, case in enumerate(CASES):
        if case[:2] in LEFT_OUT:
            continue
        docker, cloche = (look(top, number) for top in tops)
        if ours[number] != theirs[number]:
            wrong.append((case, "docker says", theirs[number]))
        elif docker != cloche:
            names = {name for name in docker.keys() | cloche.keys() if docker.get(name) != cloche.get(name)}
            wrong.append((case, {name: (docker.get(name), cloche.get(name)) for name in names}, ""))
    assert not wrong, "\n".join(map(str, wrong)) + "\n" + said[-3000:]


def test_out_of_a_container(workshop: Workshop, ground: Path) -> None:
    theirs = ends(workshop, ground, "docker", "outward", out=True)
    ours = ends(workshop, ground, "cloche", "outward", out=True)
    assert any(ours)
    compare(workshop, (workshop.folder / "docker-here", workshop.folder / "cloche-here"), ours, theirs)


def test_into_a_container(workshop: Workshop, ground: Path) -> None:
    workshop.sh(
        "rm -r docker-here cloche-here; mkdir docker-here cloche-here; tar -C docker-here -xpf ground.tar;"
        "tar -C cloche-here -xpf ground.tar"
    )
    theirs = ends(workshop, ground, "docker", "inward", out=False)
    ours = ends(workshop, ground, "cloche", "inward", out=False)
    assert any(ours)
    workshop.sh(
        "mkdir docker-in cloche-in; docker export inward | tar -C docker-in -xp --wildcards 'c[0-9]*';"
        "cloche export inward | tar -C cloche-in -xp",
        ground,
    )
    compare(workshop, (workshop.folder / "docker-in", workshop.folder / "cloche-in"), ours, theirs)
