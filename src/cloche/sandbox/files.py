"""A container's files as an image, and as a tar: by the process that has them before it (see `engine.fileworker`)."""

from __future__ import annotations

from cloche.engine import exporting
from cloche.errors import StageError
from cloche.sandbox.image import unpacking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.engine.committing import Commit
    from cloche.engine.containers import Container


def commit(container: Container, asked: Commit, *, pause: bool = True) -> str:
    """Make an image of it, with `pause` while it stands still; returns the image's ID. Raises ClocheError."""
    from cloche.engine import committing
    from cloche.engine.fileworker import FileWorker

    who = unpacking()
    with committing.standing_still(container, wanted=pause):
        worker = FileWorker(who.users, ("nothing",))
        try:
            return committing.commit(container, asked, who, worker)
        except OSError as error:
            raise StageError(f"{container.name} cannot be committed: {error.strerror or error}") from None
        finally:
            worker.close()


def export(container: Container, out: int) -> dict[str, int]:
    """Write all its files into a descriptor; returns what could not be in the tar, and how often.

    Raises ClocheError, and BrokenPipeError where nobody reads it any more.
    """
    try:
        return exporting.export(container, unpacking(), out)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StageError(f"{container.name} cannot be exported: {error.strerror or error}") from None
