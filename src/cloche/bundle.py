"""Where the commands begin: all modules on a command line's way in one file, what forty imports cost paid once.

    __pycache__/NAME-3.<tag>.bundle   marshal of {module: Entry}; 3 is its format
    run, kept, exec, ps, …, verbs   of `cloche`: run and run -d, verbs typed all day, and the rest, which needs little
    runtime, small               of `cloche-runtime`: for what makes a process, and for the rest

Python reads each module by half a dozen system calls and looks every one up in a directory; a hundred
small modules cost twice what their code does. The launchers (scripts/) run this module as it was compiled, which
reads the bundle before anything else is imported; cloche.cli.bundling writes it at the end when there was none or a
source had changed. It is a cache like any .pyc: made by whoever may write there, ignored where it cannot be, never
needed.
"""
# no `from __future__ import annotations`, which is executed as well: it would be the only module that is read apart

import gc
import sys
from _frozen_importlib import ModuleSpec
from marshal import loads
from posix import fstat, geteuid, stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Any

    # file, package?, mtime in ns, size in bytes, code (marshalled where not every run needs it), its REMEMBERED
    Entry = tuple[str, bool, int, int, CodeType | bytes, dict[Any, Any]]


def launch(package: str, home: str, name: str, *, at_once: bool) -> None:
    """Call `entry` of the module `home`, with the package in this directory imported by its bundle `name`.

    `at_once`: load all that every run needs. `entry` is told of which bundle there has to be a new one.
    """
    gc.disable()  # a command is short; collecting while a hundred modules load is not
    known = "--debug" in sys.argv or read(package, name)  # debugging shows places in the code, which no bundle knows
    if known and at_once:
        load_all()
    __import__(home)
    sys.modules[home].entry("" if known else name, package)


def read(package: str, name: str) -> bool:
    """Import from the bundle `name` from now on; False where there is none, or none that is up to date and ours."""
    try:
        with open(path_of(package, name), "rb", buffering=0) as file:
            status = fstat(file.fileno())
            # in a user namespace the owner of the package, and so of this, may be an id that is not mapped
            if status.st_uid not in {0, geteuid(), stat(package).st_uid} or status.st_mode & 0o022:
                return False  # somebody else may have written it
            modules = loads(file.read())
    except (OSError, ValueError, EOFError, TypeError):
        return False
    return use(modules, package)


class Finder:
    """Finds and loads the modules of a bundle (importlib.abc.MetaPathFinder and Loader)."""

    def __init__(self, modules: "dict[str, Entry]") -> None:
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

    def exec_module(self, module: "ModuleType") -> None:
        """Run its code, and give it what it had found out by that code alone."""
        *_, code, remembered = self.modules[module.__name__]
        exec(loads(code) if isinstance(code, bytes) else code, vars(module))
        if remembered:
            vars(module)["REMEMBERED"].update(remembered)


def use(modules: "dict[str, Entry]", folder: str) -> bool:
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


def path_of(package: str, name: str) -> str:
    """The file of the bundle `name`."""
    return f"{package}/__pycache__/{name}-3.{sys.implementation.cache_tag}.bundle"
