"""The table of all operations, by which a stage finds what it is sent."""

from __future__ import annotations

from cloche.stage.operation import Operation
from cloche.stage.operations import (
    attributes,
    command,
    filesystems,
    groups,
    identity,
    overlays,
    processes,
    roots,
    trees,
    volumes,
)

CLASSES: dict[str, type[Operation]] = {
    name: value
    for room in (groups, processes, trees, roots, overlays, filesystems, identity, command, attributes, volumes)
    for name, value in vars(room).items()
    if isinstance(value, type) and issubclass(value, Operation) and value.__module__ == room.__name__
}
