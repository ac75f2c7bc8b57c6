"""Another name for a kept container: the new one is taken before the old one is given up."""

from __future__ import annotations

from cloche.engine import making
from cloche.engine.events import tell
from cloche.errors import ConflictError, SpecError
from cloche.ids import check_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.engine.containers import Container


def rename(container: Container, new: str) -> None:
    """Call it so. Raises SpecError for what is no name, ConflictError for one that is taken, or is its own."""
    if not new:
        raise SpecError("Neither old nor new names may be empty")
    new = check_name(new.removeprefix("/"))
    if not container.kept:
        raise ConflictError(f"container {container.name} is not kept: it has the name it was started with")
    with making.lock(container):
        old = container.name
        if old == new:
            raise ConflictError("Renaming a container with the same name as its current name")
        making.rename(container, new)
    tell(container, "rename", oldName=f"/{old}")
