"""Events of a store, from the side of whoever does something: `emit`, and `tell` of a container.

It is on the way of every container.

They are written below, where images are handled too (images/store/events.py), in the form of docker's API; whoever
wants to know of them reads with `event_log`.
"""

from __future__ import annotations

from cloche.images.store.events import emit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.engine.containers import Container

__all__ = ["emit", "tell"]


def tell(container: Container, action: str, **more: str) -> None:
    """Write down what happens to a container, with what docker's events say of it: labels, image, name, and more."""
    known = container.known
    facts = {**known["labels"], "image": str(known.get("image", "")), "name": container.name}
    emit("container", action, container.id, {**facts, **more})
