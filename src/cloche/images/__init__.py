"""Content: where the files of a container's root come from.

    host       this machine's own system, with its secrets left out
    registry   what a registry is asked      pulling, pushing, fetching: with the store
    store      names, blobs, layers          local, listing, removing: what is in it
    unpack     from a blob to files          archives, saving: from and to one file
    sources    images wherever they are

For a Python program `cloche.images` is also a door, to names that are loaded when they are first used: `pull`, `push`,
`copy`, `open_image`, `inspect`, `list_images`, `tag`, `remove`, `save`, `load`; `Image` and `Layer`; `Source`, `Sink`:
what a place of one's own has to offer; and the places there are.

What does not belong here: mounting (the stage does), deciding options (`sandbox`).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.images.documents import Answer
    from cloche.images.sources.archive import ArchivePlace, DaemonPlace
    from cloche.images.sources.layout import LayoutPlace
    from cloche.images.sources.memory import MemoryPlace, random_image
    from cloche.images.sources.registry import RegistryPlace
    from cloche.images.sources.source import Image, Layer, Sink, Source
    from cloche.sandbox.images import (
        copy,
        inspect,
        list_images,
        load,
        open_image,
        pull,
        push,
        remove,
        save,
        tag,
    )

__all__ = [
    "Answer",
    "ArchivePlace",
    "DaemonPlace",
    "Image",
    "Layer",
    "LayoutPlace",
    "MemoryPlace",
    "RegistryPlace",
    "Sink",
    "Source",
    "copy",
    "inspect",
    "list_images",
    "load",
    "open_image",
    "pull",
    "push",
    "random_image",
    "remove",
    "save",
    "tag",
]

_HOMES = {
    "cloche.images.documents": ("Answer",),
    "cloche.images.sources.archive": ("ArchivePlace", "DaemonPlace"),
    "cloche.images.sources.layout": ("LayoutPlace",),
    "cloche.images.sources.memory": ("MemoryPlace", "random_image"),
    "cloche.images.sources.registry": ("RegistryPlace",),
    "cloche.images.sources.source": ("Image", "Layer", "Sink", "Source"),
}


def __getattr__(name: str) -> object:
    """Load a public name from where it lives, once."""
    if name not in __all__:
        raise AttributeError(f"module 'cloche.images' has no attribute {name!r}")
    import importlib

    home = next((module for module, names in _HOMES.items() if name in names), "cloche.sandbox.images")
    value = globals()[name] = getattr(importlib.import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
