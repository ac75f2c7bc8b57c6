"""The layers of the design as data, and a checker that reads imports out of source text.

    cli   api
      sandbox
      engine
    runtime  images  network
      stage
    linux  spec
    errors  ids  records

A module may import from its own room and from rooms below. Not from above, and not from a sibling, however
the import is written: at the top, inside a function, for the type checker only, or as a name in a string.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = "cloche"
DOOR = "(the package)"  # cloche/__init__.py itself: the public door, above everything
DOORS = ("cloche.images",)  # packages whose __init__.py is one as well: names for programs, loaded when they are used
LEVELS = (
    (DOOR,),
    ("cli", "api"),
    ("sandbox",),
    ("engine",),
    ("runtime", "images", "network"),
    ("stage",),
    ("linux", "spec"),
    ("errors", "ids", "records", "bundle"),
)
# (who, whom): why it may, all the same
EXCEPTIONS = {
    ("ids", "errors"): "a name that is none is a SpecError, and errors imports nothing itself",
    ("cli", DOOR): "`cloche version` prints the version, which is written there; nothing else is loaded by it",
}
WHERE = {name: level for level, names in enumerate(LEVELS) for name in names}


@dataclass(frozen=True)
class Import:
    """One import: which file and line, from which module, and what for."""

    place: str
    importer: str
    imported: str
    how: str  # "top", "inside a function", "for the type checker", "by name"


def imports_below(top: Path) -> list[Import]:
    """Every import of the package's own modules in the package directory `top`."""
    files = {_module(top, path): path for path in sorted(top.rglob("*.py"))}
    found = []
    for module, path in files.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        for name, line, how in _Reader(package, frozenset(files)).read(tree):
            found.append(Import(f"{path.relative_to(top)}:{line}", module, name, how))
    return found


def room_of(module: str) -> str:
    """The room a module is in: cloche.stage.wire is in stage."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else DOOR


def violations(imports: list[Import]) -> list[str]:
    """What breaks the table, one line each, exceptions left out."""
    found = []
    for item in imports:
        who = DOOR if item.importer in DOORS else room_of(item.importer)
        whom = room_of(item.imported)
        if who == whom or (who, whom) in EXCEPTIONS:
            continue
        strangers = [room for room in (who, whom) if room not in WHERE]
        if strangers:
            found.append(f"{item.place}: {strangers[0]} is in no layer; say in the design where it belongs")
        elif WHERE[whom] <= WHERE[who]:
            way = "sideways" if WHERE[whom] == WHERE[who] else "up"
            found.append(f"{item.place}: {who} imports {way}, {item.imported} ({item.how})")
    return found


def _module(top: Path, path: Path) -> str:
    parts = path.relative_to(top).with_suffix("").parts
    return ".".join([PACKAGE, *(part for part in parts if part != "__init__")])


class _Reader:
    """Finds the package's own modules in one syntax tree."""

    def __init__(self, package: str, modules: frozenset[str]) -> None:
        self.package, self.modules = package, modules
        self.found: list[tuple[str, int, str]] = []

    def read(self, tree: ast.Module) -> list[tuple[str, int, str]]:
        self._walk(tree, "top")
        return self.found

    def _walk(self, node: ast.AST, how: str) -> None:
        if isinstance(node, ast.If) and _names_type_checking(node.test):
            for inner in node.body:
                self._walk(inner, "for the type checker")
            for inner in node.orelse:
                self._walk(inner, how)
            return
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and how == "top":
            how = "inside a function"
        if isinstance(node, ast.Import):
            for alias in node.names:
                self._note(alias.name, node.lineno, how)
        elif isinstance(node, ast.ImportFrom):
            source = self._absolute(node)
            for alias in node.names:
                name = f"{source}.{alias.name}"
                self._note(name if name in self.modules else source, node.lineno, how)
        elif isinstance(node, ast.Constant) and node.value in self.modules - {PACKAGE}:
            self._note(str(node.value), node.lineno, "by name")
        for child in ast.iter_child_nodes(node):
            self._walk(child, how)

    def _note(self, name: str, line: int, how: str) -> None:
        if name == PACKAGE or name.startswith(PACKAGE + "."):
            self.found.append((name, line, how))

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        above = self.package.split(".")
        above = above[: len(above) - (node.level - 1)]
        return ".".join([*above, *([node.module] if node.module else [])])


def _names_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )
