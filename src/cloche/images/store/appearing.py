"""A file that somebody asked for: it appears when it is whole, and is there after a power cut."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress

from cloche.images.store.layout import sync_directory, unique

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO


@contextmanager
def appearing(path: str, mode: int = 0o666) -> Iterator[IO[bytes]]:
    """A file to write to, which takes its place when the block ends; without a trace if it fails. Raises OSError."""
    temporary = unique(f"{path}.new")
    with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    with suppress(PermissionError):  # a directory that may be written to and not read
        sync_directory(os.path.dirname(path) or ".")
