"""All modules of a command line's way in one file: what forty imports cost, paid once.

    __pycache__/NAME-2.<tag>.bundle   marshal of (code of this module, {module: Entry}); 2 is its format
    run      `cloche run`; runtime and small: `cloche-runtime`, for what makes a process, and for the rest

Python reads each module by half a dozen system calls and looks every one up in a directory; a hundred
small modules cost twice what their code does. The launcher reads the bundle, runs this module from it, and
asks `use` before it imports anything else; `write` is called at the end when there was none or a source had
changed. It is a cache like any .pyc: made by whoever may write there, ignored where it cannot be, never needed.
"""

from __future__ import annotations

import sys
from _frozen_importlib import ModuleSpec
from marshal import dumps, loads
from posix import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Any

    # file, package?, mtime in ns, size in bytes, code (marshalled where not every run needs it), its REMEMBERED
    Entry = tuple[str, bool, int, int, CodeType | bytes, dict[Any, Any]]


class Finder:
    """Finds and loads the modules of a bundle (importlib.abc.MetaPathFinder and Loader)."""

    def __init__(self, modules: dict[str, Entry]) -> None:
        self.modules = modules

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """The spec of a module of the bundle, None for any other."""
        del path, target
        entry = self.modules.get(name)
        if entry is None:
            return None
        loader: Any = self
        spec = ModuleSpec(name, loader, origin=entry[0], is_package=entry[1])
        spec.has_location = True
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations.append(entry[0].rpartition("/")[0])
        return spec

    def create_module(self, spec: ModuleSpec) -> None:
        """Let Python make the module object."""
        del spec

    def exec_module(self, module: ModuleType) -> None:
        """Run its code, and give it what it had found out by that code alone."""
        *_, code, remembered = self.modules[module.__name__]
        exec(loads(code) if isinstance(code, bytes) else code, vars(module))
        if remembered:
            vars(module)["REMEMBERED"].update(remembered)


def use(modules: dict[str, Entry], folder: str) -> bool:
    """Import from these modules of a bundle from now on; False when a source has changed since.

    Likewise when they were found elsewhere than in `folder`, of which that is then a copy.
    """
    try:
        for origin, _, changed, size, *_rest in modules.values():
            if not origin.startswith(f"{folder}/"):
                return False
            status = stat(origin)
            if (status.st_mtime_ns, status.st_size) != (changed, size):
                return False
    except OSError:
        return False
    sys.meta_path.insert(0, Finder(modules))
    return True


def load_all() -> None:
    """Run what every run imports of the bundle in use now, in its order: a third of the cost of import statements.

    These modules know their name and file, and have no spec: making one takes longer than running many a module.
    """
    finder = sys.meta_path[0]
    if not isinstance(finder, Finder):
        return
    make = type(sys)
    for name, entry in finder.modules.items():
        if name in sys.modules or isinstance(entry[4], bytes):
            continue
        module = sys.modules[name] = make(name)
        module.__file__ = entry[0]
        if entry[1]:
            module.__path__ = [entry[0].rpartition("/")[0]]
        finder.exec_module(module)
        parent, _, own = name.rpartition(".")
        if parent in sys.modules:
            setattr(sys.modules[parent], own, module)


def write(folder: str, name: str, every_run: tuple[str, ...], others: tuple[str, ...] = ()) -> None:
    """Make the bundle `name` of the package in `folder` from these modules and those imported so far.

    Does nothing where it may not. `every_run` names the modules that `load_all` loads, with all they import;
    `others` are in it as well.

    Without docstrings, line numbers and the annotations of functions, which take a third of the space (the
    launcher leaves the bundle alone for --debug). Each module comes after those it imports. What a module has
    in a dict REMEMBERED, pure results of its own code, is kept with it.
    """
    import __future__

    import ast
    import os

    if not os.access(f"{folder}/__pycache__", os.W_OK):
        return
    modules: dict[str, Entry] = {}
    seen = set()

    def add(name: str, *, always: bool) -> None:
        origin = getattr(sys.modules.get(name), "__file__", None)
        if name in seen or name.partition(".")[0] != "cloche" or not origin:
            return
        seen.add(name)
        status = os.stat(origin)
        with open(origin, "rb") as source:
            tree = ast.parse(source.read())
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and node.module:
                for other in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
                    add(other, always=always)
        for inner in ast.walk(tree):
            if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                inner.returns = None
            elif isinstance(inner, ast.arg):
                inner.annotation = None
        # as a flag, the statement need not be executed: it would read a module that is in no bundle
        future = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
        tree.body = [node for node in tree.body if node not in future]
        flags = __future__.annotations.compiler_flag if future else 0
        code = _without_lines(compile(tree, origin, "exec", flags, dont_inherit=True, optimize=2))
        remembered = getattr(sys.modules[name], "REMEMBERED", {})
        package = origin.endswith("/__init__.py")
        modules[name] = origin, package, status.st_mtime_ns, status.st_size, code if always else dumps(code), remembered

    for module in (*every_run, *others):
        __import__(module)
    for module in every_run:
        add(module, always=True)
    for module in list(sys.modules):
        add(module, always=False)
    place = f"{folder}/__pycache__/{name}-2.{sys.implementation.cache_tag}.bundle"
    try:
        # never writable by others, whatever the umask: it is code
        fd = os.open(f"{place}.{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        with open(fd, "wb") as file:
            os.fchmod(fd, 0o644)
            file.write(dumps((modules[__name__][4], modules)))
        os.replace(f"{place}.{os.getpid()}", place)
    except OSError:
        if os.path.exists(f"{place}.{os.getpid()}"):
            os.unlink(f"{place}.{os.getpid()}")


def _without_lines(code: CodeType) -> CodeType:
    inner = (_without_lines(item) if isinstance(item, type(code)) else item for item in code.co_consts)
    return code.replace(co_linetable=b"", co_consts=tuple(inner))
