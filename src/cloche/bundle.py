"""All modules of a command line's way in one file: what forty imports cost, paid once.

    __pycache__/run.<tag>.bundle   marshal of {module: (file, package?, mtime in ns, size, code)}

Python reads each module by half a dozen system calls and looks every one up in a directory; a hundred
small modules cost twice what their code does. The launcher asks `use` for the bundle before it imports
anything else, and calls `write` at the end when there was none or a source had changed. It is a cache
like any .pyc: made by whoever may write there, ignored where it cannot be, never needed.
"""

from __future__ import annotations

import marshal
import sys
from _frozen_importlib import ModuleSpec
from posix import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Any

    Entry = tuple[str, bool, int, int, CodeType]


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
        """Run its code."""
        exec(self.modules[module.__name__][4], vars(module))


def path_of(folder: str) -> str:
    """The bundle of the package in `folder`."""
    return f"{folder}/__pycache__/run.{sys.implementation.cache_tag}.bundle"


def use(folder: str) -> bool:
    """Import from the bundle of the package in `folder`; False when there is none that is up to date."""
    try:
        with open(path_of(folder), "rb", buffering=0) as file:
            modules: dict[str, Entry] = marshal.loads(file.read())
        for origin, _, changed, size, _code in modules.values():
            status = stat(origin)
            if (status.st_mtime_ns, status.st_size) != (changed, size):
                return False
    except (OSError, ValueError, EOFError, TypeError):
        return False
    sys.meta_path.insert(0, Finder(modules))
    return True


def write(folder: str) -> None:
    """Make the bundle from the modules imported so far, without docstrings; does nothing where it may not."""
    import os

    if not os.access(f"{folder}/__pycache__", os.W_OK):
        return
    modules: dict[str, Entry] = {}
    for name, module in list(sys.modules.items()):
        origin = getattr(module, "__file__", None)
        if not (name == "cloche" or name.startswith("cloche.")) or not origin or name == __name__:
            continue
        status = os.stat(origin)
        with open(origin, "rb") as source:
            code = compile(source.read(), origin, "exec", dont_inherit=True, optimize=2)
        modules[name] = origin, hasattr(module, "__path__"), status.st_mtime_ns, status.st_size, code
    new = f"{path_of(folder)}.{os.getpid()}"
    try:
        with open(new, "xb") as file:
            file.write(marshal.dumps(modules))
        os.replace(new, path_of(folder))
    except OSError:
        if os.path.exists(new):
            os.unlink(new)
