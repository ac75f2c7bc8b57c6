"""`cloche container inspect`: `inspect` of containers alone."""

from __future__ import annotations

from cloche.cli.containers.inspect import inspect_kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed


def container_inspect(parsed: Parsed) -> int:
    """Carry out `container inspect`."""
    return inspect_kind(parsed, "container")
