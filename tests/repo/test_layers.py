"""No import of the code points up or sideways; and the checker that says so would notice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import SOURCE
from tests.repo.layers import EXCEPTIONS, WHERE, imports_below, room_of, violations

if TYPE_CHECKING:
    from pathlib import Path

TOP = SOURCE / "cloche"


def test_every_import_points_down() -> None:
    assert violations(imports_below(TOP)) == []


def test_every_room_has_a_layer() -> None:
    rooms = {path.stem for path in TOP.iterdir() if path.suffix == ".py" or any(path.glob("*.py"))}
    assert rooms - {"__init__"} <= set(WHERE)


def test_no_exception_has_outlived_its_use() -> None:
    used = {(room_of(item.importer), room_of(item.imported)) for item in imports_below(TOP)}
    assert set(EXCEPTIONS) <= used
    assert all(reason.strip() for reason in EXCEPTIONS.values())


def test_the_imports_are_really_read() -> None:
    found = imports_below(TOP)
    assert len(found) > 300
    assert {"top", "inside a function", "for the type checker", "by name"} == {item.how for item in found}


BAD = {
    "up": ("linux/a.py", "from cloche.runtime import b\n", "linux imports up, cloche.runtime.b (top)"),
    "sideways": ("runtime/a.py", "import cloche.images.b\n", "runtime imports sideways, cloche.images.b (top)"),
    "in a function": (
        "stage/a.py",
        "def f():\n    from cloche.sandbox.b import x\n",
        "stage imports up, cloche.sandbox.b (inside a function)",
    ),
    "in a method": (
        "spec/a.py",
        "class A:\n    async def f(self):\n        import cloche.linux.b\n",
        "spec imports sideways, cloche.linux.b (inside a function)",
    ),
    "for types": (
        "engine/a.py",
        "TYPE_CHECKING = False\nif TYPE_CHECKING:\n    from cloche.cli.b import x\n",
        "engine imports up, cloche.cli.b (for the type checker)",
    ),
    "for types, by attribute": (
        "network/a.py",
        "import typing\nif typing.TYPE_CHECKING:\n    from cloche.sandbox.b import x\n",
        "network imports up, cloche.sandbox.b (for the type checker)",
    ),
    "in a try": (
        "images/a.py",
        "try:\n    from cloche.network import b\nexcept ImportError:\n    pass\n",
        "images imports sideways, cloche.network.b (top)",
    ),
    "relative": ("spec/a.py", "from ..stage import b\n", "spec imports up, cloche.stage.b (top)"),
    "relative, the package": (
        "linux/c/a.py",
        "from ...spec.b import x\n",
        "linux imports sideways, cloche.spec.b (top)",
    ),
    "by name": (
        "runtime/a.py",
        "import importlib\nimportlib.import_module('cloche.cli.b')\n",
        "runtime imports up, cloche.cli.b (by name)",
    ),
    "the package itself": ("errors.py", "from cloche import x\n", "errors imports up, cloche (top)"),
    "a sibling module": ("records.py", "import cloche.errors\n", "records imports sideways, cloche.errors (top)"),
    "a stranger": ("attic/a.py", "import cloche.errors\n", "attic is in no layer"),
}


def tree(top: Path, *files: tuple[str, str]) -> Path:
    """A package directory with an empty module b in every room, and these files."""
    for room in (*WHERE, "cloche"):
        place = top / "cloche" / ("" if room in {"cloche", "(the package)"} else room)
        if room not in {"errors", "ids", "records"}:
            place.mkdir(parents=True, exist_ok=True)
            (place / "__init__.py").touch()
            (place / "b.py").touch()
    (top / "cloche/errors.py").touch()
    for name, text in files:
        (top / "cloche" / name).parent.mkdir(parents=True, exist_ok=True)
        (top / "cloche" / name).write_text(text)
    return top / "cloche"


@pytest.mark.parametrize("case", BAD)
def test_a_violation_is_noticed(case: str, tmp_path: Path) -> None:
    name, text, expected = BAD[case]
    found = violations(imports_below(tree(tmp_path, (name, text))))
    assert len(found) == 1
    assert expected in found[0]
    assert found[0].startswith(f"{name}:")


GOOD = {
    "down": ("cli/a.py", "from cloche.runtime.b import x\n"),
    "far down": ("cli/a.py", "def f():\n    from cloche import errors\n"),
    "its own room": ("stage/a.py", "from cloche.stage import b\nfrom . import b as c\n"),
    "others' packages": ("linux/a.py", "import os\nfrom collections.abc import Iterator\nimport clocheless\n"),
    "prose that names a module": ("linux/a.py", '"""What cloche.runtime.b decides is not decided here."""\n'),
}


@pytest.mark.parametrize("case", GOOD)
def test_what_is_allowed_is_left_alone(case: str, tmp_path: Path) -> None:
    assert violations(imports_below(tree(tmp_path, GOOD[case]))) == []
