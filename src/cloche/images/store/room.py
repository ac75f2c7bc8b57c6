"""Room on the disk of a store: looked for before much is written, and named when there is none."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager

from cloche.errors import StageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloche.images.store.layout import Layout

FULL = (errno.ENOSPC, errno.EDQUOT)


def is_full(error: BaseException) -> bool:
    """Whether something failed because there is no room."""
    return isinstance(error, OSError | StageError) and error.errno in FULL


@contextmanager
def named(layout: Layout) -> Iterator[None]:
    """A disk that is full is told of by the name of the store. Raises StageError in place of OSError."""
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        raise full(layout.path) from None


def check(layout: Layout, needed: int) -> None:
    """Whether so many bytes can be written. Raises StageError."""
    status = os.statvfs(layout.path)
    free = status.f_bavail * status.f_frsize
    if needed > free:
        raise full(layout.path, f"has {free} bytes left, and {needed} are needed")


def full(path: str, what: str = "is full") -> StageError:
    """The error for a store that has no room."""
    hint = f"remove images (cloche rmi), or other files beside {path}, or give another store: --root DIR"
    return StageError(f"the disk of the store {path} {what}", errno=errno.ENOSPC, hint=hint)
