"""Room on the disk of a store: looked for before much is written, and named when there is none."""

from __future__ import annotations

import errno
import posix as os

from cloche.errors import StageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.images.store.layout import Layout

FULL = (errno.ENOSPC, errno.EDQUOT)


def is_full(error: BaseException) -> bool:
    """Whether something failed because there is no room."""
    return isinstance(error, OSError | StageError) and error.errno in FULL


class Named:
    """A context in which a disk that is full is told of by the name of the store: StageError in place of OSError."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout  # a class, as contextlib takes 3 ms to import, and `run` waits

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError) and is_full(error):
            raise full(self.layout.path) from None


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
