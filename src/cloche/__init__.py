"""cloche: a container engine in pure Python that you can see through.

    import cloche

    result = cloche.run(["sh", "-c", "hostname; id -u"])
    print(result.stdout, result.reason, result.receipt)

    engine = cloche.Engine()
    box = engine.containers.run("host", ["sleep", "60"], detach=True)
    print(box.name, box.exec(["hostname"]).stdout)
    box.remove(force=True)

Names are loaded when they are first used, so that the command line and the stage, which live in
this package too, do not pay for them.
"""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.engine.reason import Reason, Usage
    from cloche.errors import (
        ClocheError,
        ConflictError,
        ForbiddenError,
        NotExecutedError,
        NotFoundError,
        RegistryError,
        RunError,
        SpecError,
        StageError,
        UnsupportedError,
    )
    from cloche.runtime.receipt import Receipt
    from cloche.sandbox.api import DEVNULL, PIPE, run, run_async
    from cloche.sandbox.engine import Engine
    from cloche.sandbox.engine_containers import Container, Said
    from cloche.sandbox.engine_values import Finished
    from cloche.sandbox.engine_volumes import Volume
    from cloche.sandbox.results import Result

__all__ = [
    "DEVNULL",
    "PIPE",
    "ClocheError",
    "ConflictError",
    "Container",
    "Engine",
    "Finished",
    "ForbiddenError",
    "NotExecutedError",
    "NotFoundError",
    "Reason",
    "Receipt",
    "RegistryError",
    "Result",
    "RunError",
    "Said",
    "SpecError",
    "StageError",
    "UnsupportedError",
    "Usage",
    "Volume",
    "run",
    "run_async",
]

_HOMES = {
    "cloche.sandbox.api": ("DEVNULL", "PIPE", "run", "run_async"),
    "cloche.sandbox.engine": ("Engine",),
    "cloche.sandbox.engine_containers": ("Container", "Said"),
    "cloche.sandbox.engine_values": ("Finished",),
    "cloche.sandbox.engine_volumes": ("Volume",),
    "cloche.sandbox.results": ("Result",),
    "cloche.engine.reason": ("Reason", "Usage"),
    "cloche.runtime.receipt": ("Receipt",),
}


def __getattr__(name: str) -> object:
    """Load a public name from where it lives, once."""
    if name not in __all__:
        raise AttributeError(f"module 'cloche' has no attribute {name!r}")
    import importlib

    home = next((module for module, names in _HOMES.items() if name in names), "cloche.errors")
    value = globals()[name] = getattr(importlib.import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
