"""Writing the bundles that cloche.bundle reads."""

from __future__ import annotations
import __future__

import ast
import os
import sys
from marshal import dumps

from cloche.bundle import path_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType

    from cloche.bundle import Entry


def write(package: str, name: str, every_run: tuple[str, ...], others: tuple[str, ...] = ()) -> None:
    """Make the bundle `name` of the package in this directory from these modules and those imported so far.

    Does nothing where it may not. `every_run` names the modules that `load_all` loads, with all they import;
    `others` are in it as well.

    Without docstrings, line numbers and the annotations of functions, which take a third of the space (the
    launcher leaves the bundle alone for --debug). Each module comes after those it imports. What a module has
    in a dict REMEMBERED, pure results of its own code, is kept with it.
    """
    if not os.access(f"{package}/__pycache__", os.W_OK):
        return
    made = _Bundle()
    for module in (*every_run, *others):
        __import__(module)
    for module in every_run:
        made.add(module, always=True)
    for module in list(sys.modules):
        made.add(module, always=False)
    place = path_of(package, name)
    try:
        # never writable by others, whatever the umask: it is code
        fd = os.open(f"{place}.{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        with open(fd, "wb") as file:
            os.fchmod(fd, 0o644)
            file.write(dumps(made.modules))
        os.replace(f"{place}.{os.getpid()}", place)
    except OSError:
        if os.path.exists(f"{place}.{os.getpid()}"):
            os.unlink(f"{place}.{os.getpid()}")


def compiled(origin: str) -> tuple[list[str], CodeType]:
    """What a source imports at its beginning, and its code; compiled once, for whoever makes several bundles."""
    found = _COMPILED.get(origin)
    if found is None:
        with open(origin, "rb") as source:
            found = _COMPILED[origin] = _compile(origin, ast.parse(source.read()))
    return found


_COMPILED: dict[str, tuple[list[str], CodeType]] = {}


def _compile(origin: str, tree: ast.Module) -> tuple[list[str], CodeType]:
    named = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module]
    imported = [
        other for node in named for other in (node.module or "", *(f"{node.module}.{name.name}" for name in node.names))
    ]
    for inner in ast.walk(tree):
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
            inner.returns = None
        elif isinstance(inner, ast.arg):
            inner.annotation = None
    # as a flag, the statement need not be executed: it would read a module that is in no bundle
    future = [node for node in named if node.module == "__future__"]
    tree.body = [node for node in tree.body if node not in future]
    flags = __future__.annotations.compiler_flag if future else 0
    return imported, _without_lines(compile(tree, origin, "exec", flags, dont_inherit=True, optimize=2))


class _Bundle:
    def __init__(self) -> None:
        self.modules: dict[str, Entry] = {}
        self.seen = {"cloche.bundle", __name__}  # which are there before any bundle is read

    def add(self, name: str, *, always: bool) -> None:
        """Add a module of ours, after those that it imports."""
        origin = getattr(sys.modules.get(name), "__file__", None)
        if name in self.seen or name.partition(".")[0] != "cloche" or not origin:
            return
        self.seen.add(name)
        status = os.stat(origin)
        imported, code = compiled(origin)
        for other in imported:
            self.add(other, always=always)
        known = origin, origin.endswith("/__init__.py"), status.st_mtime_ns, status.st_size
        self.modules[name] = *known, code if always else dumps(code), getattr(sys.modules[name], "REMEMBERED", {})


def _without_lines(code: CodeType) -> CodeType:
    inner = (_without_lines(item) if isinstance(item, type(code)) else item for item in code.co_consts)
    return code.replace(co_linetable=b"", co_consts=tuple(inner))
