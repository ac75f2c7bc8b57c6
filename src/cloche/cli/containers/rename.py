"""`cloche rename`: another name for a container."""

from __future__ import annotations

from cloche.engine import containers, making
from cloche.engine.events import tell
from cloche.errors import ConflictError
from cloche.ids import check_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed


def rename(parsed: Parsed) -> int:
    """Carry out `rename`; returns the exit code."""
    word, new = parsed.positionals
    container = containers.find(word)
    new = check_name(new.removeprefix("/"))
    if not container.kept:
        raise ConflictError(f"container {container.name} is not kept: it has the name it was started with")
    with making.lock(container):
        old = container.name
        if old == new:
            raise ConflictError("Renaming a container with the same name as its current name")
        making.rename(container, new)
    tell(container, "rename", oldName=f"/{old}")
    return 0
