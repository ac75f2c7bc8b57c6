"""All files of a container as one tar, without what is mounted in it: `export`.

Of a kept container of an image its layers are read, whether it runs or not. Of one that is thrown away at its end,
and of one that has other trees below it, only what it sees itself can be read, as long as it runs.
"""

from __future__ import annotations

from cloche.engine import views
from cloche.engine.containers import not_running, settled
from cloche.engine.events import tell
from cloche.engine.fileworker import FileWorker
from cloche.engine.walking import Scope
from cloche.errors import ConflictError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.engine.containers import Container
    from cloche.images.unpack.worker import Unpacking


def export(container: Container, unpacking: Unpacking, out: int) -> dict[str, int]:
    """Write the tar into a descriptor; returns what could not be in it, and how often.

    Raises UnsupportedError, NotFoundError, OSError.
    """
    layered = views.is_image(container) and container.kept
    live = not layered and settled(container).running
    try:
        worker = FileWorker(unpacking.users, views.live_view(container) if live else views.layers_view(container))
    except (OSError, ConflictError):
        if live and not settled(container).running:
            raise not_running(container) from None
        raise
    try:
        worker.aim(b"/", follow=True)
        mounts = "none" if views.is_image(container) else "overlays"
        left_out = worker.pack(b"", Scope(noted=not unpacking.powers.own, mounts=mounts), out)
    finally:
        worker.close()
    tell(container, "export")
    return left_out
