"""What failed in a tree that is somebody else's: on which of its files."""

from __future__ import annotations

import os
from contextlib import contextmanager

from cloche.images.unpack.naming import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def on(path: str | bytes) -> Iterator[None]:
    """Have an OSError name the path, as the tree has it: a descriptor is all that the kernel was told."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"{shown(os.fsencode(path))} of the new system: {error.strerror}") from None
